/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A server that keeps no protocol, against the real client: whatever it
 * answers, each request ends once and the client says what is wrong.
 */
#include <errno.h>
#include <stdlib.h>

#include "tests/unit/support/rogue.h"
#include "tests/unit/support/unit.h"

/* The request and the session have ended. */
static void ended(const char *words)
{
    scene_advance(&rogue_scene, 20000);
    CHECK_EQUAL(rogue_io.completed, 1);
    CHECK(rogue_io.result < 0);
    CHECK_EQUAL(victim->state, RDISK_INITIATOR_FAILED);
    CHECK_SAYS(rdisk_initiator_error(victim->session)->text, words);
    rogue_end();
}

static void joining_failed(const char *words)
{
    rogue_accept_queue();
    CHECK_EQUAL(victim->state, RDISK_INITIATOR_FAILED);
    CHECK_SAYS(rdisk_initiator_error(victim->session)->text, words);
    rogue_end();
}

/* ---- Leases ------------------------------------------------------------ */

static void lease_of_more_slots(void)
{
    rogue_begin_joining(1);
    rogue_lease.slots = htole16(2);
    joining_failed("does not match OPEN_REPLY");
}

static void lease_of_other_size(void)
{
    rogue_begin_joining(1);
    rogue_lease.slot_size = htole32(8192);
    rogue_lease.stride = htole32(RDISK_HEADER_AREA + 8192);
    joining_failed("does not match OPEN_REPLY");
}

static void lease_for_another_queue(void)
{
    rogue_begin_joining(1);
    rogue_lease.queue = htole16(2);
    joining_failed("queue 2");
}

/* ---- Answers ----------------------------------------------------------- */

static void good_answer_works(void)
{
    struct rdisk_wire_request *wire;
    struct rdisk_wire_segment *segment;

    rogue_begin(1);
    wire = rogue_take_read();
    segment = (struct rdisk_wire_segment *)wire - 1;
    CHECK_EQUAL(wire->opcode, RDISK_OP_READ);
    CHECK_EQUAL(le64toh(wire->offset), 4096);
    CHECK_EQUAL(le16toh(wire->segments), 1);
    scene_pattern(rogue_data.buffer, 4096, 5);
    CHECK_EQUAL(raw_write(&rogue_data, 0, 4096, le64toh(segment->address),
                          le32toh(segment->key), rdisk_imm_answer(0, 0, 0)),
                0);
    scene_pump(&rogue_scene);
    CHECK_EQUAL(rogue_io.result, 0);
    CHECK(scene_is_pattern(rogue_buffer, 4096, 5));
    rogue_end();
}

static void wrong_sequence(void)
{
    rogue_begin(1);
    rogue_take_read();
    rogue_answer(rdisk_imm_answer(0, 1, 0));
    ended("broke");
}

static void wrong_slot(void)
{
    rogue_begin(1);
    rogue_take_read();
    rogue_answer(rdisk_imm_answer(1, 0, 0));
    ended("broke");
}

static void huge_slot(void)
{
    rogue_begin(1);
    rogue_take_read();
    rogue_answer(0xffffffff);
    ended("broke");
}

static void answered_twice(void)
{
    rogue_begin(1);
    rogue_take_read();
    rogue_answer(rdisk_imm_answer(0, 0, 0));
    CHECK_EQUAL(rogue_io.completed, 1);
    CHECK_EQUAL(rogue_io.result, 0);
    rogue_answer(rdisk_imm_answer(0, 0, 0));
    CHECK_EQUAL(victim->state, RDISK_INITIATOR_FAILED);
    CHECK_EQUAL(rogue_io.completed, 1);
    rogue_end();
}

static void answer_to_nothing(void)
{
    rogue_begin(1);
    rogue_answer(rdisk_imm_answer(0, 0, 0));
    CHECK_EQUAL(victim->state, RDISK_INITIATOR_FAILED);
    rogue_end();
}

static void unknown_status(void)
{
    rogue_begin(1);
    rogue_take_read();
    rogue_answer(rdisk_imm_answer(0, 0, 200));
    CHECK_EQUAL(rogue_io.completed, 1);
    CHECK_EQUAL(rogue_io.result, -EIO);
    CHECK_EQUAL(victim->state, RDISK_INITIATOR_READY);
    rogue_end();
}

static void failed_read_copies_nothing(void)
{
    struct rdisk_wire_request *wire;
    struct rdisk_wire_segment *segment;

    rogue_begin(1);
    wire = rogue_take_read();
    segment = (struct rdisk_wire_segment *)wire - 1;
    memset(rogue_data.buffer, 0x99, 4096);
    CHECK_EQUAL(raw_write(&rogue_data, 0, 4096, le64toh(segment->address),
                          le32toh(segment->key),
                          rdisk_imm_answer(0, 0, RDISK_STATUS_IO_ERROR)),
                0);
    scene_pump(&rogue_scene);
    CHECK_EQUAL(rogue_io.result, -EIO);
    /* It went through bounce memory: the caller's is untouched. */
    CHECK_EQUAL(rogue_buffer[0], 0x11);
    rogue_end();
}

