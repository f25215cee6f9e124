/* SPDX-License-Identifier: BSD-3-Clause */
#include "qp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* wr_id of a receive: this bit and the buffer's index. */
#define WR_RECV         (1ull << 63)
#define STAGE_MAX       64u     /* work requests per doorbell */
#define EVENTS_MAX      64u     /* acknowledging takes a lock: in batches */

/* ---- Creation --------------------------------------------------------- */

static int allocate(struct rdisk_qp *qp, struct rdisk_error *err)
{
    const struct rdisk_qp_config *config = &qp->config;

    qp->stage = calloc(STAGE_MAX, sizeof(qp->stage[0]));
    qp->stage_sge = calloc((size_t)STAGE_MAX * config->max_sge,
                           sizeof(qp->stage_sge[0]));
    qp->recv_chain = calloc(config->recv_depth, sizeof(qp->recv_chain[0]));
    if (!qp->stage || !qp->stage_sge || !qp->recv_chain) {
        return rdisk_error_set(err, -ENOMEM, "out of memory");
    }
    for (unsigned int i = 0; i < STAGE_MAX; i++) {
        qp->stage[i].sg_list = qp->stage_sge + (size_t)i * config->max_sge;
    }
    for (unsigned int i = 0; i < config->recv_depth; i++) {
        qp->recv_chain[i].wr_id = WR_RECV;
        if (i + 1 < config->recv_depth) {
            qp->recv_chain[i].next = &qp->recv_chain[i + 1];
        }
    }
    return 0;
}

static int create_cq(struct rdisk_qp *qp, struct rdisk_error *err)
{
    const struct rdisk_verbs *verbs = qp->env->verbs;
    /* In ERROR every send and receive completes, signalled or not. */
    int depth = (int)(qp->config.send_depth + qp->config.recv_depth);

    qp->channel = verbs->create_comp_channel(qp->id->verbs);
    if (!qp->channel) {
        return rdisk_error_set(err, -errno,
            "cannot create a completion channel: %s", strerror(errno));
    }
    qp->cq = verbs->create_cq(qp->id->verbs, depth, qp, qp->channel,
                              qp->config.vector);
    if (!qp->cq) {
        return rdisk_error_set(err, -errno,
            "cannot create a completion queue of %d entries: %s", depth,
            strerror(errno));
    }
    return 0;
}

/* A device may offer less inline space than wished, down to none. */
static int create_qp(struct rdisk_qp *qp, struct ibv_pd *pd,
                     struct rdisk_error *err)
{
    struct rdisk_qp_config *config = &qp->config;

    for (;;) {
        struct ibv_qp_init_attr attr = {
            .send_cq = qp->cq,
            .recv_cq = qp->cq,
            .qp_type = IBV_QPT_RC,
            .cap = {
                .max_send_wr = config->send_depth,
                .max_recv_wr = config->recv_depth,
                .max_send_sge = config->max_sge,
                .max_recv_sge = 1,
                .max_inline_data = config->max_inline,
            },
        };
        int ret = qp->env->verbs->create_qp(qp->id, pd, &attr);

        if (ret == 0) {
            qp->qp = qp->id->qp;
            return 0;
        }
        if (!config->max_inline) {
            return rdisk_error_set(err, ret,
                "cannot create a queue pair of %u sends and %u receives: %s",
                config->send_depth, config->recv_depth, strerror(-ret));
        }
        config->max_inline = config->max_inline > 64
                             ? config->max_inline / 2 : 0;
    }
}

static int post_all_receives(struct rdisk_qp *qp, struct rdisk_error *err)
{
    qp->recv_spent = qp->config.recv_depth;
    if (!qp->config.recv_buffers) {
        rdisk_qp_replenish(qp);
    } else {
        for (unsigned int i = 0; i < qp->config.recv_depth; i++) {
            rdisk_qp_replenish_buffer(qp, i);
        }
    }
    if (qp->recv_posted != qp->config.recv_depth) {
        return rdisk_error_set(err, -EIO, "cannot post %u receives",
                               qp->config.recv_depth);
    }
    return 0;
}

