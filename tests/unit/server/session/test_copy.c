/* SPDX-License-Identifier: BSD-3-Clause */
/* Volumes are copied where their storage cannot share blocks. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/session/copy.h"
#include "tests/unit/support/lease.h"
#include "tests/unit/support/pool.h"
#include "tests/unit/support/pool_server.h"
#include "tests/unit/support/unit.h"

#define SIZE (1u << 20)

static struct rdisk_error err;

/* ---- Copies ------------------------------------------------------------- */

static struct backend_class pieced;
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
        between(pool_server.copies);
    }
    return result;
}

/* The result of copying "v", whose backend is held open by the test. */
static int copy_v(const char *target)
{
    struct copy *copy = calloc(1, sizeof(*copy));
    int result;

    REQUIRE(copy != NULL);
    copy->server = &pool_server;
    copy->begun = begun;
    strcpy(copy->work.operation.volume, "v");
    strcpy(copy->target, target);
    copy_begun = false;
    pieces = 0;
    copy_start(copy);
    CHECK(copy_begun);
    CHECK(copy->ended);
    CHECK(copy_find(&pool_server, target) == copy);
    result = copy->work.result;
    err = copy->work.why;
    CHECK(result < 0 || (copy->done == SIZE && copy->size == SIZE));
    copies_check_time(&pool_server, rdisk_now(&rdisk_env_system));
    CHECK(pool_server.copies == NULL);
    return result;
}

static void begin(void)
{
    pool_server_begin(SIZE);
    between = NULL;
}

static void test_copy(void)
{
    struct stat st;

    begin();
    pool_put_text("v", SIZE / 2, "data");
    CHECK_EQUAL(copy_v("v@s"), 0);
    CHECK_EQUAL(copy_v("w"), 0);
    pool_put_text("v", SIZE / 2, "news");
    CHECK(pool_has_text("v@s", SIZE / 2, "data"));
    CHECK(pool_has_text("w", SIZE / 2, "data"));
    CHECK_EQUAL(fstatat(pool_server.pool.directory, "w", &st, 0), 0);
    CHECK_EQUAL(st.st_size, SIZE);
    /* What is a hole stays one. */
    CHECK(st.st_blocks * 512 <= 64 * 1024);
    CHECK_EQUAL(copy_v("w"), -EEXIST);
    CHECK(pool_has_text("w", SIZE / 2, "data"));
    CHECK(pool_has_no_new_file());
    pool_server_end();
}

static void cancel(struct copy *copy)
{
    copies_check_time(&pool_server,
                      copy->asked + COPY_ABANDONED_MS * RDISK_MSEC);
}

/* A writer comes, and the administrator deletes it. */
static void try_to_change(struct copy *copy)
{
    struct volume_holder one = { .epoch = 1, .writer = true, .peer = "peer" };
    struct volume_holder *older;
    struct volume *volume = copy->work.volume;

    CHECK_EQUAL(pool_lease(&pool_server.pool, volume, 0, &err), 0);
    CHECK_EQUAL(volume_check(volume, &one, 0, &older, &err), RDISK_STATUS_BUSY);
    CHECK_SAYS(err.text, "volume 'v' is being copied");
    one.writer = false;
    CHECK_EQUAL(volume_check(volume, &one, 0, &older, &err), RDISK_STATUS_OK);
    CHECK_EQUAL(pool_delete(&pool_server.pool, "v", &err), -EBUSY);
    CHECK_SAYS(err.text, "it is being copied");
}

static void with_pieces(void (*fn)(struct copy *copy), int expected)
{
    struct volume *volume;

    begin();
    pool_put_text("v", 0, "data");
    volume = pool_get(&pool_server.pool, "v", &err);
    REQUIRE(volume != NULL);
    pieced = *volume->backend->class;
    pieced.copy = copy_a_piece;
    volume->backend->class = &pieced;
    between = fn;
    CHECK_EQUAL(copy_v("v@s"), expected);
    CHECK(pieces > 0);
    CHECK_EQUAL(volume->copies, 0);
    CHECK_EQUAL(pool_has_file("v@s"), expected == 0);
    CHECK(pool_has_no_new_file());
    volume->backend->class = &backend_file;
    pool_put(&pool_server.pool, volume);
    pool_server_end();
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

    begin();
    volume = pool_get(&pool_server.pool, "v", &err);
    REQUIRE(copy && volume &&
            pool_lease(&pool_server.pool, volume, now, &err) == 0);
    CHECK_EQUAL(volume_hold(volume, &one, &err), 0);
    copy->server = &pool_server;
    strcpy(copy->work.operation.volume, "v");
    strcpy(copy->target, "w");
    copy_start(copy);
    CHECK_EQUAL(copy->work.result, -EBUSY);
    CHECK_SAYS(copy->work.why.text, "while it is written by peer");
    CHECK(!pool_has_file("w"));
    volume_release(&one, true, now);
    pool_put(&pool_server.pool, volume);
    copies_check_time(&pool_server, RDISK_NEVER - 1);
    CHECK(pool_server.copies == NULL);
    pool_server_end();
}

/* As the server before this one has left it. */
static void test_copy_of_one_that_is_kept(void)
{
    struct volume_holder one = { .epoch = 1, .writer = true, .peer = "peer" };
    struct volume *volume;

    begin();
    volume = pool_get(&pool_server.pool, "v", &err);
    REQUIRE(volume && pool_lease(&pool_server.pool, volume, 0, &err) == 0);
    CHECK_EQUAL(volume_hold(volume, &one, &err), 0);
    volume_release(&one, false, 0);
    pool_put(&pool_server.pool, volume);
    pool_server_close();
    pool_server_open();
    pool_server.pool.started = rdisk_now(&rdisk_env_system);
    pool_server.pool.lease_time = 60 * 1000 * RDISK_MSEC;
    CHECK_EQUAL(copy_v("w"), -EBUSY);
    CHECK_SAYS(err.text, "cannot copy volume 'v': it is kept for");
    CHECK(!pool_has_file("w"));
    pool_server.pool.lease_time = 0;
    CHECK_EQUAL(copy_v("w"), 0);
    pool_server_end();
}

static void test_copy_to_configured(void)
{
    struct backend_spec spec = {
        .volume = "m",
        .size = 4096,
        .directory = AT_FDCWD,
    };

    begin();
    REQUIRE(pool_configure(&pool_server.pool, &backend_memory, &spec, &err) ==
            0);
    CHECK_EQUAL(copy_v("m"), -EEXIST);
    CHECK_SAYS(err.text, "volume 'm' already exists");
    CHECK(!pool_has_file("m"));
    pool_server_end();
}

static const struct unit_test tests[] = {
    { "a copy has the data, and the holes", test_copy },
    { "a copy that is not queried is cancelled, and leaves nothing",
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
