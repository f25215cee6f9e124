/* SPDX-License-Identifier: BSD-3-Clause */
/* Internal to wire.c and request.c: how a check says no. */
#ifndef RDISK_WIRE_CHECK_H
#define RDISK_WIRE_CHECK_H

#include <errno.h>

#include "transport/wire/wire.h"

#define BAD(err, ...) \
    (rdisk_error_set(err, -EPROTO, __VA_ARGS__), RDISK_STATUS_BAD_MESSAGE)
#define REFUSE(err, status, code, ...) \
    (rdisk_error_set(err, code, __VA_ARGS__), status)

static inline bool all_zero(const void *data, size_t size)
{
    const uint8_t *p = data;

    for (size_t i = 0; i < size; i++) {
        if (p[i]) {
            return false;
        }
    }
    return true;
}

#endif
