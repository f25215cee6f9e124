/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Internal to the transport: a completion queue and the channel that signals
 * it. It is one queue pair's own (qp.h), or several share it (target/cq.c).
 *
 * Threads: one at a time, but rdisk_cq_failed() is for any.
 */
#ifndef RDISK_VERBS_CQ_H
#define RDISK_VERBS_CQ_H

#include <stdatomic.h>
#include <stdbool.h>

#include <rdisk/env.h>
#include <rdisk/error.h>
#include "transport/verbs/verbs.h"

#define RDISK_CQ_BATCH 32 /* completions taken per poll */

struct rdisk_cq {
    const struct rdisk_env *env;
    struct ibv_comp_channel *channel;
    struct ibv_cq *cq;

    /* Completions taken from the device and not yet handed out. */
    struct ibv_wc parked[RDISK_CQ_BATCH];
    unsigned int parked_next, parked_count;
    bool in_turns; /* who uses it takes completions, arms, and takes more;
                                   so a poll less will do */
    bool drained;  /* in turns: the device had no more than these */

    unsigned int events; /* taken and not yet acknowledged */
    bool armed;          /* an event will come; asking is a syscall */
    atomic_bool failed;  /* polling, arming or an event went wrong: its
                                   queue pairs are to be broken */
    atomic_bool gone;    /* with its device; nothing comes any more */
};

/* On failure nothing is left behind. */
int rdisk_cq_create(struct rdisk_cq *cq, const struct rdisk_env *env,
                    struct ibv_context *context, unsigned int depth, int vector,
                    struct rdisk_error *err);
/* No queue pair uses it any more. */
void rdisk_cq_destroy(struct rdisk_cq *cq);

static inline int rdisk_cq_fd(const struct rdisk_cq *cq)
{
    return cq->channel->fd;
}

/* True if everything that was taken from the device has been handed out. */
static inline bool rdisk_cq_empty(const struct rdisk_cq *cq)
{
    return cq->parked_next == cq->parked_count;
}

/* Take completions from the device, when all before have been handed out. False
 * if there are none. */
bool rdisk_cq_poll(struct rdisk_cq *cq);

/* True if there is a completion to hand out. Polls the device if none is
 * left. */
static inline bool rdisk_cq_pending(struct rdisk_cq *cq)
{
    return !rdisk_cq_empty(cq) || rdisk_cq_poll(cq);
}

/*
 * The next one, valid until the next call. NULL if there is none. With in_turns
 * also if the device had none behind the last one when that was taken: it is
 * polled again by the next call, by rdisk_cq_pending(), and by the first call
 * after rdisk_cq_take_event() or rdisk_cq_arm(), so that nothing is missed.
 */
static inline const struct ibv_wc *rdisk_cq_next(struct rdisk_cq *cq)
{
    if (rdisk_cq_empty(cq)) {
        if (cq->drained) {
            cq->drained = false;
            return NULL;
        }
        if (!rdisk_cq_poll(cq)) {
            return NULL;
        }
    }
    return &cq->parked[cq->parked_next++];
}

/* Take the event off the channel; false if there was none. */
bool rdisk_cq_take_event(struct rdisk_cq *cq);
/* Request an event at the next completion. Poll once more afterwards. */
void rdisk_cq_arm(struct rdisk_cq *cq);

static inline bool rdisk_cq_failed(const struct rdisk_cq *cq)
{
    return atomic_load_explicit(&cq->failed, memory_order_acquire);
}

#endif
