/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of the block driver "rdma" share
 */

#ifndef BLOCK_RDMA_H
#define BLOCK_RDMA_H

#include "block/block_int.h"
#include "qapi/qapi-types-block-core.h"

#include "rdisk/initiator.h"

typedef struct RdmaQueue RdmaQueue;

/* A range that bdrv_register_buf() has registered */
typedef struct RdmaBuffer {
    void *host;
    size_t size;
    QLIST_ENTRY(RdmaBuffer) next;
} RdmaBuffer;

typedef struct BDRVRdmaState {
    BlockdevOptionsRdma *opts;
    struct rdisk_initiator *session;
    bool read_only;             /* what the server was told */
    bool connecting;            /* a new session, perhaps beside this one */

    /* Calls rdma_session_process() when the session's deadline comes */
    QEMUTimer *timer;

    /*
     * Queues in the order in which they were claimed.  An entry is set under
     * ->claim_lock and read without; it goes away only while the node is
     * drained.
     */
    QemuMutex claim_lock;
    RdmaQueue **queues;
    unsigned int queue_count;

    /* Main loop only */
    struct rdisk_queue_counters past;   /* of sessions that have ended */
    uint64_t past_reconnects;
    QLIST_HEAD(, RdmaBuffer) buffers;
    bool register_warned;
} BDRVRdmaState;

/* rdma-options.c */

/* bdrv_parse_filename: an rdma:// URI into the options that it stands for */
void rdma_parse_filename(const char *filename, QDict *options, Error **errp);

/* Takes the driver's options out of @options.  NULL: @errp is set. */
BlockdevOptionsRdma *rdma_parse_options(QDict *options, Error **errp);

/*
 * The strings of @o point into @opts, its secret at @secret, which the caller
 * wipes.  Ranges are librdisk's to check.
 */
bool rdma_convert_options(const BlockdevOptionsRdma *opts, bool read_only,
                          struct rdisk_secret *secret,
                          struct rdisk_initiator_options *o, Error **errp);

/* "rdma://host:port/", to be freed */
char *rdma_base_uri(const BlockdevOptionsRdma *opts);
/* A URI with all that decides whether opening works, to be freed */
char *rdma_uri(const BlockdevOptionsRdma *opts);

/* rdma-queue.c */

/* bdrv_attach_aio_context: @ctx is the node's home and serves queue 0 */
void rdma_attach_aio_context(BlockDriverState *bs, AioContext *ctx);
/* bdrv_detach_aio_context: no AioContext serves a queue.  Node drained. */
void rdma_detach_aio_context(BlockDriverState *bs);

/* Slots that one request can take: what ->bl.max_transfer is divided by */
#define RDMA_PARTS 16

/* Send a request from any AioContext; @qiov is NULL for a flush */
int coroutine_fn rdma_co_request(BlockDriverState *bs, enum rdisk_op op,
                                 int64_t offset, int64_t bytes,
                                 QEMUIOVector *qiov, unsigned int flags);

#endif
