/* SPDX-License-Identifier: BSD-3-Clause */
/* Internal to the checks: what they have in common. */
#ifndef RDISK_WIRE_CHECK_H
#define RDISK_WIRE_CHECK_H

#include <errno.h>
#include <string.h>

#include "transport/wire/wire.h"

#define BAD(err, ...) \
    (rdisk_error_set(err, -EPROTO, __VA_ARGS__), RDISK_STATUS_BAD_MESSAGE)
#define REFUSE(err, status, code, ...) \
    (rdisk_error_set(err, code, __VA_ARGS__), status)

static inline bool all_zero(const void *data, size_t size)
{
    const uint8_t *p = data;
    uint64_t word;

    /* Each request has 24 such bytes. */
    for (; size >= sizeof(word); p += sizeof(word), size -= sizeof(word)) {
        memcpy(&word, p, sizeof(word));
        if (word) {
            return false;
        }
    }
    for (size_t i = 0; i < size; i++) {
        if (p[i]) {
            return false;
        }
    }
    return true;
}

/* The start that connect, accept and control messages have in common. */
enum rdisk_status rdisk_wire_check_start(const void *data, size_t size,
                                         size_t minimum, const char *what,
                                         struct rdisk_error *err);
enum rdisk_status rdisk_wire_check_slots(unsigned int slots, uint32_t slot_size,
                                         const char *what,
                                         struct rdisk_error *err);

/* A peer's sentence, made safe for a terminal and a log line. */
void rdisk_wire_copy_text(char *to, size_t to_size, const uint8_t *from,
                          size_t length);

#endif
