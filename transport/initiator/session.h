/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Internal to the initiator: the session, in parts that have one owner each.
 * state.h says how its state changes.
 */
#ifndef RDISK_INITIATOR_SESSION_H
#define RDISK_INITIATOR_SESSION_H

#include "transport/base/contract.h"
#include "transport/base/counter.h"
#include "transport/initiator/device.h"
#include "transport/initiator/link.h"
#include "transport/initiator/options.h"
#include "transport/initiator/queue.h"
#include "transport/initiator/servers.h"
#include "transport/initiator/state.h"
#include "transport/verbs/name.h"
#include "transport/wire/auth.h"
#include <rdisk/initiator.h>

/* What fits in an error beside a long host name. */
#define RDISK_FAILURES_TEXT 224

/* join.c: the data queues, from JOINING on for the session's life. */
struct rdisk_queues {
    struct rdisk_queue *list;
    unsigned int count;
    unsigned int joined; /* on this connection */
    unsigned int slots;  /* granted to each on this connection */
};

/*
 * addresses.c: where the server is that is tried. An attempt to connect tries
 * what was known when it began; an answer that comes too late for one is there
 * for the next.
 */
struct rdisk_server {
    struct rdisk_name_query *query;     /* without an answer so far, or NULL */
    struct rdisk_addresses trying;      /* by this attempt */
    unsigned int next;                  /* of these */
    char where[RDISK_ADDRESS_TEXT];     /* the one that is tried, or in use */
    char failures[RDISK_FAILURES_TEXT]; /* of this attempt: "…; …" */
    unsigned int failed;                /* addresses, */
    unsigned int unnamed;               /* of which these are not in it */
};

/* registrations.c: memory that the owner has registered, on any device. */
struct rdisk_range {
    struct rdisk_range *next;
    void *address;
    size_t length;
    bool registered;
};

struct rdisk_registrations {
    struct rdisk_range *ranges;
    struct rdisk_device *device; /* from the control link's device on */
    struct rdisk_memory memory;  /* as long: what is registered on it */
    struct rdma_cm_id *watch;    /* keeps the device while no connection
                                  * does, and reports its removal */
    bool device_lost;            /* it was removed: release it */
    char device_name[64];
};

/* handshake.c, auth.c, create.c: the messages before READY. */
struct rdisk_handshake {
    uint8_t client[16];
    struct rdisk_secret *secret; /* NULL: none */
    struct rdisk_auth auth;      /* of this connection */
    uint32_t challenge;          /* sequence of AUTH_CHALLENGE */
    uint64_t server_session;     /* names the session when queues join */
    bool resident;               /* the volume is, on this connection */
    uint8_t token[16];
    uint64_t generation; /* to open with, until it was READY */
    /* Sent instead of OPEN: CREATE, DELETE, SNAPSHOT or LIST; 0: OPEN. */
    enum rdisk_message_type instead;
    uint64_t create_size;
    unsigned int create_flags;
    rdisk_list_fn *listed;
    void *listed_opaque;
    char listed_last[RDISK_VOLUME_NAME_MAX + 1]; /* of the last page */
    enum rdisk_snapshot_action snapshot; /* of SNAPSHOT, as the next two */
    char target[RDISK_VOLUME_NAME_MAX + 1];
    uint64_t *pause; /* us, or of FLATTEN bytes, from its reply; NULL: not */
    uint64_t *size;  /* wanted; bytes, the same */
};

/* ping.c */
struct rdisk_ping {
    bool sent; /* and not answered */
    uint64_t time;
    void (*done)(void *opaque, uint64_t round_trip);
    void *opaque;
};

/* call.c: a RESIZE or a STAT. */
struct rdisk_call {
    bool pending;      /* by the owner, not answered */
    bool sent;         /* on this connection */
    uint32_t sequence; /* of the message */
    uint64_t deadline; /* for the answer */
    uint64_t size;     /* RESIZE */
    uint32_t flags;
    rdisk_resize_fn *resized;
    rdisk_stat_fn *reported;
    void *opaque;
};

struct rdisk_calls {
    struct rdisk_call resize, stat;
    uint32_t sequence;
};

