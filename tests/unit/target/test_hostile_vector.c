/* SPDX-License-Identifier: BSD-3-Clause */
/* Several requests in one message that keep no protocol. */
#include "tests/unit/support/hostile.h"
#include "tests/unit/support/unit.h"

#define ENTRY ((uint32_t)sizeof(struct rdisk_wire_entry))
#define AREAS 28672u /* the answer areas in data.buffer */

static void begin(void)
{
    hostile_begin(1);
    hostile_features = RDISK_FEATURE_VECTOR;
    hostile_join();
}

/* The @i-th request of the message, to be spoilt: a good flush in slot i. */
static struct rdisk_wire_entry *entry(unsigned int i)
{
    return (struct rdisk_wire_entry *)(void *)(data.buffer + HOSTILE_PAYLOAD +
                                               i * ENTRY);
}

/* @count of them, the first of which has this sequence. */
static void fill(unsigned int count, uint32_t sequence)
{
    for (unsigned int i = 0; i < count; i++) {
        *entry(i) = (struct rdisk_wire_entry) {
            .request.opcode = RDISK_OP_FLUSH,
            .request.slot = htole16((uint16_t)i),
            .request.epoch = htole64(5),
            .request.sequence = htole32(sequence + i),
        };
    }
    if (sequence == 0) {
        entry(0)->request.areas = htole64((uintptr_t)data.buffer + AREAS);
        entry(0)->request.areas_key = htole32(data.mr->rkey);
    }
}

/* What lies there, so that it ends where slot 0's payload area begins. */
static void send_vector(uint32_t length, uint32_t imm)
{
    CHECK_EQUAL(raw_write(&data, HOSTILE_PAYLOAD, length,
                          hostile_header_address(0) +
                              sizeof(struct rdisk_wire_request) - length,
                          le32toh(lease.rkey), imm),
                0);
    scene_pump(&hostile_scene);
}

static uint32_t answer_in_area(unsigned int slot, unsigned int i)
{
    rdisk_le32 answer;

    memcpy(&answer,
           data.buffer + AREAS + slot * RDISK_ANSWER_AREA + i * sizeof(answer),
           sizeof(answer));
    return le32toh(answer);
}

static void good_one_works(void)
{
    begin();
    fill(3, 0);
    send_vector(3 * ENTRY, rdisk_imm_vector(0, 0));
    CHECK_EQUAL(hostile_answer(), rdisk_imm_vector(0, 3));
    for (unsigned int i = 0; i < 3; i++) {
        CHECK_EQUAL(answer_in_area(0, i),
                    rdisk_imm_answer((uint16_t)i, i, RDISK_STATUS_OK));
    }
    CHECK_EQUAL(hostile_scene.requests, 3);
    hostile_end();
}

/* Without answer areas each answer has a message. */
static void without_areas(void)
{
    begin();
    fill(2, 0);
    entry(0)->request.areas = 0;
    entry(0)->request.areas_key = 0;
    send_vector(2 * ENTRY, rdisk_imm_vector(0, 0));
    CHECK_EQUAL(hostile_answer(), rdisk_imm_answer(0, 0, RDISK_STATUS_OK));
    CHECK_EQUAL(hostile_answer(), rdisk_imm_answer(1, 1, RDISK_STATUS_OK));
    hostile_end();
}

/* An area that is not the client's to name costs it the session. */
static void bad_areas(void)
{
    begin();
    fill(2, 0);
    entry(0)->request.areas_key = htole32(data.mr->rkey ^ 0x5a5a);
    send_vector(2 * ENTRY, rdisk_imm_vector(0, 0));
    CHECK(hostile_answer() < 0);
    scene_advance(&hostile_scene, 3000);
    hostile_end();
}

/* It ends the session; @requests of it reach the owner. */
static void ends_session(uint32_t length, uint32_t imm, unsigned int requests,
                         const char *words)
{
    unsigned int before = hostile_scene.requests;

    send_vector(length, imm);
    CHECK(hostile_answer() < 0);
    hostile_thrown_out();
    CHECK_SAYS(bye_text, words);
    CHECK_EQUAL(hostile_scene.requests, before + requests);
    hostile_end();
}

static void not_agreed_on(void)
{
    hostile_begin(1);
    hostile_join();
    fill(2, 0);
    ends_session(2 * ENTRY, rdisk_imm_vector(0, 0), 0, "agreed");
}

static void withheld_by_the_server(void)
{
    hostile_begin_older(1, RDISK_FEATURE_VECTOR);
    hostile_features = RDISK_FEATURE_VECTOR;
    hostile_join();
    fill(2, 0);
    ends_session(2 * ENTRY, rdisk_imm_vector(0, 0), 0, "agreed");
}

static void lengths(void)
{
    static const uint32_t bad[] = {
        0, 16, ENTRY, ENTRY + 64, 2 * ENTRY - 1, 33 * ENTRY
    };

    for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        begin();
        fill(33, 0);
        ends_session(bad[i], rdisk_imm_vector(0, 0), 0, "2 to 32 requests");
    }
}

