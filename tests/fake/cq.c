/* SPDX-License-Identifier: BSD-3-Clause */
/* Completion queues and their channels. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

/* ---- Completion channels ---------------------------------------------- */

static struct ibv_comp_channel *create_comp_channel(struct ibv_context *context)
{
    struct fake_host *host = fake_context_host(context);
    struct fake_comp_channel *channel = NULL;
    int ret;

    fake_lock(host->fabric);
    ret = fake_called(host, FAKE_CREATE_COMP_CHANNEL);
    if (ret == 0 && host->removed) {
        ret = -EIO;
    }
    if (ret == 0) {
        channel = fake_alloc(sizeof(*channel));
        channel->host = host;
        channel->born = host->removals;
        channel->channel.context = context;
        channel->channel.fd = fake_eventfd();
        TAILQ_INIT(&channel->events);
        host->fabric->live[FAKE_OBJECT_COMP_CHANNEL]++;
    }
    fake_unlock(host->fabric);
    if (ret < 0) {
        errno = -ret;
        return NULL;
    }
    return &channel->channel;
}

static int destroy_comp_channel(struct ibv_comp_channel *ibv)
{
    struct fake_comp_channel *channel = (struct fake_comp_channel *)ibv;
    struct fake_fabric *fabric = channel->host->fabric;
    int ret = 0;

    fake_lock(fabric);
    if (channel->cqs) {
        ret = -EBUSY;
    } else {
        fabric->live[FAKE_OBJECT_COMP_CHANNEL]--;
        close(channel->channel.fd);
        free(channel);
    }
    fake_unlock(fabric);
    return ret;
}

static int get_cq_event(struct ibv_comp_channel *ibv, struct ibv_cq **cq,
                        void **cq_context)
{
    struct fake_comp_channel *channel = (struct fake_comp_channel *)ibv;
    struct fake_fabric *fabric = channel->host->fabric;
    struct fake_cq_event *event;
    int ret = -EAGAIN;

    fake_lock(fabric);
    event = TAILQ_FIRST(&channel->events);
    if (event) {
        TAILQ_REMOVE(&channel->events, event, link);
        event->cq->unacked++;
        *cq = &event->cq->cq;
        *cq_context = event->cq->cq.cq_context;
    }
    if (!event && fake_gone(channel->host, channel->born)) {
        /* Readable permanently, as the kernel makes it. */
        ret = -EIO;
    } else if (event && TAILQ_EMPTY(&channel->events)) {
        fake_fd_clear(channel->channel.fd);
    }
    fake_unlock(fabric);
    free(event);
    return event ? 0 : ret;
}

static void ack_cq_events(struct ibv_cq *ibv, unsigned int count)
{
    struct fake_cq *cq = (struct fake_cq *)ibv;
    struct fake_fabric *fabric = cq->host->fabric;

    fake_lock(fabric);
    if (count > cq->unacked) {
        fake_misuse(fabric, "%u completion events acknowledged, %u taken",
                    count, cq->unacked);
        count = cq->unacked;
    }
    cq->unacked -= count;
    fake_unlock(fabric);
}

/* ---- Completion queues ------------------------------------------------ */

static int check_cq(struct fake_host *host, int cqe,
                    struct ibv_comp_channel *channel, int vector)
{
    int ret = fake_called(host, FAKE_CREATE_CQ);

    if (ret < 0) {
        return ret;
    }
    if (host->removed) {
        return -EIO;
    }
    if (cqe < 1 || cqe > host->limits.max_cqe || vector < 0 ||
        vector >= fake_context(host)->num_comp_vectors ||
        (channel && channel->context != fake_context(host))) {
        return -EINVAL;
    }
    return 0;
}

static struct ibv_cq *create_cq(struct ibv_context *context, int cqe,
                                void *cq_context,
                                struct ibv_comp_channel *channel, int vector)
{
    struct fake_host *host = fake_context_host(context);
    struct fake_cq *cq = NULL;
    int ret;

    fake_lock(host->fabric);
    ret = check_cq(host, cqe, channel, vector);
    if (ret == 0) {
        cq = fake_alloc(sizeof(*cq));
        cq->host = host;
        cq->born = host->removals;
        cq->cq.context = context;
        cq->cq.channel = channel;
        cq->cq.cq_context = cq_context;
        cq->cq.cqe = cqe;
        cq->entries = fake_alloc(cqe * sizeof(*cq->entries));
        cq->channel = (struct fake_comp_channel *)channel;
        if (channel) {
            cq->channel->cqs++;
        }
        TAILQ_INSERT_TAIL(&host->cqs, cq, link);
        host->fabric->live[FAKE_OBJECT_CQ]++;
    }
    fake_unlock(host->fabric);
    if (ret < 0) {
        errno = -ret;
        return NULL;
    }
    return &cq->cq;
}

