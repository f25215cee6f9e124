/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which request is started next, by counts: how many others come between the
 * arrival of a request and its start.
 */
#include "server/session/scheduler.h"
#include "tests/unit/support/unit.h"

#define FLOWS    40u
#define REQUESTS 300u
#define MS       1000000u

static struct scheduler scheduler;
static struct flow *flows[FLOWS];
static struct flow_terms terms[FLOWS];

struct one {
    struct flow_request request;
    unsigned int flow;
    unsigned int place; /* in the order of starts, from 1; 0: not started */
    bool failed, must_fail;
};

static struct one ones[FLOWS][REQUESTS];
static unsigned int starts;
static bool at_once; /* a storage that ends a request when it is started */

static struct one *one_of(const struct flow_request *request)
{
    return (struct one *)request;
}

static void end_one(struct one *one)
{
    scheduler_ended(&scheduler, flows[one->flow], &one->request);
}

static void start(struct flow_request *request)
{
    struct one *one = one_of(request);

    CHECK_EQUAL(one->place, 0);
    one->place = ++starts;
    if (at_once) {
        end_one(one);
    }
}

static void fail(struct flow_request *request)
{
    one_of(request)->failed = true;
}

static bool must_fail(const struct flow_request *request)
{
    return one_of(request)->must_fail;
}

static void begin(unsigned int count, bool inline_storage)
{
    memset(ones, 0, sizeof(ones));
    memset(terms, 0, sizeof(terms));
    starts = 0;
    at_once = inline_storage;
    scheduler = (struct scheduler) {
        .start = start,
        .fail = fail,
        .must_fail = must_fail,
    };
    scheduler_init(&scheduler);
    for (unsigned int i = 0; i < count; i++) {
        flows[i] = scheduler_join(&scheduler, &terms[i]);
        REQUIRE(flows[i] != NULL);
    }
}

static void end(unsigned int count)
{
    for (unsigned int i = 0; i < count; i++) {
        scheduler_leave(&scheduler, flows[i]);
    }
    CHECK_EQUAL(scheduler.count, 0);
}

static void arrive(unsigned int flow, unsigned int n, enum flow_class class,
                   uint64_t now)
{
    struct one *one = &ones[flow][n];

    one->flow = flow;
    one->request.class = class;
    one->request.bytes = 4096;
    scheduler_arrive(&scheduler, flows[flow], &one->request, now);
}

static void arrive_all(unsigned int flow, uint64_t now)
{
    for (unsigned int n = 0; n < REQUESTS; n++) {
        arrive(flow, n, FLOW_READS, now);
    }
}

/* End what is at the storage, and start more, until nothing is left. */
static void finish(unsigned int count, uint64_t now)
{
    static const struct flow_request ended = { .bytes = 4096 };
    unsigned int before;

    do {
        before = starts;
        for (unsigned int i = 0; i < count; i++) {
            while (flows[i]->started) {
                scheduler_ended(&scheduler, flows[i], &ended);
            }
        }
        scheduler_serve(&scheduler, now);
    } while (starts != before);
}

/* ---- One flow ------------------------------------------------------------ */

static void test_alone(void)
{
    begin(1, false);
    arrive_all(0, MS);
    CHECK_EQUAL(starts, REQUESTS);
    finish(1, MS);
    end(1);
}

/* ---- Beside others ------------------------------------------------------- */

/* A turn in which one session has sent all, and then another one sends one. */
static void test_one_beside_many(void)
{
    begin(2, true);
    arrive_all(0, MS);
    CHECK_EQUAL(starts, SCHEDULER_QUANTUM);
    arrive(1, 0, FLOW_READS, MS);
    CHECK_EQUAL(ones[1][0].place, SCHEDULER_QUANTUM + 1);
    /* And so it stays while the rest of the first one's is carried out. */
    for (unsigned int n = 1; n < 4; n++) {
        unsigned int before = starts;

        CHECK(scheduler_serve(&scheduler, (n + 1) * MS));
        arrive(1, n, FLOW_READS, (n + 1) * MS + 1);
        CHECK(ones[1][n].place > before);
        CHECK(ones[1][n].place - before <= SCHEDULER_QUANTUM + 1);
    }
    finish(2, 10 * MS);
    CHECK_EQUAL(starts, REQUESTS + 4);
    end(2);
}

/* However many sessions have sent however much, a turn has its limit. */
static void test_turn_is_bounded(void)
{
    unsigned int before;

    begin(FLOWS, true);
    for (unsigned int i = 0; i + 1 < FLOWS; i++) {
        arrive_all(i, MS);
    }
    before = starts;
    CHECK(scheduler_serve(&scheduler, 2 * MS));
    CHECK_EQUAL(starts - before, SCHEDULER_TURN);
    arrive(FLOWS - 1, 0, FLOW_READS, 2 * MS + 1);
    CHECK_EQUAL(ones[FLOWS - 1][0].place, before + SCHEDULER_TURN + 1);
    finish(FLOWS, 3 * MS);
    CHECK_EQUAL(starts, (FLOWS - 1) * REQUESTS + 1);
    end(FLOWS);
}

