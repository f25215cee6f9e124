/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A snapshot or a clone where the storage cannot share blocks: the data is
 * copied, in jobs of bounded pieces, between two operations on the volume, so
 * that others that have to do with it do not wait. The volume is not written
 * meanwhile (volume.copies): a copy begins only while no client has it open to
 * write, and clients that want to write are refused until it has ended.
 *
 * A copy whose progress is not queried any more (COPY_ABANDONED_MS) is
 * cancelled. Control thread.
 */
#ifndef RDISK_SERVER_SESSION_COPY_H
#define RDISK_SERVER_SESSION_COPY_H

#include "server/volume/pool_shot.h"
#include "server/volume/volume_operation.h"

struct server;

/* Without a query for so long, ms, a copy is cancelled. */
#define COPY_ABANDONED_MS 10000

/* All zero but for what comes first. */
struct copy {
    struct volume_operation work; /* first; the volume or snapshot that is
                                     copied */
    struct server *server;
    char target[RDISK_VOLUME_NAME_MAX + 1];
    /* It copies now, or has ended with work.result and work.why. Called once.
     */
    void (*begun)(struct copy *copy);
    void *opaque; /* @begun's */

    /* To be read. */
    uint64_t size, done; /* bytes, holes included */
    bool ended;

    /* The rest belongs to copy.c. */
    struct lease_record record; /* of the volume, read before it begins */
    struct pool_shot shot;
    unsigned int serial;
    bool copying;      /* the volume notes it */
    uint64_t position; /* as @done, of the piece, in its thread */
    bool cancelled;
    uint64_t asked; /* rdisk_now() */
    struct job job; /* of a piece */
    struct copy *next;
};

/* @copy is copy.c's from now on, and freed by it. */
void copy_start(struct copy *copy);
/* The one that makes @target, which is being queried; NULL: there is none. If
 * it has ended it goes with the next call of copies_check_time(). */
struct copy *copy_find(struct server *server, const char *target);

/* When to call copies_check_time() at the latest; RDISK_NEVER. */
uint64_t copies_deadline(const struct server *server);
/* Cancel those that are not queried, and free those that have ended. */
void copies_check_time(struct server *server, uint64_t now);
/* The server ends. */
void copies_cancel(struct server *server);

#endif
