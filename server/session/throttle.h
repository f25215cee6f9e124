/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How much a volume, or a client, may start in a second, as leaky buckets that
 * all reactors share.
 *
 * A bucket is one number: the time at which it will have leaked empty. A
 * request moves it on by what it costs, and the next one waits while that time
 * is too far ahead. So what is over a limit is made up for later, and no
 * request needs a lock. The average has a bucket, and the maximum beside it has
 * another one.
 *
 * Time is in ns of any clock that all reactors have.
 */
#ifndef RDISK_SERVER_SESSION_THROTTLE_H
#define RDISK_SERVER_SESSION_THROTTLE_H

#include <stdatomic.h>

#include "server/config/throttle_section.h"

/* Their order among each other is free, so one need not wait for the other. */
enum flow_class {
    FLOW_READS,  /* and what only asks */
    FLOW_WRITES, /* and all others */
    FLOW_CLASSES,
};

/* No request makes others wait for longer than this. */
#define THROTTLE_DEBT_MAX 20000000000u

struct throttle_bucket {
    _Atomic uint64_t rate;      /* units a second; 0: no limit */
    _Atomic uint64_t tolerance; /* ns that it may be ahead */
    _Atomic uint64_t empty;     /* when it has leaked empty */
};

struct throttle {
    atomic_bool active; /* it has a limit */
    struct throttle_bucket average[THROTTLE_KINDS];
    struct throttle_bucket maximum[THROTTLE_KINDS];
    _Atomic uint64_t requests; /* that had to wait for it, */
    _Atomic uint64_t time;     /* and for how long together, ns */
};

/* Control thread; reactors may use it meanwhile. Its buckets are empty then. */
void throttle_set(struct throttle *throttle,
                  const struct throttle_values *values);

static inline bool throttle_is_active(const struct throttle *throttle)
{
    return throttle &&
           atomic_load_explicit(&throttle->active, memory_order_relaxed);
}

/* For how many ns a request must wait, if no other one comes before. */
uint64_t throttle_wait(const struct throttle *throttle, enum flow_class class,
                       uint64_t now);
/* A request of @bytes is started. */
void throttle_charge(struct throttle *throttle, enum flow_class class,
                     uint64_t bytes, uint64_t now);
/* It had waited for @time. */
void throttle_count(struct throttle *throttle, uint64_t time);

#endif
