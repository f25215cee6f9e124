/* SPDX-License-Identifier: BSD-3-Clause */
/* RESIZE and STAT, and the report of a size that has changed. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "transport/target/queue.h"
#include "transport/target/session.h"

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

static enum rdisk_target_event call_late(struct rdisk_target_session *session,
                                         struct rdisk_target_call *call,
                                         enum rdisk_message_type type,
                                         const char *what)
{
    struct rdisk_error err;

    rdisk_error_set(&err, -ETIMEDOUT,
                    "%s volume '%s' has not ended within "
                    "%g seconds: %s",
                    what, session->request.volume,
                    session->target->options.call_timeout_ms / 1000.0,
                    call->why.code ? call->why.text
                                   : "the server is not ready");
    call->waiting = false;
    call->deadline = RDISK_NEVER;
    return rdisk_target_session_refuse(session, type, le32toh(call->sequence),
                                       RDISK_STATUS_BUSY, err.text);
}

/* One at a time: the client of an earlier one was refused, or does not wait. */
static bool call_taken(const struct rdisk_target_session *session,
                       const struct rdisk_target_call *call,
                       struct rdisk_error *err)
{
    if (call->at_owner) {
        rdisk_error_set(
            err, -EBUSY,
            "the same operation on volume '%s' is still in progress: %s",
            session->request.volume,
            call->why.code ? call->why.text : "the server is not ready");
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

    return resize < stat ? resize : stat;
}

enum rdisk_target_event rdisk_target_session_calls_late(
    struct rdisk_target_session *session, uint64_t now)
{
    enum rdisk_target_event event = RDISK_TARGET_NO_EVENT;

    if (session->resize.waiting && now >= session->resize.deadline) {
        event = call_late(session, &session->resize, RDISK_MSG_RESIZE_REPLY,
                          "the resize of");
        rdisk_target_session_report_size(session);
    }
    if (!event && session->stat.waiting && now >= session->stat.deadline) {
        event = call_late(session, &session->stat, RDISK_MSG_STAT_REPLY,
                          "finding the allocated size of");
    }
    return event;
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
        rdisk_error_set(err, -EINVAL,
                        "%llu bytes are not a multiple of the block size, %u",
                        (unsigned long long)size, session->grant.block_size);
        return RDISK_STATUS_MISALIGNED;
    }
    return target->events->resize(target->opaque, session->user, size, shrink,
                                  err);
}

static enum rdisk_target_event answer_resize(
    struct rdisk_target_session *session, enum rdisk_status status,
    const char *text)
{
    struct rdisk_target_call *call = &session->resize;
    struct rdisk_wire_size reply = {
        .message.type = htole16(RDISK_MSG_RESIZE_REPLY),
        .message.sequence = call->sequence,
        .size = htole64(call->size),
    };
    enum rdisk_target_event event;

    if (status != RDISK_STATUS_OK) {
        event = rdisk_target_session_refuse(session, RDISK_MSG_RESIZE_REPLY,
                                            le32toh(call->sequence), status,
                                            text);
    } else {
        rdisk_log(session->target->env, RDISK_LOG_INFO,
                  "%s: resized volume '%s' to %llu bytes",
                  session->request.peer, session->request.volume,
                  (unsigned long long)call->size);
        session->reported_size = call->size;
        event = rdisk_target_session_reply(session, &reply.message,
                                           sizeof(reply));
    }
    rdisk_target_session_report_size(session);
    return event;
}

enum rdisk_target_event rdisk_target_session_asked_resize(
    struct rdisk_target_session *session, const void *message)
{
    const struct rdisk_wire_resize *wire = message;
    struct rdisk_target_call *call = &session->resize;
    struct rdisk_error err = { 0 };
    enum rdisk_status status;

    if (call_taken(session, call, &err)) {
        return rdisk_target_session_refuse(session, RDISK_MSG_RESIZE_REPLY,
                                           le32toh(wire->message.sequence),
                                           RDISK_STATUS_BUSY, err.text);
    }
    call_begin(call, wire->message.sequence);
    call->size = le64toh(wire->size);
    status = resize(session, call->size,
                    le32toh(wire->flags) & RDISK_RESIZE_SHRINK, &err);
    if (status == RDISK_LATER) {
        call_later(session, call, &err);
        return RDISK_TARGET_NO_EVENT;
    }
    call->waiting = false;
    return answer_resize(session, status, err.text);
}

