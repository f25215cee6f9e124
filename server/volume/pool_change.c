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
#include "common/snapshot_name.h"
#include "common/thread.h"
#include "server/volume/identity.h"
#include "server/volume/lock.h"
#include "server/volume/pool_internal.h"
#include "server/volume/pool_new.h"
#include "server/volume/pool_snapshot.h"

static const char *what(const struct pool_change *change)
{
    static const char *const names[] = {
        [POOL_CREATE] = "create",
        [POOL_REPLACE] = "replace",
        [POOL_DELETE] = "delete",
        [POOL_REVERT] = "revert",
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

/* Those that are deleted with their volume. */
static int check_open_snapshots(const struct pool_change *change,
                                struct rdisk_error *err)
{
    char of[RDISK_VOLUME_NAME_MAX + 1];
    int result = 0;

    if (change->kind != POOL_DELETE || !change->snapshots) {
        return 0;
    }
    for (const struct volume *one = change->pool->volumes; one && result == 0;
         one = one->next) {
        if (snapshot_is_name(one->name) &&
            strcmp(snapshot_volume(one->name, of), name_of(change)) == 0) {
            result = volume_check_free(one, what(change), err);
        }
    }
    return result;
}

/* The names alone. */
static int check_names(const struct pool_change *change,
                       struct rdisk_error *err)
{
    char volume[RDISK_VOLUME_NAME_MAX + 1];
    int result;

    if (change->kind == POOL_DELETE) {
        return pool_check_name(name_of(change), err);
    }
    result = pool_check_new_name(name_of(change), err);
    if (result < 0 || change->kind != POOL_REVERT) {
        return result;
    }
    result = snapshot_name_check(change->snapshot, err);
    if (result == 0 && strcmp(snapshot_volume(change->snapshot, volume),
                              name_of(change)) != 0) {
        result = rdisk_error_set(err, -EINVAL,
                                 "'%s' is not a name of a snapshot of volume "
                                 "'%s'",
                                 change->snapshot, name_of(change));
    }
    return result;
}

static bool makes(const struct pool_change *change)
{
    return change->kind == POOL_CREATE || change->kind == POOL_REPLACE;
}

static int check(const struct pool_change *change, struct rdisk_error *err)
{
    const struct pool *pool = change->pool;
    const struct volume *volume;
    int result = check_names(change, err);

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
    if (pool->images && change->preallocate) {
        return rdisk_error_set(err, -EOPNOTSUPP,
                               "cannot preallocate volume '%s': it is an image "
                               "of a Ceph pool",
                               name_of(change));
    }
    if (makes(change)) {
        result = backend_check_size(name_of(change), change->size, err);
    }
    if (result < 0) {
        return result;
    }
    volume = pool_find(pool, name_of(change));
    result = volume ? check_open(change, volume, err) : 0;
    return result < 0 ? result : check_open_snapshots(change, err);
}

/* ---- A new file: storage ------------------------------------------------ */

/* It reads as zeroes. */
static int make_file(struct pool_new *new, const struct pool_change *change,
                     struct rdisk_error *err)
{
    int result = pool_new_begin(new, change->pool, name_of(change), 0, err);

    if (result == 0 && ftruncate(new->fd, change->size) < 0) {
        result = rdisk_error_set(err, -errno,
                                 "cannot give volume '%s' %" PRIu64
                                 " bytes: %s",
                                 name_of(change), change->size,
                                 strerror(errno));
        pool_new_drop(new);
    }
    if (result == 0 && change->preallocate) {
        result = pool_new_preallocate(new, change->size, err);
        if (result < 0) {
            pool_new_drop(new);
        }
    }
    return result;
}

static int create(struct pool_change *change)
{
    const struct pool *pool = change->pool;
    struct rdisk_error *err = &change->why;
    const char *name = name_of(change);
    struct pool_new new;
    int result;

    if (pool->images) {
        return pool->images->pool->create(pool->place, name, change->size, err);
    }
    if (faccessat(pool->directory, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
        return exists(name, err);
    }
    result = make_file(&new, change, err);
    return result < 0 ? result : pool_new_commit(&new, false, err);
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

/* A request to delete a volume states whether its snapshots go, too. */
static int check_snapshots(const struct pool_change *change,
                           struct rdisk_error *err)
{
    char one[RDISK_VOLUME_NAME_MAX + 1];
    unsigned int count;
    int result;

    if (change->kind == POOL_REVERT || change->snapshots ||
        snapshot_is_name(name_of(change))) {
        return 0;
    }
    result = pool_snapshot_count(change->pool, name_of(change), &count, one,
                                 err);
    if (result < 0 || !count) {
        return result;
    }
    return rdisk_error_set(err, -EBUSY,
                           "cannot %s volume '%s': it has %u snapshots, such "
                           "as '%s'; delete them first, or with it: 'rdisk "
                           "delete --snapshots'",
                           what(change), name_of(change), count, one);
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
    if (result == 0) {
        result = check_snapshots(change, err);
    }
    if (result < 0) {
        close(fd);
        return result;
    }
    change->fd = fd;
    return 0;
}

/* An image that is locked has no other writer. */
static int claim_image(struct pool_change *change)
{
    const struct pool *pool = change->pool;
    struct backend *image = pool_open_image(pool, name_of(change), false,
                                            &change->why);
    int result;

    if (!image) {
        return change->why.code;
    }
    change->image = image;
    memcpy(change->identity, image->identity, RDISK_ID_SIZE);
    if (image->class->lock && !image->geometry.read_only) {
        result = image->class->lock(image, false, &change->why);
        if (result < 0) {
            release_claim(change);
            return result;
        }
    }
    result = lease_read(pool_records(pool), change->identity, &change->record,
                        &change->why);
    if (result == 0) {
        result = check_snapshots(change, &change->why);
    }
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

/* ---- Carry out: storage ------------------------------------------------- */

/* The volume was removed from the directory, durably; only then its record:
 * a file that reappears after a power loss still has one. */
static int gone(const struct pool_change *change, struct rdisk_error *err)
{
    const struct lease_store *store = pool_records(change->pool);
    int result = change->pool->images ? 0
                                      : pool_sync_directory(change->pool, err);

    if (result == 0 && store && store->remove) {
        store->remove(store->opaque, change->identity);
    }
    return result;
}

static int replace(struct pool_change *change)
{
    struct pool_new new;
    int result = make_file(&new, change, &change->why);

    if (result == 0) {
        result = pool_new_commit(&new, true, &change->why);
    }
    return result == 0 && change->fd >= 0 ? gone(change, &change->why) : result;
}

static int delete_closed_image(struct pool_change *change)
{
    const struct pool *pool = change->pool;
    const char *name = name_of(change);
    struct rdisk_error ignored;
    int result = 0;

    if (snapshot_is_name(name)) {
        return pool_snapshot_delete(pool, name, &change->why);
    }
    if (change->snapshots) {
        result = pool_snapshot_delete_all(pool, name, &change->why);
    }
    if (result == 0) {
        /* That of a clone which was not completed: no list has it. */
        pool->images->pool->snapshot_delete(pool->place, name, "", &ignored);
    }
    return result < 0
               ? result
               : pool->images->pool->delete (pool->place, name, &change->why);
}

/* An image cannot be deleted while it is open, so the claim ends first; a
 * server that opens it in between keeps it. */
static int delete_image(struct pool_change *change)
{
    int result;

    release_claim(change);
    result = delete_closed_image(change);
    return result < 0 ? result : gone(change, &change->why);
}

static int delete (struct pool_change *change)
{
    if (change->pool->images) {
        return delete_image(change);
    }
    if (change->snapshots && !snapshot_is_name(name_of(change))) {
        int result = pool_snapshot_delete_all(change->pool, name_of(change),
                                              &change->why);

        if (result < 0) {
            return result;
        }
    }
    if (unlinkat(change->pool->directory, name_of(change), 0) < 0) {
        return rdisk_error_set(&change->why, -errno,
                               "cannot delete volume '%s': %s", name_of(change),
                               strerror(errno));
    }
    return gone(change, &change->why);
}

static int revert(struct pool_change *change)
{
    const struct pool *pool = change->pool;
    const char *snapshot = change->snapshot;
    int result = pool->images
                     ? pool->images->pool->revert(
                           change->image,
                           snapshot + snapshot_volume_length(snapshot) + 1,
                           &change->why)
                     : pool_snapshot_revert(pool, name_of(change), snapshot,
                                            &change->why);

    return result < 0 ? result : gone(change, &change->why);
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
    case POOL_REVERT:
        return revert(change);
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

/* ---- The steps: control thread ------------------------------------------ */

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
        [POOL_REVERT] = "reverting volume",
    };

    assert_control_thread();
    change->fd = -1;
    change->operation.what = doing[change->kind];
    change->operation.begin = change_begin;
    operation_start(operations, &change->operation);
}
