/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtio-blk request (VIRTIO 1.2, 5.2.6), checked: its operation and its
 * memory. Everything in a request that a guest controls is checked here and
 * nowhere else. Pure computation; any thread.
 */
#ifndef VHOST_USER_BLK_REQUEST_H
#define VHOST_USER_BLK_REQUEST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include <rdisk/protocol.h>

/*
 * The most bytes of one READ or WRITE. Linux and Windows guests send at most
 * a few MiB; a descriptor chain could name terabytes.
 */
#define BLK_TRANSFER_MAX (32u << 20)
/* Ranges of one DISCARD or WRITE_ZEROES, as in the config space. */
#define BLK_RANGES_MAX 1u
/* Bytes of a GET_ID, without a NUL if all are used. */
#define BLK_SERIAL_SIZE 20u

/* What a request is held against. */
struct blk_limits {
    uint64_t size;       /* of the volume, bytes */
    uint32_t block_size; /* bytes */
    bool read_only;
    bool discard, zeroes;
};

/* What the device has to do. */
enum blk_kind {
    BLK_TRANSFER, /* READ, WRITE: op, offset, length, data */
    BLK_RANGE,    /* DISCARD, ZEROES: op, flags, offset, length */
    BLK_FLUSH,
    BLK_IDENTIFY, /* fill data with the serial number */
};

struct blk_command {
    enum blk_kind kind;
    enum rdisk_op op;
    unsigned int flags; /* RDISK_REQUEST_… */
    uint64_t offset;    /* bytes */
    uint32_t length;    /* bytes */
    struct iovec *data; /* within the arrays that were given */
    unsigned int data_count;
    uint8_t *status; /* the guest's; NULL: there is none */
};

/*
 * The request whose driver-written and device-written buffers are @out and
 * @in, which are cut to the payload in place. Returns a VIRTIO_BLK_S_… value:
 * OK when @command is to be carried out, else what to answer at once. With
 * @command->status NULL nothing can be answered: the driver is broken.
 */
uint8_t blk_command_parse(struct blk_command *command, struct iovec *out,
                          unsigned int out_count, struct iovec *in,
                          unsigned int in_count,
                          const struct blk_limits *limits);

/* What a negative errno, or 0, is to the guest. */
uint8_t blk_status(int result);

#endif
