/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory that the block driver "rdma" registers with its session
 *
 * Guest RAM is registered by each node itself, from open to close, and
 * bdrv_register_buf() adds buffers of other kinds.  What cannot be registered
 * is copied by librdisk, so no failure in here is fatal.
 *
 * Runs in the main loop, or under the BQL in another thread that plugs memory
 * in or out.
 */

#include "qemu/osdep.h"
#include "exec/cpu-common.h" /* for qemu_ram_foreach_block() */
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "trace/trace-block.h"

#include "rdma.h"

/* Registers @buffer with the node's session, or frees it */
static void rdma_register_buffer(BlockDriverState *bs, RdmaBuffer *buffer)
{
    BDRVRdmaState *s = bs->opaque;
    struct rdisk_error err = { 0 };
    int ret;

    ret = rdisk_initiator_register(s->session->initiator, buffer->host,
                                   buffer->size, &err);
    trace_rdma_register(bs, buffer->host, buffer->size, ret);
    buffer->registered = ret == 0;
    if (ret < 0) {
        /*
         * librdisk looks up each buffer and copies what is not registered.
         * After an error virtio-blk would not register any other memory.
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

static void rdma_drop_buffer(BDRVRdmaState *s, RdmaBuffer *buffer)
{
    if (buffer->registered) {
        rdisk_initiator_unregister(s->session->initiator, buffer->host,
                                   buffer->size);
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
            rdma_drop_buffer(s, buffer);
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
    /* virtio-blk passes guest RAM, which rdma_register_ram() has registered */
    if (!qemu_ram_foreach_block(rdma_begins_at, host)) {
        rdma_register_buffer(bs,
                             rdma_add_buffer(bs->opaque, host, size, false));
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
 * Registration allocates and pins the pages.  It is deferred, because the
 * creator of the block binds it to a NUMA node after this.
 */
static void rdma_ram_block_added(RAMBlockNotifier *n, void *host, size_t size,
                                 size_t max_size)
{
    BDRVRdmaState *s = container_of(n, BDRVRdmaState, ram_notifier);

    rdma_add_buffer(s, host, max_size, true);
    qemu_bh_schedule(s->ram_bh);
}

static void rdma_ram_block_removed(RAMBlockNotifier *n, void *host, size_t size,
                                   size_t max_size)
{
    rdma_remove_buffer(container_of(n, BDRVRdmaState, ram_notifier), host,
                       max_size, true);
}

/*
 * virtio-blk registers guest RAM with the nodes below it at that time.  Other
 * disks do not, and a node may get below a disk later (under an overlay, as the
 * target of a mirror), so each node registers guest RAM itself.
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
    /* Blocks that exist already are complete: register them now */
    rdma_ram_bh(bs);
}

/* The reverse.  No request uses registered memory any more. */
void rdma_unregister_ram(BlockDriverState *bs)
{
    BDRVRdmaState *s = bs->opaque;
    RdmaBuffer *buffer, *next;

    ram_block_notifier_remove(&s->ram_notifier);
    qemu_bh_delete(s->ram_bh);
    QLIST_FOREACH_SAFE(buffer, &s->buffers, next, next) {
        rdma_drop_buffer(s, buffer);
    }
}

void rdma_move_registrations(BlockDriverState *bs, struct rdisk_initiator *old)
{
    BDRVRdmaState *s = bs->opaque;
    RdmaBuffer *buffer, *next;

    /* The device keeps what is registered again before it is unregistered */
    QLIST_FOREACH_SAFE(buffer, &s->buffers, next, next) {
        if (buffer->registered) {
            void *host = buffer->host;
            size_t size = buffer->size;

            rdma_register_buffer(bs, buffer);
            rdisk_initiator_unregister(old, host, size);
        }
    }
}
