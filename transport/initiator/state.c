/* SPDX-License-Identifier: BSD-3-Clause */
/* The state machine of a client session: its table, and step(). */
#include "transport/initiator/state.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "transport/initiator/session.h"

/* ---- The table ---------------------------------------------------------- */

#define AT(state)       RDISK_STATE_BIT(RDISK_INITIATOR_##state)
#define ON(event)       (1u << RDISK_EVENT_##event)
#define TO(state)       RDISK_INITIATOR_##state
#define UNTIL(deadline) RDISK_DEADLINE_##deadline

/* Its name at each state's number; the numbers mean nothing else. */
static const char *const state_names[] = {
#define NAME(name) [RDISK_INITIATOR_##name] = #name
    NAME(IDLE),       NAME(CONNECTING), NAME(HELLO_SENT), NAME(AUTH_SENT),
    NAME(PROOF_SENT), NAME(OPENING),    NAME(CREATING),   NAME(JOINING),
    NAME(READY),      NAME(DRAINING),   NAME(QUIESCING),  NAME(BACKOFF),
    NAME(CLOSING),    NAME(CLOSED),     NAME(FAILED),     NAME(RESOLVING),
#undef NAME
};

#define STATES ((unsigned int)(sizeof(state_names) / sizeof(state_names[0])))
#define STAY   STATES

/* A control connection is established, and the session is not open yet. */
#define HANDSHAKE \
    (AT(HELLO_SENT) | AT(AUTH_SENT) | AT(PROOF_SENT) | AT(OPENING))
/* The way to READY, with which a lost connection is recovered, too. */
#define ATTEMPT (AT(RESOLVING) | AT(CONNECTING) | HANDSHAKE | AT(JOINING))
#define SERVING (AT(READY) | AT(DRAINING))
/* The connection has been given up already. */
#define OVER (AT(QUIESCING) | AT(CLOSED) | AT(FAILED))
#define ALL  ((1u << STATES) - 1)

/* An event that may come late, and then changes nothing. */
static void ignore(struct rdisk_initiator *session)
{
}

static void nothing(struct rdisk_initiator *session)
{
}

struct row {
    unsigned int states, events;
    bool (*guard)(const struct rdisk_initiator *session);
    void (*action)(struct rdisk_initiator *session);
    unsigned int to; /* enum rdisk_initiator_state, or STAY */
    enum rdisk_deadline deadline;
};

/*
 * The first row that matches counts. An event in a state that no row has is
 * impossible, and a contract: what would raise it is not there then.
 *
 * The action runs when the state, its deadline and the flow of requests are
 * the next one's already.
 */
