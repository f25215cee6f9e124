/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/support/raw.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/support/unit.h"

void raw_init(struct raw *raw, struct fake_fabric *fabric,
              struct fake_host *host)
{
    memset(raw, 0, sizeof(*raw));
    raw->fabric = fabric;
    raw->host = host;
    raw->verbs = fake_host_verbs(host);
    raw->buffer = calloc(1, RAW_BUFFER);
    raw->channel = raw->verbs->create_event_channel();
    REQUIRE(raw->buffer && raw->channel);
}

static void drop_endpoint(struct raw *raw)
{
    if (raw->qp) {
        raw->verbs->destroy_qp(raw->id);
    }
    if (raw->cq) {
        raw->verbs->destroy_cq(raw->cq);
    }
    if (raw->completions) {
        raw->verbs->destroy_comp_channel(raw->completions);
    }
    if (raw->mr) {
        raw->verbs->dereg_mr(raw->mr);
    }
    if (raw->pd && raw->pd != raw->share) {
        raw->verbs->dealloc_pd(raw->pd);
    }
    if (raw->id) {
        raw->verbs->destroy_id(raw->id);
    }
}

void raw_destroy(struct raw *raw)
{
    drop_endpoint(raw);
    if (raw->listener) {
        raw->verbs->destroy_id(raw->listener);
    }
    raw->verbs->destroy_event_channel(raw->channel);
    free(raw->buffer);
}

bool raw_event(struct raw *raw)
{
    struct rdma_cm_event *event;

    fake_fabric_run(raw->fabric);
    if (raw->verbs->get_cm_event(raw->channel, &event) < 0) {
        return false;
    }
    raw->event = event->event;
    raw->status = event->status;
    raw->data_length = event->param.conn.private_data_len;
    memset(raw->data, 0, sizeof(raw->data));
    if (event->param.conn.private_data) {
        memcpy(raw->data, event->param.conn.private_data, raw->data_length);
    }
    if (event->event == RDMA_CM_EVENT_CONNECT_REQUEST) {
        raw->id = event->id;
    }
    raw->verbs->ack_cm_event(event);
    fake_fabric_run(raw->fabric);
    return true;
}

void raw_endpoint(struct raw *raw)
{
    struct ibv_qp_init_attr attr = {
        .qp_type = IBV_QPT_RC,
        .cap = {
            .max_send_wr = RAW_DEPTH, .max_recv_wr = RAW_DEPTH,
            .max_send_sge = 4, .max_recv_sge = 4, .max_inline_data = 64,
        },
    };

    raw->pd = raw->share ? raw->share : raw->verbs->alloc_pd(raw->id->verbs);
    REQUIRE(raw->pd != NULL);
    raw->mr = raw->verbs->reg_mr(raw->pd, raw->buffer, RAW_BUFFER,
                                 IBV_ACCESS_LOCAL_WRITE |
                                     IBV_ACCESS_REMOTE_WRITE);
    raw->completions = raw->verbs->create_comp_channel(raw->id->verbs);
    REQUIRE(raw->mr && raw->completions);
    raw->cq = raw->verbs->create_cq(raw->id->verbs, 2 * RAW_DEPTH, raw,
                                    raw->completions, 0);
    REQUIRE(raw->cq != NULL);
    attr.send_cq = raw->cq;
    attr.recv_cq = raw->cq;
    REQUIRE(raw->verbs->create_qp(raw->id, raw->pd, &attr) == 0);
    raw->qp = raw->id->qp;
}

static struct sockaddr_in address_of(const char *address, uint16_t port)
{
    struct sockaddr_in sin = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
    };

    REQUIRE(inet_pton(AF_INET, address, &sin.sin_addr) == 1);
    return sin;
}

static struct rdma_conn_param conn_param(const struct raw *raw,
                                         const void *data, uint8_t size)
{
    return (struct rdma_conn_param) {
        .private_data = data,
        .private_data_len = size,
        .responder_resources = raw->reads,
        .initiator_depth = raw->reads,
        .retry_count = 6,
        .rnr_retry_count = 3,
    };
}

void raw_connect_start(struct raw *raw, const char *address, uint16_t port,
                       const void *data, uint8_t size)
{
    struct sockaddr_in sin = address_of(address, port);
    struct rdma_conn_param param = conn_param(raw, data, size);

    REQUIRE(raw->verbs->create_id(raw->channel, &raw->id, raw) == 0);
    REQUIRE(raw->verbs->resolve_addr(raw->id, (struct sockaddr *)&sin, 1000) ==
            0);
    REQUIRE(raw_event(raw) && raw->event == RDMA_CM_EVENT_ADDR_RESOLVED);
    REQUIRE(raw->verbs->resolve_route(raw->id, 1000) == 0);
    REQUIRE(raw_event(raw) && raw->event == RDMA_CM_EVENT_ROUTE_RESOLVED);
    raw_endpoint(raw);
    REQUIRE(raw->verbs->connect(raw->id, &param) == 0);
}

