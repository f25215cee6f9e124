/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a packet does at its receiver: a remote write lands, a message takes a
 * receive, or it is refused.
 */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

void fake_receive_complete(struct fake_qp *qp, enum ibv_wc_status status,
                           const struct fake_packet *packet)
{
    struct fake_receive *receive =
        &qp->receives[qp->recv_consumed % qp->cap.max_recv_wr];
    struct fake_cqe cqe = { .send = false, .sequence = qp->recv_consumed };

    qp->recv_consumed++;
    fake_cqe_poison(qp, &cqe);
    cqe.wc.wr_id = receive->wr_id;
    cqe.wc.status = status;
    if (status == IBV_WC_SUCCESS) {
        cqe.wc.byte_len = packet->total;
        cqe.wc.src_qp = packet->from;
        cqe.wc.wc_flags = 0;
        cqe.wc.opcode = IBV_WC_RECV;
        if (fake_with_immediate(packet->opcode)) {
            cqe.wc.opcode = IBV_WC_RECV_RDMA_WITH_IMM;
            cqe.wc.wc_flags = IBV_WC_WITH_IMM;
            cqe.wc.imm_data = packet->imm;
        }
    }
    fake_cq_push(qp->recv_cq, &cqe, packet && packet->solicited);
}

static struct fake_packet *take_packet(struct fake_qp *qp)
{
    struct fake_packet *packet = STAILQ_FIRST(&qp->wire);

    STAILQ_REMOVE_HEAD(&qp->wire, link);
    return packet;
}

/* The sender, if it still waits for an answer to this. */
static struct fake_qp *find_sender(struct fake_qp *qp,
                                   const struct fake_packet *packet)
{
    struct fake_qp *sender = fake_find_qp(qp->host->fabric, packet->from);

    return sender && sender->peer == qp && sender->qp.state == IBV_QPS_RTS
               ? sender
               : NULL;
}

/* Refuse the packet at the head: what is behind it is not in sequence. */
static void refuse(struct fake_qp *qp, enum ibv_wc_status status)
{
    struct fake_packet *packet = STAILQ_FIRST(&qp->wire);
    struct fake_qp *sender = find_sender(qp, packet);

    if (sender) {
        fake_send_at(sender, packet->sequence)->status = status;
        sender->refused = true;
    }
    while (!STAILQ_EMPTY(&qp->wire)) {
        free(take_packet(qp));
    }
}

static void tell_observer(struct fake_qp *qp, const struct fake_packet *packet,
                          uint64_t address, const uint8_t *data, size_t size,
                          bool receive)
{
    struct fake_fabric *fabric = qp->host->fabric;
    struct fake_write write = {
        .host = qp->host,
        .from = packet->from_host,
        .address = (void *)(uintptr_t)address,
        .length = size,
        .data = data,
        .now = fabric->now,
        .qp_num = qp->qp.qp_num,
        .receive = receive,
    };

    if (fabric->observe) {
        fabric->observe(fabric->observe_opaque, &write);
    }
}

/* Move the bytes of a remote write; false if the key does not allow it. */
static bool land(struct fake_qp *qp, struct fake_packet *packet)
{
    if (packet->opcode == IBV_WR_SEND || packet->opcode == IBV_WR_RDMA_READ ||
        !packet->total) {
        return true;
    }
    if (!fake_remote_allows(qp, packet->rkey, packet->remote_start,
                            packet->total)) {
        return false;
    }
    if (packet->size) {
        tell_observer(qp, packet, packet->remote, packet->data, packet->size,
                      false);
        memcpy((void *)(uintptr_t)packet->remote, packet->data, packet->size);
    }
    /* Not a second time, should it have to wait for a receive. */
    packet->size = 0;
    return true;
}

