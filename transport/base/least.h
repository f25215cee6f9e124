/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RDISK_BASE_LEAST_H
#define RDISK_BASE_LEAST_H

#include <stdint.h>

static inline uint64_t rdisk_least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

#endif
