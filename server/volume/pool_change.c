/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/volume/pool_change.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/container_of.h"
#include "common/thread.h"
#include "server/volume/identity.h"
#include "server/volume/lock.h"
#include "server/volume/pool_internal.h"

/* Bytes of ".NAME.new", which no volume is named. */
#define NEW_NAME (RDISK_VOLUME_NAME_MAX + 8)

static const char *what(const struct pool_change *change)
{
    static const char *const names[] = {
        [POOL_CREATE] = "create",
        [POOL_REPLACE] = "replace",
        [POOL_DELETE] = "delete",
    };

    return names[change->kind];
}

static const char *name_of(const struct pool_change *change)
{
    return change->operation.volume;
}

static struct pool_change *of_job(struct job *job)
{
    return container_of(operation_of(job), struct pool_change, operation);
}

/* ---- Check: control thread --------------------------------------------- */

static int exists(const char *name, struct rdisk_error *err)
{
    return rdisk_error_set(err, -EEXIST, "volume '%s' already exists", name);
}

/* One that is open, as @volume. */
static int check_open(const struct pool_change *change,
                      const struct volume *volume, struct rdisk_error *err)
{
    if (change->kind == POOL_CREATE) {
        return exists(volume->name, err);
    }
    if (volume->configured) {
        return rdisk_error_set(err, -EPERM,
                               "cannot %s volume '%s': it is "
                               "part of the server's configuration",
                               what(change), volume->name);
    }
    return volume_check_free(volume, what(change), err);
}

static int check(const struct pool_change *change, struct rdisk_error *err)
{
    const struct pool *pool = change->pool;
    const struct volume *volume;
    int result = pool_check_name(name_of(change), err);

    if (result < 0) {
        return result;
    }
    if (pool->images && change->kind == POOL_REPLACE) {
        return rdisk_error_set(err, -ENOTSUP,
                               "cannot replace volume '%s': it is an image of "
                               "a Ceph pool; delete it first",
                               name_of(change));
    }
    if (pool->directory < 0 && !pool->images) {
        return rdisk_error_set(err, -ENOTSUP,
                               "this server has no pool "
                               "directory (directory= in [pool], or --pool)");
    }
    if (change->kind != POOL_DELETE) {
        result = backend_check_size(name_of(change), change->size, err);
    }
    if (result < 0) {
        return result;
    }
    volume = pool_find(pool, name_of(change));
    return volume ? check_open(change, volume, err) : 0;
}

/* ---- A new file: storage ------------------------------------------------ */

/* A name that comes or goes must outlive a power loss. */
static int sync_directory(const struct pool *pool, struct rdisk_error *err)
{
    if (fsync(pool->directory) < 0) {
        return rdisk_error_set(err, -errno,
                               "cannot sync the pool directory "
                               "'%s': %s",
                               pool->path, strerror(errno));
    }
    return 0;
}

/*
 * A file of @size bytes, for volume @name, under a name that no volume has: a
 * crash leaves it there, or the whole volume under its own name.
 */
static int make_file(const struct pool *pool, const char *file,
                     const char *name, uint64_t size, struct rdisk_error *err)
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
static int rename_new(const struct pool *pool, const char *file,
                      const char *name)
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

