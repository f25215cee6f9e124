/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Slots of a queue as registered buffers of its reactor's rings, so that the
 * kernel need not pin their pages for each request, until the client returns
 * them.
 */
#ifndef RDISK_SERVER_SESSION_SLOTS_H
#define RDISK_SERVER_SESSION_SLOTS_H

#include <assert.h>
#include <stddef.h>

#include "server/session/queue.h"

/* Slots that were granted together: in the @owner of their grant. */
struct slots {
    /* Of whichever thread has them. */
    struct message message;
    struct queue *queue;
    bool dropped; /* the queue has left: there is nothing to release */

    /* The reactor's. */
    bool registered;
    int buffer[RING_KINDS];      /* by ring, or -1 */
    struct slots *next;          /* of the queue's registered ones */
    struct slots *next_retiring; /* of those that the client has returned */
};

static_assert(sizeof(struct slots) <=
                  sizeof(((struct rdisk_target_grant *)NULL)->owner),
              "it is the owner's part of a grant");

static inline struct slots *slots_of(struct rdisk_target_grant *grant)
{
    return (struct slots *)(void *)grant->owner;
}

/* Reactor thread: with those rings that requests of @queue may go through. */
void slots_register(struct queue *queue, struct rdisk_target_grant *grant);
/* Reactor thread: the queue leaves. */
void slots_leave(struct queue *queue);

/* For struct rdisk_target_events. */
void slots_returned_event(void *queue_user, struct rdisk_target_grant *grant);
void slots_idle_event(void *queue_user, struct rdisk_target_grant *grant);

#endif
