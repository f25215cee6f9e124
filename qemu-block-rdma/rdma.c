/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Block driver for volumes of an rdisk server, reached over RDMA
 *
 * librdisk holds the session with the server and does everything that touches
 * verbs.  This driver turns the block layer's calls into its requests and
 * serves its descriptors in QEMU's event loops.
 *
 * The session (control messages, timeouts, memory registration) is served in
 * the main loop, whatever AioContext the node is in, so it needs no lock:
 * open, close and bdrv_register_buf() run there too.  See rdma-session.c.
 * Requests come from any AioContext; rdma-queue.c finds each a queue.
 */

#include "qemu/osdep.h"
#include "block/block-io.h"
#include "block/block_int.h"
#include "exec/memory.h" /* for ram_block_discard_disable() */
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qemu/module.h"
#include "qemu/range.h"
#include "qemu/yank.h"
#include "trace/trace-block.h"

#include "rdma.h"

static int coroutine_fn rdma_co_preadv(BlockDriverState *bs, int64_t offset,
                                       int64_t bytes, QEMUIOVector *qiov,
                                       BdrvRequestFlags flags)
{
    /* The block layer lets these through; on the wire they are no requests */
    if (!bytes) {
        return 0;
    }
    return rdma_co_request(bs, RDISK_OP_READ, offset, bytes, qiov, 0);
}

static int coroutine_fn rdma_co_pwritev(BlockDriverState *bs, int64_t offset,
                                        int64_t bytes, QEMUIOVector *qiov,
                                        BdrvRequestFlags flags)
{
    int ret;

    if (!bytes) {
        return 0;
    }
    ret = rdma_co_grow(bs, offset + bytes);
    if (ret < 0) {
        return ret;
    }
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
    struct rdisk_request req = {
        .op = RDISK_OP_DISCARD,
        .offset = offset,
    };

    return rdma_co_range(bs, &req, bytes);
}

static int coroutine_fn rdma_co_pwrite_zeroes(BlockDriverState *bs,
                                              int64_t offset, int64_t bytes,
                                              BdrvRequestFlags flags)
{
    struct rdisk_request req = {
        .op = RDISK_OP_ZEROES,
        .flags = (flags & BDRV_REQ_FUA ? RDISK_REQUEST_FUA : 0) |
                 (flags & BDRV_REQ_MAY_UNMAP ? RDISK_REQUEST_UNMAP : 0) |
                 (flags & BDRV_REQ_NO_FALLBACK ? RDISK_REQUEST_FAST : 0),
        .offset = offset,
    };
    int ret = rdma_co_grow(bs, offset + bytes);

    return ret < 0 ? ret : rdma_co_range(bs, &req, bytes);
}

static int coroutine_fn GRAPH_RDLOCK rdma_co_block_status(
    BlockDriverState *bs, bool want_zero, int64_t offset, int64_t bytes,
    int64_t *pnum, int64_t *map, BlockDriverState **file)
{
    BDRVRdmaState *s = bs->opaque;
    struct rdisk_extent extent;
    struct rdisk_request req = {
        .op = RDISK_OP_EXTENTS,
        .offset = offset,
        .length = bytes,
        .extents = &extent,
        .extent_count = 1,
    };
    int ret;

    *pnum = bytes;
    *map = offset;
    *file = bs;
    if (!rdisk_initiator_info(s->session->initiator)->extents) {
        return BDRV_BLOCK_DATA | BDRV_BLOCK_OFFSET_VALID;
    }

    ret = rdma_co_submit(bs, &req);
    if (ret < 0) {
        return ret;
    }
    *pnum = extent.length;
    return (extent.flags & RDISK_EXTENT_HOLE ? 0 : BDRV_BLOCK_DATA) |
           (extent.flags & RDISK_EXTENT_ZERO ? BDRV_BLOCK_ZERO : 0) |
           BDRV_BLOCK_OFFSET_VALID;
}

static int coroutine_fn GRAPH_RDLOCK rdma_co_copy_range_from(
    BlockDriverState *bs, BdrvChild *src, int64_t src_offset, BdrvChild *dst,
    int64_t dst_offset, int64_t bytes, BdrvRequestFlags read_flags,
    BdrvRequestFlags write_flags)
{
    return bdrv_co_copy_range_to(src, src_offset, dst, dst_offset, bytes,
                                 read_flags, write_flags);
}

/* True if these are the same volume, perhaps in two nodes */
static bool rdma_same_volume(BDRVRdmaState *a, BDRVRdmaState *b)
{
    const struct rdisk_volume_info *x = rdisk_initiator_info(
        a->session->initiator);
    const struct rdisk_volume_info *y = rdisk_initiator_info(
        b->session->initiator);

    return a == b || (!buffer_is_zero(x->identity, sizeof(x->identity)) &&
                      !memcmp(x->identity, y->identity, sizeof(x->identity)) &&
                      !memcmp(x->instance, y->instance, sizeof(x->instance)));
}

