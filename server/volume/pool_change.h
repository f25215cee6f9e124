/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A volume of the pool directory is created, replaced, deleted or reverted to a
 * snapshot: an operation on its name (operation.h). Steps that use storage run
 * in jobs; decisions on the server's own state, and changes of it, in the
 * control thread, in between:
 *
 *   check      control thread  the name, the size, who has the volume open
 *   claim      storage         the file, its lock, its identity, its record
 *   admit      control thread  whether its writer may reconnect
 *   carry out  storage         the change, durable when it ends
 *   commit     control thread  the lease of a volume that was deleted
 *
 * A new volume that replaces none needs no claim. It is carried out whole or
 * not at all. A volume that a client holds, or that another server or another
 * volume serves, is neither deleted nor replaced nor reverted: -EBUSY and a
 * sentence that names the holder. One that was reverted is another volume, with
 * another identity, to clients: what they have of the old one in their caches,
 * or in flight, is not of this one.
 */
#ifndef RDISK_SERVER_VOLUME_POOL_CHANGE_H
#define RDISK_SERVER_VOLUME_POOL_CHANGE_H

#include "server/volume/operation.h"
#include "server/volume/pool.h"

enum pool_change_kind {
    POOL_CREATE,  /* -EEXIST if there is one of that name */
    POOL_REPLACE, /* the same, but replaces one that no client has open */
    POOL_DELETE,  /* a volume without snapshots, or a snapshot */
    POOL_REVERT,
};

/* All zero but for what comes first. */
struct pool_change {
    struct operation operation; /* first; the name, and late() if wanted */
    struct pool *pool;
    enum pool_change_kind kind;
    uint64_t size;  /* bytes; to create or replace */
    bool snapshots; /* to delete: with them, if it has any */
    /* To revert: VOLUME@SNAPSHOT of this volume. */
    char snapshot[RDISK_VOLUME_NAME_MAX + 1];
    bool preallocate; /* to create or replace: all of its space, or it is not
                         made: -ENOSPC, -EOPNOTSUPP (its file system, or a pool
                         of images, cannot), or -ETIMEDOUT */
    /* Control thread: it has ended, with @result. @change may be freed. */
    void (*done)(struct pool_change *change);
    void *opaque; /* @done's */
    /* 0 or a negative errno with @why; storage steps write it in their thread.
     * 0: it is durable. */
    int result;
    struct rdisk_error why;

    /* The rest belongs to pool_change.c. */
    int fd;                /* of the volume that goes, locked; -1: none */
    struct backend *image; /* the same, of a pool with images */
    uint8_t identity[RDISK_ID_SIZE];
    struct lease_record record;
    bool claimed, admitted;
};

/* Wait for the turn of its name, and carry it out; @done perhaps from
 * within. */
void pool_change_start(struct operations *operations,
                       struct pool_change *change);

#endif
