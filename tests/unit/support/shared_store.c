/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/support/shared_store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct shared_store shared_store;

static struct backend *store_open(const struct backend_spec *spec,
                                  struct rdisk_error *err)
{
    struct backend *backend = calloc(1, sizeof(*backend));

    if (backend) {
        backend->class = &shared_store_class;
        backend->geometry.size = shared_store.size;
        backend->geometry.block_size = RDISK_BLOCK_SIZE_MIN;
        backend->geometry.read_only = spec->read_only;
        backend->lasting = true;
        backend->identity[0] = backend->place[0] = 's';
        shared_store.open++;
    }
    return backend;
}

static void store_unlock(struct backend *backend)
{
    if (shared_store.locked == backend) {
        shared_store.locked = NULL;
    }
}

static void store_close(struct backend *backend)
{
    store_unlock(backend);
    shared_store.open--;
    free(backend);
}

static int store_lock(struct backend *backend, bool force,
                      struct rdisk_error *err)
{
    if (shared_store.locked && !force) {
        return rdisk_error_set(err, -EBUSY, "another server has volume 'v'");
    }
    if (shared_store.locked) {
        shared_store.fenced++;
        shared_store.locked = NULL;
    }
    if (backend->geometry.size != shared_store.size) {
        return rdisk_error_set(err, -ESTALE, "the size has changed");
    }
    shared_store.locked = backend;
    return 0;
}

static struct backend_pool *place_open(const struct backend_ceph *ceph,
                                       const char *place,
                                       struct rdisk_error *err)
{
    return (struct backend_pool *)&shared_store;
}

static void place_close(struct backend_pool *pool)
{
}

static int place_read(struct backend_pool *pool, const char *name, char *text,
                      size_t size)
{
    snprintf(text, size, "%s", shared_store.record);
    return text[0] ? 0 : -ENOENT;
}

static int place_swap(struct backend_pool *pool, const char *name,
                      const char *before, const char *after)
{
    if (after && strcmp(before ? before : "", shared_store.record) != 0) {
        return -ESTALE;
    }
    snprintf(shared_store.record, sizeof(shared_store.record), "%s",
             after ? after : "");
    return 0;
}

static const struct backend_pool_class place_class = {
    .open = place_open,
    .close = place_close,
    .read = place_read,
    .swap = place_swap,
};

const struct backend_class shared_store_class = {
    .name = "shared",
    .has_path = true,
    .pool = &place_class,
    .open = store_open,
    .close = store_close,
    .lock = store_lock,
    .unlock = store_unlock,
};
