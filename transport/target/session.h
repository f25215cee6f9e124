/* SPDX-License-Identifier: BSD-3-Clause */
/* Internal to the target's files: the target, and its sessions. */
#ifndef RDISK_TARGET_SESSION_H
#define RDISK_TARGET_SESSION_H

#include <stdatomic.h>

#include "transport/base/contract.h"
#include "transport/base/machine.h"
#include "transport/verbs/control.h"
#include "transport/verbs/limits.h"
#include "transport/verbs/cm_teardown.h"
#include "transport/wire/auth.h"
#include <rdisk/target.h>

/* ---- Session ---------------------------------------------------------- */

/* machine.c has the table of what happens in them. */
enum rdisk_target_state {
    RDISK_TARGET_WAIT_HELLO, /* accepted */
    RDISK_TARGET_WAIT_AUTH,  /* HELLO_REPLY demands a proof: AUTH is due */
    RDISK_TARGET_WAIT_PROOF, /* AUTH_CHALLENGE sent: AUTH_PROOF is due */
    RDISK_TARGET_DENY_DELAY, /* the proof was wrong; denied at the
                                   deadline */
    RDISK_TARGET_DENY_LEFT,  /* the same, its client has disconnected: it
                                   keeps its place until the deadline */
    RDISK_TARGET_WAIT_OPEN,  /* OPEN, CREATE, DELETE or LIST is due */
    RDISK_TARGET_OPENING,    /* the owner answers an OPEN later */
    RDISK_TARGET_CREATING,   /* the owner answers a CREATE, or a DELETE,
                                   later */
    RDISK_TARGET_LISTING,    /* the owner answers a LIST later */
    RDISK_TARGET_WAIT_JOIN,  /* OPEN_REPLY sent: a data queue is due */
    RDISK_TARGET_OPEN,       /* a data queue has joined */
    RDISK_TARGET_CLOSING,    /* CLOSE received; answered when the queues
                                   have drained */
    RDISK_TARGET_RELEASING,  /* they have; answered when the owner has
                                   released the volume */
    RDISK_TARGET_DRAINING,   /* BYE with SHUTTING_DOWN sent; requests are
                                   still answered */
    RDISK_TARGET_CLOSE_WAIT, /* the last message is sent; the client
                                   disconnects */
    RDISK_TARGET_ENDED,      /* queue pairs in ERROR; queues drain */
    RDISK_TARGET_STATES
};

/* What happens to a session. */
enum rdisk_target_event {
    RDISK_TARGET_NO_EVENT,
    RDISK_TARGET_ON_HELLO,     /* HELLO answered; no proof is demanded */
    RDISK_TARGET_ON_DEMAND,    /* HELLO answered; a proof is demanded */
    RDISK_TARGET_ON_CHALLENGE, /* AUTH answered */
    RDISK_TARGET_ON_PROVED,    /* AUTH_PROOF was right, and is answered */
    RDISK_TARGET_ON_DISPROVED, /* AUTH_PROOF was wrong */
    RDISK_TARGET_ON_OPEN,      /* OPEN received */
    RDISK_TARGET_ON_RETRY,     /* events->open is to be called again */
    RDISK_TARGET_ON_GRANTED,   /* the owner grants OPEN */
    RDISK_TARGET_ON_CREATE,    /* CREATE or DELETE received */
    RDISK_TARGET_ON_CREATED,   /* the owner has made, or deleted, the volume */
    RDISK_TARGET_ON_LIST,      /* LIST received */
    RDISK_TARGET_ON_LISTED,    /* the owner has listed volumes, and LIST is
                                   answered */
    RDISK_TARGET_ON_REFUSED,   /* the client's request is: session->end */
    RDISK_TARGET_ON_JOINED,    /* a data queue has joined */
    RDISK_TARGET_ON_CLOSE,     /* CLOSE received */
    RDISK_TARGET_ON_DRAINED,   /* the last queue is released */
    RDISK_TARGET_ON_RELEASED,  /* the owner has released the volume */
    RDISK_TARGET_ON_END,       /* a violation, or the owner ends it:
                                   session->end is the reason */
    RDISK_TARGET_ON_SHUTDOWN,  /* the same; requests are still answered */
    RDISK_TARGET_ON_LOST,      /* the client disconnected, or its connection
                                   broke */
    RDISK_TARGET_ON_CUT,       /* no message may or can be sent any more:
                                   fenced, not alive, device removed */
    RDISK_TARGET_ON_DEADLINE,  /* of the state */
    RDISK_TARGET_EVENTS
};

