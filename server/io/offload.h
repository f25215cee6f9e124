/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A thread beside a reactor for system calls that io_uring does not have and
 * that may block: looking for holes, copying inside a file system. Jobs take
 * turns, a bounded piece each, so that a long one does not hold up the others.
 */
#ifndef RDISK_SERVER_IO_OFFLOAD_H
#define RDISK_SERVER_IO_OFFLOAD_H

#include <stdbool.h>
#include <stddef.h>

#include "server/io/mailbox.h"
#include <rdisk/error.h>

struct offload;

/* In memory of the submitter's, from submit until done() is called. */
struct offload_job {
    /* The offload's thread: do a piece of it. True: there is more to do. */
    bool (*run)(struct offload_job *job);
    /* The thread of the mailbox: all has been done. */
    void (*done)(struct offload_job *job);
    struct mailbox *home;
    struct message message;
    struct offload_job *next;
};

/* Start the thread; it sleeps until there is a job. NULL with @err filled. */
struct offload *offload_create(struct rdisk_error *err);
/* No job is in flight any more. NULL is allowed. */
void offload_destroy(struct offload *offload);

/* Any thread. @home: the mailbox of the thread that done() is to run in. */
void offload_submit(struct offload *offload, struct offload_job *job,
                    struct mailbox *home);

#endif
