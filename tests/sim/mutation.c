/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/mutation.h"

#include "tests/sim/disk.h"

static const struct {
    const char *name;
    int promise;
    const char *what;
} mutations[SIM_MUTATION_COUNT] = {
    [SIM_INTACT] = { "none", 0, "nothing is broken" },
#define ENTRY(id, name, promise, what) \
    [SIM_MUTATE_##id] = { name, promise, what },
    SIM_MUTATIONS(ENTRY)
#undef ENTRY
};

const char *sim_mutation_name(enum sim_mutation mutation)
{
    return mutations[mutation].name;
}

const char *sim_mutation_what(enum sim_mutation mutation)
{
    return mutations[mutation].what;
}

int sim_mutation_promise(enum sim_mutation mutation)
{
    return mutations[mutation].promise;
}

/* ---- Verbs ------------------------------------------------------------- */

/* The functions are the same for all hosts but for create_event_channel. */
static struct rdisk_verbs real;
static unsigned int calls;

static int modify_qp_not(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask)
{
    return attr->qp_state == IBV_QPS_ERR ? 0 : real.modify_qp(qp, attr, mask);
}

static int disconnect_not(struct rdma_cm_id *id)
{
    return 0;
}

static int poll_cq_losing(struct ibv_cq *cq, int count, struct ibv_wc *wc)
{
    int n = real.poll_cq(cq, count, wc);

    for (int i = 0; i < n; i++) {
        if (wc[i].status == IBV_WC_WR_FLUSH_ERR && ++calls % 7 == 0) {
            for (int j = i; j + 1 < n; j++) {
                wc[j] = wc[j + 1];
            }
            return n - 1;
        }
    }
    return n;
}

static int post_send_astray(struct ibv_qp *qp, struct ibv_send_wr *wr,
                            struct ibv_send_wr **bad)
{
    for (struct ibv_send_wr *each = wr; each; each = each->next) {
        if (each->num_sge && each->opcode != IBV_WR_SEND &&
            ++calls % 13 == 0) {
            each->wr.rdma.remote_addr += SIM_BLOCK;
        }
    }
    return real.post_send(qp, wr, bad);
}

void sim_mutate_client_verbs(struct rdisk_verbs *verbs,
                             enum sim_mutation mutation)
{
    real = *verbs;
    switch (mutation) {
    case SIM_MUTATE_LATE_DMA:
    case SIM_MUTATE_NO_ERROR_STATE:
        verbs->modify_qp = modify_qp_not;
        verbs->disconnect = disconnect_not;
        break;
    case SIM_MUTATE_LOST_FLUSH:
        verbs->poll_cq = poll_cq_losing;
        break;
    default:
        break;
    }
}

void sim_mutate_server_verbs(struct rdisk_verbs *verbs,
                             enum sim_mutation mutation)
{
    real = *verbs;
    if (mutation == SIM_MUTATE_WRONG_ADDRESS) {
        verbs->post_send = post_send_astray;
    }
}
