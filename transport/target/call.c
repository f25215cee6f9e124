/* SPDX-License-Identifier: BSD-3-Clause */
/* What a client asks about its volume, and what it is told of it unasked. */
#include <errno.h>
#include <string.h>

#include "transport/target/session.h"

/* Unlike a refused OPEN, this is not the end of the session. */
static void refuse(struct rdisk_target_session *session,
                   enum rdisk_message_type type, uint32_t sequence,
                   enum rdisk_status status, const char *text)
{
    rdisk_log(session->target->env, RDISK_LOG_WARNING, "%s: refused: %s",
              session->request.peer, text);
    if (!rdisk_control_refuse(&session->control, type, sequence, status,
                              text)) {
        rdisk_target_session_cut(session);
    }
}

/* ---- CREATE, instead of OPEN ------------------------------------------- */

void rdisk_target_session_asked_create(struct rdisk_target_session *session,
                                       const struct rdisk_wire_create *wire)
{
    const struct rdisk_target *target = session->target;
    struct rdisk_create_request request = {
        .peer = session->request.peer,
        .user = session->request.user,
        .size = le64toh(wire->size),
        .exclusive = le32toh(wire->flags) & RDISK_CREATE_EXCLUSIVE,
    };
    struct rdisk_wire_message reply = {
        .type = htole16(RDISK_MSG_CREATE_REPLY),
        .sequence = wire->message.sequence,
    };
    struct rdisk_error err = { 0 };
    enum rdisk_status status = RDISK_STATUS_UNSUPPORTED;

    memcpy(request.volume, wire->name, le16toh(wire->name_length));
    if (target->events->create && (session->features & RDISK_FEATURE_CREATE)) {
        status = target->events->create(target->opaque, &request, &err);
    } else {
        rdisk_error_set(&err, -ENOTSUP, "this server makes no volumes for its "
                        "clients");
    }
    if (status != RDISK_STATUS_OK) {
        rdisk_target_session_refuse(session, le32toh(wire->message.sequence),
                                    RDISK_MSG_CREATE_REPLY, status, err.text);
        return;
    }
    rdisk_log(target->env, RDISK_LOG_INFO, "%s: made volume '%s', %llu bytes",
              session->request.peer, request.volume,
              (unsigned long long)request.size);
    rdisk_target_session_leave(session);
    rdisk_target_session_reply(session, &reply, sizeof(reply));
}

/* ---- RESIZE ------------------------------------------------------------ */

static enum rdisk_status resize(struct rdisk_target_session *session,
                                uint64_t size, bool shrink,
                                struct rdisk_error *err)
{
    const struct rdisk_target *target = session->target;

    if (!rdisk_target_session_has(session, RDISK_FEATURE_RESIZE,
                                  session->grant.resize)) {
        rdisk_error_set(err, -EPERM, "this client may not resize volume '%s'",
                        session->request.volume);
        return RDISK_STATUS_DENIED;
    }
    if (session->request.read_only) {
        rdisk_error_set(err, -EROFS, "volume '%s' is open read-only",
                        session->request.volume);
        return RDISK_STATUS_READ_ONLY;
    }
    if (size % session->grant.block_size) {
        rdisk_error_set(err, -EINVAL, "%llu bytes are not whole blocks of %u",
                        (unsigned long long)size, session->grant.block_size);
        return RDISK_STATUS_MISALIGNED;
    }
    return target->events->resize(target->opaque, session->user, size, shrink,
                                  err);
}

void rdisk_target_session_asked_resize(struct rdisk_target_session *session,
                                       const struct rdisk_wire_resize *wire)
{
    struct rdisk_wire_size reply = {
        .message.type = htole16(RDISK_MSG_RESIZE_REPLY),
        .message.sequence = wire->message.sequence,
        .size = wire->size,
    };
    struct rdisk_error err = { 0 };
    enum rdisk_status status;

    session->asking = true;
    status = resize(session, le64toh(wire->size),
                    le32toh(wire->flags) & RDISK_RESIZE_SHRINK, &err);
    session->asking = false;
    if (status != RDISK_STATUS_OK) {
        refuse(session, RDISK_MSG_RESIZE_REPLY,
               le32toh(wire->message.sequence), status, err.text);
        return;
    }
    rdisk_log(session->target->env, RDISK_LOG_INFO,
              "%s: resized volume '%s' to %llu bytes", session->request.peer,
              session->request.volume,
              (unsigned long long)le64toh(wire->size));
    rdisk_target_session_reply(session, &reply.message, sizeof(reply));
}

void rdisk_target_session_resize(struct rdisk_target_session *session,
                                 uint64_t size)
{
    atomic_store_explicit(&session->size, size, memory_order_relaxed);
    session->size_pending = !session->asking &&
                      (session->features & RDISK_FEATURE_RESIZE);
    rdisk_target_session_tell(session);
}

void rdisk_target_session_tell(struct rdisk_target_session *session)
{
    struct rdisk_wire_size event = {
        .message.type = htole16(RDISK_MSG_VOLUME_CHANGED),
        .size = htole64(atomic_load_explicit(&session->size,
                                             memory_order_relaxed)),
    };

    /* Without room now there is a completion to come, and then this again:
     * only the last size counts. */
    if (session->size_pending && session->state == RDISK_TARGET_OPEN &&
        rdisk_control_send(&session->control, &event.message,
                           sizeof(event))) {
        session->size_pending = false;
    }
}

bool rdisk_target_session_busy(const struct rdisk_target_session *session)
{
    for (const struct rdisk_target_queue *queue = session->queues; queue;
         queue = queue->next) {
        if (atomic_load_explicit(&queue->outstanding, memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

/* ---- STAT -------------------------------------------------------------- */

void rdisk_target_session_asked_stat(struct rdisk_target_session *session,
                                     const struct rdisk_wire_message *wire)
{
    const struct rdisk_target *target = session->target;
    struct rdisk_wire_stat_reply reply = {
        .message.type = htole16(RDISK_MSG_STAT_REPLY),
        .message.sequence = wire->sequence,
        .size = htole64(atomic_load_explicit(&session->size,
                                             memory_order_relaxed)),
    };
    struct rdisk_error err = { 0 };
    enum rdisk_status status = RDISK_STATUS_UNSUPPORTED;
    uint64_t allocated = 0;

    if (target->events->stat &&
        rdisk_target_session_has(session, RDISK_FEATURE_EXTENTS,
                                 session->grant.extents)) {
        status = target->events->stat(target->opaque, session->user,
                                      &allocated, &err);
    } else {
        rdisk_error_set(&err, -ENOTSUP, "volume '%s' does not tell what it "
                        "takes up", session->request.volume);
    }
    if (status != RDISK_STATUS_OK) {
        refuse(session, RDISK_MSG_STAT_REPLY, le32toh(wire->sequence), status,
               err.text);
        return;
    }
    reply.allocated = htole64(allocated);
    rdisk_target_session_reply(session, &reply.message, sizeof(reply));
}
