/* SPDX-License-Identifier: BSD-3-Clause */
/* Which volume a file is that was moved, copied or put back. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "common/log.h"
#include "server/backends/file.h"
#include "server/volume/pool.h"
#include "tests/unit/support/lease.h"
#include "tests/unit/support/pool.h"
#include "tests/unit/support/unit.h"

static char folder[64];
static struct pool pool;
static struct records records;
static struct rdisk_error err;

/* A shell's command in the pool directory. */
static void run(const char *command)
{
    char line[300];

    snprintf(line, sizeof(line), "cd %s && %s", folder, command);
    CHECK_EQUAL(system(line), 0);
}

static bool attributes_are_kept(void)
{
    char path[100];

    snprintf(path, sizeof(path), "%s/.rdisk.lock", folder);
    return setxattr(path, "user.test", "", 0, 0) == 0;
}

/* False where the file system keeps no attributes: nothing to see then. */
static bool begin(void)
{
    strcpy(folder, "/tmp/rdisk-unit-XXXXXX");
    log_set_level(RDISK_LOG_ERROR);
    REQUIRE(mkdtemp(folder) != NULL);
    REQUIRE(pool_init(&pool, folder, 0, &err) == 0);
    REQUIRE(records_init(&records, NULL, folder) == 0);
    pool.records = &records;
    CHECK_EQUAL(pool_create(&pool, "v", 4096, &err), 0);
    return attributes_are_kept();
}

static void end(void)
{
    pool_destroy(&pool);
    records_destroy(&records);
    run("rm -r $PWD");
    log_set_level(RDISK_LOG_INFO);
}

struct seen {
    uint8_t identity[RDISK_ID_SIZE];
};

/* A client reads volume @name. */
static struct seen look(const char *name)
{
    struct volume *volume = pool_get(&pool, name, &err);
    struct seen seen;

    REQUIRE(volume != NULL);
    memcpy(seen.identity, volume->backend->identity, sizeof(seen.identity));
    pool_put(&pool, volume);
    return seen;
}

static bool same(struct seen a, struct seen b)
{
    return memcmp(&a, &b, sizeof(a)) == 0;
}

/* A client writes volume @name and leaves; or the server is killed first. */
static void write_volume(const char *name, bool killed)
{
    struct volume_holder one = { .epoch = 1, .writer = true, .peer = "peer" };
    struct volume *volume = pool_get(&pool, name, &err);
    int fd = openat(pool.directory, name, O_WRONLY);

    REQUIRE(fd >= 0 && volume && pool_lease(&pool, volume, 0, &err) == 0);
    CHECK_EQUAL(volume_hold(volume, &one, &err), 0);
    CHECK_EQUAL(pwrite(fd, "x", 1, 0), 1);
    /* As if some time had passed. */
    CHECK_EQUAL(futimens(fd,
                         (struct timespec[]) {
                             { .tv_nsec = UTIME_OMIT },
                             { .tv_sec = 1000 + rand() % 1000000 } }),
                0);
    close(fd);
    if (volume_release(&one, true, 0) && !killed) {
        CHECK_EQUAL(volume_settle(volume, volume->lease, &err), 0);
        lease_settled(volume->lease);
    }
    pool_put(&pool, volume);
}

static void moved_volume_stays_itself(void)
{
    struct seen before;

    if (begin()) {
        write_volume("v", false);
        before = look("v");
        run("cp -a v w && rm v && mv w v");
        CHECK(same(look("v"), before));
        /* It is at home there. */
        write_volume("v", true);
        CHECK(same(look("v"), before));
    }
    end();
}

static void copy_beside_its_original_is_another(void)
{
    struct seen before, copy;

    if (begin()) {
        write_volume("v", false);
        before = look("v");
        run("cp -a v w");
        copy = look("w");
        CHECK(!same(copy, before));
        CHECK(same(look("w"), copy));
        CHECK(same(look("v"), before));
        run("rm v");
        CHECK(same(look("w"), copy));
    }
    end();
}

static void backup_that_is_put_back_is_another(void)
{
    struct seen before;

    if (begin()) {
        write_volume("v", false);
        before = look("v");
        run("cp -a v .backup");
        write_volume("v", false);
        CHECK(same(look("v"), before));
        run("mv .backup v");
        CHECK(!same(look("v"), before));
    }
    end();
}