static void forget_events(struct fake_cq *cq)
{
    struct fake_cq_event *event = TAILQ_FIRST(&cq->channel->events);

    while (event) {
        struct fake_cq_event *next = TAILQ_NEXT(event, link);

        if (event->cq == cq) {
            TAILQ_REMOVE(&cq->channel->events, event, link);
            free(event);
        }
        event = next;
    }
    if (TAILQ_EMPTY(&cq->channel->events)) {
        fake_fd_clear(cq->channel->channel.fd);
    }
    cq->channel->cqs--;
}

static int destroy_cq(struct ibv_cq *ibv)
{
    struct fake_cq *cq = (struct fake_cq *)ibv;
    struct fake_fabric *fabric = cq->host->fabric;
    int ret = 0;

    fake_lock(fabric);
    if (cq->users) {
        ret = -EBUSY;
    } else {
        if (cq->unacked) {
            fake_misuse(fabric,
                        "destroying a completion queue blocks for "
                        "ever: %u events unacknowledged",
                        cq->unacked);
        }
        if (cq->channel) {
            forget_events(cq);
        }
        TAILQ_REMOVE(&cq->host->cqs, cq, link);
        fabric->live[FAKE_OBJECT_CQ]--;
        free(cq->entries);
        free(cq);
    }
    fake_unlock(fabric);
    return ret;
}

static int req_notify_cq(struct ibv_cq *ibv, int solicited_only)
{
    struct fake_cq *cq = (struct fake_cq *)ibv;
    struct fake_fabric *fabric = cq->host->fabric;
    int ret;

    fake_lock(fabric);
    ret = fake_called(cq->host, FAKE_REQ_NOTIFY_CQ);
    if (ret == 0 && fake_gone(cq->host, cq->born)) {
        ret = -EIO;
    }
    if (ret == 0 && cq->arm != FAKE_ARMED) {
        /* An event for completions added from now on, not for those that are
         * there. */
        cq->arm = solicited_only ? FAKE_ARMED_SOLICITED : FAKE_ARMED;
    }
    fake_unlock(fabric);
    return ret;
}

void fake_cq_push(struct fake_cq *cq, const struct fake_cqe *cqe,
                  bool solicited)
{
    if (cq->count == (unsigned int)cq->cq.cqe) {
        fake_misuse(cq->host->fabric, "completion queue of %d overflows",
                    cq->cq.cqe);
        return;
    }
    cq->entries[(cq->first + cq->count++) % cq->cq.cqe] = *cqe;
    if (cqe->wc.status != IBV_WC_SUCCESS) {
        solicited = true;
    }
    if (cq->channel && (cq->arm == FAKE_ARMED ||
                        (cq->arm == FAKE_ARMED_SOLICITED && solicited))) {
        struct fake_cq_event *event = fake_alloc(sizeof(*event));

        cq->arm = FAKE_DISARMED;
        event->cq = cq;
        TAILQ_INSERT_TAIL(&cq->channel->events, event, link);
        fake_fd_set(cq->channel->channel.fd);
    }
}

/* Only now does the queue pair get the places of its work requests back. */
static void give_places_back(struct fake_fabric *fabric,
                             const struct fake_cqe *cqe)
{
    struct fake_qp *qp = fake_find_qp(fabric, cqe->wc.qp_num);

    if (!qp) {
        return;
    }
    if (cqe->send) {
        qp->send_freed = cqe->sequence + 1;
    } else {
        qp->recv_freed = cqe->sequence + 1;
    }
}

static int poll_cq(struct ibv_cq *ibv, int count, struct ibv_wc *wc)
{
    struct fake_cq *cq = (struct fake_cq *)ibv;
    struct fake_fabric *fabric = cq->host->fabric;
    int taken = 0;
    int ret;

    fake_lock(fabric);
    ret = fake_called(cq->host, FAKE_POLL_CQ);
    while (ret == 0 && taken < count && cq->count) {
        const struct fake_cqe *cqe = &cq->entries[cq->first];

        give_places_back(fabric, cqe);
        wc[taken++] = cqe->wc;
        cq->first = (cq->first + 1) % cq->cq.cqe;
        cq->count--;
    }
    fake_unlock(fabric);
    return ret < 0 ? ret : taken;
}

void fake_cq_verbs(struct rdisk_verbs *verbs)
{
    verbs->create_comp_channel = create_comp_channel;
    verbs->destroy_comp_channel = destroy_comp_channel;
    verbs->create_cq = create_cq;
    verbs->destroy_cq = destroy_cq;
    verbs->get_cq_event = get_cq_event;
    verbs->ack_cq_events = ack_cq_events;
    verbs->req_notify_cq = req_notify_cq;
    verbs->poll_cq = poll_cq;
}
