/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From a lost connection to the next one: actions of the state machine.
 *
 * QUIESCING: all queue pairs go to ERROR, and each queue's thread, when its
 * device has released every buffer, keeps the requests and gives the connection
 * back. BACKOFF: everything of the old connection is destroyed; after a pause
 * the next attempt goes through the same states as the first. READY: the server
 * has fenced the older epoch, and the requests go out again.
 */
#include <errno.h>
#include <string.h>

#include "transport/initiator/session.h"

/* Between attempts: doubled each time. */
#define BACKOFF_MIN (100 * RDISK_MSEC)
#define BACKOFF_MAX (5000 * RDISK_MSEC)

bool rdisk_initiator_may_reconnect(const struct rdisk_initiator *session)
{
    return session->recovery.established &&
           session->options.reconnect_delay_ms &&
           rdisk_now(session->env) < session->recovery.close_by;
}

bool rdisk_initiator_closes(const struct rdisk_initiator *session)
{
    return session->recovery.close_by != RDISK_NEVER;
}

bool rdisk_initiator_waits(const struct rdisk_initiator *session)
{
    return session->recovery.deadline != RDISK_NEVER;
}

static void leave_connection(struct rdisk_initiator *session)
{
    rdisk_connection_break(session);
    rdisk_initiator_unsend_calls(session);
}

void rdisk_initiator_recover(struct rdisk_initiator *session)
{
    unsigned int delay = session->options.reconnect_delay_ms;

    rdisk_log(session->env, RDISK_LOG_WARNING,
              "%s; requests wait up to reconnect-delay=%g seconds",
              session->machine.error.text, delay / 1000.0);
    session->recovery.deadline = rdisk_now(session->env) + delay * RDISK_MSEC;
    session->recovery.backoff = BACKOFF_MIN;
    session->recovery.reported.text[0] = '\0';
    leave_connection(session);
}

void rdisk_initiator_recover_close(struct rdisk_initiator *session)
{
    rdisk_log(session->env, RDISK_LOG_WARNING,
              "%s; CLOSE is not answered: it is sent again for up to "
              "open-timeout=%g seconds",
              session->machine.error.text,
              session->options.open_timeout_ms / 1000.0);
    session->recovery.backoff = BACKOFF_MIN;
    session->recovery.reported.text[0] = '\0';
    leave_connection(session);
}

/* A reason that is not the last one's is a warning, once. */
void rdisk_initiator_retry(struct rdisk_initiator *session)
{
    const struct rdisk_error *why = &session->machine.error;
    bool known = strcmp(why->text, session->recovery.reported.text) == 0;

    rdisk_log(session->env, known ? RDISK_LOG_DEBUG : RDISK_LOG_WARNING,
              "cannot reconnect: %s", why->text);
    session->recovery.reported = *why;
    leave_connection(session);
}

void rdisk_initiator_quiesce_late(struct rdisk_initiator *session)
{
    rdisk_log(session->env, RDISK_LOG_ERROR,
              "%s: work requests still "
              "outstanding after the queue pair went to ERROR",
              session->peer);
}

void rdisk_initiator_back_off(struct rdisk_initiator *session)
{
    struct rdisk_recovery *recovery = &session->recovery;

    rdisk_connection_drop(session);
    recovery->backoff = recovery->backoff * 2 < BACKOFF_MAX
                            ? recovery->backoff * 2
                            : BACKOFF_MAX;
}

void rdisk_initiator_attempt(struct rdisk_initiator *session)
{
    session->epoch++;
    session->connection.control.epoch = 0;
    session->ping.sent = false;
    session->durations.began = rdisk_now(session->env);
    rdisk_initiator_resolve(session);
}

/* What waits for the connection fails, and so does what comes before it. */
static void fail_what_waits(struct rdisk_initiator *session)
{
    session->recovery.deadline = RDISK_NEVER;
    rdisk_initiator_fail_requests(session);
    rdisk_initiator_wake_queues(session);
    rdisk_initiator_fail_calls(session, -EIO);
}

void rdisk_initiator_expire(struct rdisk_initiator *session)
{
    rdisk_log(session->env, RDISK_LOG_ERROR,
              "not reconnected to %s within reconnect-delay=%g seconds: "
              "requests fail until it reconnects",
              session->peer, session->options.reconnect_delay_ms / 1000.0);
    fail_what_waits(session);
}

void rdisk_initiator_stop_waiting(struct rdisk_initiator *session)
{
    rdisk_log(session->env, RDISK_LOG_WARNING,
              "gave up waiting for %s; requests fail until it reconnects",
              session->peer);
    fail_what_waits(session);
}

void rdisk_initiator_end(struct rdisk_initiator *session)
{
    session->recovery.deadline = RDISK_NEVER;
    /*
     * In ERROR no remote access is accepted any more; the flushed completions
     * wake each queue's thread, which then ends its requests.
     */
    rdisk_connection_break(session);
    rdisk_initiator_wake_queues(session);
    rdisk_initiator_fail_calls(session, session->machine.error.code);
}