int rdisk_qp_create(struct rdisk_qp *qp, const struct rdisk_env *env,
                    struct rdma_cm_id *id, struct ibv_pd *pd,
                    const struct rdisk_qp_config *config,
                    struct rdisk_error *err)
{
    int ret;

    memset(qp, 0, sizeof(*qp));
    qp->env = env;
    qp->id = id;
    qp->config = *config;
    ret = allocate(qp, err);
    if (ret == 0) {
        ret = create_cq(qp, err);
    }
    if (ret == 0) {
        ret = create_qp(qp, pd, err);
    }
    if (ret == 0) {
        ret = post_all_receives(qp, err);
    }
    if (ret < 0) {
        rdisk_qp_destroy(qp);
    }
    return ret;
}

void rdisk_qp_destroy(struct rdisk_qp *qp)
{
    const struct rdisk_verbs *verbs;

    if (!qp->env) {
        return;
    }
    verbs = qp->env->verbs;
    if (qp->qp) {
        verbs->destroy_qp(qp->id);
    }
    if (qp->cq) {
        rdisk_qp_take_events(qp);
        if (qp->events) {
            verbs->ack_cq_events(qp->cq, qp->events);
        }
        verbs->destroy_cq(qp->cq);
    }
    if (qp->channel) {
        verbs->destroy_comp_channel(qp->channel);
    }
    free(qp->stage);
    free(qp->stage_sge);
    free(qp->recv_chain);
    qp->qp = NULL;
    qp->cq = NULL;
    qp->channel = NULL;
    qp->stage = NULL;
    qp->stage_sge = NULL;
    qp->recv_chain = NULL;
    qp->env = NULL;
}

int rdisk_qp_fd(const struct rdisk_qp *qp)
{
    return qp->channel->fd;
}

/* ---- Sends ------------------------------------------------------------ */

unsigned int rdisk_qp_room(const struct rdisk_qp *qp)
{
    return qp->config.send_depth - qp->staged -
           (unsigned int)(qp->send_posted - qp->send_done);
}

struct ibv_send_wr *rdisk_qp_stage(struct rdisk_qp *qp)
{
    struct ibv_send_wr *wr;
    struct ibv_sge *sge;

    if (qp->staged == STAGE_MAX) {
        rdisk_qp_post(qp);
    }
    wr = &qp->stage[qp->staged];
    sge = wr->sg_list;
    memset(wr, 0, sizeof(*wr));
    wr->sg_list = sge;
    if (qp->staged) {
        qp->stage[qp->staged - 1].next = wr;
    }
    qp->staged++;
    return wr;
}

/*
 * On a broken queue pair, prove the sends that completed in silence: nothing
 * is left in the device to flush for them, so one more, signalled, is posted
 * behind them. It writes nothing, whether or not ERROR is reached before it.
 */
static void post_last(struct rdisk_qp *qp)
{
    struct ibv_send_wr wr = {
        .wr_id = qp->send_posted,
        .opcode = IBV_WR_RDMA_WRITE,
        .send_flags = IBV_SEND_SIGNALED,
    };
    struct ibv_send_wr *bad;
    int ret;

    if (qp->last_posted || qp->send_done == qp->send_posted ||
        rdisk_qp_room(qp) == 0 || atomic_load(&qp->gone) ||
        !atomic_load_explicit(&qp->broken, memory_order_acquire)) {
        return;
    }
    qp->last_posted = true;
    ret = qp->env->verbs->post_send(qp->qp, &wr, &bad);
    if (ret == 0) {
        qp->send_posted++;
        return;
    }
    rdisk_log(qp->env, RDISK_LOG_WARNING,
              "a broken queue pair takes no last send (%s): its silent sends "
              "count as done", strerror(-ret));
    qp->send_done = qp->send_posted;
}

