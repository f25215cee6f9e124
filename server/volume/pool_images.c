/* SPDX-License-Identifier: BSD-3-Clause */
/* A pool whose volumes are images of a backend, not files. Storage. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/volume/pool_internal.h"
#include "server/volume/shared_records.h"

int pool_init_images(struct pool *pool, const struct backend_class *class,
                     const struct backend_ceph *ceph, const char *place,
                     unsigned int wait_ms, struct rdisk_error *err)
{
    *pool = (struct pool) { .directory = -1, .lock = -1, .wait_ms = wait_ms };
    pool->path = strdup(place);
    if (!pool->path) {
        return rdisk_error_set(err, -ENOMEM, "no memory for the pool");
    }
    pool->ceph = ceph;
    pool->place = class->pool->open(ceph, place, err);
    if (!pool->place) {
        pool_destroy(pool);
        return err->code;
    }
    pool->images = class;
    shared_records_init(&pool->shared, pool);
    return 0;
}

void pool_destroy_images(struct pool *pool)
{
    if (pool->place) {
        pool->images->pool->close(pool->place);
    }
}

struct backend *pool_open_image(const struct pool *pool, const char *name,
                                bool read_only, struct rdisk_error *err)
{
    struct backend_spec spec = {
        .volume = name,
        .read_only = read_only,
        .ceph = pool->ceph,
        .shared_records = true,
    };
    struct backend *backend;
    char *path;

    if (asprintf(&path, "%s/%s", pool->path, name) < 0) {
        rdisk_error_set(err, -ENOMEM, "no memory for volume '%s'", name);
        return NULL;
    }
    spec.path = path;
    backend = pool->images->open(&spec, err);
    free(path);
    if (!backend && err && err->code == -ENOENT) {
        rdisk_error_set(err, -ENOENT, "there is no volume '%s'", name);
    }
    return backend;
}

struct scan {
    struct pool_file **files;
    size_t *count;
};

static bool enter(void *opaque, const char *name, uint64_t size)
{
    struct scan *scan = opaque;
    struct pool_file *file;

    if (!rdisk_volume_name_valid(name, strlen(name))) {
        return true;
    }
    file = pool_append(scan->files, scan->count);
    if (file) {
        snprintf(file->name, sizeof(file->name), "%s", name);
        file->size = size;
        file->allocated = POOL_UNKNOWN;
        file->changed = 0;
    }
    return file;
}

int pool_scan_images(const struct pool *pool, struct pool_file **files,
                     size_t *count, struct rdisk_error *err)
{
    struct scan scan = { files, count };
    int result = pool->images->pool->list(pool->place, enter, &scan, err);

    if (result < 0) {
        free(*files);
        *files = NULL;
        *count = 0;
    }
    return result;
}
