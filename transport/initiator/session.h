/* SPDX-License-Identifier: BSD-3-Clause */
/* Internal to the initiator's files: links, queues, and the session itself. */
#ifndef RDISK_INITIATOR_SESSION_H
#define RDISK_INITIATOR_SESSION_H

#include <stdatomic.h>
#include <sys/socket.h>

#include "transport/wire/auth.h"
#include "transport/initiator/bounce.h"
#include "transport/verbs/control.h"
#include "transport/initiator/device.h"
#include "transport/verbs/cm_teardown.h"
#include <rdisk/counter.h>
#include <rdisk/initiator.h>
#include "transport/initiator/options.h"
#include "transport/verbs/qp.h"
#include "transport/wire/op_counters.h"

/* ---- Link: one outgoing connection ------------------------------------ */

enum rdisk_link_state {
    RDISK_LINK_IDLE,        /* nothing asked for yet */
    RDISK_LINK_ADDRESS,     /* which device reaches the server? */
    RDISK_LINK_ROUTE,       /* how does it? */
    RDISK_LINK_CONNECT,     /* request sent, waiting for REP or REJ */
    RDISK_LINK_UP,
    RDISK_LINK_DOWN,        /* refused, failed or disconnected */
};

struct rdisk_link {
    struct rdisk_initiator *session;
    unsigned int queue;     /* 0: control; 1…: data queue index */
    enum rdisk_link_state state;
    struct rdma_cm_id *id;
    bool known;             /* to the server, perhaps: it was asked for */
};

/* Begin to connect. Errors found at once come back; later ones end the
 * session through rdisk_initiator_fail(). */
int rdisk_link_start(struct rdisk_link *link, struct rdisk_error *err);
/* All that the connection manager has to tell of the session's links. */
void rdisk_link_take_events(struct rdisk_initiator *session);
/* Disconnect, if it is up and that can be told; hear nothing of it any more. */
void rdisk_link_disconnect(struct rdisk_link *link);
/* After its queue pair is gone and no event of it is unacknowledged. */
void rdisk_link_destroy(struct rdisk_link *link);

/* Segments and the fixed header of the longest request, in bytes. */
#define RDISK_HEADER_MAX (sizeof(struct rdisk_wire_request) + \
    RDISK_SEGMENTS_MAX * sizeof(struct rdisk_wire_segment))

/* A registered piece of a request's memory. */
struct rdisk_piece {
    uint64_t address;
    uint32_t length;
    struct rdisk_memory_keys keys;
};

/*
 * Memory windows (type 2) of a queue with guest-memory=window: each opens one
 * piece of the guest's memory to the server, for one read. A window is free,
 * or bound from the read's going out to its invalidation.
 */
struct rdisk_window {
    struct ibv_mw *mw;          /* its rkey: of the last bind but one, until
                                   the invalidation; the device wants it so */
    uint32_t rkey;              /* of the last bind */
    uint16_t next;              /* of a chain of free ones, or a request's */
};

struct rdisk_windows {
    struct rdisk_window *list;  /* NULL: not in use */
    unsigned int count;
    unsigned int free_count;
    uint16_t free_first;
};

#define RDISK_WINDOWS_PER_SLOT  4u  /* on average */
#define RDISK_WINDOWS_PER_READ  8u  /* at most; what is more scattered bounces */

/* ---- Queue ------------------------------------------------------------ */

/*
 * Who may touch what a queue has for one connection. The two threads hand it
 * to each other through this, so no lock is needed.
 */
enum rdisk_queue_phase {
    RDISK_QUEUE_QUIESCED,     /* home: there is no connection, or it is made */
    RDISK_QUEUE_JOINED,     /* nobody yet: the first to come takes it */
    RDISK_QUEUE_ACTIVE,     /* queue's thread, until it has drained it */
};

/* Of a request that no tick has seen yet. */
#define RDISK_SLOT_UNSEEN   0

