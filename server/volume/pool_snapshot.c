/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/volume/pool_snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/snapshot_name.h"
#include "server/volume/lock.h"
#include "server/volume/pool_internal.h"
#include "server/volume/pool_new.h"

/* ---- All of a volume ---------------------------------------------------- */

struct listed {
    const char *volume;
    struct pool_file **files;
    size_t *count;
};

static bool enter(void *opaque, const char *snapshot, uint64_t size,
                  uint64_t taken)
{
    struct listed *listed = opaque;
    char name[2 * RDISK_VOLUME_NAME_MAX + 2];
    struct pool_file *file;

    if (snprintf(name, sizeof(name), "%s@%s", listed->volume, snapshot) < 0 ||
        snapshot_name_check(name, NULL) < 0) {
        return true; /* not one that a client could name */
    }
    file = pool_append(listed->files, listed->count);
    if (file) {
        memcpy(file->name, name, sizeof(file->name));
        file->size = size;
        file->allocated = POOL_UNKNOWN;
        file->changed = taken * 1000000000ull;
    }
    return file;
}

int pool_snapshot_scan_image(const struct pool *pool, const char *volume,
                             struct pool_file **files, size_t *count,
                             struct rdisk_error *err)
{
    struct listed listed = { volume, files, count };

    return pool->images->pool->snapshots(pool->place, volume, enter, &listed,
                                         err);
}

/* One that has been deleted has none. */
static int append(const struct pool *pool, const char *volume,
                  struct pool_file **files, size_t *count,
                  struct rdisk_error *err)
{
    int result = pool_snapshot_scan_image(pool, volume, files, count, err);

    return result == -ENOENT ? 0 : result;
}

int pool_scan_snapshots(const struct pool *pool, const char *volume,
                        struct pool_file **files, size_t *count,
                        struct rdisk_error *err)
{
    size_t volumes = *count;
    int result = 0;

    if (!pool->images) {
        return 0;
    }
    if (volume[0]) {
        result = append(pool, volume, files, count, err);
    }
    for (size_t i = 0; !volume[0] && i < volumes && result == 0; i++) {
        char name[RDISK_VOLUME_NAME_MAX + 1];

        /* A copy: the files may move. */
        memcpy(name, (*files)[i].name, sizeof(name));
        result = append(pool, name, files, count, err);
    }
    if (result < 0) {
        free(*files);
        *files = NULL;
        *count = 0;
    }
    return result;
}

/* The files of all volumes, or the snapshots of an image. */
static int scan(const struct pool *pool, const char *volume,
                struct pool_file **files, size_t *count,
                struct rdisk_error *err)
{
    if (!pool->images) {
        return pool_scan(pool, files, count, err);
    }
    *files = NULL;
    *count = 0;
    return pool_snapshot_scan_image(pool, volume, files, count, err);
}

/* Calls @fn for each; 0, what @fn has returned if it is not 0, or a negative
 * errno with @err. */
static int for_each(const struct pool *pool, const char *volume,
                    int (*fn)(const struct pool *pool, const char *name,
                              void *opaque, struct rdisk_error *err),
                    void *opaque, struct rdisk_error *err)
{
    size_t length = strlen(volume), count;
    struct pool_file *files;
    int result = scan(pool, volume, &files, &count, err);

    for (size_t i = 0; i < count && result == 0; i++) {
        const char *name = files[i].name;

        if (snapshot_is_name(name) && snapshot_volume_length(name) == length &&
            memcmp(name, volume, length) == 0) {
            result = fn(pool, name, opaque, err);
        }
    }
    free(files);
    return result;
}

struct counted {
    unsigned int count;
    char *name;
};

static int count_one(const struct pool *pool, const char *name, void *opaque,
                     struct rdisk_error *err)
{
    struct counted *counted = opaque;

    counted->count++;
    snprintf(counted->name, RDISK_VOLUME_NAME_MAX + 1, "%s", name);
    return 0;
}

int pool_snapshot_count(const struct pool *pool, const char *volume,
                        unsigned int *count,
                        char name[RDISK_VOLUME_NAME_MAX + 1],
                        struct rdisk_error *err)
{
    struct counted counted = { .name = name };
    int result = for_each(pool, volume, count_one, &counted, err);

    *count = counted.count;
    return result;
}

static int check_unused(const struct pool *pool, const char *name, void *opaque,
                        struct rdisk_error *err)
{
    int fd = openat(pool->directory, name,
                    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    int result = fd < 0 ? -errno : lock_file(fd, false);

    if (fd >= 0) {
        close(fd);
    }
    if (result == -ENOENT) {
        return 0; /* it has just been deleted */
    }
    if (result == -EBUSY) {
        return rdisk_error_set(err, result,
                               "cannot delete snapshot '%s': it is open; close "
                               "it at its clients first",
                               name);
    }
    return result < 0
               ? rdisk_error_set(err, result, "cannot delete snapshot '%s': %s",
                                 name, strerror(-result))
               : 0;
}

static int delete_one(const struct pool *pool, const char *name, void *opaque,
                      struct rdisk_error *err)
{
    if (pool->images) {
        return pool_snapshot_delete(pool, name, err);
    }
    if (unlinkat(pool->directory, name, 0) == 0 || errno == ENOENT) {
        return 0;
    }
    return rdisk_error_set(err, -errno, "cannot delete snapshot '%s': %s", name,
                           strerror(errno));
}

int pool_snapshot_delete(const struct pool *pool, const char *name,
                         struct rdisk_error *err)
{
    char volume[RDISK_VOLUME_NAME_MAX + 1];

    return pool->images->pool->snapshot_delete(
        pool->place, snapshot_volume(name, volume),
        name + snapshot_volume_length(name) + 1, err);
}

int pool_snapshot_delete_all(const struct pool *pool, const char *volume,
                             struct rdisk_error *err)
{
    int result = pool->images
                     ? 0 /* the cluster does not know which clients have one
                            open */
                     : for_each(pool, volume, check_unused, NULL, err);

    return result == 0 ? for_each(pool, volume, delete_one, NULL, err) : result;
}

/* ---- Back to one -------------------------------------------------------- */

static int share(const struct pool *pool, const char *snapshot,
                 struct pool_new *new, struct rdisk_error *err)
{
    struct backend *backend = pool_open_file(pool, snapshot, err);
    int result;

    if (!backend && err->code == -ENOENT) {
        return rdisk_error_set(err, -ENOENT, "there is no snapshot '%s'",
                               snapshot);
    }
    result = backend ? backend->class->share(backend, new->fd, err) : err->code;

    if (backend) {
        backend->class->close(backend);
    }
    return result;
}

int pool_snapshot_revert(const struct pool *pool, const char *volume,
                         const char *snapshot, struct rdisk_error *err)
{
    struct pool_new new;
    int result = pool_new_begin(&new, pool, volume, 0, err);

    if (result < 0) {
        return result;
    }
    result = share(pool, snapshot, &new, err);
    if (result < 0) {
        pool_new_drop(&new);
        return result;
    }
    return pool_new_commit(&new, true, err);
}
