/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory windows of type 2B: a key for a part of a region, good through one
 * queue pair only, from a bind to an invalidation. Both are work requests, and
 * take effect in their order among the others.
 */
#include <stdlib.h>

#include "internal.h"

struct fake_mw *fake_find_window(struct fake_host *host, uint32_t index)
{
    struct fake_mw *mw;

    TAILQ_FOREACH(mw, &host->mws, link) {
        if (mw->key >> 8 == index) {
            break;
        }
    }
    return mw;
}

unsigned int fake_windows_of(const struct fake_qp *qp)
{
    unsigned int count = 0;
    struct fake_mw *mw;

    TAILQ_FOREACH(mw, &qp->host->mws, link) {
        count += mw->qp == qp;
    }
    return count;
}

static void unbind(struct fake_mw *mw)
{
    if (mw->mr) {
        mw->mr->windows--;
    }
    mw->mr = NULL;
    mw->qp = NULL;
}

void fake_windows_drop(struct fake_host *host, const struct fake_mr *mr,
                       const struct fake_qp *qp)
{
    struct fake_mw *mw;

    TAILQ_FOREACH(mw, &host->mws, link) {
        if (mw->mr && (mw->mr == mr || mw->qp == qp)) {
            unbind(mw);
        }
    }
}

/* ---- Life -------------------------------------------------------------- */

static int check_alloc(struct fake_host *host, enum ibv_mw_type type)
{
    int ret = fake_called(host, FAKE_ALLOC_MW);

    if (ret < 0) {
        return ret;
    }
    if (host->removed) {
        return -EIO;
    }
    if (!host->limits.max_mw || type != IBV_MW_TYPE_2) {
        return -EOPNOTSUPP;
    }
    return host->mw_count < (unsigned int)host->limits.max_mw ? 0 : -ENOMEM;
}

static struct ibv_mw *alloc_mw(struct ibv_pd *ibv, enum ibv_mw_type type)
{
    struct fake_pd *pd = (struct fake_pd *)ibv;
    struct fake_host *host = pd->host;
    struct fake_mw *mw = NULL;
    int ret;

    fake_lock(host->fabric);
    ret = check_alloc(host, type);
    if (ret == 0) {
        mw = fake_alloc(sizeof(*mw));
        mw->pd = pd;
        mw->key = fake_new_key(host);
        mw->mw.context = ibv->context;
        mw->mw.pd = ibv;
        mw->mw.rkey = mw->key;
        mw->mw.type = type;
        TAILQ_INSERT_TAIL(&host->mws, mw, link);
        pd->users++;
        host->mw_count++;
        host->fabric->live[FAKE_OBJECT_MW]++;
    }
    fake_unlock(host->fabric);
    if (ret < 0) {
        errno = -ret;
        return NULL;
    }
    return &mw->mw;
}

static int dealloc_mw(struct ibv_mw *ibv)
{
    struct fake_mw *mw = (struct fake_mw *)ibv;
    struct fake_host *host = mw->pd->host;

    fake_lock(host->fabric);
    unbind(mw);
    TAILQ_REMOVE(&host->mws, mw, link);
    mw->pd->users--;
    host->mw_count--;
    host->fabric->live[FAKE_OBJECT_MW]--;
    free(mw);
    fake_unlock(host->fabric);
    return 0;
}

/* ---- Work requests ----------------------------------------------------- */

int fake_window_describe(const struct fake_qp *qp, const struct ibv_send_wr *wr,
                         struct fake_bind *bind)
{
    if (wr->num_sge || (wr->send_flags & IBV_SEND_INLINE)) {
        return -EINVAL;
    }
    if (wr->opcode == IBV_WR_LOCAL_INV) {
        bind->old_key = wr->invalidate_rkey;
        return 0;
    }
    /* The immediate, too: Soft-RoCE's library insists. */
    if (wr->imm_data || !wr->bind_mw.mw || !wr->bind_mw.bind_info.mr ||
        wr->bind_mw.mw->context != qp->qp.context) {
        return -EINVAL;
    }
    *bind = (struct fake_bind) {
        .old_key = wr->bind_mw.mw->rkey,
        .new_key = wr->bind_mw.rkey,
        .lkey = wr->bind_mw.bind_info.mr->lkey,
        .address = wr->bind_mw.bind_info.addr,
        .length = wr->bind_mw.bind_info.length,
        .access = wr->bind_mw.bind_info.mw_access_flags,
    };
    return 0;
}

static struct fake_mr *region_of(struct fake_qp *qp,
                                 const struct fake_bind *bind)
{
    struct fake_mr *mr;

    TAILQ_FOREACH(mr, &qp->host->mrs, link) {
        uint64_t start = (uintptr_t)mr->mr.addr;

        if (mr->mr.lkey == bind->lkey) {
            return mr->pd == qp->pd && (mr->access & IBV_ACCESS_MW_BIND) &&
                           bind->address >= start &&
                           bind->length <= mr->mr.length &&
                           bind->address - start <= mr->mr.length - bind->length
                       ? mr
                       : NULL;
        }
    }
    return NULL;
}