/* The server copies within a volume */
static int coroutine_fn GRAPH_RDLOCK
rdma_co_copy_range_to(BlockDriverState *bs, BdrvChild *src, int64_t src_offset,
                      BdrvChild *dst, int64_t dst_offset, int64_t bytes,
                      BdrvRequestFlags read_flags, BdrvRequestFlags write_flags)
{
    BDRVRdmaState *s = bs->opaque;
    struct rdisk_request req = {
        .op = RDISK_OP_COPY,
        .flags = write_flags & BDRV_REQ_FUA ? RDISK_REQUEST_FUA : 0,
        .offset = dst_offset,
        .source = src_offset,
    };
    int ret;

    if (src->bs->drv != bs->drv || !rdma_same_volume(src->bs->opaque, s) ||
        ranges_overlap(src_offset, bytes, dst_offset, bytes) ||
        !rdisk_initiator_info(s->session->initiator)->copy) {
        return -ENOTSUP;
    }

    ret = rdma_co_grow(bs, dst_offset + bytes);
    return ret < 0 ? ret : rdma_co_range(bs, &req, bytes);
}

/* Make the node read-only if the volume is; fail if the user forbids that */
static int rdma_open_as_volume(BlockDriverState *bs, RdmaSession *session,
                               bool *read_only, Error **errp)
{
    int ret;

    if (*read_only || !rdisk_initiator_info(session->initiator)->read_only) {
        return 0;
    }
    bdrv_graph_rdlock_main_loop();
    ret = bdrv_apply_auto_read_only(bs, "the volume is read-only on the server",
                                    errp);
    bdrv_graph_rdunlock_main_loop();
    *read_only = ret == 0;
    return ret;
}

static void rdma_init_state(BDRVRdmaState *s)
{
    qemu_mutex_init(&s->claim_lock);
    qemu_co_mutex_init(&s->resize_lock);
    rdma_ranges_init(s);
    QLIST_INIT(&s->buffers);
    QLIST_INIT(&s->allocated_queries);
    s->allocated = -ENOTCONN;
}

static int rdma_open(BlockDriverState *bs, QDict *options, int flags,
                     Error **errp)
{
    BDRVRdmaState *s = bs->opaque;
    bool read_only = rdma_only_reads(flags);
    const struct rdisk_volume_info *info;
    RdmaSession *session;
    int ret;

    s->opts = rdma_parse_options(options, errp);
    if (!s->opts) {
        return -EINVAL;
    }
    if (!yank_register_instance(BLOCKDEV_YANK_INSTANCE(bs->node_name), errp)) {
        ret = -EEXIST;
        goto fail_options;
    }

    ret = rdma_open_session(bs, read_only, &session, errp);
    if (ret < 0) {
        goto fail_yank;
    }

    ret = rdma_open_as_volume(bs, session, &read_only, errp);
    if (ret < 0) {
        goto fail_session;
    }

    /* The device reads and writes registered memory behind the kernel's back */
    ret = ram_block_discard_disable(true);
    if (ret < 0) {
        error_setg_errno(errp, -ret,
                         "RDMA pins memory, which is incompatible "
                         "with virtio-mem and with a postcopy or "
                         "background-snapshot migration in progress");
        goto fail_session;
    }

    rdma_init_state(s);
    rdma_start_session(bs, session, read_only);
    rdma_length_begin(bs);
    rdma_register_ram(bs);
    rdma_register_yank(bs);

    info = rdisk_initiator_info(session->initiator);
    trace_rdma_open(bs, rdma_server(s->opts)->host, rdma_server(s->opts)->port,
                    s->opts->volume, info->size, info->block_size,
                    s->queue_count);
    return 0;

fail_session:
    rdma_close_session(session, RDMA_CLOSE_WAIT_MS);
fail_yank:
    yank_unregister_instance(BLOCKDEV_YANK_INSTANCE(bs->node_name));
fail_options:
    qapi_free_BlockdevOptionsRdma(s->opts);
    return ret;
}

static void rdma_close(BlockDriverState *bs)
{
    BDRVRdmaState *s = bs->opaque;

    /* Nothing may refer to the node in the event loop that closing runs */
    rdma_length_end(bs);
    rdma_unregister_yank(bs);
    rdma_end_session(bs);
    yank_unregister_instance(BLOCKDEV_YANK_INSTANCE(bs->node_name));
    trace_rdma_close(bs, s->past.ops.count[RDISK_OP_READ],
                     s->past.ops.count[RDISK_OP_WRITE],
                     s->past.ops.count[RDISK_OP_FLUSH],
                     s->past.ops.bytes[RDISK_OP_READ],
                     s->past.ops.bytes[RDISK_OP_WRITE], s->past.copied_bytes,
                     s->past.work_requests);

    ram_block_discard_disable(false);
    rdma_ranges_destroy(s);
    qemu_mutex_destroy(&s->claim_lock);
    qapi_free_BlockdevOptionsRdma(s->opts);
}

