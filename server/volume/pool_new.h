/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A file that is to become a volume of the pool directory: it is made under a
 * name that no volume has, and gets its own name when it is complete. A crash
 * leaves it under the first one, and the next server removes it, or the whole
 * volume under its own. Storage only: it runs in jobs.
 */
#ifndef RDISK_SERVER_VOLUME_POOL_NEW_H
#define RDISK_SERVER_VOLUME_POOL_NEW_H

#include "server/volume/pool.h"

/* Bytes of ".NAME~4294967295.new". */
#define POOL_NEW_NAME (RDISK_VOLUME_NAME_MAX + 18)

struct pool_new {
    const struct pool *pool;
    int fd; /* of the file, open to write; -1: there is none */
    char file[POOL_NEW_NAME];
    char name[RDISK_VOLUME_NAME_MAX + 1];
};

/*
 * An empty file. @serial tells apart those that are made for one name at the
 * same time; 0: the name has its turn (operation.h). 0 or a negative errno with
 * @err: there is no file then.
 */
int pool_new_begin(struct pool_new *new, const struct pool *pool,
                   const char *name, unsigned int serial,
                   struct rdisk_error *err);
/*
 * Allocate @size bytes of the file, which has that size: 0, or -ENOSPC, or
 * -EOPNOTSUPP (the file system cannot), or -ETIMEDOUT after 600 seconds, or
 * another negative errno, with @err.
 */
int pool_new_preallocate(struct pool_new *new, uint64_t size,
                         struct rdisk_error *err);
/* It does not become a volume. */
void pool_new_drop(struct pool_new *new);
/*
 * It becomes the volume, durably. @replace: in the place of one of that name;
 * otherwise -EEXIST if there is one. On an error there is no file any more.
 */
int pool_new_commit(struct pool_new *new, bool replace,
                    struct rdisk_error *err);

/* Names that have come or gone outlive a power loss. 0 or a negative errno with
 * @err. */
int pool_sync_directory(const struct pool *pool, struct rdisk_error *err);
/* Remove what a server that has crashed did not complete. No other server uses
 * the directory. */
void pool_new_sweep(const struct pool *pool);

#endif
