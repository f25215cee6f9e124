/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of the block driver "rdma" share
 */

#ifndef BLOCK_RDMA_H
#define BLOCK_RDMA_H

#include "block/block_int.h"
#include "exec/ramlist.h"
#include "qapi/qapi-types-block-core.h"
#include "qemu/stats64.h"

#include <rdisk/initiator.h>

typedef struct RdmaQueue RdmaQueue;
typedef struct RdmaAllocatedQuery RdmaAllocatedQuery;

/* A range of memory that is registered, or about to be */
typedef struct RdmaBuffer {
    void *host;
    size_t size;
    bool ram; /* of the guest; or bdrv_register_buf()'s */
    bool registered;
    QLIST_ENTRY(RdmaBuffer) next;
} RdmaBuffer;

/* Requests of one operation that name a range.  ->lock protects the rest. */
typedef struct RdmaRange {
    QemuMutex lock;
    CoQueue waiting;
    int64_t limit;     /* bytes: as much as takes a short time */
    int64_t in_flight; /* bytes: up to ->limit */
} RdmaRange;

/*
 * A session with the server.  Made by rdma_open_session(), freed by
 * rdma_close_session() or, in the background, when it has ended.  Main loop.
 */
typedef struct RdmaSession {
    struct rdisk_initiator *initiator;
    BlockDriverState *bs; /* NULL while it closes in the background */
    char *volume, *host;  /* for messages */
    bool serving;         /* the node's requests */
    bool background;      /* closes by itself */
    bool timed_out;       /* rdma_wait_session() ends */
    bool answered;        /* a ping of rdma_wait_answer() */
    Coroutine *waiter;    /* in rdma_wait_session() */
    QLIST_ENTRY(RdmaSession) next;
} RdmaSession;

/* How long a node that closes waits for the server to confirm it */
#define RDMA_CLOSE_WAIT_MS 1000

typedef struct BDRVRdmaState {
    BlockdevOptionsRdma *opts;
    RdmaSession *session;
    bool read_only;     /* as the session was opened */
    RdmaSession *spare; /* reads, once the node is inactive */

    CoMutex resize_lock; /* one resize at a time */
    QEMUBH *yank_bh;     /* calls rdma_yank_bh() */

    /*
     * The length that the users of the node see: the volume's size, or
     * less while one of them does not share BLK_PERM_RESIZE
     */
    Stat64 length;
    QEMUTimer *length_timer; /* calls rdma_length_timer() */

    RdmaRange ranges[3]; /* see rdma_range_of() */

    /* Main loop: what the volume takes up on the server */
    int64_t allocated;          /* bytes, by the last answer; or -errno */
    int64_t allocated_deadline; /* until when queries wait for an answer; ms */
    QLIST_HEAD(, RdmaAllocatedQuery) allocated_queries;

    /*
     * Queues in the order in which they were claimed.  An entry is set under
     * ->claim_lock and read without; it goes away only while the node is
     * drained.
     */
    QemuMutex claim_lock;
    RdmaQueue **queues;
    unsigned int queue_count;

    /* Main loop, or under the BQL */
    struct rdisk_queue_counters past; /* of sessions that have ended */
    uint64_t past_reconnects;
    QLIST_HEAD(, RdmaBuffer) buffers;
    bool register_warned;
    RAMBlockNotifier ram_notifier;
    QEMUBH *ram_bh; /* registers the blocks that came */
} BDRVRdmaState;

/* rdma-options.c */

/* bdrv_parse_filename: an rdma:// URI into the options that it stands for */
void rdma_parse_filename(const char *filename, QDict *options, Error **errp);

/* Takes the driver's options out of @options.  NULL: @errp is set. */
BlockdevOptionsRdma *rdma_parse_options(QDict *options, Error **errp);

/*
 * The strings of @o point into @opts, its further servers at *@servers, to be
 * freed, and its secret at @secret, which the caller wipes.  Ranges are
 * librdisk's to check.
 */
bool rdma_convert_options(const BlockdevOptionsRdma *opts, bool read_only,
                          char **servers, struct rdisk_secret *secret,
                          struct rdisk_initiator_options *o, Error **errp);

