/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An administrator revokes the lease of a volume, of clients that are connected
 * or disconnected, permanently, and ends their sessions: an operation on the
 * volume. Control thread.
 */
#ifndef RDISK_SERVER_SESSION_FENCE_H
#define RDISK_SERVER_SESSION_FENCE_H

#include "server/session/session.h"

/* All zero but for what comes first. */
struct fence {
    struct volume_operation work; /* first; the name, and late() if wanted */
    struct server *server;
    /* It has ended, with work.result: 0, or a negative errno with work.why.
     * @fence may be freed. */
    void (*done)(struct fence *fence);
    /* Of its success: on stable storage if the volume is. */
    uint64_t generation;
    unsigned int sessions; /* that have been ended */

    /* The rest belongs to fence.c. */
    struct lease lease; /* as it is at the beginning of a step */
    struct lease_record record;
};

/* Wait for the turn of its name, and carry it out; @done perhaps from
 * within. */
void fence_start(struct fence *fence);

#endif
