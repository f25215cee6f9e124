/* SPDX-License-Identifier: BSD-3-Clause */
/* Volumes of the pool directory come, go and change their size. */
#include "server/volume/pool_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/volume/identity.h"
#include "server/volume/lock.h"

/* Bytes of ".NAME.new", which no volume is named. */
#define NEW_NAME (RDISK_VOLUME_NAME_MAX + 8)

static int need_directory(const struct pool *pool, struct rdisk_error *err)
{
    if (pool->directory < 0) {
        return rdisk_error_set(err, -ENOTSUP,
                               "this server has no pool "
                               "directory (directory= in [pool], or --pool)");
    }
    return 0;
}

/* A name that comes or goes must outlive a power loss. */
static int sync_directory(struct pool *pool, struct rdisk_error *err)
{
    if (fsync(pool->directory) < 0) {
        return rdisk_error_set(err, -errno,
                               "cannot sync the pool directory "
                               "'%s': %s",
                               pool->path, strerror(errno));
    }
    return 0;
}

static int not_held(const struct volume *volume, const char *what,
                    struct rdisk_error *err)
{
    char peers[200];

    if (volume && volume->holders) {
        return rdisk_error_set(err, -EBUSY,
                               "cannot %s volume '%s': it is "
                               "open at %s",
                               what, volume->name,
                               volume_peers(volume, peers, sizeof(peers)));
    }
    return 0;
}

static int check_new(const struct pool *pool, const char *name, uint64_t size,
                     struct rdisk_error *err)
{
    if (pool_check_name(name, err) < 0 || need_directory(pool, err) < 0 ||
        backend_check_size(name, size, err) < 0) {
        return err ? err->code : -EINVAL;
    }
    return 0;
}

/*
 * A file of @size bytes, for volume @name, under a name that no volume has: a
 * crash leaves it there, or the whole volume under its own name.
 */
static int make_file(struct pool *pool, const char *file, const char *name,
                     uint64_t size, struct rdisk_error *err)
{
    int fd, code;

    /* One that a crash has left is of no use, and may be anything. */
    unlinkat(pool->directory, file, 0);
    fd = openat(pool->directory, file,
                O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        return rdisk_error_set(err, -errno,
                               "cannot create volume '%s' in "
                               "'%s': %s",
                               name, pool->path, strerror(errno));
    }
    code = ftruncate(fd, size) < 0 || fsync(fd) < 0 ? -errno : 0;
    close(fd);
    if (code < 0) {
        unlinkat(pool->directory, file, 0);
        return rdisk_error_set(err, code,
                               "cannot give volume '%s' %" PRIu64 " bytes: %s",
                               name, size, strerror(-code));
    }
    return 0;
}

static void new_name(const char *name, char file[NEW_NAME])
{
    snprintf(file, NEW_NAME, ".%s.new", name);
}

