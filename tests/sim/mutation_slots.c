/* SPDX-License-Identifier: BSD-3-Clause */
/* What can be broken on purpose of slots that come and go. */
#include "tests/sim/mutation.h"
#include "transport/wire/wire.h"

/* The functions are the same for all hosts. */
static struct rdisk_verbs real;

/* The message of this type that is sent, or NULL. */
static struct rdisk_wire_slots *message_of(const struct ibv_send_wr *wr,
                                           enum rdisk_message_type type)
{
    struct rdisk_wire_slots *wire;

    if (wr->opcode != IBV_WR_SEND) {
        return NULL;
    }
    wire = (struct rdisk_wire_slots *)(uintptr_t)wr->sg_list[0].addr;
    return le16toh(wire->message.type) == type ? wire : NULL;
}

static int post_send_no_want(struct ibv_qp *qp, struct ibv_send_wr *wr,
                             struct ibv_send_wr **bad)
{
    for (struct ibv_send_wr *each = wr; each; each = each->next) {
        struct rdisk_wire_slots *wire = message_of(each, RDISK_MSG_SLOTS_WANT);

        if (wire) {
            wire->count = 0;
        }
    }
    return real.post_send(qp, wr, bad);
}

static int post_send_beyond(struct ibv_qp *qp, struct ibv_send_wr *wr,
                            struct ibv_send_wr **bad)
{
    for (struct ibv_send_wr *each = wr; each; each = each->next) {
        struct rdisk_wire_slots *wire = message_of(each, RDISK_MSG_SLOTS_GRANT);

        if (wire) {
            wire->count = htole16((uint16_t)(le16toh(wire->count) + 1));
        }
    }
    return real.post_send(qp, wr, bad);
}

void sim_mutate_slots_client(struct rdisk_verbs *verbs,
                             enum sim_mutation mutation)
{
    if (mutation == SIM_MUTATE_WANT_LOST) {
        real = *verbs;
        verbs->post_send = post_send_no_want;
    }
}

void sim_mutate_slots_server(struct rdisk_verbs *verbs,
                             enum sim_mutation mutation)
{
    if (mutation == SIM_MUTATE_GRANT_BEYOND) {
        real = *verbs;
        verbs->post_send = post_send_beyond;
    }
}