/* clang-format off */
static const struct row table[] = {
    /* To READY. */
    { AT(IDLE), ON(START), NULL,
      rdisk_connection_begin, TO(RESOLVING), UNTIL(NAME) },
    { AT(RESOLVING), ON(RESOLVED), NULL,
      rdisk_connection_try, TO(CONNECTING), UNTIL(ADDRESS) },
    { AT(CONNECTING), ON(ADDRESS_FAILED), rdisk_initiator_addresses_left,
      rdisk_connection_try_another, STAY, UNTIL(ADDRESS) },
    { AT(CONNECTING), ON(ADDRESS_FAILED), NULL,
      rdisk_initiator_unreachable, STAY, UNTIL(KEEP) },
    { AT(CONNECTING), ON(CONNECTED), NULL,
      rdisk_initiator_send_hello, TO(HELLO_SENT), UNTIL(OPEN) },
    { AT(HELLO_SENT), ON(AUTH_DEMANDED), NULL,
      rdisk_initiator_send_auth, TO(AUTH_SENT), UNTIL(KEEP) },
    { AT(AUTH_SENT), ON(CHALLENGED), NULL,
      rdisk_initiator_send_proof, TO(PROOF_SENT), UNTIL(KEEP) },
    { AT(HELLO_SENT) | AT(PROOF_SENT), ON(IDENTIFIED), rdisk_initiator_creates,
      rdisk_initiator_send_create, TO(CREATING), UNTIL(KEEP) },
    { AT(HELLO_SENT) | AT(PROOF_SENT), ON(IDENTIFIED), NULL,
      rdisk_initiator_send_open, TO(OPENING), UNTIL(KEEP) },
    { AT(OPENING), ON(OPENED), rdisk_initiator_closes,
      rdisk_initiator_send_close, TO(CLOSING), UNTIL(CLOSE) },
    { AT(OPENING), ON(OPENED), NULL,
      rdisk_initiator_join, TO(JOINING), UNTIL(KEEP) },
    { AT(JOINING), ON(JOINED), NULL,
      rdisk_initiator_serve, TO(READY), UNTIL(NONE) },

    /* An orderly end. */
    { AT(CREATING), ON(CREATED), NULL, nothing, TO(CLOSED), UNTIL(NONE) },
    { AT(READY), ON(SERVER_LEAVING), NULL,
      nothing, TO(DRAINING), UNTIL(DRAIN) },
    { AT(READY), ON(CLOSE), NULL,
      rdisk_initiator_begin_close, TO(CLOSING), UNTIL(CLOSE) },
    { AT(CLOSING), ON(CLOSE_REPLIED), NULL, nothing, TO(CLOSED), UNTIL(NONE) },
    /* Without an answer the server may keep the volume for this client. */
    { AT(CLOSING), ON(LOST) | ON(CONTROL_ENDED), rdisk_initiator_may_reconnect,
      rdisk_initiator_recover_close, TO(QUIESCING), UNTIL(QUIESCE) },
    { AT(CLOSING), ON(CONTROL_ENDED) | ON(CLOSE_TIMEOUT), NULL,
      rdisk_initiator_end, TO(FAILED), UNTIL(NONE) },

    /* A lost connection, of a session that is worth another one. */
    { SERVING, ON(LOST) | ON(CONTROL_ENDED) | ON(QUEUE_ENDED) | ON(GIVE_UP),
      rdisk_initiator_may_reconnect,
      rdisk_initiator_recover, TO(QUIESCING), UNTIL(QUIESCE) },
    { AT(DRAINING), ON(DRAINED) | ON(DRAIN_TIMEOUT),
      rdisk_initiator_may_reconnect,
      rdisk_initiator_recover, TO(QUIESCING), UNTIL(QUIESCE) },
    /* A session that was connected once has an address: RESOLVING does not
     * fail. */
    { ATTEMPT & ~AT(RESOLVING), ON(LOST), rdisk_initiator_may_retry,
      rdisk_initiator_retry, TO(QUIESCING), UNTIL(QUIESCE) },
    /* No failure that another attempt cannot change. */
    { HANDSHAKE | AT(JOINING), ON(CONTROL_ENDED), NULL,
      rdisk_initiator_retry, TO(QUIESCING), UNTIL(QUIESCE) },
    { AT(JOINING), ON(QUEUE_ENDED), NULL,
      rdisk_initiator_retry, TO(QUIESCING), UNTIL(QUIESCE) },
    { AT(QUIESCING), ON(QUIESCED), NULL,
      rdisk_initiator_back_off, TO(BACKOFF), UNTIL(BACKOFF) },
    { AT(QUIESCING), ON(QUIESCE_TIMEOUT), NULL,
      rdisk_initiator_quiesce_late, STAY, UNTIL(QUIESCE) },
    { AT(BACKOFF), ON(BACKOFF_OVER), rdisk_initiator_out_of_time,
      rdisk_initiator_end, TO(FAILED), UNTIL(NONE) },
    { AT(BACKOFF), ON(BACKOFF_OVER), NULL,
      rdisk_initiator_attempt, TO(RESOLVING), UNTIL(NAME) },
    { ATTEMPT | AT(QUIESCING) | AT(BACKOFF), ON(RECONNECT_EXPIRED), NULL,
      rdisk_initiator_expire, STAY, UNTIL(KEEP) },
    { ATTEMPT | AT(QUIESCING) | AT(BACKOFF), ON(STOP_WAITING),
      rdisk_initiator_waits,
      rdisk_initiator_stop_waiting, STAY, UNTIL(KEEP) },

    /* A failure that ends the session. */
    { ATTEMPT | AT(CREATING) | SERVING | AT(CLOSING), ON(LOST), NULL,
      rdisk_initiator_end, TO(FAILED), UNTIL(NONE) },
    { AT(CREATING) | SERVING, ON(CONTROL_ENDED), NULL,
      rdisk_initiator_end, TO(FAILED), UNTIL(NONE) },
    { SERVING, ON(QUEUE_ENDED), NULL,
      rdisk_initiator_end, TO(FAILED), UNTIL(NONE) },
    { SERVING, ON(GIVE_UP), NULL,
      rdisk_initiator_end, TO(FAILED), UNTIL(NONE) },
    { AT(DRAINING), ON(DRAINED) | ON(DRAIN_TIMEOUT), NULL,
      rdisk_initiator_end, TO(FAILED), UNTIL(NONE) },
    { HANDSHAKE | AT(CREATING) | AT(JOINING) | SERVING | AT(CLOSING), ON(FATAL),
      NULL, rdisk_initiator_end, TO(FAILED), UNTIL(NONE) },
    { AT(FAILED), ON(QUIESCED), NULL,
      rdisk_connection_drop, STAY, UNTIL(KEEP) },

    /* Too late to matter, or too early. */
    { OVER, ON(LOST) | ON(CONTROL_ENDED) | ON(QUEUE_ENDED), NULL,
      ignore, STAY, UNTIL(KEEP) },
    { AT(CLOSING), ON(QUEUE_ENDED), NULL,   /* the server ends them first */
      ignore, STAY, UNTIL(KEEP) },
    { ALL, ON(STOP_WAITING) | ON(GIVE_UP) | ON(CLOSE), NULL,
      ignore, STAY, UNTIL(KEEP) },
};
/* clang-format on */

