/* SPDX-License-Identifier: BSD-3-Clause */
/* Who may make volumes, and resize them; and what becomes of the pool. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/session/create.h"
#include "server/session/resize.h"
#include "tests/unit/support/lease.h"
#include "tests/unit/support/pool.h"
#include "tests/unit/support/pool_server.h"
#include "tests/unit/support/unit.h"

static struct rdisk_error err;

static enum rdisk_status create(const char *user, const char *volume,
                                uint64_t size, bool exclusive)
{
    struct rdisk_create_request request = {
        .peer = "10.9.0.7:1234",
        .user = user,
        .size = size,
        .exclusive = exclusive,
    };

    void *waiting = NULL;

    snprintf(request.volume, sizeof(request.volume), "%s", volume);
    err = (struct rdisk_error) { 0 };
    return create_event(&pool_server, NULL, &request, &waiting, &err);
}

static off_t size_of(const char *name)
{
    struct stat st;

    return fstatat(pool_server.pool.directory, name, &st, 0) < 0 ? -1
                                                                 : st.st_size;
}

static enum rdisk_status ask(const char *user,
                             enum rdisk_snapshot_action action,
                             const char *name, const char *target)
{
    struct rdisk_create_request request = {
        .peer = "10.9.0.7:1234",
        .user = user,
        .action = action,
    };
    void *waiting = NULL;

    snprintf(request.volume, sizeof(request.volume), "%s", name);
    snprintf(request.target, sizeof(request.target), "%s", target);
    err = (struct rdisk_error) { 0 };
    return create_event(&pool_server, NULL, &request, &waiting, &err);
}

/* ---- Who may ----------------------------------------------------------- */

#define OPEN "[server]\nauthentication = none\n"

static void without_authentication(void)
{
    pool_server_begin_configured(OPEN);
    CHECK_EQUAL(create("", "new", 4096, true), RDISK_STATUS_DENIED);
    CHECK_SAYS(err.text, "may not create a volume 'new'");
    CHECK_EQUAL(size_of("new"), -1);
    pool_server_end();
    pool_server_begin_configured(OPEN "[pool]\ncreate = allow\n");
    CHECK_EQUAL(create("", "new", 4096, true), RDISK_STATUS_OK);
    CHECK_EQUAL(size_of("new"), 4096);
    pool_server_end();
}

static void lists_decide(void)
{
    pool_server_begin_configured(
        "[pool]\ncreate = allow\n"
        "[client alice]\nread-write = a*\nread-only = b\ncreate = a* b\n");
    CHECK_EQUAL(create("alice", "new", 4096, true), RDISK_STATUS_DENIED);
    CHECK_EQUAL(create("bob", "a", 4096, true), RDISK_STATUS_DENIED);
    CHECK_EQUAL(create("", "a", 4096, true), RDISK_STATUS_DENIED);
    CHECK_EQUAL(create("alice", "a", 4096, true), RDISK_STATUS_OK);
    CHECK_EQUAL(create("alice", "b", 4096, true), RDISK_STATUS_OK);
    pool_server_end();
}

/* What it may not write it may not replace either. */
static void replacing_is_writing(void)
{
    pool_server_begin_configured(
        "[client alice]\nread-write = a*\nread-only = b\ncreate = a* b\n");
    CHECK_EQUAL(create("alice", "b", 4096, false), RDISK_STATUS_DENIED);
    CHECK_EQUAL(create("alice", "a", 4096, false), RDISK_STATUS_OK);
    CHECK_EQUAL(create("alice", "a", 8192, false), RDISK_STATUS_OK);
    CHECK_EQUAL(size_of("a"), 8192);
    pool_server_end();
}

static enum rdisk_status delete_volume(const char *user, const char *volume)
{
    struct rdisk_create_request request = {
        .peer = "10.9.0.7:1234",
        .user = user,
        .deletes = true,
    };
    void *waiting = NULL;

    snprintf(request.volume, sizeof(request.volume), "%s", volume);
    err = (struct rdisk_error) { 0 };
    return create_event(&pool_server, NULL, &request, &waiting, &err);
}

