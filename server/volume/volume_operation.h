/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An operation that needs its volume open: it finds the volume or opens it,
 * keeps a reference to it, and drops that at its end. Each of these is one step
 * of the operation (operation.h). Control thread.
 */
#ifndef RDISK_SERVER_VOLUME_VOLUME_OPERATION_H
#define RDISK_SERVER_VOLUME_VOLUME_OPERATION_H

#include "server/volume/operation.h"
#include "server/volume/pool.h"

/* Embedded in what belongs to the operation; all zero except @pool and what
 * operation.h requires. */
struct volume_operation {
    struct operation operation; /* first */
    struct pool *pool;
    struct volume *volume;  /* with a reference; NULL: none */
    struct rdisk_error why; /* of the step that failed; storage steps write it
                               in their thread */
    int result;             /* of a storage step, from its thread */
    bool looks; /* the operation changes nothing of the volume, or locks it
                   itself: it is opened without its lock */
    bool force; /* the lock is taken from another server */

    /* The rest belongs to volume_operation.c. */
    void (*then)(struct volume_operation *work);
    void (*locked)(struct volume_operation *work);
    struct backend *backend; /* that is being opened or closed */
};

/*
 * It is its turn: find its volume, or open it, and lock it unless work->looks,
 * then @then, perhaps from within. work->volume is NULL if that has failed, and
 * work->why is the reason.
 */
void volume_operation_open(struct volume_operation *work,
                           void (*then)(struct volume_operation *work));
/*
 * Lock it, unless that is done, as class->lock has it; then @then, perhaps from
 * within, with work->result.
 */
void volume_operation_lock(struct volume_operation *work,
                           void (*then)(struct volume_operation *work));
/*
 * Drop the reference, if it has one, and close the volume if it was the last,
 * or unlock it if no client writes it; then @then, perhaps from within.
 * work->why and work->result stay.
 */
void volume_operation_put(struct volume_operation *work,
                          void (*then)(struct volume_operation *work));
/* operation_run() on the storage of its volume. */
int volume_operation_run(struct volume_operation *work,
                         void (*run)(struct job *job),
                         void (*done)(struct job *job));

struct volume_operation *volume_operation_of(struct operation *operation);
/* The one whose job that is. */
struct volume_operation *volume_operation_of_job(struct job *job);

#endif
