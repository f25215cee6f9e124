/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/volume/records.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/volume/lock.h"
#include "server/volume/record_text.h"

#define DEFAULT_PARENT "/var/lib/rdisk"
#define NAME           ".rdisk"
#define LOCK_NAME      ".lock"
/* ---- The directory ---------------------------------------------------- */

/* Make the directory's name durable. Its parent is "..": what is in front of
 * the last slash of a path may be the directory itself. */
static int sync_parent(int directory)
{
    int fd = openat(directory, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result;

    if (fd < 0) {
        return -errno;
    }
    result = fsync(fd) < 0 ? -errno : 0;
    close(fd);
    return result;
}

/* Open the directory @path, made if it is not there: a descriptor or a
 * negative errno. */
static int make(const char *path)
{
    bool made = mkdir(path, 0700) == 0;
    int fd, result;

    if (!made && errno != EEXIST) {
        return -errno;
    }
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    /* One that exists may have been created just before a crash. */
    result = sync_parent(fd);
    if (result < 0 && made) {
        close(fd);
        return result;
    }
    return fd;
}

static int make_default_parent(void)
{
    int fd = make(DEFAULT_PARENT);

    if (fd >= 0) {
        close(fd);
    }
    return fd < 0 ? fd : 0;
}

static int prepare(struct records *records, unsigned int wait_ms,
                   struct rdisk_error *err)
{
    int directory, lock, result = 0;

    if (records->directory >= 0) {
        return 0;
    }
    if (strcmp(records->path, DEFAULT_PARENT "/" NAME) == 0) {
        result = make_default_parent();
    }
    directory = result < 0 ? result : make(records->path);
    if (directory < 0) {
        /* load() returns -ENOENT where there is no record: another case. */
        return rdisk_error_set(
            err, directory == -ENOENT ? -EIO : directory,
            "the server cannot keep its record of who may write in '%s': %s; "
            "name another directory with state=",
            records->path, strerror(-directory));
    }
    lock = lock_directory(directory, LOCK_NAME, wait_ms);
    if (lock < 0) {
        close(directory);
        return rdisk_error_set(
            err, lock,
            "the server cannot keep its record of who may write in '%s': %s; "
            "name another directory with state=",
            records->path,
            lock == -EBUSY ? "another server does" : strerror(-lock));
    }
    records->directory = directory;
    records->lock = lock;
    return 0;
}

/* Steps of several operations, in threads of their own, may come first. */
int records_prepare(struct records *records, unsigned int wait_ms,
                    struct rdisk_error *err)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    int result;

    pthread_mutex_lock(&lock);
    result = prepare(records, wait_ms, err);
    pthread_mutex_unlock(&lock);
    return result;
}

/* ---- Reading ---------------------------------------------------------- */

static int load(void *opaque, const uint8_t *identity,
                struct lease_record *record, struct rdisk_error *err)
{
    struct records *records = opaque;
    int result = records_prepare(records, 0, err);
    char name[RECORD_NAME], text[RECORD_MAX + 1];
    ssize_t length;
    int fd;

    if (result < 0) {
        return result;
    }
    record_name(identity, name);
    fd = openat(records->directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT) {
        return -ENOENT;
    }
    length = fd < 0 ? -1 : read(fd, text, RECORD_MAX);
    if (length < 0) {
        result = rdisk_error_set(err, -EIO,
                                 "cannot read '%s/%s', the "
                                 "server's record of who may write: %s",
                                 records->path, name, strerror(errno));
    } else {
        text[length] = '\0';
        if (!record_parse(text, record)) {
            result = rdisk_error_set(
                err, -EIO,
                "'%s/%s', the server's record of who may write, is damaged; "
                "remove it if no disconnected client of the volume can "
                "reconnect",
                records->path, name);
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    return result;
}

/* ---- Writing ---------------------------------------------------------- */

static int write_file(struct records *records, const char *name,
                      const char *text)
{
    int fd = openat(records->directory, name,
                    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
                    0600);
    size_t length = strlen(text);
    int result = 0;

    if (fd < 0) {
        return -errno;
    }
    errno = ENOSPC; /* if it is written in part */
    if (write(fd, text, length) != (ssize_t)length || fsync(fd) < 0) {
        result = -errno;
    }
    if (close(fd) < 0 && result == 0) {
        result = -errno;
    }
    return result;
}

/* Whole, or not at all: a new file takes the old one's name. */
static int replace(struct records *records, const char *name, const char *text)
{
    char fresh[RECORD_NAME + 4];
    int result;

    snprintf(fresh, sizeof(fresh), "%s.new", name);
    result = write_file(records, fresh, text);
    if (result == 0 &&
        renameat(records->directory, fresh, records->directory, name) < 0) {
        result = -errno;
    }
    if (result == 0 && fsync(records->directory) < 0) {
        result = -errno;
    }
    if (result < 0) {
        unlinkat(records->directory, fresh, 0);
    }
    return result;
}

static int save(void *opaque, const uint8_t *identity,
                const struct lease_record *before,
                const struct lease_record *record, struct rdisk_error *err)
{
    struct records *records = opaque;
    struct lease_record stored;
    char name[RECORD_NAME], text[RECORD_MAX];
    int result = load(records, identity, &stored, err);

    if (result < 0 && result != -ENOENT) {
        return result;
    }
    if (result == 0 && stored.generation > before->generation) {
        return rdisk_error_set(err, -EBUSY,
                               "the record of who may write "
                               "volume '%s' in '%s' has generation %" PRIu64
                               ", this server knows %" PRIu64 ": another "
                               "server uses the same directory",
                               record->volume, records->path, stored.generation,
                               before->generation);
    }
    record_name(identity, name);
    record_print(record, text);
    result = replace(records, name, text);
    if (result < 0) {
        return rdisk_error_set(err, result,
                               "the server cannot write '%s/%s', "
                               "its record of who may write: %s",
                               records->path, name, strerror(-result));
    }
    return 0;
}

static void remove_record(void *opaque, const uint8_t *identity)
{
    records_remove(opaque, identity);
}

void records_remove(struct records *records, const uint8_t *identity)
{
    char name[RECORD_NAME];

    record_name(identity, name);
    if (records->directory >= 0 || records_prepare(records, 0, NULL) == 0) {
        unlinkat(records->directory, name, 0);
    }
}

/* ---- Life ------------------------------------------------------------- */

int records_init(struct records *records, const char *path, const char *pool)
{
    *records = (struct records) {
        .store = { .load = load,
                   .save = save,
                   .remove = remove_record,
                   .opaque = records },
        .directory = -1,
        .lock = -1,
    };
    if (path && path[0]) {
        records->path = strdup(path);
    } else if (asprintf(&records->path, "%s/" NAME,
                        pool && pool[0] ? pool : DEFAULT_PARENT) < 0) {
        records->path = NULL;
    }
    return records->path ? 0 : -ENOMEM;
}

void records_destroy(struct records *records)
{
    if (records->directory >= 0) {
        close(records->directory);
    }
    if (records->lock >= 0) {
        close(records->lock);
    }
    free(records->path);
    *records = (struct records) { .directory = -1, .lock = -1 };
}
