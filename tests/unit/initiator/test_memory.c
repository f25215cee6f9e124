/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of registered memory. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "tests/unit/support/raw.h"
#include "transport/initiator/memory.h"
#include "tests/unit/support/unit.h"

static struct fake_fabric *fabric;
static struct fake_host *host, *other;
static struct raw raw, peer;
static struct rdisk_memory memory;
static struct rdisk_memory_keys keys;
static struct rdisk_error err;
static uint8_t block[65536];

static void begin(void)
{
    fabric = fake_fabric_new(3);
    host = fake_host_add(fabric, "10.0.0.1");
    other = fake_host_add(fabric, "10.0.0.2");
    raw_init(&raw, fabric, host);
    raw_init(&peer, fabric, other);
    raw_pair(&raw, &peer);
    REQUIRE(rdisk_memory_init(&memory, raw.verbs, raw.pd,
                              IBV_ACCESS_REMOTE_WRITE) == 0);
}

static void end(void)
{
    rdisk_memory_destroy(&memory);
    raw_unpair(&raw, &peer);
    CHECK_EQUAL(fake_fabric_free(fabric), 0);
}

static bool found(size_t offset, size_t length)
{
    struct rdisk_memory_hint none = { 0 };
    const struct rdisk_memory_keys *result = rdisk_memory_lookup(&memory,
                                                                 block + offset,
                                                                 length, &none);

    if (result) {
        keys = *result;
    }
    return result;
}

static void inside_is_found(void)
{
    begin();
    CHECK(!found(0, 1));
    CHECK_EQUAL(rdisk_memory_add(&memory, block + 4096, 8192, &err), 0);
    CHECK(found(4096, 8192));
    CHECK(found(4096, 1) && found(12287, 1));
    CHECK(keys.lkey != keys.rkey);
    CHECK(!found(4095, 2) && !found(12287, 2) && !found(0, 65536));
    rdisk_memory_remove(&memory, block + 4096, 8192);
    CHECK(!found(4096, 1));
    end();
}

/* Where something was found last is no answer once the table has changed. */
static void hint_follows_the_table(void)
{
    struct rdisk_memory_hint hint = { 0 };
    const struct rdisk_memory_keys *first;
    uint32_t lkey;

    begin();
    CHECK_EQUAL(rdisk_memory_add(&memory, block + 4096, 8192, &err), 0);
    first = rdisk_memory_lookup(&memory, block + 4096, 4096, &hint);
    REQUIRE(first != NULL);
    lkey = first->lkey;
    first = rdisk_memory_lookup(&memory, block + 8192, 4096, &hint);
    CHECK(first && first->lkey == lkey);
    CHECK(!rdisk_memory_lookup(&memory, block, 4096, &hint));
    CHECK(!rdisk_memory_lookup(&memory, block + 8192, 8192, &hint));
    CHECK(!rdisk_memory_lookup(&memory, block + 12288, 1, &hint));
    CHECK(rdisk_memory_lookup(&memory, block + 8192, 4096, &hint) != NULL);
    rdisk_memory_remove(&memory, block + 4096, 8192);
    CHECK(!rdisk_memory_lookup(&memory, block + 8192, 4096, &hint));
    CHECK_EQUAL(rdisk_memory_add(&memory, block + 4096, 8192, &err), 0);
    first = rdisk_memory_lookup(&memory, block + 8192, 4096, &hint);
    CHECK(first && first->lkey != lkey);
    rdisk_memory_remove(&memory, block + 4096, 8192);
    end();
}

static void keys_open_the_memory(void)
{
    struct ibv_wc wc;

    begin();
    CHECK_EQUAL(rdisk_memory_add(&memory, block, 4096, &err), 0);
    REQUIRE(found(100, 8));
    memcpy(peer.buffer, "12345678", 8);
    raw_write(&peer, 0, 8, (uintptr_t)block + 100, keys.rkey, -1);
    REQUIRE(raw_poll(&peer, &wc));
    CHECK_EQUAL(wc.status, IBV_WC_SUCCESS);
    CHECK(!memcmp(block + 100, "12345678", 8));
    rdisk_memory_remove(&memory, block, 4096);
    raw_write(&peer, 0, 8, (uintptr_t)block + 100, keys.rkey, -1);
    REQUIRE(raw_poll(&peer, &wc));
    CHECK_EQUAL(wc.status, IBV_WC_REM_ACCESS_ERR);
    end();
}

