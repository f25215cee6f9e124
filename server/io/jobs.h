/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Threads for system calls that may block for as long as storage does: open,
 * create, truncate, fsync, unlink, and what reads and writes records. From the
 * moment the server listens, the control thread makes none of them: it submits
 * a job, and its mailbox runs done(). (Only when no thread can be started at
 * all does it close a volume itself.)
 *
 * A file system that does not respond occupies the threads that called it. So
 * jobs name their *store*, whatever responds or hangs as one, and one store
 * uses no more than JOBS_OF_STORE threads; the rest is for the others.
 *
 * Threads: run() has one of its own, everything else is the control thread's.
 */
#ifndef RDISK_SERVER_IO_JOBS_H
#define RDISK_SERVER_IO_JOBS_H

#include <stdbool.h>
#include <stdint.h>

#include "server/io/mailbox.h"
#include <rdisk/env.h>
#include <rdisk/error.h>

#define JOBS_THREADS  32   /* at a time, all stores together */
#define JOBS_OF_STORE 8    /* at a time, of one store */
#define JOBS_MAX      1024 /* that run or wait */

struct jobs;

enum job_state {
    JOB_IDLE,    /* not submitted, or done */
    JOB_WAITING, /* for a thread */
    JOB_RUNNING,
    JOB_RAN, /* done() comes with the mailbox */
};

/* In memory of the submitter's, from submit until done() is called. */
struct job {
    const char *what;   /* "opening volume", for the log; constant */
    const char *volume; /* or path, that it is done to */
    const void *store;  /* equal: the same store; never dereferenced */
    /* A thread of its own: the system calls, and nothing that others have. */
    void (*run)(struct job *job);
    /* Control thread: it has been run. The job may go, or be submitted again,
     * from within. */
    void (*done)(struct job *job);
    bool lasts; /* it may take any time: not logged as one that hangs */

    /* The rest belongs to jobs.c. */
    struct jobs *jobs;
    enum job_state state; /* under its lock */
    bool hangs;           /* has been logged */
    uint64_t since;       /* rdisk_now() of submission */
    struct message message;
    struct job *queued; /* the next that waits; under the lock */
    struct job *next;   /* of all that are not done */
    struct job **link;
};

/*
 * @home: of the control thread. A job that has not ended after @slow
 * nanoseconds is logged, and so is its end. NULL: no memory. Threads are
 * started as needed.
 */
struct jobs *jobs_create(struct mailbox *home, const struct rdisk_env *env,
                         uint64_t slow);
/* Change @slow, for the jobs there are, too. */
void jobs_set_slow(struct jobs *jobs, uint64_t slow);
/* End all threads; no job is left. NULL is allowed. */
void jobs_destroy(struct jobs *jobs);

/* 0, or -EBUSY with @err: there are JOBS_MAX already, or no thread. */
int jobs_submit(struct jobs *jobs, struct job *job, struct rdisk_error *err);

/* Jobs that are not done. */
unsigned int jobs_count(const struct jobs *jobs);
/* Calls @fn for each job that is not done, and how many ns ago it was
 * submitted. */
void jobs_for_each(struct jobs *jobs,
                   void (*fn)(void *opaque, const struct job *job,
                              uint64_t age),
                   void *opaque);

/* When to call jobs_check_time() at the latest; RDISK_NEVER. */
uint64_t jobs_deadline(const struct jobs *jobs);
/* Log jobs that hang. */
void jobs_check_time(struct jobs *jobs, uint64_t now);

#endif
