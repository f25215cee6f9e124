/* SPDX-License-Identifier: BSD-3-Clause */
/* Internal to the initiator: a data queue. */
#ifndef RDISK_INITIATOR_QUEUE_H
#define RDISK_INITIATOR_QUEUE_H

#include <stdatomic.h>

#include "transport/base/counter.h"
#include "transport/base/contract.h"
#include "transport/initiator/bounce.h"
#include "transport/initiator/link.h"
#include "transport/initiator/memory.h"
#include "transport/verbs/qp.h"
#include "transport/wire/op_counters.h"
#include "transport/wire/request.h"
#include <rdisk/initiator.h>

/* Segments and the fixed header of the longest request, in bytes. */
#define RDISK_HEADER_MAX \
    (sizeof(struct rdisk_wire_request) + \
     RDISK_SEGMENTS_MAX * sizeof(struct rdisk_wire_segment))

/* A registered piece of a request's memory. */
struct rdisk_piece {
    uint64_t address;
    uint32_t length;
    struct rdisk_memory_keys keys;
};

/* Where a slot of the server is. */
struct rdisk_place {
    uint64_t payload; /* address of its payload area */
    uint32_t rkey;
    struct rdisk_grant *grant; /* NULL: of the base */
};

/* Which thread may use a grant of slots beyond the base: the two threads hand
 * it to each other by this. */
enum rdisk_grant_phase {
    RDISK_GRANT_NONE,    /* home: there is none */
    RDISK_GRANT_OFFERED, /* queue's thread: to be taken */
    RDISK_GRANT_HELD,    /* queue's thread: its slots are used */
    RDISK_GRANT_EMPTY,   /* home: to be returned */
};

struct rdisk_grant {
    _Atomic int phase;     /* enum rdisk_grant_phase */
    atomic_bool recalled;  /* set by home: to be returned when it is empty */
    uint16_t first, count; /* numbers of slots */
    uint64_t base;         /* the first one's address */
    uint32_t stride, rkey;
    uint16_t used; /* queue's thread: slots in use, */
    bool closing;  /* and none is used again */
};

/* How often in a row slots have to be found unused to be returned. */
#define RDISK_SLOT_CHECKS 5u

/*
 * Memory windows (type 2) of a queue with guest-memory=window: each opens one
 * piece of the guest's memory to the server, for one read. A window is free,
 * or bound from the read's going out to its invalidation.
 */
struct rdisk_window {
    struct ibv_mw *mw; /* its rkey: of the last bind but one, until
                                   the invalidation, as a device requires */
    uint32_t rkey;     /* of the last bind */
    uint16_t next;     /* of a chain of free ones, or a request's */
};

struct rdisk_windows {
    struct rdisk_window *list; /* NULL: not in use */
    unsigned int count;
    unsigned int free_count;
    uint16_t free_first;
};

#define RDISK_WINDOWS_PER_SLOT 4u /* on average */
#define RDISK_WINDOWS_PER_READ 8u /* at most; what is more scattered bounces */

/* The volume's data in the server's memory, to be read by RDMA READ. */
struct rdisk_resident {
    bool on;          /* READs need no message; constant once joined */
    uint64_t address; /* of the volume's first byte */
    uint32_t key;
};

/* ---- Queue ------------------------------------------------------------ */

/*
 * Which thread may touch what a queue has for one connection. The two threads
 * hand it to each other through this, so no lock is needed.
 */
enum rdisk_queue_phase {
    RDISK_QUEUE_QUIESCED, /* home thread: there is no connection, or not yet */
    RDISK_QUEUE_JOINED,   /* none yet: the first that submits or processes */
    RDISK_QUEUE_ACTIVE,   /* queue's thread, until it has drained it */
};

/*
 * What a request awaits besides its answer. Until a write's sends are
 * acknowledged the device may send them again, from memory that is the caller's
 * by then, or another request's: docs/security.md.
 */
enum rdisk_awaits {
    RDISK_AWAITS_NOTHING,
    RDISK_AWAITS_WINDOWS, /* that its windows are closed */
    RDISK_AWAITS_SENDS,   /* that its sends are acknowledged */
    RDISK_AWAITS_READ,    /* no answer, only the data, by RDMA READ */
};

/* Of a request that no tick has seen yet. */
#define RDISK_SLOT_UNSEEN 0