/* Put a message into the oldest receive; success, or why not. */
static enum ibv_wc_status scatter(struct fake_qp *qp,
                                  const struct fake_packet *packet)
{
    const struct fake_receive *receive =
        &qp->receives[qp->recv_consumed % qp->cap.max_recv_wr];
    uint64_t room = 0;
    uint32_t done = 0;

    for (int i = 0; i < receive->num_sge; i++) {
        const struct ibv_sge *sge = &receive->sges[i];

        room += sge->length;
        if (sge->length &&
            !fake_key_allows(qp->host, qp->pd, false, sge->lkey, sge->addr,
                             sge->length, IBV_ACCESS_LOCAL_WRITE)) {
            return IBV_WC_LOC_PROT_ERR;
        }
    }
    if (packet->total > room) {
        return IBV_WC_LOC_LEN_ERR;
    }
    for (int i = 0; done < packet->total; i++) {
        const struct ibv_sge *sge = &receive->sges[i];
        uint32_t here = packet->total - done;

        here = here < sge->length ? here : sge->length;
        tell_observer(qp, packet, sge->addr, packet->data + done, here, true);
        memcpy((void *)(uintptr_t)sge->addr, packet->data + done, here);
        done += here;
    }
    return IBV_WC_SUCCESS;
}

/* Nothing is posted for the packet at the head: it comes again later. */
static void not_ready(struct fake_qp *qp)
{
    struct fake_packet *packet = STAILQ_FIRST(&qp->wire);
    struct fake_qp *sender = find_sender(qp, packet);

    qp->host->not_ready++;
    if (!sender ||
        (sender->rnr_retry != 7 && ++sender->rnr_tries > sender->rnr_retry)) {
        refuse(qp, IBV_WC_RNR_RETRY_EXC_ERR);
        return;
    }
    qp->wire_due = qp->host->fabric->now + qp->host->fabric->timing.rnr;
}

/* The packet is the last of a message that takes a receive; true if it could
 * be delivered. */
static bool deliver_message(struct fake_qp *qp, struct fake_packet *packet)
{
    enum ibv_wc_status status = IBV_WC_SUCCESS;

    if (qp->recv_consumed == qp->recv_posted) {
        not_ready(qp);
        return false;
    }
    if (packet->opcode == IBV_WR_SEND) {
        status = scatter(qp, packet);
    }
    if (status != IBV_WC_SUCCESS) {
        refuse(qp, status == IBV_WC_LOC_LEN_ERR ? IBV_WC_REM_INV_REQ_ERR
                                                : IBV_WC_REM_OP_ERR);
        fake_receive_complete(qp, status, NULL);
        fake_qp_fail(qp);
        return false;
    }
    fake_receive_complete(qp, IBV_WC_SUCCESS, packet);
    return true;
}

void fake_qp_arrive(struct fake_qp *qp)
{
    struct fake_fabric *fabric = qp->host->fabric;
    struct fake_packet *packet = STAILQ_FIRST(&qp->wire);
    enum ibv_wc_status status;
    struct fake_qp *sender;

    if (qp->qp.state == IBV_QPS_ERR) {
        land(qp, packet);
        free(take_packet(qp));
        return;
    }
    if (fabric->loss && fake_pick(fabric, fabric->loss) == 0) {
        /* Lost, and all behind it with it, until the sender's timeout. */
        qp->wire_due = fabric->now + (4096ull << qp->ack_timeout);
        return;
    }
    sender = find_sender(qp, packet);
    status = packet->opcode == IBV_WR_RDMA_READ
                 ? fake_read_execute(qp, sender, packet)
             : land(qp, packet) ? IBV_WC_SUCCESS
                                : IBV_WC_REM_ACCESS_ERR;
    if (status != IBV_WC_SUCCESS) {
        refuse(qp, status);
        fake_qp_fail(qp);
        return;
    }
    if (packet->last && packet->opcode != IBV_WR_RDMA_WRITE &&
        packet->opcode != IBV_WR_RDMA_READ && !deliver_message(qp, packet)) {
        return;
    }
    if (sender && packet->last) {
        sender->send_executed = packet->sequence + 1;
        fake_qp_skip_local(sender);
        sender->rnr_tries = 0;
    }
    free(take_packet(qp));
}
