/* SPDX-License-Identifier: BSD-3-Clause */
/* What goes wrong, from a seed or on demand. */
#include <stdlib.h>

#include "internal.h"

/* ---- Calls that fail -------------------------------------------------- */

int fake_called(struct fake_host *host, enum fake_call call)
{
    struct fake_fault *fault = &host->faults[call];

    fault->calls++;
    if (fault->at == fault->calls) {
        return -fault->error;
    }
    if (fault->one_in && fake_pick(host->fabric, fault->one_in) == 0) {
        return -fault->random_error;
    }
    return 0;
}

void fake_fail(struct fake_host *host, enum fake_call call, unsigned int nth,
               int error)
{
    struct fake_fault *fault = &host->faults[call];

    fake_lock(host->fabric);
    fault->at = nth ? fault->calls + nth : 0;
    fault->error = error;
    pthread_mutex_unlock(&host->fabric->mutex);
}

void fake_fail_randomly(struct fake_host *host, enum fake_call call,
                        unsigned int n, int error)
{
    fake_lock(host->fabric);
    host->faults[call].one_in = n;
    host->faults[call].random_error = error;
    pthread_mutex_unlock(&host->fabric->mutex);
}

uint64_t fake_calls(struct fake_host *host, enum fake_call call)
{
    uint64_t calls;

    fake_lock(host->fabric);
    calls = host->faults[call].calls;
    pthread_mutex_unlock(&host->fabric->mutex);
    return calls;
}

uint64_t fake_not_ready(struct fake_host *host)
{
    uint64_t count;

    fake_lock(host->fabric);
    count = host->not_ready;
    pthread_mutex_unlock(&host->fabric->mutex);
    return count;
}

/* ---- Links ------------------------------------------------------------ */

bool fake_link_up(struct fake_host *a, struct fake_host *b, uint64_t *due)
{
    *due = RDISK_NEVER;
    if (a->down || b->down || a->removed || b->removed || a->no_link ||
        b->no_link || (a->cut >> b->index & 1)) {
        return false;
    }
    if (!fake_linked(a) || !fake_linked(b)) {
        *due = a->settled > b->settled ? a->settled : b->settled;
        return false;
    }
    if (a->delayed[b->index] > a->fabric->now) {
        *due = a->delayed[b->index];
        return false;
    }
    return true;
}

void fake_link_cut(struct fake_host *a, struct fake_host *b, bool cut)
{
    fake_lock(a->fabric);
    a->cut &= ~(1ull << b->index);
    b->cut &= ~(1ull << a->index);
    a->cut |= (uint64_t)cut << b->index;
    b->cut |= (uint64_t)cut << a->index;
    fake_unlock(a->fabric);
}

void fake_host_link(struct fake_host *host, bool up)
{
    fake_lock(host->fabric);
    if (up && host->no_link) {
        host->settled = host->fabric->now + host->fabric->timing.settle;
    }
    host->no_link = !up;
    host->told = host->fabric->now + host->fabric->timing.stale;
    fake_unlock(host->fabric);
}

bool fake_host_deaf(struct fake_host *host)
{
    bool deaf;

    fake_lock(host->fabric);
    deaf = host->deaf;
    pthread_mutex_unlock(&host->fabric->mutex);
    return deaf;
}

void fake_link_delay(struct fake_host *a, struct fake_host *b,
                     uint64_t nanoseconds)
{
    fake_lock(a->fabric);
    a->delayed[b->index] = a->fabric->now + nanoseconds;
    b->delayed[a->index] = a->fabric->now + nanoseconds;
    fake_unlock(a->fabric);
}

/* ---- Queue pairs ------------------------------------------------------ */

struct ibv_qp *fake_host_qp(struct fake_host *host, unsigned int index)
{
    struct fake_qp *qp;

    fake_lock(host->fabric);
    TAILQ_FOREACH(qp, &host->fabric->qps, link) {
        if (qp->host == host && index-- == 0) {
            break;
        }
    }
    pthread_mutex_unlock(&host->fabric->mutex);
    return qp ? &qp->qp : NULL;
}

void fake_qp_cut(struct ibv_qp *ibv, bool cut)
{
    struct fake_qp *qp = (struct fake_qp *)ibv;

    fake_lock(qp->host->fabric);
    qp->cut = cut;
    if (qp->peer) {
        qp->peer->cut = cut;
    }
    fake_unlock(qp->host->fabric);
}

void fake_qp_lose_acks(struct ibv_qp *ibv, bool lost)
{
    struct fake_qp *qp = (struct fake_qp *)ibv;

    fake_lock(qp->host->fabric);
    qp->acks_lost = lost;
    fake_unlock(qp->host->fabric);
}

