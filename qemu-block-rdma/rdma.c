/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Block driver for volumes of an rdisk server, reached over RDMA
 *
 * librdisk holds the session with the server and does everything that touches
 * verbs.  This file turns the block layer's calls into its requests and serves
 * its descriptors in QEMU's event loops.
 *
 * The session (control messages, time-outs, memory registration) is served in
 * the main loop, whatever AioContext the node is in, so it needs no lock:
 * open, close and bdrv_register_buf() run there too.
 * Requests come from any AioContext; rdma-queue.c finds each a queue.
 */

#include "qemu/osdep.h"
#include "block/block-io.h"
#include "block/block_int.h"
#include "exec/memory.h" /* for ram_block_discard_disable() */
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "trace/trace-block.h"

#include "rdma.h"

/* Called by librdisk from any thread */
static void rdma_log(void *opaque, enum rdisk_log_level level,
                     const char *line)
{
    switch (level) {
    case RDISK_LOG_ERROR:
        error_report("rdma: %s", line);
        break;
    case RDISK_LOG_WARNING:
        warn_report("rdma: %s", line);
        break;
    default:
        trace_rdma_log(line);
        break;
    }
}

/* The state changed.  Main loop. */
static void rdma_session_state(void *opaque, enum rdisk_initiator_state state)
{
    BlockDriverState *bs = opaque;
    BDRVRdmaState *s = bs->opaque;

    trace_rdma_state(bs, rdisk_initiator_state_name(state));
    /* An error while connecting goes to the caller of rdma_connect() */
    if (state == RDISK_INITIATOR_FAILED && !s->connecting) {
        error_report("rdma: volume '%s' on %s: %s", s->opts->volume,
                     s->opts->server->host,
                     rdisk_initiator_error(s->session)->text);
    }
}

/* Serve the session.  Main loop. */
static void rdma_session_process(void *opaque)
{
    BlockDriverState *bs = opaque;
    BDRVRdmaState *s = bs->opaque;
    uint64_t deadline;

    rdisk_initiator_process(s->session);
    deadline = rdisk_initiator_deadline(s->session);
    if (deadline == RDISK_NEVER) {
        timer_del(s->timer);
    } else {
        /* rdisk_now() and QEMU_CLOCK_REALTIME are both CLOCK_MONOTONIC */
        timer_mod(s->timer, deadline);
    }
}

static int coroutine_fn rdma_co_preadv(BlockDriverState *bs, int64_t offset,
                                       int64_t bytes, QEMUIOVector *qiov,
                                       BdrvRequestFlags flags)
{
    return rdma_co_request(bs, RDISK_OP_READ, offset, bytes, qiov, 0);
}

static int coroutine_fn rdma_co_pwritev(BlockDriverState *bs, int64_t offset,
                                        int64_t bytes, QEMUIOVector *qiov,
                                        BdrvRequestFlags flags)
{
    return rdma_co_request(bs, RDISK_OP_WRITE, offset, bytes, qiov,
                           flags & BDRV_REQ_FUA ? RDISK_REQUEST_FUA : 0);
}

static int coroutine_fn rdma_co_flush(BlockDriverState *bs)
{
    return rdma_co_request(bs, RDISK_OP_FLUSH, 0, 0, NULL, 0);
}

static int coroutine_fn rdma_co_pdiscard(BlockDriverState *bs, int64_t offset,
                                         int64_t bytes)
{
    return rdma_co_request(bs, RDISK_OP_DISCARD, offset, bytes, NULL, 0);
}

static int coroutine_fn rdma_co_pwrite_zeroes(BlockDriverState *bs,
                                              int64_t offset, int64_t bytes,
                                              BdrvRequestFlags flags)
{
    unsigned int wire_flags =
        (flags & BDRV_REQ_FUA ? RDISK_REQUEST_FUA : 0) |
        (flags & BDRV_REQ_MAY_UNMAP ? RDISK_REQUEST_UNMAP : 0) |
        (flags & BDRV_REQ_NO_FALLBACK ? RDISK_REQUEST_FAST : 0);

    return rdma_co_request(bs, RDISK_OP_ZEROES, offset, bytes, NULL,
                           wire_flags);
}

