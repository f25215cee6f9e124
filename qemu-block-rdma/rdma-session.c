/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The session of the block driver "rdma": its life and its successors
 *
 * A node has one session that serves requests.  At open a session states
 * whether it will write; the server lets one client write at a time.  So a node
 * that changes between reading and writing takes a new session: reopen does,
 * and so does live migration, in which an inactive node only reads.  The new
 * session is made beside the old one and takes its place while the node is
 * drained, so a failure leaves the node as it was.
 *
 * Everything in here runs in the main loop.  Opening and closing wait for the
 * server, as QEMU demands, in a nested event loop, so that other disks go on.
 * A session that is not closed within a moment closes in the background.
 */

#include "qemu/osdep.h"
#include "block/block-io.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "trace/trace-block.h"

#include "rdma.h"

/* Sessions that close in the background */
static QLIST_HEAD(, RdmaSession)
    rdma_closing = QLIST_HEAD_INITIALIZER(rdma_closing);

static void rdma_session_transition(void *opaque,
                                    enum rdisk_initiator_state from,
                                    const char *event,
                                    enum rdisk_initiator_state to)
{
    RdmaSession *session = opaque;

    trace_rdma_transition(session->bs, event, rdisk_initiator_state_name(from),
                          rdisk_initiator_state_name(to));
}

/* The state of a session changed */
static void rdma_session_state(void *opaque, enum rdisk_initiator_state state)
{
    RdmaSession *session = opaque;

    /* An error while it opens or closes goes to the caller of that */
    if (state == RDISK_INITIATOR_FAILED && session->serving) {
        error_report("rdma: volume '%s' on %s: %s", session->volume,
                     session->host,
                     rdisk_initiator_error(session->initiator)->text);
    }
}

/* Another client has made the volume larger; or it was, after a reconnect */
static void rdma_volume_changed(void *opaque, uint64_t size)
{
    RdmaSession *session = opaque;

    if (session->serving) {
        rdma_size_changed(session->bs);
    }
}

/* True if there is nothing left to wait for */
static bool rdma_session_settled(RdmaSession *session)
{
    switch (rdisk_initiator_state(session->initiator)) {
    case RDISK_INITIATOR_READY:
    case RDISK_INITIATOR_CLOSED:
    case RDISK_INITIATOR_FAILED:
        return true;
    default:
        return session->timed_out;
    }
}

static void rdma_free_session(RdmaSession *session)
{
    if (session->initiator) {
        aio_set_fd_handler(qemu_get_aio_context(),
                           rdisk_initiator_fd(session->initiator), NULL, NULL,
                           NULL, NULL, NULL);
        rdisk_initiator_destroy(session->initiator);
    }
    g_free(session->volume);
    g_free(session->host);
    g_free(session);
}

static void rdma_report_unclean(RdmaSession *session)
{
    warn_report("rdma: volume '%s' on %s is not closed cleanly: %s",
                session->volume, session->host,
                rdisk_initiator_error(session->initiator)->text);
}

/* An event of the session, or one of its deadlines */
static void rdma_session_event(void *opaque)
{
    RdmaSession *session = opaque;
    Coroutine *waiter = session->waiter;

    rdisk_initiator_process(session->initiator);
    if (!rdma_session_settled(session)) {
        return;
    }
    if (session->background) {
        if (rdisk_initiator_state(session->initiator) !=
            RDISK_INITIATOR_CLOSED) {
            rdma_report_unclean(session);
        }
        QLIST_REMOVE(session, next);
        rdma_free_session(session);
    } else if (waiter) {
        session->waiter = NULL;
        aio_co_wake(waiter);
    }
}

void rdma_session_process(RdmaSession *session)
{
    rdma_session_event(session);
}

static void rdma_session_timeout(void *opaque)
{
    RdmaSession *session = opaque;
    Coroutine *waiter = session->waiter;

    session->timed_out = true;
    if (waiter) {
        session->waiter = NULL;
        aio_co_wake(waiter);
    }
}

bool coroutine_mixed_fn rdma_wait_session(RdmaSession *session,
                                          int64_t timeout_ms)
{
    AioContext *ctx = qemu_get_aio_context();
    QEMUTimer *timer = aio_timer_new(ctx, QEMU_CLOCK_REALTIME, SCALE_MS,
                                     rdma_session_timeout, session);
    bool in_time;

    session->timed_out = false;
    timer_mod(timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + timeout_ms);
    while (!rdma_session_settled(session)) {
        if (qemu_in_coroutine()) {
            session->waiter = qemu_coroutine_self();
            qemu_coroutine_yield();
        } else {
            aio_poll(ctx, true);
        }
    }
    timer_free(timer);
    in_time = !session->timed_out;
    session->timed_out = false;
    return in_time;
}