struct rdisk_queue {
    struct rdisk_initiator *session;
    struct rdisk_link link;         /* home thread */
    int poll_fd;                    /* epoll: completion channel, wake_fd */
    int wake_fd;                    /* eventfd: home wants a look */
    atomic_bool woken;              /* wake_fd has been written */
    _Atomic int phase;              /* enum rdisk_queue_phase */
    struct rdisk_qp qp;
    bool created;                   /* qp, headers and bounce exist */

    /* The server's lease; constant once joined. */
    uint64_t base;
    uint32_t rkey;
    uint32_t stride;
    unsigned int slots;
    unsigned int max_segments;

    /* Below: queue's thread. */
    uint8_t *headers;               /* RDISK_HEADER_MAX for each slot */
    struct ibv_mr *headers_mr;
    size_t headers_size;
    struct rdisk_request **in_slot; /* the request in each slot, or NULL */
    uint16_t *free_slots;           /* a stack */
    unsigned int free_count;
    struct rdisk_bounce bounce;
    struct rdisk_windows windows;
    struct rdisk_request *answered; /* with windows to be invalidated */
    struct rdisk_request **answered_end;
    struct rdisk_request *revoking; /* the invalidation is on its way */
    struct rdisk_request **revoking_end;
    struct rdisk_piece pieces[RDISK_SEGMENTS_MAX];  /* of the one being sent */
    struct rdisk_request *waiting;  /* first of those without a slot */
    struct rdisk_request **waiting_end;
    uint32_t sequence;
    atomic_uint outstanding;        /* taken and not completed */
    atomic_uint in_slots;           /* of these, on their way */
    /* When the home thread, at one of its ticks, first saw the request that is
     * in each slot; RDISK_SLOT_UNSEEN before, RDISK_NEVER if the slot is
     * free. */
    _Atomic uint64_t *seen;

    bool broken_told;               /* the home thread knows that it broke */
    /* Of the flushes of the session, the first that covers all that this queue
     * has had answered. Read by the home thread when PARKED. */
    uint64_t covered_by;

    struct rdisk_qp_counters qp_counters;
    struct rdisk_op_counters ops;
    rdisk_counter copied_bytes, bounced, waited, windows_bound;
};

/* queue_connection.c; home thread. */

/* Index from 1. On failure rdisk_queue_destroy() is still due. */
int rdisk_queue_init(struct rdisk_queue *queue,
                     struct rdisk_initiator *session, unsigned int index);
void rdisk_queue_destroy(struct rdisk_queue *queue);
/* Queue pair and memory, when the device is known. PARKED. */
int rdisk_queue_connect(struct rdisk_queue *queue, struct rdisk_error *err);
/* The server has accepted. PARKED. */
void rdisk_queue_set_grant(struct rdisk_queue *queue,
                       const struct rdisk_wire_accept *accept);
/* Undo connect and lease. PARKED. */
void rdisk_queue_disconnect(struct rdisk_queue *queue);
/* From here on it is its thread's. */
void rdisk_queue_hand_over(struct rdisk_queue *queue);
/* It is about to be home's: do not wake its thread for completions. */
void rdisk_queue_unwatch(struct rdisk_queue *queue);
/* Is it home's again? Takes it back itself if nobody has used it. */
bool rdisk_queue_reclaim(struct rdisk_queue *queue);
/* Let the queue's thread run rdisk_queue_process(). */
void rdisk_queue_wake(struct rdisk_queue *queue);

/* queue.c, stage.c */

/*
 * Queue's thread: put a request into a slot and stage its work requests.
 * False: it must wait for a slot, for bounce memory, or for room.
 */
bool rdisk_queue_stage(struct rdisk_queue *queue,
                       struct rdisk_request *request);
/* The request leaves its slot, which stays in use. */
struct rdisk_request *rdisk_queue_take_from_slot(struct rdisk_queue *queue,
                                                 uint16_t slot);
/* A request that is in no slot ends. */
void rdisk_queue_complete(struct rdisk_queue *queue,
                          struct rdisk_request *request, int result);
