/* SPDX-License-Identifier: BSD-3-Clause */
/* What can be broken on purpose of bare writes. */
#include <arpa/inet.h>

#include "tests/sim/mutation.h"
#include "transport/wire/request.h"

/* The functions are the same for all hosts. */
static struct rdisk_verbs real;
static unsigned int calls;
static unsigned int bare_bits; /* of the clients' queues */

/* ---- The server's view --------------------------------------------------- */

/* Of the immediates of some bare writes. */
static void poll_bare(struct ibv_wc *wc, int n, uint32_t (*change)(uint32_t))
{
    for (int i = 0; i < n; i++) {
        uint32_t imm = ntohl(wc[i].imm_data);

        if (wc[i].status == IBV_WC_SUCCESS &&
            wc[i].opcode == IBV_WC_RECV_RDMA_WITH_IMM &&
            (imm & RDISK_BARE_FLAG) && ++calls % 5 == 0) {
            wc[i].imm_data = htonl(change(imm));
        }
    }
}

static uint32_t other_slot(uint32_t imm)
{
    return bare_bits < 31 ? imm ^ 1u << bare_bits : imm;
}

static uint32_t next_block(uint32_t imm)
{
    uint32_t mask = (1u << bare_bits) - 1;

    return (imm & ~mask) | ((imm + 1) & mask);
}

static int poll_cq_other_slot(struct ibv_cq *cq, int count, struct ibv_wc *wc)
{
    int n = real.poll_cq(cq, count, wc);

    poll_bare(wc, n, other_slot);
    return n;
}

static int poll_cq_next_block(struct ibv_cq *cq, int count, struct ibv_wc *wc)
{
    int n = real.poll_cq(cq, count, wc);

    poll_bare(wc, n, next_block);
    return n;
}

/* ---- The base ------------------------------------------------------------ */

/* The base of a queue pair, and the one before: as if the server did not see
 * that it moved. */
#define BASES_MAX 64u
static struct base {
    struct ibv_qp *qp;
    uint64_t before, now;
} bases[BASES_MAX];

static struct base *base_of(struct ibv_qp *qp)
{
    struct base *unused = NULL;

    for (unsigned int i = 0; i < BASES_MAX; i++) {
        if (bases[i].qp == qp) {
            return &bases[i];
        }
        if (!bases[i].qp) {
            unused = &bases[i];
        }
    }
    if (unused) {
        *unused = (struct base) { .qp = qp };
    }
    return unused;
}

static void destroy_qp_base(struct rdma_cm_id *id)
{
    for (unsigned int i = 0; i < BASES_MAX; i++) {
        if (bases[i].qp == id->qp) {
            bases[i].qp = NULL;
        }
    }
    real.destroy_qp(id);
}

/* A WRITE with a header has payload besides it. */
static void move_base(struct base *base, const struct ibv_send_wr *wr)
{
    const struct rdisk_wire_request *header =
        (const struct rdisk_wire_request *)(uintptr_t)wr->sg_list[0].addr;

    if (wr->num_sge > 1 && wr->sg_list[0].length == sizeof(*header) &&
        header->opcode == RDISK_OP_WRITE) {
        base->before = base->now;
        base->now = rdisk_bare_base(le64toh(header->offset));
    }
}

static int post_send_stale_base(struct ibv_qp *qp, struct ibv_send_wr *wr,
                                struct ibv_send_wr **bad)
{
    struct base *base = base_of(qp);

    for (struct ibv_send_wr *each = wr; each && base; each = each->next) {
        uint32_t imm = ntohl(each->imm_data);

        if (each->opcode != IBV_WR_RDMA_WRITE_WITH_IMM) {
            continue;
        }
        if (imm & RDISK_BARE_FLAG) {
            uint64_t offset = rdisk_bare_offset(bare_bits, imm, base->before);

            imm = rdisk_imm_bare(bare_bits,
                                 (uint16_t)rdisk_bare_slot(bare_bits, imm),
                                 base->now, offset);
            each->imm_data = htonl(imm);
        } else {
            move_base(base, each);
        }
    }
    return real.post_send(qp, wr, bad);
}

bool sim_mutates_bare(enum sim_mutation mutation)
{
    return mutation == SIM_MUTATE_BARE_BASE ||
           mutation == SIM_MUTATE_BARE_SLOT ||
           mutation == SIM_MUTATE_BARE_BLOCK;
}

void sim_mutate_bare_client(struct rdisk_verbs *verbs,
                            enum sim_mutation mutation, unsigned int slots)
{
    real = *verbs;
    bare_bits = rdisk_bare_bits(slots);
    if (mutation == SIM_MUTATE_BARE_BASE) {
        verbs->post_send = post_send_stale_base;
        verbs->destroy_qp = destroy_qp_base;
    }
}

void sim_mutate_bare_server(struct rdisk_verbs *verbs,
                            enum sim_mutation mutation, unsigned int slots)
{
    real = *verbs;
    bare_bits = rdisk_bare_bits(slots);
    if (mutation == SIM_MUTATE_BARE_SLOT) {
        verbs->poll_cq = poll_cq_other_slot;
    } else if (mutation == SIM_MUTATE_BARE_BLOCK) {
        verbs->poll_cq = poll_cq_next_block;
    }
}