static void message_on_a_data_queue(void)
{
    rogue_begin(1);
    rogue_take_read();
    CHECK_EQUAL(raw_send(&rogue_data, 0, 0), 0);
    scene_pump(&rogue_scene);
    ended("broke");
}

static void long_message_on_a_data_queue(void)
{
    rogue_begin(1);
    rogue_take_read();
    CHECK_EQUAL(raw_send(&rogue_data, 0, 100), 0);
    scene_pump(&rogue_scene);
    ended("broke");
}

static void write_outside(void)
{
    rogue_begin(1);
    rogue_take_read();
    CHECK_EQUAL(raw_write(&rogue_data, 0, 16, (uintptr_t)rogue_buffer, 12345,
                          -1),
                0);
    scene_pump(&rogue_scene);
    CHECK_EQUAL(rogue_buffer[0], 0x11);
    ended("broke");
}

static void flood_of_answers(void)
{
    rogue_begin(1);
    rogue_take_read();
    for (unsigned int i = 0; i < 10; i++) {
        raw_write(&rogue_data, 0, 0, 0, 0, rdisk_imm_answer(0, i, 0));
    }
    scene_advance(&rogue_scene, 20000);
    CHECK_EQUAL(rogue_io.completed, 1);
    CHECK_EQUAL(victim->state, RDISK_INITIATOR_FAILED);
    rogue_end();
}

/* ---- Messages ---------------------------------------------------------- */

static void ping_is_answered(void)
{
    struct rdisk_wire_ping ping = {
        .message.epoch = htole64(1),
        .payload = htole64(4711),
    };
    const struct rdisk_wire_ping *pong = NULL;
    struct ibv_wc wc;

    rogue_begin(1);
    rogue_say(RDISK_MSG_PING, &ping, sizeof(ping));
    while (raw_poll(&rogue_control, &wc)) {
        if (wc.wr_id & RAW_RECV) {
            pong = (void *)(rogue_control.buffer + (uint32_t)wc.wr_id);
        }
    }
    REQUIRE(pong != NULL);
    CHECK_EQUAL(le16toh(pong->message.type), RDISK_MSG_PONG);
    CHECK_EQUAL(le64toh(pong->payload), 4711);
    rogue_end();
}

static void pong_without_ping(void)
{
    struct rdisk_wire_ping pong = { .message.epoch = htole64(1) };

    rogue_begin(1);
    rogue_take_read();
    rogue_say(RDISK_MSG_PONG, &pong, sizeof(pong));
    ended("PONG without a PING");
}

static void second_grant(void)
{
    struct rdisk_wire_open_reply open = rogue_open_reply();

    open.message.epoch = htole64(1);
    rogue_begin(1);
    rogue_take_read();
    rogue_say(RDISK_MSG_OPEN_REPLY, &open, sizeof(open));
    ended("unexpected OPEN_REPLY in state READY");
}

static void message_of_another_epoch(void)
{
    struct rdisk_wire_ping ping = { .message.epoch = htole64(2) };

    rogue_begin(1);
    rogue_take_read();
    rogue_say(RDISK_MSG_PING, &ping, sizeof(ping));
    ended("epoch 2");
}

static void bye_with_a_reason(void)
{
    struct {
        struct rdisk_wire_message message;
        char text[16];
    } bye = {
        .message.epoch = htole64(1),
        .message.status = htole16(RDISK_STATUS_STALE),
        .message.text_length = htole16(16),
        .text = "replaced by you!",
    };

    rogue_begin(1);
    rogue_take_read();
    rogue_say(RDISK_MSG_BYE, &bye, sizeof(bye));
    CHECK_EQUAL(rogue_io.result, -EIO);
    ended("replaced by you!");
}

static void move_that_was_not_agreed(void)
{
    struct rdisk_wire_move move = {
        .message.epoch = htole64(1),
        .port = htole16(7471),
        .host_length = htole16(1),
        .host = "b",
    };

    rogue_begin(1);
    rogue_take_read();
    rogue_say(RDISK_MSG_MOVE, &move, sizeof(move));
    ended("MOVE without its feature");
}

/* As many as it can have at a time: of no use to a client that has one server,
 * and no harm. */
static void moves_without_end(void)
{
    struct rdisk_wire_move move = {
        .message.epoch = htole64(1),
        .port = htole16(7471),
        .host_length = htole16(1),
        .host = "b",
    };

    rogue_features = RDISK_FEATURE_MOVE;
    rogue_begin(1);
    rogue_take_read();
    for (unsigned int i = 0; i < 4; i++) {
        rogue_say(RDISK_MSG_MOVE, &move, sizeof(move));
        CHECK_EQUAL(victim->state, RDISK_INITIATOR_READY);
    }
    rogue_answer(rdisk_imm_answer(0, 0, 0));
    CHECK_EQUAL(rogue_io.completed, 1);
    rogue_end();
}

