/* SPDX-License-Identifier: BSD-3-Clause */
/* What a visitor sends: what its goal, and how it is to be reached, demand. */
#include <arpa/inet.h>
#include <string.h>

#include "tests/sim/visitor.h"
#include "transport/wire/auth.h"
#include "transport/wire/list.h"
#include "transport/wire/request.h"

static void send_message(struct sim_visitor *visitor,
                         enum rdisk_message_type type, void *message,
                         size_t size)
{
    ((struct rdisk_wire_message *)message)->type = htole16(type);
    sim_log(visitor->sim, "visitor: sends %s", rdisk_message_name(type));
    rdisk_control_send(&visitor->control, message, size);
}

void sim_visitor_send_plain(struct sim_visitor *visitor,
                            enum rdisk_message_type type)
{
    struct rdisk_wire_message message = { 0 };

    send_message(visitor, type, &message, sizeof(message));
}

void sim_visitor_send_hello(struct sim_visitor *visitor)
{
    struct rdisk_wire_hello hello = {
        .features = htole64(RDISK_FEATURES_KNOWN & ~RDISK_FEATURE_SLOTS),
    };

    if (visitor->goal == RDISK_TARGET_CLOSE_WAIT && visitor->how % 8 == 0) {
        hello.required = htole64(1ull << 63);
    }
    visitor->auth.offered = RDISK_FEATURES_KNOWN & ~RDISK_FEATURE_SLOTS;
    visitor->auth.required = le64toh(hello.required);
    send_message(visitor, RDISK_MSG_HELLO, &hello, sizeof(hello));
}

void sim_visitor_send_auth(struct sim_visitor *visitor)
{
    struct rdisk_wire_auth wire = {
        .name_length = htole16(sizeof(SIM_USER) - 1),
        .name = SIM_USER,
    };

    memcpy(visitor->auth.user, SIM_USER, sizeof(SIM_USER));
    send_message(visitor, RDISK_MSG_AUTH, &wire, sizeof(wire));
}

void sim_visitor_send_proof(struct sim_visitor *visitor,
                            const struct rdisk_wire_auth_challenge *challenge)
{
    struct rdisk_wire_auth_proof wire = { 0 };
    struct rdisk_secret secret;

    sim_secret(&secret);
    memcpy(visitor->auth.server_nonce, challenge->nonce,
           sizeof(challenge->nonce));
    rdisk_auth_prove(&secret, RDISK_AUTH_CLIENT, &visitor->auth, wire.proof);
    if (visitor->goal == RDISK_TARGET_DENY_DELAY ||
        visitor->goal == RDISK_TARGET_DENY_LEFT) {
        wire.proof[0] ^= 1;
    }
    send_message(visitor, RDISK_MSG_AUTH_PROOF, &wire, sizeof(wire));
}

void sim_visitor_send_create(struct sim_visitor *visitor)
{
    const char *name = visitor->goal == RDISK_TARGET_CREATING
                           ? SIM_VISITOR_LATER
                       : visitor->how & 8 ? SIM_VISITOR_NONE
                                          : "new";
    struct rdisk_wire_create wire = {
        .size = htole64(SIM_BLOCK),
        .name_length = htole16((uint16_t)strlen(name)),
    };

    memcpy(wire.name, name, strlen(name));
    if (visitor->how & 16) {
        wire.size = 0; /* the name is where CREATE has it */
        send_message(visitor, RDISK_MSG_DELETE, &wire, sizeof(wire));
        return;
    }
    send_message(visitor, RDISK_MSG_CREATE, &wire, sizeof(wire));
}

void sim_visitor_send_list(struct sim_visitor *visitor)
{
    const char *after = visitor->goal == RDISK_TARGET_LISTING
                            ? SIM_VISITOR_LATER
                            : visitor->listed;
    struct rdisk_wire_list wire = {
        .after_length = htole16((uint16_t)strlen(after)),
    };

    memcpy(wire.after, after, strlen(after));
    send_message(visitor, RDISK_MSG_LIST, &wire, sizeof(wire));
}

void sim_visitor_send_open(struct sim_visitor *visitor)
{
    bool refused = visitor->goal == RDISK_TARGET_CLOSE_WAIT;
    const char *name = visitor->goal == RDISK_TARGET_OPENING ? SIM_VISITOR_LATER
                       : !refused         ? SIM_VISITOR_VOLUME
                       : visitor->how & 8 ? SIM_VISITOR_NONE
                                          : ".";
    struct rdisk_wire_open wire = {
        .epoch = htole64(1),
        .flags = htole32(RDISK_OPEN_SHARED),
        .heartbeat_ms = htole32(visitor->how & 16 ? 1000 : 0),
        .queues = htole16(1),
        .slots = htole16(1),
        .slot_size = htole32(RDISK_SLOT_SIZE_MIN),
        .name_length = htole16((uint16_t)strlen(name)),
    };

    memcpy(wire.name, name, strlen(name));
    send_message(visitor, RDISK_MSG_OPEN, &wire, sizeof(wire));
}

void sim_visitor_write_beyond_the_end(struct sim_visitor *visitor)
{
    static uint8_t page[RDISK_BARE_UNIT];
    const struct rdisk_verbs *verbs = visitor->env.verbs;
    const struct rdisk_wire_accept *lease = &visitor->lease;
    struct ibv_send_wr *wr;

    visitor->mr = verbs->reg_mr(visitor->pd, page, sizeof(page), 0);
    if (!visitor->mr) {
        return;
    }
    wr = rdisk_qp_stage(&visitor->qp);
    wr->opcode = IBV_WR_RDMA_WRITE_WITH_IMM;
    wr->imm_data = htonl(rdisk_imm_bare(rdisk_bare_bits(le16toh(lease->slots)),
                                        0, 0, RDISK_BARE_UNIT));
    wr->num_sge = 1;
    wr->sg_list[0] = (struct ibv_sge) {
        .addr = (uintptr_t)page,
        .length = sizeof(page),
        .lkey = visitor->mr->lkey,
    };
    wr->wr.rdma.remote_addr = le64toh(lease->base) + RDISK_HEADER_AREA;
    wr->wr.rdma.rkey = le32toh(lease->rkey);
    rdisk_qp_post(&visitor->qp);
}
