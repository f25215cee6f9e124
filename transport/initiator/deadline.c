/* SPDX-License-Identifier: BSD-3-Clause */
/* The one time limit that a state has: how long, and what its end means. */
#include <assert.h>
#include <errno.h>

#include "transport/base/least.h"
#include "transport/initiator/session.h"
#include "transport/initiator/state.h"

#define DRAIN_MS   4000  /* a server that shuts down waits so long */
#define QUIESCE_MS 30000 /* longer than any device's own timeouts */
/* Part of open-timeout for a resolver whose answer is not needed. */
#define NAME_PART 4

/* ---- How long ----------------------------------------------------------- */

/* Of the attempt. */
static uint64_t left(const struct rdisk_initiator *session, uint64_t now)
{
    uint64_t ends = session->machine.attempt_ends;

    return ends > now ? ends - now : 0;
}

/* It is divided among the addresses that are left. */
static uint64_t share(const struct rdisk_initiator *session, uint64_t now)
{
    const struct rdisk_server *server = &session->server;

    return left(session, now) / (server->trying.count - server->next);
}

/*
 * A pause of random length, from half of @most on: clients that have lost the
 * same server at the same moment do not reconnect in the same one.
 */
static uint64_t pause_of(const struct rdisk_initiator *session, uint64_t most)
{
    uint32_t random;

    session->env->random(session->env->opaque, &random, sizeof(random));
    return most / 2 +
           (uint64_t)((double)random / UINT32_MAX * (double)(most / 2));
}

static uint64_t duration_of(const struct rdisk_initiator *session,
                            enum rdisk_deadline deadline, uint64_t now)
{
    uint64_t timeout = session->options.open_timeout_ms * RDISK_MSEC;

    switch (deadline) {
    case RDISK_DEADLINE_NAME:
        return rdisk_least(rdisk_servers_host(&session->servers)->known.count
                               ? timeout / NAME_PART
                               : timeout,
                           left(session, now));
    case RDISK_DEADLINE_ADDRESS:
        return share(session, now);
    case RDISK_DEADLINE_OPEN:
        return left(session, now);
    case RDISK_DEADLINE_CLOSE:
        return timeout;
    case RDISK_DEADLINE_DRAIN:
        return DRAIN_MS * RDISK_MSEC;
    case RDISK_DEADLINE_QUIESCE:
        return QUIESCE_MS * RDISK_MSEC;
    default:
        if (session->servers.tried) {
            return 0; /* the next server may be there */
        }
        return session->recovery.established
                   ? pause_of(session, session->recovery.backoff)
                   : rdisk_least(pause_of(session, session->recovery.backoff),
                                 left(session, now));
    }
}

/* A session that closes has no more than open-timeout for all of it. */
static uint64_t duration(const struct rdisk_initiator *session,
                         enum rdisk_deadline deadline, uint64_t now)
{
    uint64_t whole = duration_of(session, deadline, now);
    uint64_t end = session->recovery.close_by;

    return deadline == RDISK_DEADLINE_QUIESCE
               ? whole
               : rdisk_least(whole, end > now ? end - now : 0);
}

/*
 * All attempts to open it have open-timeout together, and so has a round of
 * attempts to reconnect. What is left is divided among the servers.
 */
static void begin_attempt(struct rdisk_initiator *session, uint64_t now)
{
    struct rdisk_state_machine *machine = &session->machine;
    const struct rdisk_servers *servers = &session->servers;
    bool first = session->recovery.established
                     ? !servers->tried
                     : !session->recovery.attempts && !servers->tried;

    if (first) {
        machine->opens_until = now +
                               session->options.open_timeout_ms * RDISK_MSEC;
    }
    machine->attempt_ends = now + (machine->opens_until > now
                                       ? (machine->opens_until - now) /
                                             rdisk_servers_left(servers)
                                       : 0);
}

void rdisk_initiator_set_deadline(struct rdisk_initiator *session,
                                  enum rdisk_deadline deadline)
{
    struct rdisk_state_machine *machine = &session->machine;
    uint64_t now = rdisk_now(session->env);

    if (deadline == RDISK_DEADLINE_KEEP) {
        return;
    }
    if (deadline == RDISK_DEADLINE_NAME) {
        begin_attempt(session, now);
    }
    machine->deadline = deadline;
    machine->deadline_at = deadline == RDISK_DEADLINE_NONE
                               ? RDISK_NEVER
                               : now + duration(session, deadline, now);
}

/* ---- Its end ------------------------------------------------------------ */

static void open_timeout(struct rdisk_initiator *session)
{
    char failures[RDISK_FAILURES_TEXT + 40];

    rdisk_initiator_raise_lost(
        session, -ETIMEDOUT,
        "%s: not open within open-timeout=%g seconds, still %s%s",
        session->peer, session->options.open_timeout_ms / 1000.0,
        rdisk_initiator_state_name(rdisk_initiator_state(session)),
        rdisk_initiator_failures(session, failures, sizeof(failures)));
}

/* The address has not connected within its share of open-timeout. */
static void address_timeout(struct rdisk_initiator *session)
{
    struct rdisk_error err;

    rdisk_error_set(&err, -ETIMEDOUT, "no connection to %s in time",
                    session->server.where);
    if (rdisk_initiator_addresses_left(session)) {
        rdisk_initiator_raise_error(session, RDISK_EVENT_ADDRESS_FAILED, &err);
        return;
    }
    if (!rdisk_servers_host(&session->servers)->literal) {
        rdisk_initiator_note_address(session, &err);
    }
    open_timeout(session);
}

static void close_timeout(struct rdisk_initiator *session)
{
    struct rdisk_error err;

    rdisk_error_set(&err, -ETIMEDOUT,
                    "%s: CLOSE is not answered within open-timeout=%g seconds: "
                    "the server may keep the volume for this client",
                    session->peer, session->options.open_timeout_ms / 1000.0);
    rdisk_initiator_raise_error(session, RDISK_EVENT_CLOSE_TIMEOUT, &err);
}

void rdisk_initiator_deadline_over(struct rdisk_initiator *session)
{
    switch (session->machine.deadline) {
    case RDISK_DEADLINE_NAME:
        rdisk_initiator_name_late(session);
        break;
    case RDISK_DEADLINE_ADDRESS:
        address_timeout(session);
        break;
    case RDISK_DEADLINE_OPEN:
        open_timeout(session);
        break;
    case RDISK_DEADLINE_DRAIN:
        rdisk_initiator_raise(session, RDISK_EVENT_DRAIN_TIMEOUT);
        break;
    case RDISK_DEADLINE_QUIESCE:
        rdisk_initiator_raise(session, RDISK_EVENT_QUIESCE_TIMEOUT);
        break;
    case RDISK_DEADLINE_BACKOFF:
        rdisk_initiator_raise(session, RDISK_EVENT_BACKOFF_OVER);
        break;
    case RDISK_DEADLINE_CLOSE:
        close_timeout(session);
        break;
    case RDISK_DEADLINE_KEEP:
    case RDISK_DEADLINE_NONE:
        assert(!"a deadline that no state has");
    }
}
