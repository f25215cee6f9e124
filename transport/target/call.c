/* SPDX-License-Identifier: BSD-3-Clause */
/* What a client asks about its volume, and what it is told of it unasked. */
#include <assert.h>
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

static void answer_create(struct rdisk_target_session *session,
                          enum rdisk_status status, const char *text)
{
    const struct rdisk_create_request *request = &session->create;
    struct rdisk_wire_message reply = {
        .type = htole16(RDISK_MSG_CREATE_REPLY),
        .sequence = session->create_sequence,
    };

    if (status != RDISK_STATUS_OK) {
        rdisk_target_session_refuse(session,
                                    le32toh(session->create_sequence),
                                    RDISK_MSG_CREATE_REPLY, status, text);
        return;
    }
    rdisk_log(session->target->env, RDISK_LOG_INFO,
              "%s: made volume '%s', %llu bytes", session->request.peer,
              request->volume, (unsigned long long)request->size);
    rdisk_target_session_leave(session);
    rdisk_target_session_reply(session, &reply, sizeof(reply));
}

static enum rdisk_status create(struct rdisk_target_session *session,
                                struct rdisk_error *err)
{
    const struct rdisk_target *target = session->target;
    struct rdisk_create_request request = session->create;

    if (!target->events->create || !(session->features &
                                     RDISK_FEATURE_CREATE)) {
        rdisk_error_set(err, -ENOTSUP, "this server makes no volumes for its "
                        "clients");
        return RDISK_STATUS_UNSUPPORTED;
    }
    request.peer = session->request.peer;
    request.user = session->request.user;
    return target->events->create(target->opaque, session, &request,
                                  &session->user, err);
}

void rdisk_target_session_asked_create(struct rdisk_target_session *session,
                                       const struct rdisk_wire_create *wire)
{
    struct rdisk_create_request *request = &session->create;
    struct rdisk_error err = { 0 };
    enum rdisk_status status;

    memcpy(request->volume, wire->name, le16toh(wire->name_length));
    request->size = le64toh(wire->size);
    request->exclusive = le32toh(wire->flags) & RDISK_CREATE_EXCLUSIVE;
    session->create_sequence = wire->message.sequence;
    status = create(session, &err);
    if (status != RDISK_LATER) {
        answer_create(session, status, err.text);
        return;
    }
    session->owner_knows = session->user;
    session->why = err;
    session->state = RDISK_TARGET_CREATING;
    session->deadline = rdisk_now(session->target->env) +
                        session->target->options.open_timeout_ms * RDISK_MSEC;
}

void rdisk_target_session_created(struct rdisk_target_session *session,
                                  enum rdisk_status status,
                                  const struct rdisk_error *err)
{
    assert(status < RDISK_STATUS_COUNT);
    session->owner_knows = false;
    if (session->state == RDISK_TARGET_CREATING) {
        answer_create(session, status, err ? err->text : "");
    }
}

void rdisk_target_session_create_late(struct rdisk_target_session *session)
{
    struct rdisk_error err;

    rdisk_error_set(&err, -ETIMEDOUT, "volume '%s' was not made within %g "
                    "seconds, but may yet be: %s", session->create.volume,
                    session->target->options.open_timeout_ms / 1000.0,
                    session->why.code ? session->why.text
                                      : "the server is not ready");
    answer_create(session, RDISK_STATUS_BUSY, err.text);
}

/* ---- RESIZE and STAT ---------------------------------------------------- */

/* The client waits for its answer, which may come at once. */
static void call_begin(struct rdisk_target_call *call, uint32_t sequence)
{
    *call = (struct rdisk_target_call) {
        .waiting = true,
        .sequence = sequence,
        .deadline = RDISK_NEVER,
    };
}

static void call_later(struct rdisk_target_session *session,
                       struct rdisk_target_call *call,
                       const struct rdisk_error *why)
{
    call->at_owner = true;
    call->deadline = rdisk_now(session->target->env) +
                     session->target->options.call_timeout_ms * RDISK_MSEC;
    call->why = *why;
}

