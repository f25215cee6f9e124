/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Slots of a queue as registered buffers of its reactor's rings, so that the
 * kernel need not pin their pages for each request. Reactor thread.
 */
#ifndef RDISK_SERVER_SESSION_SLOTS_H
#define RDISK_SERVER_SESSION_SLOTS_H

#include "server/session/queue.h"

/* Slots that were granted together, as long as they are registered. */
struct slots {
    struct rdisk_target_grant *grant; /* whose @user this is */
    struct slots *next;               /* of the queue */
    int buffer[RING_KINDS];           /* by ring, or -1 */
};

/* With those rings that requests of @queue may go through. NULL: no memory. */
struct slots *slots_register(struct queue *queue,
                             struct rdisk_target_grant *grant);
void slots_unregister_all(struct queue *queue);

#endif
