/* SPDX-License-Identifier: BSD-3-Clause */
/* A client's session by bare verbs: one volume, one data queue. */
#ifndef ADVERSARY_SESSION_H
#define ADVERSARY_SESSION_H

#include "end.h"

#define SESSION_SLOTS   4u
#define SESSION_SLOT    8192u  /* bytes of payload */
#define SESSION_HEADER  32768u /* where in the buffer a request is made */
#define SESSION_PAYLOAD (SESSION_HEADER + 64u)

struct session {
    const char *address, *port, *volume;
    struct end control, data;
    struct rdisk_wire_open_reply granted;
    struct rdisk_wire_accept lease;
    uint32_t sequence; /* of the next request */
};

/* Features that HELLO offers: at first BARE and VECTOR. */
#define SESSION_FEATURES (RDISK_FEATURE_BARE | RDISK_FEATURE_VECTOR)
extern uint64_t session_features;

/* HELLO and OPEN, cleanly. */
void session_open(struct session *session, const char *address,
                  const char *port, const char *volume);
/* The connection request of the data queue, to be spoilt. */
struct rdisk_wire_connect session_request(const struct session *session);
/* Join with it: true if it is accepted. */
bool session_join_with(struct session *session,
                       const struct rdisk_wire_connect *request);
void session_join(struct session *session);
/* CLOSE, and its reply; then disconnect. */
void session_close(struct session *session);
/* Disconnect without a message. */
void session_drop(struct session *session);

/* Where the fixed header of a slot's request goes. */
uint64_t session_header(const struct session *session, unsigned int slot);
uint32_t session_key(const struct session *session);
/* A good request of one block at @offset, in the buffer. */
struct rdisk_wire_request *session_make(struct session *session,
                                        enum rdisk_op op, unsigned int slot,
                                        uint64_t offset);
/* Send header and @payload bytes behind it; with the right immediate. */
enum ibv_wc_status session_send(struct session *session, unsigned int slot,
                                uint32_t payload);
/* Send @length bytes of payload as a bare write at @offset. The base is 0: no
 * WRITE with a header went before. */
enum ibv_wc_status session_send_bare(struct session *session, unsigned int slot,
                                     uint64_t offset, uint32_t length);
/* The @i-th request of a message of several, in the buffer: a good flush in
 * slot @i. The first of the queue has the answer areas. */
struct rdisk_wire_request *session_make_several(struct session *session,
                                                unsigned int i);
/* Send @length bytes of them. */
enum ibv_wc_status session_send_several(struct session *session,
                                        uint32_t length);
/* The immediate of the next answer; negative: the connection ended instead. */
int64_t session_immediate(struct session *session);
/* The status of the next answer; negative: the connection ended instead. */
int session_answer(struct session *session);
/* True if there is an answer already. */
bool session_answered(struct session *session);
/* True if the session is over: BYE or the end of the connections. */
bool session_ended(struct session *session);

#endif
