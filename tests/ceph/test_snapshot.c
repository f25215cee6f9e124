/* SPDX-License-Identifier: BSD-3-Clause */
/* Snapshots and clones of the images of a Ceph pool, on a real cluster
 * (tests/ceph/run). */
#include <errno.h>
#include <stdlib.h>

#include "common/log.h"
#include "server/backends/module.h"
#include "server/server.h"
#include "server/session/snapshot.h"
#include "server/volume/pool_change.h"
#include "server/volume/pool_snapshot.h"
#include "tests/ceph/ceph_server.h"
#include "tests/unit/support/pool.h"
#include "tests/unit/support/rig.h"
#include "tests/unit/support/unit.h"

#define SIZE (4u << 20)

static struct rdisk_error err;

static void begin(void)
{
    ceph_server_begin(SIZE);
}

static void end(void)
{
    ceph_server_end();
}

/* ---- What is there ------------------------------------------------------ */

static unsigned int snapshots(const char *name)
{
    char one[RDISK_VOLUME_NAME_MAX + 1];
    unsigned int count = 99;

    CHECK_EQUAL(pool_snapshot_count(&ceph_server.pool, name, &count, one, &err),
                0);
    return count;
}

static void run(const char *command)
{
    CHECK_EQUAL(system(command), 0);
}

static void put(const char *name, char byte)
{
    ceph_server_block(name, RDISK_OP_WRITE, 0, byte, NULL);
}

static char get(const char *name)
{
    return ceph_server_block(name, RDISK_OP_READ, 0, 0, NULL);
}

/* ---- Tests -------------------------------------------------------------- */

static void test_in_use(void)
{
    struct volume_holder writer = { .writer = true };
    struct volume *volume;
    struct rig rig = { 0 };

    begin();
    volume = pool_get(&ceph_server.pool, "v", &err);
    REQUIRE(volume != NULL);
    volume_enter(volume, &writer);
    rig_join(&rig, volume->backend);
    memset(rig.memory, 'a', 4096);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_WRITE, 0, 0, 4096), 0);
    CHECK_EQUAL(ceph_server_copy("v", "v@s"), 0);
    CHECK_EQUAL(ceph_server_copy("v", "v@s"), -EEXIST);
    memset(rig.memory, 'b', 4096);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_WRITE, 0, 0, 4096), 0);
    CHECK_EQUAL(get("v@s"), 'a');
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_READ, 0, 0, 4096), 0);
    CHECK_EQUAL(rig.memory[0], 'b');
    CHECK_EQUAL(snapshots("v"), 1);
    /* The one that has the lock need not close it. */
    CHECK_EQUAL(pool_delete(&ceph_server.pool, "v@s", &err), 0);
    CHECK_EQUAL(snapshots("v"), 0);
    rig_leave(&rig);
    pool_put(&ceph_server.pool, volume);
    CHECK_EQUAL(pool_delete(&ceph_server.pool, "v", &err), 0);
    end();
}

static void test_clone(void)
{
    begin();
    put("v", 'a');
    CHECK_EQUAL(ceph_server_copy("v", "v@s"), 0);
    put("v", 'b');
    CHECK_EQUAL(ceph_server_copy("v@s", "w"), 0);
    CHECK_EQUAL(ceph_server_copy("v", "x"), 0);
    CHECK_EQUAL(ceph_server_copy("v", "w"), -EEXIST);
    CHECK_EQUAL(snapshots("v"), 1);
    CHECK_EQUAL(get("w"), 'a');
    CHECK_EQUAL(get("x"), 'b');
    put("w", 'c');
    CHECK_EQUAL(get("v@s"), 'a');
    /* Its snapshot goes first, and the volume when nothing needs it. */
    CHECK_EQUAL(pool_delete(&ceph_server.pool, "v@s", &err), 0);
    CHECK_EQUAL(get("w"), 'c');
    CHECK_EQUAL(pool_delete(&ceph_server.pool, "v", &err), -EBUSY);
    CHECK_SAYS(err.text, "cannot delete volume 'v': clones need");
    CHECK_EQUAL(pool_delete(&ceph_server.pool, "w", &err), 0);
    CHECK_EQUAL(pool_delete(&ceph_server.pool, "x", &err), 0);
    CHECK_EQUAL(pool_delete(&ceph_server.pool, "v", &err), 0);
    end();
}

static void test_delete(void)
{
    begin();
    CHECK_EQUAL(ceph_server_copy("v", "v@s"), 0);
    CHECK_EQUAL(ceph_server_copy("v", "v@t"), 0);
    CHECK_EQUAL(pool_delete(&ceph_server.pool, "v", &err), -EBUSY);
    CHECK_SAYS(err.text, "cannot delete volume 'v': it has 2 snapshots");
    CHECK_EQUAL(pool_delete(&ceph_server.pool, "v@u", &err), -ENOENT);
    CHECK_EQUAL(pool_delete_with_snapshots(&ceph_server.pool, "v", &err), 0);
    CHECK(!pool_get(&ceph_server.pool, "v", &err));
    end();
}

/* A server was killed while it made a clone. */
static void test_delete_with_left_over(void)
{
    begin();
    put("v", 'a');
    run("rbd snap create --no-progress rbd/v@.rdisk-clone");
    CHECK_EQUAL(snapshots("v"), 0);
    CHECK_EQUAL(pool_delete(&ceph_server.pool, "v", &err), 0);
    end();
}

