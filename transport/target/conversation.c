/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The conversation with a client: which message is allowed in which state, what
 * handles it, and deadlines.
 */
#include <stdio.h>

#include "transport/base/least.h"
#include "transport/target/session.h"

/* Then the other sessions have their turn: a client may send without a
 * break. */
#define MESSAGES_PER_TURN (2u * RDISK_CONTROL_DEPTH)

/* ---- Messages that need no file of their own --------------------------- */

static enum rdisk_target_event hello(struct rdisk_target_session *session,
                                     const void *message)
{
    const struct rdisk_wire_hello *wire = message;
    bool demand = session->target->options.authenticate;
    uint64_t known = RDISK_FEATURES_KNOWN &
                     ~session->target->options.withheld_features &
                     ~(session->target->events->slots_returned
                           ? 0
                           : RDISK_FEATURE_SLOTS);
    uint64_t unknown = le64toh(wire->required) & ~known;
    uint64_t features = le64toh(wire->features) & known;
    struct rdisk_wire_hello reply = {
        .message.type = htole16(RDISK_MSG_HELLO_REPLY),
        .message.sequence = wire->message.sequence,
        .features = htole64(features),
        .auth = htole32(demand ? RDISK_AUTH_HMAC_SHA256 : RDISK_AUTH_NONE),
    };
    enum rdisk_target_event event;

    if (unknown) {
        char text[128];

        snprintf(text, sizeof(text),
                 "the client needs features 0x%llx, "
                 "which this server does not have",
                 (unsigned long long)unknown);
        return rdisk_target_session_refused(session, RDISK_MSG_HELLO_REPLY,
                                            le32toh(wire->message.sequence),
                                            RDISK_STATUS_UNSUPPORTED, text);
    }
    session->features = features;
    session->auth.offered = le64toh(wire->features);
    session->auth.required = le64toh(wire->required);
    session->auth.chosen = features;
    event = rdisk_target_session_reply(session, &reply.message, sizeof(reply));
    return event    ? event
           : demand ? RDISK_TARGET_ON_DEMAND
                    : RDISK_TARGET_ON_HELLO;
}

static enum rdisk_target_event ping(struct rdisk_target_session *session,
                                    const void *message)
{
    struct rdisk_wire_ping pong = *(const struct rdisk_wire_ping *)message;

    pong.message.type = htole16(RDISK_MSG_PONG);
    return rdisk_target_session_reply(session, &pong.message, sizeof(pong));
}

/* Nothing to do: any message counts for liveness. */
static enum rdisk_target_event pong(struct rdisk_target_session *session,
                                    const void *message)
{
    return RDISK_TARGET_NO_EVENT;
}

static enum rdisk_target_event close_session(
    struct rdisk_target_session *session, const void *message)
{
    const struct rdisk_wire_message *wire = message;

    session->close_sequence = wire->sequence;
    return RDISK_TARGET_ON_CLOSE;
}

/* ---- Types and states -------------------------------------------------- */

#define IN(state)  (1u << RDISK_TARGET_##state)
#define IN_SESSION (IN(WAIT_JOIN) | IN(OPEN))

/* Besides rdisk_messages[]; a type without a handler is not for a server. */
static const struct {
    unsigned int states;
    enum rdisk_target_event (*handle)(struct rdisk_target_session *session,
                                      const void *message);
} messages[RDISK_MSG_COUNT] = {
    [RDISK_MSG_HELLO] = { IN(WAIT_HELLO), hello },
    [RDISK_MSG_AUTH] = { IN(WAIT_AUTH), rdisk_target_session_auth },
    [RDISK_MSG_AUTH_PROOF] = { IN(WAIT_PROOF), rdisk_target_session_proof },
    [RDISK_MSG_OPEN] = { IN(WAIT_OPEN), rdisk_target_session_open },
    [RDISK_MSG_CREATE] = { IN(WAIT_OPEN), rdisk_target_session_create_volume },
    [RDISK_MSG_DELETE] = { IN(WAIT_OPEN), rdisk_target_session_delete_volume },
    [RDISK_MSG_LIST] = { IN(WAIT_OPEN), rdisk_target_session_list },
    [RDISK_MSG_SNAPSHOT] = { IN(WAIT_OPEN), rdisk_target_session_snapshot },
    [RDISK_MSG_PING] = { IN_SESSION, ping },
    [RDISK_MSG_PONG] = { IN_SESSION, pong },
    [RDISK_MSG_CLOSE] = { IN_SESSION, close_session },
    [RDISK_MSG_RESIZE] = { IN_SESSION, rdisk_target_session_asked_resize },
    [RDISK_MSG_STAT] = { IN_SESSION, rdisk_target_session_asked_stat },
    [RDISK_MSG_SLOTS_WANT] = { IN_SESSION, rdisk_target_session_wants },
    [RDISK_MSG_SLOTS_RETURN] = { IN_SESSION, rdisk_target_session_returned },
    [RDISK_MSG_SLOTS_ACK] = { IN_SESSION, rdisk_target_session_acknowledged },
};