/* A RESIZE or a STAT that the owner answers later. */
struct rdisk_target_call {
    bool at_owner;     /* it has not answered */
    bool waiting;      /* nor has the client been refused */
    uint32_t sequence; /* wire order */
    uint64_t size;     /* of a RESIZE */
    uint64_t deadline;
    struct rdisk_error why; /* it takes so long */
};

/* liveness.c, from OPEN_REPLY on. */
struct rdisk_target_liveness {
    uint64_t interval; /* ns */
    bool promised;     /* the client sends a message in each */
    uint64_t message;  /* when the last one arrived */
    uint64_t sign;     /* the last sign of life: a message, or a probe
                                   that was acknowledged */
    bool probing;
    uint64_t probe_sent;
    uint64_t probe; /* sequence number of its work request */
};

/* Why something is refused, or the session ended. */
struct rdisk_target_end {
    enum rdisk_message_type type; /* of the reply, or BYE */
    uint32_t sequence;            /* of what it replies to */
    enum rdisk_status status;
    char text[RDISK_TEXT_MAX + 1];
};

struct rdisk_target_session {
    struct rdisk_target *target;
    struct rdisk_target_session *next;
    struct rdma_cm_id *id;
    struct ibv_pd *pd;       /* of its own: its keys open nothing else */
    struct ibv_mr *resident; /* resident.c: the volume's data, or NULL */
    bool held;               /* the owner still uses it */
    struct rdisk_device_limits limits;
    struct rdisk_control control;
    bool readable; /* it may have messages */
    bool more;     /* it may have messages left from its turn */

    /* machine.c's only. */
    enum rdisk_target_state state;
    uint64_t deadline; /* of the state */
    bool stepping;
    enum rdisk_target_event pending; /* raised meanwhile */

    struct rdisk_auth auth; /* until it is proved */
    struct rdisk_target_end end;
    uint64_t session_id;
    uint8_t token[16];
    struct rdisk_wire_open requested; /* by the client */
    struct rdisk_open_request request;
    struct rdisk_open_grant grant;
    struct rdisk_quota quota; /* of who has authenticated */
    uint64_t features;        /* chosen */
    unsigned int granted_queues, granted_slots;
    uint32_t granted_slot_size;
    _Atomic uint64_t size;  /* of the volume, bytes; reactors read it */
    uint64_t reported_size; /* to the client */
    struct rdisk_target_call resize, stat;
    uint64_t pause;    /* us; of a SNAPSHOT; of FLATTEN bytes done, */
    uint64_t flattens; /* of so many */
    struct rdisk_create_request create; /* while CREATING, without its peer
                                           and user */
    uint32_t create_sequence;           /* wire order */
    char list_after[RDISK_VOLUME_NAME_MAX + 1]; /* while LISTING */
    uint32_t list_sequence;                     /* wire order */
    struct rdisk_error why; /* OPENING, CREATING or LISTING takes so long */
    void *user;             /* the owner's */
    bool owner_knows;       /* it gets an event when the session is gone */

    struct rdisk_target_queue *queues;
    unsigned int queue_count;
    uint64_t memory; /* bytes of slots, granted */
    uint64_t growth; /* of these, beyond the bases of its queues */
    /* A grant or a recall that the client has not acknowledged: it may have no
     * receive for another one. */
    bool slots_unacknowledged;
    struct rdisk_target_slot_counters slot_counters;

