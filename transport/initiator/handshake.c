/* SPDX-License-Identifier: BSD-3-Clause */
/* The client's part of the conversation on the control connection. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "transport/initiator/session.h"

/* ---- Sending ------------------------------------------------------------ */

void rdisk_initiator_send(struct rdisk_initiator *session,
                          struct rdisk_wire_message *message, size_t size)
{
    RDISK_ASSERT_HOME(session);
    if (!rdisk_control_send(&session->connection.control, message, size)) {
        rdisk_initiator_raise_lost(session, -EIO,
                                   "cannot send a control message to %s",
                                   session->peer);
    }
}

void rdisk_initiator_send_hello(struct rdisk_initiator *session)
{
    uint64_t offered = RDISK_FEATURES_KNOWN &
                       ~session->options.withheld_features;
    struct rdisk_wire_hello hello = {
        .message.type = htole16(RDISK_MSG_HELLO),
        .features = htole64(offered),
    };

    session->handshake.auth = (struct rdisk_auth) {
        .offered = offered,
    };
    rdisk_initiator_send(session, &hello.message, sizeof(hello));
}

/* One that does not know that the volume may be written elsewhere might write
 * what it had received before. */
static bool knows_servers(struct rdisk_initiator *session)
{
    if (session->servers.count == 1 ||
        session->handshake.auth.chosen & RDISK_FEATURE_SERVERS) {
        return true;
    }
    rdisk_initiator_raise_lost(session, -ENOTSUP,
                               "%s is too old to be one of several servers: "
                               "update it, or name it alone",
                               session->peer);
    return false;
}

void rdisk_initiator_send_open(struct rdisk_initiator *session)
{
    const struct rdisk_initiator_options *options = &session->options;
    uint32_t flags = (options->read_only ? RDISK_OPEN_READ_ONLY : 0) |
                     (options->shared ? RDISK_OPEN_SHARED : 0) |
                     (session->servers.count > 1 ? RDISK_OPEN_SERVERS : 0);
    size_t length = strlen(options->volume);
    struct rdisk_wire_open open = {
        .message.type = htole16(RDISK_MSG_OPEN),
        .epoch = htole64(session->epoch),
        .flags = htole32(flags),
        .heartbeat_ms = htole32(options->heartbeat_ms),
        .queues = htole16((uint16_t)options->queues),
        .slots = htole16((uint16_t)options->slots),
        .slot_size = htole32(options->slot_size),
        .name_length = htole16((uint16_t)length),
        .generation = htole64(session->info.generation),
    };

    if (!knows_servers(session)) {
        return;
    }
    memcpy(open.client, session->handshake.client, sizeof(open.client));
    memcpy(open.name, options->volume, length);
    rdisk_initiator_send(session, &open.message, sizeof(open));
}

void rdisk_initiator_begin_close(struct rdisk_initiator *session)
{
    session->recovery.close_by = rdisk_now(session->env) +
                                 session->options.open_timeout_ms * RDISK_MSEC;
    rdisk_initiator_send_close(session);
}

void rdisk_initiator_send_close(struct rdisk_initiator *session)
{
    struct rdisk_wire_message message = {
        .type = htole16(RDISK_MSG_CLOSE),
    };
    struct rdisk_error err;

    if (!rdisk_control_send(&session->connection.control, &message,
                            sizeof(message))) {
        rdisk_connection_explain(session, &session->connection.control.qp,
                                 &err);
        rdisk_initiator_raise_error(session, RDISK_EVENT_CONTROL_ENDED, &err);
    }
}

/* ---- What ends a session or its connection ------------------------------ */

static int code_of(const struct rdisk_wire_message *message)
{
    unsigned int status = le16toh(message->status);

    return status ? rdisk_status_to_errno(status) : -ESHUTDOWN;
}