/* Of an event in a state: by a row with a guard, or by one without. */
#define CELL(event, guarded) (2 * (unsigned int)(event) + (guarded))

#define ROWS (sizeof(table) / sizeof(table[0]))

/* ---- Names -------------------------------------------------------------- */

const char *rdisk_initiator_state_name(enum rdisk_initiator_state state)
{
    return state_names[state];
}

static const char *event_name(enum rdisk_session_event event)
{
    static const char *const names[] = {
#define NAME(name) #name,
        RDISK_SESSION_EVENTS(NAME)
#undef NAME
    };

    return names[event];
}

/* ---- Predicates --------------------------------------------------------- */

enum rdisk_initiator_state rdisk_initiator_state(
    const struct rdisk_initiator *session)
{
    return (
        enum rdisk_initiator_state)atomic_load_explicit(&session->machine.state,
                                                        memory_order_acquire);
}

bool rdisk_initiator_takes_messages(const struct rdisk_initiator *session)
{
    return rdisk_initiator_in(session, HANDSHAKE | AT(CREATING) | AT(JOINING) |
                                           SERVING | AT(CLOSING));
}

bool rdisk_initiator_quiesces(const struct rdisk_initiator *session)
{
    return rdisk_initiator_in(session, AT(QUIESCING) | AT(FAILED));
}

/* ---- Raising ------------------------------------------------------------ */

void rdisk_initiator_state_begin(struct rdisk_initiator *session)
{
    struct rdisk_state_machine *machine = &session->machine;

    atomic_init(&machine->state, RDISK_INITIATOR_IDLE);
    atomic_init(&machine->flow, RDISK_REQUESTS_WAIT);
    machine->deadline = RDISK_DEADLINE_NONE;
    machine->deadline_at = RDISK_NEVER;
}

static void note(const struct rdisk_initiator *session,
                 enum rdisk_session_event event, const char *what)
{
    const struct rdisk_error *err = &session->machine.errors[event];