    bool link_suspect;       /* this side's link may be down */
    bool closed;             /* the client has no claim any more */
    uint32_t close_sequence; /* of the CLOSE to answer; wire order */
    struct rdisk_target_liveness liveness;
};

/* session.c: life, and the services that everything below rests on. */

struct rdisk_target_session *rdisk_target_session_create(
    struct rdisk_target *target, struct rdma_cm_id *id,
    struct rdisk_error *err);
/* ENDED, and every queue has been released: free it. */
bool rdisk_target_session_over(const struct rdisk_target_session *session);
/* target.c: free those that are over. */
void rdisk_target_reap(struct rdisk_target *target);
/* resident.c: the memory is the owner's again. No queue is left. */
void rdisk_target_session_deregister(struct rdisk_target_session *session);
void rdisk_target_session_destroy(struct rdisk_target_session *session);

/* True if the volume has it and the feature was chosen. */
static inline bool rdisk_target_session_has(
    const struct rdisk_target_session *session, uint64_t feature, bool volume)
{
    return volume && (session->features & feature);
}

/* Send a message. NO_EVENT, or CUT if it cannot be sent. */
enum rdisk_target_event rdisk_target_session_reply(
    struct rdisk_target_session *session, struct rdisk_wire_message *reply,
    size_t size);
/* Reply with the refusal of one message, which is logged; the session goes
 * on. */
enum rdisk_target_event rdisk_target_session_refuse(
    struct rdisk_target_session *session, enum rdisk_message_type type,
    uint32_t sequence, enum rdisk_status status, const char *text);
/* Record why the session is refused or ended, for the event returned. */
enum rdisk_target_event rdisk_target_session_refused(
    struct rdisk_target_session *session, enum rdisk_message_type type,
    uint32_t sequence, enum rdisk_status status, const char *text);
enum rdisk_target_event rdisk_target_session_violated(
    struct rdisk_target_session *session, enum rdisk_status status,
    const char *text);
/* Send what was recorded: a refusal of the session, or BYE. */
enum rdisk_target_event rdisk_target_session_send_end(
    struct rdisk_target_session *session);
/* The event that follows from the owner's answer to events->release. */
enum rdisk_target_event rdisk_target_session_release_event(
    struct rdisk_target_session *session, enum rdisk_status status,
    const struct rdisk_error *err);
/* Move the data queues, or all queue pairs, to ERROR. */
void rdisk_target_session_break_queues(struct rdisk_target_session *session);
void rdisk_target_session_break(struct rdisk_target_session *session);

/* machine.c: the one place that changes the state. */

void rdisk_target_session_step(struct rdisk_target_session *session,
                               enum rdisk_target_event event);
/* The state of a new session. */
void rdisk_target_session_begin(struct rdisk_target_session *session);
const char *rdisk_target_state_name(unsigned int state);
extern const struct rdisk_machine rdisk_target_machine;
/* True if queues may join: the volume is open, and not being closed. */
bool rdisk_target_session_joinable(const struct rdisk_target_session *session);
/* True if the client's messages are ignored in this state. */
bool rdisk_target_session_ignores(const struct rdisk_target_session *session);
/* True while the server waits for the client: only that time counts. */
bool rdisk_target_session_waits(const struct rdisk_target_session *session);
/* True if liveness of the client is required. */
bool rdisk_target_session_watched(const struct rdisk_target_session *session);

/* conversation.c: messages, and time. */

void rdisk_target_session_process(struct rdisk_target_session *session,
                                  uint64_t now);
/* When _process() must be called at the latest. */
uint64_t rdisk_target_session_deadline(
    const struct rdisk_target_session *session);

/*
 * What handles a message, or is an action of the machine, returns what follows
 * from it. None of them changes the state.
 */

/* auth.c */
enum rdisk_target_event rdisk_target_session_auth(
    struct rdisk_target_session *session, const void *message);
enum rdisk_target_event rdisk_target_session_proof(
    struct rdisk_target_session *session, const void *message);

/* open.c: OPEN has come; ask the owner; it has granted, or not answered in
 * time. */
enum rdisk_target_event rdisk_target_session_open(
    struct rdisk_target_session *session, const void *message);
