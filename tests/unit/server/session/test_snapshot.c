/* SPDX-License-Identifier: BSD-3-Clause */
/* Snapshots and clones of the pool directory's volumes. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/support/lease.h"
#include "tests/unit/support/pool.h"
#include "tests/unit/support/pool_server.h"
#include "tests/unit/support/unit.h"

#define SIZE (1u << 20)

static struct rdisk_error err;

static int delete_volume(const char *name)
{
    return pool_delete(&pool_server.pool, name, &err);
}

static int delete_with_snapshots(const char *name)
{
    return pool_delete_with_snapshots(&pool_server.pool, name, &err);
}

static int revert(const char *snapshot)
{
    return pool_revert(&pool_server.pool, "v", snapshot, &err);
}

static unsigned int files(void)
{
    struct pool_file *found;
    size_t count;

    REQUIRE(pool_scan(&pool_server.pool, &found, &count, &err) == 0);
    free(found);
    return count;
}

/* ---- Snapshots ----------------------------------------------------------- */

static void test_keeps_its_data(void)
{
    if (!pool_server_begin_shared(SIZE)) {
        return;
    }
    pool_put_text("v", 0, "before");
    CHECK_EQUAL(pool_server_snapshot("v", "v@s", NULL, &err), 0);
    pool_put_text("v", 0, "after!");
    CHECK(pool_has_text("v@s", 0, "before"));
    CHECK(pool_has_text("v", 0, "after!"));
    CHECK(pool_has_no_new_file());
    pool_server_end();
}

static void test_copies_nothing(void)
{
    const uint64_t size = 20ull << 30;
    struct stat st;
    uint64_t began;
    char *data;
    int fd;

    if (!pool_server_begin_shared(SIZE)) {
        return;
    }
    REQUIRE(pool_create(&pool_server.pool, "large", size, &err) == 0);
    data = calloc(1, 64 << 20);
    REQUIRE(data != NULL);
    memset(data, 'x', 64 << 20);
    fd = openat(pool_server.pool.directory, "large", O_WRONLY);
    CHECK_EQUAL(pwrite(fd, data, 64 << 20, size / 2), 64 << 20);
    close(fd);
    free(data);
    began = rdisk_now(&rdisk_env_system);
    CHECK_EQUAL(pool_server_snapshot("large", "large@s", NULL, &err), 0);
    /* A tenth of it where nothing else runs. */
    CHECK(rdisk_now(&rdisk_env_system) - began < 2000 * RDISK_MSEC);
    CHECK_EQUAL(fstatat(pool_server.pool.directory, "large@s", &st, 0), 0);
    CHECK_EQUAL(st.st_size, size);
    CHECK(pool_has_text("large@s", size / 2, "xxxx"));
    /* Both are there, though the file system has no room for two of them. */
    for (unsigned int i = 0; i < 20; i++) {
        char name[16];

        snprintf(name, sizeof(name), "large@%u", i);
        CHECK_EQUAL(pool_server_snapshot("large", name, NULL, &err), 0);
    }
    CHECK(pool_has_text("large@19", size / 2, "xxxx"));
    pool_server_end();
}

static void test_is_read_only(void)
{
    struct volume *volume;

    if (!pool_server_begin_shared(SIZE)) {
        return;
    }
    CHECK_EQUAL(pool_server_snapshot("v", "v@s", NULL, &err), 0);
    volume = pool_get(&pool_server.pool, "v@s", &err);
    REQUIRE(volume != NULL);
    CHECK(volume->backend->geometry.read_only);
    CHECK_EQUAL(volume->backend->geometry.size, SIZE);
    CHECK_EQUAL(pool_resize(&pool_server.pool, "v@s", 2 * SIZE, false, &err),
                -EROFS);
    pool_put(&pool_server.pool, volume);
    pool_server_end();
}

static void test_is_another_volume(void)
{
    struct volume *volume, *snapshot;

    if (!pool_server_begin_shared(SIZE)) {
        return;
    }
    volume = pool_get(&pool_server.pool, "v", &err);
    CHECK_EQUAL(pool_server_snapshot("v", "v@s", NULL, &err), 0);
    snapshot = pool_get(&pool_server.pool, "v@s", &err);
    REQUIRE(volume && snapshot);
    CHECK(memcmp(volume->backend->identity, snapshot->backend->identity,
                 RDISK_ID_SIZE) != 0);
    pool_put(&pool_server.pool, snapshot);
    pool_put(&pool_server.pool, volume);
    pool_server_end();
}

