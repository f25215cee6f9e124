/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How long a reactor spins before it sleeps.
 *
 * Waking a thread costs several microseconds; where the next request comes
 * sooner than that, looking for it is faster. The window grows while waits are
 * short enough for the configured time, and closes after one that was longer,
 * as in QEMU's AioContext (util/aio-posix.c, poll-max-ns): on a slow network no
 * time is spent on it.
 */
#ifndef RDISK_COMMON_POLL_WINDOW_H
#define RDISK_COMMON_POLL_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

struct poll_window {
    uint64_t max;         /* nanoseconds; 0: never spin */
    uint64_t length;      /* to spin now, in nanoseconds */
    unsigned int skipped; /* waits since the last one measured */
};

/* True if this wait is to be measured. While the window is closed only some
 * are: the stopwatch may be the system's clock, which is expensive on some
 * machines. */
bool poll_window_measures(struct poll_window *window);
/*
 * True if a wait that began at @began, by the stopwatch, has lasted less than
 * the window. False if the counter has gone back, as when a virtual machine is
 * moved: to poll until it has caught up may take days.
 */
static inline bool poll_window_is_open(const struct poll_window *window,
                                       uint64_t began, uint64_t now)
{
    return now - began < window->length;
}

/* A measured wait took @waited nanoseconds, spinning included. */
void poll_window_adapt(struct poll_window *window, uint64_t waited);

#endif
