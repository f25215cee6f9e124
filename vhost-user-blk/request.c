/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vhost-user-blk/request.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <linux/virtio_blk.h>
#include <string.h>

#define SECTOR_SHIFT 9 /* the unit of offsets, whatever the block size */

/* Bytes of all buffers; UINT64_MAX if the sum overflows. */
static uint64_t total(const struct iovec *iov, unsigned int count)
{
    uint64_t sum = 0;

    for (unsigned int i = 0; i < count; i++) {
        if (__builtin_add_overflow(sum, iov[i].iov_len, &sum)) {
            return UINT64_MAX;
        }
    }
    return sum;
}

/*
 * Copy @size bytes from the front of the buffers and cut them off there. The
 * layout is the driver's choice: a header may span buffers. False: too short.
 */
static bool take_front(struct iovec **iov, unsigned int *count, void *buffer,
                       size_t size)
{
    uint8_t *p = buffer;

    while (size) {
        size_t n;

        if (!*count) {
            return false;
        }
        n = (*iov)->iov_len < size ? (*iov)->iov_len : size;
        memcpy(p, (*iov)->iov_base, n);
        p += n;
        size -= n;
        (*iov)->iov_base = (uint8_t *)(*iov)->iov_base + n;
        (*iov)->iov_len -= n;
        if ((*iov)->iov_len == 0) {
            (*iov)++;
            (*count)--;
        }
    }
    return true;
}

/* The last byte of the device-written buffers, cut off there. NULL: none. */
static uint8_t *take_status(struct iovec *in, unsigned int *count)
{
    struct iovec *last;

    while (*count && in[*count - 1].iov_len == 0) {
        (*count)--;
    }
    if (!*count) {
        return NULL;
    }
    last = &in[*count - 1];
    last->iov_len--;
    if (last->iov_len == 0) {
        (*count)--;
    }
    return (uint8_t *)last->iov_base + last->iov_len;
}

static bool inside(uint64_t offset, uint64_t length,
                   const struct blk_limits *limits)
{
    return offset % limits->block_size == 0 &&
           length % limits->block_size == 0 && offset <= limits->size &&
           length <= limits->size - offset;
}

/* Byte offset of @sector; false: beyond any volume. */
static bool sector_offset(uint64_t sector, uint64_t *offset)
{
    if (sector > UINT64_MAX >> SECTOR_SHIFT) {
        return false;
    }
    *offset = sector << SECTOR_SHIFT;
    return true;
}

static uint8_t parse_transfer(struct blk_command *command, uint64_t sector,
                              const struct blk_limits *limits)
{
    uint64_t length = total(command->data, command->data_count);

    command->kind = BLK_TRANSFER;
    if (command->op == RDISK_OP_WRITE && limits->read_only) {
        return VIRTIO_BLK_S_IOERR;
    }
    if (length == 0 || length > BLK_TRANSFER_MAX ||
        !sector_offset(sector, &command->offset) ||
        !inside(command->offset, length, limits)) {
        return VIRTIO_BLK_S_IOERR;
    }
    command->length = (uint32_t)length;
    return VIRTIO_BLK_S_OK;
}

static uint8_t parse_range(struct blk_command *command, bool available,
                           const struct blk_limits *limits)
{
    struct virtio_blk_discard_write_zeroes range;
    uint64_t length;
    uint32_t flags;

    command->kind = BLK_RANGE;
    if (!available) {
        return VIRTIO_BLK_S_UNSUPP;
    }
    if (limits->read_only) {
        return VIRTIO_BLK_S_IOERR;
    }
    if (total(command->data, command->data_count) !=
            BLK_RANGES_MAX * sizeof(range) ||
        !take_front(&command->data, &command->data_count, &range,
                    sizeof(range))) {
        return VIRTIO_BLK_S_IOERR;
    }
    flags = le32toh(range.flags);
    if (flags & ~VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP ||
        (flags && command->op == RDISK_OP_DISCARD)) {
        return VIRTIO_BLK_S_UNSUPP;
    }
    length = (uint64_t)le32toh(range.num_sectors) << SECTOR_SHIFT;
    if (length == 0 || length > rdisk_op_range_max(command->op) ||
        !sector_offset(le64toh(range.sector), &command->offset) ||
        !inside(command->offset, length, limits)) {
        return VIRTIO_BLK_S_IOERR;
    }
    command->length = (uint32_t)length;
    command->flags = flags ? RDISK_REQUEST_UNMAP : 0;
    return VIRTIO_BLK_S_OK;
}

uint8_t blk_command_parse(struct blk_command *command, struct iovec *out,
                          unsigned int out_count, struct iovec *in,
                          unsigned int in_count,
                          const struct blk_limits *limits)
{
    struct virtio_blk_outhdr header;
    uint64_t sector;

    assert(limits->block_size);
    *command = (struct blk_command) { .status = take_status(in, &in_count) };
    if (!command->status) {
        return VIRTIO_BLK_S_IOERR;
    }
    if (!take_front(&out, &out_count, &header, sizeof(header))) {
        return VIRTIO_BLK_S_IOERR;
    }
    sector = le64toh(header.sector);
    switch (le32toh(header.type)) {
    case VIRTIO_BLK_T_IN:
        command->op = RDISK_OP_READ;
        command->data = in;
        command->data_count = in_count;
        return parse_transfer(command, sector, limits);
    case VIRTIO_BLK_T_OUT:
        command->op = RDISK_OP_WRITE;
        command->data = out;
        command->data_count = out_count;
        return parse_transfer(command, sector, limits);
    case VIRTIO_BLK_T_FLUSH:
        command->kind = BLK_FLUSH;
        command->op = RDISK_OP_FLUSH;
        return VIRTIO_BLK_S_OK;
    case VIRTIO_BLK_T_GET_ID:
        command->kind = BLK_IDENTIFY;
        command->data = in;
        command->data_count = in_count;
        return total(in, in_count) >= BLK_SERIAL_SIZE ? VIRTIO_BLK_S_OK
                                                      : VIRTIO_BLK_S_IOERR;
    case VIRTIO_BLK_T_DISCARD:
        command->op = RDISK_OP_DISCARD;
        command->data = out;
        command->data_count = out_count;
        return parse_range(command, limits->discard, limits);
    case VIRTIO_BLK_T_WRITE_ZEROES:
        command->op = RDISK_OP_ZEROES;
        command->data = out;
        command->data_count = out_count;
        return parse_range(command, limits->zeroes, limits);
    default:
        return VIRTIO_BLK_S_UNSUPP;
    }
}

uint8_t blk_status(int result)
{
    return result == 0          ? VIRTIO_BLK_S_OK
           : result == -ENOTSUP ? VIRTIO_BLK_S_UNSUPP
                                : VIRTIO_BLK_S_IOERR;
}