static void test_names(void)
{
    static const char *const bad[] = { "v@",    "v@.s", "v@-s",
                                       "v@s@t", "@s",   "w@s" };

    if (!pool_server_begin_shared(SIZE)) {
        return;
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CHECK_EQUAL(pool_server_snapshot("v", bad[i], NULL, &err), -EINVAL);
    }
    CHECK_EQUAL(pool_server_snapshot("v", "v@s", NULL, &err), 0);
    CHECK_EQUAL(pool_server_snapshot("v", "v@s", NULL, &err), -EEXIST);
    CHECK_EQUAL(pool_server_snapshot("v@s", "v@t", NULL, &err), -EINVAL);
    CHECK_EQUAL(pool_server_snapshot("none", "none@s", NULL, &err), -ENOENT);
    CHECK_EQUAL(pool_create(&pool_server.pool, "a@b", 4096, &err), -EINVAL);
    CHECK_SAYS(err.text, "a name with '@' is a snapshot's");
    CHECK_EQUAL(pool_replace(&pool_server.pool, "v@s", 4096, &err), -EINVAL);
    CHECK_EQUAL(files(), 2);
    CHECK(pool_has_no_new_file());
    pool_server_end();
}

static void test_configured(void)
{
    struct backend_spec spec = {
        .volume = "m",
        .size = 4096,
        .directory = AT_FDCWD,
    };

    if (!pool_server_begin_shared(SIZE)) {
        return;
    }
    REQUIRE(pool_configure(&pool_server.pool, &backend_memory, &spec, &err) ==
            0);
    CHECK_EQUAL(pool_server_snapshot("m", "m@s", NULL, &err), -ENOTSUP);
    CHECK_SAYS(err.text, "only volumes of the pool have snapshots and clones");
    spec.volume = "m@s";
    CHECK_EQUAL(pool_configure(&pool_server.pool, &backend_memory, &spec, &err),
                -EINVAL);
    pool_server_end();
}

static void test_no_reflinks(void)
{
    pool_server_begin(SIZE);
    CHECK_EQUAL(pool_server_snapshot("v", "v@s", NULL, &err), -ENOTSUP);
    CHECK_SAYS(err.text, "the file system of volume 'v', tmpfs, cannot share "
                         "blocks between files: use XFS or btrfs for the pool "
                         "directory");
    CHECK_EQUAL(pool_server_snapshot("v", "w", NULL, &err), -ENOTSUP);
    CHECK_EQUAL(files(), 1);
    CHECK(pool_has_no_new_file());
    pool_server_end();
}

/* ---- Clones -------------------------------------------------------------- */

static void test_clone(void)
{
    if (!pool_server_begin_shared(SIZE)) {
        return;
    }
    pool_put_text("v", 0, "first");
    CHECK_EQUAL(pool_server_snapshot("v", "v@s", NULL, &err), 0);
    pool_put_text("v", 0, "other");
    CHECK_EQUAL(pool_server_snapshot("v@s", "w", NULL, &err), 0);
    CHECK_EQUAL(pool_server_snapshot("v", "x", NULL, &err), 0);
    CHECK(pool_has_text("w", 0, "first"));
    CHECK(pool_has_text("x", 0, "other"));
    pool_put_text("w", 0, "third");
    CHECK(pool_has_text("v@s", 0, "first"));
    CHECK_EQUAL(pool_server_snapshot("v", "w", NULL, &err), -EEXIST);
    CHECK(pool_has_text("w", 0, "third"));
    /* None of them needs another one. */
    CHECK_EQUAL(delete_with_snapshots("v"), 0);
    CHECK(pool_has_text("w", 0, "third"));
    pool_server_end();
}

/* ---- Delete -------------------------------------------------------------- */