static bool rdma_register_buf(BlockDriverState *bs, void *host, size_t size,
                              Error **errp)
{
    BDRVRdmaState *s = bs->opaque;
    struct rdisk_error err = { 0 };
    RdmaBuffer *buffer;
    int ret;

    ret = rdisk_initiator_register(s->session, host, size, &err);
    trace_rdma_register(bs, host, size, ret);
    if (ret < 0) {
        /*
         * Not fatal: librdisk looks each buffer up and copies what it does not
         * know.  An error would make virtio-blk give up on all other memory.
         */
        if (!s->register_warned) {
            s->register_warned = true;
            warn_report("rdma: I/O on part of the memory will be copied: %s",
                        err.text);
        }
        return true;
    }

    buffer = g_new(RdmaBuffer, 1);
    buffer->host = host;
    buffer->size = size;
    QLIST_INSERT_HEAD(&s->buffers, buffer, next);
    return true;
}

static void rdma_forget_buffer(BDRVRdmaState *s, RdmaBuffer *buffer)
{
    rdisk_initiator_unregister(s->session, buffer->host, buffer->size);
    QLIST_REMOVE(buffer, next);
    g_free(buffer);
}

static void rdma_unregister_buf(BlockDriverState *bs, void *host, size_t size)
{
    BDRVRdmaState *s = bs->opaque;
    RdmaBuffer *buffer;

    QLIST_FOREACH(buffer, &s->buffers, next) {
        if (buffer->host == host && buffer->size == size) {
            rdma_forget_buffer(s, buffer);
            return;
        }
    }
}

/* Counters of all queues, and of the sessions before a reopen */
static void rdma_counters(BDRVRdmaState *s, struct rdisk_queue_counters *sum)
{
    unsigned int i;

    *sum = s->past;
    for (i = 0; i < s->queue_count; i++) {
        struct rdisk_queue_counters c;

        rdisk_queue_counters(rdisk_initiator_queue(s->session, i), &c);
        sum->reads += c.reads;
        sum->writes += c.writes;
        sum->flushes += c.flushes;
        sum->discards += c.discards;
        sum->zeroes += c.zeroes;
        sum->failed += c.failed;
        sum->read_bytes += c.read_bytes;
        sum->write_bytes += c.write_bytes;
        sum->copied_bytes += c.copied_bytes;
        sum->bounced += c.bounced;
        sum->waited += c.waited;
        sum->work_requests += c.work_requests;
        sum->doorbells += c.doorbells;
        sum->receives += c.receives;
        sum->wakeups += c.wakeups;
        sum->windows += c.windows;
    }
}

static uint64_t rdma_reconnects(BDRVRdmaState *s)
{
    /* There is none after a reopen that failed */
    return s->past_reconnects +
           (s->session ? rdisk_initiator_reconnects(s->session) : 0);
}

static BlockStatsSpecific *rdma_get_specific_stats(BlockDriverState *bs)
{
    BlockStatsSpecific *stats = g_new(BlockStatsSpecific, 1);
    struct rdisk_queue_counters c;

    rdma_counters(bs->opaque, &c);
    stats->driver = BLOCKDEV_DRIVER_RDMA;
    stats->u.rdma = (BlockStatsSpecificRdma) {
        .reads = c.reads,
        .writes = c.writes,
        .flushes = c.flushes,
        .discards = c.discards,
        .zeroes = c.zeroes,
        .failed = c.failed,
        .read_bytes = c.read_bytes,
        .write_bytes = c.write_bytes,
        .copied_bytes = c.copied_bytes,
        .bounced = c.bounced,
        .waited = c.waited,
        .work_requests = c.work_requests,
        .doorbells = c.doorbells,
        .receives = c.receives,
        .wakeups = c.wakeups,
        .windows = c.windows,
        .reconnects = rdma_reconnects(bs->opaque),
    };
    return stats;
}