/* The only one, or the first of several; of options that were converted */
const InetSocketAddressBase *rdma_server(const BlockdevOptionsRdma *opts);
/* How long opening may take */
int64_t rdma_open_timeout_ms(const BlockdevOptionsRdma *opts);
/* How long requests wait for a lost connection */
int64_t rdma_reconnect_delay_ms(const BlockdevOptionsRdma *opts);

/* "rdma://host:port/", with all servers, to be freed */
char *rdma_base_uri(const BlockdevOptionsRdma *opts);
/* A URI with all that decides whether opening works, to be freed */
char *rdma_uri(const BlockdevOptionsRdma *opts);

/* rdma-env.c */

/* What librdisk needs of the system; its log goes to QEMU's.  Any thread. */
const struct rdisk_env *rdma_env(void);

/* rdma-stats.c */

/* Counters of all queues, and of the sessions that have ended */
void rdma_counters(BDRVRdmaState *s, struct rdisk_queue_counters *sum);
uint64_t rdma_reconnects(BDRVRdmaState *s);

/* Callbacks of the block driver */
BlockStatsSpecific *rdma_get_specific_stats(BlockDriverState *bs);
ImageInfoSpecific *rdma_get_specific_info(BlockDriverState *bs, Error **errp);

/* rdma-session.c, main loop only */

/* An inactive node leaves writing to another QEMU */
static inline bool rdma_only_reads(int flags)
{
    return (flags & (BDRV_O_RDWR | BDRV_O_INACTIVE)) != BDRV_O_RDWR;
}

/*
 * Connect and open the volume.  Returns 0 with @new set, or a negative errno
 * with @errp set: -EBUSY when another client writes.  Waits in a nested event
 * loop, or in a coroutine yields, as those below do.
 */
int coroutine_mixed_fn rdma_open_session(BlockDriverState *bs, bool read_only,
                                         RdmaSession **new, Error **errp);
/*
 * End a session that serves no requests (any more).  Where the server does not
 * confirm it in @timeout_ms, the session ends in the background.
 */
void coroutine_mixed_fn rdma_close_session(RdmaSession *session,
                                           int64_t timeout_ms);
/*
 * Wait until a session that connects or closes has done so, or has failed.
 * False: it took longer than @timeout_ms.
 */
bool coroutine_mixed_fn rdma_wait_session(RdmaSession *session,
                                          int64_t timeout_ms);

/* Make @session the one that serves requests; the node owns it from now on */
void rdma_start_session(BlockDriverState *bs, RdmaSession *session,
                        bool read_only);
/* The reverse, at close; ends guest RAM's registration too */
void rdma_end_session(BlockDriverState *bs);
/* As rdma_open_session(), for a session that takes the place of the node's */
int coroutine_mixed_fn rdma_open_successor(BlockDriverState *bs, bool read_only,
                                           RdmaSession **new, Error **errp);
/*
 * Let @new serve the node and close the session that did, as
 * rdma_close_session() does.  Node drained.
 */
void coroutine_mixed_fn rdma_replace_session(BlockDriverState *bs,
                                             RdmaSession *new, bool read_only,
                                             int64_t timeout_ms);
/* End the session that rdma_inactivate() opened, if there is one */
void rdma_drop_spare(BlockDriverState *bs);
/* Let @session do what is due */
void rdma_session_process(RdmaSession *session);

/* Callbacks of the block driver */
int rdma_reopen_prepare(BDRVReopenState *state, BlockReopenQueue *queue,
                        Error **errp);
void rdma_reopen_commit(BDRVReopenState *state);
void rdma_reopen_abort(BDRVReopenState *state);

/* rdma-memory.c, main loop or under the BQL */

/* Register guest RAM, now and when it is plugged in, until the reverse */
void rdma_register_ram(BlockDriverState *bs);
void rdma_unregister_ram(BlockDriverState *bs);
/* Register with the node's session what was registered with @old */
void rdma_move_registrations(BlockDriverState *bs, struct rdisk_initiator *old);

