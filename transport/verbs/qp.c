/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/verbs/qp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transport/base/contract.h"

/*
 * wr_id: whether it is a receive, the tag, and of a send the low bits of its
 * sequence number, of a receive the buffer's index.
 */
#define WR_RECV      (1ull << 63)
#define WR_TAG_SHIFT 40
#define WR_NUMBER    ((1ull << WR_TAG_SHIFT) - 1)

_Static_assert(RDISK_QP_TAGS == 1u << (63 - WR_TAG_SHIFT), "tags fit");

static uint64_t wr_id(const struct rdisk_qp *qp, uint64_t number)
{
    return (uint64_t)qp->config.tag << WR_TAG_SHIFT | (number & WR_NUMBER);
}

/* ---- ERROR ------------------------------------------------------------ */

static void enter_error(struct rdisk_qp *qp)
{
    struct ibv_qp_attr attr = { .qp_state = IBV_QPS_ERR };
    int ret = qp->env->verbs->modify_qp(qp->qp, &attr, IBV_QP_STATE);

    if (ret < 0) {
        if (ret == -EIO) {
            /* With its device, see cq.c. */
            atomic_store(&qp->gone, true);
        }
        rdisk_log(qp->env, RDISK_LOG_ERROR,
                  "moving a queue pair to ERROR failed: %s", strerror(-ret));
    }
}

/* ---- Receives --------------------------------------------------------- */

static void post_receives(struct rdisk_qp *qp, struct ibv_recv_wr *chain,
                          unsigned int n)
{
    struct ibv_recv_wr *bad = chain;
    bool whole = false;
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
    RDISK_CONTRACT(n <= qp->recv_spent);
    qp->recv_posted += n;
    qp->recv_spent -= n;
    /*
     * Another thread may have broken it since the check above. rxe flushes what
     * is posted when ERROR is entered, and not what comes later: enter it
     * again. Writing the flag puts the two threads in an order; in the other
     * one the flush finds these receives.
     */
    if (!atomic_compare_exchange_strong(&qp->broken, &whole, false)) {
        enter_error(qp);
    }
}

/* Post the spent receives of a data queue again, in one go. */
static void replenish(struct rdisk_qp *qp)
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
        .wr_id = WR_RECV | wr_id(qp, buffer),
        .sg_list = &sge,
        .num_sge = 1,
    };

    post_receives(qp, &wr, 1);
}

/* ---- Creation --------------------------------------------------------- */

static int allocate(struct rdisk_qp *qp, struct rdisk_error *err)
{
    const struct rdisk_qp_config *config = &qp->config;

    qp->stage = calloc(RDISK_QP_STAGE_MAX, sizeof(qp->stage[0]));
    qp->stage_sge = calloc((size_t)RDISK_QP_STAGE_MAX * config->max_sge,
                           sizeof(qp->stage_sge[0]));
    qp->recv_chain = calloc(config->recv_depth, sizeof(qp->recv_chain[0]));
    if (!qp->stage || !qp->stage_sge || !qp->recv_chain) {
        return rdisk_error_set(err, -ENOMEM, "out of memory");
    }
    for (unsigned int i = 0; i < RDISK_QP_STAGE_MAX; i++) {
        qp->stage[i].sg_list = qp->stage_sge + (size_t)i * config->max_sge;
        qp->stage[i].next = &qp->stage[i + 1]; /* the last one is never used */
    }
    for (unsigned int i = 0; i < config->recv_depth; i++) {
        qp->recv_chain[i].wr_id = WR_RECV | wr_id(qp, 0);
        if (i + 1 < config->recv_depth) {
            qp->recv_chain[i].next = &qp->recv_chain[i + 1];
        }
    }
    return 0;
}

static int choose_cq(struct rdisk_qp *qp, struct rdisk_error *err)
{
    const struct rdisk_qp_config *config = &qp->config;
    int ret;

    qp->cq = config->cq ? config->cq : &qp->own;
    if (config->cq) {
        return 0;
    }
    /* In ERROR every send and receive completes, signalled or not. */
    ret = rdisk_cq_create(&qp->own, qp->env, qp->id->verbs,
                          config->send_depth + config->recv_depth,
                          config->vector, err);
    qp->own.in_turns = !config->recv_buffers;
    return ret;
}

/* A device may offer less inline space than requested, down to none. */
static int create_qp(struct rdisk_qp *qp, struct ibv_pd *pd,
                     struct rdisk_error *err)
{
    struct rdisk_qp_config *config = &qp->config;

    for (;;) {
        struct ibv_qp_init_attr attr = {
            .send_cq = qp->cq->cq,
            .recv_cq = qp->cq->cq,
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
            return rdisk_error_set(
                err, ret,
                "cannot create a queue pair of %u sends and %u receives: %s",
                config->send_depth, config->recv_depth, strerror(-ret));
        }
        config->max_inline = config->max_inline > 64 ? config->max_inline / 2
                                                     : 0;
    }
}

int rdisk_qp_begin(struct rdisk_qp *qp, struct rdisk_error *err)
{
    qp->recv_spent = qp->config.recv_depth;
    if (!qp->config.recv_buffers) {
        replenish(qp);
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
        ret = choose_cq(qp, err);
    }
    if (ret == 0) {
        ret = create_qp(qp, pd, err);
    }
    if (ret == 0 && !config->cq) {
        ret = rdisk_qp_begin(qp, err);
    }
    if (ret < 0) {
        rdisk_qp_destroy(qp);
    }
    return ret;
}

