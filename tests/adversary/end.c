/* SPDX-License-Identifier: BSD-3-Clause */
#include "end.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DEPTH 64u

void die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(2);
}

static uint64_t now_ms(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

/* ---- Connections ------------------------------------------------------- */

/* The next event within this time; NULL: none. To be acknowledged. */
static struct rdma_cm_event *next_event(struct end *end, int milliseconds)
{
    struct pollfd pollfd = { .fd = end->channel->fd, .events = POLLIN };
    struct rdma_cm_event *event;

    if (poll(&pollfd, 1, milliseconds) != 1 ||
        rdma_get_cm_event(end->channel, &event)) {
        return NULL;
    }
    return event;
}

static void keep(struct end *end, const struct rdma_cm_event *event)
{
    size_t length = event->param.conn.private_data_len;

    end->event = event->event;
    end->data_length = length;
    memset(end->data, 0, sizeof(end->data));
    if (event->param.conn.private_data) {
        memcpy(end->data, event->param.conn.private_data, length);
    }
}

static void wait_event(struct end *end, enum rdma_cm_event_type expected)
{
    struct rdma_cm_event *event = next_event(end, END_WAIT_MS);

    if (!event || event->event != expected) {
        die("%s instead of %s",
            event ? rdma_event_str(event->event) : "nothing",
            rdma_event_str(expected));
    }
    rdma_ack_cm_event(event);
}

static void post_receive(struct end *end, uint64_t slot)
{
    struct ibv_sge sge = {
        .addr = (uintptr_t)end->buffer + END_MESSAGES +
                slot * RDISK_MESSAGE_MAX,
        .length = RDISK_MESSAGE_MAX,
        .lkey = end->mr->lkey,
    };
    struct ibv_recv_wr wr = { .wr_id = slot, .sg_list = &sge, .num_sge = 1 };
    struct ibv_recv_wr *bad;

    ibv_post_recv(end->id->qp, &wr, &bad);
}

static void make_endpoint(struct end *end)
{
    struct ibv_qp_init_attr attr = {
        .qp_type = IBV_QPT_RC,
        .cap = {
            .max_send_wr = DEPTH, .max_recv_wr = END_RECEIVES,
            .max_send_sge = 1, .max_recv_sge = 1,
        },
    };
    struct ibv_context *device = end->id->verbs;

    end->buffer = aligned_alloc(4096, END_BUFFER);
    end->pd = ibv_alloc_pd(device);
    end->send_cq = ibv_create_cq(device, DEPTH, NULL, NULL, 0);
    end->recv_cq = ibv_create_cq(device, END_RECEIVES, NULL, NULL, 0);
    if (!end->buffer || !end->pd || !end->send_cq || !end->recv_cq) {
        die("no memory or no device");
    }
    memset(end->buffer, 0, END_BUFFER);
    end->mr = ibv_reg_mr(end->pd, end->buffer, END_BUFFER,
                         IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
    attr.send_cq = end->send_cq;
    attr.recv_cq = end->recv_cq;
    if (!end->mr || rdma_create_qp(end->id, end->pd, &attr)) {
        die("no queue pair");
    }
    for (uint64_t i = 0; i < END_RECEIVES; i++) {
        post_receive(end, i);
    }
}

static struct addrinfo *resolve(const char *address, const char *port)
{
    struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
    struct addrinfo *found;

    if (getaddrinfo(address, port, &hints, &found)) {
        die("'%s' port '%s' is no address", address, port);
    }
    return found;
}

uint8_t end_reads;

bool end_connect(struct end *end, const char *address, const char *port,
                 const void *data, size_t length)
{
    struct addrinfo *to = resolve(address, port);
    struct rdma_conn_param param = {
        .private_data = data,
        .private_data_len = (uint8_t)length,
        .initiator_depth = end_reads,
        .retry_count = 6,
        .rnr_retry_count = 3,
    };
    struct rdma_cm_event *event;
    uint8_t timeout = 15; /* an eighth of a second, seven times */

    memset(end, 0, sizeof(*end));
    end->channel = rdma_create_event_channel();
    if (!end->channel ||
        rdma_create_id(end->channel, &end->id, NULL, RDMA_PS_TCP) ||
        rdma_set_option(end->id, RDMA_OPTION_ID, RDMA_OPTION_ID_ACK_TIMEOUT,
                        &timeout, sizeof(timeout)) ||
        rdma_resolve_addr(end->id, NULL, to->ai_addr, 2000)) {
        die("no way to %s", address);
    }
    freeaddrinfo(to);
    wait_event(end, RDMA_CM_EVENT_ADDR_RESOLVED);
    if (rdma_resolve_route(end->id, 2000)) {
        die("no route to %s", address);
    }
    wait_event(end, RDMA_CM_EVENT_ROUTE_RESOLVED);
    make_endpoint(end);
    if (rdma_connect(end->id, &param)) {
        die("connecting to %s failed", address);
    }
    event = next_event(end, END_WAIT_MS);
    if (!event) {
        die("%s does not answer", address);
    }
    keep(end, event);
    rdma_ack_cm_event(event);
    return end->event == RDMA_CM_EVENT_ESTABLISHED;
}

void end_listen(struct end *end, const char *address, const char *port)
{
    struct addrinfo *at = resolve(address, port);

    memset(end, 0, sizeof(*end));
    end->channel = rdma_create_event_channel();
    if (!end->channel ||
        rdma_create_id(end->channel, &end->listener, NULL, RDMA_PS_TCP) ||
        rdma_bind_addr(end->listener, at->ai_addr) ||
        rdma_listen(end->listener, 4)) {
        die("cannot listen at %s port %s", address, port);
    }
    freeaddrinfo(at);
}

void end_take(struct end *end, struct end *listener)
{
    struct rdma_cm_event *event;

    memset(end, 0, sizeof(*end));
    do {
        event = next_event(listener, END_WAIT_MS);
        if (!event) {
            die("no client connects");
        }
        if (event->event == RDMA_CM_EVENT_CONNECT_REQUEST) {
            end->id = event->id;
            keep(end, event);
        }
        rdma_ack_cm_event(event);
    } while (!end->id);
    end->channel = rdma_create_event_channel();
    if (!end->channel || rdma_migrate_id(end->id, end->channel)) {
        die("no event channel");
    }
    make_endpoint(end);
}

void end_accept(struct end *end, const void *data, size_t length)
{
    struct rdma_conn_param param = {
        .private_data = data,
        .private_data_len = (uint8_t)length,
        .rnr_retry_count = 3,
    };

    if (rdma_accept(end->id, &param)) {
        die("cannot accept");
    }
    wait_event(end, RDMA_CM_EVENT_ESTABLISHED);
}

void end_close(struct end *end)
{
    if (end->id) {
        rdma_disconnect(end->id);
        if (end->id->qp) {
            rdma_destroy_qp(end->id);
        }
        ibv_destroy_cq(end->send_cq);
        ibv_destroy_cq(end->recv_cq);
        ibv_dereg_mr(end->mr);
        ibv_dealloc_pd(end->pd);
        rdma_destroy_id(end->id);
        free(end->buffer);
    }
    if (end->listener) {
        rdma_destroy_id(end->listener);
    }
    if (end->channel) {
        rdma_destroy_event_channel(end->channel);
    }
    memset(end, 0, sizeof(*end));
}

bool end_disconnected(struct end *end, int milliseconds)
{
    uint64_t limit = now_ms() + (uint64_t)milliseconds;
    uint64_t now;

    while (end->event != RDMA_CM_EVENT_DISCONNECTED &&
           (now = now_ms()) < limit) {
        struct rdma_cm_event *event = next_event(end, (int)(limit - now));

        if (event) {
            keep(end, event);
            rdma_ack_cm_event(event);
        }
    }
    return end->event == RDMA_CM_EVENT_DISCONNECTED;
}

/* ---- Work -------------------------------------------------------------- */

static bool poll_one(struct ibv_cq *cq, struct ibv_wc *wc, int milliseconds)
{
    uint64_t limit = now_ms() + (uint64_t)milliseconds;

    do {
        if (ibv_poll_cq(cq, 1, wc) == 1) {
            return true;
        }
        poll(NULL, 0, 1);
    } while (now_ms() < limit);
    return false;
}

bool end_receive(struct end *end, struct ibv_wc *wc, int milliseconds)
{
    if (!poll_one(end->recv_cq, wc, milliseconds)) {
        return false;
    }
    if (wc->status == IBV_WC_SUCCESS) {
        post_receive(end, wc->wr_id);
    }
    return true;
}

static enum ibv_wc_status post(struct end *end, struct ibv_send_wr *wr,
                               uint32_t offset, uint32_t length)
{
    struct ibv_sge sge = {
        .addr = (uintptr_t)end->buffer + offset,
        .length = length,
        .lkey = end->mr->lkey,
    };
    struct ibv_send_wr *bad;
    struct ibv_wc wc;

    wr->sg_list = &sge;
    wr->num_sge = length > 0;
    wr->send_flags = IBV_SEND_SIGNALED;
    if (ibv_post_send(end->id->qp, wr, &bad)) {
        die("a send cannot be posted");
    }
    /* Soft-RoCE does not always tell that the peer is in ERROR. */
    return poll_one(end->send_cq, &wc, END_WAIT_MS) ? wc.status
                                                    : IBV_WC_RETRY_EXC_ERR;
}

enum ibv_wc_status end_write(struct end *end, uint32_t offset, uint32_t length,
                             uint64_t remote, uint32_t key, int64_t imm)
{
    struct ibv_send_wr wr = {
        .opcode = imm < 0 ? IBV_WR_RDMA_WRITE : IBV_WR_RDMA_WRITE_WITH_IMM,
        .imm_data = htonl((uint32_t)imm),
        .wr.rdma = { .remote_addr = remote, .rkey = key },
    };

    return post(end, &wr, offset, length);
}

enum ibv_wc_status end_read(struct end *end, uint32_t offset, uint32_t length,
                            uint64_t remote, uint32_t key)
{
    struct ibv_send_wr wr = {
        .opcode = IBV_WR_RDMA_READ,
        .wr.rdma = { .remote_addr = remote, .rkey = key },
    };

    return post(end, &wr, offset, length);
}

enum ibv_wc_status end_say(struct end *end, enum rdisk_message_type type,
                           size_t length, uint64_t epoch)
{
    struct rdisk_wire_message *message = (void *)(end->buffer + END_SAY);
    struct ibv_send_wr wr = { .opcode = IBV_WR_SEND };

    message->magic = htole32(RDISK_WIRE_MAGIC);
    message->version = htole16(RDISK_WIRE_VERSION);
    message->type = htole16(type);
    message->length = htole32((uint32_t)length);
    message->epoch = htole64(epoch);
    return post(end, &wr, END_SAY, (uint32_t)length);
}

const struct rdisk_wire_message *end_hear(struct end *end)
{
    struct ibv_wc wc;

    if (!end_receive(end, &wc, END_WAIT_MS) || wc.status != IBV_WC_SUCCESS) {
        return NULL;
    }
    return (void *)(end->buffer + END_MESSAGES + wc.wr_id * RDISK_MESSAGE_MAX);
}
