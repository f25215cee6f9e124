/* SPDX-License-Identifier: BSD-3-Clause */
/* What a client session does by the clock: timeouts, heartbeat, draining. */
#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>

#include "transport/base/least.h"
#include "transport/initiator/session.h"

#define DRAIN_CHECK_MS 10 /* between two checks of queues that drain */

/* Often enough to detect a lost server and late requests in time. */
static uint64_t tick_interval(const struct rdisk_initiator *session)
{
    uint64_t heartbeat = session->options.heartbeat_ms;
    uint64_t request = session->options.request_timeout_ms;
    uint64_t shortest = heartbeat && (!request || heartbeat < request)
                            ? heartbeat
                            : request;

    if (!shortest) {
        return RDISK_NEVER;
    }
    return shortest < 4 ? RDISK_MSEC : shortest / 4 * RDISK_MSEC;
}

/* When the server has been silent for as long as it may. */
static uint64_t silence_ends(const struct rdisk_initiator *session)
{
    uint64_t heartbeat = session->options.heartbeat_ms;

    return heartbeat ? session->timers.last_message + heartbeat * RDISK_MSEC + 1
                     : RDISK_NEVER;
}

static void schedule_tick(struct rdisk_initiator *session, uint64_t now)
{
    uint64_t interval = tick_interval(session);
    uint64_t silence = silence_ends(session);

    session->timers.tick = interval == RDISK_NEVER ? RDISK_NEVER
                                                   : now + interval;
    if (silence > now) {
        session->timers.tick = rdisk_least(session->timers.tick, silence);
    }
}

void rdisk_timers_state(struct rdisk_initiator *session,
                        enum rdisk_initiator_state state)
{
    struct rdisk_timers *timers = &session->timers;
    uint64_t now = rdisk_now(session->env);

    timers->tick = timers->drain_check = timers->slots_check = RDISK_NEVER;
    if (state == RDISK_INITIATOR_READY) {
        timers->last_message = now;
        schedule_tick(session, now);
    } else if (state == RDISK_INITIATOR_DRAINING) {
        timers->drain_check = now;
    }
}

/* Nothing wakes the home thread when the last answer arrives: check again. */
static void check_drained(struct rdisk_initiator *session, uint64_t now)
{
    bool idle = true;

    for (unsigned int i = 0; i < session->queues.count; i++) {
        idle = idle && rdisk_queue_slots_idle(&session->queues.list[i]);
    }
    session->timers.drain_check = now + DRAIN_CHECK_MS * RDISK_MSEC;
    if (idle) {
        rdisk_initiator_raise(session, RDISK_EVENT_DRAINED);
    }
}

/* True if something has waited for its answer for too long. */
static bool late(struct rdisk_initiator *session, uint64_t now)
{
    for (unsigned int i = 0; i < session->queues.count; i++) {
        if (rdisk_queue_overdue(&session->queues.list[i], now)) {
            return true;
        }
    }
    return rdisk_initiator_calls_late(session, now);
}

/*
 * A tick that comes late by so much was not the server's doing: we were away,
 * and have sent it nothing in that time, which does not count.
 */
static void discount_absence(struct rdisk_timers *timers, uint64_t interval,
                             uint64_t now)
{
    if (now - timers->tick > interval) {
        timers->last_message += now - timers->tick;
        if (timers->last_message > now) {
            timers->last_message = now;
        }
    }
}

static void tick(struct rdisk_initiator *session, uint64_t now)
{
    const struct rdisk_initiator_options *options = &session->options;
    struct rdisk_timers *timers = &session->timers;

    discount_absence(timers, tick_interval(session), now);
    schedule_tick(session, now);
    if (options->heartbeat_ms &&
        now - timers->last_message > options->heartbeat_ms * RDISK_MSEC) {
        rdisk_initiator_raise_lost(
            session, -ETIMEDOUT,
            "%s: no message received within heartbeat=%g seconds",
            session->peer, options->heartbeat_ms / 1000.0);
    } else if (late(session, now)) {
        rdisk_initiator_raise_lost(
            session, -ETIMEDOUT,
            "%s: a request got no answer within request-timeout=%g seconds",
            session->peer, options->request_timeout_ms / 1000.0);
    } else if (options->heartbeat_ms) {
        rdisk_initiator_send_ping(session);
    }
}

void rdisk_timers_take(struct rdisk_initiator *session)
{
    uint64_t now = rdisk_now(session->env);

    RDISK_ASSERT_HOME(session);
    if (now >= session->recovery.deadline) {
        rdisk_initiator_raise(session, RDISK_EVENT_RECONNECT_EXPIRED);
        rdisk_initiator_run(session);
    }
    if (now >= session->machine.deadline_at) {
        rdisk_initiator_deadline_over(session);
        rdisk_initiator_run(session);
    }
    if (now >= session->timers.drain_check) {
        check_drained(session, now);
        rdisk_initiator_run(session);
    }
    if (now >= session->timers.slots_check) {
        rdisk_initiator_check_slots(session);
    }
    if (now >= session->timers.tick) {
        tick(session, now);
        rdisk_initiator_run(session);
    }
}

uint64_t rdisk_initiator_deadline(const struct rdisk_initiator *session)
{
    const struct rdisk_timers *timers = &session->timers;
    uint64_t deadline = rdisk_least(timers->tick, timers->drain_check);

    deadline = rdisk_least(deadline, timers->slots_check);
    deadline = rdisk_least(deadline, session->machine.deadline_at);
    deadline = rdisk_least(deadline, session->recovery.deadline);
    return rdisk_least(deadline, session->connection.teardowns.deadline);
}

/* Setting it again also clears that it has expired. */
void rdisk_timers_set(struct rdisk_initiator *session)
{
    uint64_t deadline = rdisk_initiator_deadline(session);
    struct itimerspec when = { 0 };

    if (session->timers.fd < 0 || deadline == session->timers.set) {
        return;
    }
    if (deadline != RDISK_NEVER) {
        when.it_value.tv_sec = (time_t)(deadline / (1000 * RDISK_MSEC));
        when.it_value.tv_nsec = (long)(deadline % (1000 * RDISK_MSEC));
    }
    if (timerfd_settime(session->timers.fd, TFD_TIMER_ABSTIME, &when, NULL) <
        0) {
        rdisk_log(session->env, RDISK_LOG_ERROR,
                  "cannot set the session's timer: %s", strerror(errno));
        return;
    }
    session->timers.set = deadline;
}
