/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From a lost connection to the next one.
 *
 * PARKING: all queue pairs go to ERROR, and each queue's thread, when its
 * device has let go of every buffer, keeps the requests and gives the
 * connection back. WAITING: everything of the old connection is destroyed;
 * after a pause the next attempt goes through the same states as the first.
 * READY: the server has fenced the older epoch, and the requests go out again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "transport/initiator/session.h"

/* Between attempts: doubled each time. */
#define BACKOFF_MIN     (100 * RDISK_MSEC)
#define BACKOFF_MAX     (5000 * RDISK_MSEC)
/* For queues to let go: longer than any device's own time-outs. */
#define QUIESCING_MS      30000

static bool all_quiesced(struct rdisk_initiator *session)
{
    bool parked = true;

    for (unsigned int i = 0; i < session->queue_count; i++) {
        parked = rdisk_queue_reclaim(&session->queues[i]) && parked;
    }
    return parked;
}

static void wake_all(struct rdisk_initiator *session)
{
    for (unsigned int i = 0; i < session->queue_count; i++) {
        rdisk_queue_wake(&session->queues[i]);
    }
}

/* Has any of its queue pairs seen that nothing goes out? */
static bool any_link_suspect(const struct rdisk_initiator *session)
{
    bool is = session->control.created &&
              rdisk_qp_link_suspect(&session->control.qp);

    for (unsigned int i = 0; i < session->queue_count; i++) {
        is = is || (session->queues[i].created &&
                    rdisk_qp_link_suspect(&session->queues[i].qp));
    }
    return is;
}

void rdisk_initiator_break(struct rdisk_initiator *session)
{
    session->link_suspect = session->link_suspect || any_link_suspect(session);
    for (unsigned int i = 0; i < session->queue_count; i++) {
        if (session->queues[i].created) {
            rdisk_qp_break(&session->queues[i].qp);
        }
        rdisk_link_disconnect(&session->queues[i].link);
    }
    if (session->control.created) {
        rdisk_qp_break(&session->control.qp);
    }
    rdisk_link_disconnect(&session->link);
}

void rdisk_initiator_tell_break(const struct rdisk_initiator *session,
                                const struct rdisk_qp *qp,
                                struct rdisk_error *err)
{
    const struct rdisk_initiator_options *options = &session->options;
    int reason = atomic_load(&qp->reason);

    if (atomic_load(&qp->gone)) {
        rdisk_error_set(err, -ENODEV, "RDMA device %s was removed",
                        session->device_name);
    } else if (reason == IBV_WC_RETRY_EXC_ERR) {
        rdisk_error_set(err, -ETIMEDOUT, "%s:%u does not answer: the RDMA "
                        "device has sent again as often as it may",
                        options->host, options->port);
    } else if (reason == IBV_WC_SUCCESS) {
        rdisk_error_set(err, -EIO, "the connection to %s:%u broke",
                        options->host, options->port);
    } else {
        rdisk_error_set(err, -EIO, "the connection to %s:%u broke: %s",
                        options->host, options->port,
                        rdisk_wc_status_name(reason));
    }
}

void rdisk_initiator_drop(struct rdisk_initiator *session)
{
    for (unsigned int i = 0; i < session->queue_count; i++) {
        rdisk_queue_disconnect(&session->queues[i]);
    }
    rdisk_control_destroy(&session->control);
    if (session->device_lost) {
        session->link_suspect = false;   /* nobody is to be told */
        /* Before its last id goes, and librdmacm closes it. */
        rdisk_initiator_leave_device(session);
    } else if (!session->device_watch && session->device && session->link.id &&
               session->link.id->verbs == session->device->context) {
        session->device_watch = session->link.id;
        session->link.id = NULL;
        session->link.known = false;
    }
    for (unsigned int i = 0; i < session->queue_count; i++) {
        rdisk_link_destroy(&session->queues[i].link);
    }
    rdisk_link_destroy(&session->link);
    session->connected = false;
    session->link_suspect = false;
}

