/* SPDX-License-Identifier: BSD-3-Clause */
/* What a server refuses of a request, and how: field by field. */
#include <errno.h>

#include "transport/wire/request.h"
#include "tests/unit/support/unit.h"

static struct rdisk_wire_request wire;
static struct rdisk_request_limits limits;
static struct rdisk_request_view view;
static struct rdisk_error err;

static void good_write(void)
{
    limits = (struct rdisk_request_limits) {
        .epoch = 3,
        .size = 1 << 20,
        .block_size = 512,
        .slot_size = 65536,
        .slot = 5,
        .immediate_sequence = 0x0002,
    };
    wire = (struct rdisk_wire_request) {
        .opcode = RDISK_OP_WRITE,
        .slot = htole16(5),
        .length = htole32(4096),
        .offset = htole64(8192),
        .epoch = htole64(3),
        .sequence = htole32(0x70002),
    };
    memset(&err, 0, sizeof(err));
}

static void good_read(void)
{
    good_write();
    wire.opcode = RDISK_OP_READ;
    wire.segments = htole16(2);
}

static void good_flush(void)
{
    good_write();
    wire.opcode = RDISK_OP_FLUSH;
    wire.length = 0;
    wire.offset = 0;
}

static void gives(enum rdisk_status status, const char *words)
{
    CHECK_EQUAL(rdisk_wire_check_request(&wire, &limits, &view, &err), status);
    CHECK(err.code < 0);
    CHECK_SAYS(err.text, words);
}

static void taken(void)
{
    CHECK_EQUAL(rdisk_wire_check_request(&wire, &limits, &view, &err),
                RDISK_STATUS_OK);
}

static void view_is_in_host_order(void)
{
    good_write();
    wire.flags = RDISK_REQUEST_FUA;
    taken();
    CHECK_EQUAL(view.op, RDISK_OP_WRITE);
    CHECK_EQUAL(view.flags, RDISK_REQUEST_FUA);
    CHECK_EQUAL(view.offset, 8192);
    CHECK_EQUAL(view.length, 4096);
    CHECK_EQUAL(view.sequence, 0x70002);
    CHECK_EQUAL(view.segments, 0);
    good_read();
    taken();
    CHECK_EQUAL(view.segments, 2);
    good_flush();
    taken();
}

static void whole_volume_is_reachable(void)
{
    good_write();
    limits.size = 65536;
    wire.offset = 0;
    wire.length = htole32(65536);
    taken();
    good_write();
    wire.offset = htole64((1 << 20) - 4096);
    taken();
}

static void other_slot(void)
{
    good_write();
    wire.slot = htole16(6);
    gives(RDISK_STATUS_BAD_MESSAGE, "slot 6");
}

static void stale_epoch(void)
{
    good_write();
    wire.epoch = htole64(2);
    gives(RDISK_STATUS_BAD_MESSAGE, "epoch 2");
}

static void other_sequence(void)
{
    good_write();
    wire.sequence = htole32(0x70003);
    gives(RDISK_STATUS_BAD_MESSAGE, "announced");
}

static void reserved_field(void)
{
    good_write();
    wire.reserved0 = 1;
    gives(RDISK_STATUS_BAD_MESSAGE, "reserved");
}

static void reserved_bytes(void)
{
    for (unsigned int i = 0; i < sizeof(wire.reserved); i++) {
        good_write();
        wire.reserved[i] = 1;
        gives(RDISK_STATUS_BAD_MESSAGE, "reserved");
    }
}

static void longer_than_slot(void)
{
    good_write();
    wire.length = htole32(65536 + 512);
    gives(RDISK_STATUS_BAD_MESSAGE, "slot of 65536");
}

static void too_many_segments(void)
{
    good_read();
    wire.segments = htole16(RDISK_SEGMENTS_MAX);
    taken();
    wire.segments = htole16(RDISK_SEGMENTS_MAX + 1);
    gives(RDISK_STATUS_BAD_MESSAGE, "segments");
}

static void read_without_segments(void)
{
    good_read();
    wire.segments = 0;
    gives(RDISK_STATUS_BAD_MESSAGE, "no segment");
}

static void write_with_segments(void)
{
    good_write();
    wire.segments = htole16(1);
    gives(RDISK_STATUS_BAD_MESSAGE, "names segments");
}

static void flush_with_length(void)
{
    good_flush();
    wire.length = htole32(512);
    gives(RDISK_STATUS_BAD_MESSAGE, "flush");
}

static void flush_with_offset(void)
{
    good_flush();
    wire.offset = htole64(512);
    gives(RDISK_STATUS_BAD_MESSAGE, "flush");
}

static void flush_with_segments(void)
{
    good_flush();
    wire.segments = htole16(1);
    gives(RDISK_STATUS_BAD_MESSAGE, "flush");
}

static void unknown_opcode(void)
{
    for (unsigned int opcode = 0; opcode < 256; opcode++) {
        good_write();
        wire.opcode = (uint8_t)opcode;
        if (opcode < RDISK_OP_READ || opcode > RDISK_OP_FLUSH) {
            gives(RDISK_STATUS_UNSUPPORTED, "operation");
        }
    }
}