struct rdisk_queue {
    struct rdisk_initiator *session;
    struct rdisk_use use;   /* by its thread */
    struct rdisk_link link; /* home thread */
    int poll_fd;            /* epoll: completion channel, wake_fd */
    int wake_fd;            /* eventfd: rdisk_queue_process() is due */
    atomic_bool woken;      /* wake_fd has been written */
    _Atomic int phase;      /* enum rdisk_queue_phase */
    struct rdisk_qp qp;
    bool created; /* qp, headers and bounce exist */

    /* As granted; constant once joined. */
    unsigned int slots;      /* numbers of slots */
    unsigned int base_slots; /* the lowest; all, without grants */
    uint32_t base_size;      /* payload bytes of one of these */
    unsigned int max_segments;
    bool long_extents; /* EXTENTS of any range */
    bool await_acks;   /* of each write, not only of those that bounce */
    bool bare;         /* writes may go without a header */
    bool vector;       /* several requests, or answers, in one message */
    unsigned int bare_bits;
    struct rdisk_resident resident;

    /* Below: queue's thread. */
    uint8_t *headers; /* RDISK_HEADER_MAX for each slot */
    struct ibv_mr *headers_mr;
    size_t headers_size;
    uint8_t *areas; /* RDISK_ANSWER_AREA for each slot, to which the
                                   server writes; NULL: no vectors */
    struct ibv_mr *areas_mr;
    /* Requests that will go in one message, in the memory of the first one's
     * slot. One work request is kept for them. */
    struct rdisk_wire_entry *entries;
    unsigned int vector_count;
    struct rdisk_place *places;     /* of each slot, at the server */
    struct rdisk_request **in_slot; /* the request in each slot, or NULL */
    uint16_t *free_slots;           /* of the base; a stack */
    unsigned int free_count;
    uint16_t *free_large; /* of what was granted beyond it */
    unsigned int large_count;
    struct rdisk_bounce bounce;
    struct rdisk_windows windows;
    struct rdisk_request *answered; /* with windows to be invalidated */
    struct rdisk_request **answered_end;
    struct rdisk_request *revoking; /* the invalidation is in flight */
    struct rdisk_request **revoking_end;
    struct rdisk_piece pieces[RDISK_SEGMENTS_MAX]; /* of the one being sent */
    struct rdisk_memory_hint memory_hint;          /* of this connection */
    struct rdisk_request *waiting; /* first of those without a slot */
    struct rdisk_request **waiting_end;
    uint32_t sequence;       /* of the next request on this connection */
    uint64_t bare_base;      /* from which the server counts */
    atomic_uint outstanding; /* taken and not completed */
    atomic_uint in_slots;    /* of these, in flight */
    /* When the home thread, at one of its ticks, first saw the request that is
     * in each slot; RDISK_SLOT_UNSEEN before, RDISK_NEVER if the slot is
     * free. */
    _Atomic uint64_t *seen;
    /* The same of the RDMA READs, which end in their order: of the first. */
    _Atomic uint64_t read_seen;
    unsigned int reads; /* of them in flight; queue's thread */
    bool has_read;      /* one has succeeded on this connection; the same */

    /* slots.c: grants beyond the base, by their first number; NULL: not agreed
     * on. */
    struct rdisk_grant *grants;
    unsigned int grant_count;
    bool needs_answer;          /* queue's thread: the first that waits had a
                                   slot and could not be sent for lack of bounce
                                   memory, say: slots are of no use to it */
    atomic_uint waiting_count;  /* requests that wait; queue's thread */
    atomic_uint large_used;     /* the same: slots beyond the base in use, */
    atomic_uint large_peak;     /* and the most since the last check */
    atomic_uint wanted;         /* slots that it would use at once */
    atomic_bool want_due;       /* home is to ask for them */
    atomic_uint asked;          /* home: the server knows of so many */
    atomic_uint held;           /* home: slots of grants */
    atomic_bool grants_changed; /* home: the queue's thread is to see them */
    unsigned int peaks[RDISK_SLOT_CHECKS]; /* home: of the last checks */
    unsigned int check;
    bool want_none; /* home: the server is to learn that it waits no longer */
    rdisk_counter slot_grants, slot_returns, slot_waits; /* home */

    bool broken_reported; /* to the home thread */
    /* Of the flushes of the session, the first that covers all that this queue
     * has had answered. Read by the home thread when QUIESCED. */
    uint64_t covered_by;

    struct rdisk_qp_counters qp_counters;
    struct rdisk_op_counters ops;
    rdisk_counter copied_bytes, bounced, waited, windows_bound, one_sided;
};

/* queue_connection.c; home thread. */

