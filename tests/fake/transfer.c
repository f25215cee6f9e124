/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What happens between two queue pairs.
 *
 * The sender turns its oldest work request into packets, reading its memory as
 * it does so; the responder executes packets in their order; the sender takes
 * the answers in the same order. Each of these is a step of its own, and so is
 * each completion of a flush.
 */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* ---- Completions ------------------------------------------------------ */

void fake_cqe_poison(struct fake_qp *qp, struct fake_cqe *cqe)
{
    uint8_t *bytes = (uint8_t *)&cqe->wc;

    for (size_t i = 0; i < sizeof(cqe->wc); i++) {
        bytes[i] = fake_pick(qp->host->fabric, 256);
    }
    cqe->wc.qp_num = qp->qp.qp_num;
}

static enum ibv_wc_opcode send_wc_opcode(enum ibv_wr_opcode opcode)
{
    switch (opcode) {
    case IBV_WR_SEND:
        return IBV_WC_SEND;
    case IBV_WR_BIND_MW:
        return IBV_WC_BIND_MW;
    case IBV_WR_LOCAL_INV:
        return IBV_WC_LOCAL_INV;
    case IBV_WR_RDMA_READ:
        return IBV_WC_RDMA_READ;
    default:
        return IBV_WC_RDMA_WRITE;
    }
}

static void complete_send(struct fake_qp *qp, enum ibv_wc_status status)
{
    struct fake_send *send = fake_send_at(qp, qp->send_acked);
    struct fake_cqe cqe = { .send = true, .sequence = qp->send_acked };

    if (qp->ack_limited && qp->send_acked == qp->ack_limit &&
        fake_is_local(send->opcode)) {
        qp->ack_limit++; /* needed no answer */
    }
    qp->send_acked++;
    free(send->answer);
    send->answer = NULL;
    qp->resends = 0;
    qp->resend_due = 0;
    if (status == IBV_WC_SUCCESS && !send->signalled) {
        return;
    }
    fake_cqe_poison(qp, &cqe);
    cqe.wc.wr_id = send->wr_id;
    cqe.wc.status = status;
    if (status == IBV_WC_SUCCESS) {
        cqe.wc.opcode = send_wc_opcode(send->opcode);
        cqe.wc.wc_flags = 0;
    }
    fake_cq_push(qp->send_cq, &cqe, false);
}

/* ---- Sending ---------------------------------------------------------- */

/* True if the device may use the sender's own memory. */
static bool local_allowed(struct fake_qp *qp, const struct fake_send *send)
{
    int access = send->opcode == IBV_WR_RDMA_READ ? IBV_ACCESS_LOCAL_WRITE : 0;

    for (int i = 0; i < send->num_sge && !send->is_inline; i++) {
        const struct ibv_sge *sge = &send->sges[i];

        if (sge->length && !fake_key_allows(qp->host, qp->pd, false, sge->lkey,
                                            sge->addr, sge->length, access)) {
            return false;
        }
    }
    return true;
}

static void gather(const struct fake_send *send, uint8_t *to, uint32_t size)
{
    uint32_t skip = send->sent;

    if (send->is_inline) {
        memcpy(to, send->inline_data + skip, size);
        return;
    }
    for (int i = 0; size; i++) {
        const struct ibv_sge *sge = &send->sges[i];
        uint32_t here;

        if (skip >= sge->length) {
            skip -= sge->length;
            continue;
        }
        here = sge->length - skip;
        here = here < size ? here : size;
        memcpy(to, (const uint8_t *)(uintptr_t)sge->addr + skip, here);
        to += here;
        size -= here;
        skip = 0;
    }
}

static uint64_t sum_of(const struct ibv_sge *sge)
{
    const uint8_t *bytes = (const uint8_t *)(uintptr_t)sge->addr;
    uint64_t sum = 14695981039346656037ull; /* FNV-1a */

    for (uint32_t i = 0; i < sge->length; i++) {
        sum = (sum ^ bytes[i]) * 1099511628211ull;
    }
    return sum;
}

static void remember(struct fake_send *send)
{
    for (int i = 0; i < send->num_sge && !send->is_inline; i++) {
        send->sums[i] = sum_of(&send->sges[i]);
    }
}

