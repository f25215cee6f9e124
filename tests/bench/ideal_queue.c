/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/bench/ideal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void die(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fputs("ideal: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

/* ---- Memory and queue pair -------------------------------------------- */

uint8_t *slot_data(struct side *side, uint32_t slot)
{
    return side->memory + (size_t)slot * side->size;
}

static void make_memory(struct side *side)
{
    size_t slots = (size_t)side->depth * side->size;

    side->length = slots + 2ull * side->depth * MESSAGE;
    side->memory = mmap(NULL, side->length, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (side->memory == MAP_FAILED) {
        die("no memory for %zu bytes", side->length);
    }
    memset(side->memory, 0x5a, slots);
    side->out = (struct message *)(side->memory + slots);
    side->in = side->out + side->depth;
    side->mr = ibv_reg_mr(side->pd, side->memory, side->length,
                          IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
    if (!side->mr) {
        die("cannot register %zu bytes: %s; see ulimit -l", side->length,
            strerror(errno));
    }
}

void post_receives(struct side *side)
{
    struct ibv_recv_wr *bad;

    if (side->recvs) {
        side->recv[side->recvs - 1].next = NULL;
        side->recvs = 0;
        if (ibv_post_recv(side->id->qp, side->recv, &bad)) {
            die("cannot post a receive: %s", strerror(errno));
        }
    }
}

static void add_receive(struct side *side, uint32_t index)
{
    unsigned int i = side->recvs++;

    side->recv_sge[i] = (struct ibv_sge) {
        .addr = (uintptr_t)&side->in[index],
        .length = MESSAGE,
        .lkey = side->mr->lkey,
    };
    side->recv[i] = (struct ibv_recv_wr) {
        .wr_id = index,
        .sg_list = &side->recv_sge[i],
        .num_sge = 1,
        .next = &side->recv[i + 1],
    };
    if (side->recvs == BATCH) {
        post_receives(side);
    }
}

void make_queue(struct side *side)
{
    struct ibv_qp_init_attr attr = {
        .qp_type = IBV_QPT_RC,
        .cap = {
            .max_send_wr = 2 * side->depth + 4 * SIGNAL_EVERY,
            .max_recv_wr = side->depth,
            .max_send_sge = 1,
            .max_recv_sge = 1,
            .max_inline_data = MESSAGE,
        },
    };

    side->pd = ibv_alloc_pd(side->id->verbs);
    side->channel = ibv_create_comp_channel(side->id->verbs);
    if (!side->pd || !side->channel) {
        die("cannot set up the device: %s", strerror(errno));
    }
    side->cq = ibv_create_cq(side->id->verbs,
                             (int)(attr.cap.max_send_wr + side->depth), NULL,
                             side->channel, 0);
    attr.send_cq = attr.recv_cq = side->cq;
    if (!side->cq || rdma_create_qp(side->id, side->pd, &attr)) {
        die("cannot create queues: %s", strerror(errno));
    }
    fcntl(side->channel->fd, F_SETFL, O_NONBLOCK);
    side->message_flags = attr.cap.max_inline_data >= MESSAGE ? IBV_SEND_INLINE
                                                              : 0;
    make_memory(side);
    side->sends = side->recvs = side->silent = 0;
    for (uint32_t i = 0; i < side->depth; i++) {
        add_receive(side, i);
    }
    post_receives(side);
    ibv_req_notify_cq(side->cq, 0);
}

void drop_queue(struct side *side)
{
    rdma_destroy_qp(side->id);
    ibv_destroy_cq(side->cq);
    ibv_destroy_comp_channel(side->channel);
    ibv_dereg_mr(side->mr);
    munmap(side->memory, side->length);
    ibv_dealloc_pd(side->pd);
    rdma_destroy_id(side->id);
}

/* ---- Sending ---------------------------------------------------------- */

void post_sends(struct side *side)
{
    struct ibv_send_wr *bad;

    if (side->sends) {
        side->send[side->sends - 1].next = NULL;
        side->sends = 0;
        if (ibv_post_send(side->id->qp, side->send, &bad)) {
            die("cannot post a send: %s", strerror(errno));
        }
    }
}

static struct ibv_send_wr *add_send(struct side *side, const void *from,
                                    uint32_t length)
{
    unsigned int i;
    struct ibv_send_wr *wr;

    if (side->sends == BATCH) {
        post_sends(side);
    }
    i = side->sends++;
    wr = &side->send[i];
    side->send_sge[i] = (struct ibv_sge) {
        .addr = (uintptr_t)from,
        .length = length,
        .lkey = side->mr->lkey,
    };
    *wr = (struct ibv_send_wr) {
        .wr_id = DEPTH_MAX,
        .sg_list = &side->send_sge[i],
        .num_sge = 1,
        .next = &side->send[i + 1],
    };
    if (++side->silent == SIGNAL_EVERY) {
        wr->send_flags = IBV_SEND_SIGNALED;
        side->silent = 0;
    }
    return wr;
}

void send_message(struct side *side, uint32_t slot, bool write, uint64_t offset)
{
    struct message *message = &side->out[slot];
    struct ibv_send_wr *wr = add_send(side, message, MESSAGE);

    message->slot = slot;
    message->write = write;
    message->offset = offset;
    wr->opcode = IBV_WR_SEND;
    wr->send_flags |= side->message_flags;
}

void send_data(struct side *side, uint32_t slot)
{
    struct ibv_send_wr *wr = add_send(side, slot_data(side, slot), side->size);

    wr->opcode = IBV_WR_RDMA_WRITE_WITH_IMM;
    wr->imm_data = htonl(slot);
    wr->wr.rdma.remote_addr = side->peer.address + (uint64_t)slot * side->size;
    wr->wr.rdma.rkey = side->peer.key;
}

/* ---- Waiting ---------------------------------------------------------- */

int wait_completions(struct side *side, struct ibv_wc *wc)
{
    struct pollfd fds[2] = {
        { .fd = side->channel->fd, .events = POLLIN },
        { .fd = side->events->fd, .events = POLLIN },
    };
    struct ibv_cq *cq;
    void *context;

    for (unsigned int empty = 1;; empty++) {
        int n = ibv_poll_cq(side->cq, BATCH, wc);

        if (n) {
            return n;
        }
        if (side->poll) {
            if (empty % SPIN_YIELD == 0) {
                sched_yield();
            }
            if (empty % SPIN_LOOK == 0 && poll(&fds[1], 1, 0) > 0) {
                return 0;
            }
            continue;
        }
        if (empty % 2) {
            ibv_req_notify_cq(side->cq, 0);
            continue;
        }
        poll(fds, 2, 1000);
        if (fds[1].revents) {
            return 0;
        }
        if (ibv_get_cq_event(side->channel, &cq, &context) == 0) {
            ibv_ack_cq_events(cq, 1);
        }
    }
}

int64_t receive(struct side *side, const struct ibv_wc *wc, bool *data,
                uint64_t *offset)
{
    uint32_t slot;

    if (wc->status != IBV_WC_SUCCESS) {
        die("a completion failed: %s", ibv_wc_status_str(wc->status));
    }
    if (wc->wr_id == DEPTH_MAX) {
        return -1;
    }
    *data = wc->wc_flags & IBV_WC_WITH_IMM;
    slot = *data ? ntohl(wc->imm_data) : side->in[wc->wr_id].slot;
    *offset = *data ? 0 : side->in[wc->wr_id].offset;
    if (slot >= side->depth) {
        die("slot %u of %u", slot, side->depth);
    }
    add_receive(side, (uint32_t)wc->wr_id);
    return slot;
}