/* Flows with the same load have started as much, at every moment. */
static void test_turns_are_taken(void)
{
    begin(FLOWS, true);
    for (unsigned int i = 0; i < FLOWS; i++) {
        arrive_all(i, MS);
    }
    for (unsigned int round = 0; round < 50; round++) {
        unsigned int least = REQUESTS, most = 0;

        scheduler_serve(&scheduler, (2 + round) * MS);
        for (unsigned int i = 0; i < FLOWS; i++) {
            unsigned int n = REQUESTS - flows[i]->parked;

            least = n < least ? n : least;
            most = n > most ? n : most;
        }
        CHECK(most - least <= SCHEDULER_QUANTUM);
    }
    finish(FLOWS, 100 * MS);
    end(FLOWS);
}

/* What others wait behind at the storage is bounded, too. */
static void test_share_of_storage(void)
{
    begin(2, false);
    arrive(1, 0, FLOW_READS, MS);
    arrive_all(0, MS);
    while (scheduler_serve(&scheduler, 2 * MS)) {
    }
    CHECK_EQUAL(flows[0]->started, SCHEDULER_SHARE);
    /* Each end lets the next one go. */
    end_one(&ones[0][0]);
    scheduler_serve(&scheduler, 3 * MS);
    CHECK_EQUAL(flows[0]->started, SCHEDULER_SHARE);
    finish(2, 4 * MS);
    CHECK_EQUAL(starts, REQUESTS + 1);
    end(2);
}

/* Large ones have less of it, but never nothing. */
static void test_share_in_bytes(void)
{
    begin(2, false);
    arrive(1, 0, FLOW_READS, MS);
    for (unsigned int n = 0; n < 8; n++) {
        ones[0][n].request.bytes = SCHEDULER_SHARE_BYTES;
        ones[0][n].request.class = FLOW_WRITES;
        scheduler_arrive(&scheduler, flows[0], &ones[0][n].request, MS);
    }
    while (scheduler_serve(&scheduler, 2 * MS)) {
    }
    CHECK_EQUAL(flows[0]->started, 1);
    for (unsigned int n = 0; n < 8; n++) {
        end_one(&ones[0][n]);
        scheduler_serve(&scheduler, 3 * MS);
    }
    CHECK_EQUAL(starts, 9);
    end_one(&ones[1][0]);
    end(2);
}

/* Sessions that are idle take nothing away. */
static void test_idle_others(void)
{
    begin(FLOWS, false);
    arrive_all(0, 1000 * MS);
    while (scheduler_serve(&scheduler, 1000 * MS)) {
    }
    CHECK_EQUAL(flows[0]->started, REQUESTS);
    finish(FLOWS, 1001 * MS);
    end(FLOWS);
}

/* ---- The end of a session ------------------------------------------------ */

static void test_broken_never_starts(void)
{
    unsigned int failed = 0;

    begin(2, true);
    arrive_all(0, MS);
    arrive(1, 0, FLOW_WRITES, MS);
    for (unsigned int n = 0; n < REQUESTS; n++) {
        ones[0][n].must_fail = true;
    }
    while (scheduler_serve(&scheduler, 2 * MS)) {
    }
    CHECK_EQUAL(starts, SCHEDULER_QUANTUM + 1);
    for (unsigned int n = 0; n < REQUESTS; n++) {
        failed += ones[0][n].failed;
    }
    CHECK_EQUAL(failed, REQUESTS - SCHEDULER_QUANTUM);
    CHECK_EQUAL(flows[0]->parked, 0);
    end(2);
}

/* ---- Limits -------------------------------------------------------------- */

static struct throttle *limit(const char *limits)
{
    static struct throttle throttle;
    struct throttle_values values;
    struct rdisk_error err = { 0 };

    CHECK_EQUAL(throttle_values_parse(&values, "it", limits, &err), 0);
    memset(&throttle, 0, sizeof(throttle));
    throttle_set(&throttle, &values);
    return &throttle;
}

/* As a reactor does: serve, sleep until it is time, and so on. Returns how
 * often it woke up. */
static unsigned int run_until(uint64_t *now, uint64_t until)
{
    unsigned int wakes = 0;

    while (*now < until) {
        uint64_t pause;

        if (scheduler_serve(&scheduler, *now)) {
            continue;
        }
        pause = scheduler_pause(&scheduler, *now);
        if (pause == SCHEDULER_NEVER || *now + pause > until) {
            break;
        }
        *now += pause;
        scheduler_wake(&scheduler);
        wakes++;
    }
    *now = until;
    return wakes;
}

static void test_limit_parks(void)
{
    struct throttle *throttle = limit("iops=1000");
    uint64_t now = 1000 * MS;
    unsigned int wakes;

    begin(1, true);
    terms[0].throttles[0] = throttle;
    arrive_all(0, now);
    wakes = run_until(&now, now + 100 * MS);
    CHECK(starts >= 199 && starts <= 202);
    CHECK(wakes <= 110);
    run_until(&now, now + 200 * MS);
    CHECK_EQUAL(starts, REQUESTS);
    for (unsigned int n = 0; n < REQUESTS; n++) {
        CHECK_EQUAL(ones[0][n].place, n + 1);
    }
    CHECK(throttle->requests >= REQUESTS - 110);
    CHECK(throttle->time > 0);
    CHECK_EQUAL(scheduler_pause(&scheduler, now), SCHEDULER_NEVER);
    end(1);
}