/* Connect and open the volume.  Returns NULL with @errp set. */
static struct rdisk_initiator *rdma_connect(BlockDriverState *bs,
                                            bool read_only, Error **errp)
{
    static const struct rdisk_initiator_events events = {
        .state = rdma_session_state,
    };
    static struct rdisk_env env;
    BDRVRdmaState *s = bs->opaque;
    struct rdisk_initiator_options o;
    struct rdisk_secret secret;
    struct rdisk_initiator *session;
    struct rdisk_error err = { 0 };
    int ret = -ENOMEM;

    if (!rdma_convert_options(s->opts, read_only, &secret, &o, errp)) {
        return NULL;
    }

    env = rdisk_env_system;
    env.log = rdma_log;
    s->connecting = true;
    session = rdisk_initiator_create(&env, &o, &events, bs, &err);
    rdisk_secret_wipe(&secret);
    if (session) {
        ret = rdisk_initiator_start(session, &err);
    }
    if (ret == 0) {
        ret = rdisk_initiator_wait(session, &err);
    }
    s->connecting = false;
    if (ret < 0) {
        error_setg(errp, "%s", err.text);
        rdisk_initiator_destroy(session);
        return NULL;
    }
    return session;
}

static void rdma_disconnect(struct rdisk_initiator *session)
{
    struct rdisk_error err;

    if (rdisk_initiator_state(session) == RDISK_INITIATOR_READY) {
        rdisk_initiator_close(session);
        /* However it ends, it ends: a failure has been reported */
        rdisk_initiator_wait(session, &err);
    }
    rdisk_initiator_destroy(session);
}

/* Make @session the one that serves requests */
static void rdma_start_session(BlockDriverState *bs,
                               struct rdisk_initiator *session, bool read_only)
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

    aio_set_fd_handler(qemu_get_aio_context(), rdisk_initiator_fd(session),
                       rdma_session_process, NULL, NULL, NULL, bs);
    rdma_session_process(bs);
    rdma_attach_aio_context(bs, bdrv_get_aio_context(bs));
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
    timer_del(s->timer);
    g_free(s->queues);
    s->queues = NULL;
    s->queue_count = 0;
    return s->session;
}

static int rdma_open(BlockDriverState *bs, QDict *options, int flags,
                     Error **errp)
{
    BDRVRdmaState *s = bs->opaque;
    bool read_only = !(flags & BDRV_O_RDWR);
    struct rdisk_initiator *session;
    int ret;

    s->opts = rdma_parse_options(options, errp);
    if (!s->opts) {
        return -EINVAL;
    }

    session = rdma_connect(bs, read_only, errp);
    if (!session) {
        ret = -EIO;
        goto fail_options;
    }

    if (rdisk_initiator_info(session)->read_only) {
        bdrv_graph_rdlock_main_loop();
        ret = bdrv_apply_auto_read_only(bs, "the volume is read-only on the "
                                        "server", errp);
        bdrv_graph_rdunlock_main_loop();
        if (ret < 0) {
            goto fail_session;
        }
        read_only = true;
    }

    /* The device reads and writes registered memory behind the kernel's back */
    ret = ram_block_discard_disable(true);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "memory that can be discarded "
                         "(virtio-mem, vfio) does not go with RDMA");
        goto fail_session;
    }

    qemu_mutex_init(&s->claim_lock);
    QLIST_INIT(&s->buffers);
    s->timer = aio_timer_new(qemu_get_aio_context(), QEMU_CLOCK_REALTIME,
                             SCALE_NS, rdma_session_process, bs);
    rdma_start_session(bs, session, read_only);

    trace_rdma_open(bs, s->opts->server->host, s->opts->server->port,
                    s->opts->volume, rdisk_initiator_info(session)->size,
                    rdisk_initiator_info(session)->block_size, s->queue_count);
    return 0;

fail_session:
    rdma_disconnect(session);
fail_options:
    qapi_free_BlockdevOptionsRdma(s->opts);
    return ret;
}

