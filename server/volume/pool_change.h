/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A volume of the pool directory is created, replaced or deleted: an operation
 * on its name (operation.h). Steps that use storage run in jobs; decisions on the
 * server's own state, and changes of it, in the control thread, in between:
 *
 *   check      control thread  the name, the size, who has the volume open
 *   claim      storage         the file, its lock, its identity, its record
 *   admit      control thread  whether its writer may reconnect
 *   carry out  storage         the change, durable when it ends
 *   commit     control thread  the lease of a volume that was deleted
 *
 * A new volume that replaces none needs no claim. It is carried out whole or
 * not at all. A volume that a client holds, or that another server or another
 * volume serves, is neither deleted nor replaced: -EBUSY and a sentence that names
 * the holder.
 */
#ifndef RDISK_SERVER_VOLUME_POOL_CHANGE_H
#define RDISK_SERVER_VOLUME_POOL_CHANGE_H

#include "server/volume/operation.h"
#include "server/volume/pool.h"

enum pool_change_kind {
    POOL_CREATE,  /* -EEXIST if there is one of that name */
    POOL_REPLACE, /* the same, but replaces one that no client has open */
    POOL_DELETE,
};

/* All zero but for what comes first. */
struct pool_change {
    struct operation operation; /* first; the name, and late() if wanted */
    struct pool *pool;
    enum pool_change_kind kind;
    uint64_t size; /* bytes; not to delete */
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

/* Wait for the turn of its name, and carry it out; @done perhaps from within. */
void pool_change_start(struct operations *operations,
                       struct pool_change *change);

#endif
