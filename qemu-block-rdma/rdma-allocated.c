/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a volume takes up on the server, for the block driver "rdma"
 *
 * query-block needs it in the main loop with QEMU's lock held, so a guest does
 * not run until it has the answer.  The answer is the server's last value.
 * Each query requests a new one and waits for it a short time, which is enough
 * for a server that is not overloaded.
 */

#include "qemu/osdep.h"
#include "block/block-io.h"
#include "qemu/main-loop.h"

#include "rdma.h"

/* How long a query waits for the server's answer */
#define RDMA_ALLOCATED_WAIT_MS 20
/* The same if the server has not given any yet, as just after open */
#define RDMA_ALLOCATED_FIRST_WAIT_MS 1000

/* A query, on the stack of its coroutine.  Main loop. */
struct RdmaAllocatedQuery {
    BlockDriverState *bs;
    Coroutine *co;
    QEMUTimer *timer;
    int64_t result;
    QLIST_ENTRY(RdmaAllocatedQuery) next;
};

static void rdma_allocated_answer(RdmaAllocatedQuery *query)
{
    BDRVRdmaState *s = query->bs->opaque;

    query->result = s->allocated;
    /* Not at once: librdisk may be calling */
    aio_co_schedule(qemu_coroutine_get_aio_context(query->co), query->co);
}

/* The server has answered, or it takes too long */
static void rdma_allocated_end_wait(void *opaque)
{
    RdmaAllocatedQuery *query = opaque;

    QLIST_REMOVE(query, next);
    timer_free(query->timer);
    rdma_allocated_answer(query);
}

static void rdma_stat_done(void *opaque, int ret, uint64_t allocated,
                           const struct rdisk_error *err)
{
    RdmaSession *session = opaque;
    RdmaAllocatedQuery *query, *next;
    BDRVRdmaState *s;

    if (!session->bs) {
        return; /* the node is gone */
    }
    s = session->bs->opaque;

    if (ret == 0) {
        s->allocated = allocated;
    }
    QLIST_FOREACH_SAFE(query, &s->allocated_queries, next, next) {
        rdma_allocated_end_wait(query);
    }
}

void rdma_ask_allocated(BlockDriverState *bs)
{
    BDRVRdmaState *s = bs->opaque;
    int wait = s->allocated < 0 ? RDMA_ALLOCATED_FIRST_WAIT_MS
                                : RDMA_ALLOCATED_WAIT_MS;

    /* While one question is pending, a query waits for that answer */
    if (rdisk_initiator_stat(s->session->initiator, rdma_stat_done,
                             s->session) == 0) {
        s->allocated_deadline = qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + wait;
    }
}

static void rdma_allocated_bh(void *opaque)
{
    RdmaAllocatedQuery *query = opaque;
    BDRVRdmaState *s = query->bs->opaque;

    rdma_ask_allocated(query->bs);
    if (rdisk_initiator_state(s->session->initiator) != RDISK_INITIATOR_READY ||
        s->allocated_deadline <= qemu_clock_get_ms(QEMU_CLOCK_REALTIME)) {
        rdma_allocated_answer(query);
        return;
    }
    query->timer = aio_timer_new(qemu_get_aio_context(), QEMU_CLOCK_REALTIME,
                                 SCALE_MS, rdma_allocated_end_wait, query);
    timer_mod(query->timer, s->allocated_deadline);
    QLIST_INSERT_HEAD(&s->allocated_queries, query, next);
}

int64_t coroutine_fn rdma_co_get_allocated_file_size(BlockDriverState *bs)
{
    RdmaAllocatedQuery query = {
        .bs = bs,
        .co = qemu_coroutine_self(),
    };

    /* The block layer does not count this as a request */
    bdrv_inc_in_flight(bs);
    aio_bh_schedule_oneshot(qemu_get_aio_context(), rdma_allocated_bh, &query);
    qemu_coroutine_yield();
    bdrv_dec_in_flight(bs);
    return query.result;
}