static void rdma_close(BlockDriverState *bs)
{
    BDRVRdmaState *s = bs->opaque;
    struct rdisk_initiator *session = rdma_stop_session(bs);
    RdmaBuffer *buffer, *next;

    trace_rdma_close(bs, s->past.reads, s->past.writes, s->past.flushes,
                     s->past.read_bytes, s->past.write_bytes,
                     s->past.copied_bytes, s->past.work_requests);

    QLIST_FOREACH_SAFE(buffer, &s->buffers, next, next) {
        rdma_forget_buffer(s, buffer);
    }
    rdma_disconnect(session);

    timer_free(s->timer);
    ram_block_discard_disable(false);
    qemu_mutex_destroy(&s->claim_lock);
    qapi_free_BlockdevOptionsRdma(s->opts);
}

/*
 * The server is told at open whether we will write, and locks by that.  So a
 * change between read-only and read-write takes a new session, which must be
 * there before the old one ends, or there would be no way back.
 */
static int rdma_reopen_prepare(BDRVReopenState *state,
                               BlockReopenQueue *queue, Error **errp)
{
    BDRVRdmaState *s = state->bs->opaque;
    bool read_only = !(state->flags & BDRV_O_RDWR);
    struct rdisk_initiator *session;
    const struct rdisk_volume_info *info;

    if (read_only == s->read_only) {
        return 0;
    }

    session = rdma_connect(state->bs, read_only, errp);
    if (!session) {
        return -EIO;
    }
    info = rdisk_initiator_info(session);
    if (info->read_only && !read_only) {
        error_setg(errp, "the volume is read-only on the server");
        rdma_disconnect(session);
        return -EACCES;
    }
    if (info->size != rdisk_initiator_info(s->session)->size) {
        error_setg(errp, "the size of volume '%s' has changed, from %" PRIu64
                   " to %" PRIu64 " bytes; close and open it", s->opts->volume,
                   rdisk_initiator_info(s->session)->size, info->size);
        rdma_disconnect(session);
        return -EINVAL;
    }
    state->opaque = session;
    return 0;
}

static void rdma_reopen_commit(BDRVReopenState *state)
{
    BlockDriverState *bs = state->bs;
    BDRVRdmaState *s = bs->opaque;
    struct rdisk_initiator *new = state->opaque, *old;
    RdmaBuffer *buffer, *next;

    if (!new) {
        return;
    }

    old = rdma_stop_session(bs);
    rdma_start_session(bs, new, !(state->flags & BDRV_O_RDWR));
    QLIST_FOREACH_SAFE(buffer, &s->buffers, next, next) {
        bool ok = rdisk_initiator_register(new, buffer->host, buffer->size,
                                           NULL) == 0;

        rdisk_initiator_unregister(old, buffer->host, buffer->size);
        if (!ok) {
            QLIST_REMOVE(buffer, next);
            g_free(buffer);
        }
    }
    rdma_disconnect(old);
    state->opaque = NULL;
}

static void rdma_reopen_abort(BDRVReopenState *state)
{
    if (state->opaque) {
        rdma_disconnect(state->opaque);
        state->opaque = NULL;
    }
}

/* Requests that wait for a lost connection are to end now */
static void rdma_cancel_in_flight(BlockDriverState *bs)
{
    BDRVRdmaState *s = bs->opaque;

    rdisk_initiator_cancel(s->session);
}

static int64_t coroutine_fn rdma_co_getlength(BlockDriverState *bs)
{
    BDRVRdmaState *s = bs->opaque;

    return rdisk_initiator_info(s->session)->size;
}

/* Creating an image on the volume comes here too; it has its size already */
static int coroutine_fn rdma_co_truncate(BlockDriverState *bs, int64_t offset,
                                         bool exact, PreallocMode prealloc,
                                         BdrvRequestFlags flags, Error **errp)
{
    BDRVRdmaState *s = bs->opaque;
    int64_t size = rdisk_initiator_info(s->session)->size;

    if (prealloc != PREALLOC_MODE_OFF) {
        error_setg(errp, "Unsupported preallocation mode '%s'",
                   PreallocMode_str(prealloc));
        return -ENOTSUP;
    }
    if (offset > size || (exact && offset != size)) {
        error_setg(errp, "volume '%s' has %" PRId64 " bytes, not %" PRId64
                   "; resize it on the server (rdisk resize)",
                   s->opts->volume, size, offset);
        return -ENOTSUP;
    }
    return 0;
}