/* Home thread: no request is in a slot. */
bool rdisk_queue_slots_idle(struct rdisk_queue *queue);
/*
 * Home thread, at each tick: has a request been seen on its way for longer
 * than request-timeout? It was sent up to a tick before it was seen, so none is
 * given up too early.
 */
bool rdisk_queue_overdue(struct rdisk_queue *queue, uint64_t now);

/* cache.c */

/* Every flush fails, until one has told of the loss. */
#define RDISK_FLUSH_LOSS_PENDING UINT64_MAX

/* Queue's thread: a FLUSH is submitted. */
void rdisk_queue_number_flush(struct rdisk_queue *queue,
                              struct rdisk_request *request);
/*
 * Queue's thread: @request is about to complete with @result. Returns what it
 * completes with: a flush may have more to tell.
 */
int rdisk_queue_account(struct rdisk_queue *queue,
                        const struct rdisk_request *request, int result);
/* Home thread, every queue PARKED: the cache behind the volume is this one. */
void rdisk_initiator_take_cache(struct rdisk_initiator *session,
                                const uint8_t *cache);

/* window.c: queue's thread, but for _create and _destroy */

int rdisk_queue_windows_create(struct rdisk_queue *queue,
                               struct rdisk_error *err);
/* Nothing is bound any more. The home thread, or the one that parks. */
void rdisk_queue_windows_destroy(struct rdisk_queue *queue);
/* Does this go through windows, if it does not bounce? */
bool rdisk_queue_needs_windows(const struct rdisk_queue *queue,
                               const struct rdisk_request *request);
/* Are there windows for so many pieces? */
bool rdisk_queue_has_windows(const struct rdisk_queue *queue,
                             unsigned int pieces);
/* Stage what opens queue->pieces, and put the keys there. */
void rdisk_queue_bind(struct rdisk_queue *queue,
                      struct rdisk_request *request, unsigned int pieces);
/* The request has its answer, but ends only when its windows are closed. */
void rdisk_queue_answered(struct rdisk_queue *queue,
                          struct rdisk_request *request, int result);
/* Stage what closes windows of answered requests, as far as there is room. */
void rdisk_queue_revoke(struct rdisk_queue *queue);
/* Complete the requests whose windows the device has closed; their number. */
unsigned int rdisk_queue_end_revoked(struct rdisk_queue *queue);
/* Complete all that are answered: the queue pair has ended. */
unsigned int rdisk_queue_end_answered(struct rdisk_queue *queue);

/* ---- Session ---------------------------------------------------------- */

/* Memory that the owner has registered, whatever device it is on now. */
struct rdisk_range {
    struct rdisk_range *next;
    void *address;
    size_t length;
    bool registered;
};

/* A RESIZE or a STAT. */
struct rdisk_call {
    bool pending;                   /* asked by the owner, not answered */
    bool sent;                      /* on this connection */
    uint32_t sequence;              /* of the message */
    uint64_t deadline;              /* for the answer */
    uint64_t size;                  /* RESIZE */
    uint32_t flags;
    rdisk_resize_fn *resized;
    rdisk_stat_fn *told;
    void *opaque;
};

struct rdisk_initiator {
    const struct rdisk_env *env;
    struct rdisk_initiator_options options;     /* strings are ours */
    const struct rdisk_initiator_events *events;
    void *opaque;

    _Atomic int state;              /* enum rdisk_initiator_state */
    struct rdisk_error error;       /* why FAILED */
    int poll_fd;                    /* epoll: the channels and the next two */
    int alarm_fd;                   /* eventfd: a queue's thread saw it break */
    int timer_fd;                   /* timerfd; -1: time is virtual */
    uint64_t timer;                 /* when it expires, or RDISK_NEVER */
    struct rdma_event_channel *channel;
    struct sockaddr_storage address;
    struct rdisk_device *device;    /* from the control link's device on */
    struct rdisk_memory memory;     /* as long: what is registered on it */
    struct rdisk_link link;         /* the control link */
    struct rdisk_control control;
    struct rdma_cm_id *device_watch;/* keeps the device while no connection
                                     * does, and tells of its removal */
    bool device_lost;               /* it was removed: let go of it */
    bool link_suspect;                   /* perhaps for want of a link here */
    struct rdisk_cm_teardowns teardowns;   /* of earlier connections */
    struct rdisk_range *ranges;
    struct rdisk_queue *queues;     /* queue_count of them, from JOINING on */
    unsigned int queue_count;
    unsigned int queues_up;
    unsigned int granted_slots;     /* of each queue on this connection */

