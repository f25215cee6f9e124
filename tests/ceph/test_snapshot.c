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
#include "tests/unit/support/pool.h"
#include "tests/unit/support/quiet.h"
#include "tests/unit/support/rig.h"
#include "tests/unit/support/unit.h"

#define SIZE (4u << 20)

static struct server server;
static struct backend_ceph ceph;
static struct rdisk_error err;

static void begin(void)
{
    log_set_level(QUIET);
    ceph = (struct backend_ceph) {
        .config = getenv("CEPH_CONF"),
        .user = "admin",
        .keyring = "",
        .op_timeout_s = 10,
        .connect_timeout_s = 10,
        .server = "unit",
        .instance = "1",
    };
    server = (struct server) { .env = &rdisk_env_system };
    operations_init(&server.operations, NULL);
    REQUIRE(pool_init_images(&server.pool, rdisk_backend_module.class, &ceph,
                             "rbd", 0, &err) == 0);
    REQUIRE(pool_create(&server.pool, "v", SIZE, &err) == 0);
}

static void end(void)
{
    pool_destroy(&server.pool);
    log_set_level(RDISK_LOG_INFO);
}

/* ---- What is asked for -------------------------------------------------- */

static bool done;

static void made(struct snapshot *snapshot)
{
    done = true;
}

static int make(const char *source, const char *target)
{
    struct snapshot snapshot = { .server = &server, .done = made };

    done = false;
    snprintf(snapshot.work.operation.volume,
             sizeof(snapshot.work.operation.volume), "%s", source);
    snprintf(snapshot.target, sizeof(snapshot.target), "%s", target);
    snapshot_start(&snapshot);
    CHECK(done);
    err = snapshot.work.why;
    return snapshot.work.result;
}

static unsigned int snapshots(const char *name)
{
    char one[RDISK_VOLUME_NAME_MAX + 1];
    unsigned int count = 99;

    CHECK_EQUAL(pool_snapshot_count(&server.pool, name, &count, one, &err), 0);
    return count;
}

static void run(const char *command)
{
    CHECK_EQUAL(system(command), 0);
}

/* ---- What is there ------------------------------------------------------ */

/* One 4 KiB block of the volume, which is not open elsewhere. */
static char block(const char *name, enum rdisk_op op, char byte,
                  uint8_t identity[RDISK_ID_SIZE])
{
    struct volume *volume = pool_get(&server.pool, name, &err);
    struct rig rig = { 0 };
    char read;

    REQUIRE(volume != NULL);
    rig_join(&rig, volume->backend);
    memset(rig.memory, byte, 4096);
    CHECK_EQUAL(rig_io(&rig, op, 0, 0, 4096), 0);
    read = rig.memory[0];
    rig_leave(&rig);
    if (identity) {
        memcpy(identity, volume->backend->identity, RDISK_ID_SIZE);
    }
    pool_put(&server.pool, volume);
    return read;
}

static void put(const char *name, char byte)
{
    block(name, RDISK_OP_WRITE, byte, NULL);
}

static char get(const char *name)
{
    return block(name, RDISK_OP_READ, 0, NULL);
}

/* ---- Tests -------------------------------------------------------------- */

static void test_in_use(void)
{
    struct volume_holder writer = { .writer = true };
    struct volume *volume;
    struct rig rig = { 0 };

    begin();
    volume = pool_get(&server.pool, "v", &err);
    REQUIRE(volume != NULL);
    volume_enter(volume, &writer);
    rig_join(&rig, volume->backend);
    memset(rig.memory, 'a', 4096);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_WRITE, 0, 0, 4096), 0);
    CHECK_EQUAL(make("v", "v@s"), 0);
    CHECK_EQUAL(make("v", "v@s"), -EEXIST);
    memset(rig.memory, 'b', 4096);
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_WRITE, 0, 0, 4096), 0);
    CHECK_EQUAL(get("v@s"), 'a');
    CHECK_EQUAL(rig_io(&rig, RDISK_OP_READ, 0, 0, 4096), 0);
    CHECK_EQUAL(rig.memory[0], 'b');
    CHECK_EQUAL(snapshots("v"), 1);
    /* The one that has the lock need not close it. */
    CHECK_EQUAL(pool_delete(&server.pool, "v@s", &err), 0);
    CHECK_EQUAL(snapshots("v"), 0);
    rig_leave(&rig);
    pool_put(&server.pool, volume);
    CHECK_EQUAL(pool_delete(&server.pool, "v", &err), 0);
    end();
}

static void test_clone(void)
{
    begin();
    put("v", 'a');
    CHECK_EQUAL(make("v", "v@s"), 0);
    put("v", 'b');
    CHECK_EQUAL(make("v@s", "w"), 0);
    CHECK_EQUAL(make("v", "x"), 0);
    CHECK_EQUAL(make("v", "w"), -EEXIST);
    CHECK_EQUAL(snapshots("v"), 1);
    CHECK_EQUAL(get("w"), 'a');
    CHECK_EQUAL(get("x"), 'b');
    put("w", 'c');
    CHECK_EQUAL(get("v@s"), 'a');
    /* Its snapshot goes first, and the volume when nothing needs it. */
    CHECK_EQUAL(pool_delete(&server.pool, "v@s", &err), 0);
    CHECK_EQUAL(get("w"), 'c');
    CHECK_EQUAL(pool_delete(&server.pool, "v", &err), -EBUSY);
    CHECK_SAYS(err.text, "cannot delete volume 'v': clones need");
    CHECK_EQUAL(pool_delete(&server.pool, "w", &err), 0);
    CHECK_EQUAL(pool_delete(&server.pool, "x", &err), 0);
    CHECK_EQUAL(pool_delete(&server.pool, "v", &err), 0);
    end();
}

