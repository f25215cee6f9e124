/* SPDX-License-Identifier: BSD-3-Clause */
/* The leases of a pool's volumes, which outlive their open files. */
#include <errno.h>
#include <stdlib.h>

#include "common/log.h"
#include "server/volume/pool.h"
#include "tests/unit/support/lease.h"
#include "tests/unit/support/pool.h"
#include "tests/unit/support/unit.h"

#define SECOND (1000 * RDISK_MSEC)

static char folder[64];
static struct records records;
static struct pool pool;
static struct rdisk_error err;

static void begin_pool(void)
{
    strcpy(folder, "/tmp/rdisk-unit-XXXXXX");
    REQUIRE(mkdtemp(folder) != NULL);
    log_set_level(RDISK_LOG_ERROR);
    REQUIRE(records_init(&records, NULL, folder) == 0);
    REQUIRE(pool_init(&pool, folder, 0, &err) == 0);
    pool.records = &records;
    pool.lease_time = 30 * SECOND;
    CHECK_EQUAL(pool_create(&pool, "disk", 4096, &err), 0);
}

static void end_pool(void)
{
    char command[100];

    pool_destroy(&pool);
    records_destroy(&records);
    log_set_level(RDISK_LOG_INFO);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    CHECK_EQUAL(system(command), 0);
}

static struct volume_holder writer(char client)
{
    struct volume_holder one = {
        .epoch = 1,
        .writer = true,
    };

    snprintf(one.peer, sizeof(one.peer), "peer-%c", client);
    memset(one.client, client, sizeof(one.client));
    return one;
}

/* Open, hold and lose it; the file is closed in between. */
static uint64_t write_and_vanish(char client)
{
    struct volume_holder one = writer(client);
    struct volume *disk = pool_get(&pool, "disk", &err);

    REQUIRE(disk && pool_lease(&pool, disk, 0, &err) == 0);
    CHECK_EQUAL(volume_hold(disk, &one, &err), 0);
    volume_release(&one, false, 0);
    pool_put(&pool, disk);
    return one.generation;
}

static void lease_outlives_the_open_file(void)
{
    struct volume_holder b = writer('b');
    struct volume_holder *older;
    struct volume *disk;

    begin_pool();
    CHECK_EQUAL(write_and_vanish('a'), 1);
    CHECK(!pool.volumes);
    disk = pool_get(&pool, "disk", &err);
    REQUIRE(disk && pool_lease(&pool, disk, 0, &err) == 0);
    CHECK_EQUAL(volume_check(disk, &b, SECOND, &older, &err),
                RDISK_STATUS_BUSY);
    pool_put(&pool, disk);
    end_pool();
}

static void deleted_volume_leaves_no_lease(void)
{
    char command[200];

    begin_pool();
    CHECK_EQUAL(write_and_vanish('a'), 1);
    CHECK_EQUAL(write_and_vanish('b'), 2);
    CHECK_EQUAL(pool_delete(&pool, "disk", &err), 0);
    snprintf(command, sizeof(command), "test -z \"$(ls %s/.rdisk)\"", folder);
    CHECK_EQUAL(system(command), 0);
    CHECK_EQUAL(pool_create(&pool, "disk", 4096, &err), 0);
    CHECK_EQUAL(write_and_vanish('c'), 1);
    end_pool();
}

static void kept_volume_is_not_deleted(void)
{
    struct volume_holder a = writer('a');
    struct volume *disk;

    begin_pool();
    pool.started = rdisk_now(&rdisk_env_system);
    disk = pool_get(&pool, "disk", &err);
    REQUIRE(disk && pool_lease(&pool, disk, 0, &err) == 0);
    CHECK_EQUAL(volume_hold(disk, &a, &err), 0);
    volume_release(&a, false, rdisk_now(&rdisk_env_system));
    pool_put(&pool, disk);
    CHECK_EQUAL(pool_delete(&pool, "disk", &err), -EBUSY);
    CHECK_SAYS(err.text, "more seconds for peer-a");
    CHECK_EQUAL(pool_replace(&pool, "disk", 8192, &err), -EBUSY);
    /* A server that was started again knows it from the record. */
    free(pool.leases);
    pool.leases = NULL;
    CHECK_EQUAL(pool_delete(&pool, "disk", &err), -EBUSY);
    pool.started = 0;
    pool.lease_time = 0;
    CHECK_EQUAL(pool_delete(&pool, "disk", &err), 0);
    end_pool();
}

static void records_are_no_volumes(void)
{
    begin_pool();
    CHECK_EQUAL(write_and_vanish('a'), 1);
    CHECK_EQUAL(pool_count(&pool), 1);
    end_pool();
}

static const struct unit_test tests[] = {
    { "a lease outlives the closing of its volume's file",
      lease_outlives_the_open_file },
    { "a deleted volume leaves no lease", deleted_volume_leaves_no_lease },
    { "a volume that is kept for a disconnected client is not deleted or "
      "replaced",
      kept_volume_is_not_deleted },
    { "records are no volumes", records_are_no_volumes },
};

UNIT_SUITE("server-pool-lease", tests)