static void test_delete(void)
{
    if (!pool_server_begin_shared(SIZE)) {
        return;
    }
    CHECK_EQUAL(pool_server_snapshot("v", "v@s", NULL, &err), 0);
    CHECK_EQUAL(pool_server_snapshot("v", "v@t", NULL, &err), 0);
    CHECK_EQUAL(pool_server_snapshot("v", "vv", NULL, &err), 0);
    CHECK_EQUAL(pool_server_snapshot("vv", "vv@s", NULL, &err), 0);
    CHECK_EQUAL(delete_volume("v"), -EBUSY);
    CHECK_SAYS(err.text, "cannot delete volume 'v': it has 2 snapshots");
    CHECK_EQUAL(pool_replace(&pool_server.pool, "v", 4096, &err), -EBUSY);
    CHECK_EQUAL(delete_volume("v@s"), 0);
    CHECK(!pool_has_file("v@s") && pool_has_file("v@t") && pool_has_file("v"));
    CHECK_EQUAL(delete_with_snapshots("v"), 0);
    CHECK(!pool_has_file("v@t") && !pool_has_file("v"));
    CHECK(pool_has_file("vv@s"));
    pool_server_end();
}

static void test_delete_open_snapshot(void)
{
    struct volume *snapshot;

    if (!pool_server_begin_shared(SIZE)) {
        return;
    }
    CHECK_EQUAL(pool_server_snapshot("v", "v@s", NULL, &err), 0);
    CHECK_EQUAL(pool_server_snapshot("v", "v@t", NULL, &err), 0);
    snapshot = pool_get(&pool_server.pool, "v@t", &err);
    CHECK_EQUAL(delete_volume("v@t"), -EBUSY);
    CHECK_EQUAL(delete_with_snapshots("v"), -EBUSY);
    CHECK_SAYS(err.text, "cannot delete snapshot 'v@t': it is open");
    CHECK_EQUAL(files(), 3);
    pool_put(&pool_server.pool, snapshot);
    pool_server_end();
}

/* ---- Revert -------------------------------------------------------------- */

static void test_revert(void)
{
    uint8_t old[RDISK_ID_SIZE];
    struct volume *volume;

    if (!pool_server_begin_shared(SIZE)) {
        return;
    }
    pool_put_text("v", 0, "before");
    CHECK_EQUAL(pool_server_snapshot("v", "v@s", NULL, &err), 0);
    pool_put_text("v", 0, "after!");
    volume = pool_get(&pool_server.pool, "v", &err);
    memcpy(old, volume->backend->identity, sizeof(old));
    pool_put(&pool_server.pool, volume);
    CHECK_EQUAL(revert("v@s"), 0);
    CHECK(pool_has_text("v", 0, "before"));
    CHECK(pool_has_file("v@s"));
    /* A client that had it before does not take it for the volume that it
     * had. */
    volume = pool_get(&pool_server.pool, "v", &err);
    REQUIRE(volume != NULL);
    CHECK(memcmp(old, volume->backend->identity, sizeof(old)) != 0);
    CHECK(!volume->backend->geometry.read_only);
    pool_put(&pool_server.pool, volume);
    CHECK(pool_has_no_new_file());
    pool_server_end();
}

static void test_revert_in_use(void)
{
    struct volume_holder one = { .epoch = 1, .writer = true, .peer = "peer" };
    uint64_t now = rdisk_now(&rdisk_env_system);
    struct volume *volume;

    if (!pool_server_begin_shared(SIZE)) {
        return;
    }
    pool_server.pool.lease_time = 60000 * RDISK_MSEC;
    CHECK_EQUAL(pool_server_snapshot("v", "v@s", NULL, &err), 0);
    pool_put_text("v", 0, "after!");
    volume = pool_get(&pool_server.pool, "v", &err);
    REQUIRE(volume && pool_lease(&pool_server.pool, volume, now, &err) == 0);
    CHECK_EQUAL(volume_hold(volume, &one, &err), 0);
    CHECK_EQUAL(revert("v@s"), -EBUSY);
    CHECK_SAYS(err.text, "cannot revert volume 'v': it is open at peer");
    /* Its writer is away, and may come back. */
    volume_release(&one, false, now);
    pool_put(&pool_server.pool, volume);
    CHECK_EQUAL(revert("v@s"), -EBUSY);
    CHECK_SAYS(err.text, "'rdisk fence v' ends that");
    CHECK(pool_has_text("v", 0, "after!"));
    pool_server_end();
}

