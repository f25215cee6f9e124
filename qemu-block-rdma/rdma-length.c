/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The length of a node of the block driver "rdma"
 *
 * It follows the size of the volume, which other clients and the server's
 * administrator may enlarge at any time.  For the users of the node that is as
 * if one more user had resized it, so it has to wait until all of them share
 * BLK_PERM_RESIZE: a job or an export that relies on the length does not.
 * Until then the node keeps the length that its users see.
 */

#include "qemu/osdep.h"
#include "block/block-io.h"
#include "block/dirty-bitmap.h"
#include "qemu/main-loop.h"
#include "trace/trace-block.h"

#include "rdma.h"

/* There is no notification of the end of a migration that copies a bitmap */
#define RDMA_BITMAP_INTERVAL_MS 1000

int64_t coroutine_fn rdma_co_getlength(BlockDriverState *bs)
{
    BDRVRdmaState *s = bs->opaque;

    return stat64_get(&s->length);
}

/* True if @parent is a node that is as long as its child */
static bool rdma_parent_is_filter(BdrvChild *parent)
{
    return parent->klass->parent_is_bds && (parent->role & BDRV_CHILD_FILTERED);
}

/* True if a dirty bitmap of @bs, or of a filter above it, is in use */
static bool GRAPH_RDLOCK rdma_bitmap_busy(BlockDriverState *bs)
{
    BdrvDirtyBitmap *bitmap;
    BdrvChild *parent;

    FOR_EACH_DIRTY_BITMAP(bs, bitmap)
    {
        if (bdrv_dirty_bitmap_check(bitmap, BDRV_BITMAP_BUSY, NULL) < 0) {
            return true;
        }
    }
    QLIST_FOREACH(parent, &bs->parents, next_parent) {
        if (rdma_parent_is_filter(parent) && rdma_bitmap_busy(parent->opaque)) {
            return true;
        }
    }
    return false;
}

/*
 * What bdrv_co_truncate() does when a node has become larger.  Bitmaps come
 * first: a write behind the old end may come once the length is known.
 */
static void GRAPH_RDLOCK rdma_grow_node(BlockDriverState *bs, int64_t length)
{
    BdrvChild *parent;

    bdrv_dirty_bitmap_truncate(bs, length);
    if (bdrv_refresh_total_sectors(bs, bs->total_sectors) < 0) {
        return;
    }
    QLIST_FOREACH(parent, &bs->parents, next_parent) {
        if (parent->klass->resize) {
            parent->klass->resize(parent);
        } else if (rdma_parent_is_filter(parent)) {
            rdma_grow_node(parent->opaque, length);
        }
    }
}

static void GRAPH_RDLOCK rdma_follow_size(BlockDriverState *bs)
{
    BDRVRdmaState *s = bs->opaque;
    int64_t size = rdisk_initiator_size(s->session->initiator);
    uint64_t perm, shared;

    if (size <= stat64_get(&s->length)) {
        return;
    }
    bdrv_get_cumulative_perm(bs, &perm, &shared);
    if (!(shared & BLK_PERM_RESIZE)) {
        trace_rdma_resize_deferred(bs, size);
        return; /* until rdma_length_permitted() */
    }
    if (rdma_bitmap_busy(bs)) {
        trace_rdma_resize_deferred(bs, size);
        timer_mod(s->length_timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) +
                                       RDMA_BITMAP_INTERVAL_MS);
        return;
    }
    trace_rdma_resize(bs, size);
    stat64_set(&s->length, size);
    rdma_grow_node(bs, size);
}

static void rdma_length_timer(void *opaque)
{
    BlockDriverState *bs = opaque;

    bdrv_ref(bs);
    bdrv_graph_rdlock_main_loop();
    rdma_follow_size(bs);
    bdrv_graph_rdunlock_main_loop();
    bdrv_unref(bs);
}

void rdma_size_changed(BlockDriverState *bs)
{
    BDRVRdmaState *s = bs->opaque;

    /* Not at once: librdisk may be calling, or the graph is being changed */
    if (s->length_timer) {
        timer_mod(s->length_timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME));
    }
}

void rdma_length_permitted(BlockDriverState *bs, uint64_t shared)
{
    BDRVRdmaState *s = bs->opaque;

    if (s->length_timer && (shared & BLK_PERM_RESIZE) &&
        rdisk_initiator_size(s->session->initiator) > stat64_get(&s->length)) {
        rdma_size_changed(bs);
    }
}

void rdma_length_begin(BlockDriverState *bs)
{
    BDRVRdmaState *s = bs->opaque;

    stat64_init(&s->length, rdisk_initiator_size(s->session->initiator));
    /* Of the AioContext, so that nested event loops run it too */
    s->length_timer = aio_timer_new(qemu_get_aio_context(), QEMU_CLOCK_REALTIME,
                                    SCALE_MS, rdma_length_timer, bs);
}

void rdma_length_end(BlockDriverState *bs)
{
    BDRVRdmaState *s = bs->opaque;

    timer_free(s->length_timer);
    s->length_timer = NULL;
}
