/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/volume/volume_operation.h"

#include <errno.h>

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

/* ---- Locking ---------------------------------------------------------- */

static void lock_run(struct job *job)
{
    struct volume_operation *work = volume_operation_of_job(job);
    struct backend *backend = work->volume->backend;

    work->result = backend->class->lock(backend, work->force, &work->why);
}

static void lock_done(struct job *job)
{
    struct volume_operation *work = volume_operation_of_job(job);

    if (work->result == 0) {
        work->volume->backend->locked = true;
    }
    work->locked(work);
}

void volume_operation_lock(struct volume_operation *work,
                           void (*then)(struct volume_operation *work))
{
    const struct backend *backend = work->volume->backend;

    assert_control_thread();
    work->locked = then;
    work->result = 0;
    if (!backend->class->lock || backend->locked ||
        backend->geometry.read_only) {
        then(work);
    } else if (operation_run(&work->operation, work->pool, lock_run, lock_done,
                             &work->why) < 0) {
        work->result = work->why.code;
        then(work);
    }
}

static void unlock_run(struct job *job)
{
    struct backend *backend = volume_operation_of_job(job)->volume->backend;

    backend->class->unlock(backend);
}

static bool is_written(const struct volume *volume)
{
    const struct volume_holder *holder = volume->holders;

    while (holder && !holder->writer) {
        holder = holder->next;
    }
    return holder;
}

/* ---- Opening ---------------------------------------------------------- */

static void locked(struct volume_operation *work)
{
    if (work->result < 0) {
        volume_operation_put(work, work->then);
        return;
    }
    work->then(work);
}

/* It is open. */
static void opened(struct volume_operation *work)
{
    if (!work->volume || work->looks) {
        work->then(work);
    } else if (backend_is_fenced(work->volume->backend)) {
        work->result = rdisk_error_set(&work->why, -EBUSY,
                                       "volume '%s' was taken over by another "
                                       "server, and its sessions have not "
                                       "ended yet: try again",
                                       work->volume->name);
        volume_operation_put(work, work->then);
    } else {
        volume_operation_lock(work, locked);
    }
}

static void drop_run(struct job *job)
{
    struct backend *backend = volume_operation_of_job(job)->backend;

    backend->class->close(backend);
}

static void drop_done(struct job *job)
{
    struct volume_operation *work = volume_operation_of_job(job);

    work->backend = NULL;
    opened(work);
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
        opened(work);
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
    opened(work);
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
        opened(work);
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

static void drop_reference(struct volume_operation *work)
{
    struct rdisk_error err;

    if (!pool_unlink(work->pool, work->volume)) {
        work->volume = NULL;
        work->then(work);
        return;
    }
    if (operation_run(&work->operation, work->pool, close_run, close_done,
                      &err) < 0) {
        /* No thread is left: better here than never. */
        volume_free(work->volume);
        work->volume = NULL;
        work->then(work);
    }
}

static void unlock_done(struct job *job)
{
    struct volume_operation *work = volume_operation_of_job(job);

    work->volume->backend->locked = false;
    drop_reference(work);
}

/* Other servers may write it: no client does here any more. */
static bool is_unused(const struct volume *volume)
{
    const struct backend *backend = volume->backend;

    return backend->locked && !volume->configured && volume->references > 1 &&
           !volume->copies && !volume->flattens && !is_written(volume) &&
           backend->class->unlock && !backend_is_fenced(backend);
}

void volume_operation_put(struct volume_operation *work,
                          void (*then)(struct volume_operation *work))
{
    struct rdisk_error err;

    assert_control_thread();
    work->then = then;
    if (!work->volume) {
        then(work);
    } else if (!is_unused(work->volume) ||
               operation_run(&work->operation, work->pool, unlock_run,
                             unlock_done, &err) < 0) {
        drop_reference(work);
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