void rdisk_qp_destroy(struct rdisk_qp *qp)
{
    if (!qp->env) {
        return;
    }
    if (qp->qp) {
        qp->env->verbs->destroy_qp(qp->id);
    }
    rdisk_cq_destroy(&qp->own);
    free(qp->stage);
    free(qp->stage_sge);
    free(qp->recv_chain);
    qp->qp = NULL;
    qp->cq = NULL;
    qp->stage = NULL;
    qp->stage_sge = NULL;
    qp->recv_chain = NULL;
    qp->env = NULL;
}

int rdisk_qp_fd(const struct rdisk_qp *qp)
{
    return rdisk_cq_fd(qp->cq);
}

/* ---- Sends ------------------------------------------------------------ */

/*
 * On a broken queue pair, prove the sends that completed unsignalled: nothing
 * is left in the device to flush for them, so one more, signalled, is posted
 * behind them. It writes nothing, whether or not ERROR is reached before it.
 */
static void post_last(struct rdisk_qp *qp)
{
    struct ibv_send_wr wr = {
        .wr_id = wr_id(qp, qp->send_posted),
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
              "cannot post a last send on a broken queue pair (%s): its "
              "unsignalled sends count as completed",
              strerror(-ret));
    qp->send_done = qp->send_posted;
}

/* Number them, and signal so many that the send queue never stays full for lack
 * of a completion. */
static void number_staged(struct rdisk_qp *qp, unsigned int n)
{
    unsigned int cadence = qp->config.send_depth / 4 + 1;

    for (unsigned int i = 0; i < n; i++) {
        qp->stage[i].wr_id = wr_id(qp, qp->send_posted + i);
        if (++qp->send_silent >= cadence) {
            qp->stage[i].send_flags |= IBV_SEND_SIGNALED;
            qp->send_silent = 0;
        }
    }
}

void rdisk_qp_post_staged(struct rdisk_qp *qp)
{
    struct ibv_send_wr *bad, *last;
    unsigned int n = qp->staged;
    int ret;

    /* Receives first: what the peer sends upon this must never find none. A
     * control queue has posted its own with each message. */
    RDISK_CONTRACT(!qp->config.recv_buffers || !qp->recv_spent ||
                   atomic_load(&qp->broken));
    replenish(qp);
    if (atomic_load_explicit(&qp->broken, memory_order_relaxed)) {
        qp->staged = 0;
        post_last(qp);
        return;
    }
    if (n == 0) {
        return;
    }
    qp->staged = 0;
    number_staged(qp, n);
    last = &qp->stage[n - 1];
    last->next = NULL;
    ret = qp->env->verbs->post_send(qp->qp, qp->stage, &bad);
    last->next = last + 1;
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

/* ---- Completions ------------------------------------------------------ */

uint32_t rdisk_qp_tag(const struct ibv_wc *wc)
{
    return (uint32_t)((wc->wr_id & ~WR_RECV) >> WR_TAG_SHIFT);
}

/* Only wr_id and status of a failed completion are defined. */
bool rdisk_qp_take(struct rdisk_qp *qp, const struct ibv_wc *wc,
                   struct rdisk_qp_completion *out)
{
    bool receive = wc->wr_id & WR_RECV;

    if (receive) {
        RDISK_CONTRACT(qp->recv_posted);
        qp->recv_posted--;
        qp->recv_spent++;
    } else {
        /* This one, and all between it and the last one known, unless
         * post_last() has given them up. */
        uint64_t more = ((wc->wr_id - qp->send_done) & WR_NUMBER) + 1;

        if (more <= qp->send_posted - qp->send_done) {
            qp->send_done += more;
        }
    }
    if (wc->status != IBV_WC_SUCCESS) {
        if (atomic_load(&qp->reason) == IBV_WC_SUCCESS &&
            wc->status != IBV_WC_WR_FLUSH_ERR) {
            atomic_store(&qp->reason, (int)wc->status);
        }
        if (!atomic_load(&qp->broken)) {
            atomic_store(&qp->failed, true);
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
    out->buffer = (unsigned int)(wc->wr_id & WR_NUMBER);
    out->length = wc->byte_len;
    return true;
}

void rdisk_qp_lose_cq(struct rdisk_qp *qp)
{
    if (atomic_load(&qp->cq->gone)) {
        atomic_store(&qp->gone, true);
    }
    rdisk_qp_break(qp);
}

bool rdisk_qp_next(struct rdisk_qp *qp, struct rdisk_qp_completion *out)
{
    const struct ibv_wc *wc;

    while ((wc = rdisk_cq_next(qp->cq))) {
        if (rdisk_qp_take(qp, wc, out)) {
            return true;
        }
    }
    rdisk_qp_drain_events(qp);
    return false;
}

bool rdisk_qp_pending(struct rdisk_qp *qp)
{
    return rdisk_cq_pending(qp->cq) || rdisk_cq_failed(qp->cq);
}

void rdisk_qp_take_events(struct rdisk_qp *qp)
{
    if (rdisk_cq_take_event(qp->cq)) {
        rdisk_counter_add(&qp->config.counters->wakeups, 1);
    }
    rdisk_qp_drain_events(qp);
}

void rdisk_qp_arm(struct rdisk_qp *qp)
{
    rdisk_cq_arm(qp->cq);
    rdisk_qp_drain_events(qp);
}

/* ---- The end ---------------------------------------------------------- */

void rdisk_qp_break(struct rdisk_qp *qp)
{
    if (qp->qp && !atomic_exchange(&qp->broken, true)) {
        enter_error(qp);
    }
}

bool rdisk_qp_drained(const struct rdisk_qp *qp)
{
    if (!atomic_load(&qp->broken)) {
        return false;
    }
    return atomic_load(&qp->gone)
               ? rdisk_cq_empty(qp->cq)
               : qp->recv_posted == 0 && qp->send_done == qp->send_posted;
}
