/* SPDX-License-Identifier: BSD-3-Clause */
/* Threads for system calls that may block. */
#include <errno.h>
#include <poll.h>
#include <semaphore.h>

#include "common/log.h"
#include "server/io/jobs.h"
#include "tests/unit/support/quiet.h"
#include "tests/unit/support/unit.h"

#define JOBS 64u

/* A job that ends when the test lets it. */
struct held {
    struct job job; /* first */
    sem_t go;
    unsigned int done;
};

static struct mailbox home;
static struct rdisk_env env;
static struct jobs *jobs;
static uint64_t now;
static struct held held[JOBS];
static sem_t begun; /* once for each that runs */
static const char store[2];

static uint64_t clock_now(void *opaque)
{
    return now;
}

static void wait_for(sem_t *semaphore)
{
    while (sem_wait(semaphore) < 0) {
        /* interrupted */
    }
}

static void run(struct job *job)
{
    sem_post(&begun);
    wait_for(&((struct held *)job)->go);
}

static void done(struct job *job)
{
    ((struct held *)job)->done++;
}

static void begin(void)
{
    log_set_level(QUIET);
    env = rdisk_env_system;
    env.now = clock_now;
    now = 1;
    memset(held, 0, sizeof(held));
    sem_init(&begun, 0, 0);
    REQUIRE(mailbox_init(&home) == 0);
    jobs = jobs_create(&home, &env, 10 * RDISK_MSEC);
    REQUIRE(jobs != NULL);
}

static void submit(unsigned int i, unsigned int place)
{
    struct rdisk_error err;

    held[i].job = (struct job) {
        .what = "test",
        .volume = "v",
        .store = &store[place],
        .run = run,
        .done = done,
    };
    sem_init(&held[i].go, 0, 0);
    CHECK_EQUAL(jobs_submit(jobs, &held[i].job, &err), 0);
}

static void await_mailbox(void)
{
    struct pollfd pfd = { .fd = home.fd, .events = POLLIN };

    REQUIRE(poll(&pfd, 1, 20000) == 1);
    mailbox_run(&home);
}

/* Let it end, and call its done(). */
static void finish(unsigned int i)
{
    sem_post(&held[i].go);
    while (!held[i].done) {
        await_mailbox();
    }
    CHECK_EQUAL(held[i].done, 1);
}

static void end(void)
{
    CHECK_EQUAL(jobs_count(jobs), 0);
    jobs_destroy(jobs);
    mailbox_destroy(&home);
    sem_destroy(&begun);
    log_set_level(RDISK_LOG_INFO);
}

static void runs_beside(void)
{
    begin();
    submit(0, 0);
    submit(1, 0);
    wait_for(&begun);
    wait_for(&begun);
    CHECK_EQUAL(jobs_count(jobs), 2);
    finish(1);
    CHECK_EQUAL(held[0].done, 0);
    finish(0);
    end();
}

static void one_store_leaves_threads(void)
{
    begin();
    for (unsigned int i = 0; i < 40; i++) {
        submit(i, 0);
    }
    for (unsigned int i = 0; i < JOBS_OF_STORE; i++) {
        wait_for(&begun);
    }
    CHECK_EQUAL(sem_trywait(&begun), -1);
    submit(40, 1);
    wait_for(&begun);
    finish(40);
    /* One of them that ends makes room for the next. */
    for (unsigned int i = 0; i < 40; i++) {
        finish(i);
    }
    end();
}

static void in_order(void)
{
    begin();
    for (unsigned int i = 0; i <= JOBS_OF_STORE + 1; i++) {
        submit(i, 0);
    }
    for (unsigned int i = 0; i < JOBS_OF_STORE; i++) {
        wait_for(&begun);
    }
    finish(3);
    wait_for(&begun);
    CHECK_EQUAL(held[JOBS_OF_STORE].job.state, JOB_RUNNING);
    CHECK_EQUAL(held[JOBS_OF_STORE + 1].job.state, JOB_WAITING);
    for (unsigned int i = 0; i <= JOBS_OF_STORE + 1; i++) {
        if (i != 3) {
            finish(i);
        }
    }
    end();
}

static void run_at_once(struct job *job)
{
}

static void done_at_once(struct job *job)
{
}

static void too_many(void)
{
    static struct job waits[JOBS_MAX];
    struct rdisk_error err;

    begin();
    for (unsigned int i = 0; i < JOBS_OF_STORE; i++) {
        submit(i, 0);
        wait_for(&begun);
    }
    for (unsigned int i = JOBS_OF_STORE; i <= JOBS_MAX; i++) {
        struct job *job = i < JOBS_MAX ? &waits[i] : &waits[0];

        *job = (struct job) {
            .what = "test",
            .volume = "v",
            .store = &store[0],
            .run = run_at_once,
            .done = done_at_once,
        };
        CHECK_EQUAL(jobs_submit(jobs, job, &err), i < JOBS_MAX ? 0 : -EBUSY);
    }
    CHECK_SAYS(err.text, "wait for storage already");
    for (unsigned int i = 0; i < JOBS_OF_STORE; i++) {
        finish(i);
    }
    while (jobs_count(jobs)) {
        await_mailbox();
    }
    end();
}

static void count_age(void *opaque, const struct job *job, uint64_t age)
{
    *(uint64_t *)opaque += age;
}

static void marks_what_hangs(void)
{
    uint64_t age = 0;

    begin();
    CHECK_EQUAL(jobs_deadline(jobs), RDISK_NEVER);
    submit(0, 0);
    wait_for(&begun);
    CHECK_EQUAL(jobs_deadline(jobs), 1 + 10 * RDISK_MSEC);
    now += 9 * RDISK_MSEC;
    jobs_check_time(jobs, now);
    CHECK(!held[0].job.hangs);
    now += RDISK_MSEC;
    jobs_check_time(jobs, now);
    CHECK(held[0].job.hangs);
    CHECK_EQUAL(jobs_deadline(jobs), RDISK_NEVER);
    jobs_for_each(jobs, count_age, &age);
    CHECK_EQUAL(age, 10 * RDISK_MSEC);
    finish(0);
    end();
}

/* It takes as long as a volume is large. */
static void lasting_one_is_not_marked(void)
{
    begin();
    submit(0, 0);
    wait_for(&begun);
    held[0].job.lasts = true;
    CHECK_EQUAL(jobs_deadline(jobs), RDISK_NEVER);
    now += 20 * RDISK_MSEC;
    jobs_check_time(jobs, now);
    CHECK(!held[0].job.hangs);
    finish(0);
    end();
}

static const struct unit_test tests[] = {
    { "jobs run in parallel, and the control thread is notified of each",
      runs_beside },
    { "a store that hangs leaves threads for others",
      one_store_leaves_threads },
    { "jobs of a store begin in order", in_order },
    { "there is a bound on how many wait", too_many },
    { "a job that hangs is marked after its time limit", marks_what_hangs },
    { "a job that lasts is not marked", lasting_one_is_not_marked },
};

UNIT_SUITE("jobs", tests)