/* slots.c */
struct rdisk_slots {
    atomic_bool news;    /* a queue has something to be sent */
    bool more;           /* or may have, still */
    bool unacknowledged; /* a message of these: no other one is sent */
};

/* cache.c. A flush up to number lost_until fails. */
struct rdisk_flushes {
    _Atomic uint64_t submitted;
    _Atomic uint64_t newest;     /* number of the newest that succeeded */
    _Atomic uint64_t lost_until; /* 0: none fails; RDISK_FLUSH_LOSS_PENDING */
    _Atomic uint64_t lost_since; /* one from this number on reports it */
};

/* recovery.c */
struct rdisk_recovery {
    bool established;            /* was READY once: worth recovering */
    rdisk_counter reconnects;    /* READY again */
    unsigned int attempts;       /* to open it that have failed, before READY */
    uint64_t backoff;            /* ns until the next attempt, at most */
    uint64_t deadline;           /* reconnect-delay: until requests fail */
    uint64_t close_by;           /* open-timeout: until its CLOSE is answered;
                                 RDISK_NEVER: it does not close */
    struct rdisk_error reported; /* why the attempts failed that were logged */
};

/* The first pause between two attempts; doubled each time. */
#define RDISK_BACKOFF_MIN (100 * RDISK_MSEC)

/* timer.c */
struct rdisk_timers {
    int fd;                /* timerfd; -1: time is virtual */
    uint64_t set;          /* when it expires, or RDISK_NEVER */
    uint64_t tick;         /* READY: for heartbeat and requests */
    uint64_t drain_check;  /* DRAINING: for answers */
    uint64_t slots_check;  /* READY: for slots that are not used */
    uint64_t last_message; /* last message from the server */
};

/* How long the steps to READY took. */
struct rdisk_durations {
    uint64_t began; /* this step */
    struct rdisk_initiator_steps steps;
};

struct rdisk_initiator {
    const struct rdisk_env *env;
    struct rdisk_initiator_options options; /* strings are ours */
    const char *peer; /* the server that is tried, for messages */
    const struct rdisk_initiator_events *events;
    void *opaque;
    struct rdisk_use use; /* by the home thread */
    int poll_fd;          /* epoll: channels, alarm and timer */
    int alarm_fd;         /* eventfd: a queue has news for home */

    struct rdisk_state_machine machine;
    struct rdisk_servers servers;
    struct rdisk_server server;
    struct rdisk_connection connection;
    struct rdisk_handshake handshake;
    struct rdisk_queues queues;
    struct rdisk_recovery recovery;
    struct rdisk_timers timers;
    struct rdisk_ping ping;
    struct rdisk_calls calls;
    struct rdisk_slots slots;
    struct rdisk_flushes flushes;
    struct rdisk_registrations registrations;
    struct rdisk_durations durations;
    struct rdisk_volume_info info;
    uint64_t epoch; /* of this connection */
    /* resident.c: READs go by messages, since a device has refused one. */
    atomic_bool reads_off;
    atomic_uint reads_lost;         /* connections in a row on which none has
                                       succeeded, */
    _Atomic uint64_t reads_lost_in; /* and the epoch of the last of them */
};

/*
 * How many connection events and control messages one call of _process() takes
 * at most: the home thread has other things to do (QEMU's main loop), however
 * much a peer sends.
 */
#define RDISK_EVENTS_PER_TURN RDISK_CONTROL_DEPTH

/* Any thread: let the home thread run rdisk_initiator_process(). */
void rdisk_initiator_ring_alarm(struct rdisk_initiator *session);

/* Internal functions run within a public one, in one thread at a time. */
#define RDISK_ASSERT_HOME(session) \
    RDISK_CONTRACT(rdisk_used_here(&(session)->use))

/* Nanoseconds since the last call, for rdisk_initiator_steps. */
uint64_t rdisk_initiator_step(struct rdisk_initiator *session);

/* ---- Actions of the state machine --------------------------------------- */

/* addresses.c */

/* RESOLVING: find the server's addresses, for RESOLVED or LOST. If they cannot
 * be found, the next server's. */
void rdisk_initiator_resolve(struct rdisk_initiator *session);
bool rdisk_initiator_addresses_left(const struct rdisk_initiator *session);
/* The last address has failed, too: LOST, with all reasons. */
void rdisk_initiator_unreachable(struct rdisk_initiator *session);

