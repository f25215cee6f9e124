/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The state machine of a session: one table of what each event does in each
 * state, and the one function that changes the state.
 *
 * Events are raised by the code that detects something: a message, a connection
 * event, a deadline, a call of the owner. Neither that code nor the actions
 * change the state; an action returns the event that follows, which is taken
 * next. An event that the owner raises from within an action is taken after
 * that. An event without a row cannot happen in that state.
 */
#include <assert.h>

#include "transport/target/session.h"

/* From a wrong proof until the client gets the reply. */
#define DENY_MS 1000
/* For the client to disconnect after the last message. */
#define LEAVE_MS 1000
/* The same after SHUTTING_DOWN: its last requests are answered meanwhile. */
#define SHUTDOWN_MS 5000

/* ---- States ------------------------------------------------------------ */

enum deadline {
    NEVER,
    KEPT, /* that of the state before */
    HANDSHAKE,
    OPEN_TIMEOUT,
    DENY, /* not later than the handshake's */
    CALL_TIMEOUT,
    LEAVE,
    SHUTDOWN,
};

static const struct {
    const char *name;
    enum deadline deadline;
    bool ignores; /* messages */
    bool watched; /* by liveness.c */
    bool waits;   /* for the client: only that time counts */
} states[RDISK_TARGET_STATES] = {
    [RDISK_TARGET_WAIT_HELLO] = { "WAIT_HELLO", HANDSHAKE, false, false, true },
    [RDISK_TARGET_WAIT_AUTH] = { "WAIT_AUTH", KEPT, false, false, true },
    [RDISK_TARGET_WAIT_PROOF] = { "WAIT_PROOF", KEPT, false, false, true },
    [RDISK_TARGET_DENY_DELAY] = { "DENY_DELAY", DENY, true, false, false },
    [RDISK_TARGET_DENY_LEFT] = { "DENY_LEFT", KEPT, true, false, false },
    [RDISK_TARGET_WAIT_OPEN] = { "WAIT_OPEN", KEPT, false, false, true },
    [RDISK_TARGET_OPENING] = { "OPENING", OPEN_TIMEOUT, false, false, false },
    [RDISK_TARGET_CREATING] = { "CREATING", OPEN_TIMEOUT, false, false, false },
    [RDISK_TARGET_LISTING] = { "LISTING", OPEN_TIMEOUT, false, false, false },
    /* What was granted is reserved for it, so its queues have to join in
     * time. */
    [RDISK_TARGET_WAIT_JOIN] = { "WAIT_JOIN", HANDSHAKE, false, true, true },
    [RDISK_TARGET_OPEN] = { "OPEN", NEVER, false, true, false },
    [RDISK_TARGET_CLOSING] = { "CLOSING", LEAVE, true, false, false },
    [RDISK_TARGET_RELEASING] = { "RELEASING", CALL_TIMEOUT, true, false,
                                 false },
    [RDISK_TARGET_DRAINING] = { "DRAINING", SHUTDOWN, true, false, false },
    [RDISK_TARGET_CLOSE_WAIT] = { "CLOSE_WAIT", LEAVE, true, false, false },
    [RDISK_TARGET_ENDED] = { "ENDED", NEVER, true, false, false },
};

const char *rdisk_target_state_name(unsigned int state)
{
    return state < RDISK_TARGET_STATES ? states[state].name : "?";
}

bool rdisk_target_session_joinable(const struct rdisk_target_session *session)
{
    return session->state == RDISK_TARGET_WAIT_JOIN ||
           session->state == RDISK_TARGET_OPEN;
}

bool rdisk_target_session_ignores(const struct rdisk_target_session *session)
{
    return states[session->state].ignores;
}

bool rdisk_target_session_watched(const struct rdisk_target_session *session)
{
    return states[session->state].watched;
}

bool rdisk_target_session_waits(const struct rdisk_target_session *session)
{
    return states[session->state].waits;
}

