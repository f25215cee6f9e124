/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/session/resize.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/container_of.h"
#include "common/thread.h"

bool resize_allowed(const struct server *server, const struct volume *volume)
{
    /* The size of a configured volume is that of its section or its disk. */
    return server->config->resize && !volume->configured &&
           volume->backend->class->resize &&
           !volume->backend->geometry.read_only;
}

/* ---- Resizing ---------------------------------------------------------- */

static struct resize *resize_of(struct volume_operation *work)
{
    return container_of(work, struct resize, work);
}

static void report_size(const struct resize *resize)
{
    for (struct session *session = resize->server->sessions; session;
         session = session->next) {
        if (session->holder.volume == resize->work.volume) {
            rdisk_target_session_resize(session->target, resize->size);
        }
    }
}

static void ended(struct volume_operation *work)
{
    struct resize *resize = resize_of(work);

    operation_end(&work->operation);
    resize->done(resize);
}

/* work->why is filled. */
static void refuse(struct resize *resize, enum rdisk_status status)
{
    resize->work.result = resize->work.why.code;
    resize->status = status;
    volume_operation_put(&resize->work, ended);
}

static void resize_run(struct job *job)
{
    struct volume_operation *work = volume_operation_of_job(job);
    struct backend *backend = work->volume->backend;

    work->result = backend->class->resize(backend, resize_of(work)->size,
                                          &work->why);
}

static void resize_done(struct job *job)
{
    struct resize *resize = resize_of(volume_operation_of_job(job));
    struct backend_geometry *geometry = &resize->work.volume->backend->geometry;

    if (resize->work.result < 0) {
        if (resize->smaller && resize->session) {
            rdisk_target_session_resize(resize->session->target,
                                        geometry->size);
        }
        refuse(resize, rdisk_status_from_errno(resize->work.result));
        return;
    }
    geometry->size = resize->size;
    report_size(resize);
    volume_operation_put(&resize->work, ended);
}

static void carry_out(struct resize *resize)
{
    struct volume_operation *work = &resize->work;
    int result = backend_check_resize(work->volume->backend, work->volume->name,
                                      resize->size, &work->why);

    if (result == 0 && resize->size == work->volume->backend->geometry.size) {
        report_size(resize);
        volume_operation_put(work, ended);
        return;
    }
    if (result == 0) {
        result = volume_operation_run(work, resize_run, resize_done);
    }
    if (result < 0) {
        refuse(resize, rdisk_status_from_errno(result));
    }
}

/*
 * For the only client that has the volume. The new size is in force before
 * anything is truncated, so what comes from now on is refused there; what came
 * before must have been answered.
 */
static void shrink_for_client(struct resize *resize)
{
    struct volume *volume = resize->work.volume;

    if (volume->holders->next) {
        rdisk_error_set(&resize->work.why, -EBUSY,
                        "volume '%s' is open elsewhere too: it "
                        "can only grow",
                        volume->name);
        refuse(resize, RDISK_STATUS_BUSY);
        return;
    }
    resize->smaller = true;
    rdisk_target_session_resize(resize->session->target, resize->size);
    if (!rdisk_target_session_busy(resize->session->target)) {
        carry_out(resize);
        return;
    }
    rdisk_target_session_resize(resize->session->target,
                                volume->backend->geometry.size);
    rdisk_error_set(&resize->work.why, -EBUSY,
                    "requests on volume '%s' are in flight: "
                    "it can be made smaller when they are answered",
                    volume->name);
    refuse(resize, RDISK_STATUS_BUSY);
}

static void record_run(struct job *job)
{
    struct volume_operation *work = volume_operation_of_job(job);

    work->result = lease_read(pool_records(work->pool),
                              work->volume->backend->identity,
                              &resize_of(work)->record, &work->why);
}

