/* SPDX-License-Identifier: BSD-3-Clause */
/* Writes without a header that keep no protocol. */
#include "tests/unit/support/hostile.h"
#include "tests/unit/support/unit.h"

#define PAGE RDISK_BARE_UNIT
#define BITS 29u /* of the distance: there are 4 slots */

static void begin(void)
{
    hostile_begin(1);
    hostile_features = RDISK_FEATURE_BARE;
    hostile_join();
    CHECK_EQUAL(rdisk_bare_bits(le16toh(lease.slots)), BITS);
    memset(data.buffer + HOSTILE_PAYLOAD, 'w', 2 * PAGE);
}

static uint32_t imm_of(uint16_t slot, uint64_t offset)
{
    return rdisk_imm_bare(BITS, slot, 0, offset);
}

static void good_one_works(void)
{
    begin();
    hostile_send_bare(0, imm_of(0, PAGE), PAGE);
    CHECK_EQUAL(hostile_answer(), rdisk_imm_answer(0, 0, RDISK_STATUS_OK));
    hostile_send_bare(3, imm_of(3, 4 * PAGE), 2 * PAGE);
    CHECK_EQUAL(hostile_answer(), rdisk_imm_answer(3, 1, RDISK_STATUS_OK));
    CHECK_EQUAL(hostile_scene.disk[PAGE - 1], 0);
    CHECK_EQUAL(hostile_scene.disk[PAGE], 'w');
    CHECK_EQUAL(hostile_scene.disk[2 * PAGE], 0);
    CHECK_EQUAL(hostile_scene.disk[6 * PAGE - 1], 'w');
    CHECK_EQUAL(hostile_scene.requests, 2);
    hostile_end();
}

/* It ends the session, and reaches no owner. */
static void ends_session(uint32_t imm, uint32_t length, const char *words)
{
    unsigned int before = hostile_scene.requests;

    hostile_send_bare(0, imm, length);
    CHECK(hostile_answer() < 0);
    hostile_thrown_out();
    CHECK_SAYS(bye_text, words);
    CHECK_EQUAL(hostile_scene.requests, before);
    hostile_end();
}

static void not_agreed_on(void)
{
    hostile_begin(1);
    hostile_join();
    ends_session(imm_of(0, 0), PAGE, "agreed");
}

static void withheld_by_the_server(void)
{
    hostile_begin_older(1, RDISK_FEATURE_BARE);
    hostile_features = RDISK_FEATURE_BARE;
    hostile_join();
    ends_session(imm_of(0, 0), PAGE, "agreed");
}

static void lengths(void)
{
    static const uint32_t bad[] = { 0,        512,        PAGE - 1,
                                    PAGE + 1, 8192 + 512, 8192 + PAGE };

    for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        begin();
        ends_session(imm_of(0, 0), bad[i], "slot of 8192");
    }
}

static void busy_slot(void)
{
    begin();
    hostile_scene.park = true;
    hostile_send_bare(1, imm_of(1, 0), PAGE);
    CHECK_EQUAL(hostile_scene.parked_count, 1);
    hostile_send_bare(1, imm_of(1, PAGE), PAGE);
    CHECK_EQUAL(hostile_scene.parked_count, 1);
    hostile_scene.park = false;
    scene_unpark(&hostile_scene, 1);
    CHECK(hostile_answer() < 0);
    hostile_thrown_out();
    CHECK_SAYS(bye_text, "slot 1, which is not answered");
    hostile_end();
}

static void out_of_range(void)
{
    begin();
    hostile_send_bare(0, imm_of(0, SCENE_SIZE), PAGE);
    CHECK_EQUAL(hostile_answer(),
                rdisk_imm_answer(0, 0, RDISK_STATUS_OUT_OF_RANGE));
    hostile_send_bare(0, imm_of(0, SCENE_SIZE - PAGE), 2 * PAGE);
    CHECK_EQUAL(hostile_answer(),
                rdisk_imm_answer(0, 1, RDISK_STATUS_OUT_OF_RANGE));
    hostile_send_bare(0, imm_of(0, 0ull - PAGE), PAGE);
    CHECK_EQUAL(hostile_answer(),
                rdisk_imm_answer(0, 2, RDISK_STATUS_OUT_OF_RANGE));
    CHECK_EQUAL(hostile_scene.requests, 0);
    hostile_send_bare(0, imm_of(0, SCENE_SIZE - PAGE), PAGE);
    CHECK_EQUAL(hostile_answer(), rdisk_imm_answer(0, 3, RDISK_STATUS_OK));
    hostile_end();
}

