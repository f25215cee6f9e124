/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/session/copy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/container_of.h"
#include "common/log.h"
#include "common/snapshot_name.h"
#include "common/thread.h"
#include "server/server.h"

static struct copy *copy_of(struct volume_operation *work)
{
    return container_of(work, struct copy, work);
}

static struct copy *of_step(struct job *job)
{
    return copy_of(volume_operation_of_job(job));
}

static void report_begun(struct copy *copy)
{
    void (*begun)(struct copy * copy) = copy->begun;

    copy->begun = NULL;
    if (begun) {
        begun(copy);
    }
}

/* ---- The end: an operation ---------------------------------------------- */

static void ended(struct volume_operation *work)
{
    struct copy *copy = copy_of(work);

    operation_end(&work->operation);
    copy->ended = true;
    if (work->result == 0) {
        log_info("'%s' copied of volume '%s', %llu bytes", copy->target,
                 work->operation.volume, (unsigned long long)copy->size);
    } else {
        log_warning("%s", work->why.text);
    }
    report_begun(copy);
}

static void put(struct copy *copy)
{
    if (copy->copying) {
        copy->work.volume->copies--;
        copy->copying = false;
    }
    volume_operation_put(&copy->work, ended);
}

/* Before there is anything of it; work->why is filled. */
static void fail(struct copy *copy)
{
    copy->work.result = copy->work.why.code;
    put(copy);
}

static void finish_run(struct job *job)
{
    struct copy *copy = of_step(job);

    if (copy->work.result < 0) {
        pool_shot_drop(&copy->shot);
    } else {
        copy->work.result = pool_shot_commit(&copy->shot, &copy->work.why);
    }
}

static void finish_done(struct job *job)
{
    put(of_step(job));
}

static void finish_begin(struct operation *operation)
{
    struct volume_operation *work = volume_operation_of(operation);
    struct copy *copy = copy_of(work);
    struct rdisk_error err;

    if (operation_run(operation, work->pool, finish_run, finish_done, &err) <
        0) {
        /* No thread can take it: it is carried out here. */
        pool_shot_drop(&copy->shot);
        work->result = rdisk_error_set(&work->why, err.code, "%s", err.text);
        put(copy);
    }
}

static void finish(struct copy *copy)
{
    copy->work.operation.begin = finish_begin;
    operation_start(&copy->server->operations, &copy->work.operation);
}

/* ---- Pieces ------------------------------------------------------------- */

static void piece_run(struct job *job)
{
    struct copy *copy = container_of(job, struct copy, job);
    struct backend *backend = copy->work.volume->backend;

    copy->work.result = backend->class->copy(backend, copy->shot.new.fd,
                                             &copy->position, copy->size,
                                             &copy->work.why);
}

static void next_piece(struct copy *copy);

static void piece_done(struct job *job)
{
    struct copy *copy = container_of(job, struct copy, job);

    copy->done = copy->position;
    next_piece(copy);
}

static void next_piece(struct copy *copy)
{
    struct volume_operation *work = &copy->work;
    struct rdisk_error err;

    if (work->result == 0 && copy->cancelled) {
        work->result = rdisk_error_set(&work->why, -ECANCELED,
                                       "the copy of '%s' to '%s' was "
                                       "cancelled: there is no '%s'",
                                       work->operation.volume, copy->target,
                                       copy->target);
    }
    if (work->result < 0 || copy->done >= copy->size) {
        finish(copy);
        return;
    }
    copy->job = (struct job) {
        .what = "copying volume",
        .volume = work->operation.volume,
        .store = work->pool,
        .run = piece_run,
        .done = piece_done,
    };
    if (!copy->server->jobs) {
        piece_run(&copy->job); /* a test's: there is one thread only */
        piece_done(&copy->job);
    } else if (jobs_submit(copy->server->jobs, &copy->job, &err) < 0) {
        work->result = rdisk_error_set(&work->why, err.code, "%s", err.text);
        finish(copy);
    }
}

/* ---- The beginning: an operation ---------------------------------------- */

/* Others may have to do with the volume from now on. */
static void prepared(struct copy *copy)
{
    struct volume *volume = copy->work.volume;

    volume->copies++;
    copy->copying = true;
    copy->size = volume->backend->geometry.size;
    operation_end(&copy->work.operation);
    report_begun(copy);
    next_piece(copy);
}

static void prepare_run(struct job *job)
{
    struct copy *copy = of_step(job);
    struct volume_operation *work = &copy->work;
    struct backend *backend = work->volume->backend;

    work->result = pool_shot_begin(&copy->shot, work->pool,
                                   work->operation.volume, copy->target,
                                   copy->serial, &work->why);
    if (work->result == 0) {
        work->result = backend->class->sync(backend, &work->why);
        if (work->result < 0) {
            pool_shot_drop(&copy->shot);
        }
    }
}

