/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The processor's own counter, in nanoseconds: for how long something took, not
 * for when it was. Reading the system's clock is a system call wherever the
 * kernel has none that programs can read (user-mode kernels, some hypervisors,
 * a TSC that it does not trust), and that on every request.
 */
#ifndef RDISK_STOPWATCH_H
#define RDISK_STOPWATCH_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Nanoseconds since some time in the past; CLOCK_MONOTONIC's where there is no
 * counter of a constant rate. Right to a few percent, and not the same on all
 * cores to the last microsecond: a difference may even be negative. Any thread.
 * The first reading takes some milliseconds, to compare the two.
 */
uint64_t rdisk_stopwatch_system(void);

#ifdef __cplusplus
}
#endif

#endif
