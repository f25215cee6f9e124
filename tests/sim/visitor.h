/* SPDX-License-Identifier: BSD-3-Clause */
/* Between visitor.c, visitor_messages.c and visitor_owner.c. */
#ifndef SIM_VISITOR_H
#define SIM_VISITOR_H

#include "tests/sim/sim.h"

/* What happens in the state that it is sent to. */
enum act {
    STAY,
    LEAVE,     /* disconnect */
    BREAK,     /* its queue pair */
    MISBEHAVE, /* send a message that is not due */
    CLOSE,     /* send CLOSE */
    FENCE,     /* the server's owner does */
    END,       /* the same, with BYE */
    SHUTDOWN,  /* the same; requests may end */
    REMOVE,    /* the server's device is removed */
    STOP,      /* the server begins to stop */
    ANSWER,    /* the owner does, which it has put off */
    ACTS
};
static_assert(ACTS == SIM_VISITOR_ACTS &&
                  RDISK_TARGET_STATES == SIM_VISITOR_GOALS,
              "see schedule.h");

/* Time until it has that state, ms. */
void sim_visitor_arrive(struct sim_visitor *visitor, unsigned int ms);
/* One of the acts that are the server's owner's. */
void sim_visitor_owner_acts(struct sim_visitor *visitor);

/* ---- visitor_messages.c -------------------------------------------------- */

/* A message without a body. */
void sim_visitor_send_plain(struct sim_visitor *visitor,
                            enum rdisk_message_type type);
void sim_visitor_send_hello(struct sim_visitor *visitor);
void sim_visitor_send_auth(struct sim_visitor *visitor);
void sim_visitor_send_proof(struct sim_visitor *visitor,
                            const struct rdisk_wire_auth_challenge *challenge);
/* CREATE, or DELETE of the same name. */
void sim_visitor_send_create(struct sim_visitor *visitor);
/* The next page of the list; if LISTING is the goal, one that the owner answers
 * later. */
void sim_visitor_send_list(struct sim_visitor *visitor);
void sim_visitor_send_open(struct sim_visitor *visitor);
/* A bare write that the server refuses. */
void sim_visitor_write_beyond_the_end(struct sim_visitor *visitor);

#endif