/* How many bytes go out together: a write may land in several pieces. */
static uint32_t piece_of(struct fake_qp *qp, const struct fake_send *send)
{
    struct fake_fabric *fabric = qp->host->fabric;
    uint32_t left = send->length - send->sent;

    if (fabric->automatic || send->opcode == IBV_WR_SEND || left <= FAKE_MTU ||
        fake_pick(fabric, 2)) {
        return left;
    }
    return (1 + fake_pick(fabric, (left - 1) / FAKE_MTU)) * FAKE_MTU;
}

void fake_qp_skip_local(struct fake_qp *qp)
{
    while (qp->send_executed != qp->send_sent &&
           fake_is_local(fake_send_at(qp, qp->send_executed)->opcode)) {
        qp->send_executed++;
    }
}

static void execute_local(struct fake_qp *qp, struct fake_send *send)
{
    send->status = fake_window_execute(qp, send);
    if (send->status != IBV_WC_SUCCESS) {
        qp->refused = true;
        return;
    }
    qp->send_sent++;
    fake_qp_skip_local(qp);
}

static void transmit(struct fake_qp *qp)
{
    struct fake_send *send = fake_send_at(qp, qp->send_sent);
    bool reads = send->opcode == IBV_WR_RDMA_READ;
    struct fake_packet *packet;
    uint32_t size;

    if (!fake_linked(qp->host) && !fake_is_local(send->opcode)) {
        complete_send(qp, IBV_WC_LOC_QP_OP_ERR);
        fake_qp_fail(qp);
        return;
    }
    if (fake_is_local(send->opcode)) {
        execute_local(qp, send);
        return;
    }
    if (!local_allowed(qp, send)) {
        send->status = IBV_WC_LOC_PROT_ERR;
        qp->refused = true;
        return;
    }
    if (qp->host->fabric->resend && !send->sent && !reads) {
        remember(send);
    }
    size = reads ? 0 : piece_of(qp, send);
    packet = fake_alloc(sizeof(*packet) + size);
    packet->from_host = qp->host;
    packet->from = qp->qp.qp_num;
    packet->sequence = qp->send_sent;
    packet->opcode = send->opcode;
    packet->solicited = send->solicited;
    packet->imm = send->imm;
    packet->rkey = send->rkey;
    packet->remote_start = send->remote;
    packet->remote = send->remote + send->sent;
    packet->total = send->length;
    packet->size = size;
    gather(send, packet->data, size);
    send->sent += reads ? send->length : size;
    packet->last = send->sent == send->length;
    STAILQ_INSERT_TAIL(&qp->peer->wire, packet, link);
    fake_qp_touch(qp->peer);
    if (packet->last) {
        qp->send_sent++;
    }
}

/* ---- Answers ---------------------------------------------------------- */

static void take_answer(struct fake_qp *qp)
{
    struct fake_send *send = fake_send_at(qp, qp->send_acked);

    if (qp->send_acked != qp->send_executed && send->answer) {
        if (!local_allowed(qp, send)) {
            complete_send(qp, IBV_WC_LOC_PROT_ERR);
            fake_qp_fail(qp);
            return;
        }
        fake_read_land(qp, send);
    }
    if (qp->send_acked != qp->send_executed) {
        complete_send(qp, IBV_WC_SUCCESS);
        return;
    }
    complete_send(qp, fake_send_at(qp, qp->send_acked)->status);
    fake_qp_fail(qp);
}

static void expire(struct fake_qp *qp)
{
    complete_send(qp, IBV_WC_RETRY_EXC_ERR);
    fake_qp_fail(qp);
}

/* ---- Sending again ----------------------------------------------------- */

/* The peer has executed something, and the acknowledgement is lost. */
static bool unacknowledged(struct fake_qp *qp)
{
    return qp->acks_lost && qp->send_acked != qp->send_executed &&
           !fake_is_local(fake_send_at(qp, qp->send_acked)->opcode);
}