static void check_kept(struct resize *resize)
{
    struct volume_operation *work = &resize->work;
    int result = work->result;

    if (result == 0) {
        result = pool_not_kept(work->pool, work->volume->name,
                               work->volume->backend->identity, &resize->record,
                               "shrink", &work->why);
    }
    if (result < 0) {
        refuse(resize, rdisk_status_from_errno(result));
    } else {
        carry_out(resize);
    }
}

static void record_done(struct job *job)
{
    check_kept(resize_of(volume_operation_of_job(job)));
}

/* A guest that uses the end of the volume would not expect its loss. */
static void shrink_for_administrator(struct resize *resize)
{
    struct volume_operation *work = &resize->work;
    struct volume *volume = work->volume;

    if (volume_check_free(volume, "shrink", &work->why) < 0) {
        refuse(resize, RDISK_STATUS_BUSY);
    } else if (!pool_records(work->pool) || !volume->backend->lasting) {
        check_kept(resize);
    } else if (operation_run(&work->operation, pool_records(work->pool),
                             record_run, record_done, &work->why) < 0) {
        refuse(resize, RDISK_STATUS_BUSY);
    }
}

static void opened(struct volume_operation *work)
{
    struct resize *resize = resize_of(work);

    if (!work->volume) {
        refuse(resize, rdisk_status_from_errno(work->why.code));
    } else if (volume_check_size(work->volume, resize->size, resize->shrink,
                                 &work->why) < 0) {
        refuse(resize, RDISK_STATUS_OUT_OF_RANGE);
    } else if (resize->size >= work->volume->backend->geometry.size) {
        carry_out(resize);
    } else if (resize->session) {
        shrink_for_client(resize);
    } else {
        shrink_for_administrator(resize);
    }
}

static void resize_begin(struct operation *operation)
{
    volume_operation_open(volume_operation_of(operation), opened);
}

void resize_start(struct resize *resize)
{
    resize->work.operation.what = "resizing volume";
    resize->work.operation.begin = resize_begin;
    operation_start(&resize->server->operations, &resize->work.operation);
}

/* ---- For clients: RESIZE ------------------------------------------------ */

static void answer(struct resize *resize)
{
    struct session *session = resize->session;

    if (resize->asking) {
        return; /* resize_event() answers */
    }
    if (session) {
        session->resize = NULL;
        rdisk_target_session_resized(session->target, resize->status,
                                     &resize->work.why);
    }
    free(resize);
}

/* Why the answer does not come at once. */
static enum rdisk_status later(const struct session *session,
                               struct rdisk_error *err)
{
    rdisk_error_set(err, -EBUSY, "the storage of volume '%s' does not answer",
                    session->holder.volume->name);
    return RDISK_LATER;
}

enum rdisk_status resize_event(void *opaque, void *user, uint64_t size,
                               bool shrink, struct rdisk_error *err)
{
    struct server *server = opaque;
    struct session *session = user;
    const struct volume *volume = session->holder.volume;
    enum rdisk_status status;
    struct resize *resize;

    assert_control_thread();
    if (!resize_allowed(server, volume)) {
        rdisk_error_set(err, -EPERM,
                        "clients may not resize volume '%s' of "
                        "this server",
                        volume->name);
        return RDISK_STATUS_DENIED;
    }
    resize = calloc(1, sizeof(*resize));
    if (!resize) {
        rdisk_error_set(err, -ENOMEM, "the server has no memory for a resize");
        return RDISK_STATUS_NO_RESOURCES;
    }
    resize->work.pool = &server->pool;
    resize->server = server;
    resize->size = size;
    resize->shrink = shrink;
    resize->session = session;
    resize->done = answer;
    snprintf(resize->work.operation.volume,
             sizeof(resize->work.operation.volume), "%s", volume->name);
    session->resize = resize;
    resize->asking = true;
    resize_start(resize);
    resize->asking = false;
    if (resize->work.operation.operations) {
        return later(session, err);
    }
    session->resize = NULL;
    status = resize->status;
    if (status != RDISK_STATUS_OK && err) {
        *err = resize->work.why;
    }
    free(resize);
    return status;
}

