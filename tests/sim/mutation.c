/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/mutation.h"

#include "tests/sim/disk.h"
#include "transport/wire/wire.h"

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

/* The functions used are the same for all hosts. */
static struct rdisk_verbs real;
static unsigned int calls;

/* Queue pairs that are not in ERROR yet, and ids not disconnected. */
#define LATE_MAX 64u
static struct ibv_qp *late_qps[LATE_MAX];
static struct rdma_cm_id *late_ids[LATE_MAX];

static int modify_qp_late(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask)
{
    for (unsigned int i = 0; i < LATE_MAX; i++) {
        if (!late_qps[i]) {
            late_qps[i] = qp;
            return 0;
        }
    }
    return real.modify_qp(qp, attr, mask);
}

static int disconnect_late(struct rdma_cm_id *id)
{
    for (unsigned int i = 0; i < LATE_MAX; i++) {
        if (!late_ids[i]) {
            late_ids[i] = id;
            return 0;
        }
    }
    return real.disconnect(id);
}

static void destroy_qp_forgotten(struct rdma_cm_id *id)
{
    for (unsigned int i = 0; i < LATE_MAX; i++) {
        late_qps[i] = late_qps[i] == id->qp ? NULL : late_qps[i];
    }
    real.destroy_qp(id);
}

static void destroy_id_forgotten(struct rdma_cm_id *id)
{
    for (unsigned int i = 0; i < LATE_MAX; i++) {
        late_ids[i] = late_ids[i] == id ? NULL : late_ids[i];
    }
    real.destroy_id(id);
}

bool sim_mutate_catch_up(void)
{
    struct ibv_qp_attr attr = { .qp_state = IBV_QPS_ERR };
    bool any = false;

    /* Now and then is late enough. */
    if (++calls % 64) {
        return late_qps[0] || late_ids[0];
    }
    for (unsigned int i = 0; i < LATE_MAX; i++) {
        any |= late_qps[i] || late_ids[i];
        if (late_qps[i]) {
            real.modify_qp(late_qps[i], &attr, IBV_QP_STATE);
        }
        if (late_ids[i]) {
            real.disconnect(late_ids[i]);
        }
        late_qps[i] = NULL;
        late_ids[i] = NULL;
    }
    return any;
}

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
        if (each->num_sge && each->opcode != IBV_WR_SEND && ++calls % 13 == 0) {
            each->wr.rdma.remote_addr += SIM_BLOCK;
        }
    }
    return real.post_send(qp, wr, bad);
}

static int post_send_other_reply(struct ibv_qp *qp, struct ibv_send_wr *wr,
                                 struct ibv_send_wr **bad)
{
    for (struct ibv_send_wr *each = wr; each; each = each->next) {
        struct rdisk_wire_message *message;

        if (each->opcode != IBV_WR_SEND || !each->num_sge) {
            continue;
        }
        message = (void *)(uintptr_t)each->sg_list[0].addr;
        if (le16toh(message->type) == RDISK_MSG_DELETE_REPLY) {
            message->type = htole16(RDISK_MSG_CREATE_REPLY);
        }
    }
    return real.post_send(qp, wr, bad);
}

/* An invalidation completes, and nothing has been invalidated. */
static int post_send_without_invalidation(struct ibv_qp *qp,
                                          struct ibv_send_wr *wr,
                                          struct ibv_send_wr **bad)
{
    for (struct ibv_send_wr *each = wr; each; each = each->next) {
        if (each->opcode == IBV_WR_LOCAL_INV) {
            each->opcode = IBV_WR_RDMA_WRITE;
        }
    }
    return real.post_send(qp, wr, bad);
}

/* Queue pairs, and the last signalled send of each. */
#define PAIRS_MAX 256u
static struct pair {
    uint32_t qp_num; /* 0: free */
    uint64_t last;   /* wr_id */
    bool sent;
    bool windows; /* it has invalidated some: a promise of their own */
} pairs[PAIRS_MAX];

static struct pair *find_pair(uint32_t qp_num)
{
    struct pair *pair = pairs;

