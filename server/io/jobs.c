/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/io/jobs.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/container_of.h"
#include "common/log.h"
#include "common/thread.h"

struct jobs {
    struct mailbox *home;
    const struct rdisk_env *env;
    uint64_t slow;

    /* Control thread. */
    struct job *all; /* that are not done, the latest first */
    unsigned int count;
    pthread_t thread[JOBS_THREADS];
    unsigned int threads;

    pthread_mutex_t lock;  /* of all below, and of the jobs' states */
    pthread_cond_t wanted; /* a job waits, or the threads end */
    struct job *first;     /* that wait */
    struct job **last;
    const struct job *running[JOBS_THREADS];
    unsigned int waiting, busy;
    bool quitting;
};

/* ---- Threads ---------------------------------------------------------- */

static bool store_full(const struct jobs *jobs, const void *store)
{
    unsigned int n = 0;

    for (unsigned int i = 0; i < JOBS_THREADS; i++) {
        n += jobs->running[i] && jobs->running[i]->store == store;
    }
    return n >= JOBS_OF_STORE;
}

static void unlink_waiting(struct jobs *jobs, struct job **link)
{
    struct job *job = *link;

    *link = job->queued;
    if (!*link) {
        jobs->last = link;
    }
    jobs->waiting--;
}

/* The oldest one whose store has not got its share. Under the lock. */
static struct job *take(struct jobs *jobs)
{
    struct job **link = &jobs->first;
    struct job *job;

    while (*link && store_full(jobs, (*link)->store)) {
        link = &(*link)->queued;
    }
    job = *link;
    if (job) {
        unlink_waiting(jobs, link);
    }
    return job;
}

static void done_run(struct message *message);

static void run(struct jobs *jobs, unsigned int place, struct job *job)
{
    jobs->running[place] = job;
    jobs->busy++;
    job->state = JOB_RUNNING;
    pthread_mutex_unlock(&jobs->lock);
    job->run(job);
    pthread_mutex_lock(&jobs->lock);
    jobs->running[place] = NULL;
    jobs->busy--;
    job->state = JOB_RAN;
    job->message.run = done_run;
    mailbox_send(jobs->home, &job->message);
}

/* What a thread starts with. */
struct place {
    struct jobs *jobs;
    unsigned int index;
};

static void *jobs_main(void *opaque)
{
    struct place place = *(struct place *)opaque;
    struct jobs *jobs = place.jobs;

    thread_role = THREAD_WORKER;
    free(opaque);
    pthread_mutex_lock(&jobs->lock);
    while (!jobs->quitting) {
        struct job *job = take(jobs);

        if (job) {
            run(jobs, place.index, job);
        } else {
            pthread_cond_wait(&jobs->wanted, &jobs->lock);
        }
    }
    pthread_mutex_unlock(&jobs->lock);
    return NULL;
}

static int start_thread(struct jobs *jobs)
{
    struct place *place = malloc(sizeof(*place));
    int result;

    if (!place) {
        return -ENOMEM;
    }
    *place = (struct place) { .jobs = jobs, .index = jobs->threads };
    result = pthread_create(&jobs->thread[jobs->threads], NULL, jobs_main,
                            place);
    if (result) {
        free(place);
        return -result;
    }
    pthread_setname_np(jobs->thread[jobs->threads], "storage");
    jobs->threads++;
    return 0;
}

/* ---- Jobs ------------------------------------------------------------- */

static struct job *job_of(struct message *message)
{
    return container_of(message, struct job, message);
}

static double seconds_since(const struct jobs *jobs, const struct job *job)
{
    return (rdisk_now(jobs->env) - job->since) / 1000000 / 1000.0;
}

/* From the list of all. */
static void remove_job(struct jobs *jobs, struct job *job)
{
    *job->link = job->next;
    if (job->next) {
        job->next->link = job->link;
    }
    jobs->count--;
    job->state = JOB_IDLE;
}

static void done_run(struct message *message)
{
    struct job *job = job_of(message);
    struct jobs *jobs = job->jobs;

    if (job->hangs) {
        log_warning("%s '%s' has ended, after %.1f seconds", job->what,
                    job->volume, seconds_since(jobs, job));
    }
    remove_job(jobs, job);
    job->done(job);
}