static void prepare_done(struct job *job)
{
    struct copy *copy = of_step(job);

    if (copy->work.result < 0) {
        put(copy);
    } else {
        prepared(copy);
    }
}

static int check(struct copy *copy, struct rdisk_error *err)
{
    const struct volume *volume = copy->work.volume;
    const struct backend_class *class = volume->backend->class;

    if (!class->copy || volume->configured) {
        return rdisk_error_set(err, -ENOTSUP,
                               "volume '%s' is not a file of the pool "
                               "directory: --copy does not copy it",
                               volume->name);
    }
    for (const struct volume_holder *holder = volume->holders; holder;
         holder = holder->next) {
        if (holder->writer) {
            return rdisk_error_set(err, -EBUSY,
                                   "cannot copy volume '%s' while it is "
                                   "written by %s: close it there, or use a "
                                   "pool on XFS or btrfs",
                                   volume->name, holder->peer);
        }
    }
    return 0;
}

static void record_run(struct job *job)
{
    struct copy *copy = of_step(job);
    struct volume_operation *work = &copy->work;

    work->result = lease_read(pool_records(work->pool),
                              work->volume->backend->identity, &copy->record,
                              &work->why);
}

/* A writer that has lost its connection may have more to write of what its
 * guest has been answered. */
static void check_kept(struct copy *copy)
{
    struct volume_operation *work = &copy->work;

    if (work->result < 0 ||
        pool_not_kept(work->pool, work->volume->name,
                      work->volume->backend->identity, &copy->record, "copy",
                      &work->why) < 0 ||
        volume_operation_run(work, prepare_run, prepare_done) < 0) {
        fail(copy);
    }
}

static void record_done(struct job *job)
{
    check_kept(of_step(job));
}

static void opened(struct volume_operation *work)
{
    struct copy *copy = copy_of(work);

    if (!work->volume || check(copy, &work->why) < 0) {
        fail(copy);
    } else if (!pool_records(work->pool) || !work->volume->backend->lasting) {
        check_kept(copy);
    } else if (operation_run(&work->operation, pool_records(work->pool),
                             record_run, record_done, &work->why) < 0) {
        fail(copy);
    }
}

static void copy_begin(struct operation *operation)
{
    struct volume_operation *work = volume_operation_of(operation);

    if (pool_shot_check_target(work->pool, copy_of(work)->target, &work->why) <
        0) {
        fail(copy_of(work));
        return;
    }
    volume_operation_open(work, opened);
}

void copy_start(struct copy *copy)
{
    static unsigned int serials;
    struct server *server = copy->server;

    assert_control_thread();
    /* Those of snapshot.c are below. */
    copy->serial = 1u << 31 | ++serials;
    copy->asked = rdisk_now(server->env);
    copy->next = server->copies;
    server->copies = copy;
    copy->work.pool = &server->pool;
    copy->work.operation.what = "copying volume";
    copy->work.operation.begin = copy_begin;
    operation_start(&server->operations, &copy->work.operation);
}

/* ---- All of them -------------------------------------------------------- */

struct copy *copy_find(struct server *server, const char *target)
{
    struct copy *copy = server->copies;

    assert_control_thread();
    while (copy && strcmp(copy->target, target) != 0) {
        copy = copy->next;
    }
    if (copy) {
        /* One that has ended has its answer now. */
        copy->asked = copy->ended ? 0 : rdisk_now(server->env);
    }
    return copy;
}

static uint64_t deadline_of(const struct copy *copy)
{
    return copy->cancelled && !copy->ended
               ? RDISK_NEVER
               : copy->asked + COPY_ABANDONED_MS * RDISK_MSEC;
}

uint64_t copies_deadline(const struct server *server)
{
    uint64_t earliest = RDISK_NEVER;

    for (const struct copy *copy = server->copies; copy; copy = copy->next) {
        if (deadline_of(copy) < earliest) {
            earliest = deadline_of(copy);
        }
    }
    return earliest;
}

void copies_check_time(struct server *server, uint64_t now)
{
    struct copy **link = &server->copies;

    assert_control_thread();
    while (*link) {
        struct copy *copy = *link;

        if (now < deadline_of(copy)) {
            link = &copy->next;
        } else if (copy->ended) {
            *link = copy->next;
            free(copy);
        } else {
            copy->cancelled = true;
            link = &copy->next;
        }
    }
}

void copies_cancel(struct server *server)
{
    assert_control_thread();
    for (struct copy *copy = server->copies; copy; copy = copy->next) {
        copy->cancelled = true;
        copy->asked = 0;
    }
}
