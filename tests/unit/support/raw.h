/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One end of a connection by bare verbs: to test the fake device, and to be a
 * peer that keeps no protocol.
 */
#ifndef RDISK_UNIT_RAW_H
#define RDISK_UNIT_RAW_H

#include "tests/fake/fake.h"
#include "transport/wire/wire.h"

#define RAW_BUFFER 32768u
#define RAW_DEPTH  16u
#define RAW_RECV   (1ull << 63) /* wr_id of a receive */

struct raw {
    struct fake_fabric *fabric;
    struct fake_host *host;
    const struct rdisk_verbs *verbs;
    struct rdma_event_channel *channel;
    struct rdma_cm_id *listener; /* a passive end's */
    struct rdma_cm_id *id;
    struct ibv_pd *share; /* another one's, to be used as pd */
    struct ibv_pd *pd;
    struct ibv_comp_channel *completions;
    struct ibv_cq *cq;
    struct ibv_qp *qp;
    struct ibv_mr *mr; /* all of buffer, remote-writable */
    uint8_t *buffer;
    enum rdma_cm_event_type event; /* the last one taken */
    int status;                    /* and its status */
    uint8_t data[256];             /* and its private data */
    uint8_t data_length;
    uint8_t reads; /* RDMA READs that both ends are to allow */
};

void raw_init(struct raw *raw, struct fake_fabric *fabric,
              struct fake_host *host);
void raw_destroy(struct raw *raw);
/* Take one connection event; false if none came though the fabric ran. */
bool raw_event(struct raw *raw);
/* Create everything up to the queue pair on raw->id. */
void raw_endpoint(struct raw *raw);
/* Address, route, endpoint and REQ. */
void raw_connect_start(struct raw *raw, const char *address, uint16_t port,
                       const void *data, uint8_t size);
/* The same and the answer: true if it is ESTABLISHED. */
bool raw_connect(struct raw *raw, const char *address, uint16_t port,
                 const void *data, uint8_t size);
void raw_listen(struct raw *raw, uint16_t port);
/* Take a CONNECT_REQUEST and make its endpoint. */
bool raw_request(struct raw *raw);
void raw_accept(struct raw *raw, const void *data, uint8_t size);
/* Two ends, connected. */
void raw_pair(struct raw *client, struct raw *server);
/* The client's end of raw_pair() and the server's are gone. */
void raw_unpair(struct raw *client, struct raw *server);

/* Post one receive of @size bytes at @offset of the buffer. */
int raw_receive(struct raw *raw, uint32_t offset, uint32_t size);
int raw_send(struct raw *raw, uint32_t offset, uint32_t size);
/* Write from @offset of the buffer; with @imm unless it is negative. */
int raw_write(struct raw *raw, uint32_t offset, uint32_t size, uint64_t remote,
              uint32_t rkey, int64_t imm);
/* Read into @offset of the buffer. */
int raw_read(struct raw *raw, uint32_t offset, uint32_t size, uint64_t remote,
             uint32_t rkey);
/* Bind a window, or undo that. */
int raw_bind(struct raw *raw, struct ibv_mw *mw, struct ibv_mr *mr,
             uint32_t key, void *address, uint64_t length);
int raw_invalidate(struct raw *raw, uint32_t key);
/* Poll one completion after the fabric ran; false if there is none. */
bool raw_poll(struct raw *raw, struct ibv_wc *wc);

#endif
