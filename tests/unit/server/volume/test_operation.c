/* SPDX-License-Identifier: BSD-3-Clause */
/* Operations on volumes: one at a time for each, none waits for another's. */
#include <errno.h>
#include <poll.h>
#include <semaphore.h>

#include "server/volume/operation.h"
#include "tests/unit/support/unit.h"

#define COUNT 8u

struct trial {
    struct operation operation; /* first */
    bool instant;               /* it ends as it begins */
    unsigned int begun, late, ran, done;
    struct trial *starts; /* from within its begin() */
};

static struct mailbox home;
static struct jobs *jobs;
static struct operations operations;
static struct trial trials[COUNT];
static sem_t go;

static void start(unsigned int i, const char *volume);

static struct trial *trial_of(struct operation *operation)
{
    return (struct trial *)operation;
}

static void begin_one(struct operation *operation)
{
    struct trial *trial = trial_of(operation);

    trial->begun++;
    if (trial->starts) {
        start(trial->starts - trials, operation->volume);
    }
    if (trial->instant) {
        operation_end(operation);
    }
}

static void late_one(struct operation *operation)
{
    trial_of(operation)->late++;
}

static void start(unsigned int i, const char *volume)
{
    struct operation *operation = &trials[i].operation;

    snprintf(operation->volume, sizeof(operation->volume), "%s", volume);
    operation->what = "test";
    operation->begin = begin_one;
    operation_start(&operations, operation);
}

static void begin(void)
{
    memset(trials, 0, sizeof(trials));
    REQUIRE(mailbox_init(&home) == 0);
    jobs = jobs_create(&home, &rdisk_env_system, RDISK_NEVER / 2);
    REQUIRE(jobs != NULL);
    sem_init(&go, 0, 0);
    operations_init(&operations, jobs);
}

static void end(void)
{
    CHECK_EQUAL(operations.count, 0);
    CHECK(operations.first == NULL);
    jobs_destroy(jobs);
    mailbox_destroy(&home);
    sem_destroy(&go);
}

static void take_turns(void)
{
    begin();
    start(0, "a");
    start(1, "a");
    start(2, "a");
    start(3, "b");
    CHECK_EQUAL(trials[0].begun, 1);
    CHECK_EQUAL(trials[1].begun, 0);
    CHECK_EQUAL(trials[3].begun, 1);
    operation_end(&trials[0].operation);
    CHECK_EQUAL(trials[1].begun, 1);
    CHECK_EQUAL(trials[2].begun, 0);
    operation_end(&trials[3].operation);
    operation_end(&trials[1].operation);
    CHECK_EQUAL(trials[2].begun, 1);
    operation_end(&trials[2].operation);
    end();
}

static void may_leave_before_its_turn(void)
{
    begin();
    start(0, "a");
    start(1, "a");
    start(2, "a");
    start(3, "a");
    operation_end(&trials[2].operation);
    operation_end(&trials[3].operation);
    operation_end(&trials[0].operation);
    CHECK_EQUAL(trials[1].begun, 1);
    CHECK_EQUAL(trials[2].begun, 0);
    operation_end(&trials[1].operation);
    end();
}

/* One that ends at once, and one that starts the next. */
static void within_begin(void)
{
    begin();
    start(0, "a");
    for (unsigned int i = 1; i < COUNT; i++) {
        trials[i].instant = true;
        if (i < COUNT - 1) {
            start(i, "a");
        }
    }
    trials[1].starts = &trials[COUNT - 1];
    operation_end(&trials[0].operation);
    for (unsigned int i = 0; i < COUNT; i++) {
        CHECK_EQUAL(trials[i].begun, 1);
    }
    end();
}

static void deadlines(void)
{
    begin();
    CHECK_EQUAL(operations_deadline(&operations), RDISK_NEVER);
    for (unsigned int i = 0; i < 4; i++) {
        trials[i].operation.late = late_one;
        trials[i].operation.deadline = 100 - i;
    }
    trials[2].operation.late = NULL;
    start(0, "a");
    start(1, "a");
    start(2, "a");
    start(3, "b");
    CHECK_EQUAL(operations_deadline(&operations), 97);
    operations_check_time(&operations, 98);
    CHECK_EQUAL(trials[3].late, 1);
    CHECK_EQUAL(operations_deadline(&operations), 99);
    operations_check_time(&operations, 1000);
    operations_check_time(&operations, 1000);
    CHECK_EQUAL(trials[0].late, 1);
    CHECK_EQUAL(trials[1].late, 1);
    CHECK_EQUAL(trials[3].late, 1);
    for (unsigned int i = 0; i < 4; i++) {
        operation_end(&trials[i].operation);
    }
    end();
}

static void run_step(struct job *job)
{
    while (sem_wait(&go) < 0) {
        /* interrupted */
    }
    trial_of(operation_of(job))->ran++;
}

static void step_done(struct job *job)
{
    trial_of(operation_of(job))->done++;
}

static void await(unsigned int i, unsigned int times)
{
    struct pollfd pfd = { .fd = home.fd, .events = POLLIN };

    sem_post(&go);
    while (trials[i].done < times) {
        REQUIRE(poll(&pfd, 1, 20000) == 1);
        mailbox_run(&home);
    }
}

static void steps(void)
{
    struct rdisk_error err;

    begin();
    start(0, "a");
    start(1, "a");
    for (unsigned int i = 1; i <= 2; i++) {
        CHECK_EQUAL(operation_run(&trials[0].operation, &jobs, run_step,
                                  step_done, &err),
                    0);
        await(0, i);
    }
    CHECK_EQUAL(trials[0].ran, 2);
    CHECK_EQUAL(trials[1].begun, 0);
    operation_end(&trials[0].operation);
    CHECK_EQUAL(trials[1].begun, 1);
    operation_end(&trials[1].operation);
    end();
}

static const struct unit_test tests[] = {
    { "operations on one volume take turns", take_turns },
    { "an operation may leave before its turn", may_leave_before_its_turn },
    { "operations end and start others as they begin", within_begin },
    { "late() is called once when an operation is late", deadlines },
    { "an operation keeps its turn from step to step", steps },
};

UNIT_SUITE("operation", tests)