void rdisk_qp_post(struct rdisk_qp *qp)
{
    /* Often enough that the room never runs out for want of a completion. */
    unsigned int cadence = qp->config.send_depth / 4 + 1;
    struct ibv_send_wr *bad;
    unsigned int n = qp->staged;
    int ret;

    if (atomic_load_explicit(&qp->broken, memory_order_relaxed)) {
        qp->staged = 0;
        post_last(qp);
        return;
    }
    if (n == 0) {
        return;
    }
    qp->staged = 0;
    for (unsigned int i = 0; i < n; i++) {
        qp->stage[i].wr_id = qp->send_posted + i;
        if (++qp->send_silent >= cadence) {
            qp->stage[i].send_flags |= IBV_SEND_SIGNALED;
            qp->send_silent = 0;
        }
    }
    ret = qp->env->verbs->post_send(qp->qp, qp->stage, &bad);
    if (ret < 0) {
        /* The device took those before the bad one. */
        n = (unsigned int)(bad - qp->stage);
        rdisk_log(qp->env, RDISK_LOG_ERROR, "posting a send failed: %s",
                  strerror(-ret));
        atomic_store(&qp->reason, IBV_WC_GENERAL_ERR);
        rdisk_qp_break(qp);
    }
    qp->send_posted += n;
    rdisk_counter_add(&qp->config.counters->work_requests, n);
    rdisk_counter_add(&qp->config.counters->doorbells, 1);
}

/* ---- Receives --------------------------------------------------------- */

static void post_receives(struct rdisk_qp *qp, struct ibv_recv_wr *chain,
                          unsigned int n)
{
    struct ibv_recv_wr *bad = chain;
    int ret;

    if (atomic_load_explicit(&qp->broken, memory_order_relaxed)) {
        return;
    }
    ret = qp->env->verbs->post_recv(qp->qp, chain, &bad);
    if (ret < 0) {
        for (n = 0; chain != bad; chain = chain->next) {
            n++;
        }
        rdisk_log(qp->env, RDISK_LOG_ERROR, "posting a receive failed: %s",
                  strerror(-ret));
        atomic_store(&qp->reason, IBV_WC_GENERAL_ERR);
        rdisk_qp_break(qp);
    }
    qp->recv_posted += n;
    qp->recv_spent -= n;
}

void rdisk_qp_replenish(struct rdisk_qp *qp)
{
    unsigned int n = qp->recv_spent;
    struct ibv_recv_wr *last;
    struct ibv_recv_wr *rest;

    if (n == 0) {
        return;
    }
    last = &qp->recv_chain[n - 1];
    rest = last->next;
    last->next = NULL;
    post_receives(qp, qp->recv_chain, n);
    last->next = rest;
}

void rdisk_qp_replenish_buffer(struct rdisk_qp *qp, unsigned int buffer)
{
    struct ibv_sge sge = {
        .addr = (uintptr_t)qp->config.recv_buffers +
                (uint64_t)buffer * qp->config.recv_size,
        .length = qp->config.recv_size,
        .lkey = qp->config.recv_lkey,
    };
    struct ibv_recv_wr wr = {
        .wr_id = WR_RECV | buffer,
        .sg_list = &sge,
        .num_sge = 1,
    };

    post_receives(qp, &wr, 1);
}

/* ---- Completions ------------------------------------------------------ */

/* Refill the parking place; false if the device has nothing. */
static bool poll_device(struct rdisk_qp *qp)
{
    int n;

    if (qp->parked_next < qp->parked_count) {
        return true;
    }
    n = qp->env->verbs->poll_cq(qp->cq, RDISK_QP_BATCH, qp->parked);
    if (n < 0) {
        rdisk_log(qp->env, RDISK_LOG_ERROR, "polling completions failed: %s",
                  strerror(-n));
        rdisk_qp_break(qp);
        /* What lies there already will wake nobody again, and without it the
         * queue pair would never count as drained. */
        n = qp->env->verbs->poll_cq(qp->cq, RDISK_QP_BATCH, qp->parked);
        n = n < 0 ? 0 : n;
    }
    qp->parked_next = 0;
    qp->parked_count = (unsigned int)n;
    return n > 0;
}

/* Only wr_id and status of a failed completion are defined. */
static bool account(struct rdisk_qp *qp, const struct ibv_wc *wc,
                    struct rdisk_qp_completion *out)
{
    bool receive = wc->wr_id & WR_RECV;

