/* SPDX-License-Identifier: BSD-3-Clause */
/* Between visitor.c and visitor_owner.c. */
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

#endif
