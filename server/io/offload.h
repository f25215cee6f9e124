/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Threads of a reactor for system calls that io_uring does not have and that
 * may block: finding holes, copying inside a file system; and for other long
 * work. Each volume has a *lane*, whose jobs take turns, a bounded piece each,
 * in one thread at a time: a volume whose storage does not respond occupies
 * that one, and no more. Threads are started when lanes with work outnumber
 * them.
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
    /* A thread of the offload: do a piece of it. True: there is more to do. */
    bool (*run)(struct offload_job *job);
    /* The thread of the mailbox: all has been done. */
    void (*done)(struct offload_job *job);
    struct mailbox *home;
    struct message message;
    struct offload_job *next;
};

/* Zeroed, it has no jobs. Its owner keeps it until they are done. */
struct offload_lane {
    struct offload_job *first; /* all under the offload's lock */
    struct offload_job *last;
    bool busy;                 /* a thread has it, or it is ready for one */
    struct offload_lane *next; /* ready, too */
};

/* Start the first thread; it sleeps until there is a job. NULL with @err
 * filled. */
struct offload *offload_create(struct rdisk_error *err);
/* No job is in flight any more. NULL is allowed. */
void offload_destroy(struct offload *offload);

/* Any thread. @home: the mailbox of the thread that done() is to run in. */
void offload_submit(struct offload *offload, struct offload_lane *lane,
                    struct offload_job *job, struct mailbox *home);

#endif
