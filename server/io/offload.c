/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/io/offload.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct offload {
    pthread_t thread;
    pthread_mutex_t lock;       /* of all below */
    pthread_cond_t wanted;      /* there is a job, or it is over */
    struct offload_job *first;
    struct offload_job **last;
    bool quitting;
};

static void append(struct offload *offload, struct offload_job *job)
{
    job->next = NULL;
    *offload->last = job;
    offload->last = &job->next;
}

/* Sleeps until there is one; NULL: it is over. Under the lock. */
static struct offload_job *take(struct offload *offload)
{
    struct offload_job *job;

    while (!offload->first && !offload->quitting) {
        pthread_cond_wait(&offload->wanted, &offload->lock);
    }
    job = offload->first;
    if (job) {
        offload->first = job->next;
        if (!offload->first) {
            offload->last = &offload->first;
        }
    }
    return job;
}

static void done_run(struct message *message)
{
    struct offload_job *job = (struct offload_job *)
        ((char *)message - offsetof(struct offload_job, message));

    job->done(job);
}

static void *offload_main(void *opaque)
{
    struct offload *offload = opaque;
    struct offload_job *job;

    pthread_mutex_lock(&offload->lock);
    while ((job = take(offload))) {
        bool more;

        pthread_mutex_unlock(&offload->lock);
        more = job->run(job);
        if (!more) {
            job->message.run = done_run;
            mailbox_send(job->home, &job->message);
        }
        pthread_mutex_lock(&offload->lock);
        if (more) {
            append(offload, job);
        }
    }
    pthread_mutex_unlock(&offload->lock);
    return NULL;
}

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
    offload->last = &offload->first;
    result = pthread_create(&offload->thread, NULL, offload_main, offload);
    if (result) {
        rdisk_error_set(err, -result, "cannot start a thread: %s",
                        strerror(result));
        free(offload);
        return NULL;
    }
    pthread_setname_np(offload->thread, "offload");
    return offload;
}

void offload_destroy(struct offload *offload)
{
    if (!offload) {
        return;
    }
    pthread_mutex_lock(&offload->lock);
    offload->quitting = true;
    pthread_cond_signal(&offload->wanted);
    pthread_mutex_unlock(&offload->lock);
    pthread_join(offload->thread, NULL);
    pthread_cond_destroy(&offload->wanted);
    pthread_mutex_destroy(&offload->lock);
    free(offload);
}

void offload_submit(struct offload *offload, struct offload_job *job,
                    struct mailbox *home)
{
    job->home = home;
    pthread_mutex_lock(&offload->lock);
    append(offload, job);
    pthread_cond_signal(&offload->wanted);
    pthread_mutex_unlock(&offload->lock);
}
