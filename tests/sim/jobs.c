/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The server's jobs (server/io/jobs.h) in virtual time. What a job does, and
 * when its submitter hears of it, are two moments, with anything in between.
 */
#include "tests/sim/sim.h"

struct jobs {
    struct sim *sim;
    struct job *first;
};

static struct jobs jobs;

struct jobs *sim_jobs(struct sim *sim)
{
    jobs = (struct jobs) { .sim = sim };
    return &jobs;
}

/* Storage takes its time, as it does for requests. */
static uint64_t later(struct sim *sim)
{
    return sim_now(sim) + sim_random(sim, sim->server.slowest + 1);
}

/* Called by server/volume/operation.c. */
int jobs_submit(struct jobs *to, struct job *job, struct rdisk_error *err)
{
    struct sim *sim = to->sim;

    if (sim->server.errors && sim_random(sim, sim->server.errors * 8) == 0) {
        return rdisk_error_set(err, -EBUSY, "there is no thread");
    }
    job->state = JOB_RUNNING;
    job->since = later(sim);
    job->next = to->first;
    to->first = job;
    return 0;
}

static void done(struct job *job)
{
    struct job **link = &jobs.first;

    while (*link != job) {
        link = &(*link)->next;
    }
    *link = job->next;
    job->state = JOB_IDLE;
    job->done(job);
}

bool sim_jobs_life(struct sim *sim)
{
    for (struct job *job = jobs.first; job; job = job->next) {
        if (job->since > sim_now(sim) || sim_random(sim, 2)) {
            continue;
        }
        if (job->state == JOB_RUNNING) {
            job->run(job);
            job->state = JOB_RAN;
            job->since = later(sim);
        } else {
            done(job);
        }
        return true;
    }
    return sim_jobs_due(sim) <= sim_now(sim);
}

uint64_t sim_jobs_due(const struct sim *sim)
{
    uint64_t due = SIM_NEVER;

    (void)sim;
    for (const struct job *job = jobs.first; job; job = job->next) {
        due = sim_least(due, job->since);
    }
    return due;
}

void sim_jobs_hurry(struct sim *sim)
{
    for (struct job *job = jobs.first; job; job = job->next) {
        job->since = sim_now(sim);
    }
}
