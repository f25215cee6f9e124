/* SPDX-License-Identifier: BSD-3-Clause */
/* Connections as their user sees them: connect, accept, reject, disconnect. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* ---- The active side -------------------------------------------------- */

static int connect_locked(struct fake_id *id, struct rdma_conn_param *param)
{
    struct fake_fabric *fabric = id->host->fabric;
    struct fake_message *message;
    struct fake_host *host;
    int ret = fake_called(id->host, FAKE_CONNECT);

    if (ret == 0) {
        ret = fake_channel_allows(id->id.channel);
    }
    if (ret < 0) {
        return ret;
    }
    if (id->host->removed) {
        return -ENODEV;
    }
    if (id->state != FAKE_CM_ROUTE_RESOLVED || !id->id.qp ||
        param->private_data_len > FAKE_REQ_DATA || param->retry_count > 7 ||
        param->rnr_retry_count > 7 ||
        param->responder_resources > id->host->limits.max_rd_atom ||
        param->initiator_depth > id->host->limits.max_rd_atom) {
        return -EINVAL;
    }
    host = fake_find_host(fabric, id->id.route.addr.dst_sin.sin_addr);
    id->remote_host = host;
    id->state = FAKE_CM_REQ_SENT;
    id->retry_count = param->retry_count;
    id->reads_in = param->responder_resources;
    id->reads_out = param->initiator_depth;
    message = fake_message_new(id, FAKE_REQ, 0);
    message->port = id->id.route.addr.dst_sin.sin_port;
    message->address = id->id.route.addr.src_sin;
    message->param = *param;
    message->param.qp_num = id->id.qp->qp_num;
    fake_message_data(message, param->private_data, param->private_data_len);
    fake_message_new(id, FAKE_CONNECT_TIMEOUT, fabric->timing.connect);
    return 0;
}

static int connect_id(struct rdma_cm_id *rdma, struct rdma_conn_param *param)
{
    struct fake_id *id = (struct fake_id *)rdma;
    int ret;

    fake_lock(id->host->fabric);
    ret = connect_locked(id, param);
    fake_unlock(id->host->fabric);
    return ret;
}

void fake_connection_response(struct fake_id *id, struct fake_event *event)
{
    struct fake_qp *qp = (struct fake_qp *)id->id.qp;
    bool passive = !event->event.param.conn.private_data;
    int ret;

    if (passive) {
        return;
    }
    ret = fake_called(id->host, FAKE_CONNECT_RESPONSE);
    if (ret == 0 && (!qp || qp->qp.state != IBV_QPS_INIT)) {
        ret = -EINVAL;
    }
    if (ret < 0) {
        event->event.event = RDMA_CM_EVENT_CONNECT_ERROR;
        event->event.status = ret;
        if (qp) {
            fake_qp_fail(qp);
        }
        return;
    }
    fake_qp_connect(qp, id->remote_qpn, id->remote_host);
    if (id->state == FAKE_CM_REP_RECEIVED) {
        id->state = FAKE_CM_CONNECTED;
        fake_message_new(id, FAKE_RTU, 0);
    }
}

/* ---- The passive side ------------------------------------------------- */

static int accept_locked(struct fake_id *id, struct rdma_conn_param *param)
{
    struct fake_fabric *fabric = id->host->fabric;
    struct fake_message *message;
    int ret = fake_called(id->host, FAKE_ACCEPT);

    if (ret < 0) {
        return ret;
    }
    if (id->host->removed) {
        return -ENODEV;
    }
    if (id->state != FAKE_CM_REQ_RECEIVED || !id->id.qp ||
        param->private_data_len > FAKE_REP_DATA || param->rnr_retry_count > 7 ||
        param->responder_resources > id->reads_in ||
        param->initiator_depth > id->reads_out) {
        return -EINVAL;
    }
    id->reads_in = param->responder_resources;
    id->reads_out = param->initiator_depth;
    fake_qp_connect((struct fake_qp *)id->id.qp, id->remote_qpn,
                    id->remote_host);
    id->state = FAKE_CM_REP_SENT;
    message = fake_message_new(id, FAKE_REP, 0);
    message->param = *param;
    message->param.qp_num = id->id.qp->qp_num;
    fake_message_data(message, param->private_data, param->private_data_len);
    fake_message_new(id, FAKE_CONNECT_TIMEOUT, fabric->timing.connect);
    return 0;
}

