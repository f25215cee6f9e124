/* SPDX-License-Identifier: BSD-3-Clause */
/* Queue pairs: their states, and what is posted to them. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static struct fake_qp **hash_of(struct fake_fabric *fabric, uint32_t number)
{
    return &fabric->qp_hash[number % FAKE_QP_HASH];
}

struct fake_qp *fake_find_qp(struct fake_fabric *fabric, uint32_t number)
{
    struct fake_qp *qp = *hash_of(fabric, number);

    while (qp && qp->qp.qp_num != number) {
        qp = qp->hash_next;
    }
    return qp;
}

static void enter_fabric(struct fake_fabric *fabric, struct fake_qp *qp)
{
    struct fake_qp **first = hash_of(fabric, qp->qp.qp_num);

    TAILQ_INSERT_TAIL(&fabric->qps, qp, link);
    qp->serial = ++fabric->qp_serial;
    qp->hash_next = *first;
    *first = qp;
}

static void leave_fabric(struct fake_fabric *fabric, struct fake_qp *qp)
{
    struct fake_qp **link = hash_of(fabric, qp->qp.qp_num);

    while (*link != qp) {
        link = &(*link)->hash_next;
    }
    *link = qp->hash_next;
    TAILQ_REMOVE(&fabric->qps, qp, link);
    if (qp->busy) {
        TAILQ_REMOVE(&fabric->busy, qp, busy_link);
    }
}

void fake_qp_touch(struct fake_qp *qp)
{
    struct fake_fabric *fabric = qp->host->fabric;
    struct fake_qp *before;

    if (qp->busy) {
        return;
    }
    qp->busy = true;
    before = TAILQ_LAST(&fabric->busy, fake_busy_list);
    while (before && before->serial > qp->serial) {
        before = TAILQ_PREV(before, fake_busy_list, busy_link);
    }
    if (before) {
        TAILQ_INSERT_AFTER(&fabric->busy, before, qp, busy_link);
    } else {
        TAILQ_INSERT_HEAD(&fabric->busy, qp, busy_link);
    }
}

bool fake_qp_rests(const struct fake_qp *qp)
{
    return STAILQ_EMPTY(&qp->wire) && qp->send_acked == qp->send_posted &&
           (qp->qp.state != IBV_QPS_ERR || qp->recv_consumed == qp->recv_flush);
}

/* ---- Creation --------------------------------------------------------- */

static int check_qp(struct fake_id *id, struct ibv_pd *pd,
                    const struct ibv_qp_init_attr *attr)
{
    struct fake_host *host = id->host;
    const struct ibv_qp_cap *cap = &attr->cap;
    uint32_t max_wr = host->limits.max_qp_wr;
    uint32_t max_sge = host->limits.max_sge;
    int ret = fake_called(host, FAKE_CREATE_QP);

    if (ret < 0) {
        return ret;
    }
    if (host->removed) {
        return -EIO;
    }
    if (!id->id.verbs || id->id.qp || !pd || !attr->send_cq || !attr->recv_cq ||
        attr->srq || attr->qp_type != IBV_QPT_RC ||
        pd->context != fake_context(host) ||
        attr->send_cq->context != fake_context(host) ||
        attr->recv_cq->context != fake_context(host)) {
        return -EINVAL;
    }
    if (!cap->max_send_wr || cap->max_send_wr > max_wr || !cap->max_recv_wr ||
        cap->max_recv_wr > max_wr || !cap->max_send_sge ||
        cap->max_send_sge > max_sge || !cap->max_recv_sge ||
        cap->max_recv_sge > max_sge ||
        cap->max_inline_data > host->limits.max_inline) {
        return -EINVAL;
    }
    if (host->qp_count >= (unsigned int)host->limits.max_qp) {
        return -ENOMEM;
    }
    return 0;
}

