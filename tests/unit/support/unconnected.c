/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/support/unconnected.h"

struct rdisk_target unconnected_target;

void unconnected_begin(void)
{
    unconnected_target = (struct rdisk_target) {
        .options = {
            .max_memory = 1 << 20, .max_queues = 1, .max_slots = 4,
            .max_slot_size = 4096,
        },
    };
}

struct rdisk_target_session unconnected_session(void)
{
    return (struct rdisk_target_session) {
        .target = &unconnected_target,
        .requested = {
            .queues = htole16(1), .slots = htole16(4),
            .slot_size = htole32(4096),
        },
    };
}
