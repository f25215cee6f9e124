/* SPDX-License-Identifier: BSD-3-Clause */
#include "session.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

uint64_t session_features = SESSION_FEATURES;

static struct rdisk_wire_connect connect_request(void)
{
    return (struct rdisk_wire_connect) {
        .magic = htole32(RDISK_WIRE_MAGIC),
        .version = htole16(RDISK_WIRE_VERSION),
    };
}

static const void *ask(struct session *session, enum rdisk_message_type type,
                       size_t length, enum rdisk_message_type expected)
{
    const struct rdisk_wire_message *reply;

    end_say(&session->control, type, length, 0);
    reply = end_hear(&session->control);
    if (!reply || le16toh(reply->type) != expected ||
        le16toh(reply->status) != RDISK_STATUS_OK) {
        die("message %d of a good session is not answered well (%d, %d)", type,
            reply ? le16toh(reply->type) : -1,
            reply ? le16toh(reply->status) : -1);
    }
    return reply;
}

void session_open(struct session *session, const char *address,
                  const char *port, const char *volume)
{
    struct rdisk_wire_connect request = connect_request();
    struct rdisk_wire_hello *hello;
    struct rdisk_wire_open *open;

    memset(session, 0, sizeof(*session));
    session->address = address;
    session->port = port;
    session->volume = volume;
    if (!end_connect(&session->control, address, port, &request,
                     sizeof(request))) {
        die("the server does not let a good client in");
    }
    hello = (void *)(session->control.buffer + END_SAY);
    memset(hello, 0, sizeof(*hello));
    hello->features = htole64(session_features);
    ask(session, RDISK_MSG_HELLO, sizeof(*hello), RDISK_MSG_HELLO_REPLY);
    open = (void *)(session->control.buffer + END_SAY);
    memset(open, 0, sizeof(*open));
    if (getentropy(open->client, sizeof(open->client)) < 0) {
        die("no random bytes");
    }
    open->epoch = htole64(1);
    /* So that no session waits for the end of the one before. */
    open->flags = htole32(RDISK_OPEN_SHARED);
    open->queues = htole16(1);
    open->slots = htole16(SESSION_SLOTS);
    open->slot_size = htole32(SESSION_SLOT);
    open->name_length = htole16((uint16_t)strlen(volume));
    memcpy(open->name, volume, strlen(volume));
    memcpy(&session->granted,
           ask(session, RDISK_MSG_OPEN, sizeof(*open), RDISK_MSG_OPEN_REPLY),
           sizeof(session->granted));
}

struct rdisk_wire_connect session_request(const struct session *session)
{
    struct rdisk_wire_connect request = connect_request();

    request.kind = RDISK_LINK_DATA;
    request.queue = htole16(1);
    request.slots = htole16(SESSION_SLOTS);
    request.slot_size = htole32(SESSION_SLOT);
    request.session = session->granted.session;
    request.epoch = htole64(1);
    memcpy(request.token, session->granted.token, sizeof(request.token));
    return request;
}

bool session_join_with(struct session *session,
                       const struct rdisk_wire_connect *request)
{
    if (!end_connect(&session->data, session->address, session->port, request,
                     sizeof(*request))) {
        return false;
    }
    memcpy(&session->lease, session->data.data, sizeof(session->lease));
    return true;
}

void session_join(struct session *session)
{
    struct rdisk_wire_connect request = session_request(session);

    if (!session_join_with(session, &request)) {
        die("a good queue is not let in");
    }
}

void session_drop(struct session *session)
{
    end_close(&session->data);
    end_close(&session->control);
}

void session_close(struct session *session)
{
    const struct rdisk_wire_message *reply;

    memset(session->control.buffer + END_SAY, 0,
           sizeof(struct rdisk_wire_message));
    end_say(&session->control, RDISK_MSG_CLOSE,
            sizeof(struct rdisk_wire_message), 1);
    do {
        reply = end_hear(&session->control);
    } while (reply && le16toh(reply->type) != RDISK_MSG_CLOSE_REPLY);
    session_drop(session);
}

