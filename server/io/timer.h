/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A timer on a reactor's ring: it ends a sleep like any other completion, and
 * costs nothing while it is not set. Its reactor's thread.
 */
#ifndef RDISK_SERVER_IO_TIMER_H
#define RDISK_SERVER_IO_TIMER_H

#include "server/io/reactor.h"

/* In memory that lasts as long as the reactor. */
struct reactor_timer {
    struct reactor *reactor;
    /* It has expired: perhaps earlier than set last, never more than once. */
    void (*run)(struct reactor_timer *timer);

    /* timer.c's. */
    struct ring_op op;
    struct __kernel_timespec span;
    uint64_t deadline; /* rdisk_stopwatch_system() */
    bool armed;
};

void reactor_timer_init(struct reactor_timer *timer, struct reactor *reactor,
                        void (*run)(struct reactor_timer *timer));
/* Run it in @span nanoseconds, or before: an earlier time that was set
 * stays. */
void reactor_timer_set(struct reactor_timer *timer, uint64_t span);

#endif
