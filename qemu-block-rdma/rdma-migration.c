/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Live migration with the block driver "rdma": exactly one QEMU may write
 *
 * An inactive node has a session that only reads.  The source's node gives up
 * its right to write when it becomes inactive, and the destination's node asks
 * for it when it becomes active.
 */

#include "qemu/osdep.h"
#include "block/block-io.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/timer.h"

#include "rdma.h"

/* How often a node that becomes active asks whether it may write */
#define RDMA_BUSY_INTERVAL_NS (50 * SCALE_MS)

/*
 * The node is to become inactive, so that another QEMU may write.  One of its
 * users may still object after this, and then nothing may have changed.  So
 * this does only what can fail; rdma_set_perm() does the rest.
 */
int rdma_inactivate(BlockDriverState *bs)
{
    BDRVRdmaState *s = bs->opaque;
    Error *local_err = NULL;
    int ret;

    if (s->read_only) {
        return 0;
    }
    if (s->spare) {
        /* Not served since it was opened: it may have timed out */
        rdisk_initiator_destroy(s->spare);
        s->spare = NULL;
    }

    /* The next writer could not tell that what we wrote has been lost */
    ret = bdrv_flush(bs);
    if (ret < 0) {
        error_report("rdma: cannot flush volume '%s', so this QEMU keeps the "
                     "right to write to it: %s", s->opts->volume,
                     strerror(-ret));
        return ret;
    }
    ret = rdma_open_successor(bs, true, &s->spare, &local_err);
    if (ret < 0) {
        error_reportf_err(local_err, "rdma: cannot give up the right to write "
                          "to volume '%s': ", s->opts->volume);
    }
    return ret;
}

/* Called when the node's users change, or it has become inactive */
void rdma_set_perm(BlockDriverState *bs, uint64_t perm, uint64_t shared)
{
    BDRVRdmaState *s = bs->opaque;
    struct rdisk_initiator *spare = s->spare;

    rdma_length_permitted(bs, shared);
    if (spare && (bs->open_flags & BDRV_O_INACTIVE)) {
        s->spare = NULL;
        bdrv_drained_begin(bs);
        rdma_replace_session(bs, spare, true);
        bdrv_drained_end(bs);
    }
}

/*
 * The node becomes active: from now on it may write.  The client that wrote
 * before may be about to close the volume: ask again for as long as opening may
 * take.
 */
void coroutine_fn rdma_co_invalidate_cache(BlockDriverState *bs, Error **errp)
{
    BDRVRdmaState *s = bs->opaque;
    struct rdisk_initiator *session;
    int64_t deadline;
    int ret;

    GLOBAL_STATE_CODE();
    if (rdma_only_reads(bs->open_flags) || !s->read_only) {
        return;
    }

    deadline = qemu_clock_get_ns(QEMU_CLOCK_REALTIME) +
               rdma_open_timeout_ns(s->opts);
    for (;;) {
        Error *local_err = NULL;

        ret = rdma_open_successor(bs, false, &session, &local_err);
        if (ret == 0) {
            break;
        }
        if (ret != -EBUSY ||
            qemu_clock_get_ns(QEMU_CLOCK_REALTIME) >= deadline) {
            error_propagate(errp, local_err);
            return;
        }
        error_free(local_err);
        qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, RDMA_BUSY_INTERVAL_NS);
    }

    bdrv_drained_begin(bs);
    rdma_replace_session(bs, session, false);
    bdrv_drained_end(bs);
}
