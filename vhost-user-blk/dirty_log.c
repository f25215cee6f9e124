/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vhost-user-blk/dirty_log.h"

bool dirty_log_mark(uint8_t *table, size_t size, uint64_t address,
                    uint64_t length)
{
    uint64_t last;

    if (length == 0) {
        return true;
    }
    if (__builtin_add_overflow(address, length - 1, &last) ||
        last / DIRTY_LOG_PAGE / 8 >= size) {
        return false;
    }
    for (uint64_t page = address / DIRTY_LOG_PAGE;
         page <= last / DIRTY_LOG_PAGE; page++) {
        /* The VMM, and other devices, change bits of the same byte. */
        __atomic_fetch_or(&table[page / 8], (uint8_t)(1u << page % 8),
                          __ATOMIC_SEQ_CST);
    }
    return true;
}
