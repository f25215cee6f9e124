/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The requests of a reactor's queues on their way to the storage: the scheduler
 * decides which is next, between what the reactor polls. The reactor's thread.
 */
#ifndef RDISK_SERVER_SESSION_TURNS_H
#define RDISK_SERVER_SESSION_TURNS_H

#include "server/io/reactor.h"
#include "server/io/timer.h"
#include "server/session/scheduler.h"

struct turns {
    struct scheduler scheduler;
    struct reactor *reactor; /* NULL: no queue has been here yet */
    struct reactor_deferred deferred;
    struct reactor_poller poller;
    struct reactor_timer timer; /* for what limits have stopped */
    bool more;                  /* to be started before the reactor sleeps */
};

/* For one more queue of the session with @terms. NULL: no memory. */
struct flow *turns_join(struct turns *turns, struct reactor *reactor,
                        const struct flow_terms *terms);
/* NULL is allowed. */
void turns_leave(struct turns *turns, struct flow *flow);

/* Start @request, now or when its turn comes. It is embedded in a struct
 * queue_request. */
static inline void turns_arrive(struct turns *turns, struct flow *flow,
                                struct flow_request *request, uint64_t now)
{
    if (scheduler_arrive(&turns->scheduler, flow, request, now)) {
        reactor_defer(turns->reactor, &turns->deferred);
    }
}

static inline void turns_ended(struct turns *turns, struct flow *flow,
                               const struct flow_request *request)
{
    if (scheduler_ended(&turns->scheduler, flow, request)) {
        reactor_defer(turns->reactor, &turns->deferred);
    }
}

#endif