/* True if the client is still waiting for the owner's answer. */
static bool call_end(struct rdisk_target_call *call)
{
    bool waiting = call->waiting;

    assert(call->at_owner);
    call->at_owner = call->waiting = false;
    call->deadline = RDISK_NEVER;
    return waiting;
}

static void call_late(struct rdisk_target_session *session,
                      struct rdisk_target_call *call,
                      enum rdisk_message_type type, const char *what)
{
    struct rdisk_error err;

    rdisk_error_set(&err, -ETIMEDOUT, "%s volume '%s' has not ended within "
                    "%g seconds: %s", what, session->request.volume,
                    session->target->options.call_timeout_ms / 1000.0,
                    call->why.code ? call->why.text
                                   : "the server is not ready");
    call->waiting = false;
    call->deadline = RDISK_NEVER;
    refuse(session, type, le32toh(call->sequence), RDISK_STATUS_BUSY,
           err.text);
}

/* One at a time: the client of an earlier one was refused, or does not wait. */
static bool call_taken(const struct rdisk_target_session *session,
                       const struct rdisk_target_call *call,
                       struct rdisk_error *err)
{
    if (call->at_owner) {
        rdisk_error_set(err, -EBUSY, "the same was asked of volume '%s' "
                        "before, and has not ended: %s",
                        session->request.volume, call->why.code
                        ? call->why.text : "the server is not ready");
    }
    return call->at_owner;
}

uint64_t rdisk_target_session_calls_deadline(
    const struct rdisk_target_session *session)
{
    uint64_t resize = session->resize.waiting ? session->resize.deadline
                                              : RDISK_NEVER;
    uint64_t stat = session->stat.waiting ? session->stat.deadline
                                          : RDISK_NEVER;

    return session->state != RDISK_TARGET_OPEN ? RDISK_NEVER
           : resize < stat ? resize : stat;
}