/* Another client has the volume: no other connection would help. */
static enum rdisk_session_event event_of(
    const struct rdisk_wire_message *message)
{
    return le16toh(message->status) == RDISK_STATUS_STALE ? RDISK_EVENT_FATAL
                                                          : RDISK_EVENT_LOST;
}

static void refused(struct rdisk_initiator *session,
                    const struct rdisk_wire_message *message)
{
    char text[RDISK_TEXT_MAX + 1];
    struct rdisk_error err;

    rdisk_wire_text(message, text, sizeof(text));
    rdisk_error_set(&err, code_of(message), "%s refused: %.200s", session->peer,
                    text);
    rdisk_initiator_raise_error(session, event_of(message), &err);
}

/* A server that shuts down still answers what is in flight. */
static void take_bye(struct rdisk_initiator *session,
                     const struct rdisk_wire_message *message)
{
    bool leaving = le16toh(message->status) == RDISK_STATUS_SHUTTING_DOWN &&
                   rdisk_initiator_state(session) == RDISK_INITIATOR_READY;
    char text[RDISK_TEXT_MAX + 1];
    struct rdisk_error err;

    rdisk_wire_text(message, text, sizeof(text));
    rdisk_error_set(&err, code_of(message), "%s ended the session: %.200s",
                    session->peer, text);
    rdisk_initiator_raise_error(session,
                                leaving ? RDISK_EVENT_SERVER_LEAVING
                                        : event_of(message),
                                &err);
}

/* Only what this client was given is a server to it: no server sends it
 * elsewhere. */
static void take_move(struct rdisk_initiator *session,
                      const struct rdisk_wire_message *message)
{
    const struct rdisk_wire_move *move = (const struct rdisk_wire_move *)
        message;
    const char *host = (const char *)move->host;
    bool known;

    if (!(session->handshake.auth.chosen & RDISK_FEATURE_MOVE)) {
        rdisk_initiator_bad_message(session, "MOVE without its feature");
        return;
    }
    known = rdisk_servers_move(&session->servers, host, le16toh(move->port));
    if (known) {
        rdisk_log(session->env, RDISK_LOG_INFO,
                  "%s hands this client over to server '%s', port %u",
                  session->peer, host, le16toh(move->port));
    } else {
        rdisk_log(session->env, RDISK_LOG_WARNING,
                  "%s hands this client over to server '%s', port %u, which is "
                  "not one of this client's: the next one of them follows",
                  session->peer, host, le16toh(move->port));
    }
}

void rdisk_initiator_bad_message(struct rdisk_initiator *session,
                                 const char *text)
{
    struct rdisk_error err;

    rdisk_error_set(&err, -EPROTO, "%s violates the protocol: %.200s",
                    session->peer, text);
    rdisk_initiator_raise_error(session, RDISK_EVENT_FATAL, &err);
}

/* ---- HELLO_REPLY -------------------------------------------------------- */

static void take_hello_reply(struct rdisk_initiator *session,
                             const struct rdisk_wire_message *message)
{
    const struct rdisk_wire_hello *reply = (const struct rdisk_wire_hello *)
        message;
    uint64_t features = le64toh(reply->features);

    if (features & ~session->handshake.auth.offered) {
        rdisk_initiator_bad_message(session, "it chose features that were not "
                                             "offered");
        return;
    }
    if (!session->recovery.established) {
        session->info.fua = features & RDISK_FEATURE_FUA;
    } else if (session->info.fua && !(features & RDISK_FEATURE_FUA)) {
        rdisk_initiator_bad_message(session, "it no longer has FUA, which it "
                                             "had at the last connection");
        return;
    }
    session->durations.steps.hello = rdisk_initiator_step(session);
    session->handshake.auth.chosen = features;
    rdisk_initiator_authenticate(session, le32toh(reply->auth));
}

/* ---- OPEN_REPLY --------------------------------------------------------- */