/* @file becomes @name, which nothing has yet. */
static int rename_new(struct pool *pool, const char *file, const char *name)
{
    if (renameat2(pool->directory, file, pool->directory, name,
                  RENAME_NOREPLACE) == 0) {
        return 0;
    }
    if (errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP) {
        return -errno;
    }
    /* A file system that cannot: no other server is here. */
    if (faccessat(pool->directory, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
        return -EEXIST;
    }
    return renameat(pool->directory, file, pool->directory, name) < 0 ? -errno
                                                                      : 0;
}

static int exists(const char *name, struct rdisk_error *err)
{
    return rdisk_error_set(err, -EEXIST, "volume '%s' already exists", name);
}

int pool_create(struct pool *pool, const char *name, uint64_t size,
                struct rdisk_error *err)
{
    char file[NEW_NAME];
    int result = check_new(pool, name, size, err);

    if (result < 0) {
        return result;
    }
    if (pool_find(pool, name) ||
        faccessat(pool->directory, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
        return exists(name, err);
    }
    new_name(name, file);
    result = make_file(pool, file, name, size, err);
    if (result < 0) {
        return result;
    }
    result = rename_new(pool, file, name);
    if (result < 0) {
        unlinkat(pool->directory, file, 0);
        return result == -EEXIST
                   ? exists(name, err)
                   : rdisk_error_set(err, result,
                                     "cannot create volume '%s' in "
                                     "'%s': %s",
                                     name, pool->path, strerror(-result));
    }
    result = sync_directory(pool, err);
    if (result < 0) {
        unlinkat(pool->directory, name, 0);
    }
    return result;
}

/* ---- Taking a volume away ---------------------------------------------- */

/*
 * Open to read, at least, and to write where that is allowed: what network
 * file systems want for a lock that excludes others.
 */
static int open_to_lock(struct pool *pool, const char *name)
{
    int flags = O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    int fd = openat(pool->directory, name, O_RDWR | flags);

    if (fd < 0 && (errno == EACCES || errno == EROFS || errno == EPERM)) {
        fd = openat(pool->directory, name, O_RDONLY | flags);
    }
    return fd < 0 ? -errno : fd;
}

/*
 * Take the lock that serving a volume takes, for it is to be taken away: its
 * file's descriptor, with its @identity. A negative errno if it is in use, or
 * kept for somebody; -ENOENT if there is none of that name.
 */
static int claim(struct pool *pool, const char *name, const char *what,
                 uint8_t *identity, struct rdisk_error *err)
{
    const struct volume *volume = pool_find(pool, name);
    struct stat st;
    int fd, result;

    if (volume && volume->configured) {
        return rdisk_error_set(err, -EPERM,
                               "cannot %s volume '%s': it is "
                               "part of the server's configuration",
                               what, name);
    }
    if (not_held(volume, what, err) < 0) {
        return -EBUSY;
    }
    if (fstatat(pool->directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        return rdisk_error_set(err, -errno, "there is no volume '%s'", name);
    }
    if (!S_ISREG(st.st_mode)) {
        return rdisk_error_set(err, -EINVAL, "volume '%s' is not a file", name);
    }
    fd = open_to_lock(pool, name);
    if (fd < 0) {
        return rdisk_error_set(err, fd, "cannot %s volume '%s': %s", what, name,
                               strerror(-fd));
    }
    result = lock_file(fd, false);
    if (result == -EBUSY) {
        rdisk_error_set(err, result,
                        "cannot %s volume '%s': its file is "
                        "locked: another server, or a volume of another name, "
                        "serves it",
                        what, name);
    } else if (result < 0 || fstat(fd, &st) < 0) {
        result = result < 0 ? result : -errno;
        rdisk_error_set(err, result,
                        "cannot %s volume '%s': its file cannot "
                        "be locked: %s",
                        what, name, strerror(-result));
    } else {
        result = pool_identity_of(pool, fd, &st, identity, err);
        if (result == 0) {
            result = pool_not_kept(pool, name, identity, what, err);
        }
    }
    if (result < 0) {
        close(fd);
        return result;
    }
    return fd;
}

/* The volume has gone from the directory, for good; only then its lease: a
 * file that comes back after a power loss still has one. */
static int gone(struct pool *pool, const uint8_t *identity,
                struct rdisk_error *err)
{
    int result = sync_directory(pool, err);

    if (result == 0) {
        pool_forget_lease(pool, identity);
    }
    return result;
}

int pool_replace(struct pool *pool, const char *name, uint64_t size,
                 struct rdisk_error *err)
{
    char file[NEW_NAME];
    int result = check_new(pool, name, size, err), old;
    struct rdisk_error why = { 0 };
    uint8_t identity[RDISK_ID_SIZE];

    if (result < 0) {
        return result;
    }
    old = claim(pool, name, "replace", identity, &why);
    if (old < 0 && old != -ENOENT) {
        return rdisk_error_set(err, old, "%s", why.text);
    }
    new_name(name, file);
    result = make_file(pool, file, name, size, err);
    if (result == 0 &&
        renameat(pool->directory, file, pool->directory, name) < 0) {
        result = rdisk_error_set(err, -errno,
                                 "cannot replace volume '%s': "
                                 "%s",
                                 name, strerror(errno));
        unlinkat(pool->directory, file, 0);
    }
    if (result == 0) {
        result = old < 0 ? sync_directory(pool, err)
                         : gone(pool, identity, err);
    }
    if (old >= 0) {
        close(old);
    }
    return result;
}

int pool_delete(struct pool *pool, const char *name, struct rdisk_error *err)
{
    uint8_t identity[RDISK_ID_SIZE];
    int fd, result;

    result = pool_check_name(name, err);
    if (result == 0) {
        result = need_directory(pool, err);
    }
    if (result < 0) {
        return result;
    }
    fd = claim(pool, name, "delete", identity, err);
    if (fd < 0) {
        return fd;
    }
    if (unlinkat(pool->directory, name, 0) < 0) {
        result = rdisk_error_set(err, -errno, "cannot delete volume '%s': %s",
                                 name, strerror(errno));
    } else {
        result = gone(pool, identity, err);
    }
    close(fd);
    return result;
}

int pool_resize(struct pool *pool, const char *name, uint64_t size, bool shrink,
                struct rdisk_error *err)
{
    struct volume *volume = pool_get(pool, name, err);
    int result = 0;

    if (!volume) {
        return err ? err->code : -ENOENT;
    }
    result = volume_check_size(volume, size, shrink, err);
    /* What a guest has there it would not believe to be gone. */
    if (result == 0 && size < volume->backend->geometry.size) {
        result = not_held(volume, "shrink", err);
        if (result == 0) {
            result = pool_not_kept(pool, name, volume->backend->identity,
                                   "shrink", err);
        }
    }
    if (result == 0) {
        result = backend_resize(volume->backend, name, size, err);
    }
    pool_put(pool, volume);
    return result;
}