    struct rdisk_secret secret;     /* length 0: none */
    struct rdisk_auth auth;         /* of this connection */
    uint8_t client[16];
    uint8_t token[16];
    uint64_t server_session;
    uint64_t epoch;
    struct rdisk_volume_info info;

    /* See cache.c. A flush up to number lost_until fails. */
    _Atomic uint64_t flushes;       /* submitted */
    _Atomic uint64_t flushed;       /* number of the newest that succeeded */
    _Atomic uint64_t lost_until;    /* 0: none fails; RDISK_FLUSH_LOSS_PENDING */
    _Atomic uint64_t lost_since;    /* one from this number on tells */

    bool established;               /* was READY once: worth recovering */
    rdisk_counter reconnects;       /* READY again */
    bool connected;                 /* there is something to disconnect */
    atomic_bool expired;            /* reconnect-delay is over: no waiting */
    uint64_t reconnect_deadline;              /* when it will be over */
    uint64_t backoff;               /* ns until the next attempt */

    uint64_t open_deadline;         /* until READY, for CLOSING, for WAITING */
    uint64_t tick;                  /* next look at heartbeat and requests */
    uint64_t heard;                 /* last message from the server */
    bool ping_sent;                 /* and not answered */
    uint64_t ping_time;
    void (*pong)(void *opaque, uint64_t round_trip);
    void *pong_opaque;

    uint64_t make_size;             /* of a volume to be made; 0: open one */
    unsigned int make_flags;
    struct rdisk_call resize, stat;
    uint32_t call_sequence;

    uint64_t step_started;
    struct rdisk_initiator_steps steps;
    char device_name[64];
};

/* The session is over, another connection would not help. */
void rdisk_initiator_end(struct rdisk_initiator *session,
                         const struct rdisk_error *err);

/* create.c: what is said instead of OPEN; CREATE_REPLY has come. */
void rdisk_initiator_say_create(struct rdisk_initiator *session);
void rdisk_initiator_created(struct rdisk_initiator *session);

/* call.c */

/* The smallest size that the volume may come back with. */
uint64_t rdisk_initiator_least_size(const struct rdisk_initiator *session);
/* It came back with @size. */
void rdisk_initiator_size_back(struct rdisk_initiator *session, uint64_t size);
/* VOLUME_CHANGED, RESIZE_REPLY and STAT_REPLY have come. */
void rdisk_initiator_changed(struct rdisk_initiator *session,
                             const struct rdisk_wire_size *wire);
void rdisk_initiator_answer(struct rdisk_initiator *session,
                            const struct rdisk_wire_message *message);
/* READY: ask what was not asked on this connection. */
void rdisk_initiator_ask_again(struct rdisk_initiator *session);
/* This connection will not answer any more. */
void rdisk_initiator_unask(struct rdisk_initiator *session);
/* There will be no answer at all. */
void rdisk_initiator_fail_calls(struct rdisk_initiator *session, int code);
bool rdisk_initiator_calls_late(struct rdisk_initiator *session, uint64_t now);

/* registrations.c */

/* Take the device, and register on it all that the owner has registered. 0 or
 * a negative errno. */
int rdisk_initiator_take_device(struct rdisk_initiator *session,
                                struct ibv_context *context,
                                struct rdisk_error *err);
/* Undo that, and let go of the device. */
void rdisk_initiator_leave_device(struct rdisk_initiator *session);
/* A connection keeps the device, or nobody needs to. */
void rdisk_initiator_release_watch(struct rdisk_initiator *session);

/* recovery.c */

