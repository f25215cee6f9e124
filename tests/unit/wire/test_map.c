/* SPDX-License-Identifier: BSD-3-Clause */
/* EXTENTS and COPY on the wire: what each side refuses, field by field. */
#include <errno.h>

#include "transport/wire/request.h"
#include "tests/unit/support/unit.h"

#define BLOCK 512u
#define SIZE  (1ull << 40)

static struct rdisk_wire_request wire;
static struct rdisk_request_limits limits;
static struct rdisk_request_view view;
static struct rdisk_error err;

static void good(enum rdisk_op op)
{
    limits = (struct rdisk_request_limits) {
        .epoch = 3,
        .size = SIZE,
        .block_size = BLOCK,
        .slot_size = 65536,
        .slot = 5,
        .immediate_sequence = 2,
        .extents = true,
        .copy = true,
    };
    wire = (struct rdisk_wire_request) {
        .opcode = (uint8_t)op,
        .slot = htole16(5),
        .length = htole32(8192),
        .offset = htole64(1 << 20),
        .epoch = htole64(3),
        .sequence = htole32(2),
    };
    if (op == RDISK_OP_COPY) {
        wire.source = htole64(8192);
    } else {
        wire.segments = htole16(1);
    }
    memset(&err, 0, sizeof(err));
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

/* ---- Requests ---------------------------------------------------------- */

static void not_agreed(void)
{
    good(RDISK_OP_EXTENTS);
    taken();
    limits.extents = false;
    gives(RDISK_STATUS_UNSUPPORTED, "operation 6");
    good(RDISK_OP_COPY);
    taken();
    limits.copy = false;
    gives(RDISK_STATUS_UNSUPPORTED, "operation 7");
}

static void flags(void)
{
    good(RDISK_OP_EXTENTS);
    wire.flags = RDISK_REQUEST_FUA;
    gives(RDISK_STATUS_UNSUPPORTED, "flags 0x1");
    good(RDISK_OP_COPY);
    wire.flags = RDISK_REQUEST_FUA;
    taken();
    wire.flags = RDISK_REQUEST_UNMAP;
    gives(RDISK_STATUS_UNSUPPORTED, "flags 0x2");
}

static void extents_needs_segments(void)
{
    good(RDISK_OP_EXTENTS);
    wire.segments = 0;
    gives(RDISK_STATUS_BAD_MESSAGE, "names no segment");
}

static void copy_has_no_segments(void)
{
    good(RDISK_OP_COPY);
    wire.segments = htole16(1);
    gives(RDISK_STATUS_BAD_MESSAGE, "names segments");
}

static void longest(void)
{
    good(RDISK_OP_EXTENTS);
    wire.length = htole32(RDISK_RANGE_MAX);
    taken();
    wire.length = htole32(RDISK_RANGE_MAX + BLOCK);
    gives(RDISK_STATUS_BAD_MESSAGE, "the limit is 1073741824");
    good(RDISK_OP_COPY);
    wire.offset = htole64(RDISK_COPY_MAX + 8192);
    wire.length = htole32(RDISK_COPY_MAX);
    taken();
    wire.length = htole32(RDISK_COPY_MAX + BLOCK);
    gives(RDISK_STATUS_BAD_MESSAGE, "the limit is 16777216");
}

static void long_range(void)
{
    good(RDISK_OP_EXTENTS);
    limits.long_extents = true;
    gives(RDISK_STATUS_BAD_MESSAGE, "two lengths");
    wire.length = 0;
    wire.range = htole64(SIZE - (1 << 20));
    taken();
    CHECK_EQUAL(view.length, SIZE - (1 << 20));
    CHECK_EQUAL(view.source, 0);
    wire.range = htole64(SIZE);
    gives(RDISK_STATUS_OUT_OF_RANGE, "beyond");
    wire.range = htole64(UINT64_MAX - 511);
    gives(RDISK_STATUS_OUT_OF_RANGE, "beyond");
    wire.range = htole64(1000);
    gives(RDISK_STATUS_MISALIGNED, "not aligned");
    wire.range = 0;
    gives(RDISK_STATUS_MISALIGNED, "not aligned");
}

static void long_range_not_agreed(void)
{
    good(RDISK_OP_EXTENTS);
    wire.length = 0;
    wire.range = htole64(1 << 20);
    gives(RDISK_STATUS_BAD_MESSAGE, "reserved bytes");
}

static void ranges(void)
{
    good(RDISK_OP_EXTENTS);
    wire.offset = htole64(100);
    gives(RDISK_STATUS_MISALIGNED, "not aligned to blocks");
    good(RDISK_OP_EXTENTS);
    wire.offset = htole64(SIZE - 4096);
    gives(RDISK_STATUS_OUT_OF_RANGE, "beyond");
    good(RDISK_OP_COPY);
    wire.offset = htole64(SIZE - 4096);
    gives(RDISK_STATUS_OUT_OF_RANGE, "beyond");
    good(RDISK_OP_COPY);
    wire.length = 0;
    gives(RDISK_STATUS_MISALIGNED, "not aligned to blocks");
}

static void source(void)
{
    good(RDISK_OP_COPY);
    taken();
    CHECK_EQUAL(view.source, 8192);
    CHECK_EQUAL(view.offset, 1 << 20);
    wire.source = htole64(100);
    gives(RDISK_STATUS_MISALIGNED, "at 100");
    wire.source = htole64(SIZE - 4096);
    gives(RDISK_STATUS_OUT_OF_RANGE, "beyond");
    wire.source = htole64(UINT64_MAX - 511);
    gives(RDISK_STATUS_OUT_OF_RANGE, "beyond");
}

static void source_of_others(void)
{
    static const enum rdisk_op ops[] = {
        RDISK_OP_READ,    RDISK_OP_WRITE,  RDISK_OP_FLUSH,
        RDISK_OP_DISCARD, RDISK_OP_ZEROES, RDISK_OP_EXTENTS,
    };

    for (unsigned int i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        good(ops[i]);
        wire.source = htole64(512);
        gives(RDISK_STATUS_BAD_MESSAGE, "reserved");
    }
}

static void onto_itself(void)
{
    good(RDISK_OP_COPY);
    wire.source = wire.offset;
    gives(RDISK_STATUS_UNSUPPORTED, "onto itself");
    wire.source = htole64((1 << 20) - 8192 + BLOCK);
    gives(RDISK_STATUS_UNSUPPORTED, "onto itself");
    wire.source = htole64((1 << 20) + 8192 - BLOCK);
    gives(RDISK_STATUS_UNSUPPORTED, "onto itself");
    wire.source = htole64((1 << 20) - 8192);
    taken();
    wire.source = htole64((1 << 20) + 8192);
    taken();
}

static void read_only(void)
{
    good(RDISK_OP_EXTENTS);
    limits.read_only = true;
    taken();
    good(RDISK_OP_COPY);
    limits.read_only = true;
    gives(RDISK_STATUS_READ_ONLY, "read-only");
}

/* ---- Room for the answer ----------------------------------------------- */

static enum rdisk_status room_of(uint32_t a, uint32_t b, unsigned int *room)
{
    struct rdisk_wire_segment segments[2] = {
        { htole64(4096), htole32(a), 1 },
        { htole64(1 << 20), htole32(b), 1 },
    };

    return rdisk_wire_check_room(segments, b ? 2 : 1, room, &err);
}

static void room(void)
{
    unsigned int n = 0;

    CHECK_EQUAL(room_of(16, 0, &n), RDISK_STATUS_OK);
    CHECK_EQUAL(n, 1);
    CHECK_EQUAL(room_of(4000, 96, &n), RDISK_STATUS_OK);
    CHECK_EQUAL(n, RDISK_EXTENTS_MAX);
    CHECK_EQUAL(room_of(8, 0, &n), RDISK_STATUS_BAD_MESSAGE);
    CHECK_EQUAL(room_of(24, 0, &n), RDISK_STATUS_BAD_MESSAGE);
    CHECK_EQUAL(room_of(4096, 16, &n), RDISK_STATUS_BAD_MESSAGE);
    CHECK_EQUAL(room_of(0, 0, &n), RDISK_STATUS_BAD_MESSAGE);
}

/* ---- The answer -------------------------------------------------------- */

static struct rdisk_wire_extent list[4];

static void good_list(void)
{
    memset(list, 0, sizeof(list));
    list[0].length = htole64(4096);
    list[1].length = htole64(8192);
    list[1].flags = htole32(RDISK_EXTENT_HOLE | RDISK_EXTENT_ZERO);
}

static unsigned int count(uint32_t length)
{
    return rdisk_wire_check_extents(list, 4, length, BLOCK, &err);
}

static void list_may_be_a_prefix(void)
{
    good_list();
    CHECK_EQUAL(count(12288), 2);
    CHECK_EQUAL(count(65536), 2);
    list[2].length = htole64(512);
    list[3].length = htole64(512);
    CHECK_EQUAL(count(65536), 4);
}

static void list_is_refused(const char *words)
{
    CHECK_EQUAL(count(12288), 0);
    CHECK_EQUAL(err.code, -EPROTO);
    CHECK_SAYS(err.text, words);
}

static void list_entries(void)
{
    memset(list, 0, sizeof(list));
    list_is_refused("no extent");
    good_list();
    list[1].length = htole64(8192 + BLOCK);
    list_is_refused("extent 1");
    good_list();
    list[0].length = htole64(UINT64_MAX - 511);
    list_is_refused("extent 0");
    good_list();
    list[0].length = htole64(100);
    list_is_refused("extent 0 has 100 bytes");
    good_list();
    list[1].flags = htole32(4);
    list_is_refused("flags 0x4");
    good_list();
    list[0].reserved = 1;
    list_is_refused("extent 0");
}

static void list_tail(void)
{
    good_list();
    list[3].length = htole64(512);
    list_is_refused("bytes after");
    good_list();
    list[2].flags = htole32(RDISK_EXTENT_ZERO);
    list_is_refused("bytes after");
    good_list();
    list[3].reserved = 1;
    list_is_refused("bytes after");
}

static const struct unit_test tests[] = {
    { "an operation that was not agreed on is unknown", not_agreed },
    { "each takes its flags only", flags },
    { "extents must have somewhere to go", extents_needs_segments },
    { "a copy carries nothing", copy_has_no_segments },
    { "each has its longest range", longest },
    { "a long range is held against the volume's end", long_range },
    { "a long range that was not agreed on ends the session",
      long_range_not_agreed },
    { "ranges are whole blocks inside the volume", ranges },
    { "so is what a copy reads", source },
    { "only a copy has a source", source_of_others },
    { "a copy onto itself is refused", onto_itself },
    { "only a copy changes a volume", read_only },
    { "segments hold whole entries, up to the limit", room },
    { "a list may end early", list_may_be_a_prefix },
    { "each entry is checked against the range", list_entries },
    { "nothing follows the last entry", list_tail },
};

UNIT_SUITE("wire-map", tests)
