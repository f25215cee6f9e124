/* SPDX-License-Identifier: BSD-3-Clause */
/* Clones of images that are flattened, and what images take up, on a real
 * cluster (tests/ceph/run). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/backends/module.h"
#include "server/server.h"
#include "server/session/flatten.h"
#include "server/session/usage.h"
#include "tests/ceph/ceph_server.h"
#include "tests/unit/support/flatten_asker.h"
#include "tests/unit/support/pool.h"
#include "tests/unit/support/rig.h"
#include "tests/unit/support/unit.h"

#define OBJECT (4u << 20)
#define SIZE   (8ull * OBJECT)

static struct rdisk_error err;

static void begin(void)
{
    ceph_server_begin(SIZE);
}

static void end(void)
{
    flattens_check_time(&ceph_server, RDISK_NEVER - 1);
    CHECK(ceph_server.flattens == NULL);
    ceph_server_end();
}

/* ---- Volumes ------------------------------------------------------------- */

/* The first block of an object. */
static void put(const char *name, unsigned int object, char byte)
{
    ceph_server_block(name, RDISK_OP_WRITE, (uint64_t)object * OBJECT, byte,
                      NULL);
}

static char get(const char *name, unsigned int object)
{
    return ceph_server_block(name, RDISK_OP_READ, (uint64_t)object * OBJECT, 0,
                             NULL);
}

/* ---- Usage --------------------------------------------------------------- */

static bool done;

static void measured(struct usage *usage)
{
    done = true;
}

static struct usage usage_of(const char *name)
{
    struct usage usage = { .work.pool = &ceph_server.pool, .done = measured };

    done = false;
    snprintf(usage.work.operation.volume, sizeof(usage.work.operation.volume),
             "%s", name);
    usage_start(&ceph_server.operations, &usage);
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
    CHECK_EQUAL(ceph_server_copy("v", "v@s"), 0);
    /* What is not overwritten is in the volume, too. */
    usage = usage_of("v");
    CHECK_EQUAL(usage.snapshots, 1);
    CHECK_EQUAL(usage.held, 0);
    put("v", 0, 'b');
    usage = usage_of("v");
    CHECK_EQUAL(usage.allocated, 2 * OBJECT);
    CHECK_EQUAL(usage.held, OBJECT);
    CHECK_EQUAL(ceph_server_copy("v", "v@t"), 0);
    put("v", 0, 'c');
    put("v", 5, 'c');
    usage = usage_of("v");
    CHECK_EQUAL(usage.snapshots, 2);
    CHECK_EQUAL(usage.held, 3 * OBJECT);
    CHECK(!usage.overlaps);
    CHECK_EQUAL(usage_of("v@s").snapshots, 0);
    CHECK_EQUAL(pool_delete_with_snapshots(&ceph_server.pool, "v", &err), 0);
    end();
}

/* ---- Flatten ------------------------------------------------------------- */

/* Asks twice: for the begin, and for the end. */
static struct flatten_asker flatten(const char *name)
{
    struct flatten_asker asker = flatten_ask_times(&ceph_server, name, 2);

    err = asker.why;
    flattens_check_time(&ceph_server, rdisk_now(&rdisk_env_system));
    return asker;
}

static void test_flatten(void)
{
    struct flatten_asker asker;

    begin();
    put("v", 0, 'a');
    put("v", 3, 'a');
    CHECK_EQUAL(ceph_server_copy("v", "v@s"), 0);
    CHECK_EQUAL(ceph_server_copy("v@s", "w"), 0);
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
    CHECK_EQUAL(pool_delete_with_snapshots(&ceph_server.pool, "v", &err), 0);
    CHECK_EQUAL(get("w", 0), 'a');
    CHECK_EQUAL(get("w", 3), 'w');
    CHECK_EQUAL(flatten("w").size, 0);
    CHECK_EQUAL(pool_delete(&ceph_server.pool, "w", &err), 0);
    end();
}

/* Its snapshot has no name that people see. */
static void test_clone_of_a_volume(void)
{
    begin();
    put("v", 0, 'a');
    CHECK_EQUAL(ceph_server_copy("v", "w"), 0);
    CHECK_EQUAL(strcmp(usage_of("w").parent, "v"), 0);
    CHECK_EQUAL(pool_delete(&ceph_server.pool, "v", &err), -EBUSY);
    CHECK_EQUAL(flatten("w").result, 0);
    CHECK_EQUAL(pool_delete(&ceph_server.pool, "v", &err), 0);
    CHECK_EQUAL(get("w", 0), 'a');
    CHECK_EQUAL(pool_delete(&ceph_server.pool, "w", &err), 0);
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
    CHECK_EQUAL(ceph_server_copy("v", "w"), 0);
    volume = pool_get(&ceph_server.pool, "w", &err);
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
    pool_put(&ceph_server.pool, volume);
    CHECK_EQUAL(get("w", 1), 'c');
    CHECK_EQUAL(get("w", 2), 'a');
    CHECK_EQUAL(pool_delete(&ceph_server.pool, "v", &err), 0);
    CHECK_EQUAL(pool_delete(&ceph_server.pool, "w", &err), 0);
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
    CHECK_EQUAL(ceph_server_copy("v", "w"), 0);
    volume = pool_get(&ceph_server.pool, "w", &err);
    REQUIRE(volume != NULL);
    reports = 0;
    CHECK(volume->backend->class->flatten(volume->backend, stop, NULL, &err) <
          0);
    CHECK(reports >= 3);
    pool_put(&ceph_server.pool, volume);
    CHECK_EQUAL(strcmp(usage_of("w").parent, "v"), 0);
    CHECK_EQUAL(flatten("w").result, 0);
    CHECK_EQUAL(usage_of("w").parent[0], '\0');
    CHECK_EQUAL(get("w", 7), 'a');
    CHECK_EQUAL(pool_delete(&ceph_server.pool, "v", &err), 0);
    CHECK_EQUAL(pool_delete(&ceph_server.pool, "w", &err), 0);
    end();
}

static void test_snapshot(void)
{
    begin();
    CHECK_EQUAL(ceph_server_copy("v", "v@s"), 0);
    CHECK_EQUAL(flatten("v@s").result, -EROFS);
    CHECK_SAYS(err.text, "cannot flatten volume 'v@s': it is read-only");
    CHECK_EQUAL(flatten("x").result, -ENOENT);
    CHECK_EQUAL(pool_delete_with_snapshots(&ceph_server.pool, "v", &err), 0);
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
