/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Queues of the block driver "rdma" and the AioContexts that serve them
 *
 * Requests may come from any AioContext.  Queue 0 is served by the node's home
 * AioContext; every other queue is claimed by the first AioContext that comes
 * without one and is served there.  Those that come too late share queue 0.
 */

#include "qemu/osdep.h"
#include "block/block-io.h"
#include "qemu/defer-call.h"
#include "trace/trace-block.h"

#include "rdma.h"

/*
 * A queue and the AioContext that serves it.  Allocated when an AioContext
 * claims the queue, freed by a bottom half of that AioContext, because one of
 * its handlers may be running when the main loop releases the queue.
 */
struct RdmaQueue {
    AioContext *ctx; /* a reference is held */
    QEMUBH *wake_bh;
    EventNotifier notifier; /* only a name for the queue's descriptor */
    bool polling;           /* ->ctx polls; accessed only by its thread */

    /*
     * Protects ->queue.  Needed only because AioContexts may share a queue and
     * for release; never held while a coroutine runs.
     */
    QemuMutex lock;
    struct rdisk_queue *queue; /* NULL once released */

    /*
     * Completed requests whose coroutines are still to be woken.  Touched only
     * by the thread that serves ->ctx.
     */
    QSIMPLEQ_HEAD(, RdmaRequest) done;
};

/* A request, on the stack of the coroutine that waits for it */
typedef struct RdmaRequest {
    struct rdisk_request req;
    RdmaQueue *q;
    Coroutine *co;
    int ret;
    QSIMPLEQ_ENTRY(RdmaRequest) next;
    unsigned int parts; /* in flight; 0: ->req itself is.  q->lock */
} RdmaRequest;

/* As much of a large request as fits into a slot */
typedef struct RdmaPart {
    struct rdisk_request req;
    RdmaRequest *r;
    QEMUIOVector qiov;
} RdmaPart;

/* Called by rdisk_queue_process(), with q->lock held */
static void rdma_request_complete(struct rdisk_request *req, int result)
{
    RdmaRequest *r = container_of(req, RdmaRequest, req);

    r->ret = result;
    QSIMPLEQ_INSERT_TAIL(&r->q->done, r, next);
}

/* The same, of a part */
static void rdma_part_complete(struct rdisk_request *req, int result)
{
    RdmaRequest *r = container_of(req, RdmaPart, req)->r;

    if (result < 0 && r->ret == 0) {
        r->ret = result;
    }
    if (--r->parts == 0) {
        QSIMPLEQ_INSERT_TAIL(&r->q->done, r, next);
    }
}

/* In the thread that serves q->ctx, without q->lock */
static void rdma_queue_wake(RdmaQueue *q)
{
    RdmaRequest *r;

    if (QSIMPLEQ_EMPTY(&q->done)) {
        return;
    }

    /* What the coroutines submit next goes out with one doorbell */
    defer_call_begin();
    while ((r = QSIMPLEQ_FIRST(&q->done))) {
        QSIMPLEQ_REMOVE_HEAD(&q->done, next);
        if (!QSIMPLEQ_EMPTY(&q->done)) {
            /* A coroutine that enters a nested event loop needs the others */
            qemu_bh_schedule(q->wake_bh);
        }
        /* r is gone once its coroutine runs */
        aio_co_wake(r->co);
    }
    qemu_bh_cancel(q->wake_bh);
    defer_call_end();
}

static void rdma_queue_wake_bh(void *opaque)
{
    rdma_queue_wake(opaque);
}

static void rdma_queue_process(EventNotifier *e)
{
    RdmaQueue *q = container_of(e, RdmaQueue, notifier);

    WITH_QEMU_LOCK_GUARD(&q->lock) {
        if (!q->queue) {
            /* Released */
        } else if (q->polling) {
            /* The last event from before; no further one is requested */
            rdisk_queue_drain_events(q->queue);
            rdisk_queue_poll(q->queue);
        } else {
            rdisk_queue_process(q->queue);
        }
    }
    rdma_queue_wake(q);
}

static bool rdma_queue_poll(void *opaque)
{
    RdmaQueue *q = container_of(opaque, RdmaQueue, notifier);

    QEMU_LOCK_GUARD(&q->lock);
    return q->queue && rdisk_queue_pending(q->queue);
}

