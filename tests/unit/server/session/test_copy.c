/* SPDX-License-Identifier: BSD-3-Clause */
/* Volumes are copied where their storage cannot share blocks. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "server/server.h"
#include "server/session/copy.h"
#include "tests/unit/support/lease.h"
#include "tests/unit/support/pool.h"
#include "tests/unit/support/reflink.h"
#include "tests/unit/support/unit.h"

#define QUIET ((enum rdisk_log_level) - 1) /* below the lowest */
#define SIZE  (1u << 20)

static char folder[64];
static struct server server;
static struct records records;
static struct rdisk_error err;

static void open_pool(void)
{
    server = (struct server) { .env = &rdisk_env_system };
    REQUIRE(mailbox_init(&server.mailbox) == 0);
    operations_init(&server.operations, NULL);
    REQUIRE(pool_init(&server.pool, folder, 0, &err) == 0);
    REQUIRE(records_init(&records, NULL, folder) == 0);
    server.pool.records = &records;
}

static void close_pool(void)
{
    pool_destroy(&server.pool);
    records_destroy(&records);
    mailbox_destroy(&server.mailbox);
}

static void end(void)
{
    close_pool();
    remove_folder(folder);
    log_set_level(RDISK_LOG_INFO);
}

/* ---- What is there ------------------------------------------------------ */

static bool there(const char *name)
{
    return faccessat(server.pool.directory, name, F_OK, AT_SYMLINK_NOFOLLOW) ==
           0;
}

static void put(const char *name, uint64_t offset, const char *text)
{
    int fd = openat(server.pool.directory, name, O_WRONLY);

    REQUIRE(fd >= 0);
    CHECK_EQUAL(pwrite(fd, text, strlen(text), offset), strlen(text));
    close(fd);
}

static bool has(const char *name, uint64_t offset, const char *text)
{
    int fd = openat(server.pool.directory, name, O_RDONLY);
    char read[64] = "";

    REQUIRE(fd >= 0);
    CHECK(pread(fd, read, strlen(text), offset) >= 0);
    close(fd);
    return memcmp(read, text, strlen(text)) == 0;
}

static bool nothing_is_left_over(void)
{
    char command[128];

    snprintf(command, sizeof(command), "ls -A %s | grep -q '[.]new$'", folder);
    return system(command) != 0;
}

/* ---- Copies ------------------------------------------------------------- */

static struct backend_class dying;
static bool copy_begun;
/* In the control thread, between two pieces, when @n of them are done. */
static void (*between)(struct copy *copy);
static unsigned int pieces;

static void begun(struct copy *copy)
{
    copy_begun = true;
}

static int copy_a_piece(struct backend *backend, int fd, uint64_t *position,
                        uint64_t size, struct rdisk_error *why)
{
    int result = backend_file.copy(backend, fd, position, size, why);

    if (pieces++ == 0 && between) {
        between(server.copies);
    }
    return result;
}

/* The result of copying "v", whose backend is held open by the test. */
static int copy_v(const char *target)
{
    struct copy *copy = calloc(1, sizeof(*copy));
    int result;

    REQUIRE(copy != NULL);
    copy->server = &server;
    copy->begun = begun;
    strcpy(copy->work.operation.volume, "v");
    strcpy(copy->target, target);
    copy_begun = false;
    pieces = 0;
    copy_start(copy);
    CHECK(copy_begun);
    CHECK(copy->ended);
    CHECK(copy_find(&server, target) == copy);
    result = copy->work.result;
    err = copy->work.why;
    CHECK(result < 0 || (copy->done == SIZE && copy->size == SIZE));
    copies_check_time(&server, rdisk_now(&rdisk_env_system));
    CHECK(server.copies == NULL);
    return result;
}

static void begin_plain(void)
{
    log_set_level(QUIET);
    plain_folder(folder, sizeof(folder));
    open_pool();
    REQUIRE(pool_create(&server.pool, "v", SIZE, &err) == 0);
    between = NULL;
}

static void test_copy(void)
{
    struct stat st;

    begin_plain();
    put("v", SIZE / 2, "data");
    CHECK_EQUAL(copy_v("v@s"), 0);
    CHECK_EQUAL(copy_v("w"), 0);
    put("v", SIZE / 2, "news");
    CHECK(has("v@s", SIZE / 2, "data"));
    CHECK(has("w", SIZE / 2, "data"));
    CHECK_EQUAL(fstatat(server.pool.directory, "w", &st, 0), 0);
    CHECK_EQUAL(st.st_size, SIZE);
    /* What is a hole stays one. */
    CHECK(st.st_blocks * 512 <= 64 * 1024);
    CHECK_EQUAL(copy_v("w"), -EEXIST);
    CHECK(has("w", SIZE / 2, "data"));
    CHECK(nothing_is_left_over());
    end();
}

static void cancel(struct copy *copy)
{
    copies_check_time(&server, copy->asked + COPY_ABANDONED_MS * RDISK_MSEC);
}

