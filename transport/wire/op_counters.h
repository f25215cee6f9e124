/* SPDX-License-Identifier: BSD-3-Clause */
/* What both sides count of finished requests. */
#ifndef RDISK_WIRE_OP_COUNTERS_H
#define RDISK_WIRE_OP_COUNTERS_H

#include <stdbool.h>

#include "transport/base/counter.h"
#include <rdisk/protocol.h>

struct rdisk_op_counters {
    rdisk_counter count[RDISK_OPS];
    rdisk_counter bytes[RDISK_OPS];
    rdisk_counter failed; /* of all of them */
};

static inline void rdisk_op_count(struct rdisk_op_counters *counters,
                                  enum rdisk_op op, uint64_t length,
                                  bool failed)
{
    /* A client may send any number. */
    unsigned int index = (unsigned int)op < RDISK_OPS ? op : 0;

    if (failed) {
        rdisk_counter_add(&counters->failed, 1);
    }
    rdisk_counter_add(&counters->count[index], 1);
    rdisk_counter_add(&counters->bytes[index], length);
}

static inline void rdisk_op_counters_read(
    const struct rdisk_op_counters *counters, struct rdisk_op_totals *totals)
{
    for (unsigned int op = 0; op < RDISK_OPS; op++) {
        totals->count[op] += rdisk_counter_read(&counters->count[op]);
        totals->bytes[op] += rdisk_counter_read(&counters->bytes[op]);
    }
    totals->failed += rdisk_counter_read(&counters->failed);
}

#endif
