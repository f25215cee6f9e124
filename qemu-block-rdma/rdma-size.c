/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Creating and resizing volumes, for the block driver "rdma"
 *
 * Resizing goes over the session, which is served in the main loop, while the
 * block layer asks from any AioContext.  Creating a volume takes a session of
 * its own and blocks, so a worker thread does it.
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

/* A resize, on the stack of the coroutine that waits for it */
typedef struct RdmaResize {
    BDRVRdmaState *s;
    Coroutine *co;
    uint64_t size; /* the new one */
    unsigned int flags;
    int ret;
    struct rdisk_error err;
} RdmaResize;

/* Main loop */
static void rdma_resize_done(void *opaque, int ret,
                             const struct rdisk_error *err)
{
    RdmaResize *resize = opaque;

    resize->ret = ret;
    resize->err = *err;
    /* Not at once: librdisk may be calling */
    aio_co_schedule(qemu_coroutine_get_aio_context(resize->co), resize->co);
}

static void rdma_resize_bh(void *opaque)
{
    RdmaResize *resize = opaque;
    struct rdisk_error err = { 0 };
    int ret;

    ret = rdisk_initiator_resize(resize->s->session->initiator, resize->size,
                                 resize->flags, rdma_resize_done, resize);
    if (ret < 0) {
        snprintf(err.text, sizeof(err.text), "%s", strerror(-ret));
        rdma_resize_done(resize, ret, &err);
    }
}

/* The session takes one at a time: called with s->resize_lock held */
static int coroutine_fn rdma_co_resize(BlockDriverState *bs, uint64_t size,
                                       unsigned int flags, Error **errp)
{
    RdmaResize resize = {
        .s = bs->opaque,
        .co = qemu_coroutine_self(),
        .size = size,
        .flags = flags,
    };

    aio_bh_schedule_oneshot(qemu_get_aio_context(), rdma_resize_bh, &resize);
    qemu_coroutine_yield();
    if (resize.ret < 0) {
        error_setg(errp, "%s", resize.err.text);
    } else {
        trace_rdma_resize(bs, size);
    }
    return resize.ret;
}

int coroutine_fn rdma_co_grow(BlockDriverState *bs, uint64_t end)
{
    BDRVRdmaState *s = bs->opaque;
    int ret = 0;

    if (end <= stat64_get(&s->length)) {
        return 0;
    }

    qemu_co_mutex_lock(&s->resize_lock);
    if (end > rdisk_initiator_size(s->session->initiator)) {
        ret = rdisk_initiator_info(s->session->initiator)->resize
                  ? rdma_co_resize(bs, end, 0, NULL)
                  : -ENOSPC;
    }
    qemu_co_mutex_unlock(&s->resize_lock);
    if (ret < 0) {
        return ret == -EACCES ? -ENOSPC : ret;
    }
    /* The block layer sets the node's length itself, after the write */
    stat64_max(&s->length, end);
    return 0;
}

/* Creating an image on the volume comes here too; it has its size already */
int coroutine_fn rdma_co_truncate(BlockDriverState *bs, int64_t offset,
                                  bool exact, PreallocMode prealloc,
                                  BdrvRequestFlags flags, Error **errp)
{
    BDRVRdmaState *s = bs->opaque;
    const struct rdisk_volume_info *info = rdisk_initiator_info(
        s->session->initiator);
    int64_t size = rdisk_initiator_size(s->session->initiator);
    int ret;

    if (prealloc != PREALLOC_MODE_OFF) {
        error_setg(errp, "Unsupported preallocation mode '%s'",
                   PreallocMode_str(prealloc));
        return -ENOTSUP;
    }
    /* There is no volume without a block */
    offset = ROUND_UP(MAX(offset, 1), info->block_size);
    if (offset == size || (offset < size && !exact)) {
        /* It may have grown before, without notice to the node's users */
        stat64_set(&s->length, size);
        return 0;
    }
    if (!info->resize) {
        error_setg(errp,
                   "volume '%s' has %" PRId64 " bytes, not %" PRId64
                   ", and the server does not let this client resize it; "
                   "resize it there (rdisk resize)",
                   s->opts->volume, size, offset);
        return -ENOTSUP;
    }

    qemu_co_mutex_lock(&s->resize_lock);
    ret = rdma_co_resize(bs, offset, offset < size ? RDISK_RESIZE_SHRINK : 0,
                         errp);
    qemu_co_mutex_unlock(&s->resize_lock);
    if (ret == 0) {
        stat64_set(&s->length, offset);
    }
    return ret;
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
    g_autofree char *servers = NULL;
    RdmaCreate create = {
        .size = ROUND_UP(MAX(size, 1), BDRV_SECTOR_SIZE),
    };
    int ret;

    if (!rdma_convert_options(location, false, &servers, &secret,
                              &create.options, errp)) {
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
