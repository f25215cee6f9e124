/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Several answers in one message from a server that keeps no protocol: each
 * request ends once, and the session with an error.
 */
#include <errno.h>

#include "tests/unit/support/rogue.h"
#include "tests/unit/support/unit.h"

#define ENTRY ((uint32_t)sizeof(struct rdisk_wire_entry))
#define SLOTS 2u
#define SAY   28672u /* in rogue_data.buffer, behind the slots */

static struct scene_io ios[SLOTS];
static uint64_t areas;
static uint32_t areas_key;

/* Two flushes, which arrive in one message. */
static void begin_with(uint64_t features)
{
    struct rdisk_wire_entry *entry;

    rogue_features = features;
    rogue_slots = SLOTS;
    rogue_begin(1);
    for (unsigned int i = 0; i < SLOTS; i++) {
        memset(&ios[i], 0, sizeof(ios[i]));
        CHECK_EQUAL(scene_submit(&ios[i], victim, 0, RDISK_OP_FLUSH, 0, NULL,
                                 0),
                    0);
    }
    rdisk_queue_kick(rdisk_initiator_queue(victim->session, 0));
    scene_pump(&rogue_scene);
    entry = (struct rdisk_wire_entry *)(void *)(rogue_data.buffer +
                                                RDISK_HEADER_AREA) -
            2;
    areas = le64toh(entry->request.areas);
    areas_key = le32toh(entry->request.areas_key);
}

static void begin(void)
{
    struct ibv_wc wc;
    bool received = false;

    begin_with(RDISK_FEATURE_VECTOR);
    while (raw_poll(&rogue_data, &wc)) {
        if (wc.status == IBV_WC_SUCCESS && (wc.wr_id & RAW_RECV)) {
            CHECK(!received);
            received = true;
            CHECK_EQUAL(wc.byte_len, 2 * ENTRY);
            CHECK_EQUAL(ntohl(wc.imm_data), rdisk_imm_vector(0, 0));
        }
    }
    CHECK(received);
    CHECK(areas && areas_key);
}

static rdisk_le32 *answers(void)
{
    return (rdisk_le32 *)(void *)(rogue_data.buffer + SAY);
}

/* @count of them into the area of @slot. */
static void say(unsigned int slot, uint32_t count, uint32_t imm)
{
    CHECK_EQUAL(raw_write(&rogue_data, SAY, count * 4,
                          areas + slot * RDISK_ANSWER_AREA, areas_key, imm),
                0);
    scene_pump(&rogue_scene);
}

static void fill(void)
{
    answers()[0] = htole32(rdisk_imm_answer(0, 0, 0));
    answers()[1] = htole32(rdisk_imm_answer(1, 1, 0));
}

/* @ended of the requests have ended well; the session has failed. */
static void fails(unsigned int ended)
{
    scene_advance(&rogue_scene, 20000);
    CHECK_EQUAL(victim->state, RDISK_INITIATOR_FAILED);
    for (unsigned int i = 0; i < SLOTS; i++) {
        CHECK_EQUAL(ios[i].completed, 1);
        CHECK(i < ended ? ios[i].result == 0 : ios[i].result < 0);
    }
    rogue_end();
}

static void good_one_works(void)
{
    begin();
    fill();
    answers()[1] = htole32(rdisk_imm_answer(1, 1, RDISK_STATUS_IO_ERROR));
    say(0, 2, rdisk_imm_vector(0, 2));
    CHECK_EQUAL(ios[0].completed, 1);
    CHECK_EQUAL(ios[0].result, 0);
    CHECK_EQUAL(ios[1].completed, 1);
    CHECK_EQUAL(ios[1].result, -EIO);
    CHECK_EQUAL(victim->state, RDISK_INITIATOR_READY);
    rogue_end();
}

static void one_twice(void)
{
    begin();
    fill();
    answers()[1] = answers()[0];
    say(0, 2, rdisk_imm_vector(0, 2));
    fails(1);
}

static struct scene_io next;

/* Its request is in the slot that has come free, and not sent yet. */
static void submit_next(struct rdisk_request *request, int result)
{
    scene_io_complete(request, result);
    CHECK_EQUAL(scene_submit(&next, victim, 0, RDISK_OP_FLUSH, 0, NULL, 0), 0);
}

static void not_sent_yet(void)
{
    begin();
    memset(&next, 0, sizeof(next));
    ios[0].request.complete = submit_next;
    answers()[0] = htole32(rdisk_imm_answer(0, 0, 0));
    answers()[1] = htole32(rdisk_imm_answer(0, 2, 0));
    say(0, 2, rdisk_imm_vector(0, 2));
    fails(1);
    CHECK_EQUAL(next.completed, 1);
    CHECK(next.result < 0);
}

static void other_sequence(void)
{
    begin();
    fill();
    answers()[1] = htole32(rdisk_imm_answer(1, 0, 0));
    say(0, 2, rdisk_imm_vector(0, 2));
    fails(1);
}

static void slot_beyond(void)
{
    begin();
    fill();
    answers()[1] = htole32(0xffffffff);
    say(0, 2, rdisk_imm_vector(0, 2));
    fails(1);
    begin();
    fill();
    say(0, 2, rdisk_imm_vector(SLOTS, 2));
    fails(0);
}

static void counts(void)
{
    static const struct {
        uint32_t length, count;
    } bad[] = { { 2, 3 }, { 3, 2 }, { 1, 1 }, { 0, 0 }, { 32, 33 }, { 2, 0 } };

    for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        begin();
        fill();
        say(0, bad[i].length, rdisk_imm_vector(0, bad[i].count));
        fails(0);
    }
}

/* The message's slot is that of its first answer. */
static void another_area(void)
{
    begin();
    fill();
    say(1, 2, rdisk_imm_vector(1, 2));
    fails(0);
}

static void beyond_the_areas(void)
{
    begin();
    fill();
    say(SLOTS, 2, rdisk_imm_vector(0, 2));
    fails(0);
}

static void not_agreed_on(void)
{
    begin_with(0);
    CHECK_EQUAL(areas_key, 0);
    CHECK_EQUAL(raw_write(&rogue_data, SAY, 0, 0, 0, rdisk_imm_vector(0, 2)),
                0);
    fails(0);
}

static const struct unit_test tests[] = {
    { "(good answers in one message work)", good_one_works },
    { "an answer that is there twice ends the session", one_twice },
    { "an answer to a request that was not sent ends the session",
      not_sent_yet },
    { "an answer of another sequence ends the session", other_sequence },
    { "an answer of no slot ends the session", slot_beyond },
    { "a number of answers unlike the length ends the session", counts },
    { "answers in another slot's area end the session", another_area },
    { "the server cannot write beyond the areas", beyond_the_areas },
    { "answers in one message that were not agreed on end the session",
      not_agreed_on },
};

UNIT_SUITE("hostile-answers", tests)
