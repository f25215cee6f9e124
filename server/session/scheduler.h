/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which request is started next at a reactor, and when.
 *
 * The requests of a session there are a *flow*. A flow that has the reactor to
 * itself starts each at once. Beside others it starts a few in each turn, and
 * the rest is parked until the others had theirs; while others send requests,
 * too, it has no more than its share at the storage. So a request of a session
 * that has few in flight is started after a bounded number of others,
 * however many those have sent. A request that is over a limit of its volume or
 * its client (throttle.h) is parked, too, until it is not.
 *
 * No reactor, no clock and no storage: the caller brings the time, in ns of any
 * clock, and is called to start a request. One thread for each scheduler.
 */
#ifndef RDISK_SERVER_SESSION_SCHEDULER_H
#define RDISK_SERVER_SESSION_SCHEDULER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/session/throttle.h"

/* Requests of a flow, of one class, that are started in a turn. */
#define SCHEDULER_QUANTUM 16u
/* The same of all flows together. */
#define SCHEDULER_TURN 64u
/* What a flow may have at the storage while others send requests, too; one
 * request in any case. */
#define SCHEDULER_SHARE       32u
#define SCHEDULER_SHARE_BYTES (4u << 20)
/*
 * No limit parks a request for longer, ns: its client has a time limit, too
 * (request-timeout). Started so, it counts as any other.
 */
#define SCHEDULER_PARKED_MAX THROTTLE_DEBT_MAX
/* What is parked by a limit is looked at again after so long, ns: its limit may
 * have changed, its queue may be broken, or its session may end. */
#define SCHEDULER_CHECK 50000000u
/* But not before: some requests are started together then. */
#define SCHEDULER_PAUSE 200000u

#define SCHEDULER_NEVER UINT64_MAX

/* The volume's and the client's. */
#define FLOW_THROTTLES 2u

/* Of a session, whatever its reactors. */
struct flow_terms {
    struct throttle *throttles[FLOW_THROTTLES]; /* constant; NULL: none */
    /* It ends when its requests are done: its limits do not delay that. Set by
     * the control thread. */
    atomic_bool hurried;
};

/* In memory of the owner's, from arrival to end. */
struct flow_request {
    enum flow_class class; /* the owner's: this and the next */
    uint64_t bytes;
    uint64_t arrived;
    struct flow_request *next;
};

struct flow_lane {
    struct flow_request *first, **last; /* parked */
    unsigned int quota;                 /* that may be started in this turn */
};

struct flow {
    const struct flow_terms *terms;
    unsigned int users;
    struct flow_lane lanes[FLOW_CLASSES];
    unsigned int parked;  /* requests */
    unsigned int started; /* that have not ended, */
    uint64_t bytes;       /* and of these */
    uint64_t turn;        /* the time of the turn that the quotas are for */
    uint64_t period;      /* the last one in which a request came */
    bool full;            /* it has its share; an end lets it continue */
    unsigned int blocked; /* by these throttles, since nothing was parked */
    bool ready;           /* it is on the list of those to be served */
    struct flow *next_ready;
    bool waiting; /* it is on the list of those that a limit stops */
    struct flow *next_waiting;
    struct flow *next; /* of all */
};

struct scheduler {
    /* Constant. Neither calls scheduler_arrive(). */
    void (*start)(struct flow_request *request); /* may end it at once */
    void (*fail)(struct flow_request *request);  /* it is not started */
    bool (*must_fail)(const struct flow_request *request);

    struct flow *flows;
    unsigned int count;
    struct flow *ready, **ready_last;
    unsigned int ready_count;
    struct flow *waiting;
    unsigned int waiting_count;
    uint64_t wake; /* when one of them may continue */

    /* Flows that have sent a request, in this period and the one before. */
    uint64_t period, period_began;
    unsigned int active, were_active;
};

void scheduler_init(struct scheduler *scheduler);

/* The flow of the session with @terms, new or with one more user. NULL: no
 * memory. */
struct flow *scheduler_join(struct scheduler *scheduler,
                            const struct flow_terms *terms);
/* One user less, which has no request. */
void scheduler_leave(struct scheduler *scheduler, struct flow *flow);

/*
 * Start @request, or park it. Requests that arrive at the same @now are of one
 * turn. True: scheduler_serve() is to be called at the end of the turn.
 */
bool scheduler_arrive(struct scheduler *scheduler, struct flow *flow,
                      struct flow_request *request, uint64_t now);
/* One that was started has ended. True: as above. */
bool scheduler_ended(struct scheduler *scheduler, struct flow *flow,
                     const struct flow_request *request);
/* Give each flow a turn. True: there is more to start, after what has arrived
 * meanwhile. */
bool scheduler_serve(struct scheduler *scheduler, uint64_t now);

/* In how many ns to call scheduler_wake(), or SCHEDULER_NEVER. */
uint64_t scheduler_pause(const struct scheduler *scheduler, uint64_t now);
/* Those that a limit has stopped have a turn in the next scheduler_serve(). */
void scheduler_wake(struct scheduler *scheduler);

#endif
