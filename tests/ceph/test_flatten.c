/* SPDX-License-Identifier: BSD-3-Clause */
/* Clones of images that are flattened, and what images take up, on a real
 * cluster (tests/ceph/run). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/container_of.h"
#include "common/log.h"
#include "server/backends/module.h"
#include "server/server.h"
#include "server/session/flatten.h"
#include "server/session/snapshot.h"
#include "server/session/usage.h"
#include "tests/unit/support/pool.h"
#include "tests/unit/support/quiet.h"
#include "tests/unit/support/rig.h"
#include "tests/unit/support/unit.h"

#define OBJECT (4u << 20)
#define SIZE   (8ull * OBJECT)

static struct server server;
static struct config config;
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
    REQUIRE(config_init(&config) == 0);
    server = (struct server) { .env = &rdisk_env_system, .config = &config };
    operations_init(&server.operations, NULL);
    REQUIRE(pool_init_images(&server.pool, rdisk_backend_module.class, &ceph,
                             "rbd", 0, &err) == 0);
    REQUIRE(pool_create(&server.pool, "v", SIZE, &err) == 0);
}

static void end(void)
{
    flattens_check_time(&server, RDISK_NEVER - 1);
    CHECK(server.flattens == NULL);
    pool_destroy(&server.pool);
    config_free(&config);
    log_set_level(RDISK_LOG_INFO);
}

/* ---- Volumes ------------------------------------------------------------- */

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

/* The first block of an object of a volume that is not open elsewhere. */
static char block(const char *name, enum rdisk_op op, unsigned int object,
                  char byte)
{
    struct volume *volume = pool_get(&server.pool, name, &err);
    struct rig rig = { 0 };
    char read;

    REQUIRE(volume != NULL);
    rig_join(&rig, volume->backend);
    memset(rig.memory, byte, 4096);
    CHECK_EQUAL(rig_io(&rig, op, 0, (uint64_t)object * OBJECT, 4096), 0);
    read = rig.memory[0];
    rig_leave(&rig);
    pool_put(&server.pool, volume);
    return read;
}

static void put(const char *name, unsigned int object, char byte)
{
    block(name, RDISK_OP_WRITE, object, byte);
}

static char get(const char *name, unsigned int object)
{
    return block(name, RDISK_OP_READ, object, 0);
}

/* ---- Usage --------------------------------------------------------------- */

static void measured(struct usage *usage)
{
    done = true;
}

static struct usage usage_of(const char *name)
{
    struct usage usage = { .work.pool = &server.pool, .done = measured };

    done = false;
    snprintf(usage.work.operation.volume, sizeof(usage.work.operation.volume),
             "%s", name);
    usage_start(&server.operations, &usage);
    CHECK(done);
    CHECK_EQUAL(usage.work.result, 0);
    return usage;
}

static void test_usage(void)
{
    struct usage usage;

    begin();
    put("v", 0, 'a');
    put("v", 5, 'a');
    usage = usage_of("v");
    CHECK_EQUAL(usage.allocated, 2 * OBJECT);
    CHECK_EQUAL(usage.snapshots, 0);
    CHECK_EQUAL(usage.held, 0);
    CHECK_EQUAL(usage.parent[0], '\0');
    CHECK_EQUAL(make("v", "v@s"), 0);
    /* What is not overwritten is in the volume, too. */
    usage = usage_of("v");
    CHECK_EQUAL(usage.snapshots, 1);
    CHECK_EQUAL(usage.held, 0);
    put("v", 0, 'b');
    usage = usage_of("v");
    CHECK_EQUAL(usage.allocated, 2 * OBJECT);
    CHECK_EQUAL(usage.held, OBJECT);
    CHECK_EQUAL(make("v", "v@t"), 0);
    put("v", 0, 'c');
    put("v", 5, 'c');
    usage = usage_of("v");
    CHECK_EQUAL(usage.snapshots, 2);
    CHECK_EQUAL(usage.held, 3 * OBJECT);
    CHECK(!usage.overlaps);
    CHECK_EQUAL(usage_of("v@s").snapshots, 0);
    CHECK_EQUAL(pool_delete_with_snapshots(&server.pool, "v", &err), 0);
    end();
}

/* ---- Flatten ------------------------------------------------------------- */

struct asker {
    struct flatten_wait wait;
    unsigned int answers;
    int result;
    uint64_t done, size;
    bool ended;
};

static void answered(struct flatten_wait *wait, const struct flatten *flatten,
                     const struct rdisk_error *why)
{
    struct asker *asker = container_of(wait, struct asker, wait);

    asker->answers++;
    asker->result = why ? why->code : 0;
    if (why) {
        err = *why;
    }
    if (flatten) {
        asker->done = flatten->done;
        asker->size = flatten->size;
        asker->ended = flatten->ended;
    }
}

/* Asks twice: for the begin, and for the end. */
static struct asker flatten(const char *name)
{
    struct asker asker = { .wait.answer = answered };

    for (unsigned int i = 0; i < 2 && !asker.ended && !asker.result; i++) {
        flatten_ask(&server, name, &asker.wait);
        CHECK_EQUAL(asker.answers, i + 1);
    }
    flattens_check_time(&server, rdisk_now(&rdisk_env_system));
    return asker;
}