static enum rdisk_target_event unexpected(struct rdisk_target_session *session,
                                          unsigned int type)
{
    char text[128];

    snprintf(text, sizeof(text), "unexpected %s in state %s",
             rdisk_message_name(type), rdisk_target_state_name(session->state));
    return rdisk_target_session_violated(session, RDISK_STATUS_BAD_MESSAGE,
                                         text);
}

static enum rdisk_target_event malformed(
    struct rdisk_target_session *session, enum rdisk_status check,
    const struct rdisk_wire_message *message, const char *text)
{
    /* An OPEN with a bad name or flag deserves its answer as such. */
    if (check != RDISK_STATUS_BAD_MESSAGE &&
        le16toh(message->type) == RDISK_MSG_OPEN &&
        session->state == RDISK_TARGET_WAIT_OPEN) {
        return rdisk_target_session_refused(session, RDISK_MSG_OPEN_REPLY,
                                            le32toh(message->sequence), check,
                                            text);
    }
    return rdisk_target_session_violated(session, check, text);
}

static void receive(struct rdisk_target_session *session,
                    const struct rdisk_control_message *received)
{
    const struct rdisk_wire_message *message = &received->message;
    unsigned int type = le16toh(message->type);
    enum rdisk_target_event event;

    if (rdisk_target_session_ignores(session)) {
        return;
    }
    rdisk_target_liveness_message(session);
    if (rdisk_target_session_waits(session)) {
        session->target->admission.served = true;
    }
    if (received->check != RDISK_STATUS_OK) {
        event = malformed(session, received->check, message,
                          received->err.text);
    } else if (!(messages[type].states & 1u << session->state)) {
        event = unexpected(session, type);
    } else {
        event = messages[type].handle(session, message);
    }
    rdisk_target_session_step(session, event);
}

static void receive_some(struct rdisk_target_session *session)
{
    struct rdisk_control_message message;
    unsigned int taken = 0;

    if (!session->readable && !session->more) {
        return;
    }
    session->readable = false;
    rdisk_control_take_events(&session->control);
    while (taken < MESSAGES_PER_TURN &&
           rdisk_control_next(&session->control, &message)) {
        receive(session, &message);
        taken++;
    }
    session->more = taken == MESSAGES_PER_TURN;
}

/* ---- Time -------------------------------------------------------------- */

uint64_t rdisk_target_session_deadline(
    const struct rdisk_target_session *session)
{
    uint64_t deadline = session->deadline;

    if (session->more) {
        return 0;
    }
    if (rdisk_target_session_watched(session)) {
        deadline = rdisk_least(deadline,
                               rdisk_target_liveness_deadline(session));
        deadline = rdisk_least(deadline,
                               rdisk_target_session_calls_deadline(session));
    }
    return deadline;
}

/* Liveness of the client, and the time limit of calls at the owner. */
static enum rdisk_target_event watch(struct rdisk_target_session *session,
                                     uint64_t now)
{
    rdisk_target_liveness_probe(session, now);
    if (rdisk_target_liveness_lost(session, now)) {
        return RDISK_TARGET_ON_CUT;
    }
    return rdisk_target_session_calls_late(session, now);
}

void rdisk_target_session_process(struct rdisk_target_session *session,
                                  uint64_t now)
{
    receive_some(session);
    if (session->state == RDISK_TARGET_ENDED) {
        return;
    }
    if (atomic_load(&session->control.qp.broken) &&
        session->state != RDISK_TARGET_DENY_LEFT) {
        rdisk_log(session->target->env, RDISK_LOG_WARNING,
                  "%s: the control connection broke", session->request.peer);
        rdisk_target_session_step(session, RDISK_TARGET_ON_LOST);
    }
    if (rdisk_target_session_watched(session)) {
        rdisk_target_session_report_size(session);
        rdisk_target_session_step(session, watch(session, now));
    }
    if (now >= session->deadline) {
        rdisk_target_session_step(session, RDISK_TARGET_ON_DEADLINE);
    }
}
