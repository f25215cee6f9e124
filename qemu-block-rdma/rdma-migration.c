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
#include "qemu/main-loop.h"

#include "rdma.h"

/* Between two attempts to write, or two checks that the server answers */
#define RDMA_BUSY_INTERVAL_MS 50

static void rdma_answered(void *opaque, uint64_t round_trip)
{
    RdmaSession *session = opaque;

    session->answered = true;
}

static void rdma_poll_timer(void *opaque)
{
}

/* Let the main loop work, for @ms at most */
static void rdma_poll(int64_t ms)
{
    AioContext *ctx = qemu_get_aio_context();
    QEMUTimer *timer = aio_timer_new(ctx, QEMU_CLOCK_REALTIME, SCALE_MS,
                                     rdma_poll_timer, NULL);

    timer_mod(timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + ms);
    aio_poll(ctx, true);
    timer_free(timer);
}

/*
 * Only over a connection can a session give up the right to write.  Where the
 * server keeps it for a client that has lost its connection (lease-time), the
 * destination could not get it in time.  So wait until the server answers, as
 * long as requests do, and at least as long as opening may take.
 */
static int rdma_wait_answer(BlockDriverState *bs, Error **errp)
{
    BDRVRdmaState *s = bs->opaque;
    RdmaSession *session = s->session;
    int64_t now = qemu_clock_get_ms(QEMU_CLOCK_REALTIME);
    int64_t deadline = now + MAX(rdma_open_timeout_ms(s->opts),
                                 rdma_reconnect_delay_ms(s->opts));

    session->answered = false;
    while (now < deadline && rdma_wait_session(session, deadline - now)) {
        /* Fails while a ping is pending, or if the session has failed */
        if (rdisk_initiator_ping(session->initiator, rdma_answered, session) ==
            -ENOTCONN) {
            break;
        }
        rdma_poll(RDMA_BUSY_INTERVAL_MS);
        if (session->answered) {
            return 0;
        }
        now = qemu_clock_get_ms(QEMU_CLOCK_REALTIME);
    }
    error_setg(errp, "the connection to %s is lost", session->host);
    return -ENOTCONN;
}

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
    /* It may be of an earlier attempt */
    rdma_drop_spare(bs);

    /* The next writer could not detect that what we wrote has been lost */
    ret = bdrv_flush(bs);
    if (ret < 0) {
        error_report("rdma: cannot flush volume '%s', so this QEMU keeps its "
                     "write lease: %s",
                     s->opts->volume, strerror(-ret));
        return ret;
    }
    ret = rdma_open_successor(bs, true, &s->spare, &local_err);
    if (ret == 0) {
        ret = rdma_wait_answer(bs, &local_err);
    }
    if (ret < 0) {
        error_reportf_err(
            local_err, "rdma: cannot release the write lease of volume '%s': ",
            s->opts->volume);
    }
    return ret;
}

/* Called when the node's users change, or it has become inactive */
void rdma_set_perm(BlockDriverState *bs, uint64_t perm, uint64_t shared)
{
    BDRVRdmaState *s = bs->opaque;
    RdmaSession *spare = s->spare;

    rdma_length_permitted(bs, shared);
    if (spare && (bs->open_flags & BDRV_O_INACTIVE)) {
        s->spare = NULL;
        bdrv_drained_begin(bs);
        /* The destination may write when the server has closed this session */
        rdma_replace_session(bs, spare, true, rdma_open_timeout_ms(s->opts));
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
    RdmaSession *session;
    int64_t deadline;
    int ret;

    GLOBAL_STATE_CODE();
    if (rdma_only_reads(bs->open_flags) || !s->read_only) {
        return;
    }

    deadline = qemu_clock_get_ms(QEMU_CLOCK_REALTIME) +
               rdma_open_timeout_ms(s->opts);
    for (;;) {
        Error *local_err = NULL;

        ret = rdma_open_successor(bs, false, &session, &local_err);
        if (ret == 0) {
            break;
        }
        if (ret != -EBUSY ||
            qemu_clock_get_ms(QEMU_CLOCK_REALTIME) >= deadline) {
            error_propagate(errp, local_err);
            return;
        }
        error_free(local_err);
        qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, RDMA_BUSY_INTERVAL_MS * SCALE_MS);
    }

    bdrv_drained_begin(bs);
    rdma_replace_session(bs, session, false, RDMA_CLOSE_WAIT_MS);
    bdrv_drained_end(bs);
}
