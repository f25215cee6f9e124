/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Internal to the transport: control messages over a queue pair of their own,
 * the same for client and server. Control thread (client: home thread) only.
 */
#ifndef RDISK_VERBS_CONTROL_H
#define RDISK_VERBS_CONTROL_H

#include "transport/verbs/qp.h"
#include "transport/wire/wire.h"

#define RDISK_CONTROL_DEPTH 8u /* messages each way */

struct rdisk_control {
    struct rdisk_qp qp;
    void *buffers; /* receives, then sends */
    struct ibv_mr *mr;
    struct rdisk_qp_counters counters;
    uint64_t epoch; /* put into each message; 0 before OPEN */
    bool created;
};

/* A message as it arrived: a copy, checked once. */
struct rdisk_control_message {
    union {
        struct rdisk_wire_message message;
        uint8_t bytes[RDISK_MESSAGE_MAX];
    };
    enum rdisk_status check; /* of rdisk_wire_check_message() */
    struct rdisk_error err;  /* its sentence, unless that is OK */
};

int rdisk_control_create(struct rdisk_control *control,
                         const struct rdisk_env *env, struct rdma_cm_id *id,
                         struct ibv_pd *pd, struct rdisk_error *err);
void rdisk_control_destroy(struct rdisk_control *control);

/*
 * Send @size bytes; magic, version, length and epoch are filled in here, the
 * rest of the header is the caller's. False if RDISK_CONTROL_DEPTH messages
 * are on their way already or the connection is broken.
 */
bool rdisk_control_send(struct rdisk_control *control,
                        struct rdisk_wire_message *message, size_t size);
/* The same with a refusal: header, status and sentence. */
bool rdisk_control_refuse(struct rdisk_control *control,
                          enum rdisk_message_type type, uint32_t sequence,
                          enum rdisk_status status, const char *text);

/*
 * Write zero bytes to the peer, which its device acknowledges without its
 * program. Returns the sequence number for rdisk_qp_sent(). If
 * RDISK_CONTROL_DEPTH messages are in flight already, it is that of the last
 * of them: their acknowledgement shows that.
 */
uint64_t rdisk_control_probe(struct rdisk_control *control);

/* Take the event that made the descriptor readable, and arm it again. Then
 * _next() is due until it returns false. */
void rdisk_control_take_events(struct rdisk_control *control);
/* The next message that has arrived, if there is one. */
bool rdisk_control_next(struct rdisk_control *control,
                        struct rdisk_control_message *out);

#endif
