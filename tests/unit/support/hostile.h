/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client made by hand of bare verbs, against a server with an honest client:
 * it can keep the protocol, or break it wherever a test likes.
 */
#ifndef RDISK_UNIT_HOSTILE_H
#define RDISK_UNIT_HOSTILE_H

#include "tests/unit/support/raw.h"
#include "tests/unit/support/scene.h"
#include "transport/wire/request.h"

/* Where the control messages lie in control.buffer. */
#define HOSTILE_SAY 8192u
/* Where the payload of bare writes lies in data.buffer. */
#define HOSTILE_PAYLOAD 16384u

extern struct scene hostile_scene;
extern struct scene_client *const honest;
extern struct raw control, data;          /* the hostile one's connections */
extern struct rdisk_wire_accept lease;    /* as the server gave it */
extern char bye_text[RDISK_TEXT_MAX + 1]; /* of the last BYE */

/* The honest client is ready, the hostile one's control connection up.
 * @max_qp_wr is the limit of the server's device. */
void hostile_begin_limited(uint64_t seed, int max_qp_wr);
void hostile_begin(uint64_t seed);
/* The server does not have these features. */
void hostile_begin_older(uint64_t seed, uint64_t withheld);
/* The server demands authentication; the honest one is this user. */
void hostile_begin_stranger(uint64_t seed, const char *user,
                            const char *secret);
/* The honest client notices nothing, and of the other nothing is left. */
void hostile_end(void);

void hostile_fill_connect(struct rdisk_wire_connect *wire);
void hostile_fill_join(struct rdisk_wire_connect *wire);
/* True if the next event is ESTABLISHED. */
bool hostile_connected(struct raw *raw);
/* A message of @type, to be filled further. */
void *hostile_message(enum rdisk_message_type type, size_t size);
struct rdisk_wire_open *hostile_open_message(void);
/* Send its first @size bytes; the answer, or NULL if none came. */
struct rdisk_wire_message *hostile_say(size_t size);
/* Features that its HELLO offers; 0 again after hostile_end(). */
extern uint64_t hostile_features;
/* HELLO and OPEN, cleanly; then the data queue. */
void hostile_open_volume(void);
void hostile_join(void);

/* A good write of one block in slot 0 with sequence 0, to be spoilt. */
struct rdisk_wire_request *hostile_request(void);
uint64_t hostile_header_address(unsigned int slot);
void hostile_send_request(unsigned int slot, uint32_t imm);
/* A bare write into @slot's payload, of what lies at HOSTILE_PAYLOAD. */
void hostile_send_bare(unsigned int slot, uint32_t imm, uint32_t length);
/* The next answer's immediate; negative if the connection ended instead. */
int64_t hostile_answer(void);
/* The server has ended the session with a reason. */
void hostile_thrown_out(void);

#endif
