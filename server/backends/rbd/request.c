/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests on an image.
 *
 * librbd completes them in threads of its own. Its event notification (an
 * eventfd per image) would wake one reactor for the completions of all; a
 * callback knows the request's context, so each reactor gets its own, by one
 * message for however many there are when it comes.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "server/backends/rbd/image.h"
#include <rdisk/env.h>

/* Of a DISCARD or ZEROES, before the time is checked: 16 objects of the usual
 * size. */
#define RANGE_PIECE (64u << 20)
/* Then it ends; a client gives up a connection on which a request takes too
 * long (request-timeout, 10 s by default). */
#define RANGE_MS 2000

/* ---- Failures ----------------------------------------------------------- */

static void reason(const struct image *image, int result, char *text,
                   size_t size)
{
    switch (result) {
    case -ETIMEDOUT:
        snprintf(text, size,
                 "the Ceph cluster has not answered within op-timeout, %u "
                 "seconds",
                 image->ceph->op_timeout_s);
        break;
    case -EDQUOT:
        snprintf(text, size, "the Ceph pool has reached its quota");
        break;
    case -ENOSPC:
        snprintf(text, size, "the Ceph pool or an OSD is full");
        break;
    case -ESHUTDOWN:
    case -EROFS:
        snprintf(text, size,
                 "the Ceph cluster has blocklisted this server: another "
                 "one has taken over the image's lock");
        break;
    default:
        snprintf(text, size, "%s", strerror(-result));
        break;
    }
}

static bool changes(enum rdisk_op op)
{
    return op != RDISK_OP_READ && op != RDISK_OP_FLUSH &&
           op != RDISK_OP_EXTENTS;
}

/*
 * librbd says -ESHUTDOWN when the cluster has blocklisted its connection, and
 * -EROFS when it has lost the lock otherwise.
 */
static void check_fenced(const struct backend_io *io, int result)
{
    struct backend *backend = io->context->backend;

    if (!backend->geometry.read_only &&
        (result == -ESHUTDOWN || (result == -EROFS && changes(io->op)))) {
        atomic_store(&backend->fenced, true);
    }
}

void image_fail(struct backend_io *io, int result)
{
    struct image_context *context = image_context_of(io->context);
    struct image *image = image_of(context->base.backend);
    uint64_t n = ++context->failures;
    char text[128];

    check_fenced(io, result);
    /* A cluster that is down fails every request: the 1st, 2nd, 4th, 8th… */
    if ((n & (n - 1)) == 0) {
        reason(image, result, text, sizeof(text));
        log_error("volume '%s': %s of %" PRIu64 " bytes at %" PRIu64
                  " failed: %s (failure %" PRIu64 ")",
                  image->volume, rdisk_op_name(io->op), io->length, io->offset,
                  text, n);
    }
    backend_io_complete(io, result);
}

/* ---- Submission --------------------------------------------------------- */

static uint32_t range_piece(const struct backend_io *io)
{
    uint32_t left = io->length - io->done;

    return left < RANGE_PIECE ? left : RANGE_PIECE;
}

static void completed(rbd_completion_t completion, void *opaque);

static int issue(rbd_image_t image, struct backend_io *io,
                 rbd_completion_t completion)
{
    switch (io->op) {
    case RDISK_OP_READ:
        return rbd_aio_read(image, io->offset, io->length, io->data,
                            completion);
    case RDISK_OP_WRITE:
        return rbd_aio_write(image, io->offset, io->length, io->data,
                             completion);
    case RDISK_OP_FLUSH:
        return rbd_aio_flush(image, completion);
    case RDISK_OP_DISCARD:
        return rbd_aio_discard(image, io->offset + io->done, range_piece(io),
                               completion);
    case RDISK_OP_ZEROES:
        return rbd_aio_write_zeroes(image, io->offset + io->done,
                                    range_piece(io), completion,
                                    io->flags & RDISK_REQUEST_UNMAP
                                        ? 0
                                        : RBD_WRITE_ZEROES_FLAG_THICK_PROVISION,
                                    0);
    default:
        return -ENOTSUP;
    }
}

