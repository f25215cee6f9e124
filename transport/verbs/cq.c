/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/verbs/cq.h"

#include <errno.h>
#include <string.h>

#define EVENTS_MAX 64u /* acknowledging takes a lock: in batches */

int rdisk_cq_create(struct rdisk_cq *cq, const struct rdisk_env *env,
                    struct ibv_context *context, unsigned int depth, int vector,
                    struct rdisk_error *err)
{
    const struct rdisk_verbs *verbs = env->verbs;
    int ret;

    memset(cq, 0, sizeof(*cq));
    cq->channel = verbs->create_comp_channel(context);
    if (!cq->channel) {
        return rdisk_error_set(err, -errno,
                               "cannot create a completion channel: %s",
                               strerror(errno));
    }
    cq->cq = verbs->create_cq(context, (int)depth, cq, cq->channel, vector);
    if (!cq->cq) {
        ret = rdisk_error_set(
            err, -errno, "cannot create a completion queue of %u entries: %s",
            depth, strerror(errno));
        verbs->destroy_comp_channel(cq->channel);
        return ret;
    }
    cq->env = env;
    return 0;
}

void rdisk_cq_destroy(struct rdisk_cq *cq)
{
    if (!cq->env) {
        return;
    }
    rdisk_cq_take_event(cq);
    if (cq->events) {
        cq->env->verbs->ack_cq_events(cq->cq, cq->events);
    }
    cq->env->verbs->destroy_cq(cq->cq);
    cq->env->verbs->destroy_comp_channel(cq->channel);
    cq->env = NULL;
}

/* ---- Failures --------------------------------------------------------- */

/*
 * EIO is how the kernel reports a removed device. It destroys the device's
 * queue pairs before that, hence nothing accesses our memory any more, but
 * flushed completions need not come (ib_uverbs_free_hw_resources).
 */
static void note_failure(struct rdisk_cq *cq, int code)
{
    if (code == -EIO) {
        atomic_store(&cq->gone, true);
    }
    atomic_store(&cq->failed, true);
}

/* ---- Completions ------------------------------------------------------ */

bool rdisk_cq_poll(struct rdisk_cq *cq)
{
    int n = cq->env->verbs->poll_cq(cq->cq, RDISK_CQ_BATCH, cq->parked);

    if (n < 0) {
        rdisk_log(cq->env, RDISK_LOG_ERROR, "polling completions failed: %s",
                  strerror(-n));
        atomic_store(&cq->failed, true);
        /* What is in it already causes no further event, and without it no
         * queue pair would ever count as drained. */
        n = cq->env->verbs->poll_cq(cq->cq, RDISK_CQ_BATCH, cq->parked);
        n = n < 0 ? 0 : n;
    }
    cq->parked_next = 0;
    cq->parked_count = (unsigned int)n;
    cq->drained = cq->in_turns && n > 0 && n < RDISK_CQ_BATCH;
    return n > 0;
}

/* ---- Events ----------------------------------------------------------- */

/* One completion queue per channel, so arming brings one event at most. */
bool rdisk_cq_take_event(struct rdisk_cq *cq)
{
    struct ibv_cq *which;
    void *context;
    int ret;

    cq->drained = false;
    if (!cq->armed) {
        return false;
    }
    ret = cq->env->verbs->get_cq_event(cq->channel, &which, &context);
    if (ret == -EIO) {
        note_failure(cq, ret);
    }
    if (ret < 0) {
        return false;
    }
    cq->armed = false;
    if (++cq->events >= EVENTS_MAX) {
        cq->env->verbs->ack_cq_events(cq->cq, cq->events);
        cq->events = 0;
    }
    return true;
}

void rdisk_cq_arm(struct rdisk_cq *cq)
{
    int ret;

    cq->drained = false;
    if (cq->armed || atomic_load_explicit(&cq->gone, memory_order_relaxed)) {
        return;
    }
    ret = cq->env->verbs->req_notify_cq(cq->cq, 0);
    if (ret < 0) {
        rdisk_log(cq->env, RDISK_LOG_ERROR, "arming completions failed: %s",
                  strerror(-ret));
        note_failure(cq, ret);
        /* Once more, to be notified of the flush. */
        ret = cq->env->verbs->req_notify_cq(cq->cq, 0);
    }
    cq->armed = ret == 0;
}