/* What was written to it before it was copied is not known. */
static void volume_moved_after_a_kill_is_another(void)
{
    struct seen before;

    if (begin()) {
        write_volume("v", false);
        write_volume("v", true);
        before = look("v");
        run("cp -a v w && rm v && mv w v");
        CHECK(!same(look("v"), before));
    }
    end();
}

static void volume_made_by_hand_is_another(void)
{
    struct seen before;

    begin();
    before = look("v");
    run("rm v && truncate -s 4096 v");
    CHECK(!same(look("v"), before));
    end();
}

/* A client that is away must find it again. */
static void what_a_server_without_attributes_has_written_is_kept(void)
{
    struct seen before;

    if (begin()) {
        struct volume *volume = pool_get(&pool, "v", &err);
        struct lease_record record = {
            .volume = "v",
            .generation = 3,
            .peer = "peer",
        };
        char path[100];

        REQUIRE(volume != NULL);
        memcpy(before.identity, volume->backend->place,
               sizeof(before.identity));
        pool_put(&pool, volume);
        CHECK(!same(look("v"), before));
        CHECK_EQUAL(records.store.save(&records, before.identity,
                                       &(struct lease_record) { 0 }, &record,
                                       &err),
                    0);
        snprintf(path, sizeof(path), "%s/v", folder);
        CHECK_EQUAL(removexattr(path, "user.rdisk.identity"), 0);
        CHECK(same(look("v"), before));
    }
    end();
}

static void deleted_copy_takes_no_record_along(void)
{
    if (begin()) {
        write_volume("v", false);
        run("cp -a v w");
        CHECK_EQUAL(pool_delete(&pool, "w", &err), 0);
        run("test -n \"$(ls .rdisk)\"");
        CHECK_EQUAL(pool_delete(&pool, "v", &err), 0);
        run("test -z \"$(ls .rdisk)\"");
    }
    end();
}

/* ---- Losses -------------------------------------------------------------- */

/* Its storage loses data of volume @name; returns how often it had before. */
static unsigned int lose(const char *name)
{
    struct volume *volume = pool_get(&pool, name, &err);
    uint8_t before[RDISK_ID_SIZE], after[RDISK_ID_SIZE];
    unsigned int losses;

    REQUIRE(volume != NULL);
    losses = backend_losses(volume->backend);
    backend_cache(volume->backend, before);
    file_sync_fail(file_of(volume->backend), -EIO);
    CHECK_EQUAL(backend_losses(volume->backend), losses + 1);
    backend_cache(volume->backend, after);
    CHECK(memcmp(before, after, RDISK_ID_SIZE) != 0);
    pool_put(&pool, volume);
    return losses;
}

/* Its identity is made at the first opening. */
static void loss_at_the_first_opening_is_remembered(void)
{
    if (begin()) {
        CHECK_EQUAL(lose("v"), 0);
        CHECK_EQUAL(lose("v"), 1);
    }
    end();
}

static void copy_has_no_losses_of_its_original(void)
{
    if (begin()) {
        lose("v");
        run("cp -a v w");
        CHECK_EQUAL(lose("w"), 0);
        CHECK_EQUAL(lose("w"), 1);
        CHECK_EQUAL(lose("v"), 1);
    }
    end();
}

static const struct unit_test tests[] = {
    { "a volume whose file was moved after it was closed stays itself",
      moved_volume_stays_itself },
    { "a copy beside its original is another volume",
      copy_beside_its_original_is_another },
    { "a backup that is put back is another volume",
      backup_that_is_put_back_is_another },
    { "a file that was moved after the server was killed is another volume",
      volume_moved_after_a_kill_is_another },
    { "a file that was made by hand is another volume",
      volume_made_by_hand_is_another },
    { "a file without attribute is what its record says",
      what_a_server_without_attributes_has_written_is_kept },
    { "a copy that is deleted leaves its original's record",
      deleted_copy_takes_no_record_along },
    { "a loss at the first opening of a volume is remembered",
      loss_at_the_first_opening_is_remembered },
    { "a copy has no losses of its original",
      copy_has_no_losses_of_its_original },
};

UNIT_SUITE("server-moved", tests)