static void start(struct backend_io *io)
{
    struct image *image = image_of(io->context->backend);
    rbd_completion_t completion;
    int result = rbd_aio_create_completion(io, completed, &completion);

    if (result == 0) {
        result = issue(image->image, io, completion);
        if (result < 0) {
            rbd_aio_release(completion);
        }
    }
    if (result < 0) {
        image_fail(io, result);
    }
}

/* ---- Completion --------------------------------------------------------- */

/*
 * A thread of librbd's. The context outlives this call: its last request is
 * completed, and it can go, only when the message has come.
 */
static void completed(rbd_completion_t completion, void *opaque)
{
    struct backend_io *io = opaque;
    struct image_context *context = image_context_of(io->context);
    ssize_t result = rbd_aio_get_return_value(completion);
    bool first;

    rbd_aio_release(completion);
    if (io->op == RDISK_OP_READ && result >= 0) {
        /* Less than all: the image has been made smaller behind the server. */
        result = (uint64_t)result == io->length ? 0 : -EIO;
    }
    io->result = result < 0 ? (int)result : 0;
    pthread_mutex_lock(&context->lock);
    first = !context->completed;
    io->next = context->completed;
    context->completed = io;
    pthread_mutex_unlock(&context->lock);
    if (first) {
        reactor_send(context->base.reactor, &context->message);
    }
}

/* A piece of a DISCARD or ZEROES is done. */
static void range_done(struct backend_io *io)
{
    io->done += range_piece(io);
    if (io->done == io->length) {
        backend_io_complete(io, 0);
    } else if (rdisk_now(&rdisk_env_system) - io->began <
               RANGE_MS * RDISK_MSEC) {
        start(io);
    } else {
        /* DISCARD is a hint; for ZEROES the client writes them, in requests of
         * bounded length. */
        backend_io_complete(io, io->op == RDISK_OP_DISCARD ? 0 : -ENOTSUP);
    }
}

static void finish(struct backend_io *io)
{
    if (io->result < 0) {
        image_fail(io, io->result);
    } else if (rdisk_op_is_range(io->op)) {
        range_done(io);
    } else {
        backend_io_complete(io, 0);
    }
}

static void completions_run(struct message *message)
{
    struct image_context *context = container_of(message, struct image_context,
                                                 message);
    struct backend_io *io, *oldest = NULL;

    pthread_mutex_lock(&context->lock);
    io = context->completed;
    context->completed = NULL;
    pthread_mutex_unlock(&context->lock);
    while (io) {
        struct backend_io *next = io->next;

        io->next = oldest;
        oldest = io;
        io = next;
    }
    /* The context may go with the last one. */
    while (oldest) {
        io = oldest;
        oldest = io->next;
        finish(io);
    }
}

/* ---- The context -------------------------------------------------------- */

struct backend_context *image_join(struct backend *backend,
                                   struct reactor *reactor,
                                   struct rdisk_error *err)
{
    struct image_context *context = calloc(1, sizeof(*context));

    if (!context) {
        rdisk_error_set(err, -ENOMEM, "no memory for volume '%s'",
                        image_of(backend)->volume);
        return NULL;
    }
    context->base.backend = backend;
    context->base.reactor = reactor;
    context->message.run = completions_run;
    pthread_mutex_init(&context->lock, NULL);
    return &context->base;
}

void image_leave(struct backend_context *base)
{
    struct image_context *context = image_context_of(base);

    pthread_mutex_destroy(&context->lock);
    free(context);
}

/* With the cache off, librbd completes a change when it is on stable storage:
 * FUA requires nothing more. */
void image_submit(struct backend_context *base, struct backend_io *io)
{
    io->context = base;
    io->done = 0;
    io->result = 0;
    if (base->backend->geometry.read_only && changes(io->op)) {
        /* librbd 16 never completes one. */
        backend_io_complete(io, -EROFS);
        return;
    }
    if (io->op == RDISK_OP_EXTENTS) {
        image_extents(image_context_of(base), io);
        return;
    }
    if (io->op == RDISK_OP_ZEROES && (io->flags & RDISK_REQUEST_FAST) &&
        !(io->flags & RDISK_REQUEST_UNMAP)) {
        /* They would be written. */
        backend_io_complete(io, -ENOTSUP);
        return;
    }
    if (rdisk_op_is_range(io->op)) {
        io->began = rdisk_now(&rdisk_env_system);
    }
    start(io);
}
