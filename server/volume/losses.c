/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/volume/losses.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/log.h"
#include <rdisk/protocol.h>

/* ---- The file --------------------------------------------------------- */

/*
 * As it lies in memory: read and written by one kernel's processes only. An
 * entry is free while its count is 0, and its identity is written before that.
 */
struct entry {
    uint8_t identity[RDISK_ID_SIZE];
    atomic_uint count;
    uint8_t unused[12];
};

struct table {
    char magic[sizeof(struct entry)];
    struct entry entries[LOSSES_MAX];
};

static const char magic[sizeof(struct entry)] = "rdisk losses 1\n";

/* All below: under the lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct table *table; /* NULL: none */
static bool full;           /* that is logged */

/* That of @identity, or the free one it would get; NULL: there is none. */
static struct entry *find(const uint8_t *identity)
{
    for (size_t i = 0; table && i < LOSSES_MAX; i++) {
        struct entry *entry = &table->entries[i];

        if (atomic_load(&entry->count) == 0 ||
            memcmp(entry->identity, identity, RDISK_ID_SIZE) == 0) {
            return entry;
        }
    }
    return NULL;
}

static unsigned int load(const uint8_t *identity)
{
    struct entry *entry = find(identity);

    return entry ? atomic_load(&entry->count) : 0;
}

static void store(const uint8_t *identity, unsigned int count)
{
    struct entry *entry = find(identity);

    if (entry) {
        memcpy(entry->identity, identity, RDISK_ID_SIZE);
        atomic_store(&entry->count, count);
    } else if (table && !full) {
        full = true;
        log_warning("more than %u volumes have lost data since the machine was "
                    "booted; a restart of this server forgets those of the "
                    "others",
                    LOSSES_MAX);
    }
}

static int check(const char *path, int fd)
{
    struct statfs fs;
    struct stat st;

    if (fstatfs(fd, &fs) < 0 || fstat(fd, &st) < 0) {
        return -errno;
    }
    if (fs.f_type != TMPFS_MAGIC && fs.f_type != RAMFS_MAGIC) {
        if (S_ISREG(st.st_mode) && st.st_size == 0) {
            unlink(path); /* just made, or by an earlier attempt */
        }
        return -ENOTSUP;
    }
    /* All of it now: memory that cannot be had later is a SIGBUS. */
    return -posix_fallocate(fd, 0, sizeof(*table));
}

static int map(int fd)
{
    struct table *mapped = mmap(NULL, sizeof(*table), PROT_READ | PROT_WRITE,
                                MAP_SHARED, fd, 0);
    static const char fresh[sizeof(magic)];

    if (mapped == MAP_FAILED) {
        return -errno;
    }
    if (memcmp(mapped->magic, fresh, sizeof(magic)) == 0) {
        memcpy(mapped->magic, magic, sizeof(magic));
    } else if (memcmp(mapped->magic, magic, sizeof(magic)) != 0) {
        munmap(mapped, sizeof(*table));
        return -EINVAL;
    }
    table = mapped;
    return 0;
}

static const char *explain(int result)
{
    switch (result) {
    case -ENOTSUP:
        return "it is not on tmpfs";
    case -EINVAL:
        return "it is another file than a server of volumes writes";
    default:
        return strerror(-result);
    }
}

int losses_open(const char *path, struct rdisk_error *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int result = fd < 0 ? -errno : check(path, fd);

    pthread_mutex_lock(&lock);
    assert(!table);
    if (result == 0) {
        result = map(fd);
    }
    pthread_mutex_unlock(&lock);
    if (fd >= 0) {
        close(fd);
    }
    if (result < 0) {
        return rdisk_error_set(err, result,
                               "cannot remember in '%s' what the storage of "
                               "volumes loses, so a restart of this server "
                               "forgets it: %s",
                               path, explain(result));
    }
    return 0;
}

/* ---- Those of the volumes that are open, or that lost something ------- */

struct losses {
    uint8_t identity[RDISK_ID_SIZE];
    atomic_uint count; /* read without the lock */
    unsigned int users;
    struct losses *next;
};

static struct losses *all;

void losses_close(void)
{
    struct losses **link = &all;

    pthread_mutex_lock(&lock);
    while (*link) {
        struct losses *losses = *link;

        if (losses->users == 0) {
            *link = losses->next;
            free(losses);
        } else {
            link = &losses->next;
        }
    }
    if (table) {
        munmap(table, sizeof(*table));
    }
    table = NULL;
    full = false;
    pthread_mutex_unlock(&lock);
}

struct losses *losses_get(const uint8_t *identity)
{
    struct losses *losses;

    pthread_mutex_lock(&lock);
    losses = all;
    while (losses && memcmp(losses->identity, identity, RDISK_ID_SIZE) != 0) {
        losses = losses->next;
    }
    if (!losses) {
        losses = calloc(1, sizeof(*losses));
        if (losses) {
            memcpy(losses->identity, identity, RDISK_ID_SIZE);
            atomic_store(&losses->count, load(identity));
            losses->next = all;
            all = losses;
        }
    }
    if (losses) {
        losses->users++;
    }
    pthread_mutex_unlock(&lock);
    return losses;
}

void losses_put(struct losses *losses)
{
    struct losses **link = &all;

    pthread_mutex_lock(&lock);
    if (--losses->users == 0 && atomic_load(&losses->count) == 0) {
        while (*link != losses) {
            link = &(*link)->next;
        }
        *link = losses->next;
        free(losses);
    }
    pthread_mutex_unlock(&lock);
}

void losses_add(struct losses *losses)
{
    pthread_mutex_lock(&lock);
    store(losses->identity, atomic_fetch_add(&losses->count, 1) + 1);
    pthread_mutex_unlock(&lock);
}

const atomic_uint *losses_count(const struct losses *losses)
{
    return &losses->count;
}
