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
#include <stdio.h>
#include <string.h>

#include "transport/initiator/session.h"

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

/*
 * A server that has no room now, that leaves, or that has dropped the handshake
 * may be otherwise a moment later. All else is an answer.
 */
static bool may_pass(const struct rdisk_error *err)
{
    switch (err->code) {
    case -ENOBUFS:    /* a limit of the server, or its memory */
    case -ESHUTDOWN:  /* drained, or ending */
    case -EAGAIN:     /* the connection was not taken, */
    case -ECONNRESET: /* or it ended, */
    case -ETIMEDOUT:  /* or was not answered */
    case -ESTALE:     /* the session was gone when its queues came */
        return true;
    default:
        return false;
    }
}

/* Until open-timeout is over, from the session's start on. */
static bool opening(const struct rdisk_initiator *session)
{
    return !session->recovery.established &&
           rdisk_now(session->env) < session->machine.opens_until;
}

/* This one was not reached, or does not answer; the next one has an answer. */
static bool next_may(const struct rdisk_initiator *session)
{
    return rdisk_servers_left(&session->servers) > 1 &&
           !session->connection.control_up;
}

bool rdisk_initiator_may_retry(const struct rdisk_initiator *session)
{
    return rdisk_initiator_may_reconnect(session) ||
           (opening(session) &&
            (next_may(session) ||
             may_pass(&session->machine.errors[RDISK_EVENT_LOST])));
}

bool rdisk_initiator_out_of_time(const struct rdisk_initiator *session)
{
    return session->recovery.established
               ? rdisk_now(session->env) >= session->recovery.close_by
               : !opening(session);
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
    rdisk_servers_restart(&session->servers, session->machine.error.code);
    session->recovery.deadline = rdisk_now(session->env) + delay * RDISK_MSEC;
    session->recovery.backoff = RDISK_BACKOFF_MIN;
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
    rdisk_servers_restart(&session->servers, session->machine.error.code);
    session->recovery.backoff = RDISK_BACKOFF_MIN;
    session->recovery.reported.text[0] = '\0';
    leave_connection(session);
}

/*
 * A reason that is not the last one's is a warning, once. A session that was
 * never READY has not used the volume: what it was granted does not count.
 */
void rdisk_initiator_retry(struct rdisk_initiator *session)
{
    struct rdisk_recovery *recovery = &session->recovery;
    const struct rdisk_error *why = &session->machine.error;
    enum rdisk_log_level level = strcmp(why->text, recovery->reported.text)
                                     ? RDISK_LOG_WARNING
                                     : RDISK_LOG_DEBUG;

    if (recovery->established) {
        rdisk_log(session->env, level, "cannot reconnect: %s", why->text);
    } else {
        rdisk_log(session->env, level, "cannot open yet: %s", why->text);
    }
    recovery->reported = *why;
    if (!recovery->established) {
        recovery->attempts++;
        session->info.generation = session->handshake.generation;
    }
    rdisk_servers_turn(&session->servers);
    leave_connection(session);
}

/* Before the state: in it the error does not change any more. */
void rdisk_initiator_name_attempts(struct rdisk_initiator *session,
                                   enum rdisk_initiator_state from)
{
    const struct rdisk_recovery *recovery = &session->recovery;
    struct rdisk_error *err = &session->machine.error;
    char last[sizeof(err->text)];

    if (recovery->established || !recovery->attempts) {
        return;
    }
    snprintf(last, sizeof(last), "%s", err->text);
    if (from == RDISK_INITIATOR_BACKOFF) {
        rdisk_error_set(err, err->code,
                        "%s (%u attempts within open-timeout=%g seconds)", last,
                        recovery->attempts,
                        session->options.open_timeout_ms / 1000.0);
    } else {
        rdisk_error_set(err, err->code, "%s (attempt %u; the one before: %s)",
                        last, recovery->attempts + 1, recovery->reported.text);
    }
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
    if (session->servers.tried) {
        return;
    }
    recovery->backoff = recovery->backoff * 2 < BACKOFF_MAX
                            ? recovery->backoff * 2
                            : BACKOFF_MAX;
}

void rdisk_initiator_attempt(struct rdisk_initiator *session)
{
    const char *peer = rdisk_servers_host(&session->servers)->peer;

    if (session->peer != peer) {
        rdisk_initiator_drop_query(session);
        session->peer = peer;
    }
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
