/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/volume/pool_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/log.h"
#include "common/snapshot_name.h"
#include "common/thread.h"
#include "server/volume/identity.h"
#include "server/volume/lock.h"
#include "server/volume/pool_new.h"

/* No volume has such a name. */
#define LOCK_NAME ".rdisk.lock"

/* Two servers would each admit a writer. */
static int lock_pool(struct pool *pool, struct rdisk_error *err)
{
    int lock = lock_directory(pool->directory, LOCK_NAME, pool->wait_ms);

    switch (lock) {
    case -EBUSY:
        return rdisk_error_set(err, -EBUSY,
                               "another server uses the pool "
                               "directory '%s': stop it, or name another "
                               "directory",
                               pool->path);
    case -EROFS:
    case -EACCES:
    case -EPERM:
        log_info("the pool directory '%s' cannot be written: nothing in it "
                 "can be created or deleted",
                 pool->path);
        return 0;
    default:
        break;
    }
    if (lock < 0) {
        return rdisk_error_set(err, lock,
                               "cannot lock the pool directory "
                               "'%s' with its file " LOCK_NAME ": %s",
                               pool->path, strerror(-lock));
    }
    pool->lock = lock;
    pool_new_sweep(pool);
    return 0;
}

int pool_init(struct pool *pool, const char *path, unsigned int wait_ms,
              struct rdisk_error *err)
{
    int result;

    *pool = (struct pool) { .directory = -1, .lock = -1, .wait_ms = wait_ms };
    if (!path || !path[0]) {
        return 0;
    }
    pool->path = strdup(path);
    if (!pool->path) {
        return rdisk_error_set(err, -ENOMEM, "no memory for the pool");
    }
    pool->directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (pool->directory < 0) {
        result = rdisk_error_set(err, -errno,
                                 "cannot open the pool directory "
                                 "'%s': %s",
                                 path, strerror(errno));
    } else {
        result = lock_pool(pool, err);
    }
    if (result < 0) {
        pool_destroy(pool);
    }
    return result;
}

void pool_destroy(struct pool *pool)
{
    while (pool->volumes) {
        struct volume *volume = pool->volumes;

        pool->volumes = volume->next;
        volume_free(volume);
    }
    while (pool->leases) {
        struct lease *lease = pool->leases;

        pool->leases = lease->next;
        free(lease);
    }
    pool_destroy_images(pool);
    if (pool->directory >= 0) {
        close(pool->directory);
    }
    if (pool->lock >= 0) {
        close(pool->lock);
    }
    free(pool->path);
    *pool = (struct pool) { .directory = -1, .lock = -1 };
}

struct volume *pool_find(const struct pool *pool, const char *name)
{
    for (struct volume *volume = pool->volumes; volume; volume = volume->next) {
        if (strcmp(volume->name, name) == 0) {
            return volume;
        }
    }
    return NULL;
}

int pool_check_name(const char *name, struct rdisk_error *err)
{
    return rdisk_volume_name_check(name, strlen(name), err);
}

int pool_check_new_name(const char *name, struct rdisk_error *err)
{
    int result = pool_check_name(name, err);

    if (result == 0 && snapshot_is_name(name)) {
        result = rdisk_error_set(err, -EINVAL,
                                 "invalid volume name '%s': a name with '@' is "
                                 "a snapshot's, VOLUME@SNAPSHOT",
                                 name);
    }
    return result;
}

/*
 * What has one identity is one volume to clients, with one lease: they would
 * copy inside the wrong one, and fence each other. For those that no client may
 * write, it does not matter.
 */
static int check_unique(const struct pool *pool, const char *name,
                        const struct backend *backend, struct rdisk_error *err)
{
    for (const struct volume *other = pool->volumes; other;
         other = other->next) {
        if (memcmp(other->backend->identity, backend->identity,
                   sizeof(backend->identity)) == 0 &&
            !(other->backend->geometry.read_only &&
              backend->geometry.read_only)) {
            return rdisk_error_set(
                err, -EEXIST,
                "volume '%s' has the identity of volume '%s', so clients "
                "cannot distinguish them: give one of them another identity= "
                "in its own section",
                name, other->name);
        }
    }
    return 0;
}

