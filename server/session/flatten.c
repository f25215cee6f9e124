/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/session/flatten.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/container_of.h"
#include "common/log.h"
#include "common/thread.h"
#include "server/server.h"

static struct flatten *flatten_of(struct volume_operation *work)
{
    return container_of(work, struct flatten, work);
}

static struct flatten *of_step(struct job *job)
{
    return flatten_of(volume_operation_of_job(job));
}

static const char *name_of(const struct flatten *flatten)
{
    return flatten->work.operation.volume;
}

/* All that wait: it has begun, or @err. */
static void answer_all(struct flatten *flatten, const struct rdisk_error *err)
{
    while (flatten->waits) {
        struct flatten_wait *wait = flatten->waits;

        flatten->waits = wait->next;
        wait->answer(wait, flatten, err);
    }
}

/* ---- The end: an operation ---------------------------------------------- */

/* Who asks later asks for a new one, since the volume may be another one. */
static void answer_end(struct flatten *flatten)
{
    if (flatten->waits) {
        flatten->asked = 0;
    }
    answer_all(flatten, flatten->work.result < 0 ? &flatten->work.why : NULL);
}

static void report_end(const struct flatten *flatten)
{
    const struct volume_operation *work = &flatten->work;

    if (work->result < 0) {
        log_warning("%s", work->why.text);
    } else if (flatten->size) {
        log_info("volume '%s' flattened: it needs no other volume any more",
                 name_of(flatten));
    }
}

static void ended(struct volume_operation *work)
{
    struct flatten *flatten = flatten_of(work);

    if (work->operation.operations) {
        operation_end(&work->operation);
    }
    work->operation.late = NULL;
    flatten->ended = true;
    if (work->result == 0) {
        atomic_store(&flatten->done, flatten->size);
    }
    report_end(flatten);
    answer_end(flatten);
}

static void put(struct flatten *flatten)
{
    if (flatten->running) {
        flatten->work.volume->flattens--;
    }
    volume_operation_put(&flatten->work, ended);
}

/* work->why is filled. */
static void fail(struct flatten *flatten)
{
    flatten->work.result = flatten->work.why.code;
    put(flatten);
}

static void finish_begin(struct operation *operation)
{
    put(flatten_of(volume_operation_of(operation)));
}

static void finish(struct flatten *flatten)
{
    flatten->work.operation.begin = finish_begin;
    operation_start(&flatten->server->operations, &flatten->work.operation);
}

/* ---- The copy ----------------------------------------------------------- */

/* In the job's thread, or in one of the storage's. */
static bool progress(void *opaque, uint64_t done, uint64_t total)
{
    struct flatten *flatten = opaque;

    uint64_t size = flatten->size;
    uint64_t bytes = total ? (uint64_t)((double)size / total * done) : 0;

    /* All of it is there when it has ended. */
    atomic_store(&flatten->done, bytes < size ? bytes : size - 1);
    return !atomic_load(&flatten->cancelled);
}

static void copy_run(struct job *job)
{
    struct flatten *flatten = container_of(job, struct flatten, job);
    struct volume_operation *work = &flatten->work;
    struct backend *backend = work->volume->backend;

    work->result = backend->class->flatten(backend, progress, flatten,
                                           &work->why);
}

static void copy_done(struct job *job)
{
    struct flatten *flatten = container_of(job, struct flatten, job);
    struct volume_operation *work = &flatten->work;

    if (work->result == -ECANCELED) {
        rdisk_error_set(&work->why, -ECANCELED,
                        "flattening volume '%s' was cancelled: it still needs "
                        "another one; what was copied is not copied again",
                        name_of(flatten));
    }
    finish(flatten);
}