/* The volume's properties, from the first OPEN_REPLY. */
static void take_volume(struct rdisk_initiator *session,
                        const struct rdisk_wire_open_reply *reply)
{
    uint32_t flags = le32toh(reply->volume_flags);
    struct rdisk_volume_info *info = &session->info;

    info->size = le64toh(reply->size);
    info->block_size = le32toh(reply->block_size);
    info->optimal_size = le32toh(reply->optimal_size);
    info->max_transfer = le32toh(reply->slot_size);
    info->read_only = flags & RDISK_VOLUME_READ_ONLY;
    info->rotational = flags & RDISK_VOLUME_ROTATIONAL;
    info->discard = flags & RDISK_VOLUME_DISCARD;
    info->zeroes = flags & RDISK_VOLUME_ZEROES;
    info->extents = flags & RDISK_VOLUME_EXTENTS;
    info->copy = flags & RDISK_VOLUME_COPY;
    info->resize = flags & RDISK_VOLUME_RESIZE;
    info->queues = le16toh(reply->queues);
}

/* True if all that was promised to the owner still holds after a reconnect. */
static bool same_volume(const struct rdisk_initiator *session,
                        const struct rdisk_wire_open_reply *reply)
{
    const struct rdisk_volume_info *info = &session->info;
    bool read_only = le32toh(reply->volume_flags) & RDISK_VOLUME_READ_ONLY;

    return le64toh(reply->size) >= rdisk_initiator_least_size(session) &&
           le32toh(reply->block_size) <= info->block_size &&
           le32toh(reply->slot_size) == info->max_transfer &&
           le16toh(reply->queues) == info->queues &&
           (info->read_only || !read_only);
}

/* If not, the session has ended. */
static bool still_ours(struct rdisk_initiator *session,
                       const struct rdisk_wire_open_reply *reply)
{
    const struct rdisk_initiator_options *options = &session->options;
    const struct rdisk_volume_info *info = &session->info;
    struct rdisk_error err;

    if (memcmp(reply->identity, info->identity, sizeof(info->identity))) {
        rdisk_error_set(&err, -ESTALE,
                        "volume '%s' of %s is not the one that this client had "
                        "open: it has been replaced",
                        options->volume, session->peer);
    } else if (!same_volume(session, reply)) {
        rdisk_error_set(
            &err, -ESTALE,
            "volume '%s' of %s is now smaller, read-only, or has other limits",
            options->volume, session->peer);
    } else if (le64toh(reply->generation) != info->generation) {
        rdisk_error_set(&err, -ESTALE,
                        "%s changed the lease of volume '%s' "
                        "from generation %llu to %llu",
                        session->peer, options->volume,
                        (unsigned long long)info->generation,
                        (unsigned long long)le64toh(reply->generation));
    } else {
        return true;
    }
    rdisk_initiator_raise_error(session, RDISK_EVENT_FATAL, &err);
    return false;
}

static bool within_requested(const struct rdisk_initiator *session,
                             const struct rdisk_wire_open_reply *reply)
{
    const struct rdisk_initiator_options *options = &session->options;

    return le64toh(reply->epoch) == session->epoch &&
           le16toh(reply->queues) <= options->queues &&
           le16toh(reply->slots) <= options->slots &&
           le32toh(reply->slot_size) <= options->slot_size;
}