    rdisk_log(session->env, RDISK_LOG_DEBUG, "%s: %s: %s in state %s%s%.200s",
              session->peer, what, event_name(event),
              rdisk_initiator_state_name(rdisk_initiator_state(session)),
              err->code ? ": " : "", err->code ? err->text : "");
}

static bool pending(const struct rdisk_state_machine *machine,
                    enum rdisk_session_event event)
{
    for (unsigned int i = 0; i < machine->count; i++) {
        if (machine->pending[i] == event) {
            return true;
        }
    }
    return false;
}

void rdisk_initiator_raise_error(struct rdisk_initiator *session,
                                 enum rdisk_session_event event,
                                 const struct rdisk_error *err)
{
    struct rdisk_state_machine *machine = &session->machine;

    RDISK_ASSERT_HOME(session);
    if (pending(machine, event)) {
        note(session, event, "raised twice");
        return;
    }
    assert(machine->count < RDISK_EVENT_COUNT);
    machine->errors[event] = *err;
    machine->pending[machine->count++] = (uint8_t)event;
}

void rdisk_initiator_raise(struct rdisk_initiator *session,
                           enum rdisk_session_event event)
{
    static const struct rdisk_error none;

    rdisk_initiator_raise_error(session, event, &none);
}

void rdisk_initiator_raise_lost(struct rdisk_initiator *session, int code,
                                const char *format, ...)
{
    char text[sizeof(((struct rdisk_error *)0)->text)];
    struct rdisk_error err;
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    rdisk_error_set(&err, code, "%s", text);
    rdisk_initiator_raise_error(session, RDISK_EVENT_LOST, &err);
}

/* ---- One step ----------------------------------------------------------- */

static const struct row *find(const struct rdisk_initiator *session,
                              enum rdisk_session_event event)
{
    unsigned int state = RDISK_STATE_BIT(rdisk_initiator_state(session));

    for (unsigned int i = 0; i < ROWS; i++) {
        const struct row *row = &table[i];

        if ((row->states & state) && (row->events & 1u << event) &&
            (!row->guard || row->guard(session))) {
            return row;
        }
    }
    return NULL;
}

static void set_flow(struct rdisk_state_machine *machine,
                     enum rdisk_initiator_state state)
{
    enum rdisk_request_flow flow;

    switch (state) {
    case RDISK_INITIATOR_READY:
        flow = RDISK_REQUESTS_SEND;
        break;
    case RDISK_INITIATOR_CLOSING:
    case RDISK_INITIATOR_CLOSED:
    case RDISK_INITIATOR_FAILED:
        flow = RDISK_REQUESTS_FAIL;
        break;
    default:
        /* Once they fail for lack of a connection, they do until READY. */
        if (atomic_load(&machine->flow) == RDISK_REQUESTS_FAIL) {
            return;
        }
        flow = RDISK_REQUESTS_WAIT;
    }
    atomic_store_explicit(&machine->flow, (int)flow, memory_order_release);
}

void rdisk_initiator_fail_requests(struct rdisk_initiator *session)
{
    assert(!rdisk_initiator_in(session, SERVING));
    atomic_store_explicit(&session->machine.flow, RDISK_REQUESTS_FAIL,
                          memory_order_release);
}

/*
 * The first failure of a connection is the one that counts. But that the server
 * leaves does not explain what is fatal.
 */
static void note_failure(struct rdisk_initiator *session,
                         enum rdisk_session_event event)
{
    struct rdisk_state_machine *machine = &session->machine;

    /* An address that fails is noted with the others. */
    if (!machine->errors[event].code || event == RDISK_EVENT_ADDRESS_FAILED) {
        return;
    }
    if (machine->failed && event != RDISK_EVENT_FATAL) {
        note(session, event, "a later failure");
        return;
    }
    machine->failed = true;
    machine->error = machine->errors[event];
}

static void report(struct rdisk_initiator *session,
                   enum rdisk_initiator_state from,
                   enum rdisk_session_event event,
                   enum rdisk_initiator_state to)
{
    const struct rdisk_initiator_events *events = session->events;
    const struct rdisk_error *err = &session->machine.errors[event];