struct volume *pool_add(struct pool *pool, const char *name,
                        struct backend *backend, struct rdisk_error *err)
{
    struct volume *volume = check_unique(pool, name, backend, err) < 0
                                ? NULL
                                : volume_new(name, backend, err);

    assert_control_thread();
    if (volume) {
        volume->references = 1;
        volume->next = pool->volumes;
        pool->volumes = volume;
    }
    return volume;
}

/* With the identity that is settled. Storage only. */
static struct backend *open_backend(const struct pool *pool,
                                    const struct backend_class *class,
                                    const struct backend_spec *spec,
                                    struct rdisk_error *err)
{
    struct backend *backend = class->open(spec, err);

    if (backend && pool_identify(pool, spec->volume, backend, err) < 0) {
        class->close(backend);
        return NULL;
    }
    return backend;
}

static struct volume *open_volume(struct pool *pool,
                                  const struct backend_class *class,
                                  const struct backend_spec *spec,
                                  struct rdisk_error *err)
{
    struct backend *backend = open_backend(pool, class, spec, err);
    struct volume *volume = backend ? pool_add(pool, spec->volume, backend, err)
                                    : NULL;

    if (backend && !volume) {
        class->close(backend);
    }
    return volume;
}

/* A file or an image of the pool. */
static struct backend *open_one(const struct pool *pool, const char *name,
                                bool read_only, struct rdisk_error *err)
{
    struct backend_spec spec = {
        .volume = name,
        .path = name,
        .directory = pool->directory,
        .read_only = read_only,
        .polling = pool->polling,
    };

    return pool->images ? pool_open_image(pool, name, read_only, err)
                        : open_backend(pool, &backend_file, &spec, err);
}

/* One that may not be written is read-only. */
struct backend *pool_open_file(const struct pool *pool, const char *name,
                               struct rdisk_error *err)
{
    struct rdisk_error why;
    struct backend *backend;

    if (pool->directory < 0 && !pool->images) {
        rdisk_error_set(err, -ENOENT, "there is no volume '%s'", name);
        return NULL;
    }
    backend = open_one(pool, name, snapshot_is_name(name), &why);
    if (!backend && !snapshot_is_name(name) &&
        (why.code == -EACCES || why.code == -EROFS || why.code == -EPERM)) {
        backend = open_one(pool, name, true, &why);
        if (backend) {
            log_info("volume '%s' may not be written: it is read-only", name);
        }
    }
    if (!backend && err) {
        *err = why;
    }
    return backend;
}

int pool_configure(struct pool *pool, const struct backend_class *class,
                   const struct backend_spec *spec, struct rdisk_error *err)
{
    struct rdisk_error why = { 0 };
    struct volume *volume;

    if (pool_check_new_name(spec->volume, err) < 0) {
        return -EINVAL;
    }
    if (pool_find(pool, spec->volume)) {
        return rdisk_error_set(err, -EEXIST, "volume '%s' is configured twice",
                               spec->volume);
    }
    for (unsigned int left = pool->wait_ms;;) {
        volume = open_volume(pool, class, spec, &why);
        if (volume || why.code != -EBUSY || !lock_pause(&left)) {
            break;
        }
    }
    if (!volume) {
        return rdisk_error_set(err, why.code, "%s", why.text);
    }
    volume->configured = true;
    return 0;
}

bool pool_unlink(struct pool *pool, struct volume *volume)
{
    struct volume **link = &pool->volumes;

    assert_control_thread();
    if (--volume->references) {
        return false;
    }
    while (*link != volume) {
        link = &(*link)->next;
    }
    *link = volume->next;
    return true;
}

