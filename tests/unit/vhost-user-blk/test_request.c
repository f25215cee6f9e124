/* SPDX-License-Identifier: BSD-3-Clause */
/* What a guest may ask of a vhost-user-blk device, and what it is told. */
#include <endian.h>
#include <errno.h>
#include <linux/virtio_blk.h>

#include "tests/unit/support/unit.h"
#include "vhost-user-blk/request.h"

#define ROOM 8u

static struct virtio_blk_outhdr header;
static uint8_t payload[8192], status;
static struct iovec out[ROOM], in[ROOM];
static unsigned int out_count, in_count;
static struct blk_limits limits;
static struct blk_command command;

static void begin(uint32_t type, uint64_t sector)
{
    header = (struct virtio_blk_outhdr) {
        .type = htole32(type),
        .sector = htole64(sector),
    };
    limits = (struct blk_limits) {
        .size = 1 << 20,
        .block_size = 512,
        .discard = true,
        .zeroes = true,
    };
    out[0] = (struct iovec) { &header, sizeof(header) };
    out_count = 1;
    in_count = 0;
    status = 0xff;
}

static void end_with_status(void)
{
    in[in_count++] = (struct iovec) { &status, 1 };
}

static void read_of(size_t length, uint64_t sector)
{
    begin(VIRTIO_BLK_T_IN, sector);
    in[in_count++] = (struct iovec) { payload, length };
    end_with_status();
}

static void write_of(size_t length, uint64_t sector)
{
    begin(VIRTIO_BLK_T_OUT, sector);
    out[out_count++] = (struct iovec) { payload, length };
    end_with_status();
}

static struct virtio_blk_discard_write_zeroes range;

static void range_of(uint32_t type, uint64_t sector, uint32_t sectors,
                     uint32_t flags)
{
    begin(type, 0);
    range = (struct virtio_blk_discard_write_zeroes) {
        .sector = htole64(sector),
        .num_sectors = htole32(sectors),
        .flags = htole32(flags),
    };
    out[out_count++] = (struct iovec) { &range, sizeof(range) };
    end_with_status();
}

static uint8_t parse(void)
{
    return blk_command_parse(&command, out, out_count, in, in_count, &limits);
}

static void a_read(void)
{
    read_of(4096, 8);
    CHECK_EQUAL(parse(), VIRTIO_BLK_S_OK);
    CHECK_EQUAL(command.kind, BLK_TRANSFER);
    CHECK_EQUAL(command.op, RDISK_OP_READ);
    CHECK_EQUAL(command.offset, 4096);
    CHECK_EQUAL(command.length, 4096);
    REQUIRE(command.data_count == 1);
    CHECK(command.data[0].iov_base == payload);
    CHECK(command.status == &status);
}

static void a_write(void)
{
    write_of(8192, 0);
    CHECK_EQUAL(parse(), VIRTIO_BLK_S_OK);
    CHECK_EQUAL(command.op, RDISK_OP_WRITE);
    CHECK_EQUAL(command.length, 8192);
    REQUIRE(command.data_count == 1);
    CHECK(command.data[0].iov_base == payload);
}

static void header_in_pieces(void)
{
    write_of(512, 2);
    out[0] = (struct iovec) { &header, 5 };
    out[2] = out[1];
    out[1] = (struct iovec) { (uint8_t *)&header + 5, sizeof(header) - 5 };
    out_count = 3;
    CHECK_EQUAL(parse(), VIRTIO_BLK_S_OK);
    CHECK_EQUAL(command.offset, 1024);
    REQUIRE(command.data_count == 1);
    CHECK_EQUAL(command.data[0].iov_len, 512);
}

static struct {
    struct virtio_blk_outhdr header;
    uint8_t data[512];
} joined;

static void header_and_data_joined(void)
{
    write_of(512, 2);
    joined.header = header;
    out[0] = (struct iovec) { &joined, sizeof(joined) };
    out_count = 1;
    CHECK_EQUAL(parse(), VIRTIO_BLK_S_OK);
    REQUIRE(command.data_count == 1);
    CHECK(command.data[0].iov_base == joined.data);
    CHECK_EQUAL(command.length, 512);
}

