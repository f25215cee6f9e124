/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/container_of.h"
#include "common/thread.h"
#include "server/volume/operation.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

void operations_init(struct operations *operations, struct jobs *jobs)
{
    *operations = (struct operations) { .jobs = jobs };
}

/* The link to the one whose turn it is on volume @name, or to the end. */
static struct operation **find(struct operations *operations, const char *name)
{
    struct operation **link = &operations->first;

    while (*link && strcmp((*link)->volume, name) != 0) {
        link = &(*link)->next;
    }
    return link;
}

/* All whose turn it is and that have not begun; begin() may end its own, and
 * start others, without getting deeper into the stack. */
static void begin_all(struct operations *operations)
{
    struct operation *operation = operations->first;

    if (operations->beginning) {
        return;
    }
    operations->beginning = true;
    while (operation) {
        if (operation->begun) {
            operation = operation->next;
            continue;
        }
        operation->begun = true;
        operation->begin(operation);
        /* It may be gone, and so may its neighbours. */
        operation = operations->first;
    }
    operations->beginning = false;
}

void operation_start(struct operations *operations, struct operation *operation)
{
    struct operation **link = find(operations, operation->volume);

    assert_control_thread();
    assert(!operation->operations);
    operation->operations = operations;
    operation->begun = false;
    operation->next = operation->waiting = NULL;
    operations->count++;
    if (!*link) {
        *link = operation;
        begin_all(operations);
        return;
    }
    link = &(*link)->waiting;
    while (*link) {
        link = &(*link)->next;
    }
    *link = operation;
}

void operation_end(struct operation *operation)
{
    struct operations *operations = operation->operations;
    struct operation **link = find(operations, operation->volume);
    struct operation *waiting = operation->waiting;

    assert_control_thread();
    assert(operation->job.state == JOB_IDLE);
    if (*link == operation) {
        if (waiting) {
            waiting->waiting = waiting->next;
            waiting->next = operation->next;
        }
        *link = waiting ? waiting : operation->next;
    } else {
        link = &(*link)->waiting;
        while (*link != operation) {
            link = &(*link)->next;
        }
        *link = operation->next;
    }
    operation->operations = NULL;
    operations->count--;
    begin_all(operations);
}

/* ---- Steps ------------------------------------------------------------ */

struct operation *operation_of(struct job *job)
{
    return container_of(job, struct operation, job);
}

int operation_run(struct operation *operation, const void *store,
                  void (*run)(struct job *job), void (*done)(struct job *job),
                  struct rdisk_error *err)
{
    struct job *job = &operation->job;

    assert_control_thread();
    assert(operation->begun);
    job->what = operation->what;
    job->volume = operation->volume;
    job->store = store;
    job->run = run;
    job->done = done;
    if (!operation->operations->jobs) {
        run(job); /* a test's: there is one thread only */
        done(job);
        return 0;
    }
    return jobs_submit(operation->operations->jobs, job, err);
}

/* ---- Deadlines -------------------------------------------------------- */

/* Each in turn: first those whose turn it is, with those that wait behind. */
static struct operation *after(const struct operations *operations,
                               struct operation *operation,
                               struct operation **head)
{
    struct operation *next;

    if (!operation) {
        *head = operations->first;
        return *head;
    }
    next = operation == *head ? operation->waiting : operation->next;
    if (!next) {
        *head = (*head)->next;
        next = *head;
    }
    return next;
}

uint64_t operations_deadline(const struct operations *operations)
{
    struct operation *operation = NULL, *head;
    uint64_t earliest = RDISK_NEVER;

    while ((operation = after(operations, operation, &head))) {
        if (operation->late && operation->deadline < earliest) {
            earliest = operation->deadline;
        }
    }
    return earliest;
}

void operations_check_time(struct operations *operations, uint64_t now)
{
    struct operation *operation = NULL, *head;

    assert_control_thread();
    while ((operation = after(operations, operation, &head))) {
        if (operation->late && now >= operation->deadline) {
            void (*late)(struct operation * operation) = operation->late;

            operation->late = NULL;
            late(operation);
            /* It may be gone: from the start. */
            operation = NULL;
        }
    }
}