/* Others may have to do with the volume from now on. */
static void begin_copy(struct flatten *flatten)
{
    struct rdisk_error err;

    flatten->job = (struct job) {
        .what = "flattening volume",
        .volume = name_of(flatten),
        .store = flatten, /* it leaves the threads of its store to others */
        .lasts = true,
        .run = copy_run,
        .done = copy_done,
    };
    if (!flatten->server->jobs) {
        copy_run(&flatten->job); /* a test's: there is one thread only */
        copy_done(&flatten->job);
    } else if (jobs_submit(flatten->server->jobs, &flatten->job, &err) < 0) {
        flatten->work.result = rdisk_error_set(&flatten->work.why, err.code,
                                               "%s", err.text);
        finish(flatten);
    }
}

/* ---- The beginning: an operation ---------------------------------------- */

static void locked(struct volume_operation *work)
{
    struct flatten *flatten = flatten_of(work);

    if (work->result < 0) {
        put(flatten);
        return;
    }
    work->volume->flattens++;
    flatten->running = true;
    flatten->size = work->volume->backend->geometry.size;
    operation_end(&work->operation);
    work->operation.late = NULL;
    log_info("flattening volume '%s'", name_of(flatten));
    answer_all(flatten, NULL);
    begin_copy(flatten);
}

static void look_run(struct job *job)
{
    struct flatten *flatten = of_step(job);
    struct volume_operation *work = &flatten->work;
    struct backend *backend = work->volume->backend;
    char parent[BACKEND_PARENT_MAX];

    work->result = backend->class->parent(backend, parent, sizeof(parent));
    flatten->shares = work->result == 0 && parent[0];
    if (work->result < 0) {
        rdisk_error_set(&work->why, work->result,
                        "cannot find out whether volume '%s' needs another "
                        "one: %s",
                        work->volume->name, strerror(-work->result));
    }
}

static void look_done(struct job *job)
{
    struct flatten *flatten = of_step(job);

    if (flatten->shares) {
        volume_operation_lock(&flatten->work, locked);
    } else {
        put(flatten);
    }
}

static int check(const struct volume *volume, struct rdisk_error *err)
{
    if (backend_is_fenced(volume->backend)) {
        return rdisk_error_set(err, -EBUSY,
                               "volume '%s' was taken over by another server, "
                               "and its sessions have not ended yet: try again",
                               volume->name);
    }
    return volume->backend->geometry.read_only
               ? rdisk_error_set(err, -EROFS,
                                 "cannot flatten volume '%s': it is read-only",
                                 volume->name)
               : 0;
}

static void opened(struct volume_operation *work)
{
    struct flatten *flatten = flatten_of(work);

    if (!work->volume) {
        fail(flatten);
    } else if (!work->volume->backend->class->flatten) {
        put(flatten); /* its storage makes clones that need nothing */
    } else if (check(work->volume, &work->why) < 0 ||
               volume_operation_run(work, look_run, look_done) < 0) {
        fail(flatten);
    }
}

static void begin(struct operation *operation)
{
    volume_operation_open(volume_operation_of(operation), opened);
}

/* One that has not had its turn is not carried out. */
static void late(struct operation *operation)
{
    struct flatten *flatten = flatten_of(volume_operation_of(operation));
    struct rdisk_error err;

    rdisk_error_set(&err, -ETIMEDOUT,
                    "volume '%s' is not being flattened after "
                    "storage-timeout, %g seconds: its storage does not answer, "
                    "or an operation on it waits for that",
                    operation->volume,
                    flatten->server->config->storage_timeout / 1000.0);
    if (operation->begun) {
        flatten->late = err;
        answer_all(flatten, &err);
    } else {
        flatten->work.why = err;
        flatten->work.result = err.code;
        ended(&flatten->work);
    }
}

static void start(struct flatten *flatten)
{
    struct server *server = flatten->server;
    struct operation *operation = &flatten->work.operation;

    flatten->next = server->flattens;
    server->flattens = flatten;
    flatten->work.pool = &server->pool;
    flatten->work.looks = true;
    operation->what = "flattening volume";
    operation->begin = begin;
    operation->late = late;
    operation->deadline = rdisk_now(server->env) +
                          server->config->storage_timeout * RDISK_MSEC;
    operation_start(&server->operations, operation);
}

