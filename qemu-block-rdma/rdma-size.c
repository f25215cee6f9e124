/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The size of a volume, from its creation on, for the block driver "rdma"
 *
 * The server resizes a volume and notifies its other clients.  Both go over the
 * session, which is served in the main loop, while the block layer asks from
 * any AioContext.  Creating a volume takes a session of its own and blocks, so
 * a worker thread does it.
 */

#include "qemu/osdep.h"
#include "block/block-io.h"
#include "block/thread-pool.h"
#include "qapi/error.h"
#include "qapi/qapi-visit-block-core.h"
#include "qemu/main-loop.h"
#include "qemu/option.h"
#include "qobject/qdict.h"
#include "trace/trace-block.h"

#include "rdma.h"

/* A call on the session, on the stack of the coroutine that waits for it */
typedef struct RdmaControl {
    BlockDriverState *bs;
    Coroutine *co;
    bool resize;                /* or else: how much is allocated? */
    uint64_t size;              /* the new one; what is allocated */
    unsigned int flags;
    int ret;
    struct rdisk_error err;
} RdmaControl;

/* Main loop */
static void rdma_control_done(RdmaControl *control, int ret,
                              const struct rdisk_error *err)
{
    control->ret = ret;
    if (err) {
        control->err = *err;
    } else {
        snprintf(control->err.text, sizeof(control->err.text), "%s",
                 strerror(-ret));
    }
    /* Not at once: librdisk may be calling us */
    aio_co_schedule(qemu_coroutine_get_aio_context(control->co), control->co);
}

static void rdma_resize_done(void *opaque, int ret,
                             const struct rdisk_error *err)
{
    rdma_control_done(opaque, ret, err);
}

static void rdma_stat_done(void *opaque, int ret, uint64_t allocated,
                           const struct rdisk_error *err)
{
    RdmaControl *control = opaque;

    control->size = allocated;
    rdma_control_done(control, ret, err);
}

static void rdma_control_bh(void *opaque)
{
    RdmaControl *control = opaque;
    BlockDriverState *bs = control->bs;
    BDRVRdmaState *s = bs->opaque;
    int ret;

    if (control->resize) {
        ret = rdisk_initiator_resize(s->session, control->size, control->flags,
                                     rdma_resize_done, control);
    } else {
        ret = rdisk_initiator_stat(s->session, rdma_stat_done, control);
    }
    if (ret < 0) {
        rdma_control_done(control, ret, NULL);
    }
}

/* The session takes one at a time: called with s->control_lock held */
static void coroutine_fn rdma_co_control(RdmaControl *control)
{
    control->co = qemu_coroutine_self();
    aio_bh_schedule_oneshot(qemu_get_aio_context(), rdma_control_bh, control);
    qemu_coroutine_yield();
}

static int coroutine_fn rdma_co_resize(BlockDriverState *bs, uint64_t size,
                                       unsigned int flags, Error **errp)
{
    RdmaControl control = {
        .bs = bs,
        .resize = true,
        .size = size,
        .flags = flags,
    };

    rdma_co_control(&control);
    if (control.ret < 0) {
        error_setg(errp, "%s", control.err.text);
    } else {
        trace_rdma_resize(bs, size);
    }
    return control.ret;
}

int coroutine_fn rdma_co_grow(BlockDriverState *bs, uint64_t end)
{
    BDRVRdmaState *s = bs->opaque;
    int ret = 0;

    if (end <= rdisk_initiator_size(s->session)) {
        return 0;
    }
    if (!rdisk_initiator_info(s->session)->resize) {
        return -ENOSPC;
    }

    qemu_co_mutex_lock(&s->control_lock);
    if (end > rdisk_initiator_size(s->session)) {
        ret = rdma_co_resize(bs, end, 0, NULL);
    }
    qemu_co_mutex_unlock(&s->control_lock);
    return ret == -EACCES ? -ENOSPC : ret;
}

/* Creating an image on the volume comes here too; it has its size already */
int coroutine_fn rdma_co_truncate(BlockDriverState *bs, int64_t offset,
                                  bool exact, PreallocMode prealloc,
                                  BdrvRequestFlags flags, Error **errp)
{
    BDRVRdmaState *s = bs->opaque;
    const struct rdisk_volume_info *info = rdisk_initiator_info(s->session);
    int64_t size = rdisk_initiator_size(s->session);
    int ret;

    if (prealloc != PREALLOC_MODE_OFF) {
        error_setg(errp, "Unsupported preallocation mode '%s'",
                   PreallocMode_str(prealloc));
        return -ENOTSUP;
    }
    /* There is no volume without a block */
    offset = ROUND_UP(MAX(offset, 1), info->block_size);
    if (offset == size || (offset < size && !exact)) {
        return 0;
    }
    if (!info->resize) {
        error_setg(errp, "volume '%s' has %" PRId64 " bytes, not %" PRId64
                   ", and the server does not let this client resize it; "
                   "resize it there (rdisk resize)",
                   s->opts->volume, size, offset);
        return -ENOTSUP;
    }

    qemu_co_mutex_lock(&s->control_lock);
    ret = rdma_co_resize(bs, offset, offset < size ? RDISK_RESIZE_SHRINK : 0,
                         errp);
    qemu_co_mutex_unlock(&s->control_lock);
    return ret;
}

