/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests of the block driver "rdma" that name a range and carry no data
 *
 * The work of zeroing, discarding and copying grows with the length, and a disk
 * may be slow at it, while a request that is not answered within
 * request-timeout counts as lost and is sent again, whole.  So a request is
 * split into pieces that take the server a fraction of a second.  How much that
 * is shows in the time that the last ones took.
 *
 * What is in flight of all requests together is limited in the same way, since
 * they share the disk.
 */

#include "qemu/osdep.h"
#include "block/block-io.h"
#include "qemu/timer.h"
#include "qemu/units.h"

#include "rdma.h"

/* Bytes in flight of one operation */
#define RDMA_RANGE_MIN   (64 * KiB)
#define RDMA_RANGE_START (1 * MiB)

/* A piece that took longer makes the next ones smaller, or larger if shorter */
#define RDMA_RANGE_LONG_NS  (500 * SCALE_MS)
#define RDMA_RANGE_SHORT_NS (100 * SCALE_MS)

static RdmaRange *rdma_range_of(BDRVRdmaState *s, enum rdisk_op op)
{
    switch (op) {
    case RDISK_OP_ZEROES:
        return &s->ranges[0];
    case RDISK_OP_DISCARD:
        return &s->ranges[1];
    case RDISK_OP_COPY:
        return &s->ranges[2];
    default:
        g_assert_not_reached();
    }
}

void rdma_ranges_init(BDRVRdmaState *s)
{
    for (size_t i = 0; i < ARRAY_SIZE(s->ranges); i++) {
        RdmaRange *range = &s->ranges[i];

        qemu_mutex_init(&range->lock);
        qemu_co_queue_init(&range->waiting);
        range->limit = RDMA_RANGE_START;
        range->in_flight = 0;
    }
}

void rdma_ranges_destroy(BDRVRdmaState *s)
{
    for (size_t i = 0; i < ARRAY_SIZE(s->ranges); i++) {
        qemu_mutex_destroy(&s->ranges[i].lock);
    }
}

/* Wait until up to @bytes may be sent; returns how many */
static int64_t coroutine_fn rdma_range_get(RdmaRange *range, int64_t bytes)
{
    int64_t piece;

    QEMU_LOCK_GUARD(&range->lock);
    if (!qemu_co_queue_empty(&range->waiting)) {
        qemu_co_queue_wait(&range->waiting, &range->lock);
    }
    while (piece = MIN(bytes, range->limit),
           range->in_flight && range->in_flight + piece > range->limit) {
        qemu_co_queue_wait(&range->waiting, &range->lock);
    }
    range->in_flight += piece;
    return piece;
}

static void coroutine_fn rdma_range_put(RdmaRange *range, int64_t piece,
                                        int64_t max, int64_t ns)
{
    QEMU_LOCK_GUARD(&range->lock);
    range->in_flight -= piece;
    if (ns > RDMA_RANGE_LONG_NS) {
        range->limit = MAX(range->limit / 2, RDMA_RANGE_MIN);
    } else if (ns < RDMA_RANGE_SHORT_NS && piece == range->limit) {
        range->limit = MIN(range->limit * 4, max);
    }
    qemu_co_queue_restart_all(&range->waiting);
}

int coroutine_fn rdma_co_range(BlockDriverState *bs, struct rdisk_request *req,
                               int64_t bytes)
{
    BDRVRdmaState *s = bs->opaque;
    RdmaRange *range = rdma_range_of(s, req->op);
    bool durable = req->flags & RDISK_REQUEST_FUA;
    int ret = 0;

    while (bytes && ret == 0) {
        int64_t piece = rdma_range_get(range, bytes);
        int64_t began = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);

        if (durable && piece < bytes) {
            /* One flush for all pieces */
            req->flags &= ~RDISK_REQUEST_FUA;
        }
        req->length = piece;
        ret = rdma_co_submit(bs, req);
        rdma_range_put(range, piece, rdisk_op_range_max(req->op),
                       qemu_clock_get_ns(QEMU_CLOCK_REALTIME) - began);
        req->offset += piece;
        req->source += piece;
        bytes -= piece;
    }
    if (ret == 0 && durable && !(req->flags & RDISK_REQUEST_FUA)) {
        ret = rdma_co_request(bs, RDISK_OP_FLUSH, 0, 0, NULL, 0);
    }
    return ret;
}