/* ---- All of them -------------------------------------------------------- */

/* NULL: there is none, and *@running is how many others run. */
static struct flatten *find(const struct server *server, const char *name,
                            unsigned int *running)
{
    *running = 0;
    for (struct flatten *one = server->flattens; one; one = one->next) {
        if (strcmp(name_of(one), name) == 0) {
            return one;
        }
        *running += !one->ended;
    }
    return NULL;
}

static struct flatten *flatten_new(struct server *server, const char *name,
                                   unsigned int running,
                                   struct rdisk_error *err)
{
    struct flatten *flatten;

    if (running >= FLATTENS_MAX) {
        rdisk_error_set(err, -EBUSY,
                        "%u volumes are being flattened: wait for one of them",
                        running);
        return NULL;
    }
    flatten = calloc(1, sizeof(*flatten));
    if (!flatten) {
        rdisk_error_set(err, -ENOMEM, "no memory to flatten a volume");
        return NULL;
    }
    flatten->server = server;
    snprintf(flatten->work.operation.volume,
             sizeof(flatten->work.operation.volume), "%s", name);
    return flatten;
}

static void wait_for(struct flatten *flatten, struct flatten_wait *wait)
{
    wait->next = flatten->waits;
    flatten->waits = wait;
    flatten->asked = rdisk_now(flatten->server->env);
}

void flatten_ask(struct server *server, const char *name,
                 struct flatten_wait *wait)
{
    unsigned int running;
    struct flatten *flatten = find(server, name, &running);
    struct rdisk_error err;

    assert_control_thread();
    if (!flatten) {
        flatten = flatten_new(server, name, running, &err);
        if (!flatten) {
            wait->answer(wait, NULL, &err);
            return;
        }
        wait_for(flatten, wait);
        start(flatten);
        return;
    }
    wait_for(flatten, wait);
    if (flatten->ended) {
        answer_end(flatten);
    } else if (flatten->running) {
        answer_all(flatten, NULL);
    } else if (flatten->late.code) {
        answer_all(flatten, &flatten->late);
    }
}

void flatten_forget(struct server *server, struct flatten_wait *wait)
{
    assert_control_thread();
    for (struct flatten *one = server->flattens; one; one = one->next) {
        struct flatten_wait **link = &one->waits;

        while (*link && *link != wait) {
            link = &(*link)->next;
        }
        if (*link) {
            *link = wait->next;
            return;
        }
    }
}

static uint64_t deadline_of(const struct flatten *flatten)
{
    return atomic_load(&flatten->cancelled) && !flatten->ended
               ? RDISK_NEVER
               : flatten->asked + FLATTEN_ABANDONED_MS * RDISK_MSEC;
}

uint64_t flattens_deadline(const struct server *server)
{
    uint64_t earliest = RDISK_NEVER;

    for (const struct flatten *one = server->flattens; one; one = one->next) {
        if (deadline_of(one) < earliest) {
            earliest = deadline_of(one);
        }
    }
    return earliest;
}

void flattens_check_time(struct server *server, uint64_t now)
{
    struct flatten **link = &server->flattens;

    assert_control_thread();
    while (*link) {
        struct flatten *flatten = *link;

        if (now < deadline_of(flatten)) {
            link = &flatten->next;
        } else if (flatten->ended) {
            *link = flatten->next;
            free(flatten);
        } else {
            atomic_store(&flatten->cancelled, true);
            link = &flatten->next;
        }
    }
}

void flattens_cancel(struct server *server)
{
    assert_control_thread();
    for (struct flatten *one = server->flattens; one; one = one->next) {
        atomic_store(&one->cancelled, true);
        one->asked = 0;
    }
}
