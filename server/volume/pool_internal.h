/* SPDX-License-Identifier: BSD-3-Clause */
/* Internal to the pool: what its files share. */
#ifndef RDISK_SERVER_VOLUME_POOL_INTERNAL_H
#define RDISK_SERVER_VOLUME_POOL_INTERNAL_H

#include <sys/stat.h>

#include "server/volume/pool.h"

/*
 * Settle the identity of @backend, just opened as volume @name. Storage only. 0
 * or a negative errno with @err: the volume cannot be identified.
 */
int pool_identify(const struct pool *pool, const char *name,
                  struct backend *backend, struct rdisk_error *err);
/* pool_images.c, where pool->images is set. */
void pool_destroy_images(struct pool *pool);
struct backend *pool_open_image(const struct pool *pool, const char *name,
                                bool read_only, struct rdisk_error *err);
int pool_scan_images(const struct pool *pool, struct pool_file **files,
                     size_t *count, struct rdisk_error *err);
/* One more place at the end of @files; NULL: no memory. */
struct pool_file *pool_append(struct pool_file **files, size_t *count);

/* That of a file which is not open as a volume; nothing is stored. */
int pool_identity_of(const struct pool *pool, int fd, const struct stat *st,
                     uint8_t *identity, struct rdisk_error *err);
/* The volume is deleted, its record too, and its lease with them. Control
 * thread. */
void pool_forget_lease(struct pool *pool, const uint8_t *identity);

#endif
