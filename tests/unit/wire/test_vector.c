/* SPDX-License-Identifier: BSD-3-Clause */
/* Several requests in one message: what fits together, and what is refused. */
#include "transport/wire/request.h"
#include "tests/unit/support/unit.h"

#define ENTRY ((uint32_t)sizeof(struct rdisk_wire_entry))

static struct rdisk_request_limits limits;
static struct rdisk_request_view view;
static struct rdisk_error err;
static struct rdisk_wire_entry entry;

/* A read of one block, the first request of its queue. */
static void good_one(void)
{
    limits = (struct rdisk_request_limits) {
        .epoch = 3,
        .size = 1 << 20,
        .block_size = 512,
        .slot_size = 65536,
        .slots = 64,
        .vector = true,
        .counted = true,
    };
    entry = (struct rdisk_wire_entry) {
        .segment.address = htole64(4096),
        .segment.length = htole32(512),
        .request.opcode = RDISK_OP_READ,
        .request.length = htole32(512),
        .request.epoch = htole64(3),
        .request.segments = htole16(1),
    };
    memset(&err, 0, sizeof(err));
}

static enum rdisk_status check(void)
{
    return rdisk_wire_check_entry(&entry, &limits, &view, &err);
}

static void is_bad(const char *words)
{
    CHECK_EQUAL(check(), RDISK_STATUS_BAD_MESSAGE);
    CHECK_SAYS(err.text, words);
}

static void immediate_carries_all(void)
{
    for (unsigned int slot = 0; slot < RDISK_SLOTS_MAX; slot += 31) {
        uint32_t imm = rdisk_imm_vector((uint16_t)slot, 0x12345);

        CHECK(imm & RDISK_VECTOR_FLAG);
        CHECK(!(imm & RDISK_BARE_FLAG));
        CHECK_EQUAL(rdisk_vector_slot(imm), slot);
        CHECK_EQUAL(imm & 0xffff, 0x2345);
        CHECK(!(rdisk_imm_request((uint16_t)slot, 0xffff) & RDISK_VECTOR_FLAG));
        CHECK(!(rdisk_imm_answer((uint16_t)slot, 0xff, 0xff) &
                RDISK_VECTOR_FLAG));
    }
}

static void lengths(void)
{
    static const uint32_t bad[] = {
        0, 1, ENTRY, 2 * ENTRY - 1, 2 * ENTRY + 16, 33 * ENTRY, UINT32_MAX
    };

    CHECK_EQUAL(rdisk_wire_check_vector(2 * ENTRY, &err), 2);
    CHECK_EQUAL(rdisk_wire_check_vector(32 * ENTRY, &err), 32);
    for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CHECK(rdisk_wire_check_vector(bad[i], &err) < 0);
        CHECK_SAYS(err.text, "which are not 2 to 32 requests of 80");
    }
}

static void slots(void)
{
    good_one();
    CHECK_EQUAL(rdisk_wire_check_slot(rdisk_imm_vector(63, 0), &limits, &err),
                63);
    CHECK(rdisk_wire_check_slot(rdisk_imm_vector(64, 0), &limits, &err) < 0);
    CHECK_SAYS(err.text, "slot 64 of 64");
    CHECK(rdisk_wire_check_slot(RDISK_VECTOR_FLAG | 0x3fff0000, &limits, &err) <
          0);
    limits.vector = false;
    CHECK(rdisk_wire_check_slot(rdisk_imm_vector(0, 0), &limits, &err) < 0);
    CHECK_SAYS(err.text, "agreed");
}

static void good_ones(void)
{
    good_one();
    CHECK_EQUAL(check(), RDISK_STATUS_OK);
    CHECK_EQUAL(view.op, RDISK_OP_READ);
    CHECK_EQUAL(view.length, 512);
    good_one();
    entry.request.opcode = RDISK_OP_FLUSH;
    entry.request.length = 0;
    entry.request.segments = 0;
    entry.segment = (struct rdisk_wire_segment) { 0 };
    CHECK_EQUAL(check(), RDISK_STATUS_OK);
    CHECK_EQUAL(view.op, RDISK_OP_FLUSH);
}

static void refused_ones(void)
{
    good_one();
    entry.request.offset = htole64(1 << 20);
    CHECK_EQUAL(check(), RDISK_STATUS_OUT_OF_RANGE);
    good_one();
    entry.request.offset = htole64(100);
    CHECK_EQUAL(check(), RDISK_STATUS_MISALIGNED);
    good_one();
    entry.request.opcode = 99;
    CHECK_EQUAL(check(), RDISK_STATUS_UNSUPPORTED);
}

static void writes(void)
{
    good_one();
    entry.request.opcode = RDISK_OP_WRITE;
    entry.request.segments = 0;
    entry.segment = (struct rdisk_wire_segment) { 0 };
    is_bad("a write, has no payload");
    /* Not even one that would be refused. */
    limits.read_only = true;
    is_bad("a write, has no payload");
}

static void segments(void)
{
    good_one();
    entry.request.segments = htole16(2);
    is_bad("names 2 segments");
    good_one();
    entry.request.opcode = RDISK_OP_FLUSH;
    entry.request.length = 0;
    entry.request.segments = 0;
    is_bad("names 0 segments");
}

static void areas_only_at_first(void)
{
    good_one();
    entry.request.areas = htole64(0x1000);
    entry.request.areas_key = htole32(7);
    CHECK_EQUAL(check(), RDISK_STATUS_OK);
    limits.vector = false;
    is_bad("reserved");
    good_one();
    entry.request.areas_key = htole32(7);
    entry.request.sequence = htole32(1);
    limits.immediate_sequence = 1;
    limits.sequence = 1;
    is_bad("reserved");
    good_one();
    entry.request.areas = htole64(1);
    entry.request.sequence = htole32(1);
    limits.immediate_sequence = 1;
    limits.sequence = 1;
    is_bad("reserved");
}

static void header_of_another_sequence(void)
{
    good_one();
    limits.sequence = 1;
    is_bad("queue's request");
}

static const struct unit_test tests[] = {
    { "an immediate carries slot and number", immediate_carries_all },
    { "a length that is not 2 to 32 requests ends the connection", lengths },
    { "a slot that was not granted ends the connection", slots },
    { "a read and a flush may be among several", good_ones },
    { "what is refused alone is refused among several", refused_ones },
    { "a write among several ends the connection", writes },
    { "a segment too many ends the connection", segments },
    { "answer areas elsewhere than in the first request end the connection",
      areas_only_at_first },
    { "a request unlike the count ends the connection",
      header_of_another_sequence },
};

UNIT_SUITE("vector-wire", tests)
