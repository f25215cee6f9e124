/* SPDX-License-Identifier: BSD-3-Clause */
/* What the pool directory has, and what is told without it. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "server/volume/pool.h"
#include "tests/unit/support/pool.h"
#include "tests/unit/support/unit.h"

static void touch(const char *folder, const char *name, off_t size)
{
    char path[128];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0);
    CHECK_EQUAL(ftruncate(fd, size), 0);
    close(fd);
}

static void note(void *opaque, const struct pool_entry *entry)
{
    strcat(opaque, entry->name);
    strcat(opaque, entry->volume ? "* " : " ");
}

static void files_and_open_volumes(void)
{
    char folder[] = "/tmp/rdisk-unit-XXXXXX", told[512] = "", command[64];
    struct rdisk_error err;
    struct pool_file *files;
    struct volume *volume;
    struct pool pool;
    size_t count;

    log_set_level(RDISK_LOG_ERROR);
    REQUIRE(mkdtemp(folder) != NULL);
    touch(folder, "one", 4096);
    touch(folder, "two", 8192);
    touch(folder, ".hidden", 4096);
    REQUIRE(pool_init(&pool, folder, 0, &err) == 0);
    volume = pool_get(&pool, "two", &err);
    REQUIRE(volume != NULL);
    CHECK_EQUAL(pool_scan(&pool, &files, &count, &err), 0);
    CHECK_EQUAL(count, 2);
    pool_for_each(&pool, files, count, note, told);
    CHECK(strcmp(told, "two* one ") == 0);
    CHECK_EQUAL(pool_count(&pool), 2);
    /* Without the directory those that are open are known. */
    told[0] = '\0';
    pool_for_each(&pool, NULL, 0, note, told);
    CHECK(strcmp(told, "two* ") == 0);
    free(files);
    pool_put(&pool, volume);
    pool_destroy(&pool);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    CHECK_EQUAL(system(command), 0);
    log_set_level(RDISK_LOG_INFO);
}

static const struct unit_test tests[] = {
    { "volumes are those that are open, and files that are not",
      files_and_open_volumes },
};

UNIT_SUITE("server-listing", tests)
