/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls to the server that are not requests: RESIZE and STAT. Like a request,
 * RESIZE waits for a lost connection and is sent again; to carry it out twice
 * changes nothing more. STAT does not wait: a command that shows the state of a
 * disk must not block. And VOLUME_CHANGED, which the server sends unasked.
 */
#include <errno.h>
#include <string.h>

#include "transport/initiator/session.h"

/* ---- The volume's size ------------------------------------------------- */

uint64_t rdisk_initiator_size(const struct rdisk_initiator *session)
{
    return __atomic_load_n(&session->info.size, __ATOMIC_RELAXED);
}

static void set_size(struct rdisk_initiator *session, uint64_t size)
{
    __atomic_store_n(&session->info.size, size, __ATOMIC_RELAXED);
}

static void report_size(struct rdisk_initiator *session, uint64_t size)
{
    set_size(session, size);
    if (session->events && session->events->volume_changed) {
        session->events->volume_changed(session->opaque, size);
    }
}

uint64_t rdisk_initiator_least_size(const struct rdisk_initiator *session)
{
    const struct rdisk_call *resize = &session->calls.resize;

    /* An answer may have been lost with the connection. */
    return resize->pending && resize->size < session->info.size
               ? resize->size
               : session->info.size;
}

void rdisk_initiator_size_back(struct rdisk_initiator *session, uint64_t size)
{
    const struct rdisk_call *resize = &session->calls.resize;

    if (resize->pending && size == resize->size) {
        set_size(session, size);
    } else if (size != session->info.size) {
        report_size(session, size);
    }
}

void rdisk_initiator_take_size(struct rdisk_initiator *session,
                               const struct rdisk_wire_message *message)
{
    uint64_t size = le64toh(((const struct rdisk_wire_size *)message)->size);

    if (size % session->info.block_size || size < session->info.size) {
        rdisk_initiator_bad_message(
            session,
            "it made the volume smaller, or not a multiple of its block size");
    } else if (size > session->info.size) {
        report_size(session, size);
    }
}

/* ---- Calling ----------------------------------------------------------- */

static const char *name_of(const struct rdisk_initiator *session,
                           const struct rdisk_call *call)
{
    return call == &session->calls.resize ? "RESIZE" : "STAT";
}

static void send_call(struct rdisk_initiator *session, struct rdisk_call *call)
{
    struct rdisk_wire_resize wire = {
        .message.type = htole16(
            call == &session->calls.resize ? RDISK_MSG_RESIZE : RDISK_MSG_STAT),
        .size = htole64(call->size),
        .flags = htole32(call->flags),
    };
    unsigned int timeout = session->options.request_timeout_ms;

    call->sequence = ++session->calls.sequence;
    call->deadline = timeout ? rdisk_now(session->env) + timeout * RDISK_MSEC
                             : RDISK_NEVER;
    wire.message.sequence = htole32(call->sequence);
    /* If not, the connection is broken, or takes it soon. */
    call->sent = rdisk_control_send(&session->connection.control, &wire.message,
                                    call == &session->calls.resize
                                        ? sizeof(wire)
                                        : sizeof(wire.message));
}

static int ask(struct rdisk_initiator *session, struct rdisk_call *call,
               const struct rdisk_call *question)
{
    if (rdisk_initiator_state(session) != RDISK_INITIATOR_READY) {
        return -ENOTCONN;
    }
    if (call->pending) {
        return -EBUSY;
    }
    rdisk_use_begin(&session->use);
    *call = *question;
    call->pending = true;
    send_call(session, call);
    rdisk_use_end(&session->use);
    return 0;
}

int rdisk_initiator_resize(struct rdisk_initiator *session, uint64_t size,
                           unsigned int flags, rdisk_resize_fn *done,
                           void *opaque)
{
    struct rdisk_call question = {
        .size = size,
        .flags = flags,
        .resized = done,
        .opaque = opaque,
    };

    if (rdisk_initiator_state(session) == RDISK_INITIATOR_READY) {
        if (!session->info.resize) {
            return -ENOTSUP;
        }
        if (!size || size > INT64_MAX || size % session->info.block_size ||
            (flags & ~RDISK_RESIZE_FLAGS_KNOWN) ||
            (size < session->info.size && !(flags & RDISK_RESIZE_SHRINK))) {
            return -EINVAL;
        }
    }
    return ask(session, &session->calls.resize, &question);
}