static void smaller_volume(void)
{
    begin();
    hostile_send_bare(0, imm_of(0, SCENE_SIZE - PAGE), PAGE);
    CHECK_EQUAL(hostile_answer(), rdisk_imm_answer(0, 0, RDISK_STATUS_OK));
    for (unsigned int i = 0; i < SCENE_HOLDERS; i++) {
        if (hostile_scene.holders[i].session &&
            hostile_scene.holders[i].request.epoch == 5) {
            rdisk_target_session_resize(hostile_scene.holders[i].session,
                                        SCENE_SIZE / 2);
        }
    }
    hostile_send_bare(0, imm_of(0, SCENE_SIZE - PAGE), PAGE);
    CHECK_EQUAL(hostile_answer(),
                rdisk_imm_answer(0, 1, RDISK_STATUS_OUT_OF_RANGE));
    hostile_end();
}

static void read_only_volume(void)
{
    hostile_begin(1);
    hostile_features = RDISK_FEATURE_BARE;
    hostile_scene.read_only = true;
    hostile_join();
    hostile_send_bare(0, imm_of(0, 0), PAGE);
    CHECK_EQUAL(hostile_answer(),
                rdisk_imm_answer(0, 0, RDISK_STATUS_READ_ONLY));
    CHECK_EQUAL(hostile_scene.requests, 0);
    hostile_end();
}

static void sequence_is_counted(void)
{
    begin();
    hostile_send_bare(0, imm_of(0, 0), PAGE);
    CHECK_EQUAL(hostile_answer(), rdisk_imm_answer(0, 0, RDISK_STATUS_OK));
    hostile_request()->sequence = htole32(1);
    hostile_send_request(0, rdisk_imm_request(0, 1));
    CHECK_EQUAL(hostile_answer(), rdisk_imm_answer(0, 1, RDISK_STATUS_OK));
    hostile_request()->sequence = htole32(1);
    hostile_send_request(0, rdisk_imm_request(0, 1));
    CHECK(hostile_answer() < 0);
    hostile_thrown_out();
    CHECK_SAYS(bye_text, "the queue's request 2");
    hostile_end();
}

/* Whatever the status of the one with a header. */
static void base_moves(void)
{
    static const struct {
        uint64_t offset;
        uint32_t length;
        enum rdisk_status status;
    } headers[] = {
        { 40 * PAGE, 512, RDISK_STATUS_OK },
        { 41 * PAGE + 512, 512, RDISK_STATUS_OK },
        { 42 * PAGE + 100, 512, RDISK_STATUS_MISALIGNED },
        { 43 * PAGE, 0, RDISK_STATUS_MISALIGNED },
    };
    uint32_t sequence = 0;

    begin();
    for (unsigned int i = 0; i < 4; i++, sequence += 2) {
        struct rdisk_wire_request *wire = hostile_request();

        wire->offset = htole64(headers[i].offset);
        wire->length = htole32(headers[i].length);
        wire->sequence = htole32(sequence);
        hostile_send_request(0, rdisk_imm_request(0, (uint16_t)sequence));
        CHECK_EQUAL(hostile_answer(),
                    rdisk_imm_answer(0, sequence, headers[i].status));
        memset(data.buffer + HOSTILE_PAYLOAD, 'a' + (int)i, PAGE);
        hostile_send_bare(0, rdisk_imm_bare(BITS, 0, 8 * PAGE, 7 * PAGE), PAGE);
        CHECK_EQUAL(hostile_answer(),
                    rdisk_imm_answer(0, sequence + 1, RDISK_STATUS_OK));
        CHECK_EQUAL(hostile_scene.disk[(39 + i) * PAGE], 'a' + (int)i);
    }
    hostile_end();
}

/* Whatever else has an offset. */
static void base_stays(void)
{
    struct rdisk_wire_request *wire;

    begin();
    wire = hostile_request();
    wire->opcode = 99;
    wire->offset = htole64(40 * PAGE);
    hostile_send_request(0, rdisk_imm_request(0, 0));
    CHECK_EQUAL(hostile_answer(),
                rdisk_imm_answer(0, 0, RDISK_STATUS_UNSUPPORTED));
    hostile_send_bare(0, imm_of(0, 2 * PAGE), PAGE);
    CHECK_EQUAL(hostile_answer(), rdisk_imm_answer(0, 1, RDISK_STATUS_OK));
    CHECK_EQUAL(hostile_scene.disk[2 * PAGE], 'w');
    hostile_end();
}

static const struct unit_test tests[] = {
    { "(a good bare write by hand works)", good_one_works },
    { "a bare write that was not offered ends the session", not_agreed_on },
    { "a bare write that the server has not chosen ends the session",
      withheld_by_the_server },
    { "a bare write of a bad length ends the session", lengths },
    { "a bare write in a busy slot ends the session, after the first",
      busy_slot },
    { "a bare write beyond the end is answered", out_of_range },
    { "a bare write beyond the end of a smaller volume is answered",
      smaller_volume },
    { "a bare write to a read-only volume is answered", read_only_volume },
    { "a header that repeats a sequence ends the session",
      sequence_is_counted },
    { "the base moves with each write that has a header", base_moves },
    { "the base stays at all other requests", base_stays },
};

UNIT_SUITE("hostile-bare", tests)
