/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A volume of the pool gets a snapshot, VOLUME@SNAPSHOT, or a clone, another
 * volume: an operation on its name, while it is in use.
 *
 *   open      storage         the volume, if it is not open
 *   prepare   storage         of a pool directory: the new file, without a
 *                             name; a first flush, so that the one below has
 *                             little to do
 *   hold      control thread  requests are kept (barrier.h)
 *   share     storage         a flush; the new file shares the volume's
 *                             blocks, or the image has a snapshot
 *   release   control thread
 *   commit    storage         the new file gets its name; of an image: the
 *                             clone
 *
 * It is carried out whole or not at all. Control thread.
 */
#ifndef RDISK_SERVER_SESSION_SNAPSHOT_H
#define RDISK_SERVER_SESSION_SNAPSHOT_H

#include "server/session/barrier.h"
#include "server/volume/pool_shot.h"
#include "server/volume/volume_operation.h"

struct server;

/* Requests are kept for so long at most, ms: a client waits for one for
 * request-timeout, 10 s by default. */
#define SNAPSHOT_PAUSE_MS 5000

/* All zero but for what comes first. */
struct snapshot {
    struct volume_operation work; /* first; the volume that it is of, or the
                                     snapshot that is cloned; late() if
                                     wanted */
    struct server *server;
    char target[RDISK_VOLUME_NAME_MAX + 1]; /* VOLUME@SNAPSHOT, or of the
                                               clone */
    /*
     * It has ended, with work.result: 0, or a negative errno with work.why. 0:
     * on stable storage. @snapshot may be freed.
     */
    void (*done)(struct snapshot *snapshot);
    void *opaque; /* @done's */
    /* Of its success. */
    uint64_t pause; /* ns that requests were kept at most */

    /* The rest belongs to snapshot.c. */
    struct barrier barrier;
    struct pool_shot shot;
    unsigned int serial;
    bool sharing; /* the step is running */
};

/* Wait for the turn of its name, and carry it out; @done perhaps from
 * within. */
void snapshot_start(struct snapshot *snapshot);

#endif
