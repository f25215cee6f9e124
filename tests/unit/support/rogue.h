/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A server made by hand of bare verbs, against the real client: it can keep
 * the protocol, or break it wherever a test likes.
 */
#ifndef RDISK_UNIT_ROGUE_H
#define RDISK_UNIT_ROGUE_H

#include "tests/unit/support/raw.h"
#include "tests/unit/support/scene.h"
#include "transport/wire/request.h"

/* Bytes of the read that the victim sends, its slot size. */
#define ROGUE_BUFFER 4096u

extern struct scene rogue_scene;
extern struct scene_client *const victim;
extern struct raw rogue_control, rogue_data; /* the server's ends */
extern struct rdisk_wire_accept rogue_lease; /* to be spoilt */
extern struct scene_io rogue_io;             /* the victim's request */
extern uint8_t rogue_buffer[ROGUE_BUFFER];
/* Of the next victim; then direct again. */
extern enum rdisk_guest_memory rogue_guest_memory;

/* That the server chooses, and grants; 0 and 1 again after rogue_end(). */
extern uint64_t rogue_features;
extern unsigned int rogue_slots;

/* The victim's queue has asked to join; the lease is filled. */
void rogue_begin_joining(uint64_t seed);
void rogue_accept_queue(void);
/* The same, accepted: the victim is READY. */
void rogue_begin(uint64_t seed);
/* The victim's session creates, deletes or lists (@instead), and the server has
 * chosen these features: its reply is due. */
void rogue_begin_instead(uint64_t features,
                         int (*instead)(struct rdisk_initiator *session));
void rogue_end(void);

/* Grants one queue of rogue_slots slots of 4 KiB. */
struct rdisk_wire_open_reply rogue_open_reply(void);
void rogue_say(enum rdisk_message_type type, void *message, size_t size);
/* The victim sends a read of the buffer, and here is what arrived. */
struct rdisk_wire_request *rogue_take_read(void);
/* The same, into this memory, as it is. */
struct rdisk_wire_request *rogue_take_read_into(void *memory);
void rogue_answer(uint32_t imm);

#endif