static void same_range_is_counted(void)
{
    uint64_t before;

    begin();
    CHECK_EQUAL(rdisk_memory_add(&memory, block, 4096, &err), 0);
    before = fake_calls(host, FAKE_REG_MR);
    CHECK_EQUAL(rdisk_memory_add(&memory, block, 4096, &err), 0);
    CHECK_EQUAL(fake_calls(host, FAKE_REG_MR), before);
    rdisk_memory_remove(&memory, block, 4096);
    CHECK(found(0, 4096));
    rdisk_memory_remove(&memory, block, 4096);
    CHECK(!found(0, 4096));
    end();
}

static void many_ranges(void)
{
    begin();
    for (unsigned int i = 0; i < 64; i++) {
        CHECK_EQUAL(rdisk_memory_add(&memory, block + i * 1024, 1000, &err), 0);
    }
    for (unsigned int i = 0; i < 64; i += 2) {
        rdisk_memory_remove(&memory, block + i * 1024, 1000);
    }
    for (unsigned int i = 0; i < 64; i++) {
        CHECK_EQUAL(found(i * 1024, 1000), i % 2);
        /* Two ranges are two registrations, even side by side. */
        CHECK(!found(i * 1024, 1001));
    }
    /* What is left goes with the table. */
    end();
}

static void unknown_range_is_left_alone(void)
{
    begin();
    CHECK_EQUAL(rdisk_memory_add(&memory, block, 4096, &err), 0);
    rdisk_memory_remove(&memory, block, 2048);
    rdisk_memory_remove(&memory, block + 4096, 4096);
    CHECK(found(0, 4096));
    end();
}

static void limit_is_explained(void)
{
    begin();
    fake_host_limits(host)->memlock = RAW_BUFFER + 4096;
    CHECK_EQUAL(rdisk_memory_add(&memory, block, 4096, &err), 0);
    CHECK_EQUAL(rdisk_memory_add(&memory, block + 4096, 8192, &err), -ENOMEM);
    CHECK_SAYS(err.text, "8192 bytes");
    CHECK(found(0, 4096) && !found(4096, 1));
    end();
}

static void no_range(void)
{
    begin();
    CHECK_EQUAL(rdisk_memory_add(&memory, block, 0, &err), -EINVAL);
    CHECK_EQUAL(rdisk_memory_add(&memory, (void *)(UINTPTR_MAX - 10), 4096,
                                 &err),
                -EINVAL);
    end();
}

/* ---- Readers beside a writer ------------------------------------------ */

/* Keys that tell of which KiB of the block they are. */
static struct ibv_mr *telling_reg_mr(struct ibv_pd *pd, void *address,
                                     size_t length, int access)
{
    struct ibv_mr *mr = calloc(1, sizeof(*mr));

    mr->lkey = 1 + (uint32_t)(((uint8_t *)address - block) / 1024);
    mr->rkey = mr->lkey + 1000;
    return mr;
}

static int telling_dereg_mr(struct ibv_mr *mr)
{
    free(mr);
    return 0;
}

static const struct rdisk_verbs telling_verbs = {
    .reg_mr = telling_reg_mr,
    .dereg_mr = telling_dereg_mr,
};

static atomic_bool stop;
static atomic_uint wrong, lookups;

static void *read_all_the_time(void *opaque)
{
    struct rdisk_memory_hint hint = { 0 };

    for (unsigned int i = 0; !atomic_load(&stop); i = (i + 1) % 40) {
        /* Twice: from the table, and by what was found there. */
        for (unsigned int j = 0; j < 2; j++) {
            const struct rdisk_memory_keys *here =
                rdisk_memory_lookup(&memory, block + i * 1024 + 5, 10, &hint);

            if (here ? here->lkey != i + 1 || here->rkey != i + 1001 : i == 0) {
                atomic_fetch_add(&wrong, 1);
            }
        }
        atomic_fetch_add(&lookups, 1);
    }
    return NULL;
}

