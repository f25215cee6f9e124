/* SPDX-License-Identifier: BSD-3-Clause */
/* CREATE, DELETE or SNAPSHOT, instead of OPEN: the owner carries it out, or
 * refuses to. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "transport/target/session.h"

enum rdisk_target_event rdisk_target_session_create_volume(
    struct rdisk_target_session *session, const void *message)
{
    const struct rdisk_wire_create *wire = message;
    struct rdisk_create_request *request = &session->create;

    memcpy(request->volume, wire->name, le16toh(wire->name_length));
    request->size = le64toh(wire->size);
    request->exclusive = le32toh(wire->flags) & RDISK_CREATE_EXCLUSIVE;
    session->create_sequence = wire->message.sequence;
    return RDISK_TARGET_ON_CREATE;
}

enum rdisk_target_event rdisk_target_session_delete_volume(
    struct rdisk_target_session *session, const void *message)
{
    const struct rdisk_wire_delete *wire = message;
    struct rdisk_create_request *request = &session->create;

    memcpy(request->volume, wire->name, le16toh(wire->name_length));
    request->deletes = true;
    session->create_sequence = wire->message.sequence;
    return RDISK_TARGET_ON_CREATE;
}

enum rdisk_target_event rdisk_target_session_snapshot(
    struct rdisk_target_session *session, const void *message)
{
    const struct rdisk_wire_snapshot *wire = message;
    struct rdisk_create_request *request = &session->create;

    request->action = le32toh(wire->action);
    memcpy(request->volume, wire->name, le16toh(wire->name_length));
    memcpy(request->target, wire->target, le16toh(wire->target_length));
    session->create_sequence = wire->message.sequence;
    return RDISK_TARGET_ON_CREATE;
}

/* What each has of its own. */
struct kind {
    enum rdisk_message_type reply;
    uint64_t feature;
    const char *does, *done;
};

static const struct kind *kind_of(const struct rdisk_create_request *request)
{
    static const struct kind create = {
        RDISK_MSG_CREATE_REPLY,
        RDISK_FEATURE_CREATE,
        "creates no volumes",
        "created",
    };
    static const struct kind delete = {
        RDISK_MSG_DELETE_REPLY,
        RDISK_FEATURE_DELETE,
        "deletes no volumes",
        "deleted",
    };
    static const struct kind flatten = {
        RDISK_MSG_SNAPSHOT_REPLY,
        RDISK_FEATURE_FLATTEN,
        "flattens no volumes",
        "flattened",
    };
    static const struct kind snapshot = {
        RDISK_MSG_SNAPSHOT_REPLY,
        RDISK_FEATURE_SNAPSHOT,
        "makes no snapshots and clones",
        "made, or reverted to,",
    };

    switch (request->action) {
    case RDISK_SNAPSHOT_NONE:
        return request->deletes ? &delete : &create;
    case RDISK_SNAPSHOT_FLATTEN:
        return &flatten;
    default:
        return &snapshot;
    }
}

static enum rdisk_message_type reply_type(
    const struct rdisk_target_session *session)
{
    return kind_of(&session->create)->reply;
}

void rdisk_target_session_paused(struct rdisk_target_session *session,
                                 uint64_t pause)
{
    session->pause = pause;
}

void rdisk_target_session_flattens(struct rdisk_target_session *session,
                                   uint64_t done, uint64_t size)
{
    session->pause = done;
    session->flattens = size;
}

static enum rdisk_status ask(struct rdisk_target_session *session,
                             struct rdisk_error *err)
{
    const struct rdisk_target *target = session->target;
    struct rdisk_create_request request = session->create;
    const struct kind *kind = kind_of(&request);

    if (!target->events->create || !(session->features & kind->feature)) {
        rdisk_error_set(err, -ENOTSUP, "this server %s for clients",
                        kind->does);
        return RDISK_STATUS_UNSUPPORTED;
    }
    request.peer = session->request.peer;
    request.user = session->request.user;
    return target->events->create(target->opaque, session, &request,
                                  &session->user, err);
}