/* Index from 1. On failure rdisk_queue_destroy() is still due. */
int rdisk_queue_init(struct rdisk_queue *queue, struct rdisk_initiator *session,
                     unsigned int index);
void rdisk_queue_destroy(struct rdisk_queue *queue);
/* Queue pair and memory, when the device is known. QUIESCED. */
int rdisk_queue_connect(struct rdisk_queue *queue, struct rdisk_error *err);
/* The server has accepted. QUIESCED. */
void rdisk_queue_set_grant(struct rdisk_queue *queue,
                           const struct rdisk_wire_accept *accept);
/* Undo both. QUIESCED. */
void rdisk_queue_disconnect(struct rdisk_queue *queue);
/* READY: from here on it is its thread's. */
void rdisk_queue_hand_over(struct rdisk_queue *queue);
/* It is about to be the home thread's: no completion wakes its own any more. */
void rdisk_queue_unwatch(struct rdisk_queue *queue);
/* True if it is the home thread's again. Reclaims it if it was not used. */
bool rdisk_queue_reclaim(struct rdisk_queue *queue);
/* Let the queue's thread run rdisk_queue_process(). */
void rdisk_queue_wake(struct rdisk_queue *queue);

/* slots.c; queue's thread */

/* True if @request fits in a slot of the base. */
static inline bool rdisk_queue_is_small(const struct rdisk_queue *queue,
                                        const struct rdisk_request *request)
{
    return request->length <= queue->base_size || request->op > RDISK_OP_WRITE;
}
/* True if there is a slot for it. */
static inline bool rdisk_queue_has_slot(const struct rdisk_queue *queue,
                                        const struct rdisk_request *request)
{
    return queue->large_count ||
           (queue->free_count && rdisk_queue_is_small(queue, request));
}
uint16_t rdisk_queue_take_large(struct rdisk_queue *queue);
/* One that there is. */
static inline uint16_t rdisk_queue_take_slot(
    struct rdisk_queue *queue, const struct rdisk_request *request)
{
    return queue->free_count && rdisk_queue_is_small(queue, request)
               ? queue->free_slots[--queue->free_count]
               : rdisk_queue_take_large(queue);
}
void rdisk_queue_release_large(struct rdisk_queue *queue, uint16_t slot);
/* It is not in use any more. */
static inline void rdisk_queue_release_slot(struct rdisk_queue *queue,
                                            uint16_t slot)
{
    if (queue->places[slot].grant) {
        rdisk_queue_release_large(queue, slot);
    } else {
        queue->free_slots[queue->free_count++] = slot;
    }
}
/* Requests wait: if it is for slots, let home ask the server for some. */
void rdisk_queue_want(struct rdisk_queue *queue);
/* Begin to use what has been granted; use no longer what has been recalled. */
void rdisk_queue_take_grants(struct rdisk_queue *queue);
void rdisk_queue_close_grants(struct rdisk_queue *queue);

/* queue.c, stage.c, answer.c */

/*
 * Queue's thread: put a request into a slot and stage its work requests.
 * False: it must wait for a slot, for bounce memory, or for room.
 */
bool rdisk_queue_stage(struct rdisk_queue *queue,
                       struct rdisk_request *request);
/* Stage the requests that go in one message; there are some. */
void rdisk_queue_stage_vector(struct rdisk_queue *queue);
/* The work requests that may be staged. */
static inline unsigned int rdisk_queue_room(const struct rdisk_queue *queue)
{
    return rdisk_qp_room(&queue->qp) - (queue->vector_count != 0);
}
/* Post what has been staged. */
static inline void rdisk_queue_post(struct rdisk_queue *queue)
{
    if (queue->vector_count) {
        rdisk_queue_stage_vector(queue);
    }
    rdisk_qp_post(&queue->qp);
}
/* The range of an EXTENTS on this connection, in bytes: an older server takes
 * RDISK_RANGE_MAX at most. */
uint64_t rdisk_queue_extents_range(const struct rdisk_queue *queue,
                                   const struct rdisk_request *request);
/* A request that has no slot waits again, before those that wait already. */
void rdisk_queue_wait_again(struct rdisk_queue *queue,
                            struct rdisk_request *request);
/* The request leaves its slot, which stays in use. */
struct rdisk_request *rdisk_queue_take_from_slot(struct rdisk_queue *queue,
                                                 uint16_t slot);
/* Queue's thread: an answer, or several, arrived; the requests that end now. */
unsigned int rdisk_queue_answer(struct rdisk_queue *queue,
                                const struct rdisk_qp_completion *completion);