static void status_behind_the_data(void)
{
    read_of(4096, 0);
    in[0].iov_len = 4097;
    in_count = 1;
    CHECK_EQUAL(parse(), VIRTIO_BLK_S_OK);
    CHECK(command.status == payload + 4096);
    CHECK_EQUAL(command.length, 4096);
}

static void no_status(void)
{
    read_of(4096, 0);
    in[0].iov_len = 0;
    in_count = 1;
    parse();
    CHECK(command.status == NULL);
    in_count = 0;
    parse();
    CHECK(command.status == NULL);
}

static void short_header(void)
{
    read_of(4096, 0);
    out[0].iov_len = 15;
    CHECK_EQUAL(parse(), VIRTIO_BLK_S_IOERR);
    CHECK(command.status == &status);
}

static void beyond_the_end(void)
{
    read_of(4096, (1 << 20) / 512 - 4);
    CHECK_EQUAL(parse(), VIRTIO_BLK_S_IOERR);
    read_of(4096, UINT64_MAX);
    CHECK_EQUAL(parse(), VIRTIO_BLK_S_IOERR);
    read_of(4096, (UINT64_MAX >> 9) + 1);
    CHECK_EQUAL(parse(), VIRTIO_BLK_S_IOERR);
    read_of(4096, (1 << 20) / 512 - 8);
    CHECK_EQUAL(parse(), VIRTIO_BLK_S_OK);
}

static void part_of_a_block(void)
{
    read_of(513, 0);
    CHECK_EQUAL(parse(), VIRTIO_BLK_S_IOERR);
    read_of(0, 0);
    CHECK_EQUAL(parse(), VIRTIO_BLK_S_IOERR);
    read_of(4096, 1);
    limits.block_size = 4096;
    CHECK_EQUAL(parse(), VIRTIO_BLK_S_IOERR);
}

static void sum_that_overflows(void)
{
    read_of(SIZE_MAX, 0);
    in[2] = in[1];
    in[1] = (struct iovec) { payload, 513 };
    in_count = 3;
    CHECK_EQUAL(parse(), VIRTIO_BLK_S_IOERR);
}

static void too_long(void)
{
    read_of((size_t)BLK_TRANSFER_MAX + 512, 0);
    limits.size = 1ull << 40;
    CHECK_EQUAL(parse(), VIRTIO_BLK_S_IOERR);
    read_of(BLK_TRANSFER_MAX, 0);
    limits.size = 1ull << 40;
    CHECK_EQUAL(parse(), VIRTIO_BLK_S_OK);
}

static void read_only(void)
{
    write_of(512, 0);
    limits.read_only = true;
    CHECK_EQUAL(parse(), VIRTIO_BLK_S_IOERR);
    range_of(VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0);
    limits.read_only = true;
    CHECK_EQUAL(parse(), VIRTIO_BLK_S_IOERR);
    read_of(512, 0);
    limits.read_only = true;
    CHECK_EQUAL(parse(), VIRTIO_BLK_S_OK);
}

