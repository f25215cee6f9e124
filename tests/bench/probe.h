/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the probe writes into the file $PROBE.PID, which stays when the process
 * is gone; tests/bench/probe.py reads it.
 */
#ifndef BENCH_PROBE_H
#define BENCH_PROBE_H

#include <stdatomic.h>
#include <stdint.h>

/* In the order of probe.py's COUNTERS. */
enum probe_counter {
    PROBE_SENDS,     /* work requests posted to send */
    PROBE_DOORBELLS, /* calls that posted them */
    PROBE_RECEIVES,  /* work requests posted to receive */
    PROBE_RECEIVE_CALLS,
    PROBE_COMPLETIONS, /* taken off completion queues */
    PROBE_POLLS,       /* looks at completion queues */
    PROBE_EVENTS,      /* taken: an interrupt each, on a NIC */
    PROBE_ARMS,
    PROBE_COPIED, /* bytes by memcpy and memmove, see there */
    PROBE_ALLOCATIONS,
    PROBE_COUNTERS = 16
};

/* Of a request's way, told by a character each; see timeline.py. */
struct probe_stamp {
    uint64_t time; /* in the clock's ticks */
    uint64_t what;
};

struct probe_page {
    atomic_ullong counters[PROBE_COUNTERS];
    /* The same moment by both clocks, at the start and at the end: so a tick
     * is known. */
    uint64_t ticks[2], nanoseconds[2];
    uint64_t capacity;    /* stamps there is room for */
    atomic_ullong stamps; /* taken, may be more */
    struct probe_stamp stamp[];
};

#endif
