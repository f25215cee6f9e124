/* SPDX-License-Identifier: BSD-3-Clause */
/* Limits of requests and bytes a second, in virtual time. */
#include <stdlib.h>

#include "server/session/throttle.h"
#include "tests/unit/support/unit.h"

#define SECOND 1000000000ull

static struct throttle *throttle;
static uint64_t now;

static void begin(const char *limits)
{
    struct throttle_values values;
    struct rdisk_error err = { 0 };

    CHECK_EQUAL(throttle_values_parse(&values, "it", limits, &err), 0);
    throttle = calloc(1, sizeof(*throttle));
    REQUIRE(throttle != NULL);
    throttle_set(throttle, &values);
    now = 1000 * SECOND;
}

static void end(void)
{
    free(throttle);
}

/* Requests that can be started until @until, by one that always has some. */
static unsigned int start_until(uint64_t until, enum flow_class class,
                                uint64_t bytes)
{
    unsigned int count = 0;

    while (now < until) {
        uint64_t wait = throttle_wait(throttle, class, now);

        if (wait) {
            now += wait;
            continue;
        }
        throttle_charge(throttle, class, bytes, now);
        count++;
    }
    now = until;
    return count;
}

static unsigned int start_for(unsigned int seconds, enum flow_class class,
                              uint64_t bytes)
{
    return start_until(now + seconds * SECOND, class, bytes);
}

static void none(void)
{
    begin("off");
    CHECK(!throttle_is_active(throttle));
    CHECK(!throttle_is_active(NULL));
    end();
}

/* A tenth of a second of it may come at once. */
static void average_holds(void)
{
    unsigned int count;

    begin("iops=1000");
    CHECK(throttle_is_active(throttle));
    count = start_for(10, FLOW_READS, 4096);
    CHECK(count >= 10000 && count <= 10000 + 100 + 1);
    /* What was over is made up for: no more is allowed later. */
    count = start_for(10, FLOW_WRITES, 4096);
    CHECK(count >= 10000 - 1 && count <= 10000 + 1);
    end();
}

static void pauses_allow_no_flood(void)
{
    unsigned int count;

    begin("iops=1000");
    start_for(1, FLOW_READS, 0);
    now += 100 * SECOND;
    count = start_until(now + 1, FLOW_READS, 0);
    CHECK(count >= 100 && count <= 101);
    end();
}

static void bytes_count(void)
{
    unsigned int count;

    begin("bps=10M");
    count = start_for(10, FLOW_READS, 1 << 20);
    CHECK(count >= 100 && count <= 102);
    /* What has no bytes is not limited by them. */
    CHECK_EQUAL(throttle_wait(throttle, FLOW_WRITES, now + SECOND), 0);
    end();
}

/* The maximum for its length, and then the average. */
static void burst_has_a_length(void)
{
    unsigned int count;

    begin("iops=1000 iops-max=5000 iops-max-length=4");
    count = start_for(1, FLOW_READS, 0);
    CHECK(count >= 5000 && count <= 5000 + 500 + 1);
    count = start_for(100, FLOW_READS, 0);
    /* 4 seconds of the maximum, of which one is over. */
    CHECK(count <= 100 * 1000 + 4 * 5000 - 5000 + 1000 + 1);
    CHECK(count >= 100 * 1000);
    count = start_for(10, FLOW_READS, 0);
    CHECK(count >= 10000 - 1 && count <= 10000 + 1);
    end();
}

static void reads_and_writes_have_their_own(void)
{
    begin("iops-write=100");
    start_for(1, FLOW_WRITES, 0);
    throttle_charge(throttle, FLOW_WRITES, 0, now);
    CHECK(throttle_wait(throttle, FLOW_WRITES, now) > 0);
    CHECK_EQUAL(throttle_wait(throttle, FLOW_READS, now), 0);
    end();
    begin("bps-read=1M");
    start_for(1, FLOW_READS, 65536);
    throttle_charge(throttle, FLOW_READS, 65536, now);
    CHECK(throttle_wait(throttle, FLOW_READS, now) > 0);
    CHECK_EQUAL(throttle_wait(throttle, FLOW_WRITES, now), 0);
    end();
}

/* A larger limit counts for what waits already. */
static void changes_count_at_once(void)
{
    struct throttle_values values = { 0 };

    begin("iops=1");
    start_for(1, FLOW_READS, 0);
    CHECK(throttle_wait(throttle, FLOW_READS, now) > SECOND / 10);
    values.rates[THROTTLE_IOPS].avg = 1000;
    throttle_set(throttle, &values);
    CHECK_EQUAL(throttle_wait(throttle, FLOW_READS, now), 0);
    end();
}

/* Whatever was started over the limit, the wait for it has an end. */
static void debt_is_bounded(void)
{
    begin("iops=1");
    for (unsigned int i = 0; i < 1000; i++) {
        throttle_charge(throttle, FLOW_READS, 0, now);
    }
    CHECK(throttle_wait(throttle, FLOW_READS, now) <= THROTTLE_DEBT_MAX);
    end();
}

static void waits_are_counted(void)
{
    begin("iops=1");
    throttle_count(throttle, 5);
    throttle_count(throttle, 7);
    CHECK_EQUAL(throttle->requests, 2);
    CHECK_EQUAL(throttle->time, 12);
    end();
}

static const struct unit_test tests[] = {
    { "without limits nothing is limited", none },
    { "an average holds from the first second on", average_holds },
    { "a pause does not allow more than a tenth of a second at once",
      pauses_allow_no_flood },
    { "bytes have a limit of their own", bytes_count },
    { "a maximum is reached for its length", burst_has_a_length },
    { "reads and writes have limits of their own",
      reads_and_writes_have_their_own },
    { "a limit that is raised counts at once", changes_count_at_once },
    { "what was started over a limit delays others for 20 s at most",
      debt_is_bounded },
    { "requests that waited are counted", waits_are_counted },
};

UNIT_SUITE("server-throttle", tests)