    while (pair->qp_num && pair->qp_num != qp_num &&
           pair + 1 != pairs + PAIRS_MAX) {
        pair++;
    }
    if (pair->qp_num != qp_num) {
        *pair = (struct pair) { .qp_num = qp_num };
    }
    return pair;
}

static int post_send_noted(struct ibv_qp *qp, struct ibv_send_wr *wr,
                           struct ibv_send_wr **bad)
{
    struct pair *pair = find_pair(qp->qp_num);

    for (struct ibv_send_wr *each = wr; each; each = each->next) {
        pair->windows |= each->opcode == IBV_WR_LOCAL_INV;
        if (each->opcode == IBV_WR_RDMA_WRITE_WITH_IMM &&
            each->send_flags & IBV_SEND_SIGNALED) {
            pair->last = each->wr_id;
            pair->sent = true;
        }
    }
    return real.post_send(qp, wr, bad);
}

/* With each answer all sends complete. */
static int poll_cq_early(struct ibv_cq *cq, int count, struct ibv_wc *wc)
{
    int n = real.poll_cq(cq, count, wc);

    for (int i = 0; i < n && n < count; i++) {
        struct pair *pair;

        if (wc[i].status != IBV_WC_SUCCESS ||
            wc[i].opcode != IBV_WC_RECV_RDMA_WITH_IMM) {
            continue;
        }
        pair = find_pair(wc[i].qp_num);
        if (pair->sent && !pair->windows) {
            pair->sent = false;
            wc[n++] = (struct ibv_wc) {
                .wr_id = pair->last,
                .status = IBV_WC_SUCCESS,
                .opcode = IBV_WC_RDMA_WRITE,
                .qp_num = pair->qp_num,
            };
        }
    }
    return n;
}

static int query_port_active(struct ibv_context *context, uint8_t port,
                             struct ibv_port_attr *attr)
{
    int ret = real.query_port(context, port, attr);

    attr->state = IBV_PORT_ACTIVE;
    return ret;
}

static bool interface_up_always(struct rdma_cm_id *id)
{
    (void)id;
    return true;
}

static int name_answer_first(struct rdisk_name_query *query,
                             struct rdisk_addresses *addresses,
                             const char **why)
{
    int ret = real.name_answer(query, addresses, why);

    if (ret == 0) {
        addresses->count = 1;
    }
    return ret;
}

static int name_answer_old(struct rdisk_name_query *query,
                           struct rdisk_addresses *addresses, const char **why)
{
    static struct rdisk_addresses old;
    int ret = real.name_answer(query, addresses, why);

    if (ret == 0) {
        old = old.count ? old : *addresses;
        *addresses = old;
    }
    return ret;
}

void sim_mutate_client_verbs(struct rdisk_verbs *verbs,
                             enum sim_mutation mutation)
{
    real = *verbs;
    switch (mutation) {
    case SIM_MUTATE_LATE_DMA:
        verbs->modify_qp = modify_qp_late;
        verbs->disconnect = disconnect_late;
        verbs->destroy_qp = destroy_qp_forgotten;
        verbs->destroy_id = destroy_id_forgotten;
        break;
    case SIM_MUTATE_WINDOW_OPEN:
        verbs->post_send = post_send_without_invalidation;
        break;
    case SIM_MUTATE_ACK_NOT_AWAITED:
        verbs->post_send = post_send_noted;
        verbs->poll_cq = poll_cq_early;
        break;
    case SIM_MUTATE_NO_ERROR_STATE:
        verbs->modify_qp = modify_qp_not;
        verbs->disconnect = disconnect_not;
        break;
    case SIM_MUTATE_LINKLESS_DISCONNECT:
        verbs->query_port = query_port_active;
        verbs->interface_up = interface_up_always;
        break;
    case SIM_MUTATE_ONE_ADDRESS:
        verbs->name_answer = name_answer_first;
        break;
    case SIM_MUTATE_RESOLVED_ONCE:
        verbs->name_answer = name_answer_old;
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
    } else if (mutation == SIM_MUTATE_OTHER_REPLY) {
        verbs->post_send = post_send_other_reply;
    }
}