/* ---- Requests ---------------------------------------------------------- */

uint64_t session_header(const struct session *session, unsigned int slot)
{
    return le64toh(session->lease.base) +
           (uint64_t)slot * le32toh(session->lease.stride) + RDISK_HEADER_AREA -
           sizeof(struct rdisk_wire_request);
}

uint32_t session_key(const struct session *session)
{
    return le32toh(session->lease.rkey);
}

struct rdisk_wire_request *session_make(struct session *session,
                                        enum rdisk_op op, unsigned int slot,
                                        uint64_t offset)
{
    struct rdisk_wire_request *wire = (void *)(session->data.buffer +
                                               SESSION_HEADER);

    *wire = (struct rdisk_wire_request) {
        .opcode = (uint8_t)op,
        .slot = htole16((uint16_t)slot),
        .length = htole32(4096),
        .offset = htole64(offset),
        .epoch = htole64(1),
        .sequence = htole32(session->sequence),
    };
    return wire;
}

enum ibv_wc_status session_send(struct session *session, unsigned int slot,
                                uint32_t payload)
{
    return end_write(&session->data, SESSION_HEADER,
                     (uint32_t)sizeof(struct rdisk_wire_request) + payload,
                     session_header(session, slot), session_key(session),
                     rdisk_imm_request((uint16_t)slot, session->sequence++));
}

enum ibv_wc_status session_send_bare(struct session *session, unsigned int slot,
                                     uint64_t offset, uint32_t length)
{
    session->sequence++;
    return end_write(&session->data, SESSION_PAYLOAD, length,
                     session_header(session, slot) +
                         sizeof(struct rdisk_wire_request),
                     session_key(session),
                     rdisk_imm_bare(rdisk_bare_bits(SESSION_SLOTS),
                                    (uint16_t)slot, 0, offset));
}

struct rdisk_wire_request *session_make_several(struct session *session,
                                                unsigned int i)
{
    struct rdisk_wire_entry *entry =
        (struct rdisk_wire_entry *)(void *)(session->data.buffer +
                                            SESSION_HEADER) +
        i;

    *entry = (struct rdisk_wire_entry) {
        .request.opcode = RDISK_OP_FLUSH,
        .request.slot = htole16((uint16_t)i),
        .request.epoch = htole64(1),
        .request.sequence = htole32(session->sequence + i),
    };
    if (session->sequence + i == 0) {
        entry->request.areas = htole64((uintptr_t)session->data.buffer);
        entry->request.areas_key = htole32(session->data.mr->rkey);
    }
    return &entry->request;
}

enum ibv_wc_status session_send_several(struct session *session,
                                        uint32_t length)
{
    uint32_t first = session->sequence;

    session->sequence += length / (uint32_t)sizeof(struct rdisk_wire_entry);
    return end_write(&session->data, SESSION_HEADER, length,
                     session_header(session, 0) +
                         sizeof(struct rdisk_wire_request) - length,
                     session_key(session), rdisk_imm_vector(0, first));
}

int64_t session_immediate(struct session *session)
{
    struct ibv_wc wc;

    if (!end_receive(&session->data, &wc, END_WAIT_MS) ||
        wc.status != IBV_WC_SUCCESS) {
        return -1;
    }
    return ntohl(wc.imm_data);
}

int session_answer(struct session *session)
{
    int64_t immediate = session_immediate(session);

    return immediate < 0 ? -1 : (int)(immediate & 0xff);
}

bool session_answered(struct session *session)
{
    struct ibv_wc wc;

    return end_receive(&session->data, &wc, 0) && wc.status == IBV_WC_SUCCESS;
}

bool session_ended(struct session *session)
{
    const struct rdisk_wire_message *message = end_hear(&session->control);

    return !message || le16toh(message->type) == RDISK_MSG_BYE ||
           end_disconnected(&session->control, END_WAIT_MS);
}
