/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An io_uring of a reactor: it submits, sleeps, and runs what completes.
 * Only its reactor's thread uses it.
 */
#ifndef SERVER_RING_H
#define SERVER_RING_H

#include <stdbool.h>
#include <liburing.h>

/* Something under way on a ring; embedded in what it belongs to. */
struct ring_op {
    /* @flags are the completion's; with IORING_CQE_F_MORE there will be
     * another. Without, @op may be freed or used again. */
    void (*done)(struct ring_op *op, int result, unsigned int flags);
};

struct ring {
    struct io_uring uring;
    unsigned int reactor;       /* whose it is, for messages */
    bool sleeps_in_poll;        /* see ring_sleep() */
};

/* In the thread that will use it. 0 or a negative errno. */
int ring_init(struct ring *ring, unsigned int reactor);
void ring_exit(struct ring *ring);

/* A submission entry, which goes out with the next submission. Never NULL. */
struct io_uring_sqe *ring_sqe(struct ring *ring);

/* Hand what was prepared to the kernel. */
void ring_submit(struct ring *ring);
/* The same, and wait until something completes. */
void ring_sleep(struct ring *ring);
/* Is there a completion, or work of the kernel's that will bring one? */
bool ring_ready(struct ring *ring);
/* Run what has completed; returns how many. */
unsigned int ring_reap(struct ring *ring);

#endif
