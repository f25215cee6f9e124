/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The record of who may write, wherever it is kept: what lease.h says of a
 * store holds for files and for a Ceph pool (tests/ceph/run).
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/backends/module.h"
#include "server/volume/pool.h"
#include "tests/unit/support/unit.h"

#define SWAPS   25
#define THREADS 4

static struct backend_ceph ceph = {
    .user = "admin",
    .keyring = "",
    .op_timeout_s = 20,
    .connect_timeout_s = 20,
};
static struct records files;
static char folder[] = "/tmp/rdisk-records-XXXXXX";
/* Two servers have it. */
static struct pool pools[2];

static const uint8_t identity[RDISK_ID_SIZE] = { 1, 2, 3 };
static const struct lease_record none;

static void begin(void)
{
    struct rdisk_error err;

    ceph.config = getenv("CEPH_CONF");
    for (unsigned int i = 0; i < 2; i++) {
        REQUIRE(pool_init_images(&pools[i], rdisk_backend_module.class, &ceph,
                                 "rbd", 0, &err) == 0);
    }
    REQUIRE(mkdtemp(folder) != NULL);
    REQUIRE(records_init(&files, NULL, folder) == 0);
}

static void end(void)
{
    char command[64];

    pool_destroy(&pools[0]);
    pool_destroy(&pools[1]);
    records_destroy(&files);
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    CHECK_EQUAL(system(command), 0);
    memcpy(strrchr(folder, '-'), "-XXXXXX", 7);
}

static struct lease_record record_of(uint64_t generation)
{
    return (struct lease_record) {
        .volume = "v",
        .generation = generation,
        .client = { 7 },
        .peer = "10.9.0.1:4000",
        .held = true,
    };
}

/* ---- What every store promises ------------------------------------------- */

static void check_keeps(const struct lease_store *store)
{
    struct lease_record record = record_of(1), found;
    struct rdisk_error err;

    CHECK_EQUAL(store->load(store->opaque, identity, &found, &err), -ENOENT);
    CHECK_EQUAL(store->save(store->opaque, identity, &none, &record, &err), 0);
    CHECK_EQUAL(store->load(store->opaque, identity, &found, &err), 0);
    CHECK_EQUAL(found.generation, 1);
    CHECK(found.held && !found.shared);
    CHECK_SAYS(found.peer, "10.9.0.1:4000");
    record = record_of(2);
    record.held = false;
    CHECK_EQUAL(store->save(store->opaque, identity, &found, &record, &err), 0);
    CHECK_EQUAL(store->load(store->opaque, identity, &found, &err), 0);
    CHECK(found.generation == 2 && !found.held);
    store->remove(store->opaque, identity);
    CHECK_EQUAL(store->load(store->opaque, identity, &found, &err), -ENOENT);
}

/* @second may be another server's way to the same records. */
static void check_later_stays(const struct lease_store *first,
                              const struct lease_store *second)
{
    struct lease_record one = record_of(1), two = record_of(2), found;
    struct rdisk_error err = { 0 };

    CHECK_EQUAL(first->save(first->opaque, identity, &none, &one, &err), 0);
    CHECK_EQUAL(second->save(second->opaque, identity, &one, &two, &err), 0);
    one.held = false;
    CHECK_EQUAL(first->save(first->opaque, identity, &one, &one, &err), -EBUSY);
    CHECK_SAYS(err.text, "another server");
    CHECK_EQUAL(first->load(first->opaque, identity, &found, &err), 0);
    CHECK(found.generation == 2 && found.held);
    first->remove(first->opaque, identity);
}

/* With the same generation: a client has moved from the one to the other. */
static void check_owner_stays(const struct lease_store *first,
                              const struct lease_store *second)
{
    struct lease_record one = record_of(1), two = record_of(1), found;
    struct rdisk_error err = { 0 };

    memcpy(one.owner, first->owner, sizeof(one.owner));
    one.epoch = 1;
    memcpy(two.owner, second->owner, sizeof(two.owner));
    two.epoch = 2;
    CHECK_EQUAL(first->save(first->opaque, identity, &none, &one, &err), 0);
    CHECK_EQUAL(second->save(second->opaque, identity, &one, &two, &err), 0);
    /* What it knew before it came to know of the other. */
    CHECK_EQUAL(first->save(first->opaque, identity, &one, &one, &err), -EBUSY);
    CHECK_EQUAL(first->load(first->opaque, identity, &found, &err), 0);
    CHECK_EQUAL(memcmp(found.owner, second->owner, sizeof(found.owner)), 0);
    CHECK_EQUAL(found.epoch, 2);
    /* It has come back. */
    one.epoch = 3;
    CHECK_EQUAL(first->save(first->opaque, identity, &found, &one, &err), 0);
    first->remove(first->opaque, identity);
}