static void test_delete(void)
{
    begin();
    CHECK_EQUAL(make("v", "v@s"), 0);
    CHECK_EQUAL(make("v", "v@t"), 0);
    CHECK_EQUAL(pool_delete(&server.pool, "v", &err), -EBUSY);
    CHECK_SAYS(err.text, "cannot delete volume 'v': it has 2 snapshots");
    CHECK_EQUAL(pool_delete(&server.pool, "v@u", &err), -ENOENT);
    CHECK_EQUAL(pool_delete_with_snapshots(&server.pool, "v", &err), 0);
    CHECK(!pool_get(&server.pool, "v", &err));
    end();
}

/* A server was killed while it made a clone. */
static void test_delete_with_left_over(void)
{
    begin();
    put("v", 'a');
    run("rbd snap create --no-progress rbd/v@.rdisk-clone");
    CHECK_EQUAL(snapshots("v"), 0);
    CHECK_EQUAL(pool_delete(&server.pool, "v", &err), 0);
    end();
}

static void test_revert(void)
{
    uint8_t before[RDISK_ID_SIZE], after[RDISK_ID_SIZE];

    begin();
    block("v", RDISK_OP_WRITE, 'a', before);
    CHECK_EQUAL(make("v", "v@s"), 0);
    put("v", 'b');
    CHECK_EQUAL(pool_revert(&server.pool, "v", "v@t", &err), -ENOENT);
    CHECK_EQUAL(pool_revert(&server.pool, "v", "v@s", &err), 0);
    CHECK_EQUAL(block("v", RDISK_OP_READ, 0, after), 'a');
    CHECK(memcmp(before, after, sizeof(before)) != 0);
    CHECK_EQUAL(pool_delete_with_snapshots(&server.pool, "v", &err), 0);
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
    CHECK_EQUAL(make("v", "v@s"), 0);
    put("v", 'b');
    note_revert("v");
    CHECK_EQUAL(get("v"), 'a');
    put("v", 'c');
    CHECK_EQUAL(get("v"), 'c');
    CHECK_EQUAL(pool_delete_with_snapshots(&server.pool, "v", &err), 0);
    end();
}

static void test_revert_interrupted_keeps_snapshot(void)
{
    begin();
    put("v", 'a');
    CHECK_EQUAL(make("v", "v@s"), 0);
    CHECK_EQUAL(make("v", "v@t"), 0);
    put("v", 'b');
    note_revert("v");
    CHECK_EQUAL(pool_delete(&server.pool, "v@t", &err), 0);
    CHECK_EQUAL(pool_delete(&server.pool, "v@s", &err), -EBUSY);
    CHECK_SAYS(err.text, "being reverted to it");
    CHECK_EQUAL(get("v"), 'a');
    CHECK_EQUAL(pool_delete(&server.pool, "v@s", &err), 0);
    CHECK_EQUAL(pool_delete(&server.pool, "v", &err), 0);
    end();
}

static void test_revert_interrupted_of_parent(void)
{
    begin();
    put("v", 'a');
    CHECK_EQUAL(make("v", "v@s"), 0);
    note_revert("v");
    run("rbd clone --rbd-default-clone-format 2 rbd/v@s rbd/w");
    CHECK_EQUAL(get("w"), 'a');
    CHECK_EQUAL(pool_delete(&server.pool, "w", &err), 0);
    CHECK_EQUAL(get("v"), 'a');
    CHECK_EQUAL(pool_delete_with_snapshots(&server.pool, "v", &err), 0);
    end();
}

/* As of a size that it no longer has. */
static void test_revert_interrupted_of_another_size(void)
{
    struct volume *volume;

    begin();
    put("v", 'a');
    CHECK_EQUAL(make("v", "v@s"), 0);
    run("rbd resize --no-progress --size 8M rbd/v");
    note_revert("v");
    volume = pool_get(&server.pool, "v", &err);
    REQUIRE(volume != NULL);
    CHECK_EQUAL(volume->backend->geometry.size, SIZE);
    pool_put(&server.pool, volume);
    CHECK_EQUAL(pool_delete_with_snapshots(&server.pool, "v", &err), 0);
    end();
}

static void test_identity(void)
{
    uint8_t first[RDISK_ID_SIZE], second[RDISK_ID_SIZE];

    begin();
    CHECK_EQUAL(make("v", "v@s"), 0);
    block("v@s", RDISK_OP_READ, 0, first);
    CHECK_EQUAL(pool_delete(&server.pool, "v@s", &err), 0);
    CHECK_EQUAL(make("v", "v@s"), 0);
    block("v@s", RDISK_OP_READ, 0, second);
    CHECK(memcmp(first, second, sizeof(first)) != 0);
    CHECK_EQUAL(pool_delete_with_snapshots(&server.pool, "v", &err), 0);
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
