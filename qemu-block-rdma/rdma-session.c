/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The session of the block driver "rdma": its life, its memory, its successors
 *
 * A node has one session that serves requests.  The server is told at open
 * whether a session will write, and lets one client write at a time.  So a node
 * that changes between reading and writing takes a new session: reopen does,
 * and so does live migration, in which an inactive node only reads.  The new
 * session is made beside the old one and takes its place while the node is
 * drained, so a failure leaves the node as it was.
 *
 * Everything in here runs in the main loop, or where memory comes and goes with
 * another thread, under the BQL, which the main loop holds too.
 */

#include "qemu/osdep.h"
#include "block/block-io.h"
#include "exec/cpu-common.h" /* for qemu_ram_foreach_block() */
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/yank.h"
#include "trace/trace-block.h"

#include "rdma.h"

/* How often a node that becomes active asks whether it may write */
#define RDMA_BUSY_INTERVAL_NS (50 * SCALE_MS)

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

void rdma_session_process(void *opaque)
{
    BlockDriverState *bs = opaque;
    BDRVRdmaState *s = bs->opaque;

    rdisk_initiator_process(s->session);
}

/* With the node's session; frees @buffer if it cannot be */
static void rdma_register_buffer(BlockDriverState *bs, RdmaBuffer *buffer)
{
    BDRVRdmaState *s = bs->opaque;
    struct rdisk_error err = { 0 };
    int ret;

    ret = rdisk_initiator_register(s->session, buffer->host, buffer->size,
                                   &err);
    trace_rdma_register(bs, buffer->host, buffer->size, ret);
    buffer->registered = ret == 0;
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
        QLIST_REMOVE(buffer, next);
        g_free(buffer);
    }
}

static RdmaBuffer *rdma_add_buffer(BDRVRdmaState *s, void *host, size_t size,
                                   bool ram)
{
    RdmaBuffer *buffer = g_new(RdmaBuffer, 1);

    GLOBAL_STATE_CODE();
    *buffer = (RdmaBuffer) {
        .host = host,
        .size = size,
        .ram = ram,
    };
    QLIST_INSERT_HEAD(&s->buffers, buffer, next);
    return buffer;
}

static void rdma_forget_buffer(BDRVRdmaState *s, RdmaBuffer *buffer)
{
    if (buffer->registered) {
        rdisk_initiator_unregister(s->session, buffer->host, buffer->size);
    }
    QLIST_REMOVE(buffer, next);
    g_free(buffer);
}

static void rdma_remove_buffer(BDRVRdmaState *s, void *host, size_t size,
                               bool ram)
{
    RdmaBuffer *buffer;

    GLOBAL_STATE_CODE();
    QLIST_FOREACH(buffer, &s->buffers, next) {
        if (buffer->host == host && buffer->size == size &&
            buffer->ram == ram) {
            rdma_forget_buffer(s, buffer);
            return;
        }
    }
}

static int rdma_begins_at(RAMBlock *block, void *host)
{
    return qemu_ram_get_host_addr(block) == host;
}

bool rdma_register_buf(BlockDriverState *bs, void *host, size_t size,
                       Error **errp)
{
    /* virtio-blk tells of guest RAM, which rdma_register_ram() sees to */
    if (!qemu_ram_foreach_block(rdma_begins_at, host)) {
        rdma_register_buffer(bs, rdma_add_buffer(bs->opaque, host, size,
                                                 false));
    }
    return true;
}

void rdma_unregister_buf(BlockDriverState *bs, void *host, size_t size)
{
    rdma_remove_buffer(bs->opaque, host, size, false);
}

static void rdma_ram_bh(void *opaque)
{
    BlockDriverState *bs = opaque;
    BDRVRdmaState *s = bs->opaque;
    RdmaBuffer *buffer, *next;

    QLIST_FOREACH_SAFE(buffer, &s->buffers, next, next) {
        if (!buffer->registered) {
            rdma_register_buffer(bs, buffer);
        }
    }
}

/*
 * Not registered at once: that makes the pages be there and stay where they
 * are, and who has made the block has still to bind it to a NUMA node.
 */
static void rdma_ram_block_added(RAMBlockNotifier *n, void *host, size_t size,
                                 size_t max_size)
{
    BDRVRdmaState *s = container_of(n, BDRVRdmaState, ram_notifier);

    rdma_add_buffer(s, host, max_size, true);
    qemu_bh_schedule(s->ram_bh);
}

static void rdma_ram_block_removed(RAMBlockNotifier *n, void *host,
                                   size_t size, size_t max_size)
{
    rdma_remove_buffer(container_of(n, BDRVRdmaState, ram_notifier), host,
                       max_size, true);
}

/*
 * virtio-blk has guest RAM registered, in the nodes below it at that time.
 * Other disks do not, and a node may come below a disk later (an overlay, the
 * target of a mirror), so each node sees to it itself.
 */
