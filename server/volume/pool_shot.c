/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/volume/pool_shot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/snapshot_name.h"
#include "common/thread.h"

static int exists(const char *target, struct rdisk_error *err)
{
    return rdisk_error_set(err, -EEXIST, "volume '%s' already exists", target);
}

int pool_shot_check_target(const struct pool *pool, const char *target,
                           struct rdisk_error *err)
{
    assert_control_thread();
    return pool_find(pool, target) ? exists(target, err) : 0;
}

/* ---- Files -------------------------------------------------------------- */

static int begin_file(struct pool_shot *shot, unsigned int serial,
                      struct rdisk_error *err)
{
    if (faccessat(shot->pool->directory, shot->target, F_OK,
                  AT_SYMLINK_NOFOLLOW) == 0) {
        return exists(shot->target, err);
    }
    return pool_new_begin(&shot->new, shot->pool, shot->target, serial, err);
}

static int commit_file(struct pool_shot *shot, struct rdisk_error *err)
{
    if (snapshot_is_name(shot->target)) {
        /* So that it is not written to by mistake. */
        fchmod(shot->new.fd, 0400);
    }
    return pool_new_commit(&shot->new, false, err);
}

/* ---- Images: a snapshot is Ceph's own, a clone is one of a snapshot ----- */

/* The name that the storage has for the snapshot; "": that of a clone alone. */
static const char *snapshot_of(const struct pool_shot *shot)
{
    const char *name = snapshot_is_name(shot->target) ? shot->target
                                                      : shot->source;
    const char *end = name + snapshot_volume_length(name);

    return end[0] ? end + 1 : end;
}

static int take_image(struct pool_shot *shot, struct backend *backend,
                      struct rdisk_error *err)
{
    if (snapshot_is_name(shot->source)) {
        return 0; /* there is one */
    }
    return shot->pool->images->pool->snapshot(backend, snapshot_of(shot), err);
}

static void delete_snapshot(const struct pool_shot *shot)
{
    char volume[RDISK_VOLUME_NAME_MAX + 1];
    struct rdisk_error err;

    shot->pool->images->pool->snapshot_delete(shot->pool->place,
                                              snapshot_volume(shot->source,
                                                              volume),
                                              snapshot_of(shot), &err);
}

static int commit_image(struct pool_shot *shot, struct rdisk_error *err)
{
    char volume[RDISK_VOLUME_NAME_MAX + 1];
    int result;

    if (snapshot_is_name(shot->target)) {
        return 0;
    }
    result = shot->pool->images->pool->clone(
        shot->pool->place, snapshot_volume(shot->source, volume),
        snapshot_of(shot), shot->target, err);
    if (!snapshot_is_name(shot->source)) {
        delete_snapshot(shot); /* the clone keeps what it needs of it */
    }
    return result;
}

static void drop_image(struct pool_shot *shot)
{
    if (shot->taken && !snapshot_is_name(shot->source)) {
        delete_snapshot(shot);
    }
}

/* ---- Both --------------------------------------------------------------- */

int pool_shot_begin(struct pool_shot *shot, const struct pool *pool,
                    const char *source, const char *target, unsigned int serial,
                    struct rdisk_error *err)
{
    int result;

    *shot = (struct pool_shot) { .pool = pool, .new.fd = -1 };
    snprintf(shot->source, sizeof(shot->source), "%s", source);
    snprintf(shot->target, sizeof(shot->target), "%s", target);
    result = pool->images ? 0 : begin_file(shot, serial, err);
    shot->begun = result == 0;
    return result;
}

int pool_shot_take(struct pool_shot *shot, struct backend *backend,
                   struct rdisk_error *err)
{
    int result = shot->pool->images
                     ? take_image(shot, backend, err)
                     : backend->class->share(backend, shot->new.fd, err);

    shot->taken = result == 0;
    return result;
}

int pool_shot_commit(struct pool_shot *shot, struct rdisk_error *err)
{
    shot->begun = false;
    return shot->pool->images ? commit_image(shot, err)
                              : commit_file(shot, err);
}

void pool_shot_drop(struct pool_shot *shot)
{
    if (!shot->begun) {
        return;
    }
    shot->begun = false;
    if (shot->pool->images) {
        drop_image(shot);
    } else {
        pool_new_drop(&shot->new);
    }
}
