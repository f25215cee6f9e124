/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/io/offload.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/container_of.h"
#include "common/log.h"
#include "common/thread.h"

struct thread {
    pthread_t thread;
    struct thread *next;
};

struct offload {
    pthread_mutex_t lock;       /* of all below */
    pthread_cond_t wanted;      /* a lane is ready, or the threads end */
    struct offload_lane *first; /* ready: have jobs, and no thread */
    struct offload_lane *last;
    struct thread *threads;
    unsigned int idle;     /* that wait for a lane */
    bool short_of_threads; /* has been logged */
    bool quitting;
    cpu_set_t cores; /* of the first one, not the reactor's own;
                                   constant */
};

/* ---- Lists; under the lock -------------------------------------------- */

static void append_job(struct offload_lane *lane, struct offload_job *job)
{
    job->next = NULL;
    if (lane->first) {
        lane->last->next = job;
    } else {
        lane->first = job;
    }
    lane->last = job;
}

static struct offload_job *take_job(struct offload_lane *lane)
{
    struct offload_job *job = lane->first;

    lane->first = job->next;
    return job;
}

static void append_lane(struct offload *offload, struct offload_lane *lane)
{
    lane->next = NULL;
    if (offload->first) {
        offload->last->next = lane;
    } else {
        offload->first = lane;
    }
    offload->last = lane;
}

/* Sleeps until there is one; NULL: the thread ends. */
static struct offload_lane *take_lane(struct offload *offload)
{
    struct offload_lane *lane;

    offload->idle++;
    while (!offload->first && !offload->quitting) {
        pthread_cond_wait(&offload->wanted, &offload->lock);
    }
    offload->idle--;
    lane = offload->first;
    if (lane) {
        offload->first = lane->next;
    }
    return lane;
}

/* ---- The threads ------------------------------------------------------- */

static void done_run(struct message *message)
{
    struct offload_job *job = container_of(message, struct offload_job,
                                           message);

    job->done(job);
}

static void *offload_main(void *opaque)
{
    struct offload *offload = opaque;
    struct offload_lane *lane;

    thread_role = THREAD_WORKER;
    pthread_mutex_lock(&offload->lock);
    while ((lane = take_lane(offload))) {
        struct offload_job *job = take_job(lane);
        bool more;

        pthread_mutex_unlock(&offload->lock);
        more = job->run(job);
        pthread_mutex_lock(&offload->lock);
        if (more) {
            append_job(lane, job);
        }
        lane->busy = lane->first != NULL;
        if (lane->busy) {
            append_lane(offload, lane);
        }
        if (!more) {
            /* Last: its lane may be gone then. */
            job->message.run = done_run;
            mailbox_send(job->home, &job->message);
        }
    }
    pthread_mutex_unlock(&offload->lock);
    return NULL;
}

static int start_thread(struct offload *offload)
{
    struct thread *thread = malloc(sizeof(*thread));
    pthread_attr_t attributes;
    int result;

    if (!thread) {
        return -ENOMEM;
    }
    pthread_attr_init(&attributes);
    pthread_attr_setaffinity_np(&attributes, sizeof(offload->cores),
                                &offload->cores);
    result = pthread_create(&thread->thread, &attributes, offload_main,
                            offload);
    pthread_attr_destroy(&attributes);
    if (result) {
        free(thread);
        return -result;
    }
    pthread_setname_np(thread->thread, "offload");
    thread->next = offload->threads;
    offload->threads = thread;
    return 0;
}

/* ---- Life -------------------------------------------------------------- */

struct offload *offload_create(struct rdisk_error *err)
{
    struct offload *offload = calloc(1, sizeof(*offload));
    int result;

    if (!offload) {
        rdisk_error_set(err, -ENOMEM, "no memory for a thread");
        return NULL;
    }
    pthread_mutex_init(&offload->lock, NULL);
    pthread_cond_init(&offload->wanted, NULL);
    pthread_getaffinity_np(pthread_self(), sizeof(offload->cores),
                           &offload->cores);
    result = start_thread(offload);
    if (result < 0) {
        rdisk_error_set(err, result, "cannot start a thread: %s",
                        strerror(-result));
        free(offload);
        return NULL;
    }
    return offload;
}

void offload_destroy(struct offload *offload)
{
    if (!offload) {
        return;
    }
    pthread_mutex_lock(&offload->lock);
    offload->quitting = true;
    pthread_cond_broadcast(&offload->wanted);
    pthread_mutex_unlock(&offload->lock);
    while (offload->threads) {
        struct thread *thread = offload->threads;

        offload->threads = thread->next;
        pthread_join(thread->thread, NULL);
        free(thread);
    }
    pthread_cond_destroy(&offload->wanted);
    pthread_mutex_destroy(&offload->lock);
    free(offload);
}

/* More lanes are ready than threads are idle. Under the lock. */
static void add_thread(struct offload *offload)
{
    int result = start_thread(offload);

    if (result < 0 && !offload->short_of_threads) {
        log_warning("cannot start a thread: %s; until it is possible, a volume "
                    "whose storage hangs may delay copies and queries for "
                    "holes on other volumes",
                    strerror(-result));
    }
    offload->short_of_threads = result < 0;
}

void offload_submit(struct offload *offload, struct offload_lane *lane,
                    struct offload_job *job, struct mailbox *home)
{
    struct offload_lane *ready;
    unsigned int count = 0;

    job->home = home;
    pthread_mutex_lock(&offload->lock);
    append_job(lane, job);
    if (!lane->busy) {
        lane->busy = true;
        append_lane(offload, lane);
        for (ready = offload->first; ready; ready = ready->next) {
            count++;
        }
        if (count > offload->idle) {
            add_thread(offload);
        }
        pthread_cond_signal(&offload->wanted);
    }
    pthread_mutex_unlock(&offload->lock);
}