static enum rdisk_target_event answer(struct rdisk_target_session *session,
                                      enum rdisk_status status,
                                      const char *text)
{
    return status == RDISK_STATUS_OK
               ? RDISK_TARGET_ON_CREATED
               : rdisk_target_session_refused(session, reply_type(session),
                                              le32toh(session->create_sequence),
                                              status, text);
}

enum rdisk_target_event rdisk_target_session_ask_create(
    struct rdisk_target_session *session)
{
    struct rdisk_error err = { 0 };
    enum rdisk_status status = ask(session, &err);

    if (status != RDISK_LATER) {
        return answer(session, status, err.text);
    }
    session->owner_knows = session->user;
    session->why = err;
    return RDISK_TARGET_NO_EVENT;
}

static enum rdisk_target_event reply_snapshot(
    struct rdisk_target_session *session)
{
    static const char *const done[] = {
        [RDISK_SNAPSHOT_TAKE] = "took snapshot",
        [RDISK_SNAPSHOT_REVERT] = "reverted to",
        [RDISK_SNAPSHOT_CLONE] = "cloned",
        [RDISK_SNAPSHOT_FLATTEN] = "flattens",
    };
    struct rdisk_wire_snapshot_reply reply = {
        .message.type = htole16(RDISK_MSG_SNAPSHOT_REPLY),
        .message.sequence = session->create_sequence,
        .pause = htole64(session->pause),
        .size = htole64(session->flattens),
    };
    const struct rdisk_create_request *request = &session->create;

    /* A client asks how far it is once in a while. */
    rdisk_log(session->target->env,
              request->action == RDISK_SNAPSHOT_FLATTEN ? RDISK_LOG_DEBUG
                                                        : RDISK_LOG_INFO,
              "%s: %s '%s'%s%s", session->request.peer, done[request->action],
              request->volume, request->target[0] ? " as " : "",
              request->target);
    return rdisk_target_session_reply(session, &reply.message, sizeof(reply));
}

enum rdisk_target_event rdisk_target_session_reply_created(
    struct rdisk_target_session *session)
{
    struct rdisk_wire_message reply = {
        .type = htole16(reply_type(session)),
        .sequence = session->create_sequence,
    };
    const struct rdisk_create_request *request = &session->create;

    if (request->action) {
        return reply_snapshot(session);
    }
    if (request->deletes) {
        rdisk_log(session->target->env, RDISK_LOG_INFO,
                  "%s: deleted volume '%s'", session->request.peer,
                  request->volume);
    } else {
        rdisk_log(session->target->env, RDISK_LOG_INFO,
                  "%s: created volume '%s', %llu bytes", session->request.peer,
                  request->volume, (unsigned long long)request->size);
    }
    return rdisk_target_session_reply(session, &reply, sizeof(reply));
}

enum rdisk_target_event rdisk_target_session_create_late(
    struct rdisk_target_session *session)
{
    const struct rdisk_error *why = &session->why;
    struct rdisk_error err;

    rdisk_error_set(
        &err, -ETIMEDOUT,
        "volume '%s' was not %s within %g seconds, but may be later: %s",
        session->create.volume, kind_of(&session->create)->done,
        session->target->options.open_timeout_ms / 1000.0,
        why->code ? why->text : "the server is not ready");
    return answer(session, RDISK_STATUS_BUSY, err.text);
}

void rdisk_target_session_created(struct rdisk_target_session *session,
                                  enum rdisk_status status,
                                  const struct rdisk_error *err)
{
    RDISK_USE(session->target);

    assert(status < RDISK_STATUS_COUNT);
    session->owner_knows = false;
    if (session->state == RDISK_TARGET_CREATING) {
        rdisk_target_session_step(session, answer(session, status,
                                                  err ? err->text : ""));
    }
}