/* Its bounce memory, if it has some. */
void rdisk_queue_release_bounce(struct rdisk_queue *queue,
                                struct rdisk_request *request);
/* A request that is in no slot ends. */
void rdisk_queue_complete(struct rdisk_queue *queue,
                          struct rdisk_request *request, int result);
/* Home thread: no request is in a slot. */
bool rdisk_queue_slots_idle(struct rdisk_queue *queue);
/*
 * Home thread, at each tick: true if a request has been in flight for longer
 * than request-timeout, from the tick that first saw it: so none is aborted too
 * early, and some up to a tick late.
 */
bool rdisk_queue_overdue(struct rdisk_queue *queue, uint64_t now);

/* resident.c */

/* Home thread: RDMA READs to request for a queue of this session; 0: none. */
unsigned int rdisk_resident_reads(const struct rdisk_initiator *session);
/* Work requests of such a READ, in the most pieces; 0: there is none. */
unsigned int rdisk_resident_longest(const struct rdisk_initiator *session);
/* Home thread: the server has accepted @queue; @wire: of a resident volume,
 * else zero. */
void rdisk_resident_accepted(struct rdisk_queue *queue,
                             const struct rdisk_wire_resident *wire);
/* True if @request needs no message, and no slot. */
static inline bool rdisk_resident_has(const struct rdisk_queue *queue,
                                      const struct rdisk_request *request)
{
    return queue->resident.on && request->op == RDISK_OP_READ;
}
/* Queue's thread: stage such a READ, into queue->pieces. False: it must wait
 * for room. */
bool rdisk_resident_stage(struct rdisk_queue *queue,
                          struct rdisk_request *request, unsigned int pieces);
/* Queue's thread: the data of @request has arrived: it ends. */
void rdisk_resident_end(struct rdisk_queue *queue,
                        struct rdisk_request *request);
/* Queue's thread: it has not, with the connection: it waits again. */
void rdisk_resident_again(struct rdisk_queue *queue,
                          struct rdisk_request *request);
/* Queue's thread: the connection is lost; perhaps by a READ. */
void rdisk_resident_lost(struct rdisk_queue *queue);

/* cache.c */

/* Every flush fails, until one has reported the loss. */
#define RDISK_FLUSH_LOSS_PENDING UINT64_MAX

/* Queue's thread: a FLUSH is submitted. */
void rdisk_queue_number_flush(struct rdisk_queue *queue,
                              struct rdisk_request *request);
/*
 * Queue's thread: @request is about to complete with @result. Returns what it
 * completes with: a flush may have a loss to report.
 */
int rdisk_queue_account(struct rdisk_queue *queue,
                        const struct rdisk_request *request, int result);
/* Home thread, every queue QUIESCED: the cache behind the volume is this
 * one. */
void rdisk_initiator_take_cache(struct rdisk_initiator *session,
                                const uint8_t *cache);

/* window.c: queue's thread, but for _create and _destroy */

int rdisk_queue_windows_create(struct rdisk_queue *queue,
                               struct rdisk_error *err);
/* Nothing is bound any more. The home thread, or the one that parks. */
void rdisk_queue_windows_destroy(struct rdisk_queue *queue);
/* True if this goes through windows, unless it bounces. */
static inline bool rdisk_queue_needs_windows(
    const struct rdisk_queue *queue, const struct rdisk_request *request)
{
    return queue->windows.count && !queue->resident.on &&
           request->op == RDISK_OP_READ && !request->bounced;
}
/* True if there are windows for so many pieces. */
bool rdisk_queue_has_windows(const struct rdisk_queue *queue,
                             unsigned int pieces);
/* Stage what opens queue->pieces, and put the keys there. */
void rdisk_queue_bind(struct rdisk_queue *queue, struct rdisk_request *request,
                      unsigned int pieces);
/* The request has its answer, but ends only when its windows are closed. */
void rdisk_queue_answered(struct rdisk_queue *queue,
                          struct rdisk_request *request, int result);
/* The write has its answer, but ends only when its sends are acknowledged. */
void rdisk_queue_await_sent(struct rdisk_queue *queue,
                            struct rdisk_request *request, int result);
/* Stage what closes windows of answered requests, as far as there is room. */
void rdisk_queue_revoke(struct rdisk_queue *queue);
/* Complete the requests whose windows the device has closed; their number. */
unsigned int rdisk_queue_end_revoked(struct rdisk_queue *queue);
/* Complete all that are answered: the queue pair has ended. */
unsigned int rdisk_queue_end_answered(struct rdisk_queue *queue);

#endif
