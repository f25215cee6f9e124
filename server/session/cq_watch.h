/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A completion queue on its reactor, watched from the start of the first of its
 * queues to the end of the last one: its descriptor by the ring, and by polling
 * while the reactor spins.
 */
#ifndef RDISK_SERVER_SESSION_CQ_WATCH_H
#define RDISK_SERVER_SESSION_CQ_WATCH_H

#include "server/session/queue.h"

/* Control thread: memory for the one that a queue may be the first of. */
struct completion *completion_new(void);
void completion_free(struct completion *completion);

/* Reactor thread: @queue is about to start; takes its spare memory or not. */
struct completion *completion_join(struct queue *queue);
/* Nothing of @queue will complete any more. It runs queue_leave() on it, at
 * once or when the ring has released a descriptor that might go with it. */
void completion_leave(struct completion *completion, struct queue *queue);

#endif
