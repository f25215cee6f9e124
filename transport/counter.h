/* SPDX-License-Identifier: BSD-3-Clause */
/* Internal: counters with one writer and any number of readers. */
#ifndef RDISK_COUNTER_H
#define RDISK_COUNTER_H

#include <stdatomic.h>
#include <stdint.h>

#include "wire.h"

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

/* What both sides count of finished requests. */
struct rdisk_op_counters {
    rdisk_counter reads, writes, flushes, discards, zeroes, extents, copies;
    rdisk_counter failed;       /* of these */
    rdisk_counter read_bytes, write_bytes;
};

static inline void rdisk_op_count(struct rdisk_op_counters *counters,
                                  enum rdisk_op op, uint32_t length,
                                  bool failed)
{
    if (failed) {
        rdisk_counter_add(&counters->failed, 1);
    }
    switch (op) {
    case RDISK_OP_READ:
        rdisk_counter_add(&counters->reads, 1);
        rdisk_counter_add(&counters->read_bytes, length);
        break;
    case RDISK_OP_WRITE:
        rdisk_counter_add(&counters->writes, 1);
        rdisk_counter_add(&counters->write_bytes, length);
        break;
    case RDISK_OP_FLUSH:
        rdisk_counter_add(&counters->flushes, 1);
        break;
    case RDISK_OP_DISCARD:
        rdisk_counter_add(&counters->discards, 1);
        break;
    case RDISK_OP_ZEROES:
        rdisk_counter_add(&counters->zeroes, 1);
        break;
    case RDISK_OP_EXTENTS:
        rdisk_counter_add(&counters->extents, 1);
        break;
    case RDISK_OP_COPY:
        rdisk_counter_add(&counters->copies, 1);
        break;
    }
}

#endif