static void read_again(struct fake_qp *qp, const struct fake_send *send)
{
    struct fake_fabric *fabric = qp->host->fabric;

    for (int i = 0; i < send->num_sge && !send->is_inline; i++) {
        const struct ibv_sge *sge = &send->sges[i];
        struct fake_resend resend = {
            .host = qp->host,
            .address = (const void *)(uintptr_t)sge->addr,
            .length = sge->length,
            .changed = sum_of(sge) != send->sums[i],
        };

        fabric->resend(fabric->resend_opaque, &resend);
    }
}

/* The peer discards what it has executed before. */
static void send_again(struct fake_qp *qp)
{
    qp->resends++;
    qp->resend_due = 0;
    for (uint32_t i = qp->send_acked; i != qp->send_executed; i++) {
        struct fake_send *send = fake_send_at(qp, i);

        if (fake_is_local(send->opcode)) {
            continue;
        }
        if (!local_allowed(qp, send)) {
            complete_send(qp, IBV_WC_LOC_PROT_ERR);
            fake_qp_fail(qp);
            return;
        }
        if (qp->host->fabric->resend && send->opcode != IBV_WR_RDMA_READ) {
            read_again(qp, send);
        }
    }
}

/* ---- What can happen -------------------------------------------------- */

enum action {
    TRANSMIT,
    ARRIVE,
    ANSWER,
    EXPIRE,
    RESEND,
    FLUSH_SEND,
    FLUSH_RECEIVE,
    ACTIONS
};

static bool path_up(struct fake_qp *qp, uint64_t *next)
{
    uint64_t due;

    if (qp->cut) {
        return false;
    }
    if (fake_link_up(qp->host, qp->peer_host, &due)) {
        return true;
    }
    *next = due < *next ? due : *next;
    return false;
}

static bool arrival_ready(struct fake_qp *qp, uint64_t *next)
{
    struct fake_packet *packet = STAILQ_FIRST(&qp->wire);

    if (!packet) {
        return false;
    }
    if (qp->qp.state == IBV_QPS_ERR) {
        return qp->late;
    }
    if (qp->qp.state != IBV_QPS_RTS || !path_up(qp, next)) {
        return false;
    }
    if (qp->wire_due > qp->host->fabric->now) {
        *next = qp->wire_due < *next ? qp->wire_due : *next;
        return false;
    }
    return true;
}

/* True if the peer executes what this one sends. */
static bool peer_listens(const struct fake_qp *qp)
{
    return qp->peer && qp->peer->peer_num == qp->qp.qp_num &&
           qp->peer->qp.state == IBV_QPS_RTS;
}

static bool answer_waits(struct fake_qp *qp)
{
    if (unacknowledged(qp)) {
        return false;
    }
    if (qp->ack_limited && qp->send_acked == qp->ack_limit && !qp->refused &&
        !fake_is_local(fake_send_at(qp, qp->send_acked)->opcode)) {
        return false;
    }
    return qp->send_acked != qp->send_executed ||
           (qp->send_acked != qp->send_posted &&
            fake_send_at(qp, qp->send_acked)->status != IBV_WC_SUCCESS);
}

static uint64_t retry_time(const struct fake_qp *qp)
{
    return (qp->retry_count + 1ull) * (4096ull << qp->ack_timeout);
}

/* The device sends again, or has done so as often as it may. */
static unsigned int resend_actions(struct fake_qp *qp, uint64_t *next)
{
    uint64_t now = qp->host->fabric->now;

    if (!qp->ack_timeout) {
        return 0;
    }
    if (!qp->resend_due) {
        qp->resend_due = now + (4096ull << qp->ack_timeout);
    }
    if (qp->resend_due > now) {
        *next = qp->resend_due < *next ? qp->resend_due : *next;
        return 0;
    }
    return qp->retry_count == 7 || qp->resends < qp->retry_count ? 1u << RESEND
                                                                 : 1u << EXPIRE;
}