/* A session that has begun to connect; NULL: @errp is set */
static RdmaSession *rdma_new_session(BlockDriverState *bs, bool read_only,
                                     int *ret, Error **errp)
{
    static const struct rdisk_initiator_events events = {
        .state = rdma_session_state,
        .transition = rdma_session_transition,
        .volume_changed = rdma_volume_changed,
    };
    BDRVRdmaState *s = bs->opaque;
    struct rdisk_initiator_options o;
    g_autofree char *servers = NULL;
    struct rdisk_secret secret;
    struct rdisk_error err = { 0 };
    RdmaSession *session;

    *ret = -EINVAL;
    if (!rdma_convert_options(s->opts, read_only, &servers, &secret, &o,
                              errp)) {
        return NULL;
    }

    session = g_new0(RdmaSession, 1);
    session->bs = bs;
    session->volume = g_strdup(s->opts->volume);
    session->host = g_strdup(rdma_server(s->opts)->host);
    session->initiator = rdisk_initiator_create(rdma_env(), &o, &events,
                                                session, &err);
    rdisk_secret_wipe(&secret);
    *ret = session->initiator ? rdisk_initiator_start(session->initiator, &err)
                              : err.code;
    if (*ret < 0) {
        error_setg(errp, "%s", err.text);
        rdma_free_session(session);
        return NULL;
    }
    aio_set_fd_handler(qemu_get_aio_context(),
                       rdisk_initiator_fd(session->initiator),
                       rdma_session_event, NULL, NULL, NULL, session);
    return session;
}

int coroutine_mixed_fn rdma_open_session(BlockDriverState *bs, bool read_only,
                                         RdmaSession **new, Error **errp)
{
    BDRVRdmaState *s = bs->opaque;
    int ret;
    RdmaSession *session = rdma_new_session(bs, read_only, &ret, errp);

    if (!session) {
        return ret;
    }
    /* The session has the same limit, and its error names what it waited for */
    rdma_wait_session(session, rdma_open_timeout_ms(s->opts) + 1000);
    if (rdisk_initiator_state(session->initiator) != RDISK_INITIATOR_READY) {
        const struct rdisk_error *why = rdisk_initiator_error(
            session->initiator);

        error_setg(errp, "%s", why->text);
        ret = why->code ? why->code : -ETIMEDOUT;
        rdma_free_session(session);
        return ret;
    }
    *new = session;
    return 0;
}

/* At exit: the server learns that the volumes are free */
static void rdma_wait_closing(void)
{
    RdmaSession *session;
    struct rdisk_error err = { 0 };

    while ((session = QLIST_FIRST(&rdma_closing))) {
        QLIST_REMOVE(session, next);
        if (rdisk_initiator_wait(session->initiator, &err) < 0) {
            rdma_report_unclean(session);
        }
        rdisk_initiator_destroy(session->initiator);
    }
}

static void rdma_close_in_background(RdmaSession *session)
{
    static bool registered;

    if (!registered) {
        registered = true;
        atexit(rdma_wait_closing);
    }
    session->bs = NULL;
    session->background = true;
    QLIST_INSERT_HEAD(&rdma_closing, session, next);
}

void coroutine_mixed_fn rdma_close_session(RdmaSession *session,
                                           int64_t timeout_ms)
{
    struct rdisk_initiator *initiator = session->initiator;
    bool failed = rdisk_initiator_state(initiator) == RDISK_INITIATOR_FAILED;

    session->serving = false;
    if (rdisk_initiator_state(initiator) == RDISK_INITIATOR_READY) {
        rdisk_initiator_close(initiator);
        if (!rdma_wait_session(session, timeout_ms)) {
            rdma_close_in_background(session);
            return;
        }
    }
    if (!failed && rdisk_initiator_state(initiator) != RDISK_INITIATOR_CLOSED) {
        /* It ends anyway, and the server will notice */
        rdma_report_unclean(session);
    }
    rdma_free_session(session);
}