static void test_flatten(void)
{
    struct asker asker;

    begin();
    put("v", 0, 'a');
    put("v", 3, 'a');
    CHECK_EQUAL(make("v", "v@s"), 0);
    CHECK_EQUAL(make("v@s", "w"), 0);
    put("w", 3, 'w');
    CHECK_SAYS(usage_of("w").parent, "v@s");
    CHECK_EQUAL(usage_of("w").allocated, OBJECT);
    asker = flatten("w");
    CHECK_EQUAL(asker.result, 0);
    CHECK_EQUAL(asker.size, SIZE);
    CHECK_EQUAL(asker.done, SIZE);
    CHECK(asker.ended);
    CHECK_EQUAL(usage_of("w").parent[0], '\0');
    CHECK_EQUAL(usage_of("w").allocated, 2 * OBJECT);
    CHECK_EQUAL(pool_delete_with_snapshots(&server.pool, "v", &err), 0);
    CHECK_EQUAL(get("w", 0), 'a');
    CHECK_EQUAL(get("w", 3), 'w');
    CHECK_EQUAL(flatten("w").size, 0);
    CHECK_EQUAL(pool_delete(&server.pool, "w", &err), 0);
    end();
}

/* Its snapshot has no name that people see. */
static void test_clone_of_a_volume(void)
{
    begin();
    put("v", 0, 'a');
    CHECK_EQUAL(make("v", "w"), 0);
    CHECK_EQUAL(strcmp(usage_of("w").parent, "v"), 0);
    CHECK_EQUAL(pool_delete(&server.pool, "v", &err), -EBUSY);
    CHECK_EQUAL(flatten("w").result, 0);
    CHECK_EQUAL(pool_delete(&server.pool, "v", &err), 0);
    CHECK_EQUAL(get("w", 0), 'a');
    CHECK_EQUAL(pool_delete(&server.pool, "w", &err), 0);
    end();
}

static struct rig writer;

static void write_one(char byte)
{
    memset(writer.memory, byte, 4096);
    CHECK_EQUAL(rig_io(&writer, RDISK_OP_WRITE, 0, OBJECT, 4096), 0);
}

static void test_flatten_in_use(void)
{
    struct volume_holder holder = { .writer = true };
    struct volume *volume;

    begin();
    put("v", 1, 'a');
    put("v", 2, 'a');
    CHECK_EQUAL(make("v", "w"), 0);
    volume = pool_get(&server.pool, "w", &err);
    REQUIRE(volume != NULL);
    volume_enter(volume, &holder);
    writer = (struct rig) { 0 };
    rig_join(&writer, volume->backend);
    write_one('b');
    CHECK_EQUAL(flatten("w").result, 0);
    write_one('c');
    rig_leave(&writer);
    /* Of a holder that is not a session's. */
    volume->holders = NULL;
    pool_put(&server.pool, volume);
    CHECK_EQUAL(get("w", 1), 'c');
    CHECK_EQUAL(get("w", 2), 'a');
    CHECK_EQUAL(pool_delete(&server.pool, "v", &err), 0);
    CHECK_EQUAL(pool_delete(&server.pool, "w", &err), 0);
    end();
}

static unsigned int reports;

static bool stop(void *opaque, uint64_t done_parts, uint64_t total)
{
    return ++reports < 3;
}

/* And can be flattened again, with what was copied. */
static void test_cancel(void)
{
    struct volume *volume;

    begin();
    for (unsigned int i = 0; i < 8; i++) {
        put("v", i, 'a');
    }
    CHECK_EQUAL(make("v", "w"), 0);
    volume = pool_get(&server.pool, "w", &err);
    REQUIRE(volume != NULL);
    reports = 0;
    CHECK(volume->backend->class->flatten(volume->backend, stop, NULL, &err) <
          0);
    CHECK(reports >= 3);
    pool_put(&server.pool, volume);
    CHECK_EQUAL(strcmp(usage_of("w").parent, "v"), 0);
    CHECK_EQUAL(flatten("w").result, 0);
    CHECK_EQUAL(usage_of("w").parent[0], '\0');
    CHECK_EQUAL(get("w", 7), 'a');
    CHECK_EQUAL(pool_delete(&server.pool, "v", &err), 0);
    CHECK_EQUAL(pool_delete(&server.pool, "w", &err), 0);
    end();
}

static void test_snapshot(void)
{
    begin();
    CHECK_EQUAL(make("v", "v@s"), 0);
    CHECK_EQUAL(flatten("v@s").result, -EROFS);
    CHECK_SAYS(err.text, "cannot flatten volume 'v@s': it is read-only");
    CHECK_EQUAL(flatten("x").result, -ENOENT);
    CHECK_EQUAL(pool_delete_with_snapshots(&server.pool, "v", &err), 0);
    end();
}

static const struct unit_test tests[] = {
    { "an image's usage tells what its snapshots hold", test_usage },
    { "a clone that was flattened needs its parent no more", test_flatten },
    { "a clone of a volume names the volume", test_clone_of_a_volume },
    { "a clone is flattened while it is written", test_flatten_in_use },
    { "one that was stopped is flattened later", test_cancel },
    { "a snapshot is not flattened", test_snapshot },
};
UNIT_SUITE("ceph-1-flatten", tests)