/* Answers to messages that the client has not sent. */
static void answers_unasked(void)
{
    struct rdisk_wire_size size = {
        .message.epoch = htole64(1),
        .size = htole64(1 << 20),
    };
    struct rdisk_wire_stat_reply stat = {
        .message.epoch = htole64(1),
        .size = htole64(1 << 20),
    };

    rogue_begin(1);
    rogue_take_read();
    rogue_say(RDISK_MSG_RESIZE_REPLY, &size, sizeof(size));
    ended("a call that was not made");
    rogue_begin(1);
    rogue_take_read();
    rogue_say(RDISK_MSG_STAT_REPLY, &stat, sizeof(stat));
    ended("a call that was not made");
}

static void volume_of_odd_size(void)
{
    struct rdisk_wire_size size = {
        .message.epoch = htole64(1),
        .size = htole64((1 << 20) - 512),
    };

    rogue_begin(1);
    rogue_take_read();
    rogue_say(RDISK_MSG_VOLUME_CHANGED, &size, sizeof(size));
    ended("made the volume smaller");
}

/* ---- A flood of messages ------------------------------------------------- */

static uint64_t (*real_now)(void *opaque);
static unsigned int flood_left;

static void send_size(void)
{
    struct rdisk_wire_size size = {
        .message.magic = htole32(RDISK_WIRE_MAGIC),
        .message.version = htole16(RDISK_WIRE_VERSION),
        .message.type = htole16(RDISK_MSG_VOLUME_CHANGED),
        .message.length = htole32(sizeof(size)),
        .message.epoch = htole64(1),
        .size = htole64((2 << 20) - 512ull * flood_left),
    };
    struct ibv_wc wc;

    memcpy(rogue_control.buffer, &size, sizeof(size));
    CHECK_EQUAL(raw_send(&rogue_control, 0, sizeof(size)), 0);
    while (raw_poll(&rogue_control, &wc)) {
    }
}

/* The victim looks at the clock for each message: there is another one. */
static uint64_t flooding_now(void *opaque)
{
    if (flood_left) {
        flood_left--;
        send_size();
    }
    return real_now(opaque);
}

static void flood_of_messages(void)
{
    rogue_begin(1);
    real_now = victim->env.now;
    victim->env.now = flooding_now;
    flood_left = 100;
    send_size();
    rdisk_initiator_process(victim->session);
    CHECK(victim->told_sizes >= 1);
    CHECK(victim->told_sizes <= 8);
    victim->env.now = real_now;
    /* The rest is taken all the same. */
    flood_left = 0;
    scene_pump(&rogue_scene);
    CHECK(victim->told_sizes > 8);
    CHECK_EQUAL(victim->state, RDISK_INITIATOR_READY);
    rogue_end();
}

static const struct unit_test tests[] = {
    { "(a good answer by hand works)", good_answer_works },
    { "a lease of more slots than granted ends the session",
      lease_of_more_slots },
    { "a lease of another slot size ends the session", lease_of_other_size },
    { "a lease for another queue ends the session", lease_for_another_queue },
    { "an answer with a wrong sequence ends the session", wrong_sequence },
    { "an answer for a slot beyond the lease ends the session", wrong_slot },
    { "an answer of all ones ends the session", huge_slot },
    { "a second answer ends the session, not the request again",
      answered_twice },
    { "an answer to nothing ends the session", answer_to_nothing },
    { "an unknown status is an I/O error", unknown_status },
    { "a failed read leaves the caller's memory alone",
      failed_read_copies_nothing },
    { "an empty message on a data queue ends the session",
      message_on_a_data_queue },
    { "a message on a data queue ends the session",
      long_message_on_a_data_queue },
    { "a write without a key touches nothing and ends the session",
      write_outside },
    { "a flood of answers ends the session", flood_of_answers },
    { "a ping from the server is answered", ping_is_answered },
    { "a pong without a ping ends the session", pong_without_ping },
    { "a second grant ends the session", second_grant },
    { "a message of another epoch ends the session", message_of_another_epoch },
    { "a BYE gives its reason", bye_with_a_reason },
    { "a MOVE that was not agreed ends the session", move_that_was_not_agreed },
    { "a client with one server stays there, whatever it is told",
      moves_without_end },
    { "an answer to no question ends the session", answers_unasked },
    { "a flood of messages does not keep the home thread", flood_of_messages },
    { "a volume that gets smaller ends the session", volume_of_odd_size },
};

UNIT_SUITE("hostile-server", tests)