/* It takes both lists; neither alone will do. */
static void deleting_is_creating_and_writing(void)
{
    pool_server_begin_configured(
        "[client alice]\nread-write = a*\nread-only = b\ncreate = a b\n");
    CHECK_EQUAL(pool_create(&pool_server.pool, "a", 4096, &err), 0);
    CHECK_EQUAL(pool_create(&pool_server.pool, "b", 4096, &err), 0);
    CHECK_EQUAL(delete_volume("alice", "b"), RDISK_STATUS_DENIED);
    CHECK_SAYS(err.text, "may not delete a volume 'b'");
    CHECK_EQUAL(delete_volume("alice", "a2"), RDISK_STATUS_DENIED);
    CHECK_EQUAL(delete_volume("bob", "a"), RDISK_STATUS_DENIED);
    CHECK_EQUAL(size_of("a"), 4096);
    CHECK_EQUAL(size_of("b"), 4096);
    CHECK_EQUAL(delete_volume("alice", "a"), RDISK_STATUS_OK);
    CHECK_EQUAL(size_of("a"), -1);
    CHECK_EQUAL(delete_volume("alice", "a"), RDISK_STATUS_NO_VOLUME);
    pool_server_end();
    pool_server_begin_configured(OPEN);
    CHECK_EQUAL(pool_create(&pool_server.pool, "a", 4096, &err), 0);
    CHECK_EQUAL(delete_volume("", "a"), RDISK_STATUS_DENIED);
    CHECK_EQUAL(size_of("a"), 4096);
    pool_server_end();
}

/* A refusal is the same whether there is such a volume or not. */
static void tells_nothing(void)
{
    char text[sizeof(err.text)];

    pool_server_begin_configured("[client alice]\nread-write = a\n");
    CHECK_EQUAL(pool_create(&pool_server.pool, "b", 4096, &err), 0);
    CHECK_EQUAL(create("alice", "b", 4096, true), RDISK_STATUS_DENIED);
    snprintf(text, sizeof(text), "%s", err.text);
    CHECK_EQUAL(create("alice", "c", 4096, true), RDISK_STATUS_DENIED);
    CHECK_EQUAL(strlen(text), strlen(err.text));
    pool_server_end();
}

static void drained(void)
{
    pool_server_begin_configured(OPEN "[pool]\ncreate = allow\n");
    REQUIRE(drain_begin(&pool_server.drain, "", &err) == 0);
    CHECK_EQUAL(create("", "new", 4096, true), RDISK_STATUS_SHUTTING_DOWN);
    REQUIRE(drain_end(&pool_server.drain, "", &err) == 0);
    pool_server_end();
}

static void resize_policy(void)
{
    struct backend_spec spec = {
        .volume = "m",
        .size = 4096,
        .directory = AT_FDCWD,
    };

    for (unsigned int allow = 0; allow < 2; allow++) {
        struct volume *volume, *configured;

        pool_server_begin_configured(allow ? OPEN
                                           : OPEN "[pool]\nresize = deny\n");
        CHECK_EQUAL(pool_create(&pool_server.pool, "a", 4096, &err), 0);
        CHECK_EQUAL(pool_configure(&pool_server.pool, &backend_memory, &spec,
                                   &err),
                    0);
        volume = pool_get(&pool_server.pool, "a", &err);
        configured = pool_get(&pool_server.pool, "m", &err);
        REQUIRE(volume && configured);
        CHECK_EQUAL(resize_allowed(&pool_server, volume), allow);
        CHECK(!resize_allowed(&pool_server, configured));
        pool_put(&pool_server.pool, configured);
        pool_put(&pool_server.pool, volume);
        pool_server_end();
    }
}

/* ---- What becomes of the pool ------------------------------------------ */

static void exclusive(void)
{
    pool_server_begin_configured(OPEN "[pool]\ncreate = allow\n");
    CHECK_EQUAL(create("", "a", 4096, true), RDISK_STATUS_OK);
    CHECK_EQUAL(create("", "a", 8192, true), RDISK_STATUS_EXISTS);
    CHECK_EQUAL(size_of("a"), 4096);
    pool_server_end();
}

