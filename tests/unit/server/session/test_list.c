/* SPDX-License-Identifier: BSD-3-Clause */
/* Which volumes a client is listed, and in which pages. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/session/list.h"
#include "tests/unit/support/pool.h"
#include "tests/unit/support/pool_server.h"
#include "tests/unit/support/unit.h"

#define OPEN "[server]\nauthentication = none\n"

static struct rdisk_error err;
static struct rdisk_list_page page;

static void make(const char *name, uint64_t size)
{
    CHECK_EQUAL(pool_create(&pool_server.pool, name, size, &err), 0);
}

static void configure(const char *name, uint64_t size)
{
    struct backend_spec spec = {
        .volume = name,
        .size = size,
        .directory = AT_FDCWD,
    };

    CHECK_EQUAL(pool_configure(&pool_server.pool, &backend_memory, &spec, &err),
                0);
}

static enum rdisk_status list(const char *user, const char *after)
{
    struct rdisk_list_request request = {
        .peer = "10.9.0.7:1234",
        .user = user,
        .after = after,
    };
    void *waiting = NULL;

    page = (struct rdisk_list_page) { .count = 0 };
    return list_event(&pool_server, NULL, &request, &page, &waiting, &err);
}

static void is(unsigned int i, const char *name, uint64_t size, bool read_only)
{
    REQUIRE(i < page.count);
    CHECK(strcmp(page.entries[i].name, name) == 0);
    CHECK_EQUAL(page.entries[i].size, size);
    CHECK_EQUAL(page.entries[i].read_only, read_only);
}

static void what_it_may_open(void)
{
    pool_server_begin_configured(
        "[client alice]\nread-write = a*\nread-only = b\ncreate = c*\n");
    make("b", 1024);
    make("a2", 4096);
    make("c1", 512);
    make("d", 512);
    make("a1", 512);
    CHECK_EQUAL(list("alice", ""), RDISK_STATUS_OK);
    CHECK_EQUAL(page.count, 3);
    CHECK(!page.more);
    is(0, "a1", 512, false);
    is(1, "a2", 4096, false);
    is(2, "b", 1024, true);
    pool_server_end();
}

static void unknown_client(void)
{
    pool_server_begin_configured("[client alice]\nread-write = a*\n");
    make("a1", 512);
    CHECK_EQUAL(list("bob", ""), RDISK_STATUS_DENIED);
    CHECK_EQUAL(list("", ""), RDISK_STATUS_DENIED);
    pool_server_end();
}

static void without_authentication(void)
{
    pool_server_begin_configured(OPEN);
    make("b", 512);
    make("a", 512);
    CHECK_EQUAL(list("", ""), RDISK_STATUS_OK);
    CHECK_EQUAL(page.count, 2);
    is(0, "a", 512, false);
    is(1, "b", 512, false);
    pool_server_end();
}

static void in_pages(void)
{
    unsigned int seen = 0, pages = 0;
    char after[RDISK_VOLUME_NAME_MAX + 1] = "", name[16];

    pool_server_begin_configured("[client alice]\nread-write = v*\n");
    /* In an order that is neither theirs nor its reverse. */
    for (unsigned int i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "v%02u", i * 37 % 100);
        make(name, 512 * (i * 37 % 100 + 1));
        snprintf(name, sizeof(name), "u%02u", i);
        make(name, 512);
    }
    do {
        CHECK_EQUAL(list("alice", after), RDISK_STATUS_OK);
        REQUIRE(page.count > 0 && page.count <= RDISK_LIST_MAX);
        for (unsigned int i = 0; i < page.count; i++, seen++) {
            snprintf(name, sizeof(name), "v%02u", seen);
            is(i, name, 512 * (seen + 1), false);
        }
        snprintf(after, sizeof(after), "%s", page.entries[page.count - 1].name);
        pages++;
    } while (page.more && pages < 20);
    CHECK_EQUAL(seen, 100);
    CHECK_EQUAL(pages, 6);
    CHECK_EQUAL(list("alice", after), RDISK_STATUS_OK);
    CHECK_EQUAL(page.count, 0);
    CHECK(!page.more);
    pool_server_end();
}

/* The file of its name is not what a client would open. */
static void configured_volumes(void)
{
    char name[16];

    pool_server_begin_configured(OPEN);
    make("m", 512);
    make("z", 512);
    configure("m", 8192);
    configure("a", 4096);
    CHECK_EQUAL(list("", ""), RDISK_STATUS_OK);
    CHECK_EQUAL(page.count, 3);
    is(0, "a", 4096, false);
    is(1, "m", 8192, false);
    is(2, "z", 512, false);
    CHECK_EQUAL(list("", "a"), RDISK_STATUS_OK);
    CHECK_EQUAL(page.count, 2);
    /* One more than fits into a page. */
    for (unsigned int i = 0; i < RDISK_LIST_MAX - 2; i++) {
        snprintf(name, sizeof(name), "n%02u", i);
        make(name, 512);
    }
    CHECK_EQUAL(list("", ""), RDISK_STATUS_OK);
    CHECK_EQUAL(page.count, RDISK_LIST_MAX);
    CHECK(page.more);
    is(0, "a", 4096, false);
    snprintf(name, sizeof(name), "%s", page.entries[page.count - 1].name);
    CHECK_EQUAL(list("", name), RDISK_STATUS_OK);
    CHECK_EQUAL(page.count, 1);
    CHECK(!page.more);
    is(0, "z", 512, false);
    pool_server_end();
}

static void snapshots_are_read_only(void)
{
    int fd;

    pool_server_begin_configured(OPEN);
    make("v", 512);
    fd = openat(pool_server.pool.directory, "v@s", O_CREAT | O_WRONLY, 0400);
    REQUIRE(fd >= 0 && ftruncate(fd, 512) == 0);
    close(fd);
    CHECK_EQUAL(list("", ""), RDISK_STATUS_OK);
    CHECK_EQUAL(page.count, 2);
    is(0, "v", 512, false);
    is(1, "v@s", 512, true);
    pool_server_end();
}

static void only_volumes(void)
{
    pool_server_begin_configured(OPEN);
    make("a", 512);
    REQUIRE(mkfifoat(pool_server.pool.directory, "pipe", 0600) == 0);
    REQUIRE(mkdirat(pool_server.pool.directory, "folder", 0700) == 0);
    REQUIRE(symlinkat("a", pool_server.pool.directory, "link") == 0);
    CHECK_EQUAL(list("", ""), RDISK_STATUS_OK);
    CHECK_EQUAL(page.count, 1);
    is(0, "a", 512, false);
    pool_server_end();
}

static void a_pool_that_cannot_be_read(void)
{
    int directory;

    pool_server_begin_configured(OPEN);
    directory = pool_server.pool.directory;
    pool_server.pool.directory = open("/dev/null", O_RDONLY);
    CHECK(list("", "") != RDISK_STATUS_OK);
    CHECK_SAYS(err.text, "cannot list the pool directory");
    close(pool_server.pool.directory);
    pool_server.pool.directory = directory;
    pool_server_end();
}

static const struct unit_test tests[] = {
    { "a snapshot is listed as one that cannot be written",
      snapshots_are_read_only },
    { "a client is listed the volumes that it may open", what_it_may_open },
    { "an unknown client is listed none", unknown_client },
    { "without authentication all volumes are listed", without_authentication },
    { "many volumes are listed in pages, each once", in_pages },
    { "a configured volume is listed instead of a file of its name",
      configured_volumes },
    { "what is not a volume is not listed", only_volumes },
    { "a pool that cannot be read is an error", a_pool_that_cannot_be_read },
};

UNIT_SUITE("server-list", tests)