static void test_revert(void)
{
    uint8_t before[RDISK_ID_SIZE], after[RDISK_ID_SIZE];

    begin();
    ceph_server_block("v", RDISK_OP_WRITE, 0, 'a', before);
    CHECK_EQUAL(ceph_server_copy("v", "v@s"), 0);
    put("v", 'b');
    CHECK_EQUAL(pool_revert(&ceph_server.pool, "v", "v@t", &err), -ENOENT);
    CHECK_EQUAL(pool_revert(&ceph_server.pool, "v", "v@s", &err), 0);
    CHECK_EQUAL(ceph_server_block("v", RDISK_OP_READ, 0, 0, after), 'a');
    CHECK(memcmp(before, after, sizeof(before)) != 0);
    CHECK_EQUAL(pool_delete_with_snapshots(&ceph_server.pool, "v", &err), 0);
    end();
}

/* As a server that reverts @name to snapshot s does first. */
static void note_revert(const char *name)
{
    char command[300];

    snprintf(command, sizeof(command),
             "id=$(rbd info rbd/%s --format json | "
             "sed 's/.*\"id\":\"\\([^\"]*\\)\".*/\\1/') && "
             "rbd image-meta set rbd/%s rdisk.reverting.$id s >/dev/null",
             name, name);
    run(command);
}

/* Only its note is left of one that a killed server had begun. */
static void test_revert_interrupted(void)
{
    begin();
    put("v", 'a');
    CHECK_EQUAL(ceph_server_copy("v", "v@s"), 0);
    put("v", 'b');
    note_revert("v");
    CHECK_EQUAL(get("v"), 'a');
    put("v", 'c');
    CHECK_EQUAL(get("v"), 'c');
    CHECK_EQUAL(pool_delete_with_snapshots(&ceph_server.pool, "v", &err), 0);
    end();
}

static void test_revert_interrupted_keeps_snapshot(void)
{
    begin();
    put("v", 'a');
    CHECK_EQUAL(ceph_server_copy("v", "v@s"), 0);
    CHECK_EQUAL(ceph_server_copy("v", "v@t"), 0);
    put("v", 'b');
    note_revert("v");
    CHECK_EQUAL(pool_delete(&ceph_server.pool, "v@t", &err), 0);
    CHECK_EQUAL(pool_delete(&ceph_server.pool, "v@s", &err), -EBUSY);
    CHECK_SAYS(err.text, "being reverted to it");
    CHECK_EQUAL(get("v"), 'a');
    CHECK_EQUAL(pool_delete(&ceph_server.pool, "v@s", &err), 0);
    CHECK_EQUAL(pool_delete(&ceph_server.pool, "v", &err), 0);
    end();
}

static void test_revert_interrupted_of_parent(void)
{
    begin();
    put("v", 'a');
    CHECK_EQUAL(ceph_server_copy("v", "v@s"), 0);
    note_revert("v");
    run("rbd clone --rbd-default-clone-format 2 rbd/v@s rbd/w");
    CHECK_EQUAL(get("w"), 'a');
    CHECK_EQUAL(pool_delete(&ceph_server.pool, "w", &err), 0);
    CHECK_EQUAL(get("v"), 'a');
    CHECK_EQUAL(pool_delete_with_snapshots(&ceph_server.pool, "v", &err), 0);
    end();
}

/* As of a size that it no longer has. */
static void test_revert_interrupted_of_another_size(void)
{
    struct volume *volume;

    begin();
    put("v", 'a');
    CHECK_EQUAL(ceph_server_copy("v", "v@s"), 0);
    run("rbd resize --no-progress --size 8M rbd/v");
    note_revert("v");
    volume = pool_get(&ceph_server.pool, "v", &err);
    REQUIRE(volume != NULL);
    CHECK_EQUAL(volume->backend->geometry.size, SIZE);
    pool_put(&ceph_server.pool, volume);
    CHECK_EQUAL(pool_delete_with_snapshots(&ceph_server.pool, "v", &err), 0);
    end();
}

static void test_identity(void)
{
    uint8_t first[RDISK_ID_SIZE], second[RDISK_ID_SIZE];

    begin();
    CHECK_EQUAL(ceph_server_copy("v", "v@s"), 0);
    ceph_server_block("v@s", RDISK_OP_READ, 0, 0, first);
    CHECK_EQUAL(pool_delete(&ceph_server.pool, "v@s", &err), 0);
    CHECK_EQUAL(ceph_server_copy("v", "v@s"), 0);
    ceph_server_block("v@s", RDISK_OP_READ, 0, 0, second);
    CHECK(memcmp(first, second, sizeof(first)) != 0);
    CHECK_EQUAL(pool_delete_with_snapshots(&ceph_server.pool, "v", &err), 0);
    end();
}

static const struct unit_test tests[] = {
    { "an image has snapshots while it is written", test_in_use },
    { "a clone is a volume of its own, and keeps what it needs", test_clone },
    { "an image with snapshots is deleted only with them", test_delete },
    { "an image is deleted with what a clone that was not completed has left",
      test_delete_with_left_over },
    { "an image that is reverted has the snapshot's data and another identity",
      test_revert },
    { "a revert that was interrupted is completed when the image is opened",
      test_revert_interrupted },
    { "a snapshot that a revert still needs is not deleted",
      test_revert_interrupted_keeps_snapshot },
    { "a clone is not reverted with its parent",
      test_revert_interrupted_of_parent },
    { "an image whose revert is completed has the snapshot's size",
      test_revert_interrupted_of_another_size },
    { "a snapshot of the name of an earlier one is another volume",
      test_identity },
};
/* Before the images' tests, which leave the cluster full. */
UNIT_SUITE("ceph-1-snapshot", tests)
