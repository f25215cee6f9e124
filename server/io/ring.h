/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The io_urings of a reactor, which submit, sleep, and run what completes.
 * Only their reactor's thread uses them.
 */
#ifndef RDISK_SERVER_IO_RING_H
#define RDISK_SERVER_IO_RING_H

#include <stdbool.h>
#include <liburing.h>

/* Something in flight on a ring; embedded in what it belongs to. */
struct ring_op {
    /* @flags are the completion's; with IORING_CQE_F_MORE there will be
     * another. Without, @op may be freed or used again. */
    void (*done)(struct ring_op *op, int result, unsigned int flags);
};

enum ring_kind {
    RING_ORDINARY, /* completions need no call, and end a
                                   sleep: for everything */
    RING_POLLED,   /* completions without interrupts: the kernel
                                   polls the disk when it is called; for reads
                                   and writes past the page cache */
    RING_KINDS
};

struct ring {
    struct io_uring uring;
    enum ring_kind kind;
    unsigned int outstanding; /* of a polled one: not completed */
    unsigned int reactor;     /* whose it is, for messages */
    bool sleeps_in_poll;      /* see ring_sleep() */
};

/* In the thread that will use it. 0 or a negative errno. */
int ring_init(struct ring *ring, enum ring_kind kind, unsigned int reactor);
void ring_exit(struct ring *ring);

/* A submission entry, part of the next submission. Never NULL. */
struct io_uring_sqe *ring_sqe(struct ring *ring);

/* Hand what was prepared to the kernel. */
void ring_submit(struct ring *ring);
/* The same, and wait until something completes. Not of a polled ring. */
void ring_sleep(struct ring *ring);
/* True if there is a completion, or work of the kernel's that leads to one.
 * Of a polled ring: submit, poll the disk, and return whether there were
 * any. */
bool ring_ready(struct ring *ring);
/* How many workers the kernel may have for requests of this thread that it
 * cannot do at once; 0: not known. */
unsigned int ring_workers(struct ring *ring);
/* 0, or a negative errno: this kernel does not take it (before 5.15). */
int ring_set_workers(struct ring *ring, unsigned int workers);
/* Run what has completed; returns how many. */
unsigned int ring_reap(struct ring *ring);

#endif
