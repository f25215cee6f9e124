/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A snapshot or a clone while it is made: a file of the pool directory without
 * a name, or an image of a Ceph pool. Storage only, but for the check: it runs
 * in jobs, in the order begin, take, and commit or drop.
 */
#ifndef RDISK_SERVER_VOLUME_POOL_SHOT_H
#define RDISK_SERVER_VOLUME_POOL_SHOT_H

#include "server/volume/pool_new.h"

/* All zero before pool_shot_begin(). */
struct pool_shot {
    const struct pool *pool;
    char source[RDISK_VOLUME_NAME_MAX + 1]; /* a volume, or a snapshot */
    char target[RDISK_VOLUME_NAME_MAX + 1]; /* VOLUME@SNAPSHOT, or a clone */
    struct pool_new new;                    /* of a pool directory */
    bool begun, taken;
};

/* -EEXIST with @err if the server has a volume named @target, with a section of
 * its own or still open: that need not be in the pool. Control thread. */
int pool_shot_check_target(const struct pool *pool, const char *target,
                           struct rdisk_error *err);
/* @serial: see pool_new_begin(). 0, or a negative errno with @err, and then
 * there is nothing to drop; -EEXIST: the target exists. */
int pool_shot_begin(struct pool_shot *shot, const struct pool *pool,
                    const char *source, const char *target, unsigned int serial,
                    struct rdisk_error *err);
/* It gets the data that @backend, the source, has now. No request is being
 * carried out. -ENOTSUP: see backend_class.share. */
int pool_shot_take(struct pool_shot *shot, struct backend *backend,
                   struct rdisk_error *err);
/* It exists, durably. On an error there is nothing left of it. */
int pool_shot_commit(struct pool_shot *shot, struct rdisk_error *err);
void pool_shot_drop(struct pool_shot *shot);

#endif