static void unknown_flag(void)
{
    for (unsigned int bit = 1; bit < 8; bit++) {
        good_write();
        wire.flags = (uint8_t)(1u << bit);
        gives(RDISK_STATUS_UNSUPPORTED, "flags");
    }
}

static void odd_offset(void)
{
    good_write();
    wire.offset = htole64(513);
    gives(RDISK_STATUS_MISALIGNED, "513");
}

static void odd_length(void)
{
    good_write();
    wire.length = htole32(100);
    gives(RDISK_STATUS_MISALIGNED, "100 bytes");
}

static void no_length(void)
{
    good_read();
    wire.length = 0;
    gives(RDISK_STATUS_MISALIGNED, "0 bytes");
}

static void beyond_the_end(void)
{
    good_read();
    wire.offset = htole64(1 << 20);
    gives(RDISK_STATUS_OUT_OF_RANGE, "beyond");
    good_write();
    wire.offset = htole64((1 << 20) - 2048);
    gives(RDISK_STATUS_OUT_OF_RANGE, "beyond");
}

static void offset_wraps(void)
{
    good_write();
    wire.offset = htole64(UINT64_MAX - 511);
    gives(RDISK_STATUS_OUT_OF_RANGE, "beyond");
}

static void read_only_volume(void)
{
    good_write();
    limits.read_only = true;
    gives(RDISK_STATUS_READ_ONLY, "read-only");
    good_read();
    limits.read_only = true;
    taken();
    good_flush();
    limits.read_only = true;
    taken();
}

/* ---- Segments --------------------------------------------------------- */

static struct rdisk_wire_segment segments[2];

static void good_segments(void)
{
    memset(&err, 0, sizeof(err));
    segments[0] = (struct rdisk_wire_segment) {
        .address = htole64(0x1000),
        .length = htole32(1000),
        .key = 1,
    };
    segments[1] = (struct rdisk_wire_segment) {
        .address = htole64(0x9000),
        .length = htole32(3096),
        .key = 1,
    };
}

static enum rdisk_status check_segments(unsigned int count, uint32_t length)
{
    return rdisk_wire_check_segments(segments, count, length, &err);
}

static void segments_that_add_up(void)
{
    good_segments();
    CHECK_EQUAL(check_segments(2, 4096), RDISK_STATUS_OK);
}

static void segments_too_short(void)
{
    good_segments();
    CHECK_EQUAL(check_segments(1, 4096), RDISK_STATUS_BAD_MESSAGE);
    CHECK_SAYS(err.text, "1000 bytes for a read of 4096");
}

static void segments_too_long(void)
{
    good_segments();
    CHECK_EQUAL(check_segments(2, 4095), RDISK_STATUS_BAD_MESSAGE);
    /* Not even when their sum wraps 32 bits. */
    segments[0].length = htole32(UINT32_MAX);
    segments[1].length = htole32(4097);
    CHECK_EQUAL(check_segments(2, 4096), RDISK_STATUS_BAD_MESSAGE);
}

static void empty_segment(void)
{
    good_segments();
    segments[0].length = 0;
    CHECK_EQUAL(check_segments(2, 3096), RDISK_STATUS_BAD_MESSAGE);
    CHECK_SAYS(err.text, "segment 0 is empty");
}

static void wrapping_segment(void)
{
    good_segments();
    segments[1].address = htole64(UINT64_MAX - 100);
    CHECK_EQUAL(check_segments(2, 4096), RDISK_STATUS_BAD_MESSAGE);
    CHECK_SAYS(err.text, "segment 1 wraps");
}

static const struct unit_test tests[] = {
    { "a good request is taken, in host order", view_is_in_host_order },
    { "the first and the last block are reachable", whole_volume_is_reachable },
    { "a request in another slot ends the connection", other_slot },
    { "a request of an older epoch ends the connection", stale_epoch },
    { "a sequence unlike the immediate's ends the connection", other_sequence },
    { "a reserved field in use ends the connection", reserved_field },
    { "reserved bytes in use end the connection", reserved_bytes },
    { "a request longer than its slot ends the connection", longer_than_slot },
    { "more segments than the limit end the connection", too_many_segments },
    { "a read without segments ends the connection", read_without_segments },
    { "a write with segments ends the connection", write_with_segments },
    { "a flush with a length ends the connection", flush_with_length },
    { "a flush with an offset ends the connection", flush_with_offset },
    { "a flush with segments ends the connection", flush_with_segments },
    { "an unknown operation is answered as unsupported", unknown_opcode },
    { "an unknown flag is answered as unsupported", unknown_flag },
    { "an offset between blocks is answered as misaligned", odd_offset },
    { "a length of part of a block is answered as misaligned", odd_length },
    { "a read of nothing is answered as misaligned", no_length },
    { "a request beyond the end is answered as out of range", beyond_the_end },
    { "an offset that wraps is answered as out of range", offset_wraps },
    { "a read-only volume refuses writes and nothing else", read_only_volume },
    { "segments that add up are taken", segments_that_add_up },
    { "segments shorter than the read end the connection", segments_too_short },
    { "segments longer than the read end the connection", segments_too_long },
    { "an empty segment ends the connection", empty_segment },
    { "a segment that wraps ends the connection", wrapping_segment },
};

UNIT_SUITE("wire-request", tests)
