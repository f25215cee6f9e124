/* SPDX-License-Identifier: BSD-3-Clause */
/* What can be broken on purpose of several requests, or answers, in a
 * message. */
#include <arpa/inet.h>

#include "tests/sim/mutation.h"
#include "transport/wire/request.h"

/* The functions are the same for all hosts. */
static struct rdisk_verbs real;

static bool is_vector(const struct ibv_send_wr *wr)
{
    uint32_t imm = ntohl(wr->imm_data);

    return wr->opcode == IBV_WR_RDMA_WRITE_WITH_IMM &&
           (imm & RDISK_VECTOR_FLAG) && !(imm & RDISK_BARE_FLAG);
}

/* Change each of them. */
static int post_changed(struct ibv_qp *qp, struct ibv_send_wr *wr,
                        struct ibv_send_wr **bad,
                        void (*change)(struct ibv_send_wr *))
{
    for (struct ibv_send_wr *each = wr; each; each = each->next) {
        if (is_vector(each)) {
            change(each);
        }
    }
    return real.post_send(qp, wr, bad);
}

/* ---- Requests ------------------------------------------------------------ */

/* At the same end. What is left is no vector if there were two or three. */
static void lose_half(struct ibv_send_wr *wr)
{
    const uint32_t entry = sizeof(struct rdisk_wire_entry);
    uint32_t count = wr->sg_list[0].length / entry, lost = count / 2;

    if (count - lost >= RDISK_VECTOR_MIN) {
        wr->sg_list[0].length -= lost * entry;
        wr->wr.rdma.remote_addr += lost * entry;
    }
}

static void misplace(struct ibv_send_wr *wr)
{
    wr->wr.rdma.remote_addr -= sizeof(struct rdisk_wire_entry);
}

static int post_send_half(struct ibv_qp *qp, struct ibv_send_wr *wr,
                          struct ibv_send_wr **bad)
{
    return post_changed(qp, wr, bad, lose_half);
}

static int post_send_misplaced(struct ibv_qp *qp, struct ibv_send_wr *wr,
                               struct ibv_send_wr **bad)
{
    return post_changed(qp, wr, bad, misplace);
}

/* ---- Answers ------------------------------------------------------------- */

static void repeat_answer(struct ibv_send_wr *wr)
{
    rdisk_le32 *answers = (rdisk_le32 *)(uintptr_t)wr->sg_list[0].addr;

    answers[1] = answers[0];
}

static void leave_out(struct ibv_send_wr *wr)
{
    const rdisk_le32 *answers = (rdisk_le32 *)(uintptr_t)wr->sg_list[0].addr;
    uint32_t imm = ntohl(wr->imm_data);

    if ((imm & 0xffff) > RDISK_VECTOR_MIN) {
        wr->sg_list[0].length -= sizeof(answers[0]);
        wr->imm_data = htonl(imm - 1);
    } else {
        /* One is left, in a message of its own. */
        wr->num_sge = 0;
        wr->imm_data = htonl(le32toh(answers[0]));
    }
}

static void other_area(struct ibv_send_wr *wr)
{
    bool first = rdisk_vector_slot(ntohl(wr->imm_data)) == 0;

    wr->wr.rdma.remote_addr += first ? RDISK_ANSWER_AREA : -RDISK_ANSWER_AREA;
}

static int post_send_twice(struct ibv_qp *qp, struct ibv_send_wr *wr,
                           struct ibv_send_wr **bad)
{
    return post_changed(qp, wr, bad, repeat_answer);
}

static int post_send_left_out(struct ibv_qp *qp, struct ibv_send_wr *wr,
                              struct ibv_send_wr **bad)
{
    return post_changed(qp, wr, bad, leave_out);
}

static int post_send_other_area(struct ibv_qp *qp, struct ibv_send_wr *wr,
                                struct ibv_send_wr **bad)
{
    return post_changed(qp, wr, bad, other_area);
}

void sim_mutate_vector_client(struct rdisk_verbs *verbs,
                              enum sim_mutation mutation)
{
    if (mutation == SIM_MUTATE_VECTOR_HALF) {
        real = *verbs;
        verbs->post_send = post_send_half;
    } else if (mutation == SIM_MUTATE_VECTOR_PLACE) {
        real = *verbs;
        verbs->post_send = post_send_misplaced;
    }
}

void sim_mutate_vector_server(struct rdisk_verbs *verbs,
                              enum sim_mutation mutation)
{
    if (mutation == SIM_MUTATE_ANSWER_TWICE) {
        real = *verbs;
        verbs->post_send = post_send_twice;
    } else if (mutation == SIM_MUTATE_ANSWER_LEFT_OUT) {
        real = *verbs;
        verbs->post_send = post_send_left_out;
    } else if (mutation == SIM_MUTATE_ANSWER_AREA) {
        real = *verbs;
        verbs->post_send = post_send_other_area;
    }
}
