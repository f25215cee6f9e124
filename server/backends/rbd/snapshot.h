/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Internal to the backend: snapshots of the images of a pool, as
 * struct backend_pool_class has them. 0 or a negative errno with @err. A job's
 * thread.
 */
#ifndef RDISK_SERVER_BACKENDS_RBD_SNAPSHOT_H
#define RDISK_SERVER_BACKENDS_RBD_SNAPSHOT_H

#include <rbd/librbd.h>

#include "server/backends/rbd/cluster.h"

int image_snapshot(struct backend *backend, const char *snapshot,
                   struct rdisk_error *err);
int image_revert(struct backend *backend, const char *snapshot,
                 struct rdisk_error *err);
int snapshot_delete(rados_ioctx_t io, const char *name, const char *snapshot,
                    struct rdisk_error *err);
int snapshot_list(rados_ioctx_t io, const char *name,
                  bool (*add)(void *opaque, const char *snapshot, uint64_t size,
                              uint64_t taken),
                  void *opaque, struct rdisk_error *err);
/* What backend_pool_class.held wants: usage.c. */
int usage_of_snapshots(rados_ioctx_t io, const char *name, unsigned int *named,
                       uint64_t *bytes, struct rdisk_error *err);

/* All of @image, in their order; to be freed, also after an error. 0 or a
 * negative errno. */
int snapshot_infos(rbd_image_t image, rbd_snap_info_t **snaps, int *count);
void snapshot_infos_free(rbd_snap_info_t *snaps, int count);
/* False: it is one that rdisk or Ceph made for itself. */
bool snapshot_is_visible(const char *name);
bool snapshot_is_listed(rbd_image_t image, const rbd_snap_info_t *snap);

int snapshot_clone(rados_ioctx_t io, const char *name, const char *snapshot,
                   const char *clone, struct rdisk_error *err);

#endif
