/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/volume/volume_operation.h"

#include "common/container_of.h"
#include "common/thread.h"

struct volume_operation *volume_operation_of(struct operation *operation)
{
    return container_of(operation, struct volume_operation, operation);
}

struct volume_operation *volume_operation_of_job(struct job *job)
{
    return volume_operation_of(operation_of(job));
}

/* ---- Opening ---------------------------------------------------------- */

static void drop_run(struct job *job)
{
    struct backend *backend = volume_operation_of_job(job)->backend;

    backend->class->close(backend);
}

static void drop_done(struct job *job)
{
    struct volume_operation *work = volume_operation_of_job(job);

    work->backend = NULL;
    work->then(work);
}

/* It cannot be entered: closed where it was opened. */
static void drop(struct volume_operation *work)
{
    struct rdisk_error err;

    if (operation_run(&work->operation, work->pool, drop_run, drop_done, &err) <
        0) {
        /* No thread is left: better here than never. */
        work->backend->class->close(work->backend);
        work->backend = NULL;
        work->then(work);
    }
}

static void open_run(struct job *job)
{
    struct volume_operation *work = volume_operation_of_job(job);

    work->backend = pool_open_file(work->pool, work->operation.volume,
                                   &work->why);
}

static void open_done(struct job *job)
{
    struct volume_operation *work = volume_operation_of_job(job);

    if (work->backend) {
        work->volume = pool_add(work->pool, work->operation.volume,
                                work->backend, &work->why);
        if (!work->volume) {
            drop(work);
            return;
        }
        work->backend = NULL;
    }
    work->then(work);
}

void volume_operation_open(struct volume_operation *work,
                           void (*then)(struct volume_operation *work))
{
    const char *name = work->operation.volume;

    assert_control_thread();
    work->then = then;
    work->volume = pool_find(work->pool, name);
    if (work->volume) {
        work->volume->references++;
        then(work);
    } else if (pool_check_name(name, &work->why) < 0 ||
               operation_run(&work->operation, work->pool, open_run, open_done,
                             &work->why) < 0) {
        then(work);
    }
}

/* ---- Closing ---------------------------------------------------------- */

static void close_run(struct job *job)
{
    volume_free(volume_operation_of_job(job)->volume);
}

static void close_done(struct job *job)
{
    struct volume_operation *work = volume_operation_of_job(job);

    work->volume = NULL;
    work->then(work);
}

void volume_operation_put(struct volume_operation *work,
                          void (*then)(struct volume_operation *work))
{
    struct rdisk_error err;

    assert_control_thread();
    work->then = then;
    if (!work->volume || !pool_unlink(work->pool, work->volume)) {
        work->volume = NULL;
        then(work);
        return;
    }
    if (operation_run(&work->operation, work->pool, close_run, close_done,
                      &err) < 0) {
        /* No thread is left: better here than never. */
        volume_free(work->volume);
        work->volume = NULL;
        then(work);
    }
}

/* ---- Other steps ------------------------------------------------------ */

int volume_operation_run(struct volume_operation *work,
                         void (*run)(struct job *job),
                         void (*done)(struct job *job))
{
    /* A configured volume is on storage of its own. */
    const void *store = work->volume->configured ? (const void *)work->volume
                                                 : work->pool;

    assert_control_thread();
    return operation_run(&work->operation, store, run, done, &work->why);
}