static void take_open_reply(struct rdisk_initiator *session,
                            const struct rdisk_wire_message *message)
{
    const struct rdisk_wire_open_reply *reply =
        (const struct rdisk_wire_open_reply *)message;
    struct rdisk_handshake *handshake = &session->handshake;
    struct rdisk_volume_info *info = &session->info;

    if (!within_requested(session, reply)) {
        rdisk_initiator_bad_message(session, "it granted more than was "
                                             "requested");
        return;
    }
    if (!session->recovery.established) {
        take_volume(session, reply);
        memcpy(info->identity, reply->identity, sizeof(info->identity));
    } else if (!still_ours(session, reply)) {
        return;
    } else {
        rdisk_initiator_size_back(session, le64toh(reply->size));
    }
    info->slots = le16toh(reply->slots);
    info->epoch = session->epoch;
    info->generation = le64toh(reply->generation);
    memcpy(info->instance, reply->instance, sizeof(info->instance));
    rdisk_initiator_take_cache(session, reply->cache);
    memcpy(handshake->token, reply->token, sizeof(handshake->token));
    handshake->server_session = le64toh(reply->session);
    handshake->resident = le32toh(reply->volume_flags) &
                              RDISK_VOLUME_RESIDENT &&
                          handshake->auth.chosen & RDISK_FEATURE_RESIDENT;
    session->queues.slots = info->slots;
    session->connection.control.epoch = session->epoch;
    session->durations.steps.open = rdisk_initiator_step(session);
    rdisk_initiator_raise(session, RDISK_EVENT_OPENED);
}

/* ---- The messages that a client takes ----------------------------------- */

static void take_snapshot_reply(struct rdisk_initiator *session,
                                const struct rdisk_wire_message *message)
{
    const struct rdisk_wire_snapshot_reply *reply =
        (const struct rdisk_wire_snapshot_reply *)message;

    if (session->handshake.instead != RDISK_MSG_SNAPSHOT) {
        rdisk_initiator_bad_message(session, "SNAPSHOT_REPLY without SNAPSHOT");
        return;
    }
    if (session->handshake.pause) {
        *session->handshake.pause = le64toh(reply->pause);
    }
    if (session->handshake.size) {
        *session->handshake.size = le64toh(reply->size);
    }
    rdisk_initiator_raise(session, RDISK_EVENT_CREATED);
}

/* To CREATE or to DELETE: only one of them was sent, or LIST. */
static void take_create_reply(struct rdisk_initiator *session,
                              const struct rdisk_wire_message *message)
{
    bool deleted = le16toh(message->type) == RDISK_MSG_DELETE_REPLY;

    if (session->handshake.instead !=
        (deleted ? RDISK_MSG_DELETE : RDISK_MSG_CREATE)) {
        rdisk_initiator_bad_message(session,
                                    deleted ? "DELETE_REPLY without DELETE"
                                            : "CREATE_REPLY without CREATE");
        return;
    }
    rdisk_initiator_raise(session, RDISK_EVENT_CREATED);
}

static void take_close_reply(struct rdisk_initiator *session,
                             const struct rdisk_wire_message *message)
{
    rdisk_initiator_raise(session, RDISK_EVENT_CLOSE_REPLIED);
}

#define AT(state)     RDISK_STATE_BIT(RDISK_INITIATOR_##state)
#define OPEN_STATES   (AT(JOINING) | AT(READY) | AT(DRAINING) | AT(CLOSING))
#define SERVED_STATES (AT(READY) | AT(DRAINING) | AT(CLOSING))
#define ANY_STATE \
    (AT(HELLO_SENT) | AT(AUTH_SENT) | AT(PROOF_SENT) | AT(OPENING) | \
     AT(CREATING) | OPEN_STATES)

/*
 * Number, name, size and check of each type are in the table of
 * wire/message.c. A refusal, of those that may be one, ends the connection
 * unless its handler takes refusals, too.
 */
