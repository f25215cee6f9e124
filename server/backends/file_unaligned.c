/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads and writes that are not of whole blocks. Clients that share a volume
 * send them to the server as they are: if each read the rest of a block and
 * wrote it back, one would undo what another had written meanwhile. Here the
 * range lock keeps others away from the block.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/backends/file.h"

bool file_is_unaligned(const struct file *file, const struct backend_io *io)
{
    uint32_t mask = file->base.geometry.block_size - 1;

    return ((io->offset | io->source | io->length) & mask) != 0 &&
           io->op != RDISK_OP_FLUSH && io->op != RDISK_OP_EXTENTS;
}

int file_cut_to_blocks(const struct file *file, struct backend_io *io)
{
    uint32_t block_size = file->base.geometry.block_size;
    uint64_t begin = io->offset + block_size - 1, end = io->offset + io->length;

    if (io->op != RDISK_OP_DISCARD) {
        return -ENOTSUP; /* the client writes by itself */
    }
    begin -= begin % block_size;
    end -= end % block_size;
    if (begin >= end) {
        return 0;
    }
    io->offset = begin;
    io->length = (uint32_t)(end - begin);
    return 1;
}

/* All of it: 0 or a negative errno, -ENODATA at the end of the file. */
static int read_all(int fd, char *data, size_t length, uint64_t offset)
{
    while (length) {
        ssize_t n = pread(fd, data, length, (off_t)offset);

        if (n == 0) {
            return -ENODATA;
        }
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        if (n > 0) {
            data += n;
            length -= (size_t)n;
            offset += (uint64_t)n;
        }
    }
    return 0;
}

static int write_all(int fd, const char *data, size_t length, uint64_t offset)
{
    while (length) {
        ssize_t n = pwrite(fd, data, length, (off_t)offset);

        if (n == 0) {
            return -EIO;
        }
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        if (n > 0) {
            data += n;
            length -= (size_t)n;
            offset += (uint64_t)n;
        }
    }
    return 0;
}

/* Whole blocks from @begin on, @size bytes, for @io, which lies in them. */
static int transfer(const struct file *file, struct backend_io *io,
                    char *blocks, uint64_t begin, size_t size)
{
    uint32_t block_size = file->base.geometry.block_size;
    char *inside = blocks + (io->offset - begin);
    size_t last = size - block_size;
    int result;

    if (io->op == RDISK_OP_READ) {
        result = read_all(file->fd, blocks, size, begin);
        if (result == 0) {
            memcpy(io->data, inside, io->length);
        }
        return result;
    }
    /* What is around it: the first block and the last one. */
    result = read_all(file->fd, blocks, block_size, begin);
    if (result == 0 && last) {
        result = read_all(file->fd, blocks + last, block_size, begin + last);
    }
    if (result < 0) {
        return result;
    }
    memcpy(inside, io->data, io->length);
    return write_all(file->fd, blocks, size, begin);
}

bool file_unaligned_run(struct offload_job *job)
{
    struct backend_io *io = container_of(job, struct backend_io, job);
    const struct file *file = file_of(io->context->backend);
    uint32_t block_size = file->base.geometry.block_size;
    uint64_t begin = io->offset - io->offset % block_size;
    uint64_t end = io->offset + io->length + block_size - 1;
    size_t size = (size_t)(end - end % block_size - begin);
    void *blocks;

    if (posix_memalign(&blocks, RDISK_BLOCK_SIZE_MAX, size)) {
        io->result = -ENOMEM;
        return false;
    }
    io->result = transfer(file, io, blocks, begin, size);
    free(blocks);
    return false;
}
