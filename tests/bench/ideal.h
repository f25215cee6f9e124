/* SPDX-License-Identifier: BSD-3-Clause */
/* The ideal program: one side of a connection; ideal.c says what it is. */
#ifndef BENCH_IDEAL_H
#define BENCH_IDEAL_H

#include <rdma/rdma_cma.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/bench/result.h"

#define DEPTH_MAX    1024u
#define SIZE_MAX_IO  (16u << 20)
#define BATCH        64
#define SIGNAL_EVERY 16u
#define MESSAGE      64u    /* bytes of a request or an answer */
#define SPIN_YIELD   256u   /* empty polls before the CPU is offered */
#define SPIN_LOOK    65536u /* … before the connection is looked at */
#define CONNECT_MS   5000

struct message {
    uint32_t slot;
    uint32_t write;
    uint64_t offset;
    uint8_t rest[MESSAGE - 16];
};

_Static_assert(sizeof(struct message) == MESSAGE, "a message of 64 bytes");

/* In the private data of connect and accept; both ends have one byte order. */
struct hello {
    uint32_t depth;
    uint32_t size;
    uint64_t address;
    uint32_t key;
};

struct side {
    bool poll;
    struct rdma_event_channel *events;
    struct rdma_cm_id *id;
    struct ibv_pd *pd;
    struct ibv_comp_channel *channel;
    struct ibv_cq *cq;
    struct ibv_mr *mr;
    uint32_t depth, size;
    struct hello peer;

    /* One piece of memory: slots, then messages to send, then to receive. */
    uint8_t *memory;
    size_t length;
    struct message *out, *in;
    uint8_t message_flags; /* inline where the device can */

    /* The chains of a batch. */
    struct ibv_send_wr send[BATCH];
    struct ibv_sge send_sge[BATCH];
    unsigned int sends;
    struct ibv_recv_wr recv[BATCH];
    struct ibv_sge recv_sge[BATCH];
    unsigned int recvs;
    unsigned int silent; /* sends since the last signalled one */

    /* Server. */
    int file;
    uint64_t file_size;
    uint64_t written; /* bytes: where the next write goes */

    /* Client. */
    int read_percent;
    uint64_t count, started, ended;
    uint64_t seed;
    uint64_t begun[DEPTH_MAX];
    struct result result;
};

void __attribute__((noreturn, format(printf, 1, 2)))
die(const char *format, ...);

/* ---- Memory and queue pair, on side->id ---- */

void make_queue(struct side *side);
void drop_queue(struct side *side);
uint8_t *slot_data(struct side *side, uint32_t slot);

/* ---- Sending: into the chain that post_sends() posts ---- */

void send_message(struct side *side, uint32_t slot, bool write,
                  uint64_t offset);
void send_data(struct side *side, uint32_t slot);
void post_sends(struct side *side);

/* ---- Receiving ---- */

/*
 * Up to BATCH completions; 0 when the connection has something to say. A
 * sleeper arms, looks once more, and never sleeps longer than a second.
 */
int wait_completions(struct side *side, struct ibv_wc *wc);
/*
 * The slot a completion speaks of, or -1 if it was a send's. Its receive goes
 * into the chain that post_receives() posts.
 */
int64_t receive(struct side *side, const struct ibv_wc *wc, bool *data,
                uint64_t *offset);
void post_receives(struct side *side);

#endif
