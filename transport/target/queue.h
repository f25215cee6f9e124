/* SPDX-License-Identifier: BSD-3-Clause */
/* Internal to the target's files: a data queue, its slots, and the completion
 * queue that it shares with others. */
#ifndef RDISK_TARGET_QUEUE_H
#define RDISK_TARGET_QUEUE_H

#include <stdatomic.h>
#include <stddef.h>

#include "transport/base/contract.h"
#include "transport/verbs/limits.h"
#include "transport/verbs/qp.h"
#include "transport/wire/op_counters.h"
#include "transport/wire/request.h"
#include <rdisk/target.h>

/*
 * Slots that were granted together, with consecutive numbers. Control thread;
 * the reactor reads what is constant.
 */
struct rdisk_target_slots {
    struct rdisk_target_grant grant; /* first */
    struct rdisk_target_queue *queue;
    struct rdisk_target_slots *next; /* of the queue's grants */
    struct ibv_mr *mr;
    unsigned int first, count; /* their numbers */
    uint32_t slot_size;        /* payload bytes of each */
    uint64_t serial;           /* the smaller, the older */
    bool recalled;             /* the client is to return them */
    bool returned;             /* it has, and the reactor has them last */

    /* The reactor's, once it has them. */
    struct rdisk_target_slots *next_retiring;
    uint64_t fence; /* its sends up to this one may read them */
    bool fenced;    /* it was posted, or there was no need */
};

static_assert(offsetof(struct rdisk_target_slots, grant) == 0,
              "a grant is converted to its slots");

/* A slot as the reactor sees it. */
struct rdisk_target_slot {
    struct rdisk_target_request request;
    /* Granted with it; NULL: it is not granted. Set by the control thread
     * before the client learns of it, cleared by the reactor. */
    const struct rdisk_target_slots *_Atomic slots;
    struct rdisk_target_slot *next; /* on the list of waiting answers */
    const void *stored; /* of a READ: its data, in the session's memory; NULL:
                                   in the slot */
    uint32_t sequence;
    uint16_t segments;        /* of a READ */
    enum rdisk_status status; /* of a waiting answer */
    bool busy;                /* from receive to answer */
};

#define RDISK_ANSWERED_MAX 64u

struct rdisk_target_queue {
    struct rdisk_target_session *session;
    struct rdisk_target_queue *next; /* of the session; control thread */
    struct rdma_cm_id *id;
    unsigned int index; /* 1… */
    void *user;
    struct rdisk_request_limits limits; /* what requests are held against;
                                           what changes is the reactor's */
    unsigned int slots;                 /* numbers of slots, granted or not */
    unsigned int max_segments;
    unsigned int reads; /* RDMA READs of the client's at a time */

    struct rdisk_target_slots *base; /* from the acceptance on */

    /* share.c's; control thread. */
    struct rdisk_target_slots *grants; /* beyond the base; newest first */
    unsigned int granted;              /* slots of these */
    unsigned int wanted;               /* and not granted yet */
    struct rdisk_target_queue *next_waiting;

    struct rdisk_target_cq *cq; /* shared with others of its reactor */

    struct rdisk_use use; /* by the reactor */
    /* Reactor thread from start to idle. */
    struct rdisk_qp qp;
    struct rdisk_target_queue *touched_next; /* of its completion queue */
    bool touched;
    struct rdisk_target_slot *slot;
    struct rdisk_wire_segment *segments; /* RDISK_SEGMENTS_MAX per slot */
    struct rdisk_target_slot *waiting;   /* answers of this turn, and those
                                               without room to be sent */
    struct rdisk_target_slot **waiting_end;
    atomic_uint outstanding; /* requests at the owner; the control
                                           thread reads it */
    uint64_t areas;          /* the client's answer areas */
    uint32_t areas_key;      /* 0: none */
    bool idle_reported;
    struct rdisk_target_slots *retiring; /* returned, oldest first */
    struct rdisk_error violation;        /* why the reactor broke it, if so */

    struct rdisk_qp_counters qp_counters;
    struct rdisk_op_counters ops;
    rdisk_counter refused;

    /* Answers whose latency is not recorded yet: the clock is read once for all
     * that go out together. */
    struct {
        uint64_t received;
        enum rdisk_op op;
    } answered[RDISK_ANSWERED_MAX];
    unsigned int answered_count;
    struct rdisk_histogram latency[RDISK_OPS];
};

/* latency.c: an answer is about to go out, and all have. */
void rdisk_target_queue_answered(struct rdisk_target_queue *queue,
                                 const struct rdisk_target_slot *slot);
void rdisk_target_queue_posted(struct rdisk_target_queue *queue);

