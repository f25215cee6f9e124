/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/session/close.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "common/log.h"
#include "common/thread.h"
#include "server/session/create.h"
#include "server/session/list.h"
#include "server/session/resident.h"
#include "server/session/resize.h"
#include "server/session/throttled.h"

void session_free(struct session *session)
{
    assert(!session->queues);
    resident_forget(session);
    for (unsigned int i = 0; i < FLOW_THROTTLES; i++) {
        throttled_put(session->server, session->throttled[i]);
    }
    free(session);
}

/* The client's CLOSE is answered when its record has that it has closed. */
static void released(struct volume_operation *work)
{
    struct session *session = session_of_work(work);

    operation_end(&work->operation);
    if (session->asking) {
        return; /* release_event() answers */
    }
    if (session->releasing && session->target) {
        rdisk_target_session_released(session->target,
                                      rdisk_status_from_errno(work->result),
                                      &work->why);
    }
    session_free(session);
}

static void settle_run(struct job *job)
{
    struct session *session = session_of_job(job);

    session->work.result = volume_settle(session->work.volume, &session->lease,
                                         &session->work.why);
}

static void settle_done(struct job *job)
{
    struct session *session = session_of_job(job);
    struct lease *lease = session->work.volume->lease;

    if (session->work.result < 0) {
        log_warning("%s", session->work.why.text);
    } else if (lease->record.generation == session->lease.record.generation) {
        lease->record.changed = session->lease.record.changed;
    }
    lease_settled(lease);
    volume_operation_put(&session->work, released);
}

static void release_begin(struct operation *operation)
{
    struct session *session = session_of_work(volume_operation_of(operation));
    struct lease *lease = session->work.volume->lease;

    if (!session->settle || lease->writers) {
        volume_operation_put(&session->work, released);
        return;
    }
    session->lease = *lease;
    if (operation_run(operation, lease->store, settle_run, settle_done,
                      &session->work.why) < 0) {
        log_warning("%s", session->work.why.text);
        session->work.result = session->work.why.code;
        lease_settled(lease);
        volume_operation_put(&session->work, released);
    }
}

void session_release(struct session *session)
{
    struct server *server = session->server;
    struct session **link = &server->sessions;

    while (*link != session) {
        link = &(*link)->next;
    }
    *link = session->next;
    session->settle = volume_release(&session->holder, session->orderly,
                                     rdisk_now(server->env));
    session->work.result = 0;
    session->work.operation.what = "closing volume";
    session->work.operation.begin = release_begin;
    operation_start(&server->operations, &session->work.operation);
}

static void count_close(const struct session *session, bool orderly)
{
    struct server *server = session->server;
    struct server_totals *totals = &server->totals;

    if (orderly) {
        totals->closed++;
    } else if (session->ended || server->stopping) {
        totals->ended++;
    } else {
        totals->lost++;
    }
}

static void leave(struct session *session, bool orderly)
{
    const struct rdisk_op_totals *ops = &session->past.ops;
    struct volume *volume = session->holder.volume;
    const struct log_subject subject = session_subject(session), *before;

    if (session->phase == SESSION_OPEN) {
        count_close(session, orderly);
    }
    before = log_about(&subject);
    log_info("%s closes volume '%s': %" PRIu64 " reads, %" PRIu64
             " writes, %" PRIu64 " flushes, %" PRIu64 " of them failed",
             session->holder.peer, volume->name, ops->count[RDISK_OP_READ],
             ops->count[RDISK_OP_WRITE], ops->count[RDISK_OP_FLUSH],
             ops->failed);
    log_about(before);
    counters_add(&volume->past, &session->past);
    volume->polled_past += session->polled_past;
    session->orderly = orderly;
    session_release(session);
}

void close_event(void *opaque, void *user, bool orderly)
{
    struct session *session = user;

    assert_control_thread();
    session->target = NULL;
    if (session->releasing) {
        return; /* no client waits for the answer to its CLOSE */
    }
    if (session->creation) {
        create_leave(session);
        return;
    }
    if (session->list) {
        list_leave(session);
        return;
    }
    resize_leave(session);
    if (session->phase == SESSION_RUNNING) {
        if (session->work.operation.begun) {
            session->abandoned = true; /* its job is still running */
            return;
        }
        operation_end(&session->work.operation);
        session_free(session);
        return;
    }
    if (session->status != RDISK_STATUS_OK) {
        session_free(session); /* refused before the volume was opened */
        return;
    }
    leave(session, session->phase == SESSION_DECIDED
                       ? !session->request.generation
                       : orderly);
}

/* Only what changes the record takes long enough to be waited for. */
enum rdisk_status release_event(void *opaque, void *user,
                                struct rdisk_error *err)
{
    struct session *session = user;
    enum rdisk_status status;

    assert_control_thread();
    resize_leave(session);
    session->releasing = session->asking = true;
    leave(session, true);
    session->asking = false;
    if (session->work.operation.operations) {
        if (session->settle) {
            return RDISK_LATER;
        }
        session->target = NULL;
        return RDISK_STATUS_OK;
    }
    status = rdisk_status_from_errno(session->work.result);
    if (status != RDISK_STATUS_OK && err) {
        *err = session->work.why;
    }
    session_free(session);
    return status;
}
