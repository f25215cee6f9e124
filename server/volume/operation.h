/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Operations on volumes: opening, closing, creating, deleting, resizing. Those
 * on one volume name take turns, in the order in which they were started; so
 * what an operation has read of its volume's state holds until it ends. Those
 * on different names do not wait for each other.
 *
 * An operation is a chain of steps in the control thread, none of which waits:
 * a step that uses storage is a job in another thread (jobs.h), and the next
 * step runs when it is done. A job may take any time, so the caller has a
 * deadline of its own (late()), while the operation goes on and keeps its turn.
 *
 * Control thread.
 */
#ifndef RDISK_SERVER_VOLUME_OPERATION_H
#define RDISK_SERVER_VOLUME_OPERATION_H

#include <stdbool.h>
#include <stdint.h>

#include "server/io/jobs.h"
#include <rdisk/protocol.h>

struct operations;

/* Embedded in what belongs to the operation; all zero before its first
 * start. */
struct operation {
    char volume[RDISK_VOLUME_NAME_MAX + 1];
    const char *what; /* "opening volume", for people; constant */
    /* It is its turn; perhaps within operation_start(). */
    void (*begin)(struct operation *operation);
    /* The deadline has passed; at most once, at any time between start and
     * end. NULL: none. */
    void (*late)(struct operation *operation);
    uint64_t deadline; /* rdisk_now(); with late() */

    /* The rest belongs to operation.c. */
    struct operations *operations; /* NULL: not started, or ended */
    bool begun;
    struct operation *next;    /* whose turn it is on another volume; or, of
                                   one that waits, the next on its volume */
    struct operation *waiting; /* the next on this volume, whose turn it is */
    struct job job;            /* its step in another thread */
};

struct operations {
    struct jobs *jobs;       /* NULL: steps are run at once */
    struct operation *first; /* whose turn it is, one for each volume */
    bool beginning;          /* begin() of one is on the stack */
    unsigned int count;      /* started and not ended */
};

void operations_init(struct operations *operations, struct jobs *jobs);

/* Wait for the turn of its volume, and begin. */
void operation_start(struct operations *operations,
                     struct operation *operation);
/* The operation, whether it has begun or not, is over; it has no job. The next
 * one on the volume begins. */
void operation_end(struct operation *operation);

/*
 * One step of an operation that has begun: @run in a thread, then @done in the
 * control thread. @store: see jobs.h. Returns 0, or -EBUSY with @err, and then
 * @done is not called.
 */
int operation_run(struct operation *operation, const void *store,
                  void (*run)(struct job *job), void (*done)(struct job *job),
                  struct rdisk_error *err);
/* The operation whose job that is. */
struct operation *operation_of(struct job *job);

/* Of those that have not ended, the earliest; RDISK_NEVER. */
uint64_t operations_deadline(const struct operations *operations);
/* Run late() of those whose deadline has passed. */
void operations_check_time(struct operations *operations, uint64_t now);

#endif