    rdisk_log(session->env, RDISK_LOG_DEBUG, "%s: %s: %s -> %s%s%.200s",
              session->peer, event_name(event),
              rdisk_initiator_state_name(from), rdisk_initiator_state_name(to),
              err->code ? ": " : "", err->code ? err->text : "");
    if (events && events->transition) {
        events->transition(session->opaque, from, event_name(event), to);
    }
    if (from != to && events && events->state) {
        events->state(session->opaque, to);
    }
}

static void enter(struct rdisk_initiator *session,
                  enum rdisk_initiator_state state)
{
    struct rdisk_state_machine *machine = &session->machine;

    if (state == RDISK_INITIATOR_RESOLVING) {
        machine->failed = false;
    }
    rdisk_timers_state(session, state);
    atomic_store_explicit(&machine->state, (int)state, memory_order_release);
    set_flow(machine, state);
}

/* Where contracts are not checked: this session's deadlines still hold. */
static void impossible(const struct rdisk_initiator *session,
                       enum rdisk_session_event event)
{
    rdisk_log(session->env, RDISK_LOG_ERROR,
              "%s: a defect of rdisk: event %s in state %s, ignored; please "
              "report it with the log at level debug",
              session->peer, event_name(event),
              rdisk_initiator_state_name(rdisk_initiator_state(session)));
}

static void step(struct rdisk_initiator *session,
                 enum rdisk_session_event event)
{
    enum rdisk_initiator_state from = rdisk_initiator_state(session);
    const struct row *row = find(session, event);
    enum rdisk_initiator_state to;

    RDISK_CONTRACT(row && "an event that cannot happen in this state");
    if (!row) {
        impossible(session, event);
        return;
    }
    if (row->action == ignore) {
        note(session, event, "ignored");
        return;
    }
    rdisk_machine_took(&rdisk_initiator_machine, from,
                       CELL(event, row->guard != NULL));
    to = row->to == STAY ? from : (enum rdisk_initiator_state)row->to;
    note_failure(session, event);
    if (to == RDISK_INITIATOR_FAILED && to != from) {
        rdisk_initiator_name_attempts(session, from);
    }
    if (to != from) {
        enter(session, to);
    }
    rdisk_initiator_set_deadline(session, row->deadline);
    report(session, from, event, to);
    row->action(session);
}

static enum rdisk_session_event next_event(struct rdisk_state_machine *machine)
{
    enum rdisk_session_event event = machine->pending[0];

    machine->count--;
    for (unsigned int i = 0; i < machine->count; i++) {
        machine->pending[i] = machine->pending[i + 1];
    }
    return event;
}

void rdisk_initiator_run(struct rdisk_initiator *session)
{
    struct rdisk_state_machine *machine = &session->machine;

    RDISK_ASSERT_HOME(session);
    if (machine->running) {
        return;
    }
    machine->running = true;
    while (machine->count) {
        step(session, next_event(machine));
    }
    machine->running = false;
}

/* ---- What was taken ------------------------------------------------------ */

#define CELLS CELL(RDISK_EVENT_COUNT, 0)

static atomic_uint taken[STATES * CELLS];

static const char *cell_state(unsigned int state)
{
    return state_names[state];
}

static const char *cell_event(unsigned int cell)
{
    static char name[64];

    snprintf(name, sizeof(name), "%s%s",
             event_name((enum rdisk_session_event)(cell / 2)),
             cell % 2 ? " (guarded)" : "");
    return name;
}

static bool possible(unsigned int state, unsigned int cell)
{
    for (unsigned int i = 0; i < ROWS; i++) {
        const struct row *row = &table[i];

        if ((row->states & 1u << state) && (row->events & 1u << cell / 2) &&
            !row->guard == !(cell % 2)) {
            return row->action != ignore;
        }
    }
    return false;
}

const struct rdisk_machine rdisk_initiator_machine = {
    .name = "initiator",
    .states = STATES,
    .events = CELLS,
    .state_name = cell_state,
    .event_name = cell_event,
    .possible = possible,
    .taken = taken,
};
