/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a file backend does outside the ring: io_uring has no call that reports
 * data from holes, and none that copies inside a file system, and either may
 * block. The reactor's offload makes those calls.
 */
#include <errno.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "server/backends/file.h"

/* Of a copy, before other jobs have their turn. */
#define PIECE (1u << 20)

#define ENDS_EARLY "the file ends before the volume does; was it truncated?"

/* ---- Extents ---------------------------------------------------------- */

/*
 * Where the next data begins (SEEK_DATA) or ends (SEEK_HOLE), in whole blocks
 * so that a block with any data is data; @end: not before that. Negative: an
 * errno.
 */
static int64_t seek(int fd, uint64_t from, uint64_t end, int whence,
                    uint32_t block_size)
{
    off_t found = lseek(fd, (off_t)from, whence);

    if (found < 0) {
        /* Behind the last data there is none. */
        return errno == ENXIO ? (int64_t)end : -errno;
    }
    if ((uint64_t)found >= end) {
        return (int64_t)end;
    }
    if (whence == SEEK_HOLE) {
        found += block_size - 1;
    }
    found -= found % block_size;
    return (uint64_t)found < end ? found : (int64_t)end;
}

static int find_extents(struct backend_io *io, int fd, uint32_t block_size)
{
    uint64_t position = io->offset, end = io->offset + io->length;
    bool room = true;

    /* A hole is what the file does not have, not what it has lost. */
    if (lseek(fd, 0, SEEK_END) < (off_t)end) {
        return -ENODATA;
    }
    while (room && position < end) {
        int64_t data = seek(fd, position, end, SEEK_DATA, block_size);
        int64_t hole;

        if (data < 0) {
            return (int)data;
        }
        if ((uint64_t)data > position) {
            room = backend_io_extent(io, data - position,
                                     RDISK_EXTENT_HOLE | RDISK_EXTENT_ZERO);
            position = data;
            continue;
        }
        hole = seek(fd, position, end, SEEK_HOLE, block_size);
        if (hole < 0) {
            return (int)hole;
        }
        if ((uint64_t)hole <= position) {
            /* It has become a hole in between: it was data. */
            hole = position + block_size;
        }
        if ((uint64_t)hole > end) {
            hole = (int64_t)end;
        }
        room = backend_io_extent(io, hole - position, 0);
        position = hole;
    }
    return 0;
}

static bool extents_run(struct offload_job *job)
{
    struct backend_io *io = container_of(job, struct backend_io, job);
    struct file *file = file_of(io->context->backend);

    io->result = find_extents(io, file->fd, file->base.geometry.block_size);
    return false;
}

/* ---- Copy ------------------------------------------------------------- */

/* Let source and target share blocks until one of them is written to. */
static bool clone_range(struct file *file, const struct backend_io *io)
{
    struct file_clone_range range = {
        .src_fd = file->fd,
        .src_offset = io->source,
        .src_length = io->length,
        .dest_offset = io->offset,
    };

    if (file->device ||
        atomic_load_explicit(&file->no_clone, memory_order_relaxed)) {
        return false;
    }
    if (ioctl(file->fd, FICLONERANGE, &range) == 0) {
        return true;
    }
    /* EINVAL may be the alignment of this one. */
    if (errno == EOPNOTSUPP || errno == ENOTTY) {
        atomic_store_explicit(&file->no_clone, true, memory_order_relaxed);
    }
    return false;
}

/* Bytes copied, or a negative errno. */
static ssize_t read_and_write(struct file *file, uint64_t from, uint64_t to,
                              uint32_t length)
{
    void *buffer;
    ssize_t n;

    if (posix_memalign(&buffer, RDISK_BLOCK_SIZE_MAX, length)) {
        return -ENOMEM;
    }
    n = pread(file->fd, buffer, length, (off_t)from);
    if (n > 0) {
        /* What the file has less than the volume is not to be written. */
        n -= n % file->base.geometry.block_size;
        n = pwrite(file->fd, buffer, n, (off_t)to);
    }
    n = n < 0 ? -errno : n - n % file->base.geometry.block_size;
    free(buffer);
    return n;
}

static ssize_t copy_piece(struct file *file, const struct backend_io *io)
{
    uint32_t left = io->length - io->done;
    uint32_t length = left < PIECE ? left : PIECE;
    off_t from = io->source + io->done, to = io->offset + io->done;
    ssize_t n;

    /*
     * The kernel's own copy may go through the page cache. Where requests go
     * past it, a page that is written back late would undo what was written
     * beside the copy meanwhile.
     */
    if (!file->direct && !file->device) {
        n = copy_file_range(file->fd, &from, file->fd, &to, length, 0);
        if (n > 0) {
            return n;
        }
    }
    return read_and_write(file, io->source + io->done, io->offset + io->done,
                          length);
}

static bool copy_run(struct offload_job *job)
{
    struct backend_io *io = container_of(job, struct backend_io, job);
    struct file *file = file_of(io->context->backend);
    ssize_t n;

    io->result = 0;
    if (io->done == 0 && clone_range(file, io)) {
        io->done = io->length;
    } else {
        n = copy_piece(file, io);
        if (n == -EINTR || n == -EAGAIN) {
            return true;
        }
        if (n <= 0) {
            io->result = n ? (int)n : -ENODATA;
            return false;
        }
        io->done += (uint32_t)n;
    }
    return io->done < io->length;
}

/* ---- On the reactor --------------------------------------------------- */

static void offload_done(struct offload_job *job)
{
    struct backend_io *io = container_of(job, struct backend_io, job);
    struct file_context *context = container_of(io->context,
                                                struct file_context, base);

    if (io->result < 0) {
        file_fail(context, io,
                  io->result == -ENODATA ? ENDS_EARLY : strerror(-io->result));
    } else if ((io->flags & RDISK_REQUEST_FUA) &&
               !context->base.backend->inline_io) {
        file_sync_submit(context, io);
        return;
    }
    backend_io_complete(io, io->result == -ENODATA ? -EIO : io->result);
}

void file_offload(struct file_context *context, struct backend_io *io)
{
    if (io->op == RDISK_OP_EXTENTS && file_of(context->base.backend)->device) {
        /* It reports none, and asking is not worth a thread's time. */
        backend_io_extent(io, io->length, 0);
        backend_io_complete(io, 0);
        return;
    }
    switch (io->op) {
    case RDISK_OP_EXTENTS:
        io->job.run = extents_run;
        break;
    case RDISK_OP_COPY:
        io->job.run = copy_run;
        break;
    default:
        io->job.run = file_unaligned_run;
        break;
    }
    io->job.done = offload_done;
    reactor_offload(context->base.reactor, &context->lane, &io->job);
}
