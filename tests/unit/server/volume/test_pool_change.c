/* SPDX-License-Identifier: BSD-3-Clause */
/* Volumes of the pool directory come, go and change their size. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "server/volume/pool.h"
#include "server/volume/pool_change.h"
#include "tests/unit/support/lease.h"
#include "tests/unit/support/pool.h"
#include "tests/unit/support/unit.h"

static char folder[64];
static struct pool pool;
static struct records records;
static struct rdisk_error err;

static void begin(void)
{
    strcpy(folder, "/tmp/rdisk-unit-XXXXXX");
    log_set_level(RDISK_LOG_ERROR);
    REQUIRE(mkdtemp(folder) != NULL);
    REQUIRE(pool_init(&pool, folder, 0, &err) == 0);
    REQUIRE(records_init(&records, NULL, folder) == 0);
    pool.records = &records;
}

static void end(void)
{
    char command[100];

    pool_destroy(&pool);
    records_destroy(&records);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    CHECK_EQUAL(system(command), 0);
    log_set_level(RDISK_LOG_INFO);
}

static bool there(const char *name)
{
    return faccessat(pool.directory, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static off_t size_of(const char *name)
{
    struct stat st;

    return fstatat(pool.directory, name, &st, 0) < 0 ? -1 : st.st_size;
}

/* A client writes volume @name, and is gone without closing it. */
static void write_and_vanish(const char *name, uint64_t now)
{
    struct volume_holder one = { .epoch = 1, .writer = true, .peer = "peer" };
    struct volume *volume = pool_get(&pool, name, &err);

    REQUIRE(volume && pool_lease(&pool, volume, now, &err) == 0);
    CHECK_EQUAL(volume_hold(volume, &one, &err), 0);
    volume_release(&one, false, now);
    pool_put(&pool, volume);
}

static unsigned int records_kept(void)
{
    char command[100];
    FILE *output;
    unsigned int n = 0;

    snprintf(command, sizeof(command), "ls %s/.rdisk | wc -l", folder);
    output = popen(command, "r");
    REQUIRE(output && fscanf(output, "%u", &n) == 1);
    pclose(output);
    return n;
}

/* fsync() of the directory fails from now on, and nothing else does. */
static void break_sync(void)
{
    close(pool.directory);
    pool.directory = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    REQUIRE(pool.directory >= 0);
}

/* ---- In use elsewhere -------------------------------------------------- */

static void volume_of_another_server_is_left_alone(void)
{
    int fd;

    begin();
    CHECK_EQUAL(pool_create(&pool, "v", 4096, &err), 0);
    fd = openat(pool.directory, "v", O_RDWR);
    REQUIRE(fd >= 0 && flock(fd, LOCK_EX) == 0);
    CHECK_EQUAL(pool_delete(&pool, "v", &err), -EBUSY);
    CHECK_SAYS(err.text,
               "cannot delete volume 'v': its file is locked: "
               "another server, or a volume of another name, serves it");
    CHECK_EQUAL(pool_replace(&pool, "v", 8192, &err), -EBUSY);
    CHECK_EQUAL(pool_resize(&pool, "v", 8192, false, &err), -EBUSY);
    CHECK_EQUAL(size_of("v"), 4096);
    close(fd);
    CHECK_EQUAL(pool_delete(&pool, "v", &err), 0);
    end();
}

static void file_of_a_configured_volume_is_left_alone(void)
{
    char path[100];
    struct backend_spec spec = {
        .volume = "w",
        .path = path,
        .directory = AT_FDCWD,
    };

    begin();
    CHECK_EQUAL(pool_create(&pool, "v", 4096, &err), 0);
    snprintf(path, sizeof(path), "%s/v", folder);
    REQUIRE(pool_configure(&pool, &backend_file, &spec, &err) == 0);
    CHECK_EQUAL(pool_delete(&pool, "v", &err), -EBUSY);
    CHECK_EQUAL(pool_replace(&pool, "v", 8192, &err), -EBUSY);
    CHECK_EQUAL(size_of("v"), 4096);
    end();
}

