/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RDMA READ: the responder's device takes the bytes when it executes the
 * request, and they land at the requester with the answer, which may be much
 * later, or never.
 */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum ibv_wc_status fake_read_execute(struct fake_qp *qp, struct fake_qp *sender,
                                     const struct fake_packet *packet)
{
    struct fake_send *send;

    if (!qp->reads_in) {
        return IBV_WC_REM_INV_REQ_ERR;
    }
    if (packet->total && !fake_key_allows(qp->host, qp->pd, true, packet->rkey,
                                          packet->remote_start, packet->total,
                                          IBV_ACCESS_REMOTE_READ)) {
        return IBV_WC_REM_ACCESS_ERR;
    }
    if (sender) {
        send = fake_send_at(sender, packet->sequence);
        free(send->answer);
        send->answer = fake_alloc(packet->total + 1);
        memcpy(send->answer, (const void *)(uintptr_t)packet->remote_start,
               packet->total);
    }
    return IBV_WC_SUCCESS;
}

static void land_piece(struct fake_qp *qp, const struct ibv_sge *sge,
                       const uint8_t *data)
{
    struct fake_fabric *fabric = qp->host->fabric;
    struct fake_write write = {
        .host = qp->host,
        .from = qp->peer_host,
        .address = (void *)(uintptr_t)sge->addr,
        .length = sge->length,
        .data = data,
        .now = fabric->now,
        .qp_num = qp->qp.qp_num,
    };

    if (fabric->observe && sge->length) {
        fabric->observe(fabric->observe_opaque, &write);
    }
    memcpy((void *)(uintptr_t)sge->addr, data, sge->length);
}

void fake_read_land(struct fake_qp *qp, struct fake_send *send)
{
    const uint8_t *data = send->answer;

    for (int i = 0; i < send->num_sge; i++) {
        land_piece(qp, &send->sges[i], data);
        data += send->sges[i].length;
    }
}

bool fake_read_must_wait(struct fake_qp *qp)
{
    unsigned int reads = 0;

    if (fake_send_at(qp, qp->send_sent)->opcode != IBV_WR_RDMA_READ) {
        return false;
    }
    if (qp->host->limits.reads_hang) {
        return true;
    }
    for (uint32_t i = qp->send_acked; i != qp->send_sent; i++) {
        reads += fake_send_at(qp, i)->opcode == IBV_WR_RDMA_READ;
    }
    return reads >= qp->reads_out;
}
