/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/io/timer.h"

#include "common/container_of.h"
#include "common/thread.h"
#include <rdisk/stopwatch.h>

#define SECOND 1000000000u

static void timer_done(struct ring_op *op, int result, unsigned int flags)
{
    struct reactor_timer *timer = container_of(op, struct reactor_timer, op);

    timer->armed = false;
    timer->run(timer);
}

void reactor_timer_init(struct reactor_timer *timer, struct reactor *reactor,
                        void (*run)(struct reactor_timer *timer))
{
    timer->reactor = reactor;
    timer->run = run;
    timer->op.done = timer_done;
    timer->armed = false;
}

/* Its completion is ignored: that of the timer itself counts, which may be on
 * its way already. */
static void advance(struct reactor_timer *timer)
{
    struct io_uring_sqe *sqe = reactor_sqe(timer->reactor, RING_ORDINARY);

    io_uring_prep_timeout_update(sqe, &timer->span,
                                 (__u64)(uintptr_t)&timer->op, 0);
    io_uring_sqe_set_data(sqe, NULL);
}

static void arm(struct reactor_timer *timer)
{
    struct io_uring_sqe *sqe = reactor_sqe(timer->reactor, RING_ORDINARY);

    io_uring_prep_timeout(sqe, &timer->span, 0, 0);
    reactor_sqe_set(sqe, &timer->op);
    timer->armed = true;
}

void reactor_timer_set(struct reactor_timer *timer, uint64_t span)
{
    uint64_t deadline = rdisk_stopwatch_system() + span;

    assert_reactor_thread(timer->reactor);
    if (timer->armed && timer->deadline <= deadline) {
        return;
    }
    timer->deadline = deadline;
    timer->span = (struct __kernel_timespec) {
        .tv_sec = (int64_t)(span / SECOND),
        .tv_nsec = (long long)(span % SECOND),
    };
    if (timer->armed) {
        advance(timer);
    } else {
        arm(timer);
    }
}
