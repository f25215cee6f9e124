/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A queue of a session on its reactor: requests go from the transport to the
 * volume's backend and back, without leaving the reactor's thread.
 */
#ifndef RDISK_SERVER_SESSION_QUEUE_H
#define RDISK_SERVER_SESSION_QUEUE_H

#include "server/backends/backend.h"
#include "server/io/cq_watch.h"
#include "server/io/mailbox.h"
#include "server/io/reactor.h"
#include "server/session/turns.h"
#include <rdisk/target.h>

struct attachment;
struct barrier_hold;
struct slots;

/* A reactor, and what the server keeps with it. */
struct worker {
    struct reactor *reactor;
    struct rdisk_target_group *group; /* its queues; control thread */
    unsigned int queues;              /* given to it; control thread */
    struct attachment *attachments;   /* this and the rest: its thread */
    struct barrier_hold *holds;
    struct cq_watch *watches;
    struct turns turns;
};

enum queue_state {
    QUEUE_STARTING, /* being passed to the reactor */
    QUEUE_RUNNING,  /* takes requests */
    QUEUE_DRAINED,  /* idle; it leaves when it may */
    QUEUE_LEFT,     /* being passed back to the control thread */
};

/* What a slot's request becomes. One for each slot, so that a request costs
 * no allocation. */
struct queue_request {
    struct backend_io io;
    struct rdisk_target_request *target;
    struct flow_request flow;
};

struct queue {
    /* Constant. */
    struct rdisk_target_queue *target;
    struct worker *worker;
    struct backend *backend;
    const struct flow_terms *terms;    /* its session's */
    struct mailbox *home;              /* the control thread's */
    void (*left)(struct queue *queue); /* there, at the end */
    void *owner;

    /* The control thread's. */
    struct queue *next;
    unsigned int returning; /* grants that are with the reactor for the last
                                   time */
    bool gone;              /* it has left, and they are waited for */

    /* Of whichever thread has the queue. */
    struct message message;

    /* The reactor's. */
    enum queue_state state;
    struct attachment *attachment;
    struct flow *flow; /* of its session */
    struct cq_user cq; /* its part in its completion queue */
    struct reactor_deferred answers;
    struct slots *registered; /* with the rings; slots.h */
    struct slots *retiring;   /* returned by the client */
    _Atomic uint64_t polled;  /* requests that were polled for; read by any */
    unsigned int slots;
    struct queue_request requests[]; /* by slot */
};

/*
 * Control thread: give @target to @worker. When the reactor has done with it,
 * @left runs in the thread of @home, and calls queue_free(). @slots: as many
 * as the queue can have. *@user is set before the reactor sees the queue.
 * NULL: no memory.
 */
struct queue *queue_start(struct rdisk_target_queue *target,
                          struct worker *worker, struct backend *backend,
                          const struct flow_terms *terms, unsigned int slots,
                          struct mailbox *home,
                          void (*left)(struct queue *queue), void *owner,
                          void **user);
void queue_free(struct queue *queue);
/* Requests of it that were polled for. Any thread. */
uint64_t queue_polled(const struct queue *queue);

/* Reactor thread: true if requests of it may go through the polled ring. */
bool queue_polls(const struct queue *queue);

/* For the scheduler: what becomes of a request, embedded in a queue_request. */
void queue_request_start(struct flow_request *flow);
void queue_request_fail(struct flow_request *flow);
/* True if its queue is broken: nothing of it must take effect any more. */
bool queue_request_must_fail(const struct flow_request *flow);

/* For struct rdisk_target_events. */
void queue_request_event(void *queue_user,
                         struct rdisk_target_request *request);
void queue_idle_event(void *queue_user, struct rdisk_target_queue *target);

#endif
