/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests of files and block devices, through the reactor's io_uring.
 *
 * They go from and to the slot as it lies, past the page cache (O_DIRECT) where
 * the file system can; the descriptor and the slots are registered with the
 * ring, so that a request costs neither a look-up nor the pinning of pages.
 *
 * A file system in memory that takes no request with RWF_NOWAIT (tmpfs does
 * not) would have io_uring give every one to a worker thread, only for a copy.
 * There the reactor makes the system call itself.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "server/backends/file.h"
#include <rdisk/env.h>

/* ---- Coming and going ------------------------------------------------- */

struct backend_context *file_join(struct backend *backend,
                                  struct reactor *reactor,
                                  struct rdisk_error *err)
{
    struct file_context *context = calloc(1, sizeof(*context));

    if (!context) {
        rdisk_error_set(err, -ENOMEM, "no memory for volume '%s'",
                        file_of(backend)->volume);
        return NULL;
    }
    context->base.backend = backend;
    context->base.reactor = reactor;
    context->base.polled = backend->polled && reactor_polls(reactor);
    context->last = &context->waiting;
    reactor_workers(reactor, FILE_REQUESTS);
    file_sync_join(file_of(backend));
    context->fd = file_of(backend)->fd;
    context->index[RING_ORDINARY] = reactor_file_add(reactor, RING_ORDINARY,
                                                     context->fd);
    context->index[RING_POLLED] = context->base.polled
                                      ? reactor_file_add(reactor, RING_POLLED,
                                                         context->fd)
                                      : -1;
    return &context->base;
}

void file_leave(struct backend_context *base)
{
    struct file_context *context = container_of(base, struct file_context,
                                                base);

    for (unsigned int ring = 0; ring < RING_KINDS; ring++) {
        reactor_file_remove(base->reactor, ring, context->index[ring]);
    }
    assert(context->requests == 0 && !context->waiting);
    reactor_workers(base->reactor, -(int)FILE_REQUESTS);
    file_sync_leave(file_of(base->backend));
    free(context);
}

/* ---- Requests --------------------------------------------------------- */

void file_fail(struct file_context *context, struct backend_io *io,
               const char *why)
{
    uint64_t n = ++context->failures;

    /* A dying disk fails every request: log the 1st, 2nd, 4th, 8th… */
    if ((n & (n - 1)) == 0) {
        log_error("volume '%s': %s of %" PRIu64 " bytes at %" PRIu64
                  " failed: %s "
                  "(failure %" PRIu64 ")",
                  file_of(context->base.backend)->volume, rdisk_op_name(io->op),
                  io->length, io->offset, why, n);
    }
}

