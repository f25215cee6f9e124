/* SPDX-License-Identifier: BSD-3-Clause */
/* Counters with one writer and any number of readers. */
#ifndef RDISK_COUNTER_H
#define RDISK_COUNTER_H

#include <stdatomic.h>
#include <stdint.h>

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

#endif