static uint64_t deadline_of(const struct rdisk_target_session *session,
                            enum rdisk_target_state state)
{
    const struct rdisk_target_options *options = &session->target->options;
    uint64_t now = rdisk_now(session->target->env);
    uint64_t denied = now + DENY_MS * RDISK_MSEC;

    switch (states[state].deadline) {
    case KEPT:
        return session->deadline;
    case HANDSHAKE:
        return now + options->handshake_timeout_ms * RDISK_MSEC;
    case OPEN_TIMEOUT:
        return now + options->open_timeout_ms * RDISK_MSEC;
    case DENY:
        return denied < session->deadline ? denied : session->deadline;
    case CALL_TIMEOUT:
        return now + options->call_timeout_ms * RDISK_MSEC;
    case LEAVE:
        return now + LEAVE_MS * RDISK_MSEC;
    case SHUTDOWN:
        return now + SHUTDOWN_MS * RDISK_MSEC;
    default:
        return RDISK_NEVER;
    }
}

/* ---- Actions ----------------------------------------------------------- */

static enum rdisk_target_event cut(struct rdisk_target_session *session)
{
    rdisk_target_session_break(session);
    return RDISK_TARGET_NO_EVENT;
}

static enum rdisk_target_event cut_no_open(struct rdisk_target_session *session)
{
    rdisk_log(session->target->env, RDISK_LOG_WARNING,
              "%s: no OPEN within the handshake timeout of %u ms",
              session->request.peer,
              session->target->options.handshake_timeout_ms);
    return cut(session);
}

static enum rdisk_target_event cut_no_queue(
    struct rdisk_target_session *session)
{
    rdisk_log(session->target->env, RDISK_LOG_WARNING,
              "%s: no queue within the handshake timeout of %u ms",
              session->request.peer,
              session->target->options.handshake_timeout_ms);
    return cut(session);
}

static enum rdisk_target_event say_bye(struct rdisk_target_session *session)
{
    rdisk_log(session->target->env, RDISK_LOG_INFO, "%s: ending session: %s",
              session->request.peer, session->end.text);
    return rdisk_target_session_send_end(session);
}

/* BYE first: it has the reason why the client's queues break. */
static enum rdisk_target_event end(struct rdisk_target_session *session)
{
    enum rdisk_target_event event = say_bye(session);

    rdisk_target_session_break_queues(session);
    return event;
}

static enum rdisk_target_event refuse(struct rdisk_target_session *session)
{
    rdisk_log(session->target->env, RDISK_LOG_WARNING, "%s: refused: %s",
              session->request.peer, session->end.text);
    return rdisk_target_session_send_end(session);
}

static enum rdisk_target_event close_queues(
    struct rdisk_target_session *session)
{
    session->closed = true;
    rdisk_target_session_break_queues(session);
    return session->queues ? RDISK_TARGET_NO_EVENT : RDISK_TARGET_ON_DRAINED;
}

/* Not answered, so that the client does not take the volume for closed. */
static enum rdisk_target_event cut_no_release(
    struct rdisk_target_session *session)
{
    rdisk_log(session->target->env, RDISK_LOG_WARNING,
              "%s: closing volume '%s' has not ended within %g seconds: its "
              "CLOSE is not answered",
              session->request.peer, session->request.volume,
              session->target->options.call_timeout_ms / 1000.0);
    return cut(session);
}

/*
 * The volume is released before the answer, durably: a client that has closed
 * it can open it again at once, and another one can, whatever becomes of this
 * server.
 */
static enum rdisk_target_event release_volume(
    struct rdisk_target_session *session)
{
    const struct rdisk_target *target = session->target;
    struct rdisk_error err = { 0 };
    enum rdisk_status status = RDISK_STATUS_OK;