static int accept_id(struct rdma_cm_id *rdma, struct rdma_conn_param *param)
{
    struct fake_id *id = (struct fake_id *)rdma;
    int ret;

    fake_lock(id->host->fabric);
    ret = accept_locked(id, param);
    fake_unlock(id->host->fabric);
    return ret;
}

static int reject_id(struct rdma_cm_id *rdma, const void *data, uint8_t size)
{
    struct fake_id *id = (struct fake_id *)rdma;
    int ret;

    fake_lock(id->host->fabric);
    ret = fake_called(id->host, FAKE_REJECT);
    if (ret == 0 &&
        (id->state != FAKE_CM_REQ_RECEIVED || size > FAKE_REJ_DATA)) {
        ret = -EINVAL;
    }
    if (ret == 0) {
        struct fake_message *message = fake_message_new(id, FAKE_REJ, 0);

        message->status = FAKE_REJ_CONSUMER;
        fake_message_data(message, data, size);
        id->state = FAKE_CM_CLOSED;
    }
    fake_unlock(id->host->fabric);
    return ret;
}

/* ---- The end ---------------------------------------------------------- */

static int disconnect_locked(struct fake_id *id)
{
    struct fake_fabric *fabric = id->host->fabric;
    int ret = fake_called(id->host, FAKE_DISCONNECT);

    if (ret == 0) {
        ret = fake_channel_allows(id->id.channel);
    }
    if (ret < 0) {
        return ret;
    }
    if (id->state < FAKE_CM_REQ_SENT) {
        return -EINVAL;
    }
    if (id->id.qp) {
        fake_qp_fail((struct fake_qp *)id->id.qp);
    }
    switch (id->state) {
    case FAKE_CM_REP_SENT:
    case FAKE_CM_CONNECTED:
        fake_message_cancel(fabric, id->number, FAKE_CONNECT_TIMEOUT);
        id->state = FAKE_CM_DREQ_SENT;
        fake_message_new(id, FAKE_DREQ, 0);
        fake_message_new(id, FAKE_DISCONNECT_TIMEOUT,
                         fabric->timing.disconnect);
        break;
    case FAKE_CM_DREQ_RECEIVED:
        id->state = FAKE_CM_CLOSED;
        fake_message_new(id, FAKE_DREP, 0);
        fake_message_new(id, FAKE_TIME_WAIT_END, fabric->timing.time_wait);
        break;
    default:
        /* The kernel finds nothing to send, and reports no error. */
        break;
    }
    return 0;
}

static int disconnect_id(struct rdma_cm_id *rdma)
{
    struct fake_id *id = (struct fake_id *)rdma;
    int ret;

    fake_lock(id->host->fabric);
    ret = disconnect_locked(id);
    fake_unlock(id->host->fabric);
    return ret;
}

void fake_id_hang_up(struct fake_id *id)
{
    switch (id->state) {
    case FAKE_CM_REQ_SENT:
        fake_message_new(id, FAKE_REJ, 0)->status = FAKE_REJ_TIMEOUT;
        break;
    case FAKE_CM_REP_RECEIVED:
    case FAKE_CM_REQ_RECEIVED:
    case FAKE_CM_REP_SENT:
        fake_message_new(id, FAKE_REJ, 0)->status = FAKE_REJ_CONSUMER;
        break;
    case FAKE_CM_CONNECTED:
        fake_message_new(id, FAKE_DREQ, 0);
        break;
    case FAKE_CM_DREQ_RECEIVED:
        fake_message_new(id, FAKE_DREP, 0);
        break;
    default:
        break;
    }
    id->state = FAKE_CM_CLOSED;
}

void fake_connection_verbs(struct rdisk_verbs *verbs)
{
    verbs->connect = connect_id;
    verbs->accept = accept_id;
    verbs->reject = reject_id;
    verbs->disconnect = disconnect_id;
}
