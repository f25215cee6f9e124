/* SPDX-License-Identifier: BSD-3-Clause */
/* Counters and histograms with one writer and any number of readers. */
#ifndef RDISK_BASE_COUNTER_H
#define RDISK_BASE_COUNTER_H

#include <stdatomic.h>
#include <stdint.h>

#include <rdisk/histogram.h>

typedef _Atomic uint64_t rdisk_counter;

static inline uint64_t rdisk_counter_read(const rdisk_counter *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* The one writer only: no locked instruction. */
static inline void rdisk_counter_add(rdisk_counter *counter, uint64_t n)
{
    atomic_store_explicit(counter, rdisk_counter_read(counter) + n,
                          memory_order_relaxed);
}

struct rdisk_histogram {
    rdisk_counter bucket[RDISK_HISTOGRAM_BUCKETS];
    rdisk_counter sum; /* nanoseconds */
};

static inline void rdisk_histogram_add(struct rdisk_histogram *histogram,
                                       uint64_t nanoseconds)
{
    rdisk_counter_add(&histogram->bucket[rdisk_histogram_bucket(nanoseconds)],
                      1);
    rdisk_counter_add(&histogram->sum, nanoseconds);
}

#endif
