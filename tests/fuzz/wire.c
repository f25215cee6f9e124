/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every parser of what a peer sends: the first byte chooses one, and whether
 * magic and version are put in; the rest is what arrived. What passes must be
 * inside its bounds.
 */
#include "fuzz.h"
#include "transport/wire/request.h"
#include "tests/unit/support/unit.h"

static void request(struct fuzz_input *input)
{
    struct rdisk_request_limits limits = {
        .epoch = 5,
        .size = 1 << 20,
        .block_size = 512,
        .slot_size = 8192,
        .slot = 1,
        .immediate_sequence = 7,
    };
    struct rdisk_request_view view = { 0 };
    struct rdisk_wire_request wire;
    struct rdisk_error err = { 0 };
    uint8_t flags = fuzz_byte(input);
    enum rdisk_status status;

    limits.read_only = flags & 1;
    limits.discard = flags & 2;
    limits.zeroes = flags & 4;
    limits.extents = flags & 8;
    limits.copy = flags & 16;
    fuzz_take(input, &wire, sizeof(wire));
    status = rdisk_wire_check_request(&wire, &limits, &view, &err);
    CHECK(status < RDISK_STATUS_COUNT);
    CHECK(status == RDISK_STATUS_OK || err.text[0]);
    if (status == RDISK_STATUS_OK) {
        CHECK(le64toh(wire.offset) <= limits.size);
        CHECK(le32toh(wire.length) <= limits.size - le64toh(wire.offset));
    }
}

static void bare_write(struct fuzz_input *input)
{
    uint8_t flags = fuzz_byte(input);
    uint32_t immediate = fuzz_word(input), length = fuzz_word(input);
    struct rdisk_request_limits limits = {
        .size = 1 << 20,
        .block_size = 512,
        .slot_size = 8192,
        .slots = 1 + fuzz_word(input) % RDISK_SLOTS_MAX,
        .read_only = flags & 1,
        .bare = flags & 2,
    };
    struct rdisk_request_view view = { 0 };
    struct rdisk_error err = { 0 };
    int slot;

    limits.bare_bits = rdisk_bare_bits(limits.slots);
    fuzz_take(input, &limits.base, sizeof(limits.base));
    limits.base = rdisk_bare_base(limits.base);
    slot = rdisk_wire_check_slot(immediate, &limits, &err);
    CHECK(slot < (int)limits.slots);
    CHECK(slot >= 0 || err.text[0]);
    if (slot < 0 || !(immediate & RDISK_BARE_FLAG)) {
        return;
    }
    CHECK(limits.bare);
    if (rdisk_wire_check_bare(immediate, length, &limits, &view, &err) ==
        RDISK_STATUS_OK) {
        CHECK(!limits.read_only && view.op == RDISK_OP_WRITE && !view.flags);
        CHECK(view.length && view.length <= limits.slot_size);
        CHECK(view.offset <= limits.size);
        CHECK(view.length <= limits.size - view.offset);
        CHECK_EQUAL(rdisk_imm_bare(limits.bare_bits, (uint16_t)slot,
                                   limits.base, view.offset),
                    immediate);
    } else {
        CHECK(err.text[0]);
    }
}

static void entry(struct fuzz_input *input)
{
    uint8_t flags = fuzz_byte(input);
    uint32_t length = fuzz_word(input);
    struct rdisk_request_limits limits = {
        .epoch = 5,
        .size = 1 << 20,
        .block_size = 512,
        .slot_size = 8192,
        .slot = 1,
        .immediate_sequence = 7,
        .sequence = 7,
        .slots = 4,
        .read_only = flags & 1,
        .extents = flags & 2,
        .vector = flags & 4,
        .counted = flags & 8,
    };
    struct rdisk_request_view view = { 0 };
    struct rdisk_wire_entry wire;
    struct rdisk_error err = { 0 };
    enum rdisk_status status;
    int count = rdisk_wire_check_vector(length, &err);

    CHECK(count < 0 ? err.text[0]
                    : count >= (int)RDISK_VECTOR_MIN &&
                          count <= (int)RDISK_VECTOR_MAX &&
                          length == (uint32_t)count * sizeof(wire));
    fuzz_take(input, &wire, sizeof(wire));
    status = rdisk_wire_check_entry(&wire, &limits, &view, &err);
    CHECK(status == RDISK_STATUS_OK || err.text[0]);
    if (status != RDISK_STATUS_BAD_MESSAGE) {
        CHECK(view.op != RDISK_OP_WRITE);
        CHECK(view.segments <= 1);
        CHECK(view.sequence == 0 || !wire.request.areas_key);
    }
}