void fake_qp_break(struct ibv_qp *ibv)
{
    struct fake_qp *qp = (struct fake_qp *)ibv;
    struct fake_qp *peer;

    fake_lock(qp->host->fabric);
    peer = qp->peer;
    fake_qp_fail(qp);
    if (peer) {
        fake_qp_fail(peer);
    }
    fake_unlock(qp->host->fabric);
}

void fake_id_disconnect(struct rdma_cm_id *cm)
{
    struct fake_id *id = (struct fake_id *)cm;

    fake_lock(id->host->fabric);
    if (id->state == FAKE_CM_CONNECTED) {
        id->state = FAKE_CM_DREQ_RECEIVED;
        fake_event_push(id, RDMA_CM_EVENT_DISCONNECTED, 0);
    }
    fake_unlock(id->host->fabric);
}

/* ---- Hosts ------------------------------------------------------------ */

static void break_all(struct fake_host *host, bool mute)
{
    struct fake_qp *qp;

    TAILQ_FOREACH(qp, &host->fabric->qps, link) {
        if (qp->host == host) {
            fake_qp_fail(qp);
            fake_qp_drop_wire(qp, false);
            qp->late = false;
            qp->mute = mute;
        }
    }
}

void fake_host_kill(struct fake_host *host, enum fake_death death)
{
    struct fake_fabric *fabric = host->fabric;
    struct fake_id *id;

    fake_lock(fabric);
    host->down = death == FAKE_POWER_FAILS;
    if (host->down) {
        fake_message_drop(host);
    }
    break_all(host, false);
    TAILQ_FOREACH(id, &fabric->ids, link) {
        bool connected;

        if (id->host != host) {
            continue;
        }
        connected = id->state >= FAKE_CM_REP_SENT &&
                    id->state <= FAKE_CM_DREQ_SENT;
        if (death == FAKE_PROCESS_DIES) {
            fake_id_hang_up(id);
        }
        id->state = FAKE_CM_CLOSED;
        for (int kind = FAKE_ADDR_DONE; kind <= FAKE_TIME_WAIT_END; kind++) {
            fake_message_cancel(fabric, id->number, kind);
        }
        if (connected) {
            fake_event_push(id, RDMA_CM_EVENT_DISCONNECTED, 0);
        }
    }
    fake_unlock(fabric);
}

void fake_host_start(struct fake_host *host)
{
    fake_lock(host->fabric);
    host->down = false;
    fake_unlock(host->fabric);
}

void fake_host_change_user(struct fake_host *host)
{
    fake_lock(host->fabric);
    host->user++;
    fake_unlock(host->fabric);
}

/* Each completion channel in use reports an error from now on. */
static void alarm_channels(struct fake_host *host)
{
    struct fake_qp *qp;

    TAILQ_FOREACH(qp, &host->fabric->qps, link) {
        if (qp->host == host && qp->send_cq->channel) {
            fake_fd_set(qp->send_cq->channel->channel.fd);
        }
        if (qp->host == host && qp->recv_cq->channel) {
            fake_fd_set(qp->recv_cq->channel->channel.fd);
        }
    }
}

void fake_device_closes(struct fake_host *host, unsigned int born)
{
    struct fake_id *id;
    struct fake_pd *pd;
    struct fake_cq *cq;

    TAILQ_FOREACH(id, &host->fabric->ids, link) {
        if (id->host == host && id->id.verbs && id->born == born) {
            return;
        }
    }
    TAILQ_FOREACH(pd, &host->pds, link) {
        if (pd->born == born) {
            fake_misuse(host->fabric,
                        "the connection manager closes a "
                        "removed device on which there is still a protection "
                        "domain");
            return;
        }
    }
    TAILQ_FOREACH(cq, &host->cqs, link) {
        if (cq->born == born) {
            fake_misuse(host->fabric,
                        "the connection manager closes a "
                        "removed device on which there is still a completion "
                        "queue");
            return;
        }
    }
}

void fake_host_remove_device(struct fake_host *host, bool flush)
{
    struct fake_id *id;

    fake_lock(host->fabric);
    host->removed = true;
    host->removals++;
    break_all(host, !flush);
    alarm_channels(host);
    TAILQ_FOREACH(id, &host->fabric->ids, link) {
        if (id->host == host && id->id.verbs) {
            fake_event_push(id, RDMA_CM_EVENT_DEVICE_REMOVAL, 0);
            /* A listener on its address gets no event any more. */
            if (id->state == FAKE_CM_LISTEN) {
                id->state = FAKE_CM_BOUND;
            }
        }
    }
    fake_device_closes(host, host->removals - 1);
    fake_unlock(host->fabric);
}

void fake_host_restore_device(struct fake_host *host)
{
    fake_lock(host->fabric);
    host->removed = false;
    host->deaf = false; /* it is another one */
    fake_unlock(host->fabric);
}