/* Control thread: everything but the acceptance. */
struct rdisk_target_queue *rdisk_target_queue_create(
    struct rdisk_target_session *session, struct rdma_cm_id *id,
    const struct rdisk_wire_connect *wire, struct rdisk_error *err);
void rdisk_target_queue_destroy(struct rdisk_target_queue *queue);
/* Its reactor: a completion of it, taken at @now. The number of requests. */
unsigned int rdisk_target_queue_take(struct rdisk_target_queue *queue,
                                     const struct ibv_wc *wc, uint64_t now);
/* Requests at the owner: one writer, the reactor, so no locked instruction. */
static inline void rdisk_target_queue_add_outstanding(
    struct rdisk_target_queue *queue, int n)
{
    atomic_store_explicit(&queue->outstanding,
                          atomic_load_explicit(&queue->outstanding,
                                               memory_order_relaxed) +
                              (unsigned int)n,
                          memory_order_relaxed);
}
/* It ends for what its client has done. */
void rdisk_target_queue_violated(struct rdisk_target_queue *queue,
                                 const struct rdisk_error *err);
/* The answer to a request that its owner does not get. */
void rdisk_target_queue_refuse(struct rdisk_target_queue *queue,
                               struct rdisk_target_slot *slot,
                               enum rdisk_status status);
/* receive.c: a message, with at most RDISK_VECTOR_MAX requests; their
 * number. */
unsigned int rdisk_target_queue_receive(
    struct rdisk_target_queue *queue,
    const struct rdisk_qp_completion *completion, uint64_t now);

/* ---- Slots: target/slots.c --------------------------------------------- */

/* Bytes from slot to slot. */
static inline uint32_t rdisk_target_stride(uint32_t slot_size)
{
    return RDISK_HEADER_AREA + slot_size;
}

/* Bytes of so many. */
static inline size_t rdisk_target_slots_size(unsigned int count,
                                             uint32_t slot_size)
{
    return (size_t)count * rdisk_target_stride(slot_size);
}

/* Control thread: memory for slots @first…, registered, in the queue's table.
 * NULL with @err filled. */
struct rdisk_target_slots *rdisk_target_slots_create(
    struct rdisk_target_queue *queue, unsigned int first, unsigned int count,
    uint32_t slot_size, struct rdisk_error *err);
/* Reactor: stage what tells that returned slots are not read any more, before
 * the sends are posted; pass on those of which that is so. */
void rdisk_target_slots_fence(struct rdisk_target_queue *queue);
void rdisk_target_slots_end(struct rdisk_target_queue *queue);
/* No device touches them. */
void rdisk_target_slots_destroy(struct rdisk_target_queue *queue,
                                struct rdisk_target_slots *slots);

/* ---- Resident volumes: target/resident.c --------------------------------- */

/* Control thread: a queue joins, whose client would like to have so many RDMA
 * READs in flight. */
void rdisk_target_resident_join(struct rdisk_target_queue *queue,
                                unsigned int wanted);
/* Bytes of the acceptance that it has behind it, if any, are filled in. */
size_t rdisk_target_resident_accept(const struct rdisk_target_queue *queue,
                                    struct rdisk_wire_resident *wire);

/* ---- Sharing: target/share.c ------------------------------------------- */

/* The slots that each queue of the session begins with, and their size. */
void rdisk_target_base(const struct rdisk_target_session *session,
                       unsigned int *slots, uint32_t *slot_size);
/* Grant what is wanted and there; recall what others need more. */
void rdisk_target_share(struct rdisk_target *target);
/* When that is due. */
uint64_t rdisk_target_share_deadline(const struct rdisk_target *target);
/* The queue ends, and with it what it was granted beyond its base. */
void rdisk_target_share_leave(struct rdisk_target_queue *queue);

/* ---- Completion queues: target/cq.c ------------------------------------ */

/*
 * Control thread: one of the group's with room for a queue pair such as
 * @config, whose part in it is filled in. NULL with @err filled.
 */
struct rdisk_target_cq *rdisk_target_cq_join(
    struct rdisk_target_group *group, struct ibv_context *context,
    const struct rdisk_device_limits *limits, struct rdisk_qp_config *config,
    struct rdisk_error *err);
/* The queue pair is destroyed. The last one takes the completion queue
 * along. */
void rdisk_target_cq_leave(struct rdisk_target_cq *cq,
                           const struct rdisk_qp_config *config);

/* Reactor: its first work request is about to be posted; its last one has come
 * back. */
void rdisk_target_cq_enter(struct rdisk_target_cq *cq,
                           struct rdisk_target_queue *queue);
void rdisk_target_cq_forget(struct rdisk_target_cq *cq,
                            struct rdisk_target_queue *queue);
void rdisk_target_cq_arm(struct rdisk_target_cq *cq);

#endif