static const struct message_type {
    unsigned int states; /* in which it may come */
    bool refusals;
    void (*take)(struct rdisk_initiator *session,
                 const struct rdisk_wire_message *message);
} messages[] = {
    [RDISK_MSG_HELLO_REPLY] = { AT(HELLO_SENT), false, take_hello_reply },
    [RDISK_MSG_AUTH_CHALLENGE] = { AT(AUTH_SENT), false,
                                   rdisk_initiator_take_challenge },
    [RDISK_MSG_AUTH_REPLY] = { AT(PROOF_SENT), false,
                               rdisk_initiator_take_proof },
    [RDISK_MSG_OPEN_REPLY] = { AT(OPENING), false, take_open_reply },
    [RDISK_MSG_CREATE_REPLY] = { AT(CREATING), false, take_create_reply },
    [RDISK_MSG_DELETE_REPLY] = { AT(CREATING), false, take_create_reply },
    [RDISK_MSG_LIST_REPLY] = { AT(CREATING), false, rdisk_initiator_take_list },
    [RDISK_MSG_SNAPSHOT_REPLY] = { AT(CREATING), false, take_snapshot_reply },
    [RDISK_MSG_PING] = { OPEN_STATES, false, rdisk_initiator_take_ping },
    [RDISK_MSG_PONG] = { OPEN_STATES, false, rdisk_initiator_take_pong },
    [RDISK_MSG_VOLUME_CHANGED] = { OPEN_STATES, false,
                                   rdisk_initiator_take_size },
    [RDISK_MSG_RESIZE_REPLY] = { OPEN_STATES, true,
                                 rdisk_initiator_take_answer },
    [RDISK_MSG_STAT_REPLY] = { OPEN_STATES, true, rdisk_initiator_take_answer },
    [RDISK_MSG_SLOTS_GRANT] = { SERVED_STATES, false,
                                rdisk_initiator_take_grant },
    [RDISK_MSG_SLOTS_RECALL] = { SERVED_STATES, false,
                                 rdisk_initiator_take_recall },
    [RDISK_MSG_SLOTS_ACK] = { SERVED_STATES, false,
                              rdisk_initiator_take_slots_ack },
    [RDISK_MSG_MOVE] = { OPEN_STATES, false, take_move },
    [RDISK_MSG_CLOSE_REPLY] = { AT(CLOSING), false, take_close_reply },
    [RDISK_MSG_BYE] = { ANY_STATE, true, take_bye },
};

static void unexpected(struct rdisk_initiator *session, unsigned int type)
{
    char text[128];

    snprintf(text, sizeof(text), "unexpected %s in state %s",
             rdisk_message_name(type),
             rdisk_initiator_state_name(rdisk_initiator_state(session)));
    rdisk_initiator_bad_message(session, text);
}

static void take(struct rdisk_initiator *session,
                 const struct rdisk_control_message *received)
{
    const struct rdisk_wire_message *message = &received->message;
    unsigned int type = le16toh(message->type);
    const struct message_type *row;

    if (received->check != RDISK_STATUS_OK) {
        rdisk_initiator_bad_message(session, received->err.text);
        return;
    }
    row = type < sizeof(messages) / sizeof(messages[0]) ? &messages[type]
                                                        : NULL;
    session->timers.last_message = rdisk_now(session->env);
    if (!row || !rdisk_initiator_in(session, row->states)) {
        unexpected(session, type);
    } else if (message->status && !row->refusals) {
        refused(session, message);
    } else {
        row->take(session, message);
    }
}

/* The channel of a removed device stays readable. */
static void unwatch_removed(struct rdisk_initiator *session)
{
    const struct rdisk_control *control = &session->connection.control;

    if (control->created && atomic_load(&control->qp.gone)) {
        epoll_ctl(session->poll_fd, EPOLL_CTL_DEL, rdisk_qp_fd(&control->qp),
                  NULL);
    }
}

bool rdisk_initiator_take_messages(struct rdisk_initiator *session)
{
    struct rdisk_connection *connection = &session->connection;
    struct rdisk_control_message message;
    unsigned int left = RDISK_EVENTS_PER_TURN;

    RDISK_ASSERT_HOME(session);
    if (!connection->control_up) {
        return true;
    }
    rdisk_control_take_events(&connection->control);
    while (left && connection->control.created &&
           rdisk_control_next(&connection->control, &message)) {
        left--;
        /* Else there is no conversation any more; a queue pair is emptied. */
        if (rdisk_initiator_takes_messages(session)) {
            take(session, &message);
            rdisk_initiator_run(session);
        }
    }
    unwatch_removed(session);
    return left;
}
