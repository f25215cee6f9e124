/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Internal to the initiator: the state machine of a client session.
 *
 * Links, messages, queues, timers, memory and the owner's calls raise events.
 * step(), in state.c, takes one after the other and alone changes the state, by
 * one table: state, event: action, next state, deadline. An event that is
 * raised while a step runs is queued, and taken after it; so nothing is torn
 * down that a caller still uses.
 *
 * Home thread, but for the predicates of queues.
 */
#ifndef RDISK_INITIATOR_STATE_H
#define RDISK_INITIATOR_STATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "transport/base/machine.h"
#include <rdisk/error.h>
#include <rdisk/initiator.h>

/* X(name): what happened. Those marked * come with an error. */
#define RDISK_SESSION_EVENTS(X) \
    X(START)             /* owner: _start() */ \
    X(RESOLVED)          /* resolver: the server's addresses are known */ \
    X(ADDRESS_FAILED)    /* link: one of them cannot be connected to; * */ \
    X(CONNECTED)         /* link: the control connection is established */ \
    X(AUTH_DEMANDED)     /* message: HELLO_REPLY demands authentication */ \
    X(CHALLENGED)        /* message: AUTH_CHALLENGE */ \
    X(IDENTIFIED)        /* message: both sides are who they should be */ \
    X(OPENED)            /* message: OPEN_REPLY, and it is acceptable */ \
    X(CREATED)           /* message: CREATE_REPLY */ \
    X(JOINED)            /* link: the last data queue has its slots */ \
    X(SERVER_LEAVING)    /* message: BYE, SHUTTING_DOWN; * */ \
    X(DRAINED)           /* queues: no request is in a slot */ \
    X(DRAIN_TIMEOUT)     /* timer */ \
    X(CLOSE)             /* owner: _close() */ \
    X(CLOSE_REPLIED)     /* message: CLOSE_REPLY */ \
    X(CLOSE_TIMEOUT)     /* timer */ \
    X(CONTROL_ENDED)     /* link: the control connection ended; * */ \
    X(QUEUE_ENDED)       /* link: a data queue's connection ended; * */ \
    X(LOST)              /* any: this connection cannot be used any more; * */ \
    X(FATAL)             /* message: no other connection would help; * */ \
    X(GIVE_UP)           /* owner: _give_up(); * */ \
    X(QUIESCED)          /* queues: each has returned its connection */ \
    X(QUIESCE_TIMEOUT)   /* timer */ \
    X(BACKOFF_OVER)      /* timer */ \
    X(STOP_WAITING)      /* owner: _cancel() */ \
    X(RECONNECT_EXPIRED) /* timer: reconnect-delay is over */

enum rdisk_session_event {
#define RDISK_SESSION_EVENT(name) RDISK_EVENT_##name,
    RDISK_SESSION_EVENTS(RDISK_SESSION_EVENT)
#undef RDISK_SESSION_EVENT
        RDISK_EVENT_COUNT
};

/* The one time limit that a state has. Of READY and the ended ones: none. */
enum rdisk_deadline {
    RDISK_DEADLINE_KEEP, /* in the table: the one that runs */
    RDISK_DEADLINE_NONE,
    RDISK_DEADLINE_NAME,    /* for the resolver: open-timeout, or a part */
    RDISK_DEADLINE_ADDRESS, /* for a connection to this address: its share */
    RDISK_DEADLINE_OPEN,    /* open-timeout, all steps to READY together */
    RDISK_DEADLINE_DRAIN,   /* for the answers of a server that leaves */
    RDISK_DEADLINE_QUIESCE, /* for the queues to return a connection */
    RDISK_DEADLINE_BACKOFF, /* until the next attempt */
    RDISK_DEADLINE_CLOSE,   /* for CLOSE_REPLY */
};

/* What a queue does with requests. */
enum rdisk_request_flow {
    RDISK_REQUESTS_WAIT, /* for a connection */
    RDISK_REQUESTS_SEND,
    RDISK_REQUESTS_FAIL, /* there is none, and none is waited for */
};

struct rdisk_state_machine {
    _Atomic int state; /* enum rdisk_initiator_state; any thread */
    _Atomic int flow;  /* enum rdisk_request_flow; any thread */
    enum rdisk_deadline deadline;
    uint64_t deadline_at;  /* or RDISK_NEVER */
    uint64_t opens_until;  /* open-timeout: of attempts with all servers, */
    uint64_t attempt_ends; /* and of this one */
    /*
     * The first failure of the newest connection that failed. Of a session
     * that is FAILED it does not change any more, and any thread may read it.
     */
    struct rdisk_error error;
    bool failed; /* this connection has; later ones are noted */

    /* Each event is pending once at most, so there is always room. */
    bool running;
    unsigned int count;
    uint8_t pending[RDISK_EVENT_COUNT]; /* in the order raised */
    struct rdisk_error errors[RDISK_EVENT_COUNT];
};

void rdisk_initiator_state_begin(struct rdisk_initiator *session);

/*
 * What happened, to be acted on by the next _run(). If the same is pending,
 * the first counts.
 */
void rdisk_initiator_raise(struct rdisk_initiator *session,
                           enum rdisk_session_event event);
/* The same of an event that comes with an error. */
void rdisk_initiator_raise_error(struct rdisk_initiator *session,
                                 enum rdisk_session_event event,
                                 const struct rdisk_error *err);
/* LOST, with this sentence. */
void rdisk_initiator_raise_lost(struct rdisk_initiator *session, int code,
                                const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/*
 * Take all pending events. Called by the session's public functions after each
 * thing that may have raised one; from within a step it leaves them to that.
 */
void rdisk_initiator_run(struct rdisk_initiator *session);

/* For a step, in deadline.c: a state begins, and so does @deadline. */
void rdisk_initiator_set_deadline(struct rdisk_initiator *session,
                                  enum rdisk_deadline deadline);
/* The state's deadline has come: raise what it means. */
void rdisk_initiator_deadline_over(struct rdisk_initiator *session);
/* Requests that wait for a connection fail from now on, until READY. */
void rdisk_initiator_fail_requests(struct rdisk_initiator *session);

/* ---- Predicates --------------------------------------------------------- */

#define RDISK_STATE_BIT(state) (1u << (state))

static inline bool rdisk_initiator_in(const struct rdisk_initiator *session,
                                      unsigned int states)
{
    return RDISK_STATE_BIT(rdisk_initiator_state(session)) & states;
}

/* True if control messages of the server are handled. */
bool rdisk_initiator_takes_messages(const struct rdisk_initiator *session);
/* The connection is being returned, queue by queue. */
bool rdisk_initiator_quiesces(const struct rdisk_initiator *session);

/* ---- The table ----------------------------------------------------------- */

/*
 * Which transitions were taken, by all sessions of the process. An event that
 * leads elsewhere depending on a guard counts as two; what is ignored does not
 * count.
 */
extern const struct rdisk_machine rdisk_initiator_machine;

#endif
