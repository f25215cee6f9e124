/* SPDX-License-Identifier: BSD-3-Clause */
/* Writes without a header: what fits into an immediate, and what is refused. */
#include "transport/wire/request.h"
#include "tests/unit/support/unit.h"

#define PAGE RDISK_BARE_UNIT

static struct rdisk_request_limits limits;
static struct rdisk_request_view view;
static struct rdisk_error err;

static void good_limits(unsigned int slots)
{
    limits = (struct rdisk_request_limits) {
        .epoch = 3,
        .size = 1 << 20,
        .block_size = 512,
        .slot_size = 65536,
        .sequence = 0x70002,
        .slots = slots,
        .bare_bits = rdisk_bare_bits(slots),
        .bare = true,
        .counted = true,
    };
    memset(&err, 0, sizeof(err));
}

static enum rdisk_status check(uint64_t offset, uint32_t length)
{
    return rdisk_wire_check_bare(rdisk_imm_bare(limits.bare_bits, 0,
                                                limits.base, offset),
                                 length, &limits, &view, &err);
}

static void gives(enum rdisk_status status, const char *words)
{
    CHECK(err.code < 0);
    CHECK_SAYS(err.text, words);
    CHECK(status != RDISK_STATUS_OK);
}

static void slots_take_as_many_bits_as_they_need(void)
{
    static const struct {
        unsigned int slots, bits;
    } cases[] = {
        { 1, 31 },  { 2, 30 },  { 3, 29 },   { 4, 29 },    { 5, 28 },
        { 64, 25 }, { 65, 24 }, { 513, 21 }, { 1024, 21 },
    };

    for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CHECK_EQUAL(rdisk_bare_bits(cases[i].slots), cases[i].bits);
    }
}

static void immediate_carries_all(void)
{
    for (unsigned int slots = 1; slots <= RDISK_SLOTS_MAX; slots *= 2) {
        unsigned int bits = rdisk_bare_bits(slots);
        uint64_t reach = (1ull << (bits - 1)) * PAGE, base = 1ull << 50;
        uint64_t offsets[] = { base - reach, base - PAGE, base, base + PAGE,
                               base + reach - PAGE };

        for (unsigned int i = 0; i < 5; i++) {
            uint32_t imm = rdisk_imm_bare(bits, (uint16_t)(slots - 1), base,
                                          offsets[i]);

            CHECK(rdisk_bare_reaches(bits, base, offsets[i]));
            CHECK(imm & RDISK_BARE_FLAG);
            CHECK_EQUAL(rdisk_bare_slot(bits, imm), slots - 1);
            CHECK_EQUAL(rdisk_bare_offset(bits, imm, base), offsets[i]);
        }
        CHECK(!rdisk_bare_reaches(bits, base, base - reach - PAGE));
        CHECK(!rdisk_bare_reaches(bits, base, base + reach));
        CHECK(!rdisk_bare_reaches(bits, 0, 1ull << 62));
    }
}

static void base_is_a_whole_unit(void)
{
    CHECK_EQUAL(rdisk_bare_base(0), 0);
    CHECK_EQUAL(rdisk_bare_base(PAGE - 512), 0);
    CHECK_EQUAL(rdisk_bare_base(PAGE + 512), PAGE);
    CHECK_EQUAL(rdisk_bare_base(UINT64_MAX), UINT64_MAX - PAGE + 1);
}

static void good_one_is_a_write(void)
{
    good_limits(64);
    limits.base = 8 * PAGE;
    CHECK_EQUAL(check(5 * PAGE, 2 * PAGE), RDISK_STATUS_OK);
    CHECK_EQUAL(view.op, RDISK_OP_WRITE);
    CHECK_EQUAL(view.flags, 0);
    CHECK_EQUAL(view.offset, 5 * PAGE);
    CHECK_EQUAL(view.length, 2 * PAGE);
    CHECK_EQUAL(view.sequence, 0x70002);
    CHECK_EQUAL(view.segments, 0);
    CHECK_EQUAL(check(0, 65536), RDISK_STATUS_OK);
    CHECK_EQUAL(check((1 << 20) - PAGE, PAGE), RDISK_STATUS_OK);
}

static void bad_lengths(void)
{
    static const uint32_t lengths[] = {
        0, 1, 512, PAGE - 1, PAGE + 512, 65536 + PAGE, UINT32_MAX - PAGE + 1
    };

    for (unsigned int i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        good_limits(64);
        CHECK_EQUAL(check(0, lengths[i]), RDISK_STATUS_BAD_MESSAGE);
        gives(RDISK_STATUS_BAD_MESSAGE, "without a header");
    }
}