/* A pause, then the next attempt. */
static void wait_for_attempt(struct rdisk_initiator *session)
{
    rdisk_initiator_set_state(session, RDISK_INITIATOR_BACKOFF);
    session->open_deadline = rdisk_now(session->env) + session->backoff;
    session->backoff = session->backoff * 2 < BACKOFF_MAX
                       ? session->backoff * 2 : BACKOFF_MAX;
}

void rdisk_initiator_recover(struct rdisk_initiator *session,
                             const struct rdisk_error *err)
{
    uint64_t now = rdisk_now(session->env);
    enum rdisk_initiator_state state = rdisk_initiator_state(session);

    session->error = *err;
    if (state == RDISK_INITIATOR_READY || state == RDISK_INITIATOR_DRAINING) {
        rdisk_log(session->env, RDISK_LOG_WARNING,
                  "%s; requests wait up to reconnect-delay=%g seconds",
                  err->text, session->options.reconnect_delay_ms / 1000.0);
        session->reconnect_deadline = now +
                            session->options.reconnect_delay_ms * RDISK_MSEC;
        session->backoff = BACKOFF_MIN;
    } else {
        rdisk_log(session->env, RDISK_LOG_INFO, "no connection yet: %s",
                  err->text);
    }
    session->tick = RDISK_NEVER;
    session->open_deadline = now + QUIESCING_MS * RDISK_MSEC;
    rdisk_initiator_set_state(session, RDISK_INITIATOR_QUIESCING);
    rdisk_initiator_break(session);
    rdisk_initiator_unask(session);
}

void rdisk_initiator_recovery_step(struct rdisk_initiator *session)
{
    switch (rdisk_initiator_state(session)) {
    case RDISK_INITIATOR_QUIESCING:
        if (all_quiesced(session)) {
            rdisk_initiator_drop(session);
            wait_for_attempt(session);
        }
        break;
    case RDISK_INITIATOR_FAILED:
        if (session->connected && all_quiesced(session)) {
            rdisk_initiator_drop(session);
        }
        break;
    default:
        break;
    }
}

void rdisk_initiator_attempt(struct rdisk_initiator *session)
{
    struct rdisk_error err = { 0 };

    session->epoch++;
    session->control.epoch = 0;
    session->queues_up = 0;
    session->ping_sent = false;
    session->step_started = rdisk_now(session->env);
    session->open_deadline = session->step_started +
                             session->options.open_timeout_ms * RDISK_MSEC;
    session->connected = true;
    rdisk_initiator_set_state(session, RDISK_INITIATOR_CONNECTING);
    if (rdisk_link_start(&session->link, &err) < 0) {
        rdisk_initiator_fail(session, &err);
    }
}

/* What waits for the connection fails, and so does what comes before it. */
static void stop_waiting(struct rdisk_initiator *session)
{
    session->reconnect_deadline = RDISK_NEVER;
    atomic_store(&session->expired, true);
    wake_all(session);
    rdisk_initiator_fail_calls(session, -EIO);
}

void rdisk_initiator_expire(struct rdisk_initiator *session)
{
    rdisk_log(session->env, RDISK_LOG_ERROR,
              "%s:%u is not back within reconnect-delay=%g seconds: requests "
              "fail until it is", session->options.host,
              session->options.port,
              session->options.reconnect_delay_ms / 1000.0);
    stop_waiting(session);
}

void rdisk_initiator_cancel(struct rdisk_initiator *session)
{
    if (session->reconnect_deadline != RDISK_NEVER) {
        rdisk_log(session->env, RDISK_LOG_WARNING,
                  "%s:%u is waited for no longer: requests fail until it is "
                  "back", session->options.host, session->options.port);
        stop_waiting(session);
    }
}

void rdisk_initiator_give_up(struct rdisk_initiator *session)
{
    enum rdisk_initiator_state state = rdisk_initiator_state(session);
    struct rdisk_error err;

    if (state == RDISK_INITIATOR_READY || state == RDISK_INITIATOR_DRAINING) {
        rdisk_error_set(&err, -ECONNABORTED,
                        "the connection to %s:%u is given up, as was asked",
                        session->options.host, session->options.port);
        rdisk_initiator_fail(session, &err);
    }
    rdisk_initiator_cancel(session);
    rdisk_initiator_set_timer(session);
}
