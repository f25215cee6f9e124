/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ending what waits for a server that does not answer, for the block driver
 * "rdma": a cancelled job, and QMP's yank
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qemu/yank.h"

#include "rdma.h"

/* Fail the requests that wait for a lost connection */
void rdma_cancel_in_flight(BlockDriverState *bs)
{
    BDRVRdmaState *s = bs->opaque;

    rdisk_initiator_cancel(s->session->initiator);
}

static void rdma_yank_bh(void *opaque)
{
    BlockDriverState *bs = opaque;
    BDRVRdmaState *s = bs->opaque;

    rdisk_initiator_give_up(s->session->initiator);
    rdma_session_process(s->session);
}

/*
 * QMP's yank, in any thread.  The main loop may be waiting for requests to end,
 * but runs bottom halves meanwhile.
 */
static void rdma_yank(void *opaque)
{
    BDRVRdmaState *s = opaque;

    qemu_bh_schedule(s->yank_bh);
}

void rdma_register_yank(BlockDriverState *bs)
{
    BDRVRdmaState *s = bs->opaque;

    s->yank_bh = aio_bh_new(qemu_get_aio_context(), rdma_yank_bh, bs);
    yank_register_function(BLOCKDEV_YANK_INSTANCE(bs->node_name), rdma_yank, s);
}

void rdma_unregister_yank(BlockDriverState *bs)
{
    BDRVRdmaState *s = bs->opaque;

    yank_unregister_function(BLOCKDEV_YANK_INSTANCE(bs->node_name), rdma_yank,
                             s);
    qemu_bh_delete(s->yank_bh);
}