static void replaced_is_empty(void)
{
    struct volume *volume;
    uint8_t old[RDISK_ID_SIZE];
    char byte = 'x';
    int fd;

    pool_server_begin_configured(OPEN "[pool]\ncreate = allow\n");
    CHECK_EQUAL(create("", "a", 8192, false), RDISK_STATUS_OK);
    fd = openat(pool_server.pool.directory, "a", O_RDWR);
    CHECK_EQUAL(pwrite(fd, "secret", 6, 0), 6);
    volume = pool_get(&pool_server.pool, "a", &err);
    REQUIRE(volume != NULL);
    memcpy(old, volume->backend->identity, sizeof(old));
    pool_put(&pool_server.pool, volume);
    CHECK_EQUAL(create("", "a", 4096, false), RDISK_STATUS_OK);
    close(fd);
    CHECK_EQUAL(size_of("a"), 4096);
    CHECK_EQUAL(size_of(".a.new"), -1);
    fd = openat(pool_server.pool.directory, "a", O_RDONLY);
    CHECK_EQUAL(pread(fd, &byte, 1, 0), 1);
    CHECK_EQUAL(byte, 0);
    close(fd);
    /* A client that lost the old one does not take the new one for it. */
    volume = pool_get(&pool_server.pool, "a", &err);
    REQUIRE(volume != NULL);
    CHECK(memcmp(old, volume->backend->identity, sizeof(old)) != 0);
    pool_put(&pool_server.pool, volume);
    pool_server_end();
}

static void not_what_is_held(void)
{
    struct volume_holder holder = { .peer = "10.9.0.7:1234", .epoch = 1 };
    struct volume *volume;

    pool_server_begin_configured(OPEN "[pool]\ncreate = allow\n");
    CHECK_EQUAL(create("", "a", 8192, true), RDISK_STATUS_OK);
    volume = pool_get(&pool_server.pool, "a", &err);
    REQUIRE(volume != NULL);
    CHECK_EQUAL(volume_hold(volume, &holder, &err), 0);
    CHECK_EQUAL(create("", "a", 4096, false), RDISK_STATUS_BUSY);
    CHECK_SAYS(err.text, "10.9.0.7:1234");
    CHECK_EQUAL(size_of("a"), 8192);
    volume_release(&holder, true, 0);
    pool_put(&pool_server.pool, volume);
    pool_server_end();
}

static void not_what_is_none_of_ours(void)
{
    struct backend_spec spec = {
        .volume = "m",
        .size = 4096,
        .directory = AT_FDCWD,
    };

    pool_server_begin_configured(OPEN "[pool]\ncreate = allow\n");
    REQUIRE(mkfifoat(pool_server.pool.directory, "pipe", 0600) == 0);
    CHECK(create("", "pipe", 4096, false) != RDISK_STATUS_OK);
    CHECK_EQUAL(pool_configure(&pool_server.pool, &backend_memory, &spec, &err),
                0);
    CHECK_EQUAL(create("", "m", 4096, false), RDISK_STATUS_DENIED);
    CHECK_SAYS(err.text, "configuration");
    pool_server_end();
}

/* A server that died on the way leaves a file that is no volume. */
static void after_a_crash(void)
{
    int fd;

    pool_server_begin_configured(OPEN "[pool]\ncreate = allow\n");
    fd = openat(pool_server.pool.directory, ".new.new", O_CREAT | O_WRONLY,
                0600);
    CHECK_EQUAL(write(fd, "rubbish", 7), 7);
    close(fd);
    CHECK_EQUAL(pool_count(&pool_server.pool), 0);
    CHECK_EQUAL(create("", "new", 4096, false), RDISK_STATUS_OK);
    CHECK_EQUAL(size_of("new"), 4096);
    CHECK_EQUAL(size_of(".new.new"), -1);
    pool_server_end();
}