static void segments(struct fuzz_input *input)
{
    struct rdisk_wire_segment segments[RDISK_SEGMENTS_MAX];
    unsigned int count = fuzz_byte(input) % (RDISK_SEGMENTS_MAX + 1);
    uint32_t length = fuzz_word(input);
    struct rdisk_error err = { 0 };
    unsigned int room = 0;
    uint64_t sum = 0;

    fuzz_take(input, segments, sizeof(segments));
    if (rdisk_wire_check_segments(segments, count, length, &err) ==
        RDISK_STATUS_OK) {
        for (unsigned int i = 0; i < count; i++) {
            sum += le32toh(segments[i].length);
        }
        CHECK_EQUAL(sum, length);
    }
    if (rdisk_wire_check_room(segments, count, &room, &err) ==
        RDISK_STATUS_OK) {
        CHECK(room >= 1 && room <= RDISK_EXTENTS_MAX);
    }
}

static void extents(struct fuzz_input *input)
{
    struct rdisk_wire_extent extents[64];
    unsigned int room = 1 + fuzz_byte(input) % 64;
    uint32_t length = fuzz_word(input);
    struct rdisk_error err = { 0 };

    fuzz_take(input, extents, sizeof(extents));
    CHECK(rdisk_wire_check_extents(extents, room, length, 512, &err) <= room);
}

static void message(const uint8_t *data, size_t size, uint64_t epoch)
{
    union {
        struct rdisk_wire_message message;
        uint8_t bytes[RDISK_MESSAGE_MAX];
    } copy;
    char text[RDISK_TEXT_MAX + 1];
    struct rdisk_error err = { 0 };

    /* As control.c has them: a whole buffer, of which so much has come. */
    memset(&copy, 0, sizeof(copy));
    size = size < sizeof(copy) ? size : sizeof(copy);
    memcpy(&copy, data, size);
    if (rdisk_wire_check_message(&copy, size, epoch, &err) == RDISK_STATUS_OK) {
        rdisk_wire_text(&copy.message, text, sizeof(text));
        CHECK(strlen(text) <= RDISK_TEXT_MAX);
    } else {
        CHECK(err.text[0]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = { data, size };
    uint8_t which = fuzz_byte(&input);
    struct rdisk_wire_resident resident;
    struct rdisk_error err = { 0 };
    uint8_t start[RDISK_MESSAGE_MAX] __attribute__((aligned(8)));

    if ((which & 0x80) && input.size >= 6) {
        struct rdisk_wire_message *header = (void *)start;

        input.size = input.size < sizeof(start) ? input.size : sizeof(start);
        memcpy(start, input.data, input.size);
        header->magic = htole32(RDISK_WIRE_MAGIC);
        header->version = htole16(RDISK_WIRE_VERSION);
        input.data = start;
    }
    switch (which % 7) {
    case 0:
        if (which & 0x20) {
            entry(&input);
        } else if (which & 0x40) {
            bare_write(&input);
        } else {
            request(&input);
        }
        break;
    case 1:
        segments(&input);
        break;
    case 2:
        rdisk_wire_check_connect(input.data, input.size, &err);
        break;
    case 3:
        rdisk_wire_check_accept(input.data, input.size, 0, &err);
        rdisk_wire_check_accept(input.data, input.size, 1, &err);
        rdisk_wire_check_resident(input.data, input.size, 1u << 20, &resident,
                                  &err);
        break;
    case 4:
        rdisk_wire_read_reject(input.data, input.size, &err);
        CHECK(strlen(err.text) < sizeof(err.text));
        break;
    case 5:
        message(input.data, input.size, 0);
        message(input.data, input.size, 5);
        break;
    default:
        extents(&input);
        break;
    }
    return 0;
}