/* handshake.c, auth.c, create.c */
void rdisk_initiator_send_hello(struct rdisk_initiator *session);
void rdisk_initiator_send_auth(struct rdisk_initiator *session);
void rdisk_initiator_send_proof(struct rdisk_initiator *session);
void rdisk_initiator_send_open(struct rdisk_initiator *session);
void rdisk_initiator_send_create(struct rdisk_initiator *session);
void rdisk_initiator_begin_close(struct rdisk_initiator *session);
void rdisk_initiator_send_close(struct rdisk_initiator *session);
bool rdisk_initiator_creates(const struct rdisk_initiator *session);
/* Serve it to its end, if @ret is 0, and destroy it; it may be NULL. Returns
 * @ret, or why it failed, with *@why in @err. */
int rdisk_initiator_run_to_end(struct rdisk_initiator *session, int ret,
                               struct rdisk_error *why,
                               struct rdisk_error *err);

/* list.c */

void rdisk_initiator_send_list(struct rdisk_initiator *session);
void rdisk_initiator_take_list(struct rdisk_initiator *session,
                               const struct rdisk_wire_message *message);

/* join.c */

/* OPEN was granted and info is filled: connect the data queues. */
void rdisk_initiator_join(struct rdisk_initiator *session);
/* READY: every queue has its slots. */
void rdisk_initiator_serve(struct rdisk_initiator *session);
void rdisk_initiator_wake_queues(struct rdisk_initiator *session);

/* recovery.c */

bool rdisk_initiator_may_reconnect(const struct rdisk_initiator *session);
/* True if requests wait for reconnect-delay to be over. */
bool rdisk_initiator_waits(const struct rdisk_initiator *session);
/* A connection that served requests is lost. */
void rdisk_initiator_recover(struct rdisk_initiator *session);
/* Its CLOSE was not answered: reconnect for that, and for nothing else. */
void rdisk_initiator_recover_close(struct rdisk_initiator *session);
/* Its owner has closed it. */
bool rdisk_initiator_closes(const struct rdisk_initiator *session);
/* An attempt to get another one has failed. */
void rdisk_initiator_retry(struct rdisk_initiator *session);
/* Of an attempt to open it or to reconnect: true if another one may succeed. */
bool rdisk_initiator_may_retry(const struct rdisk_initiator *session);
/* BACKOFF is over, and so is open-timeout of a session that opens or closes. */
bool rdisk_initiator_out_of_time(const struct rdisk_initiator *session);
/* FAILED: add to the error how many attempts there were, if more than one. */
void rdisk_initiator_name_attempts(struct rdisk_initiator *session,
                                   enum rdisk_initiator_state from);
/* The queues still hold the connection, long after it broke. */
void rdisk_initiator_quiesce_late(struct rdisk_initiator *session);
void rdisk_initiator_back_off(struct rdisk_initiator *session);
/* BACKOFF is over: the next attempt. */
void rdisk_initiator_attempt(struct rdisk_initiator *session);
/* reconnect-delay is over: requests do not wait any longer. */
void rdisk_initiator_expire(struct rdisk_initiator *session);
/* The same by request. */
void rdisk_initiator_stop_waiting(struct rdisk_initiator *session);
/* FAILED. */
void rdisk_initiator_end(struct rdisk_initiator *session);

/* ---- Leaves ------------------------------------------------------------- */

/* addresses.c */

/* Take the resolver's answer, if it is there. */
void rdisk_initiator_take_addresses(struct rdisk_initiator *session);
/* It takes too long: the known addresses have to do, or LOST. */
void rdisk_initiator_name_late(struct rdisk_initiator *session);
/* Keep why the address that is tried has failed. */
void rdisk_initiator_note_address(struct rdisk_initiator *session,
                                  const struct rdisk_error *err);
/* What to add to an error of the whole attempt: ": …; …", or "". */
const char *rdisk_initiator_failures(struct rdisk_initiator *session,
                                     char *list, size_t size);
/* The answer is not needed any more. */
void rdisk_initiator_drop_query(struct rdisk_initiator *session);

/* handshake.c */

/* Send a message, or raise LOST. */
void rdisk_initiator_send(struct rdisk_initiator *session,
                          struct rdisk_wire_message *message, size_t size);
