/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The server's side: a listener, its sessions, and their queues.
 *
 * The target has sessions, queues and slots; volumes and disks are its owner's,
 * through struct rdisk_target_events.
 *
 * Threads: everything that takes a target or a session belongs to one
 * *control* thread. A data queue belongs to one *reactor* thread, from
 * rdisk_target_queue_start() to its idle event; functions that take a queue or
 * a request are called there. The owner carries the hand-over between the
 * threads (a queue is given to a reactor by events->queue_new and comes back
 * after events->queue_idle), so the transport needs no lock and no thread, and
 * a simulator can run everything in one.
 */
#ifndef RDISK_TARGET_H
#define RDISK_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rdisk/env.h>
#include <rdisk/error.h>
#include <rdisk/histogram.h>
#include <rdisk/protocol.h>
#include <rdisk/secret.h>

#ifdef __cplusplus
extern "C" {
#endif

struct rdisk_target;
struct rdisk_target_session;
struct rdisk_target_queue;
struct rdisk_target_group; /* the queues of one reactor */
struct rdisk_target_cq;    /* a completion queue that they share */

struct rdisk_target_options {
    const char *address;       /* to listen on; NULL or "": any */
    uint16_t port;             /* 0: RDISK_DEFAULT_PORT */
    unsigned int max_sessions; /* connections of control kind */
    unsigned int max_queues;   /* per session: 1…RDISK_QUEUES_MAX */
    unsigned int max_slots;    /* per queue: 1…RDISK_SLOTS_MAX */
    uint32_t max_slot_size;    /* bytes, page multiple */
    uint64_t max_memory;       /* bytes of slots of all sessions together */
    uint32_t base_memory;      /* bytes of slots that an idle session has, if
                                   slots come and go; at least one small
                                   slot for each queue */
    unsigned int handshake_timeout_ms; /* from connect to OPEN */
    unsigned int max_silence_ms;       /* of a client whose device answers */
    /* For an answer that comes LATER: to OPEN, CREATE or LIST, where it is best
     * less than the time that clients wait; to RESIZE or STAT. */
    unsigned int open_timeout_ms, call_timeout_ms;
    bool authenticate;          /* events->secret decides who may connect;
                                   otherwise all may */
    uint64_t withheld_features; /* RDISK_FEATURE_… that the server does not
                                   choose, as an older one: for tests */
};

void rdisk_target_options_init(struct rdisk_target_options *options);

/* A client's OPEN; checked for form, not for permission. */
struct rdisk_open_request {
    char volume[RDISK_VOLUME_NAME_MAX + 1];
    char peer[64];                      /* address of the client, for logs */
    char user[RDISK_USER_NAME_MAX + 1]; /* who has proved to be; "" if that
                                   was not demanded */
    bool read_only;
    bool shared;
    bool servers; /* it may reconnect to another server: refuse that with
                                   -ENOTSUP unless the volume is fenced there */
    uint8_t client[16];
    uint64_t epoch;
    uint64_t generation; /* 0: comes for the first time; else it comes
                                   back, and was granted this one */
};

/* A client's CREATE, DELETE or SNAPSHOT; checked for form, not for permission.
 */
struct rdisk_create_request {
    char volume[RDISK_VOLUME_NAME_MAX + 1];
    const char *peer; /* address of the client, for logs */
    const char *user; /* who has proved to be; "" if that was not
                                   demanded */
    bool deletes;     /* it is to go; the rest is 0 then */
    uint64_t size;    /* bytes, multiple of 512 */
    bool exclusive;   /* only if there is none of that name */
    /* Of SNAPSHOT, with which only @volume and @target are set. */
    enum rdisk_snapshot_action action;
    char target[RDISK_VOLUME_NAME_MAX + 1]; /* of a clone; or "" */
};

/* A client wants to know which volumes it may open; checked for form. */
struct rdisk_list_request {
    const char *peer;  /* address of the client, for logs */
    const char *user;  /* who has proved to be; "" if that was not demanded */
    const char *after; /* only those whose names come after this one; "": all */
};

/* The first of them, in ascending order of the bytes of their names. */
struct rdisk_list_page {
    struct rdisk_list_entry entries[RDISK_LIST_MAX];
    unsigned int count; /* not 0 if there are more */
    bool more;
};

/* What the owner grants. */
struct rdisk_open_grant {
    uint64_t size;         /* bytes, multiple of block_size */
    uint32_t block_size;   /* power of two, 512…4096 */
    uint32_t optimal_size; /* bytes or 0 */
    bool read_only;
    bool rotational;
    bool discard;                    /* RDISK_OP_DISCARD is carried out */
    bool zeroes;                     /* RDISK_OP_ZEROES is carried out */
    uint64_t generation;             /* of the lease to write; readers: 0 */
    uint8_t identity[RDISK_ID_SIZE]; /* which volume it is */
    uint8_t cache[RDISK_ID_SIZE];    /* which volatile cache is behind it */
    bool extents;                    /* RDISK_OP_EXTENTS is carried out */
    bool copy;                       /* RDISK_OP_COPY is carried out */
    bool resize;                     /* events->resize may return OK */
    bool one_sided;                  /* the client may read what
                                   rdisk_target_session_register() has
                                   registered by itself */
};

/*
 * Slots that were granted to a queue together: one page-aligned range of
 * memory, which the owner may register as a fixed buffer. The transport's,
 * which allocates and frees it; constant meanwhile, but for @owner.
 */
struct rdisk_target_grant {
    void *memory;
    size_t length;  /* bytes */
    void *owner[8]; /* its own, all zero at first */
};

/*
 * A request, owned by the transport. The owner keeps it from events->request
 * until rdisk_target_complete(). @data is the slot's payload area, page-
 * aligned, inside the memory of @grant: a WRITE's payload is in it, a
 * READ's belongs into it. The payload stays remote-writable by its own client,
 * so never decide on its contents twice.
 */
struct rdisk_target_request {
    struct rdisk_target_queue *queue;
    struct rdisk_target_grant *grant; /* with its slot */
    enum rdisk_op op;
    unsigned int flags; /* RDISK_REQUEST_… */
    uint64_t offset;    /* bytes; inside the volume, aligned */
    uint64_t source;    /* COPY: the same, and no overlap */
    uint64_t length;    /* bytes; 0 for FLUSH only; up to
                                   rdisk_op_range_max() for operations
                                   without payload, but EXTENTS: to the end
                                   of the volume */
    unsigned int room;  /* EXTENTS: @data is so many struct
                                   rdisk_wire_extent, all zero, to be filled
                                   from the first on; at least one */
    uint16_t slot;
    void *data;
    uint64_t received; /* rdisk_stopwatch() when it was taken */
    void *user[4];     /* the owner's, e.g. for its backend */
};

/*
 * From events->open, ->create, ->list, ->resize and ->stat: not yet; the reason
 * may be left in @err. Never crosses the wire. The owner answers later, or
 * never if the session ends first. After options.open_timeout_ms, or
 * call_timeout_ms, the client is refused with that sentence; the owner may go
 * on, and the session takes no second RESIZE, or STAT, until it has answered
 * the first.
 */
#define RDISK_LATER RDISK_STATUS_COUNT

struct rdisk_target_events {
    /*
     * Control thread: the secret of the client @user. False if there is none
     * of that name, or if it may not connect; @secret is unchanged then. Only
     * with options.authenticate, where it is required.
     */
    bool (*secret)(void *opaque, const char *user, struct rdisk_secret *secret);
    /*
     * Control thread: decide on an OPEN. Returns OK with @grant filled,
     * RDISK_LATER, or the status to refuse with, and a sentence in @err. *@user
     * is passed to the other events, and after LATER to the next call of this
     * one: by rdisk_target_session_retry(), and whenever a session has ended.
     *
     * The owner records that this client has the volume after
     * rdisk_target_session_reserve(): a client that is refused for lack of
     * memory must leave no record.
     *
     * A client that has lost its connection reconnects with a higher epoch. The
     * owner then fences its older session (rdisk_target_session_fence()) and
     * returns LATER until events->close was called for that: no request of it
     * can take effect any more.
     */
    enum rdisk_status (*open)(void *opaque,
                              struct rdisk_target_session *session,
                              const struct rdisk_open_request *request,
                              struct rdisk_open_grant *grant, void **user,
                              struct rdisk_error *err);
    /*
     * Control thread: the session has ended, its queues are drained and
     * released. Not called if open or create refused, nor after LATER if *@user
     * is still NULL. @orderly: the client has closed the volume; otherwise it
     * may reconnect.
     */
    void (*close)(void *opaque, void *user, bool orderly);
    /*
     * Control thread: the client has closed the volume, and no request of it is
     * left; instead of close. Returns OK when it is recorded durably that the
     * client no longer has it, RDISK_LATER, or an error: then the client gets
     * no answer, and may reconnect. After LATER, close follows if the session
     * ends before rdisk_target_session_released(). NULL: close is called.
     */
    enum rdisk_status (*release)(void *opaque, void *user,
                                 struct rdisk_error *err);
    /*
     * Control thread: change the size of the session's volume to @size bytes,
     * whole blocks; fewer than now only if @shrink. Returns OK when that is
     * done durably, and rdisk_target_session_resize() was called for every
     * session that has the volume, this one too; else RDISK_LATER, or the
     * status to refuse with. NULL: always refused.
     */
    enum rdisk_status (*resize)(void *opaque, void *user, uint64_t size,
                                bool shrink, struct rdisk_error *err);
    /*
     * Control thread: create a volume, or delete one, or what SNAPSHOT asks
     * for, if this client may. Returns OK when that is done durably,
     * RDISK_LATER, or the status to refuse with. *@user after LATER is passed
     * to events->close, unless it answers before. NULL: always refused.
     */
    enum rdisk_status (*create)(void *opaque,
                                struct rdisk_target_session *session,
                                const struct rdisk_create_request *request,
                                void **user, struct rdisk_error *err);
    /*
     * Control thread: fill @page with volumes that this client may open.
     * Returns OK, RDISK_LATER, or what to refuse with. What it leaves in *@user
     * with LATER comes back in events->close, unless it answers before. The
     * session may ask again, or open a volume. NULL: always refused.
     */
    enum rdisk_status (*list)(void *opaque,
                              struct rdisk_target_session *session,
                              const struct rdisk_list_request *request,
                              struct rdisk_list_page *page, void **user,
                              struct rdisk_error *err);
    /*
     * Control thread: *@allocated gets the bytes that the session's volume
     * takes up; or RDISK_LATER. NULL: always refused.
     */
    enum rdisk_status (*stat)(void *opaque, void *user, uint64_t *allocated,
                              struct rdisk_error *err);
    /*
     * Control thread: the group of the reactor that the next queue of this
     * session will be handed to.
     */
    struct rdisk_target_group *(*queue_group)(void *opaque, void *user);
    /*
     * Control thread: a queue joins, in the group that queue_group returned.
     * Hand it to that reactor, whose thread calls rdisk_target_queue_start() on
     * it. *@queue_user is passed to events->request and ->queue_idle. On an
     * error the client is refused.
     */
    int (*queue_new)(void *opaque, void *user, struct rdisk_target_queue *queue,
                     void **queue_user, struct rdisk_error *err);
    /*
     * Reactor thread: a request to carry out, within rdisk_target_cq_
     * process(). It may be completed from within.
     */
    void (*request)(void *queue_user, struct rdisk_target_request *request);
    /*
     * Reactor thread: the queue is broken and drained: no request is
     * outstanding and no device accesses its slots. The reactor removes it and
     * passes it to the control thread, which calls
     * rdisk_target_queue_release(). Last event of a queue.
     */
    void (*queue_idle)(void *queue_user, struct rdisk_target_queue *queue);
    /*
     * Control thread: the client has returned slots of this queue. Hand them
     * to the queue's reactor, whose thread calls rdisk_target_grant_retire(),
     * unless the queue is idle by then. NULL: queues have all their slots from
     * the beginning to the end.
     */
    void (*slots_returned)(void *queue_user, struct rdisk_target_grant *grant);
    /*
     * Reactor thread, after that: no device touches these slots any more. The
     * owner takes back what it has registered, and passes them to the control
     * thread, which calls rdisk_target_grant_release(). Does not come if the
     * queue becomes idle before.
     */
    void (*slots_idle)(void *queue_user, struct rdisk_target_grant *grant);
};

/* ---- Control thread --------------------------------------------------- */

#define RDISK_DEVICE_NAME 64u /* with its terminating zero */

/*
 * Check that a target with these options could listen now. 0; -ENODEV or
 * -EADDRNOTAVAIL: there is no RDMA device (yet), or none that has the address;
 * -EADDRINUSE: the port is in use, perhaps by a server that is ending. Needs no
 * target.
 * On success @device, if it is not NULL, is the name of the RDMA device that
 * has the address, such as "rxe0"; "" for any address.
 */
int rdisk_target_probe(const struct rdisk_env *env,
                       const struct rdisk_target_options *options,
                       char device[RDISK_DEVICE_NAME], struct rdisk_error *err);

/* Listens at once. NULL with an error as above in @err. */
struct rdisk_target *rdisk_target_create(
    const struct rdisk_env *env, const struct rdisk_target_options *options,
    const struct rdisk_target_events *events, void *opaque,
    struct rdisk_error *err);

/* Readable when rdisk_target_process() has something to do. Constant. */
int rdisk_target_fd(const struct rdisk_target *target);
uint64_t rdisk_target_deadline(const struct rdisk_target *target);
void rdisk_target_process(struct rdisk_target *target);

/*
 * Apply all of @options but the address and the port. Sessions that are open
 * keep what they were granted; new ones, and timeouts that start from now on,
 * get those of @options. 0, or -EINVAL with @err, and nothing is changed.
 */
int rdisk_target_set_limits(struct rdisk_target *target,
                            const struct rdisk_target_options *options,
                            struct rdisk_error *err);

/*
 * Refuse new sessions and queues, send each client @text in a BYE, finish the
 * requests already taken, end all sessions. rdisk_target_sessions() is 0 when
 * that is done.
 */
void rdisk_target_stop(struct rdisk_target *target, const char *text);
unsigned int rdisk_target_sessions(const struct rdisk_target *target);

/* What a session has, and had, of slots. */
struct rdisk_target_slot_counters {
    uint64_t memory;  /* bytes that it has now, */
    uint64_t slots;   /* of so many, */
    uint64_t wanted;  /* slots for which it waits now; since its begin: */
    uint64_t waits;   /* how often a queue began to wait for slots */
    uint64_t grants;  /* of slots to a queue */
    uint64_t recalls; /* of such a grant by the server */
    uint64_t returns; /* of such a grant by the client */
};

/* Since the start. The first three are faults, each of which has ended a
 * session. */
struct rdisk_target_totals {
    uint64_t violations;      /* messages or requests against the protocol */
    uint64_t broken_queues;   /* errors of the device or the connection */
    uint64_t device_removals; /* sessions whose device was removed */
    struct rdisk_target_slot_counters slots; /* of all sessions; memory and
                                   wanted: now */
};
/* Control thread. */
const struct rdisk_target_totals *rdisk_target_totals(
    const struct rdisk_target *target);

/* Only after stop, with no session left. */
void rdisk_target_destroy(struct rdisk_target *target);

/*
 * Before its end with SHUTTING_DOWN: its client is to go on at this server, if
 * it has named it as one of several. True: it was told so; false: it has one
 * server, or an older version.
 */
bool rdisk_target_session_move(struct rdisk_target_session *session,
                               const char *host, uint16_t port);
/* End one session: BYE with @status and @text, then as if it had broken. */
void rdisk_target_session_end(struct rdisk_target_session *session,
                              enum rdisk_status status, const char *text);

/*
 * End one session at once, without a message: its queue pairs go to ERROR.
 * events->close is called when its last request has been carried out.
 */
void rdisk_target_session_fence(struct rdisk_target_session *session);

/* Of a client's sessions together. 0: no limit of its own. */
struct rdisk_quota {
    uint64_t sessions; /* that have reserved memory */
    uint64_t memory;   /* bytes of their slots */
};

/*
 * Before rdisk_target_session_reserve(): the limits of who this session has
 * authenticated as. Sessions of the same name count, those that have ended
 * until their memory is released.
 */
void rdisk_target_session_quota(struct rdisk_target_session *session,
                                const struct rdisk_quota *quota);
/* What the sessions that have authenticated as @user have, "": those without
 * authentication. Control thread. */
void rdisk_target_use(const struct rdisk_target *target, const char *user,
                      struct rdisk_quota *use);

/*
 * From within events->open, or between LATER and its next call: reserve the
 * memory of the slots that this client will get. 0, also when that was done
 * before, or -ENOBUFS with a sentence to refuse with: the server's memory, or
 * the client's quota, is used up. Released if open refuses, or the session
 * ends.
 */
int rdisk_target_session_reserve(struct rdisk_target_session *session,
                                 struct rdisk_error *err);
/*
 * The volume is read-only, and all of its @length bytes are at @memory, where
 * nobody writes to them before events->close: register them, so that READs can
 * be answered from there (rdisk_target_stored()), and, with grant->one_sided,
 * clients can read them without this program. Once, from within events->open;
 * or, since it takes long, in any thread between LATER and its next call, while
 * the session is held. 0, or a negative errno with @err.
 */
int rdisk_target_session_register(struct rdisk_target_session *session,
                                  const void *memory, uint64_t length,
                                  struct rdisk_error *err);
/* Control thread, once the volume is granted: true if the client reads what is
 * registered by itself, or may do so at any time. */
bool rdisk_target_session_one_sided(const struct rdisk_target_session *session);
/*
 * Control thread. The session stays, and events->close does not come, until it
 * is let go. At most once, between LATER and the next call of events->open.
 */
void rdisk_target_session_hold(struct rdisk_target_session *session);
void rdisk_target_session_let_go(struct rdisk_target_session *session);
/*
 * After events->open returned LATER: call it again, from within this call. The
 * session may end by that.
 */
void rdisk_target_session_retry(struct rdisk_target_session *session);
/* Of a SNAPSHOT, before its answer: microseconds that requests were held at
 * most. */
void rdisk_target_session_paused(struct rdisk_target_session *session,
                                 uint64_t pause);
/* Of a FLATTEN, before its answer: @done bytes of the volume's @size need no
 * other volume any more; both 0: none did. */
void rdisk_target_session_flattens(struct rdisk_target_session *session,
                                   uint64_t done, uint64_t size);
/*
 * The answer to events->create, ->list, ->release, ->resize or ->stat, once,
 * after LATER: OK, or what to refuse with. Not after events->close.
 */
void rdisk_target_session_created(struct rdisk_target_session *session,
                                  enum rdisk_status status,
                                  const struct rdisk_error *err);
void rdisk_target_session_listed(struct rdisk_target_session *session,
                                 enum rdisk_status status,
                                 const struct rdisk_list_page *page,
                                 const struct rdisk_error *err);
void rdisk_target_session_released(struct rdisk_target_session *session,
                                   enum rdisk_status status,
                                   const struct rdisk_error *err);
void rdisk_target_session_resized(struct rdisk_target_session *session,
                                  enum rdisk_status status,
                                  const struct rdisk_error *err);
void rdisk_target_session_stated(struct rdisk_target_session *session,
                                 enum rdisk_status status, uint64_t allocated,
                                 const struct rdisk_error *err);

/*
 * The session's volume has another size: new requests are checked against it
 * from now on, and the client is informed, unless it was its own RESIZE.
 */
void rdisk_target_session_resize(struct rdisk_target_session *session,
                                 uint64_t size);
/* True if requests of this session are in flight. Those that arrive
 * meanwhile may be missed. */
bool rdisk_target_session_busy(const struct rdisk_target_session *session);

/* Release a queue after its idle event. */
void rdisk_target_queue_release(struct rdisk_target_queue *queue);
/* Release slots after their idle event, if the queue is not released. */
void rdisk_target_grant_release(struct rdisk_target_queue *queue,
                                struct rdisk_target_grant *grant);

/* Control thread. */
void rdisk_target_session_slots(const struct rdisk_target_session *session,
                                struct rdisk_target_slot_counters *counters);

/*
 * What the queues of one reactor have together: completion queues of @depth
 * entries, fewer where the device has no more. There is one while its entries
 * suffice, then another; each is destroyed with its last queue. Every one
 * of the group interrupts by the same vector, @vector modulo the device's.
 * NULL: no memory.
 */
struct rdisk_target_group *rdisk_target_group_create(
    const struct rdisk_env *env, unsigned int depth, unsigned int vector);
/* No queue of it is left. */
void rdisk_target_group_destroy(struct rdisk_target_group *group);

/* ---- Reactor thread --------------------------------------------------- */

/*
 * First call on a queue from its reactor: posts its receives, arms its
 * completion queue and accepts the connection. On failure the queue ends with
 * its idle event as always.
 */
void rdisk_target_queue_start(struct rdisk_target_queue *queue);

/* Where its completions come to, together with those of others. Constant. It
 * stays while a queue of it is not released. */
struct rdisk_target_cq *rdisk_target_queue_cq(
    const struct rdisk_target_queue *queue);

/* Readable when a completion waits and it is armed. Constant. */
int rdisk_target_cq_fd(const struct rdisk_target_cq *cq);
/*
 * Take completions, run events->request for each new request, post the answers
 * ready so far, re-arm. Returns the number of requests taken. May run
 * events->queue_idle for any of its queues, after which that queue must not be
 * touched.
 *
 * One call takes a bounded number of completions. If there may be more,
 * rdisk_target_cq_more() returns true: then call again, after other work of the
 * thread, and before waiting for the descriptor.
 */
unsigned int rdisk_target_cq_process(struct rdisk_target_cq *cq);
/* The same without touching or arming the descriptor, for a spinning
 * reactor. */
unsigned int rdisk_target_cq_poll(struct rdisk_target_cq *cq);
bool rdisk_target_cq_more(const struct rdisk_target_cq *cq);

/*
 * The request is done: send the payload of a READ and the answer with the
 * next rdisk_target_queue_kick(). Any order.
 */
void rdisk_target_complete(struct rdisk_target_request *request,
                           enum rdisk_status status);
/*
 * Before rdisk_target_complete() of a READ with OK: its data is at @data, in
 * what rdisk_target_session_register() was given, instead of in the slot.
 * If it is not registered, it is copied.
 */
void rdisk_target_stored(struct rdisk_target_request *request,
                         const void *data);
/*
 * Nothing is answered on the queue any more: its queue pair goes to ERROR, and
 * its session ends, as if the connection had broken. For an owner that finds
 * that requests may be carried out elsewhere.
 */
void rdisk_target_queue_break(struct rdisk_target_queue *queue);
/*
 * Ring the doorbell for all answers completed since the last one. Like
 * _process() it may run events->queue_idle: call it after the last touch.
 */
void rdisk_target_queue_kick(struct rdisk_target_queue *queue);

/*
 * The client has returned @grant: see that nothing uses it. May run
 * events->slots_idle and, like _kick(), events->queue_idle.
 */
void rdisk_target_grant_retire(struct rdisk_target_queue *queue,
                               struct rdisk_target_grant *grant);

/* The slots that the queue has from queue_new to release. Any thread. */
struct rdisk_target_grant *rdisk_target_queue_base(
    const struct rdisk_target_queue *queue);
/* Bytes of all its slots. Control thread. */
uint64_t rdisk_target_queue_memory(const struct rdisk_target_queue *queue);

/* True if it will send no answer any more: what the owner still starts of its
 * requests is in vain. Any thread. */
bool rdisk_target_queue_broken(const struct rdisk_target_queue *queue);

/* Numbers that its slots have, from 0. Constant, the same. */
unsigned int rdisk_target_queue_slots(const struct rdisk_target_queue *queue);

struct rdisk_target_counters {
    struct rdisk_op_totals ops; /* requests answered; failed: other than OK */
    uint64_t refused;           /* answered without reaching the owner */
    uint64_t receives;          /* receive completions: one per request */
    uint64_t work_requests;     /* sends posted */
    uint64_t doorbells;
    uint64_t wakeups;   /* completion events taken from the fd; one
                                   for several queues counts at one of them */
    uint64_t in_flight; /* requests that the owner has now */
    /* By operation: from receiving a request to posting its answer; and the
     * sum of these times, nanoseconds. */
    uint64_t latency[RDISK_OPS][RDISK_HISTOGRAM_BUCKETS];
    uint64_t latency_sum[RDISK_OPS];
};
/* Sum into @counters. Any thread. */
void rdisk_target_queue_counters(const struct rdisk_target_queue *queue,
                                 struct rdisk_target_counters *counters);

#ifdef __cplusplus
}
#endif

#endif