static void slots(void)
{
    begin();
    fill(2, 0);
    ends_session(2 * ENTRY, rdisk_imm_vector(4, 0), 0, "slot 4 of 4");
    begin();
    fill(3, 0);
    entry(2)->request.slot = htole16(4);
    ends_session(3 * ENTRY, rdisk_imm_vector(0, 0), 2, "slot 4 of 4");
    /* More requests than slots. */
    begin();
    fill(5, 0);
    ends_session(5 * ENTRY, rdisk_imm_vector(0, 0), 4, "slot 4 of 4");
    /* The first one's is that of the immediate. */
    begin();
    fill(2, 0);
    entry(0)->request.slot = htole16(2);
    ends_session(2 * ENTRY, rdisk_imm_vector(0, 0), 0,
                 "names slot 2 but arrived in slot 0");
}

static void same_slot_twice(void)
{
    begin();
    hostile_scene.park = true;
    fill(2, 0);
    entry(1)->request.slot = 0;
    send_vector(2 * ENTRY, rdisk_imm_vector(0, 0));
    CHECK_EQUAL(hostile_scene.parked_count, 1);
    hostile_scene.park = false;
    scene_unpark(&hostile_scene, 1);
    CHECK(hostile_answer() < 0);
    hostile_thrown_out();
    CHECK_SAYS(bye_text, "slot 0, which is not answered");
    hostile_end();
}

static void busy_slot(void)
{
    begin();
    hostile_scene.park = true;
    fill(2, 0);
    send_vector(2 * ENTRY, rdisk_imm_vector(0, 0));
    CHECK_EQUAL(hostile_scene.parked_count, 2);
    fill(2, 2);
    send_vector(2 * ENTRY, rdisk_imm_vector(0, 2));
    CHECK_EQUAL(hostile_scene.parked_count, 2);
    hostile_scene.park = false;
    scene_unpark(&hostile_scene, 2);
    CHECK(hostile_answer() < 0);
    hostile_thrown_out();
    CHECK_SAYS(bye_text, "slot 0, which is not answered");
    hostile_end();
}

static void sequences(void)
{
    begin();
    fill(2, 0);
    entry(1)->request.sequence = htole32(2);
    ends_session(2 * ENTRY, rdisk_imm_vector(0, 0), 1, "announced as");
    begin();
    fill(2, 0);
    entry(1)->request.sequence = htole32(0x10001);
    ends_session(2 * ENTRY, rdisk_imm_vector(0, 0), 1, "queue's request 1");
    begin();
    fill(2, 7);
    ends_session(2 * ENTRY, rdisk_imm_vector(0, 7), 0, "queue's request 0");
}

static void write_among_them(void)
{
    begin();
    fill(2, 0);
    entry(1)->request.opcode = RDISK_OP_WRITE;
    entry(1)->request.length = htole32(512);
    ends_session(2 * ENTRY, rdisk_imm_vector(0, 0), 1, "has no payload");
}

static void segments(void)
{
    begin();
    fill(2, 0);
    entry(0)->segment.length = htole32(512);
    ends_session(2 * ENTRY, rdisk_imm_vector(0, 0), 0, "segments");
    begin();
    fill(2, 0);
    entry(1)->request.opcode = RDISK_OP_READ;
    entry(1)->request.length = htole32(1024);
    entry(1)->request.segments = htole16(2);
    entry(1)->segment.length = htole32(1024);
    ends_session(2 * ENTRY, rdisk_imm_vector(0, 0), 1, "segments");
}

/* What is refused among others gets its answer, and so do the others. */
static void refused_one(void)
{
    begin();
    fill(3, 0);
    entry(1)->request.opcode = 99;
    send_vector(3 * ENTRY, rdisk_imm_vector(0, 0));
    CHECK_EQUAL(hostile_answer(), rdisk_imm_vector(0, 3));
    CHECK_EQUAL(answer_in_area(0, 0), rdisk_imm_answer(0, 0, RDISK_STATUS_OK));
    CHECK_EQUAL(answer_in_area(0, 1),
                rdisk_imm_answer(1, 1, RDISK_STATUS_UNSUPPORTED));
    CHECK_EQUAL(answer_in_area(0, 2), rdisk_imm_answer(2, 2, RDISK_STATUS_OK));
    hostile_end();
}

static void garbage(void)
{
    for (unsigned int seed = 0; seed < 20; seed++) {
        begin();
        scene_pattern(data.buffer + HOSTILE_PAYLOAD, 32 * ENTRY, seed);
        send_vector(32 * ENTRY, rdisk_imm_vector(0, 0));
        CHECK(hostile_answer() < 0);
        hostile_thrown_out();
        hostile_end();
    }
}

static const struct unit_test tests[] = {
    { "(a good vector by hand works)", good_one_works },
    { "without answer areas each answer has a message", without_areas },
    { "answer areas that are not the client's end its session", bad_areas },
    { "a vector that was not offered ends the session", not_agreed_on },
    { "a vector that the server has not chosen ends the session",
      withheld_by_the_server },
    { "a vector of a bad length ends the session", lengths },
    { "a vector that names a slot that was not granted ends the session",
      slots },
    { "a vector that names a slot twice ends the session, after the first",
      same_slot_twice },
    { "a vector in a busy slot ends the session", busy_slot },
    { "a vector that counts otherwise ends the session", sequences },
    { "a write in a vector ends the session", write_among_them },
    { "a vector whose segments do not add up ends the session", segments },
    { "what is refused in a vector is answered, and so are the others",
      refused_one },
    { "a vector of garbage ends the session", garbage },
};

UNIT_SUITE("hostile-vector", tests)
