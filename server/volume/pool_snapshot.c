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
#include "server/volume/pool_new.h"

/* ---- All of a volume ----------------------------------------------------- */

/* Calls @fn for each; 0, what @fn has returned if it is not 0, or a negative
 * errno with @err. */
static int for_each(const struct pool *pool, const char *volume,
                    int (*fn)(const struct pool *pool, const char *name,
                              void *opaque, struct rdisk_error *err),
                    void *opaque, struct rdisk_error *err)
{
    size_t length = strlen(volume), count;
    struct pool_file *files;
    int result = pool_scan(pool, &files, &count, err);

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
    if (unlinkat(pool->directory, name, 0) == 0 || errno == ENOENT) {
        return 0;
    }
    return rdisk_error_set(err, -errno, "cannot delete snapshot '%s': %s", name,
                           strerror(errno));
}

int pool_snapshot_delete_all(const struct pool *pool, const char *volume,
                             struct rdisk_error *err)
{
    int result = for_each(pool, volume, check_unused, NULL, err);

    return result == 0 ? for_each(pool, volume, delete_one, NULL, err) : result;
}

/* ---- Back to one --------------------------------------------------------- */

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