/*
 * The queue need not be armed while ->ctx polls.  This handler is not polled
 * while it runs, nor notified of polling's end, so a nested event loop in a
 * coroutine would wait forever: they are woken by the bottom half.
 */
static void rdma_queue_poll_ready(EventNotifier *e)
{
    RdmaQueue *q = container_of(e, RdmaQueue, notifier);

    WITH_QEMU_LOCK_GUARD(&q->lock) {
        if (q->queue) {
            rdisk_queue_poll(q->queue);
        }
    }
    if (!QSIMPLEQ_EMPTY(&q->done)) {
        qemu_bh_schedule(q->wake_bh);
    }
}

static void rdma_queue_poll_begin(EventNotifier *e)
{
    container_of(e, RdmaQueue, notifier)->polling = true;
}

/* QEMU polls once more after this */
static void rdma_queue_poll_end(EventNotifier *e)
{
    RdmaQueue *q = container_of(e, RdmaQueue, notifier);

    q->polling = false;
    QEMU_LOCK_GUARD(&q->lock);
    if (q->queue) {
        rdisk_queue_arm(q->queue);
    }
}

/*
 * Called by defer_call_end() or at once if not in a deferred section.
 * Called without q->lock.
 */
static void rdma_queue_kick(void *opaque)
{
    RdmaQueue *q = opaque;

    QEMU_LOCK_GUARD(&q->lock);
    if (q->queue) {
        rdisk_queue_kick(q->queue);
    }
}

/* Let @ctx serve queue @index.  In @ctx or in the main loop. */
static RdmaQueue *rdma_queue_claim(BlockDriverState *bs, unsigned int index,
                                   AioContext *ctx)
{
    BDRVRdmaState *s = bs->opaque;
    RdmaQueue *q = g_new0(RdmaQueue, 1);

    trace_rdma_claim(bs, index, ctx);
    aio_context_ref(ctx);
    q->ctx = ctx;
    q->wake_bh = aio_bh_new(ctx, rdma_queue_wake_bh, q);
    qemu_mutex_init(&q->lock);
    q->queue = rdisk_initiator_queue(s->session->initiator, index);
    QSIMPLEQ_INIT(&q->done);

    event_notifier_init_fd(&q->notifier, rdisk_queue_fd(q->queue));
    aio_set_event_notifier(ctx, &q->notifier, rdma_queue_process,
                           rdma_queue_poll, rdma_queue_poll_ready);
    aio_set_event_notifier_poll(ctx, &q->notifier, rdma_queue_poll_begin,
                                rdma_queue_poll_end);
    qatomic_store_release(&s->queues[index], q);
    return q;
}

/* In q->ctx, after any handler of q */
static void rdma_queue_free(void *opaque)
{
    RdmaQueue *q = opaque;
    AioContext *ctx = q->ctx;

    assert(QSIMPLEQ_EMPTY(&q->done));
    qemu_bh_delete(q->wake_bh);
    qemu_mutex_destroy(&q->lock);
    g_free(q);
    aio_context_unref(ctx);
}

/*
 * Main loop, node drained.  Does not wait for q->ctx: its IOThread may be gone,
 * in which case the bottom half never runs and only a little memory is lost.
 */
static void rdma_queue_release(BDRVRdmaState *s, unsigned int index)
{
    RdmaQueue *q = s->queues[index];

    aio_set_event_notifier(q->ctx, &q->notifier, NULL, NULL, NULL);
    WITH_QEMU_LOCK_GUARD(&q->lock) {
        /* Polling may have been its last state; the next one waits */
        rdisk_queue_arm(q->queue);
        rdisk_queue_detach(q->queue);
        q->queue = NULL;
    }
    s->queues[index] = NULL;
    aio_bh_schedule_oneshot(q->ctx, rdma_queue_free, q);
}

