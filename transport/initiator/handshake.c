/* SPDX-License-Identifier: BSD-3-Clause */
/* The client's part of the conversation on the control queue. */
#include <errno.h>
#include <string.h>

#include "transport/initiator/session.h"

void rdisk_initiator_send(struct rdisk_initiator *session,
                          struct rdisk_wire_message *message, size_t size)
{
    struct rdisk_error err;

    if (!rdisk_control_send(&session->control, message, size)) {
        rdisk_error_set(&err, -EIO, "cannot send a control message to %s:%u",
                        session->options.host, session->options.port);
        rdisk_initiator_fail(session, &err);
    }
}

void rdisk_initiator_say_hello(struct rdisk_initiator *session)
{
    struct rdisk_wire_hello hello = {
        .message.type = htole16(RDISK_MSG_HELLO),
        .features = htole64(RDISK_FEATURES_KNOWN),
    };

    session->auth = (struct rdisk_auth) { .offered = RDISK_FEATURES_KNOWN };
    rdisk_initiator_set_state(session, RDISK_INITIATOR_HELLO_SENT);
    rdisk_initiator_send(session, &hello.message, sizeof(hello));
}

void rdisk_initiator_say_open(struct rdisk_initiator *session)
{
    const struct rdisk_initiator_options *options = &session->options;
    uint32_t flags = (options->read_only ? RDISK_OPEN_READ_ONLY : 0) |
                     (options->shared ? RDISK_OPEN_SHARED : 0);
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

    if (session->make_size) {
        rdisk_initiator_say_create(session);
        return;
    }
    memcpy(open.client, session->client, sizeof(open.client));
    memcpy(open.name, options->volume, length);
    rdisk_initiator_set_state(session, RDISK_INITIATOR_OPENING);
    rdisk_initiator_send(session, &open.message, sizeof(open));
}

void rdisk_initiator_say_ping(struct rdisk_initiator *session)
{
    struct rdisk_wire_ping ping = {
        .message.type = htole16(RDISK_MSG_PING),
    };

    if (!session->ping_sent) {
        session->ping_sent = true;
        session->ping_time = rdisk_now(session->env);
        ping.payload = htole64(session->ping_time);
        rdisk_initiator_send(session, &ping.message, sizeof(ping));
    }
}

int rdisk_initiator_ping(struct rdisk_initiator *session,
                         void (*done)(void *opaque, uint64_t round_trip),
                         void *opaque)
{
    if (rdisk_initiator_state(session) != RDISK_INITIATOR_READY) {
        return -ENOTCONN;
    }
    if (session->ping_sent) {
        return -EBUSY;
    }
    session->pong = done;
    session->pong_opaque = opaque;
    rdisk_initiator_say_ping(session);
    return 0;
}

static void fail_status(struct rdisk_initiator *session,
                        const struct rdisk_wire_message *message,
                        const char *what)
{
    char text[RDISK_TEXT_MAX + 1];
    unsigned int status = le16toh(message->status);
    struct rdisk_error err;

    rdisk_wire_text(message, text, sizeof(text));
    rdisk_error_set(&err, status ? rdisk_status_to_errno(status) : -ESHUTDOWN,
                    "%s:%u %s: %.200s", session->options.host,
                    session->options.port, what, text);
    if (status == RDISK_STATUS_STALE) {
        /* Somebody newer has the volume: never again. */
        rdisk_initiator_end(session, &err);
    } else {
        rdisk_initiator_fail(session, &err);
    }
}

/* A server that shuts down still answers what is on its way. */
static void bye(struct rdisk_initiator *session,
                const struct rdisk_wire_message *message)
{
    char text[RDISK_TEXT_MAX + 1];
    struct rdisk_error err;

    if (le16toh(message->status) != RDISK_STATUS_SHUTTING_DOWN ||
        rdisk_initiator_state(session) != RDISK_INITIATOR_READY) {
        fail_status(session, message, "ended the session");
        return;
    }
    rdisk_wire_text(message, text, sizeof(text));
    rdisk_error_set(&err, -ESHUTDOWN, "%s:%u ended the session: %.200s",
                    session->options.host, session->options.port, text);
    rdisk_initiator_drain(session, &err);
}

