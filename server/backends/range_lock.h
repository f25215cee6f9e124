/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests that overlap take turns, on whichever reactor they are, where the
 * storage does not ensure that a reader of a block finds all of a write or
 * nothing of it. Any thread; never blocks.
 */
#ifndef RDISK_SERVER_BACKENDS_RANGE_LOCK_H
#define RDISK_SERVER_BACKENDS_RANGE_LOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* In memory of its request's, from acquire to release. */
struct range {
    uint64_t begin, end;         /* bytes; @end is the first one behind it */
    uint64_t source, source_end; /* that are read, too; equal: none */
    bool writes;                 /* else it reads, and others may */
    struct range *next, **link;  /* of a list, and what points to it */
    struct range *granted;       /* of what a release has returned */
};

/* A list, in the order in which they came. */
struct ranges {
    struct range *first, **last;
};

struct range_lock {
    pthread_mutex_t lock; /* of both */
    struct ranges held;
    struct ranges waiting;
};

void range_lock_init(struct range_lock *lock);
void range_lock_destroy(struct range_lock *lock);

/*
 * True: @range, whose ends the caller has filled in, is held. False: it waits
 * behind one that it overlaps, and a later release returns it.
 */
bool range_lock_acquire(struct range_lock *lock, struct range *range);
/* Returns those that have waited and are held now, a list by @granted. */
struct range *range_lock_release(struct range_lock *lock, struct range *range);

#endif