/* The queue for requests from the current AioContext */
static RdmaQueue *rdma_queue_find(BlockDriverState *bs)
{
    BDRVRdmaState *s = bs->opaque;
    AioContext *ctx = qemu_get_current_aio_context();
    unsigned int i;
    RdmaQueue *q;

    for (i = 0; i < s->queue_count; i++) {
        q = qatomic_load_acquire(&s->queues[i]);
        if (!q) {
            break;
        }
        if (q->ctx == ctx) {
            return q;
        }
    }
    if (i == s->queue_count) {
        return s->queues[0];
    }

    QEMU_LOCK_GUARD(&s->claim_lock);
    while (i < s->queue_count && s->queues[i]) {
        i++; /* other AioContexts were faster */
    }
    return i < s->queue_count ? rdma_queue_claim(bs, i, ctx) : s->queues[0];
}

void rdma_attach_aio_context(BlockDriverState *bs, AioContext *ctx)
{
    rdma_queue_claim(bs, 0, ctx);
}

void rdma_detach_aio_context(BlockDriverState *bs)
{
    BDRVRdmaState *s = bs->opaque;
    unsigned int i;

    for (i = 0; i < s->queue_count && s->queues[i]; i++) {
        rdma_queue_release(s, i);
    }
}

/*
 * Submit a request that is larger than a slot in parts, all at once: the
 * network carries one while the server's disk works on another.  Called with
 * q->lock held.  0: the coroutine is to wait.
 */
static int rdma_submit_parts(RdmaRequest *r, RdmaPart *parts, size_t max,
                             QEMUIOVector *qiov)
{
    int ret = 0;

    for (size_t done = 0; done < qiov->size && ret == 0; done += max) {
        RdmaPart *part = parts++;
        size_t length = MIN(max, qiov->size - done);

        qemu_iovec_init_slice(&part->qiov, qiov, done, length);
        part->r = r;
        part->req = r->req;
        part->req.offset += done;
        part->req.length = length;
        part->req.iov = part->qiov.iov;
        part->req.iovcnt = part->qiov.niov;
        part->req.complete = rdma_part_complete;
        ret = rdisk_queue_submit(r->q->queue, &part->req);
        r->parts += ret == 0;
    }
    if (r->parts) {
        /* Those that went out come back first */
        r->ret = ret;
        ret = 0;
    }
    return ret;
}

/* @qiov is what @req reads or writes, or NULL */
static int coroutine_fn rdma_co_send(BlockDriverState *bs,
                                     struct rdisk_request *req,
                                     QEMUIOVector *qiov)
{
    RdmaQueue *q = rdma_queue_find(bs);
    size_t max = bs->bl.max_transfer / RDMA_PARTS;
    size_t n = qiov ? DIV_ROUND_UP(req->length, max) : 1;
    RdmaPart *parts = n > 1 ? g_new0(RdmaPart, n) : NULL;
    RdmaRequest r = {
        .req = *req,
        .q = q,
        .co = qemu_coroutine_self(),
    };
    int ret;

    r.req.complete = rdma_request_complete;
    trace_rdma_submit(bs, &r, req->op, req->offset, req->length, req->flags);
    WITH_QEMU_LOCK_GUARD(&q->lock) {
        ret = parts ? rdma_submit_parts(&r, parts, max, qiov)
                    : rdisk_queue_submit(q->queue, &r.req);
    }
    if (ret == 0) {
        defer_call(rdma_queue_kick, q);
        qemu_coroutine_yield();
        ret = r.ret;
        req->extent_count = r.req.extent_count;
    }
    for (size_t i = 0; parts && i < n; i++) {
        if (parts[i].qiov.iov) {
            qemu_iovec_destroy(&parts[i].qiov);
        }
    }
    g_free(parts);
    trace_rdma_done(bs, &r, ret);
    return ret;
}

int coroutine_fn rdma_co_submit(BlockDriverState *bs, struct rdisk_request *req)
{
    return rdma_co_send(bs, req, NULL);
}

int coroutine_fn rdma_co_request(BlockDriverState *bs, enum rdisk_op op,
                                 int64_t offset, int64_t bytes,
                                 QEMUIOVector *qiov, unsigned int flags)
{
    struct rdisk_request req = {
        .op = op,
        .flags = flags,
        .offset = offset,
        .length = bytes,
        .iov = qiov ? qiov->iov : NULL,
        .iovcnt = qiov ? qiov->niov : 0,
    };

    return rdma_co_send(bs, &req, qiov);
}