void rdisk_target_session_resized(struct rdisk_target_session *session,
                                  enum rdisk_status status,
                                  const struct rdisk_error *err)
{
    RDISK_USE(session->target);

    assert(status < RDISK_STATUS_COUNT);
    if (call_end(&session->resize) && rdisk_target_session_joinable(session)) {
        rdisk_target_session_step(session, answer_resize(session, status,
                                                         err ? err->text : ""));
    }
}

void rdisk_target_session_resize(struct rdisk_target_session *session,
                                 uint64_t size)
{
    RDISK_USE(session->target);

    atomic_store_explicit(&session->size, size, memory_order_relaxed);
    rdisk_target_session_report_size(session);
}

void rdisk_target_session_report_size(struct rdisk_target_session *session)
{
    uint64_t size = atomic_load_explicit(&session->size, memory_order_relaxed);
    struct rdisk_wire_size event = {
        .message.type = htole16(RDISK_MSG_VOLUME_CHANGED),
        .size = htole64(size),
    };

    if (!rdisk_target_session_joinable(session) ||
        size <= session->reported_size ||
        !(session->features & RDISK_FEATURE_RESIZE) ||
        (session->resize.waiting && size == session->resize.size)) {
        return; /* it knows, will from the answer, or would hear that the
                       volume shrinks */
    }
    /* Without room now there is a completion to come, and then this again:
     * only the last size counts. */
    if (rdisk_control_send(&session->control, &event.message, sizeof(event))) {
        session->reported_size = size;
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

static enum rdisk_target_event answer_stat(struct rdisk_target_session *session,
                                           enum rdisk_status status,
                                           uint64_t allocated, const char *text)
{
    struct rdisk_target_call *call = &session->stat;
    struct rdisk_wire_stat_reply reply = {
        .message.type = htole16(RDISK_MSG_STAT_REPLY),
        .message.sequence = call->sequence,
        .size = htole64(
            atomic_load_explicit(&session->size, memory_order_relaxed)),
        .allocated = htole64(allocated),
    };

    if (status != RDISK_STATUS_OK) {
        return rdisk_target_session_refuse(session, RDISK_MSG_STAT_REPLY,
                                           le32toh(call->sequence), status,
                                           text);
    }
    return rdisk_target_session_reply(session, &reply.message, sizeof(reply));
}

static enum rdisk_status stat_volume(struct rdisk_target_session *session,
                                     uint64_t *allocated,
                                     struct rdisk_error *err)
{
    const struct rdisk_target *target = session->target;

    if (!target->events->stat ||
        !rdisk_target_session_has(session, RDISK_FEATURE_EXTENTS,
                                  session->grant.extents)) {
        rdisk_error_set(err, -ENOTSUP,
                        "volume '%s' does not report its allocated size",
                        session->request.volume);
        return RDISK_STATUS_UNSUPPORTED;
    }
    return target->events->stat(target->opaque, session->user, allocated, err);
}

enum rdisk_target_event rdisk_target_session_asked_stat(
    struct rdisk_target_session *session, const void *message)
{
    const struct rdisk_wire_message *wire = message;
    struct rdisk_target_call *call = &session->stat;
    struct rdisk_error err = { 0 };
    uint64_t allocated = 0;
    enum rdisk_status status;

    if (call_taken(session, call, &err)) {
        return rdisk_target_session_refuse(session, RDISK_MSG_STAT_REPLY,
                                           le32toh(wire->sequence),
                                           RDISK_STATUS_BUSY, err.text);
    }
    call_begin(call, wire->sequence);
    status = stat_volume(session, &allocated, &err);
    if (status == RDISK_LATER) {
        call_later(session, call, &err);
        return RDISK_TARGET_NO_EVENT;
    }
    call->waiting = false;
    return answer_stat(session, status, allocated, err.text);
}

void rdisk_target_session_stated(struct rdisk_target_session *session,
                                 enum rdisk_status status, uint64_t allocated,
                                 const struct rdisk_error *err)
{
    RDISK_USE(session->target);

    assert(status < RDISK_STATUS_COUNT);
    if (call_end(&session->stat) && rdisk_target_session_joinable(session)) {
        rdisk_target_session_step(session,
                                  answer_stat(session, status, allocated,
                                              err ? err->text : ""));
    }
}