    assert(session->owner_knows && !session->queues);
    rdisk_target_session_deregister(session);
    if (target->events->release) {
        status = target->events->release(target->opaque, session->user, &err);
    } else {
        target->events->close(target->opaque, session->user, true);
    }
    if (status == RDISK_LATER) {
        return RDISK_TARGET_NO_EVENT;
    }
    session->owner_knows = false;
    return rdisk_target_session_release_event(session, status, &err);
}

static enum rdisk_target_event reply_closed(
    struct rdisk_target_session *session)
{
    struct rdisk_wire_message reply = {
        .type = htole16(RDISK_MSG_CLOSE_REPLY),
        .sequence = session->close_sequence,
    };

    return rdisk_target_session_reply(session, &reply, sizeof(reply));
}

/* ---- The table ---------------------------------------------------------- */

struct row {
    bool possible;
    enum rdisk_target_state next;
    enum rdisk_target_event (*action)(struct rdisk_target_session *session);
};

#define ON(event) [RDISK_TARGET_ON_##event]
#define GO(next) \
    { \
        true, RDISK_TARGET_##next, NULL \
    }
#define DO(next, call) \
    { \
        true, RDISK_TARGET_##next, call \
    }

static const struct row table[RDISK_TARGET_STATES][RDISK_TARGET_EVENTS] = {
    [RDISK_TARGET_WAIT_HELLO] = {
        ON(HELLO) = GO(WAIT_OPEN),
        ON(DEMAND) = GO(WAIT_AUTH),
        ON(REFUSED) = DO(CLOSE_WAIT, refuse),
        ON(END) = DO(CLOSE_WAIT, end),
        ON(SHUTDOWN) = DO(DRAINING, say_bye),
        ON(LOST) = DO(ENDED, cut),
        ON(CUT) = DO(ENDED, cut),
        ON(DEADLINE) = DO(ENDED, cut_no_open),
    },
    [RDISK_TARGET_WAIT_AUTH] = {
        ON(CHALLENGE) = GO(WAIT_PROOF),
        ON(END) = DO(CLOSE_WAIT, end),
        ON(SHUTDOWN) = DO(DRAINING, say_bye),
        ON(LOST) = DO(ENDED, cut),
        ON(CUT) = DO(ENDED, cut),
        ON(DEADLINE) = DO(ENDED, cut_no_open),
    },
    [RDISK_TARGET_WAIT_PROOF] = {
        ON(PROVED) = GO(WAIT_OPEN),
        ON(DISPROVED) = GO(DENY_DELAY),
        ON(END) = DO(CLOSE_WAIT, end),
        ON(SHUTDOWN) = DO(DRAINING, say_bye),
        ON(LOST) = DO(ENDED, cut),
        ON(CUT) = DO(ENDED, cut),
        ON(DEADLINE) = DO(ENDED, cut_no_open),
    },
    /* Leaving early and coming back makes guessing no faster. */
    [RDISK_TARGET_DENY_DELAY] = {
        ON(SHUTDOWN) = DO(DRAINING, say_bye),
        ON(LOST) = GO(DENY_LEFT),
        ON(CUT) = DO(ENDED, cut),
        ON(DEADLINE) = DO(CLOSE_WAIT, refuse),
    },
    [RDISK_TARGET_DENY_LEFT] = {
        ON(SHUTDOWN) = DO(ENDED, cut),
        ON(LOST) = GO(DENY_LEFT),
        ON(CUT) = DO(ENDED, cut),
        ON(DEADLINE) = DO(ENDED, cut),
    },
    [RDISK_TARGET_WAIT_OPEN] = {
        ON(OPEN) = DO(OPENING, rdisk_target_session_ask),
        ON(CREATE) = DO(CREATING, rdisk_target_session_ask_create),
        ON(LIST) = DO(LISTING, rdisk_target_session_ask_list),
        ON(REFUSED) = DO(CLOSE_WAIT, refuse),
        ON(END) = DO(CLOSE_WAIT, end),
        ON(SHUTDOWN) = DO(DRAINING, say_bye),
        ON(LOST) = DO(ENDED, cut),
        ON(CUT) = DO(ENDED, cut),
        ON(DEADLINE) = DO(ENDED, cut_no_open),
    },
    [RDISK_TARGET_OPENING] = {
        ON(RETRY) = DO(OPENING, rdisk_target_session_ask),
        ON(GRANTED) = DO(WAIT_JOIN, rdisk_target_session_opened),
        ON(REFUSED) = DO(CLOSE_WAIT, refuse),
        ON(END) = DO(CLOSE_WAIT, end),
        ON(SHUTDOWN) = DO(DRAINING, say_bye),
        ON(LOST) = DO(ENDED, cut),
        ON(CUT) = DO(ENDED, cut),
        ON(DEADLINE) = DO(OPENING, rdisk_target_session_open_late),
    },
    [RDISK_TARGET_CREATING] = {
        ON(CREATED) = DO(CLOSE_WAIT, rdisk_target_session_reply_created),
        ON(REFUSED) = DO(CLOSE_WAIT, refuse),
        ON(END) = DO(CLOSE_WAIT, end),
        ON(SHUTDOWN) = DO(DRAINING, say_bye),
        ON(LOST) = DO(ENDED, cut),
        ON(CUT) = DO(ENDED, cut),
        ON(DEADLINE) = DO(CREATING, rdisk_target_session_create_late),
    },
    [RDISK_TARGET_LISTING] = {
        ON(LISTED) = GO(WAIT_OPEN),
        ON(REFUSED) = DO(CLOSE_WAIT, refuse),
        ON(END) = DO(CLOSE_WAIT, end),
        ON(SHUTDOWN) = DO(DRAINING, say_bye),
        ON(LOST) = DO(ENDED, cut),
        ON(CUT) = DO(ENDED, cut),
        ON(DEADLINE) = DO(LISTING, rdisk_target_session_list_late),
    },
    [RDISK_TARGET_WAIT_JOIN] = {
        ON(JOINED) = GO(OPEN),
        ON(CLOSE) = DO(CLOSING, close_queues),
        ON(END) = DO(CLOSE_WAIT, end),
        ON(SHUTDOWN) = DO(DRAINING, say_bye),
        ON(LOST) = DO(ENDED, cut),
        ON(CUT) = DO(ENDED, cut),
        ON(DEADLINE) = DO(ENDED, cut_no_queue),
    },
    [RDISK_TARGET_OPEN] = {
        ON(JOINED) = GO(OPEN),
        ON(CLOSE) = DO(CLOSING, close_queues),
        ON(END) = DO(CLOSE_WAIT, end),
        ON(SHUTDOWN) = DO(DRAINING, say_bye),
        ON(LOST) = DO(ENDED, cut),
        ON(CUT) = DO(ENDED, cut),
    },
    /* Here and below the first reason to end is kept. */
    [RDISK_TARGET_CLOSING] = {
        ON(DRAINED) = DO(RELEASING, release_volume),
        ON(END) = GO(CLOSING),
        ON(SHUTDOWN) = GO(CLOSING),
        ON(LOST) = DO(ENDED, cut),
        ON(CUT) = DO(ENDED, cut),
        ON(DEADLINE) = DO(ENDED, cut),
    },
    [RDISK_TARGET_RELEASING] = {
        ON(RELEASED) = DO(CLOSE_WAIT, reply_closed),
        ON(END) = GO(RELEASING),
        ON(SHUTDOWN) = GO(RELEASING),
        ON(LOST) = DO(ENDED, cut),
        ON(CUT) = DO(ENDED, cut),
        ON(DEADLINE) = DO(ENDED, cut_no_release),
    },
    /* But END stops requests at once: they may not be carried out meanwhile. */
    [RDISK_TARGET_DRAINING] = {
        ON(END) = DO(CLOSE_WAIT, end),
        ON(SHUTDOWN) = GO(DRAINING),
        ON(LOST) = DO(ENDED, cut),
        ON(CUT) = DO(ENDED, cut),
        ON(DEADLINE) = DO(ENDED, cut),
    },
    [RDISK_TARGET_CLOSE_WAIT] = {
        ON(END) = GO(CLOSE_WAIT),
        ON(SHUTDOWN) = GO(CLOSE_WAIT),
        ON(LOST) = DO(ENDED, cut),
        ON(CUT) = DO(ENDED, cut),
        ON(DEADLINE) = DO(ENDED, cut),
    },
    [RDISK_TARGET_ENDED] = {
        ON(END) = GO(ENDED),
        ON(SHUTDOWN) = GO(ENDED),
        ON(LOST) = GO(ENDED),
        ON(CUT) = GO(ENDED),
    },
};