/* Take the control messages that have arrived, one turn's. False: more may be
 * there, without a further event. */
bool rdisk_initiator_take_messages(struct rdisk_initiator *session);
/* Raise FATAL: the server cannot be trusted any more. */
void rdisk_initiator_bad_message(struct rdisk_initiator *session,
                                 const char *text);

/* auth.c: messages. */

/* HELLO_REPLY demands this method: AUTH_DEMANDED, IDENTIFIED, or LOST. */
void rdisk_initiator_authenticate(struct rdisk_initiator *session,
                                  unsigned int method);
void rdisk_initiator_take_challenge(struct rdisk_initiator *session,
                                    const struct rdisk_wire_message *message);
void rdisk_initiator_take_proof(struct rdisk_initiator *session,
                                const struct rdisk_wire_message *message);

/* join.c: a data link is established; the private data has been checked. */
void rdisk_initiator_queue_up(struct rdisk_initiator *session,
                              struct rdisk_queue *queue,
                              const struct rdisk_wire_accept *accept);

/* ping.c */

/* Unless one is in flight. */
void rdisk_initiator_send_ping(struct rdisk_initiator *session);
void rdisk_initiator_take_ping(struct rdisk_initiator *session,
                               const struct rdisk_wire_message *message);
void rdisk_initiator_take_pong(struct rdisk_initiator *session,
                               const struct rdisk_wire_message *message);

/* call.c */

/* The smallest size that the volume may have after a reconnect. */
uint64_t rdisk_initiator_least_size(const struct rdisk_initiator *session);
/* It came back with @size. */
void rdisk_initiator_size_back(struct rdisk_initiator *session, uint64_t size);
/* VOLUME_CHANGED. */
void rdisk_initiator_take_size(struct rdisk_initiator *session,
                               const struct rdisk_wire_message *message);
/* RESIZE_REPLY and STAT_REPLY. */
void rdisk_initiator_take_answer(struct rdisk_initiator *session,
                                 const struct rdisk_wire_message *message);
/* READY: send what was not sent on this connection. */
void rdisk_initiator_send_calls(struct rdisk_initiator *session);
/* This connection will not answer any more. */
void rdisk_initiator_unsend_calls(struct rdisk_initiator *session);
/* There will be no answer at all. */
void rdisk_initiator_fail_calls(struct rdisk_initiator *session, int code);
bool rdisk_initiator_calls_late(struct rdisk_initiator *session, uint64_t now);

/* slots.c */

/* Ask for slots, and return them. */
void rdisk_initiator_send_slots(struct rdisk_initiator *session);
/* READY: nothing of that is in flight. */
void rdisk_initiator_reset_slots(struct rdisk_initiator *session);
/* SLOTS_GRANT, SLOTS_RECALL and SLOTS_ACK. */
void rdisk_initiator_take_grant(struct rdisk_initiator *session,
                                const struct rdisk_wire_message *message);
void rdisk_initiator_take_recall(struct rdisk_initiator *session,
                                 const struct rdisk_wire_message *message);
void rdisk_initiator_take_slots_ack(struct rdisk_initiator *session,
                                    const struct rdisk_wire_message *message);
/* It is time: return what is not used. */
void rdisk_initiator_check_slots(struct rdisk_initiator *session);

/* registrations.c */

/* Take the device, and register on it all that the owner has registered. 0 or
 * a negative errno. */
int rdisk_initiator_take_device(struct rdisk_initiator *session,
                                struct ibv_context *context,
                                struct rdisk_error *err);
/* Undo that, and release the device. */
void rdisk_initiator_leave_device(struct rdisk_initiator *session);
/* A connection keeps the device, or it need not be kept. */
void rdisk_initiator_release_watch(struct rdisk_initiator *session);

/* timer.c */

/* The state has changed: run only the timers that this one needs. */
void rdisk_timers_state(struct rdisk_initiator *session,
                        enum rdisk_initiator_state state);
/* Raise what is due. */
void rdisk_timers_take(struct rdisk_initiator *session);
/* Let the session's descriptor follow its deadline, which may have changed. */
void rdisk_timers_set(struct rdisk_initiator *session);

#endif