bool raw_connect(struct raw *raw, const char *address, uint16_t port,
                 const void *data, uint8_t size)
{
    raw_connect_start(raw, address, port, data, size);
    return raw_event(raw) && raw->event == RDMA_CM_EVENT_ESTABLISHED;
}

void raw_listen(struct raw *raw, uint16_t port)
{
    struct sockaddr_in sin = address_of("0.0.0.0", port);

    REQUIRE(raw->verbs->create_id(raw->channel, &raw->listener, raw) == 0);
    REQUIRE(raw->verbs->bind_addr(raw->listener, (struct sockaddr *)&sin) == 0);
    REQUIRE(raw->verbs->listen(raw->listener, 4) == 0);
}

bool raw_request(struct raw *raw)
{
    if (!raw_event(raw) || raw->event != RDMA_CM_EVENT_CONNECT_REQUEST) {
        return false;
    }
    raw_endpoint(raw);
    return true;
}

void raw_accept(struct raw *raw, const void *data, uint8_t size)
{
    struct rdma_conn_param param = conn_param(raw, data, size);

    REQUIRE(raw->verbs->accept(raw->id, &param) == 0);
}

void raw_pair(struct raw *client, struct raw *server)
{
    raw_listen(server, 1000);
    raw_connect_start(client, fake_host_address(server->host), 1000, NULL, 0);
    REQUIRE(raw_request(server));
    raw_accept(server, NULL, 0);
    REQUIRE(raw_event(client) && client->event == RDMA_CM_EVENT_ESTABLISHED);
    REQUIRE(raw_event(server) && server->event == RDMA_CM_EVENT_ESTABLISHED);
}

void raw_unpair(struct raw *client, struct raw *server)
{
    raw_destroy(client);
    raw_destroy(server);
}

int raw_receive(struct raw *raw, uint32_t offset, uint32_t size)
{
    struct ibv_sge sge = {
        .addr = (uintptr_t)raw->buffer + offset,
        .length = size,
        .lkey = raw->mr->lkey,
    };
    struct ibv_recv_wr wr = {
        .wr_id = RAW_RECV | offset,
        .sg_list = &sge,
        .num_sge = size > 0,
    };
    struct ibv_recv_wr *bad;

    return raw->verbs->post_recv(raw->qp, &wr, &bad);
}

static int post(struct raw *raw, uint32_t offset, uint32_t size,
                struct ibv_send_wr *wr)
{
    struct ibv_sge sge = {
        .addr = (uintptr_t)raw->buffer + offset,
        .length = size,
        .lkey = raw->mr->lkey,
    };
    struct ibv_send_wr *bad;

    wr->wr_id = offset;
    wr->sg_list = &sge;
    wr->num_sge = size > 0;
    wr->send_flags = IBV_SEND_SIGNALED;
    return raw->verbs->post_send(raw->qp, wr, &bad);
}

int raw_send(struct raw *raw, uint32_t offset, uint32_t size)
{
    struct ibv_send_wr wr = { .opcode = IBV_WR_SEND };

    return post(raw, offset, size, &wr);
}

int raw_write(struct raw *raw, uint32_t offset, uint32_t size, uint64_t remote,
              uint32_t rkey, int64_t imm)
{
    struct ibv_send_wr wr = {
        .opcode = imm < 0 ? IBV_WR_RDMA_WRITE : IBV_WR_RDMA_WRITE_WITH_IMM,
        .imm_data = htonl((uint32_t)imm),
        .wr.rdma = { .remote_addr = remote, .rkey = rkey },
    };

    return post(raw, offset, size, &wr);
}

int raw_read(struct raw *raw, uint32_t offset, uint32_t size, uint64_t remote,
             uint32_t rkey)
{
    struct ibv_send_wr wr = {
        .opcode = IBV_WR_RDMA_READ,
        .wr.rdma = { .remote_addr = remote, .rkey = rkey },
    };

    return post(raw, offset, size, &wr);
}

int raw_bind(struct raw *raw, struct ibv_mw *mw, struct ibv_mr *mr,
             uint32_t key, void *address, uint64_t length)
{
    struct ibv_send_wr wr = {
        .opcode = IBV_WR_BIND_MW,
        .bind_mw = {
            .mw = mw, .rkey = key,
            .bind_info = { mr, (uintptr_t)address, length,
                           IBV_ACCESS_REMOTE_WRITE },
        },
    };

    return post(raw, 0, 0, &wr);
}

int raw_invalidate(struct raw *raw, uint32_t key)
{
    struct ibv_send_wr wr = {
        .opcode = IBV_WR_LOCAL_INV,
        .invalidate_rkey = key,
    };

    return post(raw, 0, 0, &wr);
}

bool raw_poll(struct raw *raw, struct ibv_wc *wc)
{
    fake_fabric_run(raw->fabric);
    return raw->verbs->poll_cq(raw->cq, 1, wc) == 1;
}
