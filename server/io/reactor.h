/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A reactor: one thread bound to one core, with one io_uring through which
 * everything reaches it: completions of file I/O, readable descriptors of
 * queues, and messages of other threads. A second, polled one is for disks
 * that complete without interrupts.
 *
 * Each *turn* it submits what the last one prepared and sleeps, in the same
 * system call, until something completes; runs the completions; and runs the
 * deferred work (answers of all requests completed in this turn go out with
 * one doorbell per queue). Nothing to do costs nothing: no timer, no tick.
 *
 * When requests follow each other closely, it polls for the next one for a
 * while before it sleeps (common/poll_window.h), so that none of the system
 * calls that put a thread to sleep and wake it is made. While a polled disk has
 * requests of its, it goes on looking, at everything, until they are done.
 *
 * Threads: create, destroy, send and info from the control thread, everything
 * else from the reactor's own.
 */
#ifndef RDISK_SERVER_IO_REACTOR_H
#define RDISK_SERVER_IO_REACTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/io/mailbox.h"
#include "server/io/offload.h"
#include "server/io/ring.h"
#include <rdisk/error.h>

struct reactor;

/* Work for the end of this turn; runs once, however often it is scheduled. */
struct reactor_deferred {
    void (*run)(struct reactor_deferred *deferred);
    struct reactor_deferred *next;
    bool pending;
};

/* What a spinning reactor polls. Both return whether there was something;
 * neither adds or removes a poller. */
struct reactor_poller {
    /* Poll, and serve what was found. */
    bool (*poll)(struct reactor_poller *poller);
    /* The same, and arm: what comes next completes on the ring. */
    bool (*arm)(struct reactor_poller *poller);
    struct reactor_poller *next;
};

/*
 * Start the thread, on @core (-1: anywhere). It spins for up to @poll_time
 * nanoseconds before it sleeps; 0: never. Returns NULL with @err filled, e.g.
 * when this kernel refuses io_uring.
 */
struct reactor *reactor_create(unsigned int index, int core, uint64_t poll_time,
                               struct rdisk_error *err);
/* End the thread; nothing is in flight on it any more. */
void reactor_destroy(struct reactor *reactor);

/* Run @message in the reactor's thread. */
void reactor_send(struct reactor *reactor, struct message *message);

struct reactor_info {
    unsigned int index;
    int core;             /* -1: not bound */
    int node;             /* NUMA node of that core; -1: not known */
    uint64_t turns;       /* times it woke up */
    uint64_t completions; /* taken from its rings */
    uint64_t polled;      /* of these, from the polled one */
    unsigned int workers; /* that the kernel may have for it */
    uint64_t spins;       /* turns begun by a poller, without sleep */
    uint64_t idle;        /* ns that it slept, or polled and found nothing */
    uint64_t cpu;         /* ns of CPU time of its thread */
};
void reactor_info(const struct reactor *reactor, struct reactor_info *info);

/* ---- Its own thread --------------------------------------------------- */

/*
 * A submission entry for @op, to be prepared by the caller at once; it goes
 * out at the end of the turn. Never NULL. Polled: only if reactor_polls().
 */
struct io_uring_sqe *reactor_sqe(struct reactor *reactor, enum ring_kind ring);
/* Last step of preparing @sqe: its completion goes to @op. */
void reactor_sqe_set(struct io_uring_sqe *sqe, struct ring_op *op);

void reactor_defer(struct reactor *reactor, struct reactor_deferred *deferred);

/* Let an offload thread run @job, in its turn of @lane; done() runs in the
 * reactor's. */
void reactor_offload(struct reactor *reactor, struct offload_lane *lane,
                     struct offload_job *job);

/*
 * What the kernel cannot do at once it gives to a worker, and has no more of
 * them than it is configured to: those that wait for one volume's storage must
 * leave enough for the others. So each volume brings as many as it may have
 * requests outstanding, @change, and takes them along when it leaves.
 */
void reactor_workers(struct reactor *reactor, int change);

void reactor_poller_add(struct reactor *reactor, struct reactor_poller *poller);
void reactor_poller_remove(struct reactor *reactor,
                           struct reactor_poller *poller);
/* True if the pollers run before the reactor sleeps. Then there is no need to
 * arm anything now: each one's arm() is called in time. */
bool reactor_spins(struct reactor *reactor);
/* From a poller that has more to do than it may in one turn: call its arm()
 * before the reactor sleeps. */
void reactor_arm_later(struct reactor *reactor);

/* True if it has a polled ring. The first call creates it. */
bool reactor_polls(struct reactor *reactor);

/*
 * Put a descriptor or a range of memory into a ring's tables, so that the
 * kernel need not look up or pin it for each request. Returns the index, or
 * -1: full, or refused; then use the descriptor or the memory as it is.
 */
int reactor_file_add(struct reactor *reactor, enum ring_kind ring, int fd);
void reactor_file_remove(struct reactor *reactor, enum ring_kind ring,
                         int index);
int reactor_buffer_add(struct reactor *reactor, enum ring_kind ring,
                       void *address, size_t length);
void reactor_buffer_remove(struct reactor *reactor, enum ring_kind ring,
                           int index);

#endif
