/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Snapshots of a volume of the pool: files beside it, VOLUME@SNAPSHOT, or
 * Ceph's own. They are volumes that can only be read. Storage only: it runs in
 * jobs.
 */
#ifndef RDISK_SERVER_VOLUME_POOL_SNAPSHOT_H
#define RDISK_SERVER_VOLUME_POOL_SNAPSHOT_H

#include "server/volume/pool.h"

/* How many @volume has, and the name of one of them in @name. 0 or a negative
 * errno with @err. */
int pool_snapshot_count(const struct pool *pool, const char *volume,
                        unsigned int *count,
                        char name[RDISK_VOLUME_NAME_MAX + 1],
                        struct rdisk_error *err);
/* Delete all of @volume, or none: -EBUSY with a sentence if one is in use. Not
 * durable before the directory is synced. */
int pool_snapshot_delete_all(const struct pool *pool, const char *volume,
                             struct rdisk_error *err);
/* Of a pool with images: delete VOLUME@SNAPSHOT, which is not open here. */
int pool_snapshot_delete(const struct pool *pool, const char *name,
                         struct rdisk_error *err);
/* The same: append the snapshots of @volume to @files. */
int pool_snapshot_scan_image(const struct pool *pool, const char *volume,
                             struct pool_file **files, size_t *count,
                             struct rdisk_error *err);
/*
 * Of a pool directory: give @volume the data of @snapshot: a file of its own,
 * which replaces it durably and whole. No client has the volume open.
 */
int pool_snapshot_revert(const struct pool *pool, const char *volume,
                         const char *snapshot, struct rdisk_error *err);

#endif
