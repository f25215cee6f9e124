/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/support/pool.h"

#include <errno.h>
#include <stdio.h>

#include "server/server.h"
#include "server/session/resize.h"
#include "server/volume/pool_change.h"
#include "tests/unit/support/lease.h"
#include "tests/unit/support/unit.h"

static void changed(struct pool_change *change)
{
    *(bool *)change->opaque = true;
}

/* The result of @change, whose kind and options are set. */
static int change_now(struct pool *pool, const char *name,
                      struct pool_change change, struct rdisk_error *err)
{
    struct operations operations;
    bool done = false;

    operations_init(&operations, NULL);
    change.pool = pool;
    change.done = changed;
    change.opaque = &done;
    snprintf(change.operation.volume, sizeof(change.operation.volume), "%s",
             name);
    pool_change_start(&operations, &change);
    assert(done);
    if (change.result < 0 && err) {
        *err = change.why;
    }
    return change.result;
}

int pool_create(struct pool *pool, const char *name, uint64_t size,
                struct rdisk_error *err)
{
    struct pool_change change = { .kind = POOL_CREATE, .size = size };

    return change_now(pool, name, change, err);
}

int pool_preallocate(struct pool *pool, const char *name, uint64_t size,
                     struct rdisk_error *err)
{
    struct pool_change change = {
        .kind = POOL_CREATE,
        .size = size,
        .preallocate = true,
    };

    return change_now(pool, name, change, err);
}

int pool_replace(struct pool *pool, const char *name, uint64_t size,
                 struct rdisk_error *err)
{
    struct pool_change change = { .kind = POOL_REPLACE, .size = size };

    return change_now(pool, name, change, err);
}

int pool_delete(struct pool *pool, const char *name, struct rdisk_error *err)
{
    struct pool_change change = { .kind = POOL_DELETE };

    return change_now(pool, name, change, err);
}

int pool_delete_with_snapshots(struct pool *pool, const char *name,
                               struct rdisk_error *err)
{
    struct pool_change change = { .kind = POOL_DELETE, .snapshots = true };

    return change_now(pool, name, change, err);
}

int pool_revert(struct pool *pool, const char *name, const char *snapshot,
                struct rdisk_error *err)
{
    struct pool_change change = { .kind = POOL_REVERT };

    snprintf(change.snapshot, sizeof(change.snapshot), "%s", snapshot);
    return change_now(pool, name, change, err);
}

static void resized(struct resize *resize)
{
    *(bool *)resize->opaque = true;
}

int pool_resize(struct pool *pool, const char *name, uint64_t size, bool shrink,
                struct rdisk_error *err)
{
    static struct server server;
    bool done = false;
    struct resize resize = {
        .work.pool = pool,
        .server = &server,
        .size = size,
        .shrink = shrink,
        .done = resized,
        .opaque = &done,
    };

    server = (struct server) { .env = &rdisk_env_system };
    operations_init(&server.operations, NULL);
    snprintf(resize.work.operation.volume, sizeof(resize.work.operation.volume),
             "%s", name);
    resize_start(&resize);
    assert(done);
    if (resize.work.result < 0 && err) {
        *err = resize.work.why;
    }
    return resize.work.result;
}

struct volume *pool_get(struct pool *pool, const char *name,
                        struct rdisk_error *err)
{
    struct volume *volume = pool_find(pool, name);
    struct backend *backend;

    if (volume) {
        volume->references++;
        return volume;
    }
    backend = pool_check_name(name, err) < 0 ? NULL
                                             : pool_open_file(pool, name, err);
    if (backend && backend->class->lock && !backend->geometry.read_only) {
        REQUIRE(backend->class->lock(backend, false, err) == 0);
        backend->locked = true;
    }
    volume = backend ? pool_add(pool, name, backend, err) : NULL;
    if (backend && !volume) {
        backend->class->close(backend);
    }
    return volume;
}

void pool_put(struct pool *pool, struct volume *volume)
{
    if (pool_unlink(pool, volume)) {
        volume_free(volume);
    }
}

int pool_lease(struct pool *pool, struct volume *volume, uint64_t now,
               struct rdisk_error *err)
{
    struct lease *lease = pool_lease_of(pool, volume, err);

    return lease ? lease_load(lease, pool_lease_since(pool, lease, now), err)
                 : -ENOMEM;
}
