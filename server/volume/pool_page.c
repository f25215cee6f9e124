/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/volume/pool_page.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/thread.h"
#include "server/volume/pool_internal.h"

#define ROOM (RDISK_LIST_MAX + 1)

/* Its place in the page, or ROOM: behind all that the page has room for. */
static unsigned int place_of(const struct pool_page *page, const char *name)
{
    unsigned int i = page->count;

    while (i && strcmp(name, page->entries[i - 1].name) <= 0) {
        i--;
    }
    return i;
}

static bool is_at(const struct pool_page *page, unsigned int i,
                  const char *name)
{
    return i < page->count && strcmp(page->entries[i].name, name) == 0;
}

/* Cheaper than a look-up in the storage, or in the lists of a client. */
static bool has_room(const struct pool_page *page, const char *name)
{
    return strcmp(name, page->after) > 0 && place_of(page, name) < ROOM;
}

static void enter(struct pool_page *page, const struct rdisk_list_entry *entry)
{
    unsigned int i = place_of(page, entry->name);

    if (i == ROOM) {
        return;
    }
    if (!is_at(page, i, entry->name)) {
        unsigned int kept = page->count < ROOM ? page->count : ROOM - 1;

        memmove(&page->entries[i + 1], &page->entries[i],
                (kept - i) * sizeof(page->entries[0]));
        page->count = kept + 1;
    }
    page->entries[i] = *entry;
}

/* ---- Files --------------------------------------------------------------- */

static void enter_file(const struct pool *pool, struct pool_page *page,
                       const char *name)
{
    struct rdisk_list_entry entry = { .name = "" };
    struct stat st;

    if (!rdisk_volume_name_valid(name, strlen(name)) || !has_room(page, name) ||
        !page->wanted(page->opaque, name, &entry.read_only) ||
        fstatat(pool->directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        !S_ISREG(st.st_mode)) {
        return;
    }
    snprintf(entry.name, sizeof(entry.name), "%s", name);
    entry.size = (uint64_t)st.st_size;
    enter(page, &entry);
}

static int read_directory(const struct pool *pool, struct pool_page *page,
                          struct rdisk_error *err)
{
    int fd = openat(pool->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *dirent;

    if (!stream) {
        int code = -errno;

        if (fd >= 0) {
            close(fd);
        }
        return rdisk_error_set(err, code,
                               "cannot list the pool directory "
                               "'%s': %s",
                               pool->path, strerror(-code));
    }
    while ((dirent = readdir(stream))) {
        enter_file(pool, page, dirent->d_name);
    }
    closedir(stream);
    return 0;
}

/* ---- Images -------------------------------------------------------------- */

static bool enter_image(void *opaque, const char *name, uint64_t size)
{
    struct pool_page *page = opaque;
    struct rdisk_list_entry entry = { .name = "", .size = size };

    if (rdisk_volume_name_valid(name, strlen(name)) && has_room(page, name) &&
        page->wanted(page->opaque, name, &entry.read_only)) {
        snprintf(entry.name, sizeof(entry.name), "%s", name);
        enter(page, &entry);
    }
    return true;
}

int pool_page_read(const struct pool *pool, struct pool_page *page,
                   struct rdisk_error *err)
{
    if (pool->images) {
        return pool->images->pool->list(pool->place, enter_image, page, err);
    }
    return pool->directory < 0 ? 0 : read_directory(pool, page, err);
}

/* ---- Configured volumes -------------------------------------------------- */

void pool_page_configured(const struct pool *pool, struct pool_page *page)
{
    assert_control_thread();
    for (const struct volume *volume = pool->volumes; volume;
         volume = volume->next) {
        struct rdisk_list_entry entry = { .name = "" };

        if (!volume->configured || !has_room(page, volume->name) ||
            !page->wanted(page->opaque, volume->name, &entry.read_only)) {
            continue;
        }
        snprintf(entry.name, sizeof(entry.name), "%s", volume->name);
        entry.size = volume->backend->geometry.size;
        entry.read_only |= volume->backend->geometry.read_only;
        enter(page, &entry);
    }
}