/* ---- For clients: STAT --------------------------------------------------- */

struct measurement {
    struct volume_operation work; /* first */
    struct session *session;      /* NULL: it has left */
    uint64_t allocated;
    bool asking; /* from within resize_stat_event() */
};

static struct measurement *measurement_of(struct volume_operation *work)
{
    return container_of(work, struct measurement, work);
}

static void measure_ended(struct volume_operation *work)
{
    struct measurement *measurement = measurement_of(work);
    struct session *session = measurement->session;

    operation_end(&work->operation);
    if (measurement->asking) {
        return; /* resize_stat_event() answers */
    }
    if (session) {
        session->measurement = NULL;
        rdisk_target_session_stated(session->target,
                                    rdisk_status_from_errno(work->result),
                                    measurement->allocated, &work->why);
    }
    free(measurement);
}

static void measure_run(struct job *job)
{
    struct volume_operation *work = volume_operation_of_job(job);
    struct backend *backend = work->volume->backend;
    uint64_t *allocated = &measurement_of(work)->allocated;

    work->result = backend->class->allocated(backend, allocated);
    if (work->result < 0) {
        rdisk_error_set(
            &work->why, work->result,
            "cannot determine the allocated size of volume '%s': %s",
            work->operation.volume, strerror(-work->result));
    }
}

static void measure_done(struct job *job)
{
    volume_operation_put(volume_operation_of_job(job), measure_ended);
}

static void measure(struct volume_operation *work)
{
    if (!work->volume ||
        volume_operation_run(work, measure_run, measure_done) < 0) {
        work->result = work->why.code;
        volume_operation_put(work, measure_ended);
    }
}

static void measure_begin(struct operation *operation)
{
    volume_operation_open(volume_operation_of(operation), measure);
}

enum rdisk_status resize_stat_event(void *opaque, void *user,
                                    uint64_t *allocated,
                                    struct rdisk_error *err)
{
    struct server *server = opaque;
    struct session *session = user;
    const struct volume *volume = session->holder.volume;
    struct measurement *measurement;
    int result;

    assert_control_thread();
    if (!volume->backend->class->allocated) {
        *allocated = volume->backend->geometry.size;
        return RDISK_STATUS_OK;
    }
    measurement = calloc(1, sizeof(*measurement));
    if (!measurement) {
        rdisk_error_set(err, -ENOMEM, "the server has no memory for a request");
        return RDISK_STATUS_NO_RESOURCES;
    }
    measurement->work.pool = &server->pool;
    measurement->work.looks = true;
    measurement->work.operation.what = "measuring volume";
    measurement->work.operation.begin = measure_begin;
    snprintf(measurement->work.operation.volume,
             sizeof(measurement->work.operation.volume), "%s", volume->name);
    measurement->session = session;
    session->measurement = measurement;
    measurement->asking = true;
    operation_start(&server->operations, &measurement->work.operation);
    measurement->asking = false;
    if (measurement->work.operation.operations) {
        return later(session, err);
    }
    session->measurement = NULL;
    *allocated = measurement->allocated;
    result = measurement->work.result;
    if (result < 0 && err) {
        *err = measurement->work.why;
    }
    free(measurement);
    return rdisk_status_from_errno(result);
}

/* ---- The session goes ---------------------------------------------------- */

/* True if it has not begun, and is over. */
static bool leave(struct volume_operation *work)
{
    if (work->operation.begun) {
        return false;
    }
    operation_end(&work->operation);
    return true;
}

void resize_leave(struct session *session)
{
    struct measurement *measurement = session->measurement;
    struct resize *resize = session->resize;

    assert_control_thread();
    session->resize = NULL;
    session->measurement = NULL;
    if (resize) {
        resize->session = NULL;
        if (leave(&resize->work)) {
            free(resize);
        }
    }
    if (measurement) {
        measurement->session = NULL;
        if (leave(&measurement->work)) {
            free(measurement);
        }
    }
}
