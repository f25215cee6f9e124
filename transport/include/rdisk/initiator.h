/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The client's side: a session with one volume of a server, and its queues.
 *
 * A session is driven by events. It has one descriptor and one deadline for
 * everything that is not a request (connecting, control messages, timeouts),
 * served by its *home* thread with rdisk_initiator_process(). Each data queue
 * has a descriptor of its own, served by one thread at a time with
 * rdisk_queue_process(). No call in here blocks, except rdisk_initiator_wait()
 * and rdisk_create_volume(). Host names are resolved in a thread of the
 * library's.
 *
 * Threads: functions that take a session belong to the home thread, functions
 * that take a queue to the thread that serves that queue (or under the
 * caller's lock). The two may be different threads. rdisk_initiator_info(),
 * _state() and the counters may be read from any.
 */
#ifndef RDISK_INITIATOR_H
#define RDISK_INITIATOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include <rdisk/env.h>
#include <rdisk/error.h>
#include <rdisk/protocol.h>
#include <rdisk/secret.h>

#ifdef __cplusplus
extern "C" {
#endif

struct rdisk_initiator;
struct rdisk_queue;

/* ---- Options ---------------------------------------------------------- */

/* What the server may write to, of the memory that is registered. */
enum rdisk_guest_memory {
    RDISK_GUEST_MEMORY_DIRECT, /* all of it, while the session lasts */
    RDISK_GUEST_MEMORY_WINDOW, /* a read's own, until its answer */
    RDISK_GUEST_MEMORY_BOUNCE, /* none: what is read is copied */
};

/*
 * The identity of a client. A session with the identity of an earlier one, of
 * this process or another, fences that one's connection, and has the lease that
 * is kept for it.
 */
struct rdisk_client {
    uint8_t id[16];      /* random, once for a client */
    uint64_t epoch;      /* of the first connection, 1…; higher than all
                                   of the client's earlier ones, which count
                                   up by one at each reconnect */
    uint64_t generation; /* rdisk_volume_info's of the earlier session:
                                   the server refuses (-ESTALE) if another
                                   client has written the volume since; 0: no
                                   check */
};

struct rdisk_initiator_options {
    const char *host;    /* name or address; copied */
    uint16_t port;       /* 0: RDISK_DEFAULT_PORT */
    const char *servers; /* further ones that have the volume, as in a URI:
                                   "b,c:7472"; tried in turn; copied; NULL or
                                   "": none */
    const char *volume;  /* copied */
    const char *user;    /* the client's name there, copied; NULL: the
                                   server demands no authentication */
    const struct rdisk_secret *secret; /* with user: proves that it is this
                                   client, and the server that server; copied,
                                   and wiped at the end */
    bool read_only;                    /* refuse to write */
    bool shared;                       /* let others write too */
    unsigned int queues;               /* 1…RDISK_QUEUES_MAX */
    unsigned int slots;                /* per queue: 1…RDISK_SLOTS_MAX */
    uint32_t slot_size; /* bytes, page multiple: largest request */
    enum rdisk_guest_memory guest_memory;
    bool write_acks;              /* a write completes only when its sends are
                                   acknowledged, too; with WINDOW and BOUNCE
                                   always */
    uint32_t bounce_size;         /* bytes per queue for unregistered buffers */
    unsigned int open_timeout_ms; /* 1…3600000, all attempts and steps together
                                   until READY, then each attempt's */
    unsigned int request_timeout_ms; /* 0: no limit; else …3600000; detected
                                   up to half of it later */
    unsigned int reconnect_delay_ms; /* how long requests wait for a lost
                                   connection to be restored; 0: fail at once;
                                   else …3600000 */
    unsigned int heartbeat_ms;       /* without a message for so long, the
                                   connection counts as lost:
                                   RDISK_HEARTBEAT_MIN_MS…MAX_MS; 0: never */
    const struct rdisk_client
        *client;                /* this identity; copied; NULL: a new one */
    uint64_t withheld_features; /* RDISK_FEATURE_… that are not offered, as by
                                   an older client: for tests */
};

#define RDISK_DEFAULT_QUEUES             1
#define RDISK_DEFAULT_SLOTS              64
#define RDISK_DEFAULT_SLOT_SIZE          (256u << 10)
#define RDISK_DEFAULT_BOUNCE_SIZE        (4u << 20)
#define RDISK_DEFAULT_OPEN_TIMEOUT_MS    10000
#define RDISK_DEFAULT_REQUEST_TIMEOUT_MS 60000
#define RDISK_DEFAULT_RECONNECT_DELAY_MS 0
#define RDISK_DEFAULT_HEARTBEAT_MS       10000

void rdisk_initiator_options_init(struct rdisk_initiator_options *options);

/*
 * Set one option by its name, as in a URI's query or QEMU's -blockdev:
 * read-only, shared, write-acks (on|off), queues, slots, slot-size, bounce-size
 * (bytes, with k or M), guest-memory (direct|window|bounce), open-timeout,
 * request-timeout, reconnect-delay, heartbeat (seconds, with decimals).
 * Returns 0 or -EINVAL with the allowed range in the sentence.
 */
int rdisk_initiator_option_set(struct rdisk_initiator_options *options,
                               const char *name, const char *value,
                               struct rdisk_error *err);

/* ---- Session ---------------------------------------------------------- */

/*
 * A connection that breaks after READY is made again, with the next epoch,
 * without end: after an unexpected loss all requests wait for up to
 * reconnect_delay_ms and are sent again once the server has fenced the older
 * epoch; after that time they fail, and new ones fail at once, until the
 * server is back.
 */

/* The order of the numbers has no meaning. */
enum rdisk_initiator_state {
    RDISK_INITIATOR_IDLE,       /* created; nothing sent */
    RDISK_INITIATOR_CONNECTING, /* device, route, control connection: at one
                                   of the server's addresses after the other */
    RDISK_INITIATOR_HELLO_SENT,
    RDISK_INITIATOR_AUTH_SENT,  /* for AUTH_CHALLENGE */
    RDISK_INITIATOR_PROOF_SENT, /* for AUTH_REPLY, the server's proof */
    RDISK_INITIATOR_OPENING,    /* OPEN sent */
    RDISK_INITIATOR_CREATING,   /* instead: CREATE, DELETE or LIST sent */
    RDISK_INITIATOR_JOINING,    /* data queues connect */
    RDISK_INITIATOR_READY,      /* requests flow */
    RDISK_INITIATOR_DRAINING,   /* the server shuts down: what is in flight is
                                   still answered, nothing new is sent */
    RDISK_INITIATOR_QUIESCING,  /* connection lost: queues release it */
    RDISK_INITIATOR_BACKOFF,    /* until the next attempt to connect */
    RDISK_INITIATOR_CLOSING,    /* CLOSE sent, waiting for its reply */
    RDISK_INITIATOR_CLOSED,     /* ended cleanly */
    RDISK_INITIATOR_FAILED,     /* ended by an error; see _error() */
    RDISK_INITIATOR_RESOLVING,  /* started: the server's addresses are found */
};

/* As it is called above: "READY". */
const char *rdisk_initiator_state_name(enum rdisk_initiator_state state);

/* True if the session has ended, permanently. */
static inline bool rdisk_initiator_state_ended(enum rdisk_initiator_state state)
{
    return state == RDISK_INITIATOR_CLOSED || state == RDISK_INITIATOR_FAILED;
}

struct rdisk_initiator_events {
    /*
     * The state changed, in the home thread, from within _start(), _process()
     * or another call on the session. May call the session's functions, but
     * _process(), _wait() and _destroy(); what they change comes after this
     * call has returned. May be NULL.
     */
    void (*state)(void *opaque, enum rdisk_initiator_state state);
    /*
     * For traces: each transition of the state machine, among them those that
     * lead to the same state. @event is its name, "CONTROL_ENDED". As state,
     * and before it. May be NULL.
     */
    void (*transition)(void *opaque, enum rdisk_initiator_state from,
                       const char *event, enum rdisk_initiator_state to);
    /*
     * Another client has made the volume larger, or it came back larger after
     * a lost connection; rdisk_initiator_size() is @size already. It never gets
     * smaller this way. Home thread, from within _process(); may not destroy
     * the session. Not called for the session's own resize. May be NULL.
     */
    void (*volume_changed)(void *opaque, uint64_t size);
};

/*
 * Allocates only. Returns NULL with -EINVAL (an option out of range) or
 * -ENOMEM in @err.
 */
struct rdisk_initiator *rdisk_initiator_create(
    const struct rdisk_env *env, const struct rdisk_initiator_options *options,
    const struct rdisk_initiator_events *events, void *opaque,
    struct rdisk_error *err);

/*
 * Begin to connect; IDLE only. Does not block: another thread resolves the host
 * name, at each attempt to connect, and all addresses that it has are tried in
 * the resolver's order, each with an equal share of open-timeout. Returns 0, or
 * a negative errno for what is found at once, e.g. -ENODEV if this machine has
 * no RDMA device.
 */
int rdisk_initiator_start(struct rdisk_initiator *session,
                          struct rdisk_error *err);

/*
 * Serve the session with poll(2) until it is READY, CLOSED or FAILED; bounded
 * by the session's own timeouts. Returns 0 for READY or CLOSED, else the
 * session's error.
 */
int rdisk_initiator_wait(struct rdisk_initiator *session,
                         struct rdisk_error *err);

/*
 * Readable when _process() has something to do, by an event or, unless time is
 * a virtual one (env->clock), because its deadline has passed. Constant for the
 * session.
 */
int rdisk_initiator_fd(const struct rdisk_initiator *session);
/*
 * When _process() must be called at the latest, for those who do not wait for
 * the descriptor: rdisk_now() time or RDISK_NEVER. Changes within _start(),
 * _process(), _close() and _give_up() only.
 */
uint64_t rdisk_initiator_deadline(const struct rdisk_initiator *session);
/* Do what is due. Harmless when nothing is. */
void rdisk_initiator_process(struct rdisk_initiator *session);

enum rdisk_initiator_state rdisk_initiator_state(
    const struct rdisk_initiator *session);
/*
 * Why it FAILED, or while a lost connection is being restored, why that has not
 * succeeded yet. Home thread.
 */
const struct rdisk_error *rdisk_initiator_error(
    const struct rdisk_initiator *session);

/*
 * Do not wait any longer for a lost connection: requests that wait fail now, as
 * at the end of reconnect-delay. Home thread.
 */
void rdisk_initiator_cancel(struct rdisk_initiator *session);
/*
 * The same if the connection is still there, but the server hangs: it counts as
 * lost from now on. Home thread.
 */
void rdisk_initiator_give_up(struct rdisk_initiator *session);

/*
 * End cleanly: CLOSE, its reply, then disconnect. The caller has no
 * request outstanding. _wait() waits for the end.
 */
void rdisk_initiator_close(struct rdisk_initiator *session);

/*
 * Release everything, in any state and with no request outstanding: submit
 * nothing and let every queue finish first (rdisk_queue_idle()). No thread may
 * serve a queue any more.
 */
void rdisk_initiator_destroy(struct rdisk_initiator *session);

/* What the server reported; valid from READY on. */
struct rdisk_volume_info {
    uint64_t size;             /* bytes; changes: home thread only, others
                                   use rdisk_initiator_size() */
    uint32_t block_size;       /* bytes: alignment of offset and length */
    uint32_t optimal_size;     /* bytes; 0: not known */
    uint32_t max_transfer;     /* bytes: largest request */
    unsigned int max_segments; /* iovecs of a request that need no copy */
    bool read_only;
    bool rotational;
    bool fua;            /* RDISK_REQUEST_FUA is understood */
    bool discard;        /* RDISK_OP_DISCARD is */
    bool zeroes;         /* RDISK_OP_ZEROES is */
    bool extents;        /* RDISK_OP_EXTENTS is, and _stat() */
    bool copy;           /* RDISK_OP_COPY is */
    bool resize;         /* this client may _resize() it */
    unsigned int queues; /* granted */
    unsigned int slots;  /* granted per queue */
    uint64_t epoch;
    uint64_t generation;             /* of the lease to write; 0: none */
    uint8_t instance[16];            /* of the server process */
    uint8_t identity[RDISK_ID_SIZE]; /* which volume it is */
    uint8_t cache[RDISK_ID_SIZE];    /* which volatile cache is behind it */
};

const struct rdisk_volume_info *rdisk_initiator_info(
    const struct rdisk_initiator *session);

/* The volume's size now, in bytes. Any thread, from READY on. */
uint64_t rdisk_initiator_size(const struct rdisk_initiator *session);

/*
 * Change the volume's size, to a multiple of its block size. To make it
 * smaller takes RDISK_RESIZE_SHRINK in @flags, and then no request that
 * reaches beyond the new size may be in flight. READY only; home thread.
 *
 * Returns 0, and @done is called once, from _process() or _destroy(): with 0,
 * when rdisk_initiator_size() has the new size and it is durable, or with a
 * negative errno and a sentence (server's or our own) in @err: -EACCES (its
 * policy), -EROFS, -EBUSY (others hold it, or requests are in flight),
 * -ENOSPC, -ENOTSUP. A lost connection is waited for as requests do, for
 * reconnect-delay, and request-timeout holds. Otherwise returns, without
 * calling @done, -ENOTCONN (not READY), -ENOTSUP (info->resize is false),
 * -EBUSY (one is in flight), or -EINVAL (size or flags).
 */
typedef void rdisk_resize_fn(void *opaque, int result,
                             const struct rdisk_error *err);
int rdisk_initiator_resize(struct rdisk_initiator *session, uint64_t size,
                           unsigned int flags, rdisk_resize_fn *done,
                           void *opaque);

/*
 * Ask how much space the volume takes up on the server; @allocated in bytes,
 * valid if @result is 0. A lost connection is not waited for: -ENOTCONN. As
 * _resize() in everything else; -ENOTSUP if info->extents is false.
 */
typedef void rdisk_stat_fn(void *opaque, int result, uint64_t allocated,
                           const struct rdisk_error *err);
int rdisk_initiator_stat(struct rdisk_initiator *session, rdisk_stat_fn *done,
                         void *opaque);

/*
 * Make the volume of the options on its server instead of opening it: @size
 * bytes, multiple of 512, that read as zeroes. Without RDISK_CREATE_EXCLUSIVE
 * in @flags a volume of that name that no client has open is replaced; with it
 * that ends in -EEXIST. IDLE only, before _start(), whose events follow as
 * always, up to CLOSED (it is made, and durable) or FAILED: -EACCES (this
 * client may not), -EEXIST, -EBUSY, -ENOSPC, -ENOTSUP (the server has no
 * CREATE, or no pool). Never READY, and not repeated automatically. Returns 0,
 * -EALREADY or -EINVAL.
 */
int rdisk_initiator_make(struct rdisk_initiator *session, uint64_t size,
                         unsigned int flags);
/*
 * The same in one call that blocks, for at most open-timeout: a session of its
 * own, from create to destroy.
 */
int rdisk_create_volume(const struct rdisk_env *env,
                        const struct rdisk_initiator_options *options,
                        uint64_t size, unsigned int flags,
                        struct rdisk_error *err);

/*
 * Delete the volume of the options with its data, instead of opening it; as
 * _make(): CLOSED when it is gone, durably, or FAILED: -ENOENT, -EACCES (this
 * client may not), -EBUSY (a client has it open, or it is kept for one),
 * -ENOTSUP (the server has no DELETE). Returns 0 or -EALREADY.
 */
int rdisk_initiator_remove(struct rdisk_initiator *session);
/* The same in one call that blocks, as rdisk_create_volume(). */
int rdisk_delete_volume(const struct rdisk_env *env,
                        const struct rdisk_initiator_options *options,
                        struct rdisk_error *err);

/*
 * List the volumes of the options' server that this client may open, instead of
 * opening one; the options' volume is not used. As _make(): CLOSED when @each
 * has been called for all of them, from _process(), in ascending order of the
 * bytes of their names; or FAILED: -EACCES, -ENOTSUP (the server has no LIST),
 * -EBUSY (its storage does not answer). A volume that is created or deleted
 * meanwhile may be listed or not. @entry is valid during the call, which must
 * not destroy the session. Returns 0 or -EALREADY.
 */
typedef void rdisk_list_fn(void *opaque, const struct rdisk_list_entry *entry);
int rdisk_initiator_list(struct rdisk_initiator *session, rdisk_list_fn *each,
                         void *opaque);
/* The same in one call that blocks, as rdisk_create_volume(). */
int rdisk_list_volumes(const struct rdisk_env *env,
                       const struct rdisk_initiator_options *options,
                       rdisk_list_fn *each, void *opaque,
                       struct rdisk_error *err);

/*
 * Instead of opening the volume of the options, have the server
 * TAKE: make that snapshot, VOLUME@SNAPSHOT, of its volume;
 * REVERT: give the volume the data of that snapshot;
 * CLONE: make volume @target of that volume or snapshot;
 * FLATTEN: copy what that clone shares with another volume; it goes on when
 * this session has ended.
 * @target is NULL otherwise. As _make(): CLOSED when that is done, durably, or
 * FAILED: -ENOENT, -EEXIST, -EACCES (this client may not), -EBUSY (to revert: a
 * client has the volume open, or it is kept for one), -ENOTSUP (the server has
 * no SNAPSHOT, or its storage no snapshots). Returns 0, -EALREADY or -EINVAL.
 */
int rdisk_initiator_snapshot(struct rdisk_initiator *session,
                             enum rdisk_snapshot_action action,
                             const char *target);
/* The same in one call that blocks, as rdisk_create_volume(). *@pause, if it is
 * not NULL: microseconds that requests of the volume were held at most. */
int rdisk_snapshot_volume(const struct rdisk_env *env,
                          const struct rdisk_initiator_options *options,
                          enum rdisk_snapshot_action action, const char *target,
                          uint64_t *pause, struct rdisk_error *err);
/*
 * FLATTEN in one call that blocks: begin it, or ask how far it is. *@done bytes
 * of *@size are there; both 0: the volume shares nothing with another one, or
 * not any more. The server gives it up if it is not asked for 10 seconds.
 * 0, or a negative errno as above.
 */
int rdisk_flatten_volume(const struct rdisk_env *env,
                         const struct rdisk_initiator_options *options,
                         uint64_t *done, uint64_t *size,
                         struct rdisk_error *err);

/* How long each step to READY took, in nanoseconds; for rdisk ping. */
struct rdisk_initiator_steps {
    uint64_t name;    /* host name to address */
    uint64_t address; /* address to device */
    uint64_t route;
    uint64_t connect; /* control connection */
    uint64_t hello;
    uint64_t auth; /* both proofs; 0: none were demanded */
    uint64_t open;
    uint64_t join;      /* all data queues */
    const char *device; /* name, e.g. "rxe0"; "" before known */
};
void rdisk_initiator_steps(const struct rdisk_initiator *session,
                           struct rdisk_initiator_steps *steps);

/* How often a lost connection was restored. Any thread. */
uint64_t rdisk_initiator_reconnects(const struct rdisk_initiator *session);

/*
 * Send a PING on the control queue, READY only. @pong is called from
 * _process() with the round trip in nanoseconds. One at a time: -EBUSY.
 */
int rdisk_initiator_ping(struct rdisk_initiator *session,
                         void (*pong)(void *opaque, uint64_t round_trip),
                         void *opaque);

/* ---- Memory ----------------------------------------------------------- */

/*
 * Register @length bytes at @address so that this session's requests on them
 * move without a copy. Sessions of the process on the same device share
 * registrations, which are counted, but each uses only its own. READY only;
 * home thread. Returns 0 or a negative errno; -ENOMEM's sentence has
 * RLIMIT_MEMLOCK, the bytes needed, and the remedy. A failure is not fatal:
 * requests on that memory are bounced.
 */
int rdisk_initiator_register(struct rdisk_initiator *session, void *address,
                             size_t length, struct rdisk_error *err);
/* Undo one registration of exactly this range; no request uses it any more. */
void rdisk_initiator_unregister(struct rdisk_initiator *session, void *address,
                                size_t length);

/* ---- Queues and requests ---------------------------------------------- */

/* @index 0…queues-1, valid from READY until destroy. */
struct rdisk_queue *rdisk_initiator_queue(struct rdisk_initiator *session,
                                          unsigned int index);

/* What a run of bytes of the volume is. */
struct rdisk_extent {
    uint64_t length; /* bytes, multiple of block_size, not 0 */
    uint32_t flags;  /* RDISK_EXTENT_…; 0: data */
};

/*
 * A request, in memory of the caller's that stays until @complete is called.
 * The caller fills the first group. @iov is read until completion too.
 */
struct rdisk_request {
    enum rdisk_op op;
    unsigned int flags;      /* RDISK_REQUEST_… */
    uint64_t offset;         /* bytes, block_size multiple */
    uint64_t length;         /* bytes, block_size multiple: sum of iov, up
                                   to max_transfer; or a DISCARD's or ZEROES'
                                   range, up to RDISK_RANGE_MAX; or a COPY's,
                                   up to RDISK_COPY_MAX; or an EXTENTS', up to
                                   the end of the volume */
    const struct iovec *iov; /* READ and WRITE */
    unsigned int iovcnt;
    uint64_t source; /* COPY: bytes, block_size multiple: where
                                   @length bytes are copied from to @offset;
                                   the ranges may not overlap */
    /*
     * EXTENTS: after success they say, from @offset on and without a gap,
     * what the volume has there: at least one entry, neighbours differ in
     * their flags, and together no more than @length, though maybe less (older
     * servers report RDISK_RANGE_MAX bytes at most): then ask for the rest. It
     * was so at some time between submit and completion.
     */
    struct rdisk_extent *extents;
    unsigned int extent_count; /* room, 1…RDISK_EXTENTS_MAX; after success
                                   the entries filled */
    /*
     * Called exactly once, from rdisk_queue_process(), with 0 or a negative
     * errno, when no device can touch the buffers any more. May submit. -EIO
     * of a FLUSH also means that the server may have lost what it was to make
     * stable.
     */
    void (*complete)(struct rdisk_request *request, int result);

    /* Private to the queue. */
    struct rdisk_request *next;
    uint64_t flush; /* number of a FLUSH in its session */
    uint32_t sequence;
    uint16_t slot;
    uint16_t chunk_count; /* bounce chunks held */
    uint16_t chunk_first;
    uint16_t window_count; /* memory windows bound */
    uint16_t window_first;
    bool bounced;
    bool unanswered;  /* it has its sequence, and no answer yet */
    int result;       /* of the answer */
    uint8_t awaits;   /* besides the answer: windows, sends */
    uint64_t revoked; /* the send whose completion that is */
};

/*
 * Take a request: it goes out with the next rdisk_queue_kick(), or when a
 * slot comes free. Returns 0, or a negative errno without calling @complete:
 * -ENOTCONN (no connection, and none to wait for), -ENOTSUP (the volume has
 * no DISCARD, ZEROES, EXTENTS or COPY), -EINVAL (length, alignment, range,
 * extent_count, or a COPY onto itself).
 */
int rdisk_queue_submit(struct rdisk_queue *queue,
                       struct rdisk_request *request);
/* Ring the doorbell for everything submitted since the last one. */
void rdisk_queue_kick(struct rdisk_queue *queue);

/* Readable when a completion waits and the queue is armed. Constant. */
int rdisk_queue_fd(const struct rdisk_queue *queue);
/*
 * Take all completions, run their callbacks, send what waited, re-arm the
 * descriptor. Returns the number of requests completed.
 */
unsigned int rdisk_queue_process(struct rdisk_queue *queue);
/* True if a completion is waiting. Runs no callbacks; _process() does. */
bool rdisk_queue_pending(struct rdisk_queue *queue);
/*
 * For a thread that polls instead of sleeping: as _process(), but it leaves the
 * descriptor alone, which then reports one more completion at most.
 * _drain_events() makes it unreadable after that one; _arm() lets it report the
 * next one, after which _pending() must be checked once before any sleep.
 */
unsigned int rdisk_queue_poll(struct rdisk_queue *queue);
void rdisk_queue_drain_events(struct rdisk_queue *queue);
void rdisk_queue_arm(struct rdisk_queue *queue);
/*
 * The thread that served the queue will not do so any more, and nothing is
 * outstanding. The next that submits serves it. Until then the home thread
 * can recover a lost connection without another thread.
 */
void rdisk_queue_detach(struct rdisk_queue *queue);
/* No request is outstanding or waiting. */
bool rdisk_queue_idle(const struct rdisk_queue *queue);

/* Written by the queue's thread, readable by any; they only grow. */
struct rdisk_queue_counters {
    struct rdisk_op_totals ops; /* requests completed */
    uint64_t copied_bytes;      /* moved by the CPU through bounce memory */
    uint64_t bounced;           /* requests that were */
    uint64_t waited;            /* requests that waited for a slot or bounce
                                   memory */
    uint64_t work_requests;     /* sends posted, without receives */
    uint64_t doorbells;         /* post_send calls */
    uint64_t receives;          /* receive completions: one per answer */
    uint64_t wakeups;           /* completion events taken from the fd */
    uint64_t windows;           /* memory windows bound */
    uint64_t one_sided;         /* READs of a resident volume, without the
                                   server's program */
    uint64_t slots;             /* that it has now beyond its base */
    uint64_t slot_waits;        /* how often it asked for more, */
    uint64_t slot_grants;       /* how often it got some, */
    uint64_t slot_returns;      /* and how often it returned some */
};
/* Add what @queue has counted to @counters. */
void rdisk_queue_counters(const struct rdisk_queue *queue,
                          struct rdisk_queue_counters *counters);

#ifdef __cplusplus
}
#endif

#endif
