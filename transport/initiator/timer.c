/* SPDX-License-Identifier: BSD-3-Clause */
/* What a client session does by the clock: time-outs, heartbeat, draining. */
#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>

#include "transport/initiator/session.h"

#define DRAIN_MS        4000    /* a server that shuts down waits so long */
#define DRAIN_STEP_MS   10
#define QUIESCING_MS      30000   /* then a broken connection is worth a word */

/* Often enough to notice silence and late requests in good time. */
static uint64_t tick_interval(const struct rdisk_initiator *session)
{
    uint64_t heartbeat = session->options.heartbeat_ms;
    uint64_t request = session->options.request_timeout_ms;
    uint64_t shortest = heartbeat && (!request || heartbeat < request)
                        ? heartbeat : request;

    if (!shortest) {
        return RDISK_NEVER;
    }
    return shortest < 4 ? RDISK_MSEC : shortest / 4 * RDISK_MSEC;
}

static void schedule_tick(struct rdisk_initiator *session, uint64_t now)
{
    uint64_t interval = tick_interval(session);

    session->tick = interval == RDISK_NEVER ? RDISK_NEVER : now + interval;
}

void rdisk_initiator_start_tick(struct rdisk_initiator *session)
{
    session->heard = rdisk_now(session->env);
    schedule_tick(session, session->heard);
}

/* Nothing tells the home thread that a queue has run dry: look and wait. */
static void drain_step(struct rdisk_initiator *session)
{
    struct rdisk_error why = session->error;
    bool dry = true;

    for (unsigned int i = 0; i < session->queue_count; i++) {
        dry = dry && rdisk_queue_slots_idle(&session->queues[i]);
    }
    if (dry) {
        rdisk_initiator_fail(session, &why);
        return;
    }
    session->tick = rdisk_now(session->env) + DRAIN_STEP_MS * RDISK_MSEC;
}

void rdisk_initiator_drain(struct rdisk_initiator *session,
                           const struct rdisk_error *why)
{
    session->error = *why;
    session->open_deadline = rdisk_now(session->env) +
                             DRAIN_MS * RDISK_MSEC;
    rdisk_initiator_set_state(session, RDISK_INITIATOR_DRAINING);
    drain_step(session);
}

static void open_timed_out(struct rdisk_initiator *session)
{
    struct rdisk_error err;

    switch (rdisk_initiator_state(session)) {
    case RDISK_INITIATOR_CLOSING:
        session->open_deadline = RDISK_NEVER;
        rdisk_initiator_set_state(session, RDISK_INITIATOR_CLOSED);
        return;
    case RDISK_INITIATOR_DRAINING:
        err = session->error;
        rdisk_initiator_fail(session, &err);
        return;
    case RDISK_INITIATOR_QUIESCING:
        /* The devices' own time-outs are over: nothing more will come. */
        rdisk_log(session->env, RDISK_LOG_ERROR, "%s:%u: a queue does not let "
                  "go of its broken connection", session->options.host,
                  session->options.port);
        session->open_deadline = rdisk_now(session->env) +
                                 QUIESCING_MS * RDISK_MSEC;
        return;
    case RDISK_INITIATOR_BACKOFF:
        rdisk_initiator_attempt(session);
        return;
    default:
        break;
    }
    rdisk_error_set(&err, -ETIMEDOUT,
        "%s:%u: no success within open-timeout=%g seconds, still %s",
        session->options.host, session->options.port,
        session->options.open_timeout_ms / 1000.0,
        rdisk_initiator_state_name(rdisk_initiator_state(session)));
    rdisk_initiator_fail(session, &err);
}

/* Has something waited for its answer for too long? */
static bool late(struct rdisk_initiator *session, uint64_t now)
{
    for (unsigned int i = 0; i < session->queue_count; i++) {
        if (rdisk_queue_overdue(&session->queues[i], now)) {
            return true;
        }
    }
    return rdisk_initiator_calls_late(session, now);
}

static void tick(struct rdisk_initiator *session, uint64_t now)
{
    const struct rdisk_initiator_options *options = &session->options;
    uint64_t interval = tick_interval(session);
    struct rdisk_error err;

    /*
     * A tick that comes late by so much was not the server's doing: we were
     * away, and have not asked it anything meanwhile. That time does not
     * count.
     */
    if (now - session->tick > interval) {
        session->heard += now - session->tick;
        if (session->heard > now) {
            session->heard = now;
        }
    }
    schedule_tick(session, now);
    if (options->heartbeat_ms &&
        now - session->heard > options->heartbeat_ms * RDISK_MSEC) {
        rdisk_error_set(&err, -ETIMEDOUT,
                        "%s:%u was silent for longer than heartbeat=%g "
                        "seconds", options->host, options->port,
                        options->heartbeat_ms / 1000.0);
        rdisk_initiator_fail(session, &err);
        return;
    }
    if (late(session, now)) {
        rdisk_error_set(&err, -ETIMEDOUT,
            "%s:%u: a request got no answer within request-timeout=%g "
            "seconds", options->host, options->port,
            options->request_timeout_ms / 1000.0);
        rdisk_initiator_fail(session, &err);
        return;
    }
    if (options->heartbeat_ms) {
        rdisk_initiator_say_ping(session);
    }
}

void rdisk_initiator_timers(struct rdisk_initiator *session, uint64_t now)
{
    if (now >= session->reconnect_deadline) {
        rdisk_initiator_expire(session);
    }
    if (now >= session->open_deadline) {
        open_timed_out(session);
    }
    if (now < session->tick) {
        return;
    }
    if (rdisk_initiator_state(session) == RDISK_INITIATOR_DRAINING) {
        drain_step(session);
    } else {
        tick(session, now);
    }
}

uint64_t rdisk_initiator_deadline(const struct rdisk_initiator *session)
{
    uint64_t deadline = session->open_deadline < session->tick
                        ? session->open_deadline : session->tick;

    deadline = session->teardowns.deadline < deadline
               ? session->teardowns.deadline : deadline;
    return session->reconnect_deadline < deadline ? session->reconnect_deadline : deadline;
}

/* Setting it anew also makes it forget that it has expired. */
void rdisk_initiator_set_timer(struct rdisk_initiator *session)
{
    uint64_t deadline = rdisk_initiator_deadline(session);
    struct itimerspec when = { 0 };

    if (session->timer_fd < 0 || deadline == session->timer) {
        return;
    }
    if (deadline != RDISK_NEVER) {
        when.it_value.tv_sec = (time_t)(deadline / (1000 * RDISK_MSEC));
        when.it_value.tv_nsec = (long)(deadline % (1000 * RDISK_MSEC));
    }
    if (timerfd_settime(session->timer_fd, TFD_TIMER_ABSTIME, &when,
                        NULL) < 0) {
        rdisk_log(session->env, RDISK_LOG_ERROR,
                  "cannot set the session's timer: %s", strerror(errno));
        return;
    }
    session->timer = deadline;
}
