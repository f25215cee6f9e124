/* SPDX-License-Identifier: BSD-3-Clause */
/* What both sides count of finished requests. */
#ifndef RDISK_WIRE_OP_COUNTERS_H
#define RDISK_WIRE_OP_COUNTERS_H

#include "transport/base/counter.h"
#include <rdisk/protocol.h>

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