    if (receive) {
        qp->recv_posted--;
        qp->recv_spent++;
    } else {
        qp->send_done = wc->wr_id + 1;
    }
    if (wc->status != IBV_WC_SUCCESS) {
        if (atomic_load(&qp->reason) == IBV_WC_SUCCESS &&
            wc->status != IBV_WC_WR_FLUSH_ERR) {
            atomic_store(&qp->reason, (int)wc->status);
        }
        rdisk_qp_break(qp);
        return false;
    }
    if (!receive) {
        return false;
    }
    rdisk_counter_add(&qp->config.counters->receives, 1);
    out->with_immediate = wc->wc_flags & IBV_WC_WITH_IMM;
    out->immediate = out->with_immediate ? ntohl(wc->imm_data) : 0;
    out->buffer = (unsigned int)(wc->wr_id & ~WR_RECV);
    out->length = wc->byte_len;
    return true;
}

bool rdisk_qp_next(struct rdisk_qp *qp, struct rdisk_qp_completion *out)
{
    while (poll_device(qp)) {
        if (account(qp, &qp->parked[qp->parked_next++], out)) {
            return true;
        }
    }
    return false;
}

bool rdisk_qp_pending(struct rdisk_qp *qp)
{
    return poll_device(qp);
}

/*
 * EIO is the kernel's word for a removed device. It destroys the device's queue
 * pairs before it says so, hence nothing touches our memory any more, but
 * flushed completions need not come (ib_uverbs_free_hw_resources).
 */
static void note_removal(struct rdisk_qp *qp, int code)
{
    if (code == -EIO) {
        atomic_store(&qp->gone, true);
    }
}

/* One completion queue per channel, so arming brings one event at most. */
void rdisk_qp_take_events(struct rdisk_qp *qp)
{
    struct ibv_cq *cq;
    void *context;
    int ret;

    if (!qp->armed) {
        return;
    }
    ret = qp->env->verbs->get_cq_event(qp->channel, &cq, &context);
    if (ret == -EIO) {
        note_removal(qp, ret);
        rdisk_qp_break(qp);
    }
    if (ret < 0) {
        return;
    }
    qp->armed = false;
    rdisk_counter_add(&qp->config.counters->wakeups, 1);
    if (++qp->events >= EVENTS_MAX) {
        qp->env->verbs->ack_cq_events(qp->cq, qp->events);
        qp->events = 0;
    }
}

void rdisk_qp_arm(struct rdisk_qp *qp)
{
    int ret;

    if (qp->armed || atomic_load_explicit(&qp->gone, memory_order_relaxed)) {
        return;
    }
    ret = qp->env->verbs->req_notify_cq(qp->cq, 0);
    if (ret < 0) {
        rdisk_log(qp->env, RDISK_LOG_ERROR, "arming completions failed: %s",
                  strerror(-ret));
        note_removal(qp, ret);
        rdisk_qp_break(qp);
        /* Once more, to hear of the flush. */
        ret = qp->env->verbs->req_notify_cq(qp->cq, 0);
    }
    qp->armed = ret == 0;
}

/* ---- The end ---------------------------------------------------------- */

void rdisk_qp_break(struct rdisk_qp *qp)
{
    struct ibv_qp_attr attr = { .qp_state = IBV_QPS_ERR };
    int ret;

    if (!qp->qp || atomic_exchange(&qp->broken, true)) {
        return;
    }
    ret = qp->env->verbs->modify_qp(qp->qp, &attr, IBV_QP_STATE);
    if (ret < 0) {
        note_removal(qp, ret);
        rdisk_log(qp->env, RDISK_LOG_ERROR,
                  "moving a queue pair to ERROR failed: %s", strerror(-ret));
    }
}

bool rdisk_qp_drained(const struct rdisk_qp *qp)
{
    return atomic_load(&qp->broken) &&
           qp->parked_next == qp->parked_count &&
           (atomic_load(&qp->gone) || (qp->recv_posted == 0 &&
                                       qp->send_done == qp->send_posted));
}
