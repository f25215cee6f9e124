/* SPDX-License-Identifier: BSD-3-Clause */
/* Volumes of a pool for tests that have one thread: each call runs to its end,
 * storage included, and returns 0 or a negative errno with @err. */
#ifndef RDISK_UNIT_POOL_H
#define RDISK_UNIT_POOL_H

#include "server/volume/pool.h"

int pool_create(struct pool *pool, const char *name, uint64_t size,
                struct rdisk_error *err);
/* The same with all of its space. */
int pool_preallocate(struct pool *pool, const char *name, uint64_t size,
                     struct rdisk_error *err);
int pool_replace(struct pool *pool, const char *name, uint64_t size,
                 struct rdisk_error *err);
int pool_delete(struct pool *pool, const char *name, struct rdisk_error *err);
int pool_delete_with_snapshots(struct pool *pool, const char *name,
                               struct rdisk_error *err);
int pool_revert(struct pool *pool, const char *name, const char *snapshot,
                struct rdisk_error *err);
/* As an administrator. */
int pool_resize(struct pool *pool, const char *name, uint64_t size, bool shrink,
                struct rdisk_error *err);

/* Find or open a volume, and take a reference; NULL with @err. */
struct volume *pool_get(struct pool *pool, const char *name,
                        struct rdisk_error *err);
void pool_put(struct pool *pool, struct volume *volume);
/* Its lease, as its record has it @now. */
int pool_lease(struct pool *pool, struct volume *volume, uint64_t now,
               struct rdisk_error *err);

#endif