static void volume_whose_snapshot_is_read_stays(void)
{
    struct volume_holder one = { .epoch = 1, .peer = "peer" };
    struct volume *snapshot;
    int fd;

    begin();
    CHECK_EQUAL(pool_create(&pool, "v", 4096, &err), 0);
    fd = openat(pool.directory, "v@s", O_CREAT | O_WRONLY, 0400);
    REQUIRE(fd >= 0 && ftruncate(fd, 4096) == 0);
    close(fd);
    snapshot = pool_get(&pool, "v@s", &err);
    REQUIRE(snapshot != NULL);
    CHECK_EQUAL(volume_hold(snapshot, &one, &err), 0);
    CHECK_EQUAL(pool_delete_with_snapshots(&pool, "v", &err), -EBUSY);
    CHECK_SAYS(err.text, "cannot delete volume 'v@s': it is open at peer");
    CHECK(there("v") && there("v@s"));
    volume_release(&one, true, 0);
    pool_put(&pool, snapshot);
    CHECK_EQUAL(pool_delete_with_snapshots(&pool, "v", &err), 0);
    CHECK(!there("v") && !there("v@s"));
    end();
}

/* ---- Whole or not at all ----------------------------------------------- */

static void volume_that_has_no_room_leaves_nothing(void)
{
    begin();
    /* More than any file system gives a file. */
    CHECK(pool_create(&pool, "v", INT64_MAX - 511, &err) < 0);
    CHECK_SAYS(err.text, "cannot give volume 'v'");
    CHECK(!there("v"));
    CHECK(!there(".v.new"));
    end();
}

static void what_a_crash_left_is_no_obstacle(void)
{
    begin();
    /* Opening this one would wait indefinitely. */
    REQUIRE(mkfifoat(pool.directory, ".v.new", 0600) == 0);
    CHECK_EQUAL(pool_create(&pool, "v", 4096, &err), 0);
    CHECK_EQUAL(size_of("v"), 4096);
    CHECK(!there(".v.new"));
    end();
}

static void name_that_is_taken_stays(void)
{
    begin();
    REQUIRE(mkdirat(pool.directory, "folder", 0700) == 0);
    CHECK_EQUAL(pool_create(&pool, "folder", 4096, &err), -EEXIST);
    CHECK(!there(".folder.new"));
    CHECK_EQUAL(pool_replace(&pool, "folder", 4096, &err), -EINVAL);
    CHECK_EQUAL(pool_delete(&pool, "folder", &err), -EINVAL);
    CHECK(there("folder"));
    end();
}

static void volume_that_may_not_last_is_not_there(void)
{
    begin();
    break_sync();
    CHECK(pool_create(&pool, "v", 4096, &err) < 0);
    CHECK_SAYS(err.text, "cannot sync the pool directory");
    CHECK(!there("v"));
    end();
}

/* After a power loss the file would be back, without its record. */
static void lease_goes_only_when_its_volume_has_gone_for_good(void)
{
    begin();
    CHECK_EQUAL(pool_create(&pool, "v", 4096, &err), 0);
    CHECK_EQUAL(pool_create(&pool, "w", 4096, &err), 0);
    write_and_vanish("v", 0);
    write_and_vanish("w", 0);
    break_sync();
    CHECK(pool_delete(&pool, "v", &err) < 0);
    CHECK(pool_replace(&pool, "w", 8192, &err) < 0);
    CHECK_EQUAL(records_kept(), 2);
    end();
}

/* ---- All of its space --------------------------------------------------- */

static void preallocated_volume_has_its_space(void)
{
    struct stat st;

    begin();
    CHECK_EQUAL(pool_create(&pool, "thin", 1 << 20, &err), 0);
    CHECK_EQUAL(pool_preallocate(&pool, "thick", 1 << 20, &err), 0);
    REQUIRE(fstatat(pool.directory, "thin", &st, 0) == 0);
    CHECK(st.st_blocks * 512 < 1 << 20);
    REQUIRE(fstatat(pool.directory, "thick", &st, 0) == 0);
    CHECK(st.st_blocks * 512 >= 1 << 20);
    CHECK_EQUAL(st.st_size, 1 << 20);
    end();
}

