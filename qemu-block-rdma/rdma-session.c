/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The session of the block driver "rdma": its life and its successors
 *
 * A node has one session that serves requests.  The server is told at open
 * whether a session will write, and lets one client write at a time.  So a node
 * that changes between reading and writing takes a new session: reopen does,
 * and so does live migration, in which an inactive node only reads.  The new
 * session is made beside the old one and takes its place while the node is
 * drained, so a failure leaves the node as it was.
 *
 * Everything in here runs in the main loop.
 */

#include "qemu/osdep.h"
#include "block/block-io.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "trace/trace-block.h"

#include "rdma.h"

/* The state of one of the node's sessions changed */
static void rdma_session_state(void *opaque, enum rdisk_initiator_state state)
{
    BlockDriverState *bs = opaque;
    BDRVRdmaState *s = bs->opaque;

    trace_rdma_state(bs, rdisk_initiator_state_name(state));
    /* An error while it connects or ends goes to whoever waits for that */
    if (state == RDISK_INITIATOR_FAILED && !s->waiting) {
        error_report("rdma: volume '%s' on %s: %s", s->opts->volume,
                     s->opts->server->host,
                     rdisk_initiator_error(s->session)->text);
    }
}

/* Another client has made the volume larger; or it was, after a reconnect */
static void rdma_volume_changed(void *opaque, uint64_t size)
{
    rdma_size_changed(opaque);
}

void rdma_session_process(void *opaque)
{
    BlockDriverState *bs = opaque;
    BDRVRdmaState *s = bs->opaque;

    rdisk_initiator_process(s->session);
}

int rdma_open_session(BlockDriverState *bs, bool read_only,
                      struct rdisk_initiator **new, Error **errp)
{
    static const struct rdisk_initiator_events events = {
        .state = rdma_session_state,
        .volume_changed = rdma_volume_changed,
    };
    BDRVRdmaState *s = bs->opaque;
    struct rdisk_initiator_options o;
    struct rdisk_secret secret;
    struct rdisk_initiator *session;
    struct rdisk_error err = { 0 };
    int ret = -ENOMEM;

    if (!rdma_convert_options(s->opts, read_only, &secret, &o, errp)) {
        return -EINVAL;
    }

    s->waiting = true;
    session = rdisk_initiator_create(rdma_env(), &o, &events, bs, &err);
    rdisk_secret_wipe(&secret);
    if (session) {
        ret = rdisk_initiator_start(session, &err);
    }
    if (ret == 0) {
        ret = rdisk_initiator_wait(session, &err);
    }
    s->waiting = false;
    if (ret < 0) {
        error_setg(errp, "%s", err.text);
        rdisk_initiator_destroy(session);
        return ret;
    }
    *new = session;
    return 0;
}

void rdma_close_session(BlockDriverState *bs, struct rdisk_initiator *session)
{
    BDRVRdmaState *s = bs->opaque;
    struct rdisk_error err = { 0 };

    if (rdisk_initiator_state(session) == RDISK_INITIATOR_READY) {
        s->waiting = true;
        rdisk_initiator_close(session);
        if (rdisk_initiator_wait(session, &err) < 0) {
            /* It ends anyway, and the server will notice */
            warn_report("rdma: volume '%s' on %s is not closed cleanly: %s",
                        s->opts->volume, s->opts->server->host, err.text);
        }
        s->waiting = false;
    }
    rdisk_initiator_destroy(session);
}

void rdma_start_session(BlockDriverState *bs, struct rdisk_initiator *session,
                        bool read_only)
{
    BDRVRdmaState *s = bs->opaque;
    const struct rdisk_volume_info *info = rdisk_initiator_info(session);

    s->session = session;
    s->read_only = read_only;
    s->queue_count = info->queues;
    s->queues = g_new0(RdmaQueue *, s->queue_count);
    bs->supported_write_flags = info->fua ? BDRV_REQ_FUA : 0;
    bs->supported_zero_flags = info->zeroes ? BDRV_REQ_FUA |
        BDRV_REQ_MAY_UNMAP | BDRV_REQ_NO_FALLBACK : 0;

    bs->supported_truncate_flags = info->resize ? BDRV_REQ_ZERO_WRITE : 0;

    aio_set_fd_handler(qemu_get_aio_context(), rdisk_initiator_fd(session),
                       rdma_session_process, NULL, NULL, NULL, bs);
    rdma_session_process(bs);
    rdma_attach_aio_context(bs, bdrv_get_aio_context(bs));
    /* Queries find an answer then, even if the server hangs later */
    rdma_ask_allocated(bs);
}