/* ---- The step ---------------------------------------------------------- */

static const char *const event_names[RDISK_TARGET_EVENTS] = {
    ON(HELLO) = "HELLO",
    ON(DEMAND) = "DEMAND",
    ON(CHALLENGE) = "CHALLENGE",
    ON(PROVED) = "PROVED",
    ON(DISPROVED) = "DISPROVED",
    ON(OPEN) = "OPEN",
    ON(RETRY) = "RETRY",
    ON(GRANTED) = "GRANTED",
    ON(CREATE) = "CREATE",
    ON(CREATED) = "CREATED",
    ON(LIST) = "LIST",
    ON(LISTED) = "LISTED",
    ON(REFUSED) = "REFUSED",
    ON(JOINED) = "JOINED",
    ON(CLOSE) = "CLOSE",
    ON(DRAINED) = "DRAINED",
    ON(RELEASED) = "RELEASED",
    ON(END) = "END",
    ON(SHUTDOWN) = "SHUTDOWN",
    ON(LOST) = "LOST",
    ON(CUT) = "CUT",
    ON(DEADLINE) = "DEADLINE",
};

static const char *event_name(unsigned int event)
{
    return event_names[event];
}

static bool possible(unsigned int state, unsigned int event)
{
    return table[state][event].possible;
}