static int coroutine_fn rdma_co_get_info(BlockDriverState *bs,
                                         BlockDriverInfo *bdi)
{
    return 0;
}

static void rdma_refresh_limits(BlockDriverState *bs, Error **errp)
{
    BDRVRdmaState *s = bs->opaque;
    const struct rdisk_volume_info *info = rdisk_initiator_info(
        s->session->initiator);

    bs->bl.request_alignment = info->block_size;
    bs->bl.max_transfer = RDMA_PARTS *
                          QEMU_ALIGN_DOWN(info->max_transfer, info->block_size);
    bs->bl.opt_transfer = info->optimal_size % info->block_size ||
                                  info->optimal_size > bs->bl.max_transfer
                              ? 0
                              : info->optimal_size;
    bs->bl.max_iov = info->max_segments;
    bs->bl.max_pdiscard = RDISK_RANGE_MAX;
    bs->bl.pdiscard_alignment = info->block_size;
    bs->bl.max_pwrite_zeroes = RDISK_RANGE_MAX;
    bs->bl.pwrite_zeroes_alignment = info->block_size;
    /* The device takes any address; whole pages make fewer segments */
    bs->bl.min_mem_alignment = 1;
    bs->bl.opt_mem_alignment = qemu_real_host_page_size();
}

/*
 * A disk whose sectors stay 512 bytes boots and can be read wherever it moves;
 * a guest that knows the server's block size aligns its requests to it.
 */
static int rdma_probe_blocksizes(BlockDriverState *bs, BlockSizes *bsz)
{
    BDRVRdmaState *s = bs->opaque;

    bsz->log = BDRV_SECTOR_SIZE;
    bsz->phys = rdisk_initiator_info(s->session->initiator)->block_size;
    return 0;
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
    "server.", "servers.", "volume", "user", "key-secret", "shared", NULL
};

static BlockDriver bdrv_rdma = {
    .format_name = "rdma",
    .protocol_name = "rdma",
    .instance_size = sizeof(BDRVRdmaState),
    .bdrv_parse_filename = rdma_parse_filename,
    .bdrv_co_create = rdma_co_create,
    .bdrv_co_create_opts = rdma_co_create_opts,
    .create_opts = &bdrv_create_opts_simple,
    .bdrv_open = rdma_open,
    .bdrv_close = rdma_close,
    .bdrv_reopen_prepare = rdma_reopen_prepare,
    .bdrv_reopen_commit = rdma_reopen_commit,
    .bdrv_reopen_abort = rdma_reopen_abort,
    .bdrv_co_preadv = rdma_co_preadv,
    .bdrv_co_pwritev = rdma_co_pwritev,
    .bdrv_co_pdiscard = rdma_co_pdiscard,
    .bdrv_co_pwrite_zeroes = rdma_co_pwrite_zeroes,
    .bdrv_co_block_status = rdma_co_block_status,
    .bdrv_co_copy_range_from = rdma_co_copy_range_from,
    .bdrv_co_copy_range_to = rdma_co_copy_range_to,
    .bdrv_co_flush_to_disk = rdma_co_flush,
    .bdrv_co_getlength = rdma_co_getlength,
    .bdrv_cancel_in_flight = rdma_cancel_in_flight,
    .bdrv_co_truncate = rdma_co_truncate,
    .bdrv_co_get_allocated_file_size = rdma_co_get_allocated_file_size,
    .bdrv_co_get_info = rdma_co_get_info,
    .bdrv_probe_blocksizes = rdma_probe_blocksizes,
    .bdrv_inactivate = rdma_inactivate,
    .bdrv_set_perm = rdma_set_perm,
    .bdrv_co_invalidate_cache = rdma_co_invalidate_cache,
    .bdrv_refresh_limits = rdma_refresh_limits,
    .bdrv_register_buf = rdma_register_buf,
    .bdrv_unregister_buf = rdma_unregister_buf,
    .bdrv_get_specific_info = rdma_get_specific_info,
    .bdrv_get_specific_stats = rdma_get_specific_stats,
    .bdrv_refresh_filename = rdma_refresh_filename,
    .bdrv_dirname = rdma_dirname,
    .strong_runtime_opts = rdma_strong_runtime_opts,
    .bdrv_attach_aio_context = rdma_attach_aio_context,
    .bdrv_detach_aio_context = rdma_detach_aio_context,
};

static void bdrv_rdma_init(void)
{
    bdrv_register(&bdrv_rdma);
}

block_init(bdrv_rdma_init);