void rdisk_initiator_bad_message(struct rdisk_initiator *session,
                                 const char *text)
{
    struct rdisk_error err;

    rdisk_error_set(&err, -EPROTO, "%s:%u breaks the protocol: %.200s",
                    session->options.host, session->options.port, text);
    rdisk_initiator_end(session, &err);
}

static void hello_reply(struct rdisk_initiator *session,
                        const struct rdisk_wire_hello *reply)
{
    uint64_t features = le64toh(reply->features);

    if (features & ~RDISK_FEATURES_KNOWN) {
        rdisk_initiator_bad_message(session, "it chose features that were not "
                                    "offered");
        return;
    }
    if (!session->established) {
        session->info.fua = features & RDISK_FEATURE_FUA;
    } else if (session->info.fua && !(features & RDISK_FEATURE_FUA)) {
        rdisk_initiator_bad_message(session, "it has forgotten FUA since the "
                                    "last connection");
        return;
    }
    session->steps.hello = rdisk_initiator_step(session);
    session->auth.chosen = features;
    rdisk_initiator_authenticate(session, le32toh(reply->auth));
}

/* What the server tells of the volume, the first time. */
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

/* After a reconnect: does all that was promised to the owner still hold? */
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
        rdisk_error_set(&err, -ESTALE, "volume '%s' of %s:%u is not the one "
                        "that was lost: it has been replaced",
                        options->volume, options->host, options->port);
    } else if (!same_volume(session, reply)) {
        rdisk_error_set(&err, -ESTALE, "volume '%s' of %s:%u came back "
                        "smaller, read-only, or with other limits",
                        options->volume, options->host, options->port);
    } else if (le64toh(reply->generation) != info->generation) {
        rdisk_error_set(&err, -ESTALE, "%s:%u changed the lease of volume "
                        "'%s' from generation %llu to %llu", options->host,
                        options->port, options->volume,
                        (unsigned long long)info->generation,
                        (unsigned long long)le64toh(reply->generation));
    } else {
        return true;
    }
    rdisk_initiator_end(session, &err);
    return false;
}

static bool within_wishes(const struct rdisk_initiator *session,
                          const struct rdisk_wire_open_reply *reply)
{
    const struct rdisk_initiator_options *options = &session->options;

    return le64toh(reply->epoch) == session->epoch &&
           le16toh(reply->queues) <= options->queues &&
           le16toh(reply->slots) <= options->slots &&
           le32toh(reply->slot_size) <= options->slot_size;
}