static void beyond_the_end(void)
{
    good_limits(64);
    CHECK_EQUAL(check(1 << 20, PAGE), RDISK_STATUS_OUT_OF_RANGE);
    gives(RDISK_STATUS_OUT_OF_RANGE, "beyond");
    good_limits(64);
    CHECK_EQUAL(check((1 << 20) - PAGE, 2 * PAGE), RDISK_STATUS_OUT_OF_RANGE);
    good_limits(64);
    CHECK_EQUAL(check(0ull - PAGE, PAGE), RDISK_STATUS_OUT_OF_RANGE);
    /* From a base that a refused write has left. */
    good_limits(64);
    limits.base = rdisk_bare_base(UINT64_MAX);
    CHECK_EQUAL(check(limits.base, PAGE), RDISK_STATUS_OUT_OF_RANGE);
    CHECK_EQUAL(check(0, PAGE), RDISK_STATUS_OK);
    CHECK_EQUAL(view.offset, 0);
}

static void read_only(void)
{
    good_limits(64);
    limits.read_only = true;
    CHECK_EQUAL(check(0, PAGE), RDISK_STATUS_READ_ONLY);
    gives(RDISK_STATUS_READ_ONLY, "read-only");
}

static void slots(void)
{
    good_limits(3);
    for (unsigned int i = 0; i < 3; i++) {
        uint32_t imm = rdisk_imm_bare(limits.bare_bits, (uint16_t)i, 0, 0);

        CHECK_EQUAL(rdisk_wire_check_slot(imm, &limits, &err), i);
        CHECK_EQUAL(rdisk_wire_check_slot(rdisk_imm_request((uint16_t)i, 9),
                                          &limits, &err),
                    i);
    }
    CHECK(rdisk_wire_check_slot(rdisk_imm_bare(limits.bare_bits, 3, 0, 0),
                                &limits, &err) < 0);
    CHECK_SAYS(err.text, "slot 3 of 3");
    CHECK(rdisk_wire_check_slot(rdisk_imm_request(3, 0), &limits, &err) < 0);
    CHECK(rdisk_wire_check_slot(rdisk_imm_request(0x7fff, 0), &limits, &err) <
          0);
}

static void not_agreed_on(void)
{
    good_limits(4);
    limits.bare = false;
    CHECK(rdisk_wire_check_slot(RDISK_BARE_FLAG, &limits, &err) < 0);
    CHECK_SAYS(err.text, "agreed");
}

static void header_of_another_sequence(void)
{
    struct rdisk_wire_request wire = {
        .opcode = RDISK_OP_WRITE,
        .length = htole32(PAGE),
        .epoch = htole64(3),
        .sequence = htole32(0x10002),
    };

    good_limits(64);
    limits.immediate_sequence = 2;
    CHECK_EQUAL(rdisk_wire_check_request(&wire, &limits, &view, &err),
                RDISK_STATUS_BAD_MESSAGE);
    CHECK_SAYS(err.text, "queue's request");
    wire.sequence = htole32(0x70002);
    CHECK_EQUAL(rdisk_wire_check_request(&wire, &limits, &view, &err),
                RDISK_STATUS_OK);
    /* A peer that has not agreed to it may count otherwise. */
    wire.sequence = htole32(0x10002);
    limits.bare = limits.counted = false;
    CHECK_EQUAL(rdisk_wire_check_request(&wire, &limits, &view, &err),
                RDISK_STATUS_OK);
}

static const struct unit_test tests[] = {
    { "slots take as many bits as they need",
      slots_take_as_many_bits_as_they_need },
    { "an immediate carries slot and offset, up to its reach",
      immediate_carries_all },
    { "the base is rounded down", base_is_a_whole_unit },
    { "a good one is a write", good_one_is_a_write },
    { "a length that is none of a slot ends the connection", bad_lengths },
    { "a range beyond the end is answered", beyond_the_end },
    { "a write to a read-only volume is answered", read_only },
    { "a slot that was not granted ends the connection", slots },
    { "what was not agreed on ends the connection", not_agreed_on },
    { "a header unlike the count ends the connection",
      header_of_another_sequence },
};

UNIT_SUITE("bare-wire", tests)