static void ranges(void)
{
    range_of(VIRTIO_BLK_T_DISCARD, 8, 16, 0);
    CHECK_EQUAL(parse(), VIRTIO_BLK_S_OK);
    CHECK_EQUAL(command.kind, BLK_RANGE);
    CHECK_EQUAL(command.op, RDISK_OP_DISCARD);
    CHECK_EQUAL(command.offset, 4096);
    CHECK_EQUAL(command.length, 8192);
    CHECK_EQUAL(command.flags, 0);
    range_of(VIRTIO_BLK_T_WRITE_ZEROES, 8, 16,
             VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
    CHECK_EQUAL(parse(), VIRTIO_BLK_S_OK);
    CHECK_EQUAL(command.op, RDISK_OP_ZEROES);
    CHECK_EQUAL(command.flags, RDISK_REQUEST_UNMAP);
}

static void bad_ranges(void)
{
    range_of(VIRTIO_BLK_T_DISCARD, 8, 16, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
    CHECK_EQUAL(parse(), VIRTIO_BLK_S_UNSUPP);
    range_of(VIRTIO_BLK_T_WRITE_ZEROES, 8, 16, 2);
    CHECK_EQUAL(parse(), VIRTIO_BLK_S_UNSUPP);
    range_of(VIRTIO_BLK_T_WRITE_ZEROES, 8, 0, 0);
    CHECK_EQUAL(parse(), VIRTIO_BLK_S_IOERR);
    range_of(VIRTIO_BLK_T_WRITE_ZEROES, 8, UINT32_MAX, 0);
    CHECK_EQUAL(parse(), VIRTIO_BLK_S_IOERR);
    range_of(VIRTIO_BLK_T_WRITE_ZEROES, 2048, 8, 0);
    CHECK_EQUAL(parse(), VIRTIO_BLK_S_IOERR);
    range_of(VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0);
    out[1].iov_len = 15;
    CHECK_EQUAL(parse(), VIRTIO_BLK_S_IOERR);
}

static void ranges_that_are_not_offered(void)
{
    range_of(VIRTIO_BLK_T_DISCARD, 8, 16, 0);
    limits.discard = false;
    CHECK_EQUAL(parse(), VIRTIO_BLK_S_UNSUPP);
    range_of(VIRTIO_BLK_T_WRITE_ZEROES, 8, 16, 0);
    limits.zeroes = false;
    CHECK_EQUAL(parse(), VIRTIO_BLK_S_UNSUPP);
}

static void a_flush(void)
{
    begin(VIRTIO_BLK_T_FLUSH, 0);
    end_with_status();
    CHECK_EQUAL(parse(), VIRTIO_BLK_S_OK);
    CHECK_EQUAL(command.kind, BLK_FLUSH);
    CHECK_EQUAL(command.length, 0);
}

static void the_serial_number(void)
{
    begin(VIRTIO_BLK_T_GET_ID, 0);
    in[in_count++] = (struct iovec) { payload, BLK_SERIAL_SIZE };
    end_with_status();
    CHECK_EQUAL(parse(), VIRTIO_BLK_S_OK);
    CHECK_EQUAL(command.kind, BLK_IDENTIFY);
    begin(VIRTIO_BLK_T_GET_ID, 0);
    in[in_count++] = (struct iovec) { payload, BLK_SERIAL_SIZE - 1 };
    end_with_status();
    CHECK_EQUAL(parse(), VIRTIO_BLK_S_IOERR);
}

static void unknown_type(void)
{
    begin(77, 0);
    end_with_status();
    CHECK_EQUAL(parse(), VIRTIO_BLK_S_UNSUPP);
}

static void results(void)
{
    CHECK_EQUAL(blk_status(0), VIRTIO_BLK_S_OK);
    CHECK_EQUAL(blk_status(-ENOTSUP), VIRTIO_BLK_S_UNSUPP);
    CHECK_EQUAL(blk_status(-EIO), VIRTIO_BLK_S_IOERR);
    CHECK_EQUAL(blk_status(-ENOSPC), VIRTIO_BLK_S_IOERR);
}

static const struct unit_test tests[] = {
    { "a read names the guest's memory", a_read },
    { "a write names the guest's memory", a_write },
    { "the header may be in pieces", header_in_pieces },
    { "header and data may be in one buffer", header_and_data_joined },
    { "the status may be behind the data", status_behind_the_data },
    { "without a place for the status nothing is answered", no_status },
    { "a short header fails", short_header },
    { "what is beyond the end fails", beyond_the_end },
    { "part of a block fails", part_of_a_block },
    { "lengths whose sum overflows fail", sum_that_overflows },
    { "a transfer beyond the limit fails", too_long },
    { "a read-only disk refuses to be changed", read_only },
    { "ranges are taken with their flags", ranges },
    { "bad ranges are refused", bad_ranges },
    { "ranges that the volume lacks are unsupported",
      ranges_that_are_not_offered },
    { "a flush is taken", a_flush },
    { "the serial number needs its room", the_serial_number },
    { "an unknown type is unsupported", unknown_type },
    { "results are the statuses of virtio", results },
};

UNIT_SUITE("vhost-request", tests)
