/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Internal to the transport: a queue pair, and the accounts that keep it and
 * its completion queue from overflowing. The completion queue is its own, or
 * one that it shares with others (target/cq.c).
 *
 * Sends are staged in a chain and posted together with one doorbell. Most are
 * unsignalled: the completion of a later one proves them. Receives carry
 * either nothing (data queues: an immediate is all that arrives) or a fixed
 * message buffer (control).
 *
 * Threads: one at a time, the queue's, except rdisk_qp_break() (any thread)
 * and create and destroy (the connection's).
 */
#ifndef RDISK_VERBS_QP_H
#define RDISK_VERBS_QP_H

#include <stdatomic.h>
#include <stdbool.h>

#include "transport/base/contract.h"
#include "transport/base/counter.h"
#include "transport/verbs/cq.h"
#include <rdisk/env.h>
#include <rdisk/error.h>
#include "transport/verbs/verbs.h"

/* Kept by the owner, who may have one queue pair after the other. */
struct rdisk_qp_counters {
    rdisk_counter work_requests, doorbells, receives, wakeups;
};

#define RDISK_QP_TAGS      (1u << 23)
#define RDISK_QP_STAGE_MAX 64u /* work requests per doorbell */

struct rdisk_qp_config {
    struct rdisk_qp_counters *counters;
    unsigned int send_depth; /* work requests */
    unsigned int recv_depth; /* receives */
    unsigned int max_sge;    /* of a send */
    uint32_t max_inline;     /* bytes requested; less if the device has less */
    int vector;              /* completion vector, of its own queue */
    /* A completion queue with room for both depths, shared with others, and
     * what this one's completions are known by there, below
     * RDISK_QP_TAGS. Else NULL and 0: it gets its own. */
    struct rdisk_cq *cq;
    uint32_t tag;
    /* Control: recv_depth buffers of recv_size bytes; else NULL and 0. */
    void *recv_buffers;
    uint32_t recv_size;
    uint32_t recv_lkey;
};

struct rdisk_qp {
    const struct rdisk_env *env;
    struct rdma_cm_id *id; /* borrowed from the connection */
    struct rdisk_cq *cq;   /* its own, or config.cq */
    struct rdisk_cq own;
    struct ibv_qp *qp; /* owned through id */
    struct rdisk_qp_config config;

    /* Sends: the low bits of sequence numbers are in their wr_id. */
    uint64_t send_posted;      /* next sequence number */
    uint64_t send_done;        /* all below have completed */
    unsigned int send_silent;  /* posted since the last signalled one */
    unsigned int staged;       /* work requests in the chain */
    bool last_posted;          /* the one that proves the rest, once broken */
    struct ibv_send_wr *stage; /* each linked to the next one */
    struct ibv_sge *stage_sge; /* config.max_sge for each of the stage */

    /* Receives. */
    unsigned int recv_posted;       /* posted and not completed */
    unsigned int recv_spent;        /* completed and not posted again */
    struct ibv_recv_wr *recv_chain; /* without buffers: ready to post */

    atomic_bool broken; /* in ERROR, or on the way */
    atomic_bool failed; /* broken by a work request that failed */
    atomic_bool gone;   /* with its device; nothing completes */
    _Atomic int reason; /* enum ibv_wc_status of the first failed
                                   completion; any thread may read it */
};

/* What a receive brought. */
struct rdisk_qp_completion {
    uint32_t immediate; /* host order */
    bool with_immediate;
    unsigned int buffer; /* control: index of the receive buffer */
    uint32_t length;     /* control: bytes in it */
};

/*
 * Create the queue pair on @id, and its completion queue unless that is shared;
 * arm nothing yet. On failure nothing is left behind. All receives are posted,
 * but with a shared completion queue: then nothing of the queue pair is in
 * there before rdisk_qp_begin().
 */
int rdisk_qp_create(struct rdisk_qp *qp, const struct rdisk_env *env,
                    struct rdma_cm_id *id, struct ibv_pd *pd,
                    const struct rdisk_qp_config *config,
                    struct rdisk_error *err);
/* Afterwards no device touches anything on the queue pair's behalf. */
void rdisk_qp_destroy(struct rdisk_qp *qp);

/* With a shared completion queue: post all receives, in its thread. */
int rdisk_qp_begin(struct rdisk_qp *qp, struct rdisk_error *err);

int rdisk_qp_fd(const struct rdisk_qp *qp);

/* The sequence number of the work request that was staged last. */
static inline uint64_t rdisk_qp_staged(const struct rdisk_qp *qp)
{
    return qp->send_posted + qp->staged - 1;
}

/* True if this one and all before it have completed successfully. */
static inline bool rdisk_qp_sent(const struct rdisk_qp *qp, uint64_t sequence)
{
    return qp->send_done > sequence &&
           !atomic_load_explicit(&qp->broken, memory_order_acquire);
}

/* Sends that can still be staged or posted. */
static inline unsigned int rdisk_qp_room(const struct rdisk_qp *qp)
{
    return qp->config.send_depth - qp->staged -
           (unsigned int)(qp->send_posted - qp->send_done);
}
/* Post what there is; see rdisk_qp_post(). */
void rdisk_qp_post_staged(struct rdisk_qp *qp);

/*
 * Post the spent receives of a data queue again, then ring the doorbell for the
 * chain, so that what the peer sends upon it finds a receive. On failure the
 * queue pair is broken. On a broken one the chain is dropped, and completions
 * are forced for unsignalled sends; so call it until rdisk_qp_drained().
 */
static inline void rdisk_qp_post(struct rdisk_qp *qp)
{
    if (qp->staged || qp->recv_spent ||
        atomic_load_explicit(&qp->broken, memory_order_relaxed)) {
        rdisk_qp_post_staged(qp);
    }
}

/*
 * The next work request of the chain, without entries, flags and immediate: the
 * caller fills opcode, and all that this opcode uses. sg_list points at
 * config.max_sge entries. There must be room.
 */
static inline struct ibv_send_wr *rdisk_qp_stage(struct rdisk_qp *qp)
{
    struct ibv_send_wr *wr;

    RDISK_CONTRACT(rdisk_qp_room(qp));
    if (qp->staged == RDISK_QP_STAGE_MAX) {
        rdisk_qp_post_staged(qp);
    }
    wr = &qp->stage[qp->staged++];
    wr->num_sge = 0;
    wr->send_flags = 0;
    wr->imm_data = 0; /* a bind has none, and that is checked */
    return wr;
}

/* The tag of the queue that expects this one, of those that share a completion
 * queue. */
uint32_t rdisk_qp_tag(const struct ibv_wc *wc);
/*
 * Account for a completion of this queue pair, and break it on a failed one.
 * True with @out filled if it is a receive.
 */
bool rdisk_qp_take(struct rdisk_qp *qp, const struct ibv_wc *wc,
                   struct rdisk_qp_completion *out);

/* ---- With a completion queue of its own ---- */

/* The next completed receive, in order. False if none is there now. */
bool rdisk_qp_next(struct rdisk_qp *qp, struct rdisk_qp_completion *out);
/* True if there would be one, or an error. Takes nothing. */
bool rdisk_qp_pending(struct rdisk_qp *qp);
/* Take the event off the channel. */
void rdisk_qp_take_events(struct rdisk_qp *qp);
/* Request an event at the next completion. Poll once more afterwards. */
void rdisk_qp_arm(struct rdisk_qp *qp);

/* ---- Any ---- */

/*
 * True if this side's link may be down, or have been. The first completion that
 * failed need not be that of the send that shows it. Any thread.
 */
static inline bool rdisk_qp_link_suspect(const struct rdisk_qp *qp)
{
    int reason = atomic_load(&qp->reason);

    return atomic_load(&qp->failed) || reason == IBV_WC_LOC_QP_OP_ERR ||
           reason == IBV_WC_RETRY_EXC_ERR;
}

/* Post one message buffer of a control queue again. */
void rdisk_qp_replenish_buffer(struct rdisk_qp *qp, unsigned int buffer);
/* Its completion queue does not work any more. */
void rdisk_qp_lose_cq(struct rdisk_qp *qp);
/* If its completion queue does not work any more: break, too. */
static inline void rdisk_qp_drain_events(struct rdisk_qp *qp)
{
    if (rdisk_cq_failed(qp->cq)) {
        rdisk_qp_lose_cq(qp);
    }
}

/*
 * Move to ERROR: from here on no new remote access to our memory is accepted,
 * and everything posted is flushed. Any thread, more than once.
 */
void rdisk_qp_break(struct rdisk_qp *qp);
/* Broken, and every work request has completed or its device is gone. */
bool rdisk_qp_drained(const struct rdisk_qp *qp);

#endif