static int coroutine_fn rdma_co_get_info(BlockDriverState *bs,
                                         BlockDriverInfo *bdi)
{
    return 0;
}

static void rdma_refresh_limits(BlockDriverState *bs, Error **errp)
{
    BDRVRdmaState *s = bs->opaque;
    const struct rdisk_volume_info *info = rdisk_initiator_info(s->session);

    bs->bl.request_alignment = info->block_size;
    bs->bl.max_transfer = RDMA_PARTS * QEMU_ALIGN_DOWN(info->max_transfer,
                                                       info->block_size);
    bs->bl.opt_transfer = info->optimal_size % info->block_size ||
                          info->optimal_size > bs->bl.max_transfer
                          ? 0 : info->optimal_size;
    bs->bl.max_iov = info->max_segments;
    bs->bl.max_pdiscard = RDISK_RANGE_MAX;
    bs->bl.pdiscard_alignment = info->block_size;
    bs->bl.max_pwrite_zeroes = RDISK_RANGE_MAX;
    bs->bl.pwrite_zeroes_alignment = info->block_size;
    /* The device takes any address; whole pages make fewer segments */
    bs->bl.min_mem_alignment = 1;
    bs->bl.opt_mem_alignment = qemu_real_host_page_size();
}

static void rdma_refresh_filename(BlockDriverState *bs)
{
    BDRVRdmaState *s = bs->opaque;
    g_autofree char *uri = rdma_uri(s->opts);

    if (g_strlcpy(bs->exact_filename, uri, sizeof(bs->exact_filename)) >=
        sizeof(bs->exact_filename)) {
        /* Too long to represent exactly, so leave it empty */
        bs->exact_filename[0] = '\0';
    }
}

static char *rdma_dirname(BlockDriverState *bs, Error **errp)
{
    BDRVRdmaState *s = bs->opaque;

    return rdma_base_uri(s->opts);
}

static const char *const rdma_strong_runtime_opts[] = {
    "server.",
    "volume",
    "user",
    "key-secret",
    "shared",

    NULL
};

static BlockDriver bdrv_rdma = {
    .format_name                = "rdma",
    .protocol_name              = "rdma",
    .instance_size              = sizeof(BDRVRdmaState),
    .bdrv_parse_filename        = rdma_parse_filename,
    .bdrv_co_create_opts        = bdrv_co_create_opts_simple,
    .create_opts                = &bdrv_create_opts_simple,
    .bdrv_open                  = rdma_open,
    .bdrv_close                 = rdma_close,
    .bdrv_reopen_prepare        = rdma_reopen_prepare,
    .bdrv_reopen_commit         = rdma_reopen_commit,
    .bdrv_reopen_abort          = rdma_reopen_abort,
    .bdrv_co_preadv             = rdma_co_preadv,
    .bdrv_co_pwritev            = rdma_co_pwritev,
    .bdrv_co_pdiscard           = rdma_co_pdiscard,
    .bdrv_co_pwrite_zeroes      = rdma_co_pwrite_zeroes,
    .bdrv_co_flush_to_disk      = rdma_co_flush,
    .bdrv_co_getlength          = rdma_co_getlength,
    .bdrv_cancel_in_flight      = rdma_cancel_in_flight,
    .bdrv_co_truncate           = rdma_co_truncate,
    .bdrv_co_get_info           = rdma_co_get_info,
    .bdrv_refresh_limits        = rdma_refresh_limits,
    .bdrv_register_buf          = rdma_register_buf,
    .bdrv_unregister_buf        = rdma_unregister_buf,
    .bdrv_get_specific_stats    = rdma_get_specific_stats,
    .bdrv_refresh_filename      = rdma_refresh_filename,
    .bdrv_dirname               = rdma_dirname,
    .strong_runtime_opts        = rdma_strong_runtime_opts,
    .bdrv_attach_aio_context    = rdma_attach_aio_context,
    .bdrv_detach_aio_context    = rdma_detach_aio_context,
};

static void bdrv_rdma_init(void)
{
    bdrv_register(&bdrv_rdma);
}

block_init(bdrv_rdma_init);