static struct fake_qp *new_qp(struct fake_id *id, struct fake_pd *pd,
                              const struct ibv_qp_init_attr *attr)
{
    struct fake_fabric *fabric = id->host->fabric;
    struct fake_qp *qp = fake_alloc(sizeof(*qp));

    qp->host = id->host;
    qp->born = id->host->removals;
    qp->id = id;
    qp->pd = pd;
    qp->send_cq = (struct fake_cq *)attr->send_cq;
    qp->recv_cq = (struct fake_cq *)attr->recv_cq;
    qp->cap = attr->cap;
    qp->signal_all = attr->sq_sig_all;
    qp->stalled = RDISK_NEVER;
    qp->qp.context = fake_context(id->host);
    qp->qp.qp_context = attr->qp_context;
    qp->qp.pd = &pd->pd;
    qp->qp.send_cq = attr->send_cq;
    qp->qp.recv_cq = attr->recv_cq;
    qp->qp.qp_type = IBV_QPT_RC;
    qp->qp.state = IBV_QPS_INIT;
    do {
        qp->qp.qp_num = 1 + fake_pick(fabric, 0xfffffe);
    } while (fake_find_qp(fabric, qp->qp.qp_num));
    qp->sends = fake_alloc(attr->cap.max_send_wr * sizeof(*qp->sends));
    qp->send_sges = fake_alloc((size_t)attr->cap.max_send_wr *
                               attr->cap.max_send_sge * sizeof(*qp->send_sges));
    qp->send_sums = fake_alloc((size_t)attr->cap.max_send_wr *
                               attr->cap.max_send_sge * sizeof(*qp->send_sums));
    qp->inline_data = fake_alloc((size_t)attr->cap.max_send_wr *
                                 attr->cap.max_inline_data);
    qp->receives = fake_alloc(attr->cap.max_recv_wr * sizeof(*qp->receives));
    qp->recv_sges = fake_alloc((size_t)attr->cap.max_recv_wr *
                               attr->cap.max_recv_sge * sizeof(*qp->recv_sges));
    STAILQ_INIT(&qp->wire);
    return qp;
}

static int create_qp(struct rdma_cm_id *rdma, struct ibv_pd *pd,
                     struct ibv_qp_init_attr *attr)
{
    struct fake_id *id = (struct fake_id *)rdma;
    struct fake_fabric *fabric = id->host->fabric;
    int ret;

    fake_lock(fabric);
    ret = check_qp(id, pd, attr);
    if (ret == 0) {
        struct fake_qp *qp = new_qp(id, (struct fake_pd *)pd, attr);

        enter_fabric(fabric, qp);
        qp->pd->users++;
        qp->send_cq->users++;
        qp->recv_cq->users++;
        id->host->qp_count++;
        fabric->live[FAKE_OBJECT_QP]++;
        id->id.qp = &qp->qp;
        id->id.pd = pd;
        id->id.send_cq = attr->send_cq;
        id->id.recv_cq = attr->recv_cq;
    }
    fake_unlock(fabric);
    return ret;
}

/* ---- States ----------------------------------------------------------- */

void fake_qp_connect(struct fake_qp *qp, uint32_t peer_num,
                     struct fake_host *peer_host)
{
    struct fake_qp *peer = fake_find_qp(qp->host->fabric, peer_num);

    qp->qp.state = IBV_QPS_RTS;
    qp->peer_num = peer_num;
    qp->peer_host = peer_host;
    qp->peer = peer && peer->host == peer_host ? peer : NULL;
    qp->ack_timeout = qp->id->ack_timeout;
    qp->retry_count = qp->id->retry_count;
    qp->reads_in = qp->id->reads_in;
    qp->reads_out = qp->id->reads_out;
    qp->rnr_retry = qp->id->rnr_retry;
}

static void drop_packet(struct fake_qp *to, struct fake_packet *packet)
{
    STAILQ_REMOVE(&to->wire, packet, fake_packet, link);
    free(packet);
}

/*
 * What this one has sent and is still in flight gets lost: all, or all but
 * what was far enough.
 */
void fake_qp_drop_wire(struct fake_qp *qp, bool some)
{
    struct fake_qp *peer = qp->peer;
    struct fake_packet *packet;
    unsigned int count = 0;

    if (!peer) {
        return;
    }
    STAILQ_FOREACH(packet, &peer->wire, link) {
        count += packet->from == qp->qp.qp_num;
    }
    count = some ? fake_pick(qp->host->fabric, count + 1) : 0;
    packet = STAILQ_FIRST(&peer->wire);
    while (packet) {
        struct fake_packet *next = STAILQ_NEXT(packet, link);

        if (packet->from == qp->qp.qp_num) {
            if (count) {
                count--;
            } else {
                drop_packet(peer, packet);
            }
        }
        packet = next;
    }
}

/*
 * Packets to a queue pair in error are dropped, but one whose bytes were on
 * their way through the device can still land until the flush is over.
 */
static void drop_arrivals(struct fake_qp *qp)
{
    struct fake_packet *packet = STAILQ_FIRST(&qp->wire);

    qp->late = packet && packet->size && packet->opcode != IBV_WR_SEND &&
               (qp->recv_posted != qp->recv_consumed ||
                qp->send_posted != qp->send_acked) &&
               fake_pick(qp->host->fabric, 2);
    if (packet && qp->late) {
        packet = STAILQ_NEXT(packet, link);
    }
    while (packet) {
        struct fake_packet *next = STAILQ_NEXT(packet, link);

        drop_packet(qp, packet);
        packet = next;
    }
}