/* More jobs wait than threads sleep, as far as they may. */
static int provide_thread(struct jobs *jobs)
{
    bool needed;

    pthread_mutex_lock(&jobs->lock);
    needed = jobs->threads - jobs->busy <= jobs->waiting;
    pthread_mutex_unlock(&jobs->lock);
    if (!needed || jobs->threads == JOBS_THREADS) {
        return 0;
    }
    return start_thread(jobs);
}

int jobs_submit(struct jobs *jobs, struct job *job, struct rdisk_error *err)
{
    int result;

    assert_control_thread();
    assert(job->state == JOB_IDLE);
    if (jobs->count >= JOBS_MAX) {
        return rdisk_error_set(err, -EBUSY,
                               "%u operations wait for storage "
                               "already",
                               jobs->count);
    }
    result = provide_thread(jobs);
    if (result < 0 && !jobs->threads) {
        return rdisk_error_set(err, -EBUSY, "cannot start a thread: %s",
                               strerror(-result));
    }
    job->jobs = jobs;
    job->hangs = false;
    job->since = rdisk_now(jobs->env);
    job->next = jobs->all;
    job->link = &jobs->all;
    if (jobs->all) {
        jobs->all->link = &job->next;
    }
    jobs->all = job;
    jobs->count++;

    pthread_mutex_lock(&jobs->lock);
    job->state = JOB_WAITING;
    job->queued = NULL;
    *jobs->last = job;
    jobs->last = &job->queued;
    jobs->waiting++;
    pthread_cond_signal(&jobs->wanted);
    pthread_mutex_unlock(&jobs->lock);
    return 0;
}

/* ---- Those that hang -------------------------------------------------- */

unsigned int jobs_count(const struct jobs *jobs)
{
    return jobs->count;
}

void jobs_for_each(struct jobs *jobs,
                   void (*fn)(void *opaque, const struct job *job,
                              uint64_t age),
                   void *opaque)
{
    uint64_t now = rdisk_now(jobs->env);

    assert_control_thread();
    for (const struct job *job = jobs->all; job; job = job->next) {
        fn(opaque, job, now - job->since);
    }
}

/* It has not been logged yet. */
static bool is_watched(const struct job *job)
{
    return !job->hangs && !job->lasts;
}

uint64_t jobs_deadline(const struct jobs *jobs)
{
    uint64_t deadline = RDISK_NEVER;

    for (const struct job *job = jobs->all; job; job = job->next) {
        if (is_watched(job) && job->since + jobs->slow < deadline) {
            deadline = job->since + jobs->slow;
        }
    }
    return deadline;
}

void jobs_check_time(struct jobs *jobs, uint64_t now)
{
    assert_control_thread();
    for (struct job *job = jobs->all; job; job = job->next) {
        if (is_watched(job) && now >= job->since + jobs->slow) {
            job->hangs = true;
            log_error("%s '%s' has not ended for %.1f seconds: its storage "
                      "does not answer",
                      job->what, job->volume, seconds_since(jobs, job));
        }
    }
}

/* ---- Life ------------------------------------------------------------- */

struct jobs *jobs_create(struct mailbox *home, const struct rdisk_env *env,
                         uint64_t slow)
{
    struct jobs *jobs = calloc(1, sizeof(*jobs));

    assert_control_thread();
    if (jobs) {
        jobs->home = home;
        jobs->env = env;
        jobs->slow = slow;
        jobs->last = &jobs->first;
        pthread_mutex_init(&jobs->lock, NULL);
        pthread_cond_init(&jobs->wanted, NULL);
    }
    return jobs;
}

void jobs_set_slow(struct jobs *jobs, uint64_t slow)
{
    assert_control_thread();
    jobs->slow = slow;
}

void jobs_destroy(struct jobs *jobs)
{
    assert_control_thread();
    if (!jobs) {
        return;
    }
    assert(!jobs->count);
    pthread_mutex_lock(&jobs->lock);
    jobs->quitting = true;
    pthread_cond_broadcast(&jobs->wanted);
    pthread_mutex_unlock(&jobs->lock);
    for (unsigned int i = 0; i < jobs->threads; i++) {
        pthread_join(jobs->thread[i], NULL);
    }
    pthread_cond_destroy(&jobs->wanted);
    pthread_mutex_destroy(&jobs->lock);
    free(jobs);
}