/* A client that may is told that there is no such volume. */
static void snapshots_are_for_writers(void)
{
    pool_server_begin_configured(
        "[client alice]\nread-write = mine\nread-only = base\n"
        "create = mine new\n");
    CHECK_EQUAL(ask("alice", RDISK_SNAPSHOT_TAKE, "mine@s", ""),
                RDISK_STATUS_NO_VOLUME);
    CHECK_EQUAL(ask("alice", RDISK_SNAPSHOT_REVERT, "mine@s", ""),
                RDISK_STATUS_NO_VOLUME);
    CHECK_EQUAL(ask("alice", RDISK_SNAPSHOT_CLONE, "mine@s", "new"),
                RDISK_STATUS_NO_VOLUME);
    CHECK_EQUAL(ask("alice", RDISK_SNAPSHOT_CLONE, "base@s", "new"),
                RDISK_STATUS_NO_VOLUME);
    CHECK_EQUAL(ask("alice", RDISK_SNAPSHOT_CLONE, "base", "new"),
                RDISK_STATUS_NO_VOLUME);
    CHECK_EQUAL(ask("alice", RDISK_SNAPSHOT_CLONE, "base", "other"),
                RDISK_STATUS_DENIED);
    CHECK_EQUAL(ask("alice", RDISK_SNAPSHOT_CLONE, "hidden", "new"),
                RDISK_STATUS_DENIED);
    CHECK_EQUAL(ask("alice", RDISK_SNAPSHOT_TAKE, "base@s", ""),
                RDISK_STATUS_DENIED);
    CHECK_SAYS(err.text, "this client may not take snapshot 'base@s'");
    CHECK_EQUAL(ask("alice", RDISK_SNAPSHOT_REVERT, "base@s", ""),
                RDISK_STATUS_DENIED);
    CHECK_EQUAL(ask("alice", RDISK_SNAPSHOT_FLATTEN, "mine", ""),
                RDISK_STATUS_NO_VOLUME);
    CHECK_EQUAL(ask("alice", RDISK_SNAPSHOT_FLATTEN, "base", ""),
                RDISK_STATUS_DENIED);
    CHECK_SAYS(err.text, "this client may not flatten 'base'");
    CHECK_EQUAL(ask("bob", RDISK_SNAPSHOT_TAKE, "mine@s", ""),
                RDISK_STATUS_DENIED);
    pool_server_end();
    pool_server_begin_configured(OPEN "[pool]\ncreate = deny\n");
    CHECK_EQUAL(ask("", RDISK_SNAPSHOT_TAKE, "mine@s", ""),
                RDISK_STATUS_DENIED);
    pool_server_end();
}

/* Which is taking a snapshot of a volume that it may only read. */
static void clone_is_no_snapshot(void)
{
    pool_server_begin_configured(
        "[client alice]\nread-only = base\ncreate = base\n");
    REQUIRE(pool_create(&pool_server.pool, "base", 4096, &err) == 0);
    CHECK_EQUAL(ask("alice", RDISK_SNAPSHOT_TAKE, "base@x", ""),
                RDISK_STATUS_DENIED);
    CHECK_EQUAL(ask("alice", RDISK_SNAPSHOT_CLONE, "base", "base@x"),
                rdisk_status_from_errno(-EINVAL));
    CHECK_SAYS(err.text, "invalid volume name 'base@x'");
    CHECK_EQUAL(size_of("base@x"), -1);
    pool_server_end();
}

static const struct unit_test tests[] = {
    { "snapshots are made and reverted to by clients that may write, cloned "
      "by those that may read",
      snapshots_are_for_writers },
    { "a clone has no snapshot's name", clone_is_no_snapshot },
    { "without authentication only if that is allowed",
      without_authentication },
    { "a client makes volumes of its list only", lists_decide },
    { "to replace a volume a client must be able to write it",
      replacing_is_writing },
    { "to delete a volume takes the right to create and to write it",
      deleting_is_creating_and_writing },
    { "a refusal reveals nothing about the volume", tells_nothing },
    { "a drained server makes no volumes", drained },
    { "clients resize volumes of the pool, if allowed", resize_policy },
    { "an exclusive create takes nothing away", exclusive },
    { "a volume that replaces another is empty and new", replaced_is_empty },
    { "a volume in use is not replaced", not_what_is_held },
    { "only volumes of the pool are replaced", not_what_is_none_of_ours },
    { "what a crash left is no obstacle", after_a_crash },
};

UNIT_SUITE("server-create", tests)