static void reader_beside_writer(void)
{
    pthread_t reader;

    REQUIRE(rdisk_memory_init(&memory, &telling_verbs, NULL,
                              IBV_ACCESS_REMOTE_WRITE) == 0);
    atomic_store(&stop, false);
    atomic_store(&wrong, 0);
    atomic_store(&lookups, 0);
    /* This one stays; the others come and go, and move in the table. */
    CHECK_EQUAL(rdisk_memory_add(&memory, block, 1024, &err), 0);
    REQUIRE(pthread_create(&reader, NULL, read_all_the_time, NULL) == 0);
    for (unsigned int round = 0; round < 200 || atomic_load(&lookups) < 200000;
         round++) {
        for (unsigned int i = 1; i < 40; i++) {
            CHECK(rdisk_memory_add(&memory, block + i * 1024, 1024, &err) == 0);
        }
        for (unsigned int i = 1; i < 40; i++) {
            rdisk_memory_remove(&memory, block + i * 1024, 1024);
        }
    }
    atomic_store(&stop, true);
    pthread_join(reader, NULL);
    CHECK_EQUAL(atomic_load(&wrong), 0);
    rdisk_memory_destroy(&memory);
}

/* ---- While a registration takes its time --------------------------------- */

static struct rdisk_verbs slow_verbs;
static const struct rdisk_verbs *quick_verbs;
static void (*meanwhile)(void);

static struct ibv_mr *slow_reg_mr(struct ibv_pd *pd, void *address,
                                  size_t length, int access)
{
    void (*run)(void) = meanwhile;

    meanwhile = NULL;
    if (run) {
        run();
    }
    return quick_verbs->reg_mr(pd, address, length, access);
}

static void begin_slow(void (*run)(void))
{
    begin();
    quick_verbs = raw.verbs;
    slow_verbs = *raw.verbs;
    slow_verbs.reg_mr = slow_reg_mr;
    memory.verbs = &slow_verbs;
    meanwhile = run;
}

static void use_another_range(void)
{
    /* A mutex that is held would be a test that does not end. */
    REQUIRE(pthread_mutex_trylock(&memory.lock) == 0);
    pthread_mutex_unlock(&memory.lock);
    CHECK_EQUAL(rdisk_memory_add(&memory, block + 8192, 4096, &err), 0);
    CHECK(found(8192, 4096));
    rdisk_memory_remove(&memory, block + 8192, 4096);
}

static void a_slow_registration_delays_no_other(void)
{
    begin_slow(use_another_range);
    CHECK_EQUAL(rdisk_memory_add(&memory, block, 4096, &err), 0);
    CHECK(!meanwhile && found(0, 4096) && !found(8192, 1));
    rdisk_memory_remove(&memory, block, 4096);
    end();
}

static void use_the_same_range(void)
{
    REQUIRE(pthread_mutex_trylock(&memory.lock) == 0);
    pthread_mutex_unlock(&memory.lock);
    CHECK_EQUAL(rdisk_memory_add(&memory, block, 4096, &err), 0);
}

static void two_at_a_time_share_one_registration(void)
{
    begin_slow(use_the_same_range);
    CHECK_EQUAL(rdisk_memory_add(&memory, block, 4096, &err), 0);
    CHECK(found(0, 4096));
    rdisk_memory_remove(&memory, block, 4096);
    CHECK(found(0, 4096));
    rdisk_memory_remove(&memory, block, 4096);
    CHECK(!found(0, 4096));
    end();
}

static const struct unit_test tests[] = {
    { "what lies inside a range is found, what crosses it is not",
      inside_is_found },
    { "a hint follows the table", hint_follows_the_table },
    { "the keys found open the memory until it is removed",
      keys_open_the_memory },
    { "the same range is registered once and counted", same_range_is_counted },
    { "many ranges come and go", many_ranges },
    { "removing what was not added changes nothing",
      unknown_range_is_left_alone },
    { "a failed registration reports the bytes", limit_is_explained },
    { "an empty or wrapping range is refused", no_range },
    { "readers are right while a writer works", reader_beside_writer },
    { "a slow registration delays no other",
      a_slow_registration_delays_no_other },
    { "two threads that register the same range share one registration",
      two_at_a_time_share_one_registration },
};

UNIT_SUITE("memory", tests)
