/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether a file that carries an identity is the volume that had it.
 * Storage. */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "server/volume/identity.h"
#include "server/volume/pool_internal.h"

/* True if @name of the pool directory is the file that has @identity. */
static bool owns(const struct pool *pool, const char *name,
                 const uint8_t *identity)
{
    struct identity_place place = { .in_place = false };
    struct stat st;
    int fd = -1;

    if (rdisk_volume_name_valid(name, strlen(name)) &&
        fstatat(pool->directory, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISREG(st.st_mode)) {
        fd = openat(pool->directory, name,
                    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    }
    if (fd >= 0) {
        identity_look(fd, &st, &place);
        close(fd);
    }
    return place.in_place &&
           memcmp(place.stored, identity, sizeof(place.stored)) == 0;
}

/* True if the file that @identity was stored with is still in the pool
 * directory. */
static bool original_is_there(const struct pool *pool, const uint8_t *identity)
{
    int fd = pool->directory < 0 ? -1
                                 : openat(pool->directory, ".",
                                          O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *dirent;
    bool found = false;

    if (!stream) {
        if (fd >= 0) {
            close(fd);
        }
        return false;
    }
    while (!found && (dirent = readdir(stream))) {
        found = owns(pool, dirent->d_name, identity);
    }
    closedir(stream);
    return found;
}

/*
 * A file that was moved has the data that its last writer left; one that was
 * copied before, or kept as a backup, does not, and neither does one that was
 * not closed before it was moved.
 */
static int is_unchanged(const struct pool *pool, const uint8_t *identity,
                        uint64_t changed, bool *unchanged,
                        struct rdisk_error *err)
{
    struct lease_record record;
    int result = lease_read(pool_records(pool), identity, &record, err);

    *unchanged = !record.generation || record.changed == changed;
    return result;
}

static int came_along(const struct pool *pool, const uint8_t *identity,
                      uint64_t changed, bool *same, struct rdisk_error *err)
{
    if (original_is_there(pool, identity)) {
        *same = false;
        return 0;
    }
    return is_unchanged(pool, identity, changed, same, err);
}

/* Of a file without one: a random one, unless it is already known by what the
 * file itself is, as by servers that stored none. */
static int choose(const struct pool *pool, struct backend *backend,
                  struct rdisk_error *err)
{
    struct lease_record record;
    int result = lease_read(pool_records(pool), backend->place, &record, err);

    if (result == 0 && !record.generation && !backend->geometry.read_only) {
        identity_random(backend->identity);
    } else {
        memcpy(backend->identity, backend->place, sizeof(backend->identity));
    }
    return result;
}

int pool_identify(const struct pool *pool, const char *name,
                  struct backend *backend, struct rdisk_error *err)
{
    bool same = false;
    int result;

    if (!backend->moved && !backend->fresh) {
        return 0;
    }
    if (backend->moved) {
        result = came_along(pool, backend->identity,
                            backend->class->changed(backend), &same, err);
        if (result < 0 && !backend->geometry.read_only) {
            return result;
        }
        log_info("the file of volume '%s' has come from elsewhere with its "
                 "identity: it is %s",
                 name,
                 same ? "the volume that had it"
                      : "a copy, or older, and another volume");
    }
    if (!same) {
        /* A file that cannot be read cannot be written either. */
        choose(pool, backend, NULL);
    }
    if (backend->class->identify(backend) < 0 && !same) {
        memcpy(backend->identity, backend->place, sizeof(backend->identity));
    }
    backend->moved = backend->fresh = false;
    return backend->class->identified ? backend->class->identified(backend, err)
                                      : 0;
}

int pool_identity_of(const struct pool *pool, int fd, const struct stat *st,
                     uint8_t *identity, struct rdisk_error *err)
{
    struct identity_place place;
    bool same = false;
    int result = 0;

    identity_look(fd, st, &place);
    if (place.is_stored && !place.in_place) {
        result = came_along(pool, place.stored,
                            st->st_mtim.tv_sec * 1000000000ull +
                                st->st_mtim.tv_nsec,
                            &same, err);
    }
    memcpy(identity, place.in_place || same ? place.stored : place.here,
           RDISK_ID_SIZE);
    return result;
}