/* The peer is informed of its operations only as far as answers were sent. */
static void stop_answers(struct fake_qp *qp)
{
    struct fake_qp *peer = qp->peer;

    if (peer && peer->peer == qp && !peer->ack_limited) {
        peer->ack_limited = true;
        peer->ack_limit = peer->send_acked +
                          fake_pick(qp->host->fabric,
                                    peer->send_executed - peer->send_acked + 1);
    }
}

/*
 * As in rxe, where a program's receives never pass through the kernel: what is
 * posted later is flushed when ERROR is entered once more, and not before.
 */
void fake_qp_fail(struct fake_qp *qp)
{
    qp->recv_flush = qp->recv_posted;
    fake_qp_touch(qp);
    if (qp->qp.state == IBV_QPS_ERR) {
        return;
    }
    qp->qp.state = IBV_QPS_ERR;
    qp->stalled = RDISK_NEVER;
    drop_arrivals(qp);
    stop_answers(qp);
    fake_qp_drop_wire(qp, true);
}

static void destroy_qp(struct rdma_cm_id *rdma)
{
    struct fake_id *id = (struct fake_id *)rdma;
    struct fake_qp *qp = (struct fake_qp *)id->id.qp;
    struct fake_fabric *fabric = id->host->fabric;
    struct fake_qp *other;
    struct fake_packet *packet;

    if (!qp) {
        return;
    }
    fake_lock(fabric);
    if (fake_windows_of(qp)) {
        fake_misuse(fabric,
                    "a queue pair is destroyed with %u windows bound "
                    "to it",
                    fake_windows_of(qp));
        fake_windows_drop(qp->host, NULL, qp);
    }
    fake_qp_fail(qp);
    while ((packet = STAILQ_FIRST(&qp->wire))) {
        drop_packet(qp, packet);
    }
    TAILQ_FOREACH(other, &fabric->qps, link) {
        if (other->peer == qp) {
            other->peer = NULL;
        }
    }
    leave_fabric(fabric, qp);
    qp->pd->users--;
    qp->send_cq->users--;
    qp->recv_cq->users--;
    qp->host->qp_count--;
    fabric->live[FAKE_OBJECT_QP]--;
    id->id.qp = NULL;
    for (uint32_t i = qp->send_acked; i != qp->send_posted; i++) {
        free(fake_send_at(qp, i)->answer);
    }
    free(qp->sends);
    free(qp->send_sges);
    free(qp->send_sums);
    free(qp->inline_data);
    free(qp->receives);
    free(qp->recv_sges);
    free(qp);
    fake_unlock(fabric);
}

static int modify_qp(struct ibv_qp *ibv, struct ibv_qp_attr *attr, int mask)
{
    struct fake_qp *qp = (struct fake_qp *)ibv;
    struct fake_fabric *fabric = qp->host->fabric;
    int ret;

    fake_lock(fabric);
    ret = fake_called(qp->host, FAKE_MODIFY_QP);
    if (ret == 0 && fake_gone(qp->host, qp->born)) {
        ret = -EIO;
    }
    if (ret == 0 && (!(mask & IBV_QP_STATE) || attr->qp_state != IBV_QPS_ERR)) {
        /* rdma_cm makes all other transitions. */
        ret = -EINVAL;
    }
    if (ret == 0) {
        fake_qp_fail(qp);
    }
    fake_unlock(fabric);
    return ret;
}

/* ---- Posting ---------------------------------------------------------- */

static bool opcode_known(enum ibv_wr_opcode opcode)
{
    return opcode == IBV_WR_SEND || opcode == IBV_WR_RDMA_WRITE ||
           opcode == IBV_WR_RDMA_WRITE_WITH_IMM || opcode == IBV_WR_RDMA_READ ||
           fake_is_local(opcode);
}

static int check_send(struct fake_qp *qp, const struct ibv_send_wr *wr,
                      uint64_t *length)
{
    if (fake_gone(qp->host, qp->born)) {
        return -EIO;
    }
    if ((qp->qp.state != IBV_QPS_RTS && qp->qp.state != IBV_QPS_ERR) ||
        !opcode_known(wr->opcode) || wr->num_sge < 0 ||
        (wr->opcode == IBV_WR_RDMA_READ &&
         (!qp->reads_out || (wr->send_flags & IBV_SEND_INLINE)))) {
        return -EINVAL;
    }
    if ((uint32_t)wr->num_sge > qp->cap.max_send_sge ||
        (wr->opcode == IBV_WR_RDMA_READ &&
         wr->num_sge > qp->host->limits.max_sge_rd) ||
        qp->send_posted - qp->send_freed >= qp->cap.max_send_wr) {
        return -ENOMEM;
    }
    *length = 0;
    for (int i = 0; i < wr->num_sge; i++) {
        *length += wr->sg_list[i].length;
    }
    if (*length > (1u << 31) || ((wr->send_flags & IBV_SEND_INLINE) &&
                                 *length > qp->cap.max_inline_data)) {
        return -EINVAL;
    }
    return 0;
}

