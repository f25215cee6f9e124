/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A connection to a Ceph cluster, and what of it a volume's path names.
 *
 * Threads: a job's (io/jobs.h). librados has threads of its own, about 14 a
 * connection.
 */
#ifndef RDISK_SERVER_BACKENDS_RBD_CLUSTER_H
#define RDISK_SERVER_BACKENDS_RBD_CLUSTER_H

#include <rados/librados.h>

#include "server/backends/backend.h"

/* POOL/[NAMESPACE/]IMAGE[@SNAPSHOT], in one allocation. */
struct rbd_path {
    char *pool;        /* the allocation: to be freed */
    const char *space; /* "": the default namespace */
    const char *image;
    const char *snapshot; /* NULL: none */
};

/* 0, or -EINVAL or -ENOMEM with @err. */
int rbd_path_parse(struct rbd_path *path, const char *volume, const char *text,
                   struct rdisk_error *err);

/*
 * Connect as @ceph wants, for volume @volume. Returns NULL with @err filled,
 * after at most @ceph->connect_timeout_s. To be shut down by rados_shutdown().
 */
rados_t cluster_connect(const struct backend_ceph *ceph, const char *volume,
                        struct rdisk_error *err);

/* A wait for the map that has been given up: it ends when a monitor answers.
 * NULL: there is none. */
struct map_wait;

/*
 * Wait until @cluster has the map of the OSDs that is the newest now. librados
 * waits for the monitors without limit, so a thread does, and is given up
 * after @seconds: -ETIMEDOUT; or another negative errno. *@waiting is then to
 * be kept, for the next call and for cluster_shut_down().
 */
int cluster_wait_for_map(rados_t cluster, struct map_wait **waiting,
                         unsigned int seconds);
/* End the connection; if a thread still waits in it, that does it. */
void cluster_shut_down(rados_t cluster, struct map_wait *waiting);

/* The pool and namespace of @path. 0 or a negative errno with @err. */
int cluster_pool(rados_t cluster, const struct rbd_path *path,
                 const char *volume, rados_ioctx_t *io,
                 struct rdisk_error *err);

#endif