/* Actions of a queue pair that is ready to send. */
static unsigned int sender_actions(struct fake_qp *qp, uint64_t *next)
{
    uint64_t now = qp->host->fabric->now;
    unsigned int actions = 0;
    uint64_t due;
    bool up;

    if (qp->send_acked == qp->send_posted) {
        qp->stalled = RDISK_NEVER;
        return 0;
    }
    up = path_up(qp, next);
    if ((up || fake_is_local(fake_send_at(qp, qp->send_acked)->opcode)) &&
        answer_waits(qp)) {
        actions |= 1u << ANSWER;
    }
    if (qp->send_sent != qp->send_posted && !qp->refused &&
        !fake_read_must_wait(qp) &&
        ((up && peer_listens(qp)) || !fake_linked(qp->host) ||
         fake_is_local(fake_send_at(qp, qp->send_sent)->opcode))) {
        actions |= 1u << TRANSMIT;
    }
    if (unacknowledged(qp)) {
        qp->stalled = RDISK_NEVER;
        return actions | resend_actions(qp, next);
    }
    if (actions || (up && peer_listens(qp))) {
        qp->stalled = RDISK_NEVER;
        return actions;
    }
    if (qp->stalled == RDISK_NEVER) {
        qp->stalled = now;
    }
    /* An acknowledgement timeout of 0 means to wait indefinitely; and rxe takes
     * 7 retries for no limit. */
    due = qp->ack_timeout && qp->retry_count != 7 ? qp->stalled + retry_time(qp)
                                                  : RDISK_NEVER;
    if (due <= now) {
        return 1u << EXPIRE;
    }
    *next = due < *next ? due : *next;
    return 0;
}

static unsigned int qp_actions(struct fake_qp *qp, uint64_t *next)
{
    unsigned int actions = 0;

    if (qp->mute) {
        return 0;
    }
    if (qp->qp.state == IBV_QPS_RTS) {
        actions = sender_actions(qp, next);
    } else if (qp->qp.state == IBV_QPS_ERR) {
        if (qp->send_acked != qp->send_posted) {
            actions |= 1u << FLUSH_SEND;
        }
        if (qp->recv_consumed != qp->recv_flush) {
            actions |= 1u << FLUSH_RECEIVE;
        }
        if (!actions) {
            qp->late = false;
        }
    }
    if (arrival_ready(qp, next)) {
        actions |= 1u << ARRIVE;
    }
    return actions;
}

unsigned int fake_qp_ready(struct fake_qp *qp, uint64_t *next)
{
    return __builtin_popcount(qp_actions(qp, next));
}

void fake_qp_deliver(struct fake_qp *qp, unsigned int index)
{
    uint64_t next = RDISK_NEVER;
    unsigned int actions = qp_actions(qp, &next);
    unsigned int action = 0;

    while (!(actions >> action & 1) || index--) {
        action++;
    }
    switch (action) {
    case TRANSMIT:
        transmit(qp);
        break;
    case ARRIVE:
        fake_qp_arrive(qp);
        break;
    case ANSWER:
        take_answer(qp);
        break;
    case EXPIRE:
        expire(qp);
        break;
    case RESEND:
        send_again(qp);
        break;
    case FLUSH_SEND:
        complete_send(qp, IBV_WC_WR_FLUSH_ERR);
        break;
    default:
        fake_receive_complete(qp, IBV_WC_WR_FLUSH_ERR, NULL);
        break;
    }
}

static bool reads_from(const struct fake_send *send, uint64_t start,
                       uint64_t length)
{
    for (int i = 0; i < send->num_sge && !send->is_inline; i++) {
        const struct ibv_sge *sge = &send->sges[i];

        if (sge->addr < start + length && start < sge->addr + sge->length) {
            return true;
        }
    }
    return false;
}

bool fake_host_sends(struct fake_host *host, const void *address, size_t length)
{
    struct fake_qp *qp;
    bool sends = false;

    fake_lock(host->fabric);
    TAILQ_FOREACH(qp, &host->fabric->qps, link) {
        if (qp->host != host || qp->qp.state != IBV_QPS_RTS) {
            continue;
        }
        for (uint32_t i = qp->send_acked; i != qp->send_posted; i++) {
            sends |= reads_from(fake_send_at(qp, i), (uintptr_t)address,
                                length);
        }
    }
    pthread_mutex_unlock(&host->fabric->mutex);
    return sends;
}