static int create(struct pool_change *change)
{
    const struct pool *pool = change->pool;
    struct rdisk_error *err = &change->why;
    const char *name = name_of(change);
    char file[NEW_NAME];
    int result;

    if (pool->images) {
        return pool->images->pool->create(pool->place, name, change->size, err);
    }
    if (faccessat(pool->directory, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
        return exists(name, err);
    }
    new_name(name, file);
    result = make_file(pool, file, name, change->size, err);
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

/* ---- Claim: storage ----------------------------------------------------- */

static bool is_claimed(const struct pool_change *change)
{
    return change->fd >= 0 || change->image;
}

static void release_claim(struct pool_change *change)
{
    if (change->fd >= 0) {
        close(change->fd);
    }
    if (change->image) {
        change->image->class->close(change->image);
    }
    change->fd = -1;
    change->image = NULL;
}

/*
 * Open to read, at least, and to write where that is allowed, as network file
 * systems require for a lock that excludes others.
 */
static int open_to_lock(const struct pool *pool, const char *name)
{
    int flags = O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    int fd = openat(pool->directory, name, O_RDWR | flags);

    if (fd < 0 && (errno == EACCES || errno == EROFS || errno == EPERM)) {
        fd = openat(pool->directory, name, O_RDONLY | flags);
    }
    return fd < 0 ? -errno : fd;
}

/* The lock that serving a volume takes, on @fd. */
static int lock(const struct pool_change *change, int fd,
                struct rdisk_error *err)
{
    int result = lock_file(fd, false);

    if (result == -EBUSY) {
        return rdisk_error_set(err, result,
                               "cannot %s volume '%s': its file is "
                               "locked: another server, or a volume of another "
                               "name, serves it",
                               what(change), name_of(change));
    }
    return result < 0 ? rdisk_error_set(err, result,
                                        "cannot %s volume '%s': its file "
                                        "cannot be locked: %s",
                                        what(change), name_of(change),
                                        strerror(-result))
                      : 0;
}

/* Whose it is: its identity, and its record. */
static int look_up(struct pool_change *change, int fd)
{
    const struct pool *pool = change->pool;
    struct stat st;
    int result;

    if (fstat(fd, &st) < 0) {
        return rdisk_error_set(&change->why, -errno,
                               "cannot %s volume '%s': %s", what(change),
                               name_of(change), strerror(errno));
    }
    result = pool_identity_of(pool, fd, &st, change->identity, &change->why);
    return result < 0 ? result
                      : lease_read(pool_records(pool), change->identity,
                                   &change->record, &change->why);
}

/* Lock the file that is to go. -ENOENT if there is none of that name. */
static int claim(struct pool_change *change)
{
    const struct pool *pool = change->pool;
    struct rdisk_error *err = &change->why;
    const char *name = name_of(change);
    struct stat st;
    int fd, result;

    if (fstatat(pool->directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        return rdisk_error_set(err, -errno, "there is no volume '%s'", name);
    }
    if (!S_ISREG(st.st_mode)) {
        return rdisk_error_set(err, -EINVAL, "volume '%s' is not a file", name);
    }
    fd = open_to_lock(pool, name);
    if (fd < 0) {
        return rdisk_error_set(err, fd, "cannot %s volume '%s': %s",
                               what(change), name, strerror(-fd));
    }
    result = lock(change, fd, err);
    if (result == 0) {
        result = look_up(change, fd);
    }
    if (result < 0) {
        close(fd);
        return result;
    }
    change->fd = fd;
    return 0;
}

/* An image that is open to write has no other writer. */
static int claim_image(struct pool_change *change)
{
    const struct pool *pool = change->pool;
    int result;

    change->image = pool_open_image(pool, name_of(change), false, &change->why);
    if (!change->image) {
        return change->why.code;
    }
    memcpy(change->identity, change->image->identity, RDISK_ID_SIZE);
    result = lease_read(pool_records(pool), change->identity, &change->record,
                        &change->why);
    if (result < 0) {
        release_claim(change);
    }
    return result;
}

static void claim_run(struct job *job)
{
    struct pool_change *change = of_job(job);

    change->result = change->pool->images ? claim_image(change) : claim(change);
    if (change->result == -ENOENT && change->kind == POOL_REPLACE) {
        change->result = 0;
    }
}

/* ---- Carry out: storage -------------------------------------------------- */

/* The volume was removed from the directory, durably; only then its record: a file
 * that reappears after a power loss still has one. */
static int gone(const struct pool_change *change, struct rdisk_error *err)
{
    const struct lease_store *store = pool_records(change->pool);
    int result = change->pool->images ? 0 : sync_directory(change->pool, err);

    if (result == 0 && store && store->forget) {
        store->forget(store->opaque, change->identity);
    }
    return result;
}

static int replace(struct pool_change *change)
{
    const struct pool *pool = change->pool;
    struct rdisk_error *err = &change->why;
    const char *name = name_of(change);
    char file[NEW_NAME];
    int result;

    new_name(name, file);
    result = make_file(pool, file, name, change->size, err);
    if (result < 0) {
        return result;
    }
    if (renameat(pool->directory, file, pool->directory, name) < 0) {
        result = rdisk_error_set(err, -errno,
                                 "cannot replace volume '%s': "
                                 "%s",
                                 name, strerror(errno));
        unlinkat(pool->directory, file, 0);
        return result;
    }
    return change->fd < 0 ? sync_directory(pool, err) : gone(change, err);
}

/* It cannot be open then: who opens it first keeps it. */
static int delete_image(struct pool_change *change)
{
    const struct pool *pool = change->pool;
    int result;

    release_claim(change);
    result = pool->images->pool->delete (pool->place, name_of(change),
                                         &change->why);
    return result < 0 ? result : gone(change, &change->why);
}

static int delete (struct pool_change *change)
{
    if (change->pool->images) {
        return delete_image(change);
    }
    if (unlinkat(change->pool->directory, name_of(change), 0) < 0) {
        return rdisk_error_set(&change->why, -errno,
                               "cannot delete volume '%s': %s", name_of(change),
                               strerror(errno));
    }
    return gone(change, &change->why);
}

static int carry_out(struct pool_change *change)
{
    switch (change->kind) {
    case POOL_CREATE:
        return create(change);
    case POOL_REPLACE:
        return replace(change);
    case POOL_DELETE:
        return delete (change);
    }
    return -EINVAL;
}

/* One that is not admitted only lets the file go. */
static void change_run(struct job *job)
{
    struct pool_change *change = of_job(job);

    if (change->admitted) {
        change->result = carry_out(change);
    }
    release_claim(change);
}

/* ---- The steps: control thread ------------------------------------------- */

static void finish(struct pool_change *change)
{
    operation_end(&change->operation);
    change->done(change);
}

static void change_done(struct job *job)
{
    struct pool_change *change = of_job(job);

    if (change->result == 0 && change->claimed) {
        pool_forget_lease(change->pool, change->identity);
    }
    finish(change);
}

static void proceed(struct pool_change *change)
{
    struct rdisk_error err;
    int result = operation_run(&change->operation, change->pool, change_run,
                               change_done, &err);

    if (result < 0) {
        release_claim(change);
        change->result = rdisk_error_set(&change->why, result, "%s", err.text);
        finish(change);
    }
}

static void claim_done(struct job *job)
{
    struct pool_change *change = of_job(job);

    if (change->result < 0) {
        finish(change);
        return;
    }
    change->claimed = is_claimed(change);
    if (change->claimed) {
        change->result = pool_not_kept(change->pool, name_of(change),
                                       change->identity, &change->record,
                                       what(change), &change->why);
    }
    change->admitted = change->result == 0;
    proceed(change);
}

static void change_begin(struct operation *operation)
{
    struct pool_change *change = container_of(operation, struct pool_change,
                                              operation);
    int result = check(change, &change->why);

    if (result == 0 && change->kind == POOL_CREATE) {
        change->admitted = true;
        proceed(change);
        return;
    }
    if (result == 0) {
        result = operation_run(operation, change->pool, claim_run, claim_done,
                               &change->why);
    }
    if (result < 0) {
        change->result = result;
        finish(change);
    }
}

void pool_change_start(struct operations *operations,
                       struct pool_change *change)
{
    static const char *const doing[] = {
        [POOL_CREATE] = "creating volume",
        [POOL_REPLACE] = "replacing volume",
        [POOL_DELETE] = "deleting volume",
    };

    assert_control_thread();
    change->fd = -1;
    change->operation.what = doing[change->kind];
    change->operation.begin = change_begin;
    operation_start(operations, &change->operation);
}