static void test_revert_what(void)
{
    if (!pool_server_begin_shared(SIZE)) {
        return;
    }
    CHECK_EQUAL(pool_server_snapshot("v", "v@s", NULL, &err), 0);
    CHECK_EQUAL(revert("v@t"), -ENOENT);
    CHECK_SAYS(err.text, "there is no snapshot 'v@t'");
    CHECK_EQUAL(revert("v"), -EINVAL);
    CHECK_EQUAL(revert("w@s"), -EINVAL);
    CHECK_EQUAL(pool_revert(&pool_server.pool, "v@s", "v@s", &err), -EINVAL);
    CHECK(pool_has_no_new_file());
    pool_server_end();
}

/* ---- The server ends on the way ------------------------------------------ */

static struct backend_class dying;

static int share_and_die(struct backend *backend, int fd,
                         struct rdisk_error *why)
{
    if (backend_file.share(backend, fd, why) == 0) {
        _exit(9);
    }
    return -EIO;
}

static void test_killed(void)
{
    struct volume *volume;
    pid_t child;
    int status;

    if (!pool_server_begin_shared(SIZE)) {
        return;
    }
    pool_put_text("v", 0, "before");
    pool_server_close();
    child = fork();
    if (child == 0) {
        pool_server_open();
        volume = pool_get(&pool_server.pool, "v", &err);
        dying = *volume->backend->class;
        dying.share = share_and_die;
        volume->backend->class = &dying;
        pool_server_snapshot("v", "v@s", NULL, &err);
        _exit(1);
    }
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 9);
    CHECK(!pool_has_no_new_file());
    pool_server_open();
    CHECK(pool_has_no_new_file());
    CHECK(!pool_has_file("v@s"));
    CHECK(pool_has_text("v", 0, "before"));
    CHECK_EQUAL(pool_server_snapshot("v", "v@s", NULL, &err), 0);
    pool_server_end();
}

static void test_foreign_files_stay(void)
{
    static const char *const names[] = { ".new",      "..new", ".a b.new",
                                         ".a~.b.new", "x.new", ".x.news" };
    int fd;

    pool_server_begin(SIZE);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        fd = openat(pool_server.pool.directory, names[i], O_CREAT | O_WRONLY,
                    0600);
        REQUIRE(fd >= 0);
        close(fd);
    }
    fd = openat(pool_server.pool.directory, ".v@s~7.new", O_CREAT | O_WRONLY,
                0600);
    close(fd);
    pool_server_close();
    pool_server_open();
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        CHECK(pool_has_file(names[i]));
    }
    CHECK(!pool_has_file(".v@s~7.new"));
    pool_server_end();
}

static void clone_has_no_name_of_a_configured_volume(void)
{
    struct backend_spec spec = {
        .volume = "m",
        .size = 4096,
        .directory = AT_FDCWD,
    };

    pool_server_begin(SIZE);
    REQUIRE(pool_configure(&pool_server.pool, &backend_memory, &spec, &err) ==
            0);
    CHECK_EQUAL(pool_server_snapshot("v", "m", NULL, &err), -EEXIST);
    CHECK_SAYS(err.text, "volume 'm' already exists");
    CHECK(!pool_has_file("m"));
    pool_server_end();
}

static const struct unit_test tests[] = {
    { "a snapshot keeps its data while the volume changes",
      test_keeps_its_data },
    { "a snapshot of 20 GiB copies nothing", test_copies_nothing },
    { "a snapshot can only be read", test_is_read_only },
    { "a snapshot is another volume to clients", test_is_another_volume },
    { "a snapshot has a name of its own, which no volume may have",
      test_names },
    { "a volume that is not the pool's has no snapshots", test_configured },
    { "a file system without reflinks is named, and nothing is left there",
      test_no_reflinks },
    { "a clone is a volume of its own", test_clone },
    { "a volume with snapshots is deleted only with them", test_delete },
    { "a snapshot that is open is not deleted, nor the volume with it",
      test_delete_open_snapshot },
    { "a volume that is reverted has the snapshot's data and another identity",
      test_revert },
    { "a volume that is open, or kept for its writer, is not reverted",
      test_revert_in_use },
    { "a volume is reverted to snapshots of its own only", test_revert_what },
    { "a snapshot that a killed server did not complete is removed",
      test_killed },
    { "other files of the pool directory are left alone at the start",
      test_foreign_files_stay },
    { "a clone has no name of a configured volume",
      clone_has_no_name_of_a_configured_volume },
};
UNIT_SUITE("server-snapshot", tests)
