/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One end of a connection by bare verbs on a real device, for peers that keep
 * no protocol. No call waits longer than END_WAIT_MS.
 */
#ifndef ADVERSARY_END_H
#define ADVERSARY_END_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>

#include "transport/wire/request.h"

#define END_WAIT_MS  10000
#define END_RECEIVES 16u
#define END_MESSAGES 0u     /* where messages come in */
#define END_SAY      16384u /* and from where they go out */
#define END_BUFFER   65536u

struct end {
    struct rdma_event_channel *channel;
    struct rdma_cm_id *listener;
    struct rdma_cm_id *id;
    struct ibv_pd *pd;
    struct ibv_cq *send_cq, *recv_cq;
    struct ibv_mr *mr;             /* all of buffer, remote-writable */
    uint8_t *buffer;               /* END_BUFFER bytes */
    enum rdma_cm_event_type event; /* the last one */
    uint8_t data[256];             /* and its private data */
    size_t data_length;
};

/* Says why and ends the program with status 2. */
void die(const char *format, ...)
    __attribute__((format(printf, 1, 2), noreturn));

/* RDMA READs that connections ask for; at first none. */
extern uint8_t end_reads;
/* Connect with this private data: true if it is accepted. */
bool end_connect(struct end *end, const char *address, const char *port,
                 const void *data, size_t length);
void end_listen(struct end *end, const char *address, const char *port);
/* Take a request of @listener's; its private data is in @end. */
void end_take(struct end *end, struct end *listener);
void end_accept(struct end *end, const void *data, size_t length);
void end_close(struct end *end);

/* True if the peer disconnects within this time. */
bool end_disconnected(struct end *end, int milliseconds);

/* A message or an empty receive is posted again at once. */
bool end_receive(struct end *end, struct ibv_wc *wc, int milliseconds);

/* Post from @offset of the buffer, wait, and return how it ended. @imm: see
 * rdisk_imm_request(); negative: none. */
enum ibv_wc_status end_write(struct end *end, uint32_t offset, uint32_t length,
                             uint64_t remote, uint32_t key, int64_t imm);
/* The same, of an RDMA READ into there. */
enum ibv_wc_status end_read(struct end *end, uint32_t offset, uint32_t length,
                            uint64_t remote, uint32_t key);
/* What lies at END_SAY, with its header filled. */
enum ibv_wc_status end_say(struct end *end, enum rdisk_message_type type,
                           size_t length, uint64_t epoch);
/* The next message; NULL if the connection ends first. */
const struct rdisk_wire_message *end_hear(struct end *end);

#endif
