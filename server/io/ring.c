/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/io/ring.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

#include "common/log.h"

/* Entries a turn can prepare before an extra system call is needed. */
#define SUBMISSIONS 512
/* Requests in flight are limited by slots, not by this: the kernel keeps what
 * does not fit. */
#define COMPLETIONS 4096

/* ---- Life ------------------------------------------------------------- */

/* From the newest kernels' best to what every io_uring takes. */
static const unsigned int setups[RING_KINDS][3] = {
    [RING_ORDINARY] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
            IORING_SETUP_TASKRUN_FLAG,
        IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        0,
    },
    [RING_POLLED] = {
        IORING_SETUP_IOPOLL | IORING_SETUP_SINGLE_ISSUER,
        IORING_SETUP_IOPOLL | IORING_SETUP_COOP_TASKRUN,
        IORING_SETUP_IOPOLL,
    },
};

int ring_init(struct ring *ring, enum ring_kind kind, unsigned int reactor)
{
    const size_t last = sizeof(setups[0]) / sizeof(setups[0][0]) - 1;
    int result = -EINVAL;

    ring->kind = kind;
    ring->outstanding = 0;
    ring->reactor = reactor;
    /* poll(2) on a ring that defers its work shows nothing without this. */
    ring->sleeps_in_poll = RUNNING_ON_VALGRIND;
    for (size_t i = ring->sleeps_in_poll ? last : 0; i <= last; i++) {
        struct io_uring_params params = {
            .flags = setups[kind][i] | IORING_SETUP_CQSIZE,
            .cq_entries = COMPLETIONS,
        };

        result = io_uring_queue_init_params(SUBMISSIONS, &ring->uring, &params);
        if (result != -EINVAL) {
            break;
        }
    }
    return result;
}

void ring_exit(struct ring *ring)
{
    io_uring_queue_exit(&ring->uring);
}

/* ---- Submissions ------------------------------------------------------ */

/* After these results it is called again; after any other no request can be
     * served. */
static bool is_fatal(int result)
{
    return result < 0 && result != -EINTR && result != -EAGAIN &&
           result != -EBUSY;
}

static void check_submitted(const struct ring *ring, int result)
{
    if (is_fatal(result)) {
        log_fatal("reactor %u cannot submit to its io_uring: %s", ring->reactor,
                  strerror(-result));
    }
}

void ring_submit(struct ring *ring)
{
    check_submitted(ring, io_uring_submit(&ring->uring));
}

struct io_uring_sqe *ring_sqe(struct ring *ring)
{
    struct io_uring_sqe *sqe;

    /* A full ring: hand over early what would have gone at the end. */
    while (!(sqe = io_uring_get_sqe(&ring->uring))) {
        ring_submit(ring);
    }
    if (ring->kind == RING_POLLED) {
        ring->outstanding++;
    }
    return sqe;
}

void ring_sleep(struct ring *ring)
{
    int result;

    if (ring->sleeps_in_poll) {
        /* To valgrind, io_uring_enter(2) is a call that never blocks: all
         * other threads would stand still for as long as it does. */
        struct pollfd fd = { .fd = ring->uring.ring_fd, .events = POLLIN };

        result = io_uring_submit(&ring->uring);
        poll(&fd, 1, -1);
    } else {
        result = io_uring_submit_and_wait(&ring->uring, 1);
    }
    if (is_fatal(result)) {
        log_fatal("reactor %u cannot wait on its io_uring: %s", ring->reactor,
                  strerror(-result));
    }
}

/* ---- Workers ---------------------------------------------------------- */

/* Bounded ones, for files and disks, and unbounded ones; 0: as it was, which
 * is also what comes back. */
int ring_set_workers(struct ring *ring, unsigned int workers)
{
    unsigned int values[2] = { workers, 0 };

    return io_uring_register_iowq_max_workers(&ring->uring, values);
}

unsigned int ring_workers(struct ring *ring)
{
    unsigned int values[2] = { 0, 0 };

    return io_uring_register_iowq_max_workers(&ring->uring, values) < 0
               ? 0
               : values[0];
}

/* ---- Completions ------------------------------------------------------ */

bool ring_ready(struct ring *ring)
{
    if (ring->kind == RING_POLLED) {
        check_submitted(ring, io_uring_submit_and_get_events(&ring->uring));
    } else if (IO_URING_READ_ONCE(*ring->uring.sq.kflags) & IORING_SQ_TASKRUN) {
        io_uring_get_events(&ring->uring);
    }
    return io_uring_cq_ready(&ring->uring) != 0;
}

unsigned int ring_reap(struct ring *ring)
{
    struct io_uring_cqe *cqe;
    unsigned int n = 0;

    /* Without a completion, io_uring_peek_cqe() may enter the kernel. */
    while (io_uring_cq_ready(&ring->uring) &&
           io_uring_peek_cqe(&ring->uring, &cqe) == 0) {
        struct ring_op *op = io_uring_cqe_get_data(cqe);
        int result = cqe->res;
        unsigned int flags = cqe->flags;

        /* Before done(), which may free what it needs to stay in step. */
        io_uring_cqe_seen(&ring->uring, cqe);
        n++;
        if (ring->kind == RING_POLLED) {
            ring->outstanding--;
        }
        if (op) {
            op->done(op, result, flags);
        }
    }
    return n;
}
