/* SPDX-License-Identifier: BSD-3-Clause */
/* Allocations that fail on a test's request. */
#ifndef RDISK_UNIT_ALLOCATION_H
#define RDISK_UNIT_ALLOCATION_H

#include <stdbool.h>

/* From now on malloc() fails in this thread, or no longer. False: this build
 * has an allocator of its own (sanitizers, valgrind), which is left alone. */
bool unit_allocation_fails(bool fails);

#endif
