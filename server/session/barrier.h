/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * No request of a volume is at its storage, for as long as that takes: those
 * that are there are completed, and new ones are kept, in the order in which
 * they came, until the barrier is released. So what is done to the storage in
 * between has the data of one moment: all that was answered, and of what was
 * not answered each request whole or not at all.
 *
 * A client waits for a request for a limited time, so a barrier has a limit, at
 * which it is released.
 *
 * Control thread, but for what attachment.h declares.
 */
#ifndef RDISK_SERVER_SESSION_BARRIER_H
#define RDISK_SERVER_SESSION_BARRIER_H

#include "server/backends/backend.h"
#include "server/io/mailbox.h"

struct server;

enum barrier_state {
    BARRIER_IDLE,    /* not begun, or released */
    BARRIER_HOLDING, /* requests are kept; some are still at the storage */
    BARRIER_HELD,    /* none is */
    BARRIER_RELEASING,
};

/* All zero but for what comes first. */
struct barrier {
    struct server *server;
    struct backend *backend;
    uint64_t limit; /* ns that requests may be kept */
    /* None is at the storage; perhaps from within barrier_begin(). Not called
     * if it expires before. */
    void (*held)(struct barrier *barrier);
    /* Each request goes on. Called once, perhaps from within
     * barrier_release(). */
    void (*released)(struct barrier *barrier);

    /* Of its end. */
    uint64_t pause; /* ns: the longest that requests were kept at a reactor */
    bool expired;   /* it was released by its limit */

    /* The rest belongs to barrier.c. */
    enum barrier_state state;
    uint64_t deadline;
    unsigned int busy;    /* reactors that have requests at the storage */
    unsigned int held_by; /* reactors that have not released it */
    struct barrier_hold *holds;
    struct barrier *next; /* of the server's list */
};

/* 0, or -ENOMEM with @err: then neither is called. */
int barrier_begin(struct barrier *barrier, struct rdisk_error *err);
/* That it is being released already is no error. */
void barrier_release(struct barrier *barrier);

/* When to call barriers_check_time() at the latest; RDISK_NEVER. */
uint64_t barriers_deadline(const struct server *server);
/* Release those whose limit has passed. */
void barriers_check_time(struct server *server, uint64_t now);

#endif