/* The reverse; the caller owns the session.  Node drained. */
static struct rdisk_initiator *rdma_stop_session(BlockDriverState *bs)
{
    BDRVRdmaState *s = bs->opaque;

    rdma_counters(s, &s->past);
    s->past_reconnects = rdma_reconnects(s);
    rdma_detach_aio_context(bs);
    aio_set_fd_handler(qemu_get_aio_context(), rdisk_initiator_fd(s->session),
                       NULL, NULL, NULL, NULL, NULL);
    g_free(s->queues);
    s->queues = NULL;
    s->queue_count = 0;
    return s->session;
}

void rdma_end_session(BlockDriverState *bs)
{
    BDRVRdmaState *s = bs->opaque;
    struct rdisk_initiator *session = rdma_stop_session(bs);

    rdma_unregister_ram(bs);
    rdma_close_session(bs, session);
    if (s->spare) {
        rdisk_initiator_destroy(s->spare);
    }
}

/* Can @new take the place of the session that the node has? */
static int rdma_check_successor(BlockDriverState *bs,
                                struct rdisk_initiator *new, bool read_only,
                                Error **errp)
{
    BDRVRdmaState *s = bs->opaque;
    const struct rdisk_volume_info *info = rdisk_initiator_info(new);

    if (info->read_only && !read_only) {
        error_setg(errp, "volume '%s' is read-only on the server",
                   s->opts->volume);
        return -EACCES;
    }
    /* The node's limits stay as they are */
    if (info->block_size > bs->bl.request_alignment ||
        info->max_transfer < bs->bl.max_transfer / RDMA_PARTS) {
        error_setg(errp, "the server gives volume '%s' other limits than "
                   "before (blocks of %u bytes, requests of %u); close and "
                   "open it", s->opts->volume, info->block_size,
                   info->max_transfer);
        return -EINVAL;
    }
    return 0;
}

int rdma_open_successor(BlockDriverState *bs, bool read_only,
                        struct rdisk_initiator **new, Error **errp)
{
    int ret = rdma_open_session(bs, read_only, new, errp);

    if (ret < 0) {
        return ret;
    }
    ret = rdma_check_successor(bs, *new, read_only, errp);
    if (ret < 0) {
        rdma_close_session(bs, *new);
        *new = NULL;
    }
    return ret;
}

void rdma_replace_session(BlockDriverState *bs, struct rdisk_initiator *new,
                          bool read_only)
{
    struct rdisk_initiator *old = rdma_stop_session(bs);

    trace_rdma_replace(bs, read_only);
    rdma_start_session(bs, new, read_only);
    rdma_size_changed(bs);
    rdma_move_registrations(bs, old);
    rdma_close_session(bs, old);
}

int rdma_reopen_prepare(BDRVReopenState *state, BlockReopenQueue *queue,
                        Error **errp)
{
    BlockDriverState *bs = state->bs;
    BDRVRdmaState *s = bs->opaque;
    bool read_only = rdma_only_reads(state->flags);
    struct rdisk_initiator *session;
    int ret;

    if (read_only == s->read_only) {
        return 0;
    }

    ret = rdma_open_successor(bs, read_only, &session, errp);
    if (ret < 0) {
        return ret;
    }
    state->opaque = session;
    return 0;
}

void rdma_reopen_commit(BDRVReopenState *state)
{
    if (state->opaque) {
        rdma_replace_session(state->bs, state->opaque,
                             rdma_only_reads(state->flags));
        state->opaque = NULL;
    }
}

void rdma_reopen_abort(BDRVReopenState *state)
{
    if (state->opaque) {
        rdma_close_session(state->bs, state->opaque);
        state->opaque = NULL;
    }
}