bool pool_is_shared(const struct pool *pool, const struct volume *volume)
{
    return pool->images && !volume->configured && volume->backend->class->lock;
}

const struct lease_store *pool_records(const struct pool *pool)
{
    return pool->images    ? &pool->shared
           : pool->records ? &pool->records->store
                           : NULL;
}

/* ---- Leases ----------------------------------------------------------- */

static struct lease **find_lease(struct pool *pool, const uint8_t *identity)
{
    struct lease **link = &pool->leases;

    while (*link && memcmp((*link)->identity, identity, RDISK_ID_SIZE)) {
        link = &(*link)->next;
    }
    return link;
}

struct lease *pool_lease_of(struct pool *pool, struct volume *volume,
                            struct rdisk_error *err)
{
    const struct backend *backend = volume->backend;
    struct lease *lease = *find_lease(pool, backend->identity);

    assert_control_thread();
    if (!lease) {
        lease = calloc(1, sizeof(*lease));
        if (!lease) {
            rdisk_error_set(err, -ENOMEM,
                            "no memory for a lease of volume "
                            "'%s'",
                            volume->name);
            return NULL;
        }
        memcpy(lease->identity, backend->identity, sizeof(lease->identity));
        lease->store = backend->lasting ? pool_records(pool) : NULL;
        lease->lease_time = pool->lease_time;
        lease->next = pool->leases;
        pool->leases = lease;
    }
    snprintf(lease->name, sizeof(lease->name), "%s", volume->name);
    volume->lease = lease;
    return lease;
}

void pool_set_lease_time(struct pool *pool, uint64_t lease_time)
{
    assert_control_thread();
    pool->lease_time = lease_time;
    for (struct lease *lease = pool->leases; lease; lease = lease->next) {
        lease->lease_time = lease_time;
    }
}

/* A client that had the volume when the server started has had since then to
 * reconnect. */
uint64_t pool_lease_since(const struct pool *pool, struct lease *lease,
                          uint64_t now)
{
    bool first = !lease->compared;

    lease->compared = true;
    return first ? pool->started : now;
}

int pool_not_kept(struct pool *pool, const char *name, const uint8_t *identity,
                  const struct lease_record *record, const char *what,
                  struct rdisk_error *err)
{
    uint64_t now = rdisk_now(&rdisk_env_system), seconds;
    struct lease *known = *find_lease(pool, identity);
    struct lease found = {
        .store = pool_records(pool),
        .lease_time = pool->lease_time,
    };
    struct lease *lease = known ? known : &found;

    assert_control_thread();
    lease_compare(lease, record, known ? now : pool->started);
    seconds = lease_seconds_kept(lease, now);
    if (seconds) {
        return rdisk_error_set(err, -EBUSY,
                               "cannot %s volume '%s': it is "
                               "kept for %" PRIu64
                               " more seconds for %s, which has lost its "
                               "connection; 'rdisk fence %s' ends that",
                               what, name, seconds, lease->record.peer, name);
    }
    return 0;
}

/* Of a volume that is not open: one of this name was. */
static const struct lease *named_lease(const struct pool *pool,
                                       const char *name)
{
    const struct lease *lease = pool->leases;

    while (lease && strcmp(lease->name, name)) {
        lease = lease->next;
    }
    return lease;
}

void pool_forget_lease(struct pool *pool, const uint8_t *identity)
{
    struct lease **link = find_lease(pool, identity);
    struct lease *lease = *link;

    if (lease) {
        *link = lease->next;
        free(lease);
    }
}

/* ---- Listing ---------------------------------------------------------- */

struct pool_file *pool_append(struct pool_file **files, size_t *count)
{
    /* Doubled whenever the number is a power of two. */
    if ((*count & (*count - 1)) == 0) {
        size_t room = *count ? 2 * *count : 1;
        struct pool_file *more = realloc(*files, room * sizeof(*more));

        if (!more) {
            return NULL;
        }
        *files = more;
    }
    return &(*files)[(*count)++];
}