static int post_one_send(struct fake_qp *qp, const struct ibv_send_wr *wr)
{
    uint32_t place = qp->send_posted % qp->cap.max_send_wr;
    struct fake_send *send = &qp->sends[place];
    struct fake_bind bind = { 0 };
    uint64_t length;
    int ret = check_send(qp, wr, &length);

    if (ret == 0 && fake_is_local(wr->opcode)) {
        ret = fake_window_describe(qp, wr, &bind);
    }
    if (ret < 0) {
        return ret;
    }
    *send = (struct fake_send) {
        .wr_id = wr->wr_id,
        .opcode = wr->opcode,
        .signalled = qp->signal_all || (wr->send_flags & IBV_SEND_SIGNALED),
        .solicited = wr->send_flags & IBV_SEND_SOLICITED,
        .is_inline = wr->send_flags & IBV_SEND_INLINE,
        .imm = wr->imm_data,
        .remote = wr->wr.rdma.remote_addr,
        .rkey = wr->wr.rdma.rkey,
        .sges = qp->send_sges + (size_t)place * qp->cap.max_send_sge,
        .sums = qp->send_sums + (size_t)place * qp->cap.max_send_sge,
        .num_sge = wr->num_sge,
        .inline_data = qp->inline_data +
                       (size_t)place * qp->cap.max_inline_data,
        .length = length,
        .status = IBV_WC_SUCCESS,
        .bind = bind,
    };
    if (wr->num_sge) {
        memcpy(send->sges, wr->sg_list, wr->num_sge * sizeof(*send->sges));
    }
    if (send->is_inline) {
        size_t done = 0;

        for (int i = 0; i < wr->num_sge; i++) {
            memcpy(send->inline_data + done,
                   (void *)(uintptr_t)wr->sg_list[i].addr,
                   wr->sg_list[i].length);
            done += wr->sg_list[i].length;
        }
    }
    qp->send_posted++;
    fake_qp_touch(qp);
    return 0;
}

static int post_send(struct ibv_qp *ibv, struct ibv_send_wr *wr,
                     struct ibv_send_wr **bad)
{
    struct fake_qp *qp = (struct fake_qp *)ibv;
    struct fake_fabric *fabric = qp->host->fabric;
    int ret;

    fake_lock(fabric);
    ret = fake_called(qp->host, FAKE_POST_SEND);
    while (ret == 0 && wr) {
        ret = post_one_send(qp, wr);
        if (ret == 0) {
            wr = wr->next;
        }
    }
    *bad = wr;
    fake_unlock(fabric);
    return ret;
}

static int post_one_receive(struct fake_qp *qp, const struct ibv_recv_wr *wr)
{
    uint32_t place = qp->recv_posted % qp->cap.max_recv_wr;
    struct fake_receive *receive = &qp->receives[place];

    if (fake_gone(qp->host, qp->born)) {
        return -EIO;
    }
    if (qp->qp.state == IBV_QPS_RESET || wr->num_sge < 0) {
        return -EINVAL;
    }
    if ((uint32_t)wr->num_sge > qp->cap.max_recv_sge ||
        qp->recv_posted - qp->recv_freed >= qp->cap.max_recv_wr) {
        return -ENOMEM;
    }
    receive->wr_id = wr->wr_id;
    receive->sges = qp->recv_sges + (size_t)place * qp->cap.max_recv_sge;
    receive->num_sge = wr->num_sge;
    if (wr->num_sge) {
        memcpy(receive->sges, wr->sg_list,
               wr->num_sge * sizeof(*receive->sges));
    }
    qp->recv_posted++;
    return 0;
}

static int post_recv(struct ibv_qp *ibv, struct ibv_recv_wr *wr,
                     struct ibv_recv_wr **bad)
{
    struct fake_qp *qp = (struct fake_qp *)ibv;
    struct fake_fabric *fabric = qp->host->fabric;
    int ret;

    fake_lock(fabric);
    ret = fake_called(qp->host, FAKE_POST_RECV);
    while (ret == 0 && wr) {
        ret = post_one_receive(qp, wr);
        if (ret == 0) {
            wr = wr->next;
        }
    }
    *bad = wr;
    fake_unlock(fabric);
    return ret;
}

void fake_qp_verbs(struct rdisk_verbs *verbs)
{
    verbs->create_qp = create_qp;
    verbs->destroy_qp = destroy_qp;
    verbs->modify_qp = modify_qp;
    verbs->post_send = post_send;
    verbs->post_recv = post_recv;
}