int rdisk_initiator_stat(struct rdisk_initiator *session, rdisk_stat_fn *done,
                         void *opaque)
{
    struct rdisk_call question = { .reported = done, .opaque = opaque };

    if (rdisk_initiator_state(session) == RDISK_INITIATOR_READY &&
        !session->info.extents) {
        return -ENOTSUP;
    }
    return ask(session, &session->calls.stat, &question);
}

/* ---- Answers ----------------------------------------------------------- */

/* The owner may begin the next call from within. */
static void finish(struct rdisk_initiator *session, struct rdisk_call *call,
                   uint64_t allocated, const struct rdisk_error *err)
{
    struct rdisk_call answered = *call;

    call->pending = false;
    if (call == &session->calls.resize) {
        answered.resized(answered.opaque, err->code, err);
    } else {
        answered.reported(answered.opaque, err->code, allocated, err);
    }
}

static void refused(struct rdisk_initiator *session, struct rdisk_call *call,
                    const struct rdisk_wire_message *message)
{
    char text[RDISK_TEXT_MAX + 1];
    struct rdisk_error err;

    rdisk_wire_text(message, text, sizeof(text));
    rdisk_error_set(&err, rdisk_status_to_errno(le16toh(message->status)),
                    "%s refused: %.200s", session->peer, text);
    finish(session, call, 0, &err);
}

void rdisk_initiator_take_answer(struct rdisk_initiator *session,
                                 const struct rdisk_wire_message *message)
{
    struct rdisk_call *call = le16toh(message->type) == RDISK_MSG_RESIZE_REPLY
                                  ? &session->calls.resize
                                  : &session->calls.stat;
    struct rdisk_error none = { 0 };

    if (!call->pending || !call->sent ||
        le32toh(message->sequence) != call->sequence) {
        rdisk_initiator_bad_message(session,
                                    "it replies to a call that was not made");
        return;
    }
    if (message->status) {
        refused(session, call, message);
    } else if (call == &session->calls.stat) {
        const struct rdisk_wire_stat_reply *wire =
            (const struct rdisk_wire_stat_reply *)message;

        finish(session, call, le64toh(wire->allocated), &none);
    } else if (le64toh(((const struct rdisk_wire_size *)message)->size) !=
               call->size) {
        rdisk_initiator_bad_message(
            session, "it resized the volume to a size that was not requested");
    } else {
        set_size(session, call->size);
        finish(session, call, 0, &none);
    }
}

/* ---- The connection comes and goes ------------------------------------- */

#define EACH_CALL(session, call) \
    for (struct rdisk_call *call = &(session)->calls.resize; call; \
         call = call == &(session)->calls.resize ? &(session)->calls.stat \
                                                 : NULL)

static void fail(struct rdisk_initiator *session, struct rdisk_call *call,
                 int code)
{
    struct rdisk_error err;

    if (call->pending) {
        rdisk_error_set(&err, code, "%s did not answer %s: %s", session->peer,
                        name_of(session, call),
                        session->machine.error.code
                            ? session->machine.error.text
                            : "the session ends");
        finish(session, call, 0, &err);
    }
}

void rdisk_initiator_send_calls(struct rdisk_initiator *session)
{
    struct rdisk_call *resize = &session->calls.resize;

    if (rdisk_initiator_state(session) == RDISK_INITIATOR_READY &&
        resize->pending && !resize->sent) {
        send_call(session, resize);
    }
}

void rdisk_initiator_unsend_calls(struct rdisk_initiator *session)
{
    session->calls.resize.sent = false;
    session->calls.resize.deadline = RDISK_NEVER;
    fail(session, &session->calls.stat, -ENOTCONN);
}

void rdisk_initiator_fail_calls(struct rdisk_initiator *session, int code)
{
    EACH_CALL(session, call)
    {
        fail(session, call, code);
    }
}

bool rdisk_initiator_calls_late(struct rdisk_initiator *session, uint64_t now)
{
    EACH_CALL(session, call)
    {
        if (call->pending && call->sent && call->deadline <= now) {
            return true;
        }
    }
    return false;
}