static int scan_stream(const struct pool *pool, DIR *stream,
                       struct pool_file **files, size_t *count)
{
    struct dirent *dirent;

    while ((dirent = readdir(stream))) {
        const char *name = dirent->d_name;
        struct pool_file *file;
        struct stat st;

        if (!rdisk_volume_name_valid(name, strlen(name)) ||
            fstatat(pool->directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
            !S_ISREG(st.st_mode)) {
            continue;
        }
        file = pool_append(files, count);
        if (!file) {
            return -ENOMEM;
        }
        snprintf(file->name, sizeof(file->name), "%s", name);
        file->size = st.st_size;
        file->allocated = (uint64_t)st.st_blocks * 512;
        file->changed = st.st_mtim.tv_sec * 1000000000ull + st.st_mtim.tv_nsec;
    }
    return 0;
}

int pool_scan(const struct pool *pool, struct pool_file **files, size_t *count,
              struct rdisk_error *err)
{
    DIR *stream;
    int fd, result;

    *files = NULL;
    *count = 0;
    if (pool->images) {
        return pool_scan_images(pool, files, count, err);
    }
    if (pool->directory < 0) {
        return 0;
    }
    /* Not a dup(): that would share its position with the next listing. */
    fd = openat(pool->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    stream = fd < 0 ? NULL : fdopendir(fd);
    result = stream ? 0 : -errno;
    if (stream) {
        result = scan_stream(pool, stream, files, count);
        closedir(stream);
    } else if (fd >= 0) {
        close(fd);
    }
    if (result < 0) {
        free(*files);
        *files = NULL;
        *count = 0;
        return rdisk_error_set(err, result,
                               "cannot list the pool directory "
                               "'%s': %s",
                               pool->path, strerror(-result));
    }
    return 0;
}

int pool_space(const struct pool *pool, struct pool_space *space)
{
    struct statvfs st;

    *space = (struct pool_space) { 0 };
    if (pool->directory < 0) {
        return 0;
    }
    if (fstatvfs(pool->directory, &st) < 0) {
        return -errno;
    }
    space->capacity = (uint64_t)st.f_blocks * st.f_frsize;
    space->available = (uint64_t)st.f_bavail * st.f_frsize;
    return 0;
}

static const struct pool_file *file_of(const struct pool_file *files,
                                       size_t count,
                                       const struct volume *volume)
{
    if (volume->configured) {
        return NULL; /* a file of its name is not its own */
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(files[i].name, volume->name) == 0) {
            return &files[i];
        }
    }
    return NULL;
}

void pool_for_each(struct pool *pool, const struct pool_file *files,
                   size_t count,
                   void (*fn)(void *opaque, const struct pool_entry *entry),
                   void *opaque)
{
    assert_control_thread();
    for (struct volume *volume = pool->volumes; volume; volume = volume->next) {
        struct pool_entry entry = {
            .name = volume->name,
            .backend = volume->backend->class->name,
            .size = volume->backend->geometry.size,
            .file = file_of(files, count, volume),
            .volume = volume,
            .lease = volume->lease,
        };

        fn(opaque, &entry);
    }
    for (size_t i = 0; i < count; i++) {
        struct pool_entry entry = {
            .name = files[i].name,
            .backend = (pool->images ? pool->images : &backend_file)->name,
            .size = files[i].size,
            .file = &files[i],
            .lease = named_lease(pool, files[i].name),
        };

        if (!pool_find(pool, files[i].name)) {
            fn(opaque, &entry);
        }
    }
}

static void count_one(void *opaque, const struct pool_entry *entry)
{
    ++*(unsigned int *)opaque;
}

unsigned int pool_count(struct pool *pool)
{
    struct pool_file *files;
    unsigned int n = 0;
    size_t count;

    pool_scan(pool, &files, &count, NULL);
    pool_for_each(pool, files, count, count_one, &n);
    free(files);
    return n;
}
