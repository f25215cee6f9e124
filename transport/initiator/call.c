/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Questions to the server that are no requests: RESIZE and STAT. Like a
 * request RESIZE waits for a lost connection and is asked again; it does no
 * harm when it is carried out twice. STAT does not: who wants to see how a disk
 * is does not want to wait for it. And what the server tells unasked: that the
 * volume has another size.
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

static void tell_size(struct rdisk_initiator *session, uint64_t size)
{
    set_size(session, size);
    if (session->events && session->events->volume_changed) {
        session->events->volume_changed(session->opaque, size);
    }
}

uint64_t rdisk_initiator_least_size(const struct rdisk_initiator *session)
{
    const struct rdisk_call *resize = &session->resize;

    /* An answer may have been lost with the connection. */
    return resize->pending && resize->size < session->info.size
           ? resize->size : session->info.size;
}

void rdisk_initiator_size_back(struct rdisk_initiator *session, uint64_t size)
{
    const struct rdisk_call *resize = &session->resize;

    if (resize->pending && size == resize->size) {
        set_size(session, size);
    } else if (size != session->info.size) {
        tell_size(session, size);
    }
}

void rdisk_initiator_changed(struct rdisk_initiator *session,
                             const struct rdisk_wire_size *wire)
{
    uint64_t size = le64toh(wire->size);

    if (size % session->info.block_size || size < session->info.size) {
        rdisk_initiator_bad_message(session, "it made the volume smaller, or "
                                    "no whole blocks");
    } else if (size > session->info.size) {
        tell_size(session, size);
    }
}

/* ---- Asking ------------------------------------------------------------ */

static const char *name_of(const struct rdisk_initiator *session,
                           const struct rdisk_call *call)
{
    return call == &session->resize ? "RESIZE" : "STAT";
}

static void say(struct rdisk_initiator *session, struct rdisk_call *call)
{
    struct rdisk_wire_resize wire = {
        .message.type = htole16(call == &session->resize ? RDISK_MSG_RESIZE
                                                         : RDISK_MSG_STAT),
        .size = htole64(call->size),
        .flags = htole32(call->flags),
    };
    unsigned int timeout = session->options.request_timeout_ms;

    call->sequence = ++session->call_sequence;
    call->deadline = timeout ? rdisk_now(session->env) + timeout * RDISK_MSEC
                             : RDISK_NEVER;
    wire.message.sequence = htole32(call->sequence);
    /* If not, the connection is broken, or takes it soon. */
    call->sent = rdisk_control_send(&session->control, &wire.message,
                                    call == &session->resize
                                    ? sizeof(wire) : sizeof(wire.message));
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
    *call = *question;
    call->pending = true;
    say(session, call);
    return 0;
}

int rdisk_initiator_resize(struct rdisk_initiator *session, uint64_t size,
                           unsigned int flags, rdisk_resize_fn *done,
                           void *opaque)
{
    struct rdisk_call question = {
        .size = size, .flags = flags, .resized = done, .opaque = opaque,
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
    return ask(session, &session->resize, &question);
}

int rdisk_initiator_stat(struct rdisk_initiator *session,
                         rdisk_stat_fn *done, void *opaque)
{
    struct rdisk_call question = { .told = done, .opaque = opaque };

    if (rdisk_initiator_state(session) == RDISK_INITIATOR_READY &&
        !session->info.extents) {
        return -ENOTSUP;
    }
    return ask(session, &session->stat, &question);
}

/* ---- Answers ----------------------------------------------------------- */

/* The owner may ask the next question from within. */
static void finish(struct rdisk_initiator *session, struct rdisk_call *call,
                   uint64_t allocated, const struct rdisk_error *err)
{
    struct rdisk_call answered = *call;

    call->pending = false;
    if (call == &session->resize) {
        answered.resized(answered.opaque, err->code, err);
    } else {
        answered.told(answered.opaque, err->code, allocated, err);
    }
}

static void refused(struct rdisk_initiator *session, struct rdisk_call *call,
                    const struct rdisk_wire_message *message)
{
    char text[RDISK_TEXT_MAX + 1];
    struct rdisk_error err;

    rdisk_wire_text(message, text, sizeof(text));
    rdisk_error_set(&err, rdisk_status_to_errno(le16toh(message->status)),
                    "%s:%u refused: %.200s", session->options.host,
                    session->options.port, text);
    finish(session, call, 0, &err);
}

void rdisk_initiator_answer(struct rdisk_initiator *session,
                            const struct rdisk_wire_message *message)
{
    struct rdisk_call *call =
        le16toh(message->type) == RDISK_MSG_RESIZE_REPLY ? &session->resize
                                                         : &session->stat;
    struct rdisk_error none = { 0 };

    if (!call->pending || !call->sent ||
        le32toh(message->sequence) != call->sequence) {
        rdisk_initiator_bad_message(session, "it answers what was not asked");
        return;
    }
    if (message->status) {
        refused(session, call, message);
    } else if (call == &session->stat) {
        const struct rdisk_wire_stat_reply *wire =
            (const struct rdisk_wire_stat_reply *)message;

        finish(session, call, le64toh(wire->allocated), &none);
    } else if (le64toh(((const struct rdisk_wire_size *)message)->size) !=
               call->size) {
        rdisk_initiator_bad_message(session, "it resized the volume otherwise "
                                    "than asked");
    } else {
        set_size(session, call->size);
        finish(session, call, 0, &none);
    }
}

/* ---- The connection comes and goes ------------------------------------- */

#define EACH_CALL(session, call) \
    for (struct rdisk_call *call = &(session)->resize; call; \
         call = call == &(session)->resize ? &(session)->stat : NULL)

static void fail(struct rdisk_initiator *session, struct rdisk_call *call,
                 int code)
{
    struct rdisk_error err;

    if (call->pending) {
        rdisk_error_set(&err, code, "%s:%u did not answer %s: %s",
                        session->options.host, session->options.port,
                        name_of(session, call),
                        session->error.code ? session->error.text
                                            : "the session ends");
        finish(session, call, 0, &err);
    }
}

void rdisk_initiator_ask_again(struct rdisk_initiator *session)
{
    struct rdisk_call *resize = &session->resize;

    if (resize->pending && !resize->sent) {
        say(session, resize);
    }
}

void rdisk_initiator_unask(struct rdisk_initiator *session)
{
    session->resize.sent = false;
    session->resize.deadline = RDISK_NEVER;
    fail(session, &session->stat, -ENOTCONN);
}

void rdisk_initiator_fail_calls(struct rdisk_initiator *session, int code)
{
    EACH_CALL(session, call) {
        fail(session, call, code);
    }
}

bool rdisk_initiator_calls_late(struct rdisk_initiator *session, uint64_t now)
{
    EACH_CALL(session, call) {
        if (call->pending && call->sent && call->deadline <= now) {
            return true;
        }
    }
    return false;
}