int64_t coroutine_fn rdma_co_getlength(BlockDriverState *bs)
{
    BDRVRdmaState *s = bs->opaque;

    return rdisk_initiator_size(s->session);
}

int64_t coroutine_fn rdma_co_get_allocated_file_size(BlockDriverState *bs)
{
    BDRVRdmaState *s = bs->opaque;
    RdmaControl control = {
        .bs = bs,
    };

    /* Asked by query-block in the main loop, which must not stand still */
    if (rdisk_initiator_state(s->session) != RDISK_INITIATOR_READY) {
        return -ENOTCONN;
    }
    /* The block layer does not count this as a request */
    bdrv_inc_in_flight(bs);
    qemu_co_mutex_lock(&s->control_lock);
    rdma_co_control(&control);
    qemu_co_mutex_unlock(&s->control_lock);
    bdrv_dec_in_flight(bs);
    return control.ret < 0 ? control.ret : control.size;
}

/*
 * The length of @bs is another one: tell its users.  A filter is as long as its
 * child.
 */
static void GRAPH_RDLOCK rdma_notify_parents(BlockDriverState *bs)
{
    BdrvChild *parent;

    if (bdrv_refresh_total_sectors(bs, bs->total_sectors) < 0) {
        return;
    }
    QLIST_FOREACH(parent, &bs->parents, next_parent) {
        if (parent->klass->resize) {
            parent->klass->resize(parent);
        } else if (parent->klass->parent_is_bds &&
                   (parent->role & BDRV_CHILD_FILTERED)) {
            rdma_notify_parents(parent->opaque);
        }
    }
}

void rdma_resized_bh(void *opaque)
{
    BlockDriverState *bs = opaque;

    bdrv_ref(bs);
    bdrv_drained_begin(bs);
    bdrv_graph_rdlock_main_loop();
    rdma_notify_parents(bs);
    bdrv_graph_rdunlock_main_loop();
    bdrv_drained_end(bs);
    bdrv_unref(bs);
}

void rdma_volume_changed(void *opaque, uint64_t size)
{
    BlockDriverState *bs = opaque;
    BDRVRdmaState *s = bs->opaque;

    trace_rdma_resize(bs, size);
    /* Not at once: librdisk is calling us.  At open nobody has asked yet. */
    if (s->resized_bh) {
        qemu_bh_schedule(s->resized_bh);
    }
}

typedef struct RdmaCreate {
    struct rdisk_initiator_options options;
    uint64_t size;
    struct rdisk_error err;
} RdmaCreate;

static int rdma_create_worker(void *opaque)
{
    RdmaCreate *create = opaque;

    return rdisk_create_volume(rdma_env(), &create->options, create->size, 0,
                               &create->err);
}

static int coroutine_fn rdma_co_make(const BlockdevOptionsRdma *location,
                                     int64_t size, Error **errp)
{
    struct rdisk_secret secret = { 0 };
    RdmaCreate create = {
        .size = ROUND_UP(MAX(size, 1), BDRV_SECTOR_SIZE),
    };
    int ret;

    if (!rdma_convert_options(location, false, &secret, &create.options,
                              errp)) {
        return -EINVAL;
    }
    ret = thread_pool_submit_co(rdma_create_worker, &create);
    rdisk_secret_wipe(&secret);
    if (ret < 0) {
        error_setg(errp, "%s", create.err.text);
    }
    return ret;
}

int coroutine_fn rdma_co_create(BlockdevCreateOptions *options, Error **errp)
{
    assert(options->driver == BLOCKDEV_DRIVER_RDMA);
    return rdma_co_make(options->u.rdma.location, options->u.rdma.size, errp);
}

/*
 * Where only the administrator of the server makes volumes, an image can still
 * be created in one that there is.
 */
int coroutine_fn rdma_co_create_opts(BlockDriver *drv, const char *filename,
                                     QemuOpts *opts, Error **errp)
{
    g_autoptr(BlockdevOptionsRdma) location = NULL;
    g_autoptr(QDict) options = qdict_new();
    g_autofree char *prealloc = NULL;
    Error *why = NULL;
    int ret;

    rdma_parse_filename(filename, options, &why);
    if (why) {
        error_propagate(errp, why);
        return -EINVAL;
    }
    location = rdma_parse_options(options, errp);
    if (!location) {
        return -EINVAL;
    }
    prealloc = g_strdup(qemu_opt_get(opts, BLOCK_OPT_PREALLOC));
    if (prealloc && !g_str_equal(prealloc, "off")) {
        error_setg(errp, "Unsupported preallocation mode '%s'", prealloc);
        return -ENOTSUP;
    }

    ret = rdma_co_make(location, qemu_opt_get_size(opts, BLOCK_OPT_SIZE, 0),
                       &why);
    if (ret == -ENOTSUP || ret == -EACCES) {
        ret = bdrv_co_create_opts_simple(drv, filename, opts, errp);
        if (ret < 0) {
            error_prepend(errp, "%s; ", error_get_pretty(why));
        }
        error_free(why);
    } else if (ret < 0) {
        error_propagate(errp, why);
    }
    return ret;
}