void rdma_start_session(BlockDriverState *bs, RdmaSession *session,
                        bool read_only)
{
    BDRVRdmaState *s = bs->opaque;
    const struct rdisk_volume_info *info = rdisk_initiator_info(
        session->initiator);

    s->session = session;
    s->read_only = read_only;
    s->queue_count = info->queues;
    s->queues = g_new0(RdmaQueue *, s->queue_count);
    bs->supported_write_flags = info->fua ? BDRV_REQ_FUA : 0;
    bs->supported_zero_flags = info->zeroes
                                   ? BDRV_REQ_FUA | BDRV_REQ_MAY_UNMAP |
                                         BDRV_REQ_NO_FALLBACK
                                   : 0;
    bs->supported_truncate_flags = info->resize ? BDRV_REQ_ZERO_WRITE : 0;

    session->serving = true;
    rdma_attach_aio_context(bs, bdrv_get_aio_context(bs));
    /* Queries find an answer then, even if the server hangs later */
    rdma_ask_allocated(bs);
}

/* The reverse; the caller owns the session.  Node drained. */
static RdmaSession *rdma_stop_session(BlockDriverState *bs)
{
    BDRVRdmaState *s = bs->opaque;

    rdma_counters(s, &s->past);
    s->past_reconnects = rdma_reconnects(s);
    rdma_detach_aio_context(bs);
    g_free(s->queues);
    s->queues = NULL;
    s->queue_count = 0;
    s->session->serving = false;
    return s->session;
}

void rdma_end_session(BlockDriverState *bs)
{
    RdmaSession *session = rdma_stop_session(bs);

    rdma_unregister_ram(bs);
    rdma_drop_spare(bs);
    rdma_close_session(session, RDMA_CLOSE_WAIT_MS);
}

/* Check that @new can take the place of the session that the node has */
static int rdma_check_successor(BlockDriverState *bs, RdmaSession *new,
                                bool read_only, Error **errp)
{
    const struct rdisk_volume_info *info = rdisk_initiator_info(new->initiator);

    if (info->read_only && !read_only) {
        error_setg(errp, "volume '%s' is read-only on the server", new->volume);
        return -EACCES;
    }
    /* The node's limits stay as they are */
    if (info->block_size > bs->bl.request_alignment ||
        info->max_transfer < bs->bl.max_transfer / RDMA_PARTS) {
        error_setg(
            errp,
            "the server reports other limits for volume '%s' than before "
            "(blocks of %u bytes, requests of %u); close and open it",
            new->volume, info->block_size, info->max_transfer);
        return -EINVAL;
    }
    return 0;
}

int coroutine_mixed_fn rdma_open_successor(BlockDriverState *bs, bool read_only,
                                           RdmaSession **new, Error **errp)
{
    int ret = rdma_open_session(bs, read_only, new, errp);

    if (ret < 0) {
        return ret;
    }
    ret = rdma_check_successor(bs, *new, read_only, errp);
    if (ret < 0) {
        rdma_close_session(*new, RDMA_CLOSE_WAIT_MS);
        *new = NULL;
    }
    return ret;
}

void coroutine_mixed_fn rdma_replace_session(BlockDriverState *bs,
                                             RdmaSession *new, bool read_only,
                                             int64_t timeout_ms)
{
    RdmaSession *old = rdma_stop_session(bs);

    trace_rdma_replace(bs, read_only);
    rdma_start_session(bs, new, read_only);
    rdma_size_changed(bs);
    rdma_move_registrations(bs, old->initiator);
    rdma_close_session(old, timeout_ms);
}

void rdma_drop_spare(BlockDriverState *bs)
{
    BDRVRdmaState *s = bs->opaque;

    if (s->spare) {
        rdma_free_session(s->spare);
        s->spare = NULL;
    }
}

int rdma_reopen_prepare(BDRVReopenState *state, BlockReopenQueue *queue,
                        Error **errp)
{
    BlockDriverState *bs = state->bs;
    BDRVRdmaState *s = bs->opaque;
    bool read_only = rdma_only_reads(state->flags);
    RdmaSession *session;
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
                             rdma_only_reads(state->flags), RDMA_CLOSE_WAIT_MS);
        state->opaque = NULL;
    }
}

void rdma_reopen_abort(BDRVReopenState *state)
{
    if (state->opaque) {
        rdma_close_session(state->opaque, RDMA_CLOSE_WAIT_MS);
        state->opaque = NULL;
    }
}
