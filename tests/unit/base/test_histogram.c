/* SPDX-License-Identifier: BSD-3-Clause */
/* Latencies: where they are counted, and what comes out. */
#include "tests/unit/support/scene.h"
#include "transport/base/counter.h"
#include "tests/unit/support/unit.h"

static void buckets_follow_each_other(void)
{
    unsigned int last = 0;

    for (uint64_t time = 0; time < 1ull << 42; time += time / 64 + 64) {
        unsigned int bucket = rdisk_histogram_bucket(time);

        CHECK(bucket == last || bucket == last + 1);
        CHECK(bucket == RDISK_HISTOGRAM_BUCKETS - 1 ||
              time < rdisk_histogram_limit(bucket));
        CHECK(bucket == 0 || time >= rdisk_histogram_limit(bucket - 1));
        last = bucket;
    }
    CHECK_EQUAL(last, RDISK_HISTOGRAM_BUCKETS - 1);
    CHECK_EQUAL(rdisk_histogram_bucket(UINT64_MAX), last);
}

static void percentiles_are_right_to_a_quarter(void)
{
    struct rdisk_histogram histogram = { 0 };
    uint64_t count[RDISK_HISTOGRAM_BUCKETS];
    static const double parts[] = { 0.01, 0.5, 0.99, 1 };

    for (uint64_t i = 1; i <= 10000; i++) {
        rdisk_histogram_add(&histogram, i * 1000);
    }
    for (unsigned int i = 0; i < RDISK_HISTOGRAM_BUCKETS; i++) {
        count[i] = rdisk_counter_read(&histogram.bucket[i]);
    }
    for (unsigned int i = 0; i < 4; i++) {
        uint64_t time = rdisk_histogram_percentile(count, parts[i]);

        CHECK(time >= parts[i] * 1e7 && time <= parts[i] * 1.26e7);
    }
}

static void no_request_no_percentile(void)
{
    uint64_t count[RDISK_HISTOGRAM_BUCKETS] = { 0 };

    CHECK_EQUAL(rdisk_histogram_percentile(count, 0.5), 0);
    CHECK_EQUAL(rdisk_histogram_percentile(count, 1), 0);
}

/* ---- A queue's -------------------------------------------------------- */

static struct scene scene;
static struct scene_client *client = &scene.clients[0];
static struct rdisk_target_counters counters;
static uint8_t buffer[4096];

static uint64_t counted(enum rdisk_op op)
{
    uint64_t sum = 0;

    memset(&counters, 0, sizeof(counters));
    for (unsigned int i = 0; i < SCENE_QUEUES; i++) {
        if (scene.queues[i].queue) {
            rdisk_target_queue_counters(scene.queues[i].queue, &counters);
        }
    }
    for (unsigned int i = 0; i < RDISK_HISTOGRAM_BUCKETS; i++) {
        sum += counters.latency[op][i];
    }
    return sum;
}

/* More at once than are noted before the clock is read. */
static void each_request_is_counted_once(void)
{
    static struct scene_io ios[400];

    scene_begin(&scene, 1);
    REQUIRE(scene_connect(client));
    for (unsigned int i = 0; i < 400; i++) {
        REQUIRE(scene_submit(&ios[i], client, 0,
                             i % 4 ? RDISK_OP_READ : RDISK_OP_WRITE, i * 512,
                             buffer, 512) == 0);
    }
    rdisk_queue_kick(rdisk_initiator_queue(client->session, 0));
    scene_pump(&scene);
    CHECK_EQUAL(counted(RDISK_OP_READ), 300);
    CHECK_EQUAL(counted(RDISK_OP_WRITE), 100);
    CHECK_EQUAL(counted(RDISK_OP_FLUSH), 0);
    scene_end(&scene);
}

static void the_time_is_the_owners(void)
{
    static struct scene_io io;
    uint64_t time;

    scene_begin(&scene, 1);
    REQUIRE(scene_connect(client));
    scene.park = true;
    REQUIRE(scene_submit(&io, client, 0, RDISK_OP_READ, 0, buffer, 512) == 0);
    rdisk_queue_kick(rdisk_initiator_queue(client->session, 0));
    scene_advance(&scene, 100);
    scene_unpark(&scene, 1);
    scene_pump(&scene);
    CHECK_EQUAL(counted(RDISK_OP_READ), 1);
    time = rdisk_histogram_percentile(counters.latency[RDISK_OP_READ], 0.5);
    CHECK(time >= 100 * RDISK_MSEC && time < 130 * RDISK_MSEC);
    scene_end(&scene);
}

static const struct unit_test tests[] = {
    { "buckets follow each other without a gap", buckets_follow_each_other },
    { "percentiles are right to a quarter",
      percentiles_are_right_to_a_quarter },
    { "without a request there is no percentile", no_request_no_percentile },
    { "a server counts each request once", each_request_is_counted_once },
    { "what is counted is the time at the server", the_time_is_the_owners },
};

UNIT_SUITE("histogram", tests)