static void more_space_than_there_is_is_not_preallocated(void)
{
    struct pool_space space;
    uint64_t size;

    begin();
    REQUIRE(pool_space(&pool, &space) == 0);
    size = (space.available + (1ull << 30)) & ~4095ull;
    CHECK_EQUAL(pool_preallocate(&pool, "v", size, &err), -ENOSPC);
    CHECK_SAYS(err.text, "that the pool has available");
    CHECK(!there("v") && !there(".v.new"));
    CHECK_EQUAL(pool_create(&pool, "v", size, &err), 0);
    end();
}

static void image_is_not_preallocated(void)
{
    begin();
    pool.images = &backend_memory; /* any class: it is not called */
    CHECK_EQUAL(pool_preallocate(&pool, "v", 4096, &err), -EOPNOTSUPP);
    CHECK_SAYS(err.text, "an image of a Ceph pool");
    pool.images = NULL;
    end();
}

/* ---- Smaller ----------------------------------------------------------- */

static void smaller_only_when_asked_for(void)
{
    begin();
    CHECK_EQUAL(pool_create(&pool, "v", 8192, &err), 0);
    CHECK_EQUAL(pool_resize(&pool, "v", 4096, false, &err), -EINVAL);
    CHECK_SAYS(
        err.text,
        "volume 'v' has 8192 bytes already: a smaller size requires --shrink");
    CHECK_EQUAL(size_of("v"), 8192);
    CHECK_EQUAL(pool_resize(&pool, "v", 8192, false, &err), 0);
    CHECK_EQUAL(pool_resize(&pool, "v", 4096, true, &err), 0);
    CHECK_EQUAL(size_of("v"), 4096);
    end();
}

static void not_smaller_while_its_writer_may_come_back(void)
{
    begin();
    pool.started = rdisk_now(&rdisk_env_system);
    pool.lease_time = 60 * 1000 * RDISK_MSEC;
    CHECK_EQUAL(pool_create(&pool, "v", 8192, &err), 0);
    write_and_vanish("v", pool.started);
    CHECK_EQUAL(pool_resize(&pool, "v", 4096, true, &err), -EBUSY);
    CHECK_SAYS(err.text, "cannot shrink volume 'v': it is kept for");
    CHECK_EQUAL(pool_resize(&pool, "v", 16384, false, &err), 0);
    end();
}

static const struct unit_test tests[] = {
    { "a volume that another server serves is not deleted or replaced",
      volume_of_another_server_is_left_alone },
    { "a file that a configured volume serves is not deleted or replaced",
      file_of_a_configured_volume_is_left_alone },
    { "a volume is not deleted while one of its snapshots is open",
      volume_whose_snapshot_is_read_stays },
    { "a volume for which there is no room leaves nothing behind",
      volume_that_has_no_room_leaves_nothing },
    { "what a crash has left is no obstacle to a new volume",
      what_a_crash_left_is_no_obstacle },
    { "what has a volume's name and is none stays as it is",
      name_that_is_taken_stays },
    { "a volume whose name may not outlive a power loss is not created",
      volume_that_may_not_last_is_not_there },
    { "a lease is removed only after its volume has gone for good",
      lease_goes_only_when_its_volume_has_gone_for_good },
    { "a preallocated volume has all of its space",
      preallocated_volume_has_its_space },
    { "more space than the pool has is not preallocated",
      more_space_than_there_is_is_not_preallocated },
    { "an image of a Ceph pool is not preallocated",
      image_is_not_preallocated },
    { "a volume gets smaller only when that was asked for",
      smaller_only_when_asked_for },
    { "a volume is not made smaller while its writer may come back",
      not_smaller_while_its_writer_may_come_back },
};

UNIT_SUITE("server-pool-change", tests)
