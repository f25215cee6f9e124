/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What query-blockstats and query-named-block-nodes report of the block driver
 * "rdma"
 */

#include "qemu/osdep.h"
#include "qemu/cutils.h"

#include "rdma.h"

void rdma_counters(BDRVRdmaState *s, struct rdisk_queue_counters *sum)
{
    unsigned int i;

    *sum = s->past;
    for (i = 0; i < s->queue_count; i++) {
        rdisk_queue_counters(rdisk_initiator_queue(s->session->initiator, i),
                             sum);
    }
}

uint64_t rdma_reconnects(BDRVRdmaState *s)
{
    return s->past_reconnects +
           rdisk_initiator_reconnects(s->session->initiator);
}

BlockStatsSpecific *rdma_get_specific_stats(BlockDriverState *bs)
{
    BlockStatsSpecific *stats = g_new(BlockStatsSpecific, 1);
    struct rdisk_queue_counters c;

    rdma_counters(bs->opaque, &c);
    stats->driver = BLOCKDEV_DRIVER_RDMA;
    stats->u.rdma = (BlockStatsSpecificRdma) {
        .reads = c.ops.count[RDISK_OP_READ],
        .writes = c.ops.count[RDISK_OP_WRITE],
        .flushes = c.ops.count[RDISK_OP_FLUSH],
        .discards = c.ops.count[RDISK_OP_DISCARD],
        .zeroes = c.ops.count[RDISK_OP_ZEROES],
        .extents = c.ops.count[RDISK_OP_EXTENTS],
        .copies = c.ops.count[RDISK_OP_COPY],
        .failed = c.ops.failed,
        .read_bytes = c.ops.bytes[RDISK_OP_READ],
        .write_bytes = c.ops.bytes[RDISK_OP_WRITE],
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

static RdmaSessionState rdma_info_state(struct rdisk_initiator *initiator)
{
    switch (rdisk_initiator_state(initiator)) {
    case RDISK_INITIATOR_READY:
        return RDMA_SESSION_STATE_READY;
    case RDISK_INITIATOR_DRAINING:
        return RDMA_SESSION_STATE_DRAINING;
    case RDISK_INITIATOR_FAILED:
        return RDMA_SESSION_STATE_FAILED;
    default:
        return RDMA_SESSION_STATE_RECONNECTING;
    }
}

static char *rdma_identity(const struct rdisk_volume_info *info)
{
    GString *hex;

    if (buffer_is_zero(info->identity, sizeof(info->identity))) {
        return NULL;
    }
    hex = g_string_new(NULL);
    for (size_t i = 0; i < sizeof(info->identity); i++) {
        g_string_append_printf(hex, "%02x", info->identity[i]);
    }
    return g_string_free(hex, FALSE);
}

ImageInfoSpecific *rdma_get_specific_info(BlockDriverState *bs, Error **errp)
{
    BDRVRdmaState *s = bs->opaque;
    struct rdisk_initiator *initiator = s->session->initiator;
    const struct rdisk_volume_info *info = rdisk_initiator_info(initiator);
    ImageInfoSpecific *specific = g_new(ImageInfoSpecific, 1);
    ImageInfoSpecificRdma *rdma = g_new(ImageInfoSpecificRdma, 1);

    *rdma = (ImageInfoSpecificRdma) {
        .state = rdma_info_state(initiator),
        .block_size = info->block_size,
        .queues = info->queues,
        .slots = info->slots,
        .identity = rdma_identity(info),
        .has_generation = info->generation > 0,
        .generation = info->generation,
    };
    if (rdma->state == RDMA_SESSION_STATE_FAILED ||
        rdma->state == RDMA_SESSION_STATE_RECONNECTING) {
        rdma->error = g_strdup(rdisk_initiator_error(initiator)->text);
    }
    specific->type = IMAGE_INFO_SPECIFIC_KIND_RDMA;
    specific->u.rdma.data = rdma;
    return specific;
}
