/* SPDX-License-Identifier: BSD-3-Clause */
/* Internal to the backend: an open image, and a context of it. */
#ifndef RDISK_SERVER_BACKENDS_RBD_IMAGE_H
#define RDISK_SERVER_BACKENDS_RBD_IMAGE_H

#include <pthread.h>
#include <rbd/librbd.h>

#include "server/backends/rbd/cluster.h"

struct image {
    struct backend base;
    /*
     * A connection of its own: what fences a server is the blocklisting of a
     * connection, and a client whose payload does not match its checksum
     * breaks only its own.
     */
    rados_t cluster;
    struct map_wait *waiting; /* in it; what locks the image */
    rados_ioctx_t io;
    rbd_image_t image;
    char *volume; /* its name, and */
    char *path;   /* its place, for messages */
    const struct backend_ceph *ceph;
    bool shared; /* records of who may write it are where all servers find
                    them: locked only while it is written */
};

struct image_context {
    struct backend_context base;
    struct offload_lane lane;
    uint64_t failures; /* of requests */

    pthread_mutex_t lock;         /* of the list; librbd's threads, briefly */
    struct backend_io *completed; /* newest first */
    struct message message;       /* on its way while there are any */
};

static inline struct image *image_of(struct backend *backend)
{
    return container_of(backend, struct image, base);
}

static inline struct image_context *image_context_of(
    struct backend_context *context)
{
    return container_of(context, struct image_context, base);
}

/* Why it could not be opened, from an errno of librbd's; returns it. */
int image_cannot_open(const struct image *image, int result,
                      struct rdisk_error *err);
/* To write: take the image's lock, as struct backend_class has it: lock.c. */
int image_lock(struct image *image, bool force, struct rdisk_error *err);
void image_unlock(struct image *image);
/* 0 if no other client of the cluster has it open to write, or has read it so,
 * which any server does; -EBUSY with @err. */
int image_alone(const struct image *image, const char *what,
                struct rdisk_error *err);

/* A revert was interrupted: 1; 0: not; or a negative errno. snapshot.c. */
int image_is_reverting(const struct image *image);
/* Complete it. 0 or a negative errno with @err. */
int image_finish_revert(struct image *image, struct rdisk_error *err);
/* What a revert has changed its identity by; "": there was none. 0 or a
 * negative errno. */
int image_revision(const struct image *image, char *text, size_t size);

/* For the class: usage.c. */
int image_allocated(struct backend *backend, uint64_t *bytes);
int image_parent(struct backend *backend, char *text, size_t size);
int image_flatten(struct backend *backend,
                  bool (*progress)(void *opaque, uint64_t done, uint64_t total),
                  void *opaque, struct rdisk_error *err);

/* For the class: request.c. */
struct backend_context *image_join(struct backend *backend,
                                   struct reactor *reactor,
                                   struct rdisk_error *err);
void image_leave(struct backend_context *base);
void image_submit(struct backend_context *base, struct backend_io *io);

/* Log @io's failure, unless it is one of too many, and complete it. Reactor. */
void image_fail(struct backend_io *io, int result);
/* Carry out EXTENTS, for which librbd has only a call that waits: extents.c.
 * Reactor. */
void image_extents(struct image_context *context, struct backend_io *io);

#endif