static atomic_uint taken[RDISK_TARGET_STATES * RDISK_TARGET_EVENTS];

const struct rdisk_machine rdisk_target_machine = {
    .name = "target",
    .states = RDISK_TARGET_STATES,
    .events = RDISK_TARGET_EVENTS,
    .state_name = rdisk_target_state_name,
    .event_name = event_name,
    .possible = possible,
    .taken = taken,
};

void rdisk_target_session_begin(struct rdisk_target_session *session)
{
    session->state = RDISK_TARGET_WAIT_HELLO;
    session->deadline = deadline_of(session, session->state);
}

static enum rdisk_target_event take(struct rdisk_target_session *session,
                                    enum rdisk_target_event event)
{
    const struct row *row = &table[session->state][event];

    assert(row->possible);
    rdisk_machine_took(&rdisk_target_machine, session->state, event);
    rdisk_log(session->target->env, RDISK_LOG_DEBUG, "%s: %s: %s -> %s",
              session->request.peer, event_names[event],
              states[session->state].name, states[row->next].name);
    if (row->next != session->state) {
        session->deadline = deadline_of(session, row->next);
        session->state = row->next;
    }
    return row->action ? row->action(session) : RDISK_TARGET_NO_EVENT;
}

void rdisk_target_session_step(struct rdisk_target_session *session,
                               enum rdisk_target_event event)
{
    if (event == RDISK_TARGET_NO_EVENT) {
        return;
    }
    if (session->stepping) {
        /* The first one is kept. */
        session->pending = session->pending ? session->pending : event;
        return;
    }
    session->stepping = true;
    while (event) {
        event = take(session, event);
        if (!event) {
            event = session->pending;
            session->pending = RDISK_TARGET_NO_EVENT;
        }
    }
    session->stepping = false;
}