/* How to give space back, or to zero without doing so. */
static int fallocate_mode(const struct backend_io *io)
{
    bool unmap = io->op == RDISK_OP_DISCARD ||
                 (io->flags & RDISK_REQUEST_UNMAP);

    return FALLOC_FL_KEEP_SIZE |
           (unmap ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
}

/* Bytes of the next piece of a DISCARD or ZEROES: a fraction of a second on any
 * disk, and few calls for a file system that only notes it. */
static uint32_t range_piece(const struct backend_io *io)
{
    uint32_t left = io->length - io->done;

    return left < (16u << 20) ? left : 16u << 20;
}

/* Only what a disk does by one command: FUA may take a flush of the kernel's
 * beside it, and all else is not asked for where it completes. */
static enum ring_kind ring_for(const struct file_context *context,
                               const struct backend_io *io)
{
    bool plain = io->op == RDISK_OP_READ ||
                 (io->op == RDISK_OP_WRITE && !(io->flags & RDISK_REQUEST_FUA));

    return context->base.polled && plain ? RING_POLLED : RING_ORDINARY;
}

/*
 * A FUA write past the page cache is one command to a disk that knows FUA. In
 * the page cache its sync would report, and take away, what has happened to
 * others' pages: there it is a write and a flush.
 */
static bool syncs_itself(const struct file_context *context,
                         const struct backend_io *io)
{
    return io->op == RDISK_OP_WRITE && (io->flags & RDISK_REQUEST_FUA) &&
           file_of(context->base.backend)->direct && !io->result;
}

/* Put what is left of @io on a ring. */
static void file_queue(struct file_context *context, struct backend_io *io)
{
    enum ring_kind ring = ring_for(context, io);
    struct io_uring_sqe *sqe = reactor_sqe(context->base.reactor, ring);
    bool registered = context->index[ring] >= 0;
    int fd = registered ? context->index[ring] : context->fd;
    int buffer = io->buffer[ring];
    char *data = (char *)io->data + io->done;
    uint32_t length = io->length - io->done;
    uint64_t offset = io->offset + io->done;

    switch (io->op) {
    case RDISK_OP_READ:
        if (buffer >= 0) {
            io_uring_prep_read_fixed(sqe, fd, data, length, offset, buffer);
        } else {
            io_uring_prep_read(sqe, fd, data, length, offset);
        }
        break;
    case RDISK_OP_WRITE:
        if (buffer >= 0) {
            io_uring_prep_write_fixed(sqe, fd, data, length, offset, buffer);
        } else {
            io_uring_prep_write(sqe, fd, data, length, offset);
        }
        if (syncs_itself(context, io)) {
            sqe->rw_flags = RWF_DSYNC;
        }
        break;
    case RDISK_OP_DISCARD:
    case RDISK_OP_ZEROES:
        io_uring_prep_fallocate(sqe, fd, fallocate_mode(io), offset,
                                range_piece(io));
        break;
    case RDISK_OP_FLUSH:   /* file_sync.c */
    case RDISK_OP_EXTENTS: /* file_offload.c */
    case RDISK_OP_COPY:
        break;
    }
    if (registered) {
        sqe->flags |= IOSQE_FIXED_FILE;
    }
    io->polled = ring == RING_POLLED;
    reactor_sqe_set(sqe, &io->ring);
}

/* As the ring would, but now. What is in memory is as stable as it gets, so
 * FUA adds nothing. */
static int file_do(struct file_context *context, const struct backend_io *io)
{
    char *data = (char *)io->data + io->done;
    uint32_t length = io->length - io->done;
    uint64_t offset = io->offset + io->done;
    ssize_t n = io->op == RDISK_OP_READ
                    ? pread(context->fd, data, length, offset)
                : io->op == RDISK_OP_WRITE
                    ? pwrite(context->fd, data, length, offset)
                    : fdatasync(context->fd);

    return n < 0 ? -errno : (int)n;
}

static void file_done(struct ring_op *op, int result, unsigned int flags);

static void file_start(struct file_context *context, struct backend_io *io)
{
    /* Giving back a large range takes long even in memory. */
    if (io->op == RDISK_OP_FLUSH && !context->base.backend->inline_io) {
        file_sync_submit(context, io);
    } else if (context->base.backend->inline_io && !rdisk_op_is_range(io->op)) {
        file_done(&io->ring, file_do(context, io), 0);
    } else {
        file_queue(context, io);
    }
}

/* It could when it was opened; that disk, or its driver, has been changed. */
static void file_stop_polling(struct file_context *context)
{
    if (context->base.polled) {
        context->base.polled = false;
        log_warning("volume '%s' can no longer be polled: its requests use the "
                    "disk's interrupts",
                    file_of(context->base.backend)->volume);
    }
}

/*
 * A write with FUA has failed, either itself or in making others' data stable.
 * Only the write without FUA shows which, and it can be repeated. True: it is
 * in flight.
 */
static bool file_write_alone(struct file_context *context,
                             struct backend_io *io, int result)
{
    if (!syncs_itself(context, io)) {
        return false;
    }
    io->result = result;
    file_start(context, io);
    return true;
}

static void file_failed(struct file_context *context, struct backend_io *io,
                        int result)
{
    if (file_write_alone(context, io, result)) {
        return;
    }
    /* That a file system cannot do it is no failure. */
    if (result != -ENOTSUP || !rdisk_op_is_range(io->op)) {
        file_fail(context, io, strerror(-result));
    }
    backend_io_complete(io, result);
}

/* All of it is where it belongs; FUA wants it to be stable, too. */
static void file_finish(struct file_context *context, struct backend_io *io)
{
    struct file *file = file_of(context->base.backend);

    if (!(io->flags & RDISK_REQUEST_FUA) || file->base.inline_io ||
        syncs_itself(context, io)) {
        backend_io_complete(io, 0);
        return;
    }
    if (io->result) {
        /* The write alone has succeeded. */
        file_sync_fail(file, io->result);
    }
    file_sync_submit(context, io);
}

/* A piece of a DISCARD or ZEROES is done. */
static void range_done(struct file_context *context, struct backend_io *io)
{
    uint64_t limit = file_of(context->base.backend)->range_time;

    io->done += range_piece(io);
    if (io->done == io->length) {
        file_finish(context, io);
    } else if (rdisk_now(&rdisk_env_system) - io->began < limit) {
        file_start(context, io);
    } else if (io->op == RDISK_OP_DISCARD) {
        file_finish(context, io); /* DISCARD is a hint */
    } else {
        /* Then the client writes zeroes, in requests of bounded length. */
        backend_io_complete(io, -ENOTSUP);
    }
}

static void file_done(struct ring_op *op, int result, unsigned int flags)
{
    struct backend_io *io = container_of(op, struct backend_io, ring);
    struct file_context *context = container_of(io->context,
                                                struct file_context, base);
    uint32_t block_size = io->context->backend->geometry.block_size;
    uint32_t done;

    if (result == -EINTR || result == -EAGAIN) {
        file_start(context, io);
        return;
    }
    if (result == -EOPNOTSUPP && io->polled) {
        file_stop_polling(context);
        file_start(context, io);
        return;
    }
    if (result < 0) {
        file_failed(context, io, result);
        return;
    }
    if (rdisk_op_is_range(io->op)) {
        range_done(context, io);
        return;
    }
    if (io->op == RDISK_OP_FLUSH) {
        file_finish(context, io);
        return;
    }
    /* A short transfer goes on at the last whole block. */
    done = (io->done + result) / block_size * block_size;
    if (done == io->length) {
        file_finish(context, io);
    } else if (done > io->done) {
        io->done = done;
        file_start(context, io);
    } else {
        file_fail(context, io,
                  "the file ends before the volume does; was it "
                  "truncated?");
        backend_io_complete(io, -EIO);
    }
}

static void file_begin(struct file_context *context, struct backend_io *io)
{
    struct file *file = file_of(context->base.backend);

    if (rdisk_op_is_range(io->op) && file_is_unaligned(file, io)) {
        int result = file_cut_to_blocks(file, io);

        if (result <= 0) {
            backend_io_complete(io, result);
            return;
        }
    }
    if (io->op == RDISK_OP_EXTENTS || io->op == RDISK_OP_COPY ||
        file_is_unaligned(file, io)) {
        file_offload(context, io);
        return;
    }
    io->ring.done = file_done;
    if (rdisk_op_is_range(io->op)) {
        io->began = rdisk_now(&rdisk_env_system);
    }
    file_start(context, io);
}

/* ---- Taking turns ----------------------------------------------------- */

static void begin_run(struct message *message)
{
    struct backend_io *io = container_of(message, struct backend_io,
                                         job.message);

    file_begin(container_of(io->context, struct file_context, base), io);
}

/* By a message also where the reactor is this one: many that wait for each
 * other would pile up on the stack. */
void file_turn_over(struct file *file, struct range *range)
{
    struct range *next = range_lock_release(&file->ranges, range);

    while (next) {
        struct backend_io *io = container_of(next, struct backend_io, range);

        next = next->granted;
        io->job.message.run = begin_run;
        reactor_send(io->context->reactor, &io->job.message);
    }
}

/* True if it is its turn; if not, it begins when that comes. */
static bool take_turn(struct file *file, struct backend_io *io)
{
    uint32_t block_size = file->base.geometry.block_size;
    uint64_t end = io->offset + io->length + block_size - 1;

    io->range = (struct range) {
        .begin = io->offset - io->offset % block_size,
        .end = end - end % block_size,
        .writes = io->op != RDISK_OP_READ,
    };
    if (io->op == RDISK_OP_COPY) {
        io->range.source = io->source;
        io->range.source_end = io->source + io->length;
    }
    return range_lock_acquire(&file->ranges, &io->range);
}

/* ---- Coming in and going out ------------------------------------------ */

static bool takes_turns(const struct file *file, const struct backend_io *io)
{
    return file->takes_turns && io->op != RDISK_OP_FLUSH &&
           io->op != RDISK_OP_EXTENTS;
}

static void admit(struct file_context *context, struct backend_io *io)
{
    struct file *file = file_of(context->base.backend);

    context->requests++;
    if (!takes_turns(file, io) || take_turn(file, io)) {
        file_begin(context, io);
    }
}

static void admit_waiting(struct file_context *context)
{
    /* One that ends at once comes by here again. */
    if (context->admitting) {
        return;
    }
    context->admitting = true;
    while (context->waiting && context->requests < FILE_REQUESTS) {
        struct backend_io *io = context->waiting;

        context->waiting = io->next;
        if (!context->waiting) {
            context->last = &context->waiting;
        }
        admit(context, io);
    }
    context->admitting = false;
}

static void request_ended(struct backend_io *io, int result, void *opaque)
{
    struct file_context *context = opaque;
    struct file *file = file_of(context->base.backend);

    if (takes_turns(file, io)) {
        file_turn_over(file, &io->range);
    }
    context->requests--;
    admit_waiting(context);
    backend_io_complete(io, result);
}

void file_submit(struct backend_context *base, struct backend_io *io)
{
    struct file_context *context = container_of(base, struct file_context,
                                                base);
    struct file *file = file_of(base->backend);

    if (io->op == RDISK_OP_ZEROES && (io->flags & RDISK_REQUEST_FAST) &&
        !(io->flags & RDISK_REQUEST_UNMAP) && file->device) {
        /* The kernel would write them if the device has no command for it. */
        backend_io_complete(io, -ENOTSUP);
        return;
    }
    io->context = base;
    io->done = 0;
    io->result = 0;
    if ((io->flags & RDISK_REQUEST_FUA) && file_sync_failed(file)) {
        backend_io_complete(io, -EIO);
        return;
    }
    backend_io_push(io, request_ended, context);
    if (context->requests < FILE_REQUESTS && !context->waiting) {
        admit(context, io);
    } else {
        io->next = NULL;
        *context->last = io;
        context->last = &io->next;
    }
}
