/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A clone gets a copy of what it shares with another volume, and needs that one
 * no more. This takes as long as it is large, so one job does it between two
 * operations on the volume, which clients use meanwhile: nobody waits for it.
 *
 * One that is not asked about any more (FLATTEN_ABANDONED_MS) is cancelled.
 * What it has copied stays there. Control thread.
 */
#ifndef RDISK_SERVER_SESSION_FLATTEN_H
#define RDISK_SERVER_SESSION_FLATTEN_H

#include <stdatomic.h>

#include "server/volume/volume_operation.h"

struct server;

/* Without a question for so long, ms, it is cancelled. */
#define FLATTEN_ABANDONED_MS 10000
/* At a time: each occupies a thread of the jobs. */
#define FLATTENS_MAX 4

/* All zero but for what comes first; flatten.c's, and freed by it. */
struct flatten {
    struct volume_operation work; /* first */
    struct server *server;

    /* To be read. */
    uint64_t size;         /* bytes of the volume; 0: it shares nothing */
    _Atomic uint64_t done; /* of these */
    bool ended;            /* with work.result and work.why */

    /* The rest belongs to flatten.c. */
    bool running; /* the job is, or has been; the volume notes it */
    bool shares;
    struct rdisk_error late; /* it has begun, but too late: for who asks until
                                it runs */
    atomic_bool cancelled;
    uint64_t asked; /* rdisk_now() */
    struct job job;
    struct flatten_wait *waits;
    struct flatten *next;
};

/* Who asks; in memory of its own until it is answered. */
struct flatten_wait {
    /*
     * It has begun, or ended; @err: why it has not, or has failed, else NULL.
     * @flatten is NULL if there is none.
     */
    void (*answer)(struct flatten_wait *wait, const struct flatten *flatten,
                   const struct rdisk_error *err);
    struct flatten_wait *next;
};

/* Flatten volume @name, or ask how far that is; the answer perhaps from
 * within. */
void flatten_ask(struct server *server, const char *name,
                 struct flatten_wait *wait);
/* It does not want the answer any more. */
void flatten_forget(struct server *server, struct flatten_wait *wait);

/* When to call flattens_check_time() at the latest; RDISK_NEVER. */
uint64_t flattens_deadline(const struct server *server);
/* Cancel those that are not asked about, and free those that have ended. */
void flattens_check_time(struct server *server, uint64_t now);
/* The server ends. */
void flattens_cancel(struct server *server);

#endif
