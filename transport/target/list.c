/* SPDX-License-Identifier: BSD-3-Clause */
/* LIST, before OPEN: the owner lists volumes, or refuses to. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "transport/target/session.h"
#include "transport/wire/list.h"

enum rdisk_target_event rdisk_target_session_list(
    struct rdisk_target_session *session, const void *message)
{
    const struct rdisk_wire_list *wire = message;
    size_t length = le16toh(wire->after_length);

    memcpy(session->list_after, wire->after, length);
    session->list_after[length] = '\0';
    session->list_sequence = wire->message.sequence;
    return RDISK_TARGET_ON_LIST;
}

/* As many as fit into a message; the client asks for the others. */
static enum rdisk_target_event send_page(struct rdisk_target_session *session,
                                         const struct rdisk_list_page *page)
{
    struct rdisk_wire_list_reply reply = {
        .message.type = htole16(RDISK_MSG_LIST_REPLY),
        .message.sequence = session->list_sequence,
    };
    struct rdisk_list_place place = { 0 };
    enum rdisk_target_event event;

    assert(page->count <= RDISK_LIST_MAX && (page->count || !page->more));
    while (place.index < page->count &&
           rdisk_list_append(&reply, &place, &page->entries[place.index])) {
        continue;
    }
    if (page->more || place.index < page->count) {
        reply.flags = htole32(RDISK_LIST_MORE);
    }
    event = rdisk_target_session_reply(session, &reply.message, sizeof(reply));
    return event == RDISK_TARGET_NO_EVENT ? RDISK_TARGET_ON_LISTED : event;
}

static enum rdisk_target_event answer(struct rdisk_target_session *session,
                                      enum rdisk_status status,
                                      const struct rdisk_list_page *page,
                                      const char *text)
{
    return status == RDISK_STATUS_OK
               ? send_page(session, page)
               : rdisk_target_session_refused(session, RDISK_MSG_LIST_REPLY,
                                              le32toh(session->list_sequence),
                                              status, text);
}

static enum rdisk_status ask(struct rdisk_target_session *session,
                             struct rdisk_list_page *page,
                             struct rdisk_error *err)
{
    const struct rdisk_target *target = session->target;
    const struct rdisk_list_request request = {
        .peer = session->request.peer,
        .user = session->request.user,
        .after = session->list_after,
    };

    if (!target->events->list || !(session->features & RDISK_FEATURE_LIST)) {
        rdisk_error_set(err, -ENOTSUP,
                        "this server lists no volumes for clients");
        return RDISK_STATUS_UNSUPPORTED;
    }
    return target->events->list(target->opaque, session, &request, page,
                                &session->user, err);
}

enum rdisk_target_event rdisk_target_session_ask_list(
    struct rdisk_target_session *session)
{
    struct rdisk_list_page page = { .count = 0 };
    struct rdisk_error err = { 0 };
    enum rdisk_status status = ask(session, &page, &err);

    if (status != RDISK_LATER) {
        return answer(session, status, &page, err.text);
    }
    session->owner_knows = session->user;
    session->why = err;
    return RDISK_TARGET_NO_EVENT;
}

enum rdisk_target_event rdisk_target_session_list_late(
    struct rdisk_target_session *session)
{
    const struct rdisk_error *why = &session->why;
    struct rdisk_error err;

    rdisk_error_set(&err, -ETIMEDOUT,
                    "the volumes were not listed within %g seconds: %s",
                    session->target->options.open_timeout_ms / 1000.0,
                    why->code ? why->text : "the server is not ready");
    return answer(session, RDISK_STATUS_BUSY, NULL, err.text);
}

void rdisk_target_session_listed(struct rdisk_target_session *session,
                                 enum rdisk_status status,
                                 const struct rdisk_list_page *page,
                                 const struct rdisk_error *err)
{
    RDISK_USE(session->target);

    assert(status < RDISK_STATUS_COUNT);
    session->owner_knows = false;
    session->user = NULL; /* it may open a volume */
    if (session->state == RDISK_TARGET_LISTING) {
        rdisk_target_session_step(session, answer(session, status, page,
                                                  err ? err->text : ""));
    }
}