void rdma_register_ram(BlockDriverState *bs)
{
    BDRVRdmaState *s = bs->opaque;

    s->ram_bh = aio_bh_new(qemu_get_aio_context(), rdma_ram_bh, bs);
    s->ram_notifier = (RAMBlockNotifier) {
        .ram_block_added = rdma_ram_block_added,
        .ram_block_removed = rdma_ram_block_removed,
        /* A block that is resized stays within what was registered */
    };
    ram_block_notifier_add(&s->ram_notifier);
    /* What is there already is complete */
    rdma_ram_bh(bs);
}

/* librdisk as it is, but for where its log goes */
const struct rdisk_env *rdma_env(void)
{
    static struct rdisk_env env;
    static gsize once;

    /* Volumes are created in worker threads */
    if (g_once_init_enter(&once)) {
        env = rdisk_env_system;
        env.log = rdma_log;
        g_once_init_leave(&once, 1);
    }
    return &env;
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
            /* It ends even so, and the server will notice */
            warn_report("rdma: volume '%s' on %s is not closed in good order: "
                        "%s", s->opts->volume, s->opts->server->host,
                        err.text);
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
    RdmaBuffer *buffer, *next;

    ram_block_notifier_remove(&s->ram_notifier);
    qemu_bh_delete(s->ram_bh);
    QLIST_FOREACH_SAFE(buffer, &s->buffers, next, next) {
        rdma_forget_buffer(s, buffer);
    }
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

/* As rdma_open_session(), for a session that takes the place of the node's */
static int rdma_open_successor(BlockDriverState *bs, bool read_only,
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

/*
 * Let @new serve the node and end the session that did.  When this returns,
 * the server has been told so, or will find out.  Node drained.
 */
static void rdma_replace_session(BlockDriverState *bs,
                                 struct rdisk_initiator *new, bool read_only)
{
    BDRVRdmaState *s = bs->opaque;
    struct rdisk_initiator *old = rdma_stop_session(bs);
    RdmaBuffer *buffer, *next;

    if (rdisk_initiator_size(new) != rdisk_initiator_size(old)) {
        qemu_bh_schedule(s->resized_bh);
    }
    trace_rdma_replace(bs, read_only);
    rdma_start_session(bs, new, read_only);
    /* Registered again before it is given up, memory stays registered */
    QLIST_FOREACH_SAFE(buffer, &s->buffers, next, next) {
        if (buffer->registered) {
            void *host = buffer->host;
            size_t size = buffer->size;

            rdma_register_buffer(bs, buffer);
            rdisk_initiator_unregister(old, host, size);
        }
    }
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

/*
 * The node is to become inactive, so that another QEMU may write.  One of its
 * users may still object after this, and then nothing may have changed.  So
 * only make what can fail: rdma_set_perm() does the rest.
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
        /* Nobody has served it since, so it may be dead */
        rdisk_initiator_destroy(s->spare);
        s->spare = NULL;
    }

    /* The next writer could not tell that what we wrote has been lost */
    ret = bdrv_flush(bs);
    if (ret < 0) {
        error_report("rdma: volume '%s' cannot be flushed, so nobody else may "
                     "write to it: %s", s->opts->volume, strerror(-ret));
        return ret;
    }
    ret = rdma_open_successor(bs, true, &s->spare, &local_err);
    if (ret < 0) {
        error_reportf_err(local_err, "rdma: volume '%s' stays with this QEMU: ",
                          s->opts->volume);
    }
    return ret;
}

/* Called among others when the node has become inactive */
void rdma_set_perm(BlockDriverState *bs, uint64_t perm, uint64_t shared)
{
    BDRVRdmaState *s = bs->opaque;
    struct rdisk_initiator *spare = s->spare;

    if (spare && (bs->open_flags & BDRV_O_INACTIVE)) {
        s->spare = NULL;
        bdrv_drained_begin(bs);
        rdma_replace_session(bs, spare, true);
        bdrv_drained_end(bs);
    }
}

/*
 * The node becomes active: from now on it may write.  Whoever wrote before may
 * just be going, so wait for that as long as opening may take.
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

/* Requests that wait for a lost connection are to end now */
void rdma_cancel_in_flight(BlockDriverState *bs)
{
    BDRVRdmaState *s = bs->opaque;

    rdisk_initiator_cancel(s->session);
}

static void rdma_yank_bh(void *opaque)
{
    BlockDriverState *bs = opaque;
    BDRVRdmaState *s = bs->opaque;

    rdisk_initiator_give_up(s->session);
    rdma_session_process(bs);
}

/*
 * QMP's yank, in whichever thread.  The main loop may be waiting for requests
 * to end, but serves bottom halves meanwhile.
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
    yank_register_function(BLOCKDEV_YANK_INSTANCE(bs->node_name), rdma_yank,
                           s);
}

void rdma_unregister_yank(BlockDriverState *bs)
{
    BDRVRdmaState *s = bs->opaque;

    yank_unregister_function(BLOCKDEV_YANK_INSTANCE(bs->node_name), rdma_yank,
                             s);
    qemu_bh_delete(s->yank_bh);
}