/* A writer comes, and the administrator deletes it. */
static void try_to_change(struct copy *copy)
{
    struct volume_holder one = { .epoch = 1, .writer = true, .peer = "peer" };
    struct volume_holder *older;
    struct volume *volume = copy->work.volume;

    CHECK_EQUAL(pool_lease(&server.pool, volume, 0, &err), 0);
    CHECK_EQUAL(volume_check(volume, &one, 0, &older, &err), RDISK_STATUS_BUSY);
    CHECK_SAYS(err.text, "volume 'v' is being copied");
    one.writer = false;
    CHECK_EQUAL(volume_check(volume, &one, 0, &older, &err), RDISK_STATUS_OK);
    CHECK_EQUAL(pool_delete(&server.pool, "v", &err), -EBUSY);
    CHECK_SAYS(err.text, "it is being copied");
}

static void with_pieces(void (*fn)(struct copy *copy), int expected)
{
    struct volume *volume;

    begin_plain();
    put("v", 0, "data");
    volume = pool_get(&server.pool, "v", &err);
    REQUIRE(volume != NULL);
    dying = *volume->backend->class;
    dying.copy = copy_a_piece;
    volume->backend->class = &dying;
    between = fn;
    CHECK_EQUAL(copy_v("v@s"), expected);
    CHECK(pieces > 0);
    CHECK_EQUAL(volume->copies, 0);
    CHECK_EQUAL(there("v@s"), expected == 0);
    CHECK(nothing_is_left_over());
    volume->backend->class = &backend_file;
    pool_put(&server.pool, volume);
    end();
}

static void test_copy_cancelled(void)
{
    with_pieces(cancel, -ECANCELED);
    CHECK_SAYS(err.text, "was cancelled: there is no 'v@s'");
}

static void test_copy_keeps_writers_out(void)
{
    with_pieces(try_to_change, 0);
}

static void test_copy_of_one_that_is_written(void)
{
    struct volume_holder one = { .epoch = 1, .writer = true, .peer = "peer" };
    uint64_t now = rdisk_now(&rdisk_env_system);
    struct volume *volume;
    struct copy *copy = calloc(1, sizeof(*copy));

    begin_plain();
    volume = pool_get(&server.pool, "v", &err);
    REQUIRE(copy && volume && pool_lease(&server.pool, volume, now, &err) == 0);
    CHECK_EQUAL(volume_hold(volume, &one, &err), 0);
    copy->server = &server;
    strcpy(copy->work.operation.volume, "v");
    strcpy(copy->target, "w");
    copy_start(copy);
    CHECK_EQUAL(copy->work.result, -EBUSY);
    CHECK_SAYS(copy->work.why.text, "while it is written by peer");
    CHECK(!there("w"));
    volume_release(&one, true, now);
    pool_put(&server.pool, volume);
    copies_check_time(&server, RDISK_NEVER - 1);
    CHECK(server.copies == NULL);
    end();
}

/* As the server before this one has left it. */
static void test_copy_of_one_that_is_kept(void)
{
    struct volume_holder one = { .epoch = 1, .writer = true, .peer = "peer" };
    struct volume *volume;

    begin_plain();
    volume = pool_get(&server.pool, "v", &err);
    REQUIRE(volume && pool_lease(&server.pool, volume, 0, &err) == 0);
    CHECK_EQUAL(volume_hold(volume, &one, &err), 0);
    volume_release(&one, false, 0);
    pool_put(&server.pool, volume);
    close_pool();
    open_pool();
    server.pool.started = rdisk_now(&rdisk_env_system);
    server.pool.lease_time = 60 * 1000 * RDISK_MSEC;
    CHECK_EQUAL(copy_v("w"), -EBUSY);
    CHECK_SAYS(err.text, "cannot copy volume 'v': it is kept for");
    CHECK(!there("w"));
    server.pool.lease_time = 0;
    CHECK_EQUAL(copy_v("w"), 0);
    end();
}

static void test_copy_to_configured(void)
{
    struct backend_spec spec = {
        .volume = "m",
        .size = 4096,
        .directory = AT_FDCWD,
    };

    begin_plain();
    REQUIRE(pool_configure(&server.pool, &backend_memory, &spec, &err) == 0);
    CHECK_EQUAL(copy_v("m"), -EEXIST);
    CHECK_SAYS(err.text, "volume 'm' already exists");
    CHECK(!there("m"));
    end();
}

static const struct unit_test tests[] = {
    { "a copy has the data, and the holes", test_copy },
    { "a copy that nobody asks for is cancelled, and leaves nothing",
      test_copy_cancelled },
    { "a volume that is copied can be read, and neither written nor deleted",
      test_copy_keeps_writers_out },
    { "a volume that is written is not copied",
      test_copy_of_one_that_is_written },
    { "a volume is not copied while its writer may come back",
      test_copy_of_one_that_is_kept },
    { "a copy has no name of a configured volume", test_copy_to_configured },
};
UNIT_SUITE("server-copy", tests)
