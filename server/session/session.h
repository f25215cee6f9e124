/* SPDX-License-Identifier: BSD-3-Clause */
/* A session as the server sees it: a client's hold on a volume. */
#ifndef RDISK_SERVER_SESSION_SESSION_H
#define RDISK_SERVER_SESSION_SESSION_H

#include "common/container_of.h"
#include "common/log.h"
#include "server/server.h"
#include "server/session/scheduler.h"
#include "server/volume/volume.h"
#include "server/volume/volume_operation.h"

enum session_phase {
    SESSION_RUNNING, /* an operation decides whether it may open */
    SESSION_DECIDED, /* for the transport's next call */
    SESSION_OPEN,    /* granted */
};

struct client_list;
struct creation;
struct measurement;
struct resize;

struct session {
    struct volume_holder holder;
    struct server *server;
    struct rdisk_target_session *target;
    struct throttled *throttled[FLOW_THROTTLES]; /* NULL: it has no queue */
    struct flow_terms terms;                     /* its queues have them */

    /* open.c's and close.c's. */
    struct volume_operation work; /* that opens, or closes, the volume */
    enum session_phase phase;
    bool asking;              /* from within open_event() */
    bool abandoned;           /* it has ended in the transport meanwhile */
    bool orderly;             /* its client does not reconnect */
    bool settle;              /* it was the last writer */
    bool releasing;           /* its CLOSE is not answered; @target is NULL if
                                   there is no client for that any more */
    enum rdisk_status status; /* DECIDED: the answer */
    struct rdisk_open_request request;
    enum access access;
    /* Of the step that is running, in its thread. */
    struct lease lease; /* as it is at the beginning of a step */
    struct lease_record record;

    /* resident.c's. */
    uint64_t asked;       /* rdisk_now(): its OPEN has come */
    uint64_t registered;  /* bytes of its volume's memory; 0: it is not */
    uint64_t registering; /* ns that this has taken */
    void (*then)(struct session *session);

    /* create.c's: it creates a volume, and opens none. */
    struct creation *creation;
    uint64_t pause;    /* us; of the snapshot that it has made; or bytes that
                          are flattened, */
    uint64_t flattens; /* of so many; 0: it does not */
    /* list.c's: it lists volumes, and has opened none. */
    struct client_list *list;
    /* resize.c's, while they have not ended. */
    struct resize *resize;
    struct measurement *measurement;

    uint64_t serial;      /* of the sessions since the start, for the log */
    bool read_only;       /* as granted */
    bool ended;           /* by this server, session_end() */
    struct queue *queues; /* that the transport has not got back yet */
    struct rdisk_target_counters past; /* of queues that have ended */
    uint64_t polled_past;              /* the same */
    struct session *next;              /* of the server's list */
};

static inline struct session *session_of_work(struct volume_operation *work)
{
    return container_of(work, struct session, work);
}

static inline struct session *session_of_job(struct job *job)
{
    return session_of_work(volume_operation_of_job(job));
}

/* What the transport calls; its opaque is the struct server. */
extern const struct rdisk_target_events session_events;

/* End all sessions on what is drained: requests already taken are carried out
 * first. Their clients are to go on at @host, unless that is "". Returns how
 * many of them were told so. */
unsigned int session_drain(struct server *server, const char *host,
                           uint16_t port);

/* Their limits delay no request any more: the server stops. */
void session_hurry_all(struct server *server);

/* What the lines of the log about the session are about, until it goes. */
struct log_subject session_subject(const struct session *session);
/* BYE with @status and @text to its client. It may be gone by that. */
void session_end(struct session *session, enum rdisk_status status,
                 const char *text);

/* What this user, "" without authentication, may do with @volume. */
enum access session_access(const struct server *server, const char *user,
                           const char *volume);
/* True if the session has rights that its client no longer has. */
bool session_withdrawn(const struct session *session);
/* End all such sessions: requests already taken are carried out first. Their
 * number. */
unsigned int session_end_withdrawn(struct server *server);

/* True if its volume or its client has limits (throttle.h) now. */
bool session_is_limited(const struct session *session);
/* There are other limits: sessions whose clients read by themselves, which none
 * of them would hold back, are to reconnect. */
void session_end_unlimited(struct server *server);

/* Of all its queues, those that have ended included. */
void session_counters(const struct session *session,
                      struct rdisk_target_counters *counters);
/* Requests that were polled for, the same. */
uint64_t session_polled(const struct session *session);
/* Queues it has, and bytes of slots. */
unsigned int session_queues(const struct session *session, uint64_t *memory);
/* The slots of these queues; all zero if the transport has none any more. */
void session_slots(const struct session *session,
                   struct rdisk_target_slot_counters *counters);

void counters_add(struct rdisk_target_counters *sum,
                  const struct rdisk_target_counters *counters);

#endif
