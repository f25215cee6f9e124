/* SPDX-License-Identifier: BSD-3-Clause */
/* A session that lists the volumes of a server, a page at a time. */
#include <errno.h>
#include <string.h>

#include "transport/initiator/session.h"
#include "transport/wire/list.h"

int rdisk_initiator_list(struct rdisk_initiator *session, rdisk_list_fn *each,
                         void *opaque)
{
    struct rdisk_handshake *handshake = &session->handshake;

    if (rdisk_initiator_state(session) != RDISK_INITIATOR_IDLE) {
        return -EALREADY;
    }
    handshake->instead = RDISK_MSG_LIST;
    handshake->listed = each;
    handshake->listed_opaque = opaque;
    return 0;
}

void rdisk_initiator_send_list(struct rdisk_initiator *session)
{
    const char *after = session->handshake.listed_last;
    size_t length = strlen(after);
    struct rdisk_wire_list list = {
        .message.type = htole16(RDISK_MSG_LIST),
        .after_length = htole16((uint16_t)length),
    };

    memcpy(list.after, after, length);
    rdisk_initiator_send(session, &list.message, sizeof(list));
}

/*
 * The names ascend from page to page as within one, and all pages together have
 * to come within open-timeout: no server has a client list without end.
 */
void rdisk_initiator_take_list(struct rdisk_initiator *session,
                               const struct rdisk_wire_message *message)
{
    const struct rdisk_wire_list_reply *reply =
        (const struct rdisk_wire_list_reply *)message;
    struct rdisk_handshake *handshake = &session->handshake;
    struct rdisk_list_place place = { 0 };
    struct rdisk_list_entry entry;

    if (handshake->instead != RDISK_MSG_LIST) {
        rdisk_initiator_bad_message(session, "LIST_REPLY without LIST");
        return;
    }
    while (rdisk_list_next(reply, &place, &entry)) {
        if (place.index == 1 &&
            strcmp(entry.name, handshake->listed_last) <= 0) {
            rdisk_initiator_bad_message(session, "a volume is listed twice");
            return;
        }
        handshake->listed(handshake->listed_opaque, &entry);
    }
    if (le32toh(reply->flags) & RDISK_LIST_MORE) {
        memcpy(handshake->listed_last, entry.name, sizeof(entry.name));
        rdisk_initiator_send_list(session);
    } else {
        rdisk_initiator_raise(session, RDISK_EVENT_CREATED);
    }
}

int rdisk_list_volumes(const struct rdisk_env *env,
                       const struct rdisk_initiator_options *options,
                       rdisk_list_fn *each, void *opaque,
                       struct rdisk_error *err)
{
    struct rdisk_initiator_options server = *options;
    struct rdisk_error why = { 0 };
    struct rdisk_initiator *session;
    int ret;

    server.volume = "none"; /* is not sent */
    session = rdisk_initiator_create(env, &server, NULL, NULL, &why);
    ret = session ? rdisk_initiator_list(session, each, opaque) : why.code;
    return rdisk_initiator_run_to_end(session, ret, &why, err);
}