void rdisk_target_session_calls_late(struct rdisk_target_session *session,
                                     uint64_t now)
{
    if (session->state == RDISK_TARGET_OPEN && session->resize.waiting &&
        now >= session->resize.deadline) {
        call_late(session, &session->resize, RDISK_MSG_RESIZE_REPLY,
                  "the resize of");
        rdisk_target_session_tell(session);
    }
    if (session->state == RDISK_TARGET_OPEN && session->stat.waiting &&
        now >= session->stat.deadline) {
        call_late(session, &session->stat, RDISK_MSG_STAT_REPLY,
                  "looking what is allocated for");
    }
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

static void answer_resize(struct rdisk_target_session *session,
                          enum rdisk_status status, const char *text)
{
    struct rdisk_target_call *call = &session->resize;
    struct rdisk_wire_size reply = {
        .message.type = htole16(RDISK_MSG_RESIZE_REPLY),
        .message.sequence = call->sequence,
        .size = htole64(call->size),
    };

    if (status != RDISK_STATUS_OK) {
        refuse(session, RDISK_MSG_RESIZE_REPLY, le32toh(call->sequence),
               status, text);
    } else {
        rdisk_log(session->target->env, RDISK_LOG_INFO,
                  "%s: resized volume '%s' to %llu bytes",
                  session->request.peer, session->request.volume,
                  (unsigned long long)call->size);
        session->told_size = call->size;
        rdisk_target_session_reply(session, &reply.message, sizeof(reply));
    }
    rdisk_target_session_tell(session);
}

void rdisk_target_session_asked_resize(struct rdisk_target_session *session,
                                       const struct rdisk_wire_resize *wire)
{
    struct rdisk_target_call *call = &session->resize;
    struct rdisk_error err = { 0 };
    enum rdisk_status status;

    if (call_taken(session, call, &err)) {
        refuse(session, RDISK_MSG_RESIZE_REPLY,
               le32toh(wire->message.sequence), RDISK_STATUS_BUSY, err.text);
        return;
    }
    call_begin(call, wire->message.sequence);
    call->size = le64toh(wire->size);
    status = resize(session, call->size,
                    le32toh(wire->flags) & RDISK_RESIZE_SHRINK, &err);
    if (status == RDISK_LATER) {
        call_later(session, call, &err);
        return;
    }
    call->waiting = false;
    answer_resize(session, status, err.text);
}

void rdisk_target_session_resized(struct rdisk_target_session *session,
                                  enum rdisk_status status,
                                  const struct rdisk_error *err)
{
    assert(status < RDISK_STATUS_COUNT);
    if (call_end(&session->resize) && session->state == RDISK_TARGET_OPEN) {
        answer_resize(session, status, err ? err->text : "");
    }
}

void rdisk_target_session_resize(struct rdisk_target_session *session,
                                 uint64_t size)
{
    atomic_store_explicit(&session->size, size, memory_order_relaxed);
    rdisk_target_session_tell(session);
}

void rdisk_target_session_tell(struct rdisk_target_session *session)
{
    uint64_t size = atomic_load_explicit(&session->size,
                                         memory_order_relaxed);
    struct rdisk_wire_size event = {
        .message.type = htole16(RDISK_MSG_VOLUME_CHANGED),
        .size = htole64(size),
    };

    if (session->state != RDISK_TARGET_OPEN || size <= session->told_size ||
        !(session->features & RDISK_FEATURE_RESIZE) ||
        (session->resize.waiting && size == session->resize.size)) {
        return;     /* it knows, will from the answer, or is not to be told
                       that it shrinks */
    }
    /* Without room now there is a completion to come, and then this again:
     * only the last size counts. */
    if (rdisk_control_send(&session->control, &event.message,
                           sizeof(event))) {
        session->told_size = size;
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

static void answer_stat(struct rdisk_target_session *session,
                        enum rdisk_status status, uint64_t allocated,
                        const char *text)
{
    struct rdisk_target_call *call = &session->stat;
    struct rdisk_wire_stat_reply reply = {
        .message.type = htole16(RDISK_MSG_STAT_REPLY),
        .message.sequence = call->sequence,
        .size = htole64(atomic_load_explicit(&session->size,
                                             memory_order_relaxed)),
        .allocated = htole64(allocated),
    };

    if (status != RDISK_STATUS_OK) {
        refuse(session, RDISK_MSG_STAT_REPLY, le32toh(call->sequence), status,
               text);
        return;
    }
    rdisk_target_session_reply(session, &reply.message, sizeof(reply));
}

static enum rdisk_status stat_volume(struct rdisk_target_session *session,
                                     uint64_t *allocated,
                                     struct rdisk_error *err)
{
    const struct rdisk_target *target = session->target;

    if (!target->events->stat ||
        !rdisk_target_session_has(session, RDISK_FEATURE_EXTENTS,
                                  session->grant.extents)) {
        rdisk_error_set(err, -ENOTSUP, "volume '%s' does not tell what it "
                        "takes up", session->request.volume);
        return RDISK_STATUS_UNSUPPORTED;
    }
    return target->events->stat(target->opaque, session->user, allocated,
                                err);
}

void rdisk_target_session_asked_stat(struct rdisk_target_session *session,
                                     const struct rdisk_wire_message *wire)
{
    struct rdisk_target_call *call = &session->stat;
    struct rdisk_error err = { 0 };
    uint64_t allocated = 0;
    enum rdisk_status status;

    if (call_taken(session, call, &err)) {
        refuse(session, RDISK_MSG_STAT_REPLY, le32toh(wire->sequence),
               RDISK_STATUS_BUSY, err.text);
        return;
    }
    call_begin(call, wire->sequence);
    status = stat_volume(session, &allocated, &err);
    if (status == RDISK_LATER) {
        call_later(session, call, &err);
        return;
    }
    call->waiting = false;
    answer_stat(session, status, allocated, err.text);
}

void rdisk_target_session_stated(struct rdisk_target_session *session,
                                 enum rdisk_status status, uint64_t allocated,
                                 const struct rdisk_error *err)
{
    assert(status < RDISK_STATUS_COUNT);
    if (call_end(&session->stat) && session->state == RDISK_TARGET_OPEN) {
        answer_stat(session, status, allocated, err ? err->text : "");
    }
}