static enum ibv_wc_status bind_window(struct fake_qp *qp,
                                      const struct fake_bind *bind)
{
    const int writes = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC;
    const int known = writes | IBV_ACCESS_REMOTE_READ;
    struct fake_mw *mw = fake_find_window(qp->host, bind->old_key >> 8);
    struct fake_mr *mr = region_of(qp, bind);

    /* A bound window must be invalidated first; its key changes each time. */
    if (!mw || mw->key != bind->old_key || mw->mr || mw->pd != qp->pd ||
        bind->new_key >> 8 != bind->old_key >> 8 ||
        bind->new_key == bind->old_key || !bind->length || !mr ||
        (bind->access & ~known) ||
        ((bind->access & writes) && !(mr->access & IBV_ACCESS_LOCAL_WRITE))) {
        return IBV_WC_MW_BIND_ERR;
    }
    mw->key = bind->new_key;
    mw->mr = mr;
    mw->qp = qp;
    mw->address = bind->address;
    mw->length = bind->length;
    mw->access = bind->access;
    mr->windows++;
    return IBV_WC_SUCCESS;
}

static enum ibv_wc_status invalidate(struct fake_qp *qp, uint32_t key)
{
    struct fake_mw *mw = fake_find_window(qp->host, key >> 8);

    if (!mw || mw->key != key || mw->qp != qp) {
        return IBV_WC_LOC_QP_OP_ERR;
    }
    unbind(mw);
    return IBV_WC_SUCCESS;
}

enum ibv_wc_status fake_window_execute(struct fake_qp *qp,
                                       const struct fake_send *send)
{
    return send->opcode == IBV_WR_BIND_MW ? bind_window(qp, &send->bind)
                                          : invalidate(qp, send->bind.old_key);
}

/* ---- Access ------------------------------------------------------------ */

bool fake_remote_allows(struct fake_qp *qp, uint32_t key, uint64_t address,
                        uint64_t length)
{
    struct fake_mw *mw = fake_find_window(qp->host, key >> 8);

    if (!mw) {
        return fake_key_allows(qp->host, qp->pd, true, key, address, length,
                               IBV_ACCESS_REMOTE_WRITE);
    }
    return mw->key == key && mw->qp == qp &&
           (mw->access & IBV_ACCESS_REMOTE_WRITE) && address >= mw->address &&
           length <= mw->length && address - mw->address <= mw->length - length;
}

static bool overlap(uint64_t a, uint64_t a_length, uint64_t b,
                    uint64_t b_length)
{
    return a < b + b_length && b < a + a_length;
}

/* True if it admits writes. In ERROR one more may land until all is flushed. */
static bool lets_in(const struct fake_qp *qp)
{
    return qp->qp.state != IBV_QPS_ERR ||
           (qp->late && (qp->send_acked != qp->send_posted ||
                         qp->recv_consumed != qp->recv_posted));
}

bool fake_host_exposes(struct fake_host *host, const void *address,
                       size_t length)
{
    uint64_t start = (uintptr_t)address;
    bool exposed = false;
    struct fake_mr *mr;
    struct fake_mw *mw;

    fake_lock(host->fabric);
    TAILQ_FOREACH(mr, &host->mrs, link) {
        exposed |= (mr->access & IBV_ACCESS_REMOTE_WRITE) &&
                   overlap((uintptr_t)mr->mr.addr, mr->mr.length, start,
                           length);
    }
    TAILQ_FOREACH(mw, &host->mws, link) {
        exposed |= mw->mr && (mw->access & IBV_ACCESS_REMOTE_WRITE) &&
                   lets_in(mw->qp) &&
                   overlap(mw->address, mw->length, start, length);
    }
    pthread_mutex_unlock(&host->fabric->mutex);
    return exposed;
}

bool fake_host_readable(struct fake_host *host, const void *address,
                        size_t length)
{
    bool readable = false;
    struct fake_mr *mr;

    fake_lock(host->fabric);
    TAILQ_FOREACH(mr, &host->mrs, link) {
        readable |= (mr->access & IBV_ACCESS_REMOTE_READ) &&
                    overlap((uintptr_t)mr->mr.addr, mr->mr.length,
                            (uintptr_t)address, length);
    }
    pthread_mutex_unlock(&host->fabric->mutex);
    return readable;
}

void fake_window_verbs(struct rdisk_verbs *verbs)
{
    verbs->alloc_mw = alloc_mw;
    verbs->dealloc_mw = dealloc_mw;
}