enum rdisk_target_event rdisk_target_session_ask(
    struct rdisk_target_session *session);
enum rdisk_target_event rdisk_target_session_opened(
    struct rdisk_target_session *session);
enum rdisk_target_event rdisk_target_session_open_late(
    struct rdisk_target_session *session);

/* create.c: the same for CREATE. */
enum rdisk_target_event rdisk_target_session_create_volume(
    struct rdisk_target_session *session, const void *message);
enum rdisk_target_event rdisk_target_session_snapshot(
    struct rdisk_target_session *session, const void *message);
enum rdisk_target_event rdisk_target_session_delete_volume(
    struct rdisk_target_session *session, const void *message);
enum rdisk_target_event rdisk_target_session_ask_create(
    struct rdisk_target_session *session);
enum rdisk_target_event rdisk_target_session_reply_created(
    struct rdisk_target_session *session);
enum rdisk_target_event rdisk_target_session_create_late(
    struct rdisk_target_session *session);

/* list.c: the same for LIST. */
enum rdisk_target_event rdisk_target_session_list(
    struct rdisk_target_session *session, const void *message);
enum rdisk_target_event rdisk_target_session_ask_list(
    struct rdisk_target_session *session);
enum rdisk_target_event rdisk_target_session_list_late(
    struct rdisk_target_session *session);

/* call.c: RESIZE and STAT have come; report a size that the client does not
 * know of yet; by when calls are to be answered, and what then. */
enum rdisk_target_event rdisk_target_session_asked_resize(
    struct rdisk_target_session *session, const void *message);
enum rdisk_target_event rdisk_target_session_asked_stat(
    struct rdisk_target_session *session, const void *message);
void rdisk_target_session_report_size(struct rdisk_target_session *session);
uint64_t rdisk_target_session_calls_deadline(
    const struct rdisk_target_session *session);
enum rdisk_target_event rdisk_target_session_calls_late(
    struct rdisk_target_session *session, uint64_t now);

/* liveness.c: OPEN is granted; a message has arrived; when the client is taken
 * for dead, or to be probed; probe; true if it is dead, which is logged. */
void rdisk_target_liveness_begin(struct rdisk_target_session *session,
                                 uint32_t heartbeat_ms);
void rdisk_target_liveness_message(struct rdisk_target_session *session);
uint64_t rdisk_target_liveness_deadline(
    const struct rdisk_target_session *session);
void rdisk_target_liveness_probe(struct rdisk_target_session *session,
                                 uint64_t now);
bool rdisk_target_liveness_lost(const struct rdisk_target_session *session,
                                uint64_t now);

/* share.c: SLOTS_WANT, SLOTS_RETURN and SLOTS_ACK have come. */
enum rdisk_target_event rdisk_target_session_wants(
    struct rdisk_target_session *session, const void *message);
enum rdisk_target_event rdisk_target_session_returned(
    struct rdisk_target_session *session, const void *message);
enum rdisk_target_event rdisk_target_session_acknowledged(
    struct rdisk_target_session *session, const void *message);

/* join.c: a queue connects: check that it belongs, create it, hand it to the
 * owner. */
enum rdisk_status rdisk_target_session_join(
    struct rdisk_target_session *session, const struct rdma_cm_event *event,
    const struct rdisk_wire_connect *wire, struct rdisk_error *err);

/* ---- Target ----------------------------------------------------------- */

/* admission.c: connections that wait to be accepted. */
struct rdisk_target_pending {
    struct rdisk_target_pending *next;
    struct rdma_cm_id *id; /* not accepted yet */
};

struct rdisk_target_admission {
    struct rdisk_target_pending *first, **end;
    unsigned int count;
    bool served;         /* in this turn: a handshake that has begun */
    unsigned int passed; /* turns in which none was accepted for that */
};