/* Many starts are not as many wake-ups. */
static void test_limit_is_no_loop(void)
{
    uint64_t now = 1000 * MS;
    unsigned int wakes;

    begin(1, true);
    terms[0].throttles[1] = limit("iops=100000");
    for (unsigned int round = 0; round < 100; round++) {
        memset(ones, 0, sizeof(ones));
        arrive_all(0, now);
        wakes = run_until(&now, now + MS);
        CHECK(wakes <= 6);
        while (flows[0]->parked) {
            run_until(&now, now + MS);
        }
    }
    end(1);
}

/* One session of a limited volume does not take the limit for itself. */
static void test_limit_is_shared(void)
{
    struct throttle *throttle = limit("iops=1000");
    uint64_t now = 1000 * MS;

    begin(2, true);
    terms[0].throttles[0] = terms[1].throttles[0] = throttle;
    arrive_all(0, now);
    run_until(&now, now + 50 * MS);
    for (unsigned int n = 0; n < 20; n++) {
        unsigned int before = starts;

        arrive(1, n, FLOW_READS, now);
        while (!ones[1][n].place) {
            run_until(&now, now + MS);
        }
        CHECK(ones[1][n].place - before <= 3);
    }
    run_until(&now, now + 1000 * MS);
    end(2);
}

static void test_reads_pass_writes(void)
{
    uint64_t now = 1000 * MS;

    begin(1, true);
    terms[0].throttles[0] = limit("iops-write=10");
    for (unsigned int n = 0; n < 20; n++) {
        arrive(0, n, FLOW_WRITES, now);
    }
    run_until(&now, now + MS);
    CHECK(flows[0]->parked > 0);
    arrive(0, 20, FLOW_READS, now);
    CHECK(ones[0][20].place != 0);
    run_until(&now, now + 3000 * MS);
    end(1);
}

static void test_parked_has_an_end(void)
{
    uint64_t now = 1000 * MS;

    begin(1, true);
    terms[0].throttles[0] = limit("iops=1");
    arrive_all(0, now);
    run_until(&now, now + SCHEDULER_PARKED_MAX + 100 * MS);
    CHECK_EQUAL(starts, REQUESTS);
    end(1);
}

/* It is drained, or its limit is raised: within a moment. */
static void test_changes_are_noticed(void)
{
    struct throttle *throttle = limit("iops=1");
    struct throttle_values values = { 0 };
    uint64_t now = 1000 * MS;

    begin(2, true);
    terms[0].throttles[0] = terms[1].throttles[0] = throttle;
    arrive_all(0, now);
    arrive(1, 0, FLOW_READS, now);
    run_until(&now, now + MS);
    CHECK(starts <= 2);
    terms[1].hurried = true;
    run_until(&now, now + 2 * SCHEDULER_CHECK);
    CHECK(ones[1][0].place != 0);
    CHECK(flows[0]->parked > 0);
    throttle_set(throttle, &values);
    run_until(&now, now + 2 * SCHEDULER_CHECK);
    CHECK_EQUAL(flows[0]->parked, 0);
    end(2);
}

static void test_limit_of_broken(void)
{
    uint64_t now = 1000 * MS;
    unsigned int before;

    begin(1, true);
    terms[0].throttles[0] = limit("iops=1");
    arrive_all(0, now);
    run_until(&now, now + MS);
    before = starts;
    for (unsigned int n = 0; n < REQUESTS; n++) {
        ones[0][n].must_fail = true;
    }
    run_until(&now, now + 2 * SCHEDULER_CHECK);
    CHECK_EQUAL(starts, before);
    CHECK_EQUAL(flows[0]->parked, 0);
    end(1);
}

static const struct unit_test tests[] = {
    { "requests of a session that is alone start at once", test_alone },
    { "a request waits for a bounded number of a busy session's",
      test_one_beside_many },
    { "and of many busy sessions' requests", test_turn_is_bounded },
    { "busy sessions take turns", test_turns_are_taken },
    { "a busy session has its share of the storage, no more",
      test_share_of_storage },
    { "a share is bounded in bytes, too", test_share_in_bytes },
    { "a session beside idle ones has no share", test_idle_others },
    { "no parked request of a broken queue starts", test_broken_never_starts },
    { "what is over a limit is parked, and starts in its order",
      test_limit_parks },
    { "a limit wakes the reactor five times a millisecond at most",
      test_limit_is_no_loop },
    { "sessions below one limit take turns", test_limit_is_shared },
    { "a limit of writes parks no read", test_reads_pass_writes },
    { "no limit parks a request for more than 20 s", test_parked_has_an_end },
    { "the end of a session, and a change of a limit, are noticed in time",
      test_changes_are_noticed },
    { "no request that a limit parks starts after its queue has broken",
      test_limit_of_broken },
};

UNIT_SUITE("server-scheduler", tests)