static void open_reply(struct rdisk_initiator *session,
                       const struct rdisk_wire_open_reply *reply)
{
    struct rdisk_volume_info *info = &session->info;

    if (!within_wishes(session, reply)) {
        rdisk_initiator_bad_message(session, "it granted more than was asked "
                                    "for");
        return;
    }
    if (!session->established) {
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
    memcpy(session->token, reply->token, sizeof(session->token));
    session->granted_slots = info->slots;
    session->server_session = le64toh(reply->session);
    session->control.epoch = session->epoch;
    session->steps.open = rdisk_initiator_step(session);
    rdisk_initiator_join(session);
}

static void pong(struct rdisk_initiator *session,
                 const struct rdisk_wire_ping *ping)
{
    void (*callback)(void *opaque, uint64_t round_trip) = session->pong;

    if (!session->ping_sent || le64toh(ping->payload) != session->ping_time) {
        rdisk_initiator_bad_message(session, "PONG answers no PING");
        return;
    }
    session->ping_sent = false;
    session->pong = NULL;
    if (callback) {
        callback(session->pong_opaque,
                 rdisk_now(session->env) - session->ping_time);
    }
}

/* Is this message due in the state we are in? */
static bool expected(enum rdisk_initiator_state state, unsigned int type)
{
    switch (type) {
    case RDISK_MSG_HELLO_REPLY:
        return state == RDISK_INITIATOR_HELLO_SENT;
    case RDISK_MSG_AUTH_CHALLENGE:
        return state == RDISK_INITIATOR_AUTH_SENT;
    case RDISK_MSG_AUTH_REPLY:
        return state == RDISK_INITIATOR_PROOF_SENT;
    case RDISK_MSG_OPEN_REPLY:
        return state == RDISK_INITIATOR_OPENING;
    case RDISK_MSG_CREATE_REPLY:
        return state == RDISK_INITIATOR_CREATING;
    case RDISK_MSG_CLOSE_REPLY:
        return state == RDISK_INITIATOR_CLOSING;
    case RDISK_MSG_PING:
    case RDISK_MSG_PONG:
    case RDISK_MSG_VOLUME_CHANGED:
    case RDISK_MSG_RESIZE_REPLY:
    case RDISK_MSG_STAT_REPLY:
        return state >= RDISK_INITIATOR_JOINING;
    default:
        return false;
    }
}

void rdisk_initiator_message(void *opaque, enum rdisk_status check,
                             const struct rdisk_wire_message *message,
                             const struct rdisk_error *err)
{
    struct rdisk_initiator *session = opaque;
    enum rdisk_initiator_state state = rdisk_initiator_state(session);
    unsigned int type = le16toh(message->type);

    if (state == RDISK_INITIATOR_QUIESCING || state >= RDISK_INITIATOR_CLOSED) {
        return;
    }
    if (check != RDISK_STATUS_OK) {
        rdisk_initiator_bad_message(session, err->text);
        return;
    }
    session->heard = rdisk_now(session->env);
    if (type == RDISK_MSG_BYE) {
        bye(session, message);
        return;
    }
    if (!expected(state, type)) {
        rdisk_initiator_bad_message(session, "a message came out of turn");
        return;
    }
    if (type == RDISK_MSG_RESIZE_REPLY || type == RDISK_MSG_STAT_REPLY) {
        rdisk_initiator_answer(session, message);
        return;
    }
    if (le16toh(message->status)) {
        fail_status(session, message, "refused");
        return;
    }
    switch (type) {
    case RDISK_MSG_HELLO_REPLY:
        hello_reply(session, (const struct rdisk_wire_hello *)message);
        break;
    case RDISK_MSG_AUTH_CHALLENGE:
        rdisk_initiator_challenge(
            session, (const struct rdisk_wire_auth_challenge *)message);
        break;
    case RDISK_MSG_AUTH_REPLY:
        rdisk_initiator_auth_reply(
            session, (const struct rdisk_wire_auth_proof *)message);
        break;
    case RDISK_MSG_OPEN_REPLY:
        open_reply(session, (const struct rdisk_wire_open_reply *)message);
        break;
    case RDISK_MSG_PING: {
        struct rdisk_wire_ping reply = *(const struct rdisk_wire_ping *)message;

        reply.message.type = htole16(RDISK_MSG_PONG);
        rdisk_initiator_send(session, &reply.message, sizeof(reply));
        break;
    }
    case RDISK_MSG_PONG:
        pong(session, (const struct rdisk_wire_ping *)message);
        break;
    case RDISK_MSG_CREATE_REPLY:
        rdisk_initiator_created(session);
        break;
    case RDISK_MSG_VOLUME_CHANGED:
        rdisk_initiator_changed(session,
                                (const struct rdisk_wire_size *)message);
        break;
    case RDISK_MSG_CLOSE_REPLY:
        rdisk_initiator_set_state(session, RDISK_INITIATOR_CLOSED);
        break;
    }
}
