/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/volume/pool_new.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"

#define SUFFIX        ".new"
#define PIECE         (256ull << 20) /* bytes, between looks at the clock */
#define PREALLOCATE_S 600u

int pool_sync_directory(const struct pool *pool, struct rdisk_error *err)
{
    if (fsync(pool->directory) < 0) {
        return rdisk_error_set(err, -errno,
                               "cannot sync the pool directory "
                               "'%s': %s",
                               pool->path, strerror(errno));
    }
    return 0;
}

/* ---- One file ----------------------------------------------------------- */

static int cannot_create(const struct pool_new *new, int code,
                         struct rdisk_error *err)
{
    return rdisk_error_set(err, code,
                           "cannot create volume '%s' in "
                           "'%s': %s",
                           new->name, new->pool->path, strerror(-code));
}

int pool_new_begin(struct pool_new *new, const struct pool *pool,
                   const char *name, unsigned int serial,
                   struct rdisk_error *err)
{
    *new = (struct pool_new) { .pool = pool };
    snprintf(new->name, sizeof(new->name), "%s", name);
    if (serial) {
        /* No name of a volume has a '~'. */
        snprintf(new->file, sizeof(new->file), ".%s~%u" SUFFIX, name, serial);
    } else {
        snprintf(new->file, sizeof(new->file), ".%s" SUFFIX, name);
    }
    /* One that an error has left is of no use, and may be anything. */
    unlinkat(pool->directory, new->file, 0);
    new->fd = openat(pool->directory, new->file,
                     O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return new->fd < 0 ? cannot_create(new, -errno, err) : 0;
}

static void close_file(struct pool_new *new)
{
    if (new->fd >= 0) {
        close(new->fd);
        new->fd = -1;
    }
}

/* Not posix_fallocate(), which writes where the file system cannot. */
static int allocate(int fd, uint64_t size)
{
    const struct rdisk_env *env = &rdisk_env_system;
    uint64_t until = rdisk_now(env) + PREALLOCATE_S * 1000ull * RDISK_MSEC;

    for (uint64_t offset = 0; offset < size; offset += PIECE) {
        uint64_t length = size - offset < PIECE ? size - offset : PIECE;

        if (rdisk_now(env) > until) {
            return -ETIMEDOUT;
        }
        if (fallocate(fd, 0, (off_t)offset, (off_t)length) < 0) {
            return -errno;
        }
    }
    return 0;
}

int pool_new_preallocate(struct pool_new *new, uint64_t size,
                         struct rdisk_error *err)
{
    struct pool_space space;
    int result = pool_space(new->pool, &space);

    if (result == 0 && space.capacity && size > space.available) {
        return rdisk_error_set(err, -ENOSPC,
                               "cannot preallocate volume '%s': its %" PRIu64
                               " bytes are more than the %" PRIu64
                               " that the pool has available",
                               new->name, size, space.available);
    }
    result = allocate(new->fd, size);
    switch (result) {
    case 0:
        return 0;
    case -EOPNOTSUPP:
        return rdisk_error_set(err, result,
                               "cannot preallocate volume '%s': the file "
                               "system of '%s' cannot allocate space ahead",
                               new->name, new->pool->path);
    case -ETIMEDOUT:
        return rdisk_error_set(err, result,
                               "cannot preallocate volume '%s': it took more "
                               "than %u seconds",
                               new->name, PREALLOCATE_S);
    default:
        return rdisk_error_set(err, result,
                               "cannot preallocate volume '%s': %s", new->name,
                               strerror(-result));
    }
}

void pool_new_drop(struct pool_new *new)
{
    if (new->fd >= 0) {
        close_file(new);
        unlinkat(new->pool->directory, new->file, 0);
    }
}

/* On a file system whose renames always replace. */
static int link_new(const struct pool_new *new)
{
    int directory = new->pool->directory;

    if (linkat(directory, new->file, directory, new->name, 0) == 0) {
        unlinkat(directory, new->file, 0);
        return 0;
    }
    if (errno != EPERM && errno != ENOSYS && errno != EOPNOTSUPP) {
        return -errno;
    }
    /* A file has one name there, as on FAT: no other server is here. */
    if (faccessat(directory, new->name, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
        return -EEXIST;
    }
    return renameat(directory, new->file, directory, new->name) < 0 ? -errno
                                                                    : 0;
}

/* The file gets its name, which nothing has yet. */
static int rename_new(const struct pool_new *new)
{
    int directory = new->pool->directory;

    if (renameat2(directory, new->file, directory, new->name,
                  RENAME_NOREPLACE) == 0) {
        return 0;
    }
    return errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP
               ? link_new(new)
               : -errno;
}

static int rename_over(const struct pool_new *new, struct rdisk_error *err)
{
    int directory = new->pool->directory;

    if (renameat(directory, new->file, directory, new->name) == 0) {
        return 0;
    }
    return rdisk_error_set(err, -errno,
                           "cannot replace volume '%s': "
                           "%s",
                           new->name, strerror(errno));
}

static int rename_to(const struct pool_new *new, struct rdisk_error *err)
{
    int result = rename_new(new);

    if (result == -EEXIST) {
        return rdisk_error_set(err, result, "volume '%s' already exists",
                               new->name);
    }
    return result < 0 ? cannot_create(new, result, err) : 0;
}

int pool_new_commit(struct pool_new *new, bool replace, struct rdisk_error *err)
{
    int result = fsync(new->fd) < 0 ? cannot_create(new, -errno, err) : 0;

    if (result == 0) {
        result = replace ? rename_over(new, err) : rename_to(new, err);
    }
    if (result < 0) {
        pool_new_drop(new);
        return result;
    }
    close_file(new);
    result = pool_sync_directory(new->pool, err);
    if (result < 0 && !replace) {
        unlinkat(new->pool->directory, new->name, 0);
    }
    return result;
}

/* ---- After a crash ------------------------------------------------------- */

/* True if that is a name that pool_new_begin() chooses. */
static bool is_new(const char *file)
{
    size_t length = strlen(file), suffix = strlen(SUFFIX);
    const char *serial = strchr(file, '~');

    if (file[0] != '.' || length <= suffix + 1 ||
        strcmp(file + length - suffix, SUFFIX) != 0) {
        return false;
    }
    if (serial && strspn(serial + 1, "0123456789") !=
                      length - suffix - (size_t)(serial + 1 - file)) {
        return false;
    }
    return rdisk_volume_name_valid(file + 1, serial
                                                 ? (size_t)(serial - file) - 1
                                                 : length - suffix - 1);
}

static void remove_new(const struct pool *pool, const char *file)
{
    struct stat st;

    if (fstatat(pool->directory, file, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        !S_ISREG(st.st_mode)) {
        return;
    }
    if (unlinkat(pool->directory, file, 0) == 0) {
        log_info("removed '%s' of the pool directory: the server ended before "
                 "that volume was complete",
                 file);
    } else {
        log_warning("cannot remove '%s' of the pool directory, a volume that "
                    "was not completed: %s",
                    file, strerror(errno));
    }
}

void pool_new_sweep(const struct pool *pool)
{
    int fd = openat(pool->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *dirent;

    if (!stream) {
        if (fd >= 0) {
            close(fd);
        }
        return;
    }
    while ((dirent = readdir(stream))) {
        if (is_new(dirent->d_name)) {
            remove_new(pool, dirent->d_name);
        }
    }
    closedir(stream);
}
