/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/session/throttle.h"

#define SECOND 1000000000u
/* What may come at once where no maximum is given, and of the maximum: a tenth
 * of a second of it. */
#define AT_ONCE (SECOND / 10)

/* The kinds that a request of a class counts for. */
#define EACH 2u
static const enum throttle_kind of_requests[FLOW_CLASSES][EACH] = {
    [FLOW_READS] = { THROTTLE_IOPS, THROTTLE_IOPS_READ },
    [FLOW_WRITES] = { THROTTLE_IOPS, THROTTLE_IOPS_WRITE },
};
static const enum throttle_kind of_bytes[FLOW_CLASSES][EACH] = {
    [FLOW_READS] = { THROTTLE_BPS, THROTTLE_BPS_READ },
    [FLOW_WRITES] = { THROTTLE_BPS, THROTTLE_BPS_WRITE },
};

/* ---- Buckets ------------------------------------------------------------- */

static void set_bucket(struct throttle_bucket *bucket, uint64_t rate,
                       uint64_t tolerance)
{
    atomic_store_explicit(&bucket->tolerance, tolerance, memory_order_relaxed);
    atomic_store_explicit(&bucket->empty, 0, memory_order_relaxed);
    atomic_store_explicit(&bucket->rate, rate, memory_order_relaxed);
}

static uint64_t get(const _Atomic uint64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

static uint64_t bucket_wait(const struct throttle_bucket *bucket, uint64_t now)
{
    uint64_t until = now + get(&bucket->tolerance);
    uint64_t empty = get(&bucket->empty);

    return get(&bucket->rate) && empty > until ? empty - until : 0;
}

static void bucket_charge(struct throttle_bucket *bucket, uint64_t units,
                          uint64_t now)
{
    uint64_t rate = get(&bucket->rate), empty = get(&bucket->empty);
    uint64_t most = now + get(&bucket->tolerance) + THROTTLE_DEBT_MAX;
    uint64_t next;

    if (!rate) {
        return;
    }
    do {
        next = (empty > now ? empty : now) + units * SECOND / rate;
        next = next < most ? next : most;
    } while (!atomic_compare_exchange_weak_explicit(&bucket->empty, &empty,
                                                    next, memory_order_relaxed,
                                                    memory_order_relaxed));
}

/* ---- All of them --------------------------------------------------------- */

void throttle_set(struct throttle *throttle,
                  const struct throttle_values *values)
{
    bool active = false;

    for (unsigned int kind = 0; kind < THROTTLE_KINDS; kind++) {
        const struct throttle_rate *rate = &values->rates[kind];
        double length = rate->length ? (double)rate->length : 1;
        /* At the maximum for that long it is ahead by so much. */
        double ahead = rate->max ? (double)rate->max * length * SECOND /
                                       (double)rate->avg
                                 : AT_ONCE;

        set_bucket(&throttle->average[kind], rate->avg, (uint64_t)ahead);
        set_bucket(&throttle->maximum[kind], rate->max, AT_ONCE);
        active |= rate->avg != 0;
    }
    atomic_store_explicit(&throttle->active, active, memory_order_relaxed);
}

static uint64_t kind_wait(const struct throttle *throttle,
                          enum throttle_kind kind, uint64_t now)
{
    uint64_t average = bucket_wait(&throttle->average[kind], now);
    uint64_t maximum = bucket_wait(&throttle->maximum[kind], now);

    return average > maximum ? average : maximum;
}

static void kind_charge(struct throttle *throttle, enum throttle_kind kind,
                        uint64_t units, uint64_t now)
{
    bucket_charge(&throttle->average[kind], units, now);
    bucket_charge(&throttle->maximum[kind], units, now);
}

uint64_t throttle_wait(const struct throttle *throttle, enum flow_class class,
                       uint64_t now)
{
    uint64_t longest = 0;

    for (unsigned int i = 0; i < EACH; i++) {
        uint64_t requests = kind_wait(throttle, of_requests[class][i], now);
        uint64_t bytes = kind_wait(throttle, of_bytes[class][i], now);

        longest = requests > longest ? requests : longest;
        longest = bytes > longest ? bytes : longest;
    }
    return longest;
}

void throttle_charge(struct throttle *throttle, enum flow_class class,
                     uint64_t bytes, uint64_t now)
{
    for (unsigned int i = 0; i < EACH; i++) {
        kind_charge(throttle, of_requests[class][i], 1, now);
        kind_charge(throttle, of_bytes[class][i], bytes, now);
    }
}

void throttle_count(struct throttle *throttle, uint64_t time)
{
    atomic_fetch_add_explicit(&throttle->requests, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&throttle->time, time, memory_order_relaxed);
}