struct rdisk_target {
    struct rdisk_use use; /* by the control thread */
    const struct rdisk_env *env;
    struct rdisk_target_options options;
    const struct rdisk_target_events *events;
    void *opaque;
    struct rdma_event_channel *channel;
    struct rdisk_addresses listen_on; /* the first; none: not resolved yet */
    struct rdma_cm_id *listener;      /* NULL: its device is gone */
    struct rdisk_target_device_watch *device_watches; /* one for each device */
    struct rdisk_cm_teardowns teardowns;
    uint64_t listen_again; /* when to try, or RDISK_NEVER */
    uint64_t events_again; /* when to try to take them; RDISK_NEVER: the
                                   channel is watched */
    int poll_fd;           /* epoll over all control channels */
    uint8_t instance[16];
    struct rdisk_target_admission admission;
    /* The first to come is served first. */
    struct rdisk_target_session *sessions, **sessions_end;
    unsigned int session_count;
    /* When its last turn ended, and when it should have been followed by
     * another one. */
    uint64_t idle_since, idle_until;
    uint64_t memory;                    /* bytes of slots, all sessions */
    uint64_t growth;                    /* of these, beyond the bases */
    struct rdisk_target_queue *waiting; /* for slots, in the order of their
                                           requests */
    unsigned int recalls;               /* not answered */
    uint64_t share_again;  /* then they are not waited for; or never */
    uint64_t memory_again; /* the kernel has refused some; then it is requested
                                   again; or never */
    uint64_t grants;       /* since the start */
    bool share_due;
    struct rdisk_target_totals totals;
    bool stopping;
    bool processing; /* sessions are freed at the end of it only */
};

/* The id remains the caller's. */
void rdisk_target_reject(struct rdisk_target *target, struct rdma_cm_id *id,
                         enum rdisk_status status, const char *text);

/* admission.c */

/* A control connection that is not accepted yet; the id is its until a session
 * has it, or _leave(). */
enum rdisk_status rdisk_target_admission_add(struct rdisk_target *target,
                                             struct rdma_cm_id *id,
                                             struct rdisk_error *err);
/* Its client has gone: true if it waited; the id is the caller's then. */
bool rdisk_target_admission_leave(struct rdisk_target *target,
                                  const struct rdma_cm_id *id);
/* Begin the session of the first one that waits, if any does. */
void rdisk_target_admission_next(struct rdisk_target *target);
/* The server ends: so do those that wait. */
void rdisk_target_admission_end(struct rdisk_target *target);

/* @session: NULL for the channel of connections. 0 or a negative errno. */
int rdisk_target_watch(struct rdisk_target *target, int fd,
                       struct rdisk_target_session *session);
void rdisk_target_unwatch(struct rdisk_target *target, int fd);

/* listener.c */

/* On failure a listener may be left, to be destroyed with the target. */
int rdisk_target_listen(struct rdisk_target *target, struct rdisk_error *err);
/* Its device is gone. Returns the id, to be destroyed after the event. */
struct rdma_cm_id *rdisk_target_listener_lost(struct rdisk_target *target);
/* Try whether the device is back. */
void rdisk_target_listen_again(struct rdisk_target *target);
/* Watch for the removal of the device that @id is on. */
void rdisk_target_watch_device(struct rdisk_target *target,
                               const struct rdma_cm_id *id);
/* True if @id is a device watch that is no longer needed: the caller
 * destroys it. */
bool rdisk_target_release_watch(struct rdisk_target *target,
                                const struct rdma_cm_id *id);
void rdisk_target_release_watches(struct rdisk_target *target);

/* ---- quota.c ------------------------------------------------------------ */

/*
 * Check the quota of the session's client for another session with @fewest
 * bytes at least. 0, and *@left is what its quota leaves, or -ENOBUFS.
 */
int rdisk_target_quota_check(const struct rdisk_target_session *session,
                             uint64_t fewest, uint64_t *left,
                             struct rdisk_error *err);
/* Bytes that its client's quota leaves. */
uint64_t rdisk_target_quota_left(const struct rdisk_target_session *session);
bool rdisk_target_same_user(const struct rdisk_target_session *session,
                            const struct rdisk_target_session *other);

#endif