static void test_owner_stays(void)
{
    begin();
    check_owner_stays(&pools[0].shared, &pools[1].shared);
    end();
}

static void test_keeps(void)
{
    begin();
    check_keeps(&files.store);
    check_keeps(&pools[0].shared);
    end();
}

static void test_later_stays(void)
{
    begin();
    check_later_stays(&files.store, &files.store);
    check_later_stays(&pools[0].shared, &pools[1].shared);
    end();
}

/* ---- Compare-and-swap ---------------------------------------------------- */

static const struct backend_pool_class *class(void)
{
    return rdisk_backend_module.class->pool;
}

static void test_swap(void)
{
    struct backend_pool *place;
    char text[16];

    begin();
    place = pools[0].place;
    CHECK_EQUAL(class()->read(place, "t", text, sizeof(text)), -ENOENT);
    CHECK_EQUAL(class()->swap(place, "t", "one", "two"), -ESTALE);
    CHECK_EQUAL(class()->swap(place, "t", NULL, "one"), 0);
    CHECK_EQUAL(class()->swap(place, "t", NULL, "two"), -ESTALE);
    CHECK_EQUAL(class()->swap(place, "t", "ond", "two"), -ESTALE);
    CHECK_EQUAL(class()->swap(place, "t", "longer", "two"), -ESTALE);
    CHECK_EQUAL(class()->read(place, "t", text, sizeof(text)), 0);
    CHECK_SAYS(text, "one");
    CHECK_EQUAL(class()->swap(place, "t", "one", "2"), 0);
    CHECK_EQUAL(class()->read(place, "t", text, sizeof(text)), 0);
    CHECK_EQUAL(strcmp(text, "2"), 0);
    CHECK_EQUAL(class()->swap(place, "t", NULL, NULL), 0);
    CHECK_EQUAL(class()->read(place, "t", text, sizeof(text)), -ENOENT);
    end();
}

/* Counts SWAPS times, each on what it has read. */
static void *count(void *opaque)
{
    struct backend_pool *place = opaque;
    char before[16], after[16];

    for (unsigned int done = 0; done < SWAPS;) {
        if (class()->read(place, "n", before, sizeof(before)) < 0) {
            break;
        }
        snprintf(after, sizeof(after), "%06d", atoi(before) + 1);
        done += class()->swap(place, "n", before, after) == 0;
    }
    return NULL;
}

static void test_race(void)
{
    pthread_t threads[THREADS];
    char text[16];

    begin();
    CHECK_EQUAL(class()->swap(pools[0].place, "n", NULL, "000000"), 0);
    for (unsigned int i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, count, pools[i % 2].place);
    }
    for (unsigned int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK_EQUAL(class()->read(pools[0].place, "n", text, sizeof(text)), 0);
    CHECK_EQUAL(atoi(text), SWAPS * THREADS);
    CHECK_EQUAL(class()->swap(pools[0].place, "n", NULL, NULL), 0);
    end();
}

static void test_damaged(void)
{
    static const char name[] = "01020300000000000000000000000000";
    struct lease_record record = record_of(1), found;
    struct rdisk_error err = { 0 };
    const struct lease_store *store = &pools[0].shared;

    begin();
    CHECK_EQUAL(class()->swap(pools[0].place, name, NULL, "rdisk lease 9\n"),
                0);
    CHECK_EQUAL(store->load(store->opaque, identity, &found, &err), -EIO);
    CHECK_SAYS(err.text, "is damaged");
    CHECK_EQUAL(store->save(store->opaque, identity, &none, &record, &err),
                -EIO);
    store->remove(store->opaque, identity);
    CHECK_EQUAL(store->save(store->opaque, identity, &none, &record, &err), 0);
    store->remove(store->opaque, identity);
    end();
}

static const struct unit_test tests[] = {
    { "a record is what was saved last, until it is forgotten", test_keeps },
    { "the record of a later generation is not replaced", test_later_stays },
    { "the record of another server is replaced only by one that knows it",
      test_owner_stays },
    { "a text is replaced only if it is the one that was read", test_swap },
    { "of two servers that count, none loses a step", test_race },
    { "a damaged record is an error, and is not replaced", test_damaged },
};

/* Before the images' tests, which leave the cluster full. */
UNIT_SUITE("ceph-0-records", tests)