/* Break every queue pair of this connection and disconnect. */
void rdisk_initiator_break(struct rdisk_initiator *session);
/* Give back all that belongs to this connection. Every queue is PARKED. */
void rdisk_initiator_drop(struct rdisk_initiator *session);
/* READY was left for want of a connection: begin to get another one. */
void rdisk_initiator_recover(struct rdisk_initiator *session,
                             const struct rdisk_error *err);
/* @qp is broken: by whom, as far as its device tells. -ETIMEDOUT: nobody
 * answered. */
void rdisk_initiator_tell_break(const struct rdisk_initiator *session,
                                const struct rdisk_qp *qp,
                                struct rdisk_error *err);
/* Go on as far as the queues' threads have let go. */
void rdisk_initiator_recovery_step(struct rdisk_initiator *session);
/* WAITING is over: the next attempt. */
void rdisk_initiator_attempt(struct rdisk_initiator *session);
/* reconnect-delay is over: requests do not wait any longer. */
void rdisk_initiator_expire(struct rdisk_initiator *session);

/* timer.c */

/* Start, at READY, to look for silence and late requests. */
void rdisk_initiator_start_tick(struct rdisk_initiator *session);
/* Do what is due at @now. */
void rdisk_initiator_timers(struct rdisk_initiator *session, uint64_t now);
/* Let the session's descriptor tell of its deadline, which may be another. */
void rdisk_initiator_set_timer(struct rdisk_initiator *session);

/* auth.c: who is who. */

/* HELLO_REPLY demands this method: go on with AUTH, or OPEN, or not. */
void rdisk_initiator_authenticate(struct rdisk_initiator *session,
                                  unsigned int method);
void rdisk_initiator_challenge(struct rdisk_initiator *session,
                               const struct rdisk_wire_auth_challenge *wire);
void rdisk_initiator_auth_reply(struct rdisk_initiator *session,
                                const struct rdisk_wire_auth_proof *wire);

/* handshake.c: the control queue's conversation. */

/* Send a message, or fail. */
void rdisk_initiator_send(struct rdisk_initiator *session,
                          struct rdisk_wire_message *message, size_t size);

/* The control link is up, or it is known who is who: go on. */
void rdisk_initiator_say_hello(struct rdisk_initiator *session);
void rdisk_initiator_say_open(struct rdisk_initiator *session);
/* Send what the tick asks for: a PING. */
void rdisk_initiator_say_ping(struct rdisk_initiator *session);
/* The server cannot be trusted any more: the session ends. */
void rdisk_initiator_bad_message(struct rdisk_initiator *session,
                                 const char *text);
/* rdisk_control_fn of a client. */
void rdisk_initiator_message(void *opaque, enum rdisk_status check,
                             const struct rdisk_wire_message *message,
                             const struct rdisk_error *err);

void rdisk_initiator_set_state(struct rdisk_initiator *session,
                               enum rdisk_initiator_state state);
/* OPEN was granted and info is filled: connect the data queues. */
void rdisk_initiator_join(struct rdisk_initiator *session);
/*
 * This connection is over. Try another one if the session was READY once and
 * may wait; else the session ends.
 */
void rdisk_initiator_fail(struct rdisk_initiator *session,
                          const struct rdisk_error *err);
/* The device that reaches the server is known. 0 or a negative errno. */
int rdisk_initiator_device(struct rdisk_initiator *session,
                           struct ibv_context *context,
                           struct rdisk_error *err);
/* The server shuts down: finish what is on its way, then fail with @why. */
void rdisk_initiator_drain(struct rdisk_initiator *session,
                           const struct rdisk_error *why);
/* A link is connected: the private data of its REP has been checked. */
void rdisk_initiator_link_up(struct rdisk_initiator *session,
                             struct rdisk_link *link,
                             const struct rdisk_wire_accept *accept);
/* The server or the network ended a link that was up. */
void rdisk_initiator_link_lost(struct rdisk_initiator *session,
                               struct rdisk_link *link);
/* Nanoseconds since the last call, for rdisk_initiator_steps. */
uint64_t rdisk_initiator_step(struct rdisk_initiator *session);

#endif