/* Callbacks of the block driver */
bool rdma_register_buf(BlockDriverState *bs, void *host, size_t size,
                       Error **errp);
void rdma_unregister_buf(BlockDriverState *bs, void *host, size_t size);

/* rdma-migration.c, main loop only: callbacks of the block driver */

int GRAPH_RDLOCK rdma_inactivate(BlockDriverState *bs);
void rdma_set_perm(BlockDriverState *bs, uint64_t perm, uint64_t shared);
void coroutine_fn GRAPH_RDLOCK rdma_co_invalidate_cache(BlockDriverState *bs,
                                                        Error **errp);

/* rdma-yank.c, main loop only */

/*
 * Let QMP's yank fail what waits for a server that does not answer.  The node's
 * instance exists before and after.
 */
void rdma_register_yank(BlockDriverState *bs);
void rdma_unregister_yank(BlockDriverState *bs);

/* Callback of the block driver */
void rdma_cancel_in_flight(BlockDriverState *bs);

/* rdma-size.c */

/* Make the volume end at @end or later; -ENOSPC if that is not allowed */
int coroutine_fn rdma_co_grow(BlockDriverState *bs, uint64_t end);

/* Callbacks of the block driver */
int coroutine_fn GRAPH_UNLOCKED rdma_co_create(BlockdevCreateOptions *options,
                                               Error **errp);
int coroutine_fn GRAPH_UNLOCKED rdma_co_create_opts(BlockDriver *drv,
                                                    const char *filename,
                                                    QemuOpts *opts,
                                                    Error **errp);
int coroutine_fn rdma_co_truncate(BlockDriverState *bs, int64_t offset,
                                  bool exact, PreallocMode prealloc,
                                  BdrvRequestFlags flags, Error **errp);

/* rdma-length.c, main loop only but for rdma_co_getlength() */

/* From open to close; the session is there */
void rdma_length_begin(BlockDriverState *bs);
void rdma_length_end(BlockDriverState *bs);
/* The volume may be larger than the node */
void rdma_size_changed(BlockDriverState *bs);
/* The node's users share @shared from now on: called by rdma_set_perm() */
void rdma_length_permitted(BlockDriverState *bs, uint64_t shared);

/* Callback of the block driver */
int64_t coroutine_fn rdma_co_getlength(BlockDriverState *bs);

/* rdma-allocated.c */

/* Request from the server what the volume takes up.  Main loop. */
void rdma_ask_allocated(BlockDriverState *bs);

/* Callback of the block driver */
int64_t coroutine_fn rdma_co_get_allocated_file_size(BlockDriverState *bs);

/* rdma-range.c */

void rdma_ranges_init(BDRVRdmaState *s);
void rdma_ranges_destroy(BDRVRdmaState *s);
/*
 * Zero, discard or copy @bytes bytes, in pieces.  Of @req the caller fills op,
 * flags, offset and source; all change.
 */
int coroutine_fn rdma_co_range(BlockDriverState *bs, struct rdisk_request *req,
                               int64_t bytes);

/* rdma-queue.c */

/* bdrv_attach_aio_context: @ctx is the node's home and serves queue 0 */
void rdma_attach_aio_context(BlockDriverState *bs, AioContext *ctx);
/* bdrv_detach_aio_context: no AioContext serves a queue.  Node drained. */
void rdma_detach_aio_context(BlockDriverState *bs);

/* Slots that one request can take: what ->bl.max_transfer is divided by */
#define RDMA_PARTS 16

/*
 * Send a request from any AioContext and wait for its answer.  Of @req the
 * caller fills the first group; extent_count is filled in at the end.
 */
int coroutine_fn rdma_co_submit(BlockDriverState *bs,
                                struct rdisk_request *req);
/* The same in one line; @qiov is NULL for what has no payload */
int coroutine_fn rdma_co_request(BlockDriverState *bs, enum rdisk_op op,
                                 int64_t offset, int64_t bytes,
                                 QEMUIOVector *qiov, unsigned int flags);

#endif
