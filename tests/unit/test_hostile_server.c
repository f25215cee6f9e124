/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A server that keeps no protocol, against the real client: whatever it
 * answers, each request ends once and the client says what is wrong.
 */
#include <errno.h>
#include <stdlib.h>

#include "raw.h"
#include "scene.h"
#include "unit.h"

#define SAY     8192u       /* where control messages go out from */

static struct scene scene;
static struct scene_client *client = &scene.clients[0];
static struct raw control, data;
static struct rdisk_wire_accept lease;
static struct scene_io io;
static uint8_t buffer[4096] __attribute__((aligned(4096)));

/* ---- Manners ----------------------------------------------------------- */

static void fill_accept(struct rdisk_wire_accept *accept)
{
    memset(accept, 0, sizeof(*accept));
    accept->magic = htole32(RDISK_WIRE_MAGIC);
    accept->version = htole16(RDISK_WIRE_VERSION);
}

static void say(enum rdisk_message_type type, void *message, size_t size)
{
    struct rdisk_wire_message *header = message;

    header->magic = htole32(RDISK_WIRE_MAGIC);
    header->version = htole16(RDISK_WIRE_VERSION);
    header->type = htole16(type);
    header->length = htole32(size);
    memcpy(control.buffer + SAY, message, size);
    CHECK_EQUAL(raw_send(&control, SAY, (uint32_t)size), 0);
    scene_pump(&scene);
}

static void converse(void)
{
    struct rdisk_wire_hello hello = { .features = 0 };
    struct rdisk_wire_open_reply open = {
        .session = htole64(1), .epoch = htole64(1), .size = htole64(1 << 20),
        .block_size = htole32(512), .queues = htole16(1),
        .slots = htole16(1), .slot_size = htole32(4096),
    };
    struct rdisk_wire_accept accept;

    REQUIRE(raw_request(&control));
    for (unsigned int i = 0; i < 8; i++) {
        CHECK_EQUAL(raw_receive(&control, i * 512, 512), 0);
    }
    fill_accept(&accept);
    raw_accept(&control, &accept, sizeof(accept));
    scene_pump(&scene);
    say(RDISK_MSG_HELLO_REPLY, &hello, sizeof(hello));
    say(RDISK_MSG_OPEN_REPLY, &open, sizeof(open));
    CHECK_EQUAL(client->state, RDISK_INITIATOR_JOINING);
}

/* The client's queue has asked to join; lease is filled, to be spoilt. */
static void begin_joining(uint64_t seed)
{
    struct rdma_cm_id *id;

    scene_prepare(&scene, seed);
    raw_init(&control, scene.fabric, scene.server_host);
    raw_init(&data, scene.fabric, scene.server_host);
    raw_listen(&control, SCENE_PORT);
    scene_start(client);
    scene_pump(&scene);
    converse();
    id = control.id;
    /* ESTABLISHED of the control connection comes on the way. */
    do {
        REQUIRE(raw_event(&control));
    } while (control.event != RDMA_CM_EVENT_CONNECT_REQUEST);
    data.id = control.id;
    control.id = id;
    raw_endpoint(&data);
    for (unsigned int i = 0; i < 4; i++) {
        CHECK_EQUAL(raw_receive(&data, 0, 0), 0);
    }
    fill_accept(&lease);
    lease.queue = htole16(1);
    lease.slots = htole16(1);
    lease.max_segments = htole16(RDISK_SEGMENTS_MAX);
    lease.slot_size = htole32(4096);
    lease.base = htole64((uintptr_t)data.buffer);
    lease.rkey = htole32(data.mr->rkey);
    lease.stride = htole32(RDISK_HEADER_AREA + 4096);
}

static void accept_queue(void)
{
    raw_accept(&data, &lease, sizeof(lease));
    scene_pump(&scene);
}

static void begin(uint64_t seed)
{
    begin_joining(seed);
    accept_queue();
    REQUIRE(client->state == RDISK_INITIATOR_READY);
}

static void end(void)
{
    scene_drop(client);
    raw_destroy(&data);
    raw_destroy(&control);
    scene_end(&scene);
}

/* The client sends a read, and here is what arrived. */
static struct rdisk_wire_request *take_read(void)
{
    struct ibv_wc wc;

    memset(buffer, 0x11, sizeof(buffer));
    CHECK_EQUAL(scene_submit(&io, client, 0, RDISK_OP_READ, 4096, buffer,
                             4096), 0);
    rdisk_queue_kick(rdisk_initiator_queue(client->session, 0));
    scene_pump(&scene);
    REQUIRE(raw_poll(&data, &wc));
    CHECK_EQUAL(wc.status, IBV_WC_SUCCESS);
    CHECK_EQUAL(raw_receive(&data, 0, 0), 0);
    return (struct rdisk_wire_request *)(data.buffer + RDISK_HEADER_AREA) - 1;
}

static void answer(uint32_t imm)
{
    CHECK_EQUAL(raw_write(&data, 0, 0, 0, 0, imm), 0);
    scene_pump(&scene);
}

/* The request and the session have ended. */
static void ended(const char *words)
{
    scene_advance(&scene, 20000);
    CHECK_EQUAL(io.completed, 1);
    CHECK(io.result < 0);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
    CHECK_SAYS(rdisk_initiator_error(client->session)->text, words);
    end();
}

static void joining_failed(const char *words)
{
    accept_queue();
    CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
    CHECK_SAYS(rdisk_initiator_error(client->session)->text, words);
    end();
}

/* ---- Leases ------------------------------------------------------------ */

static void lease_of_more_slots(void)
{
    begin_joining(1);
    lease.slots = htole16(2);
    joining_failed("other slots");
}

static void lease_of_other_size(void)
{
    begin_joining(1);
    lease.slot_size = htole32(8192);
    lease.stride = htole32(RDISK_HEADER_AREA + 8192);
    joining_failed("other slots");
}

static void lease_for_another_queue(void)
{
    begin_joining(1);
    lease.queue = htole16(2);
    joining_failed("queue 2");
}

/* ---- Answers ----------------------------------------------------------- */

static void good_answer_works(void)
{
    struct rdisk_wire_request *wire;
    struct rdisk_wire_segment *segment;

    begin(1);
    wire = take_read();
    segment = (struct rdisk_wire_segment *)wire - 1;
    CHECK_EQUAL(wire->opcode, RDISK_OP_READ);
    CHECK_EQUAL(le64toh(wire->offset), 4096);
    CHECK_EQUAL(le16toh(wire->segments), 1);
    scene_pattern(data.buffer, 4096, 5);
    CHECK_EQUAL(raw_write(&data, 0, 4096, le64toh(segment->address),
                          le32toh(segment->key), rdisk_imm_answer(0, 0, 0)),
                0);
    scene_pump(&scene);
    CHECK_EQUAL(io.result, 0);
    CHECK(scene_is_pattern(buffer, 4096, 5));
    end();
}

static void wrong_sequence(void)
{
    begin(1);
    take_read();
    answer(rdisk_imm_answer(0, 1, 0));
    ended("broke");
}

static void wrong_slot(void)
{
    begin(1);
    take_read();
    answer(rdisk_imm_answer(1, 0, 0));
    ended("broke");
}

static void huge_slot(void)
{
    begin(1);
    take_read();
    answer(0xffffffff);
    ended("broke");
}

static void answered_twice(void)
{
    begin(1);
    take_read();
    answer(rdisk_imm_answer(0, 0, 0));
    CHECK_EQUAL(io.completed, 1);
    CHECK_EQUAL(io.result, 0);
    answer(rdisk_imm_answer(0, 0, 0));
    CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
    CHECK_EQUAL(io.completed, 1);
    end();
}

static void answer_to_nothing(void)
{
    begin(1);
    answer(rdisk_imm_answer(0, 0, 0));
    CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
    end();
}

static void unknown_status(void)
{
    begin(1);
    take_read();
    answer(rdisk_imm_answer(0, 0, 200));
    CHECK_EQUAL(io.completed, 1);
    CHECK_EQUAL(io.result, -EIO);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
    end();
}

static void failed_read_copies_nothing(void)
{
    struct rdisk_wire_request *wire;
    struct rdisk_wire_segment *segment;

    begin(1);
    wire = take_read();
    segment = (struct rdisk_wire_segment *)wire - 1;
    memset(data.buffer, 0x99, 4096);
    CHECK_EQUAL(raw_write(&data, 0, 4096, le64toh(segment->address),
                          le32toh(segment->key),
                          rdisk_imm_answer(0, 0, RDISK_STATUS_IO_ERROR)), 0);
    scene_pump(&scene);
    CHECK_EQUAL(io.result, -EIO);
    /* It went through bounce memory: the caller's is untouched. */
    CHECK_EQUAL(buffer[0], 0x11);
    end();
}

static void message_on_a_data_queue(void)
{
    begin(1);
    take_read();
    CHECK_EQUAL(raw_send(&data, 0, 0), 0);
    scene_pump(&scene);
    ended("broke");
}

static void long_message_on_a_data_queue(void)
{
    begin(1);
    take_read();
    CHECK_EQUAL(raw_send(&data, 0, 100), 0);
    scene_pump(&scene);
    ended("broke");
}

static void write_outside(void)
{
    begin(1);
    take_read();
    CHECK_EQUAL(raw_write(&data, 0, 16, (uintptr_t)buffer, 12345, -1), 0);
    scene_pump(&scene);
    CHECK_EQUAL(buffer[0], 0x11);
    ended("broke");
}

static void flood_of_answers(void)
{
    begin(1);
    take_read();
    for (unsigned int i = 0; i < 10; i++) {
        raw_write(&data, 0, 0, 0, 0, rdisk_imm_answer(0, i, 0));
    }
    scene_advance(&scene, 20000);
    CHECK_EQUAL(io.completed, 1);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
    end();
}

/* ---- Messages ---------------------------------------------------------- */

static void ping_is_answered(void)
{
    struct rdisk_wire_ping ping = {
        .message.epoch = htole64(1), .payload = htole64(4711),
    };
    const struct rdisk_wire_ping *pong = NULL;
    struct ibv_wc wc;

    begin(1);
    say(RDISK_MSG_PING, &ping, sizeof(ping));
    while (raw_poll(&control, &wc)) {
        if (wc.wr_id & RAW_RECV) {
            pong = (void *)(control.buffer + (uint32_t)wc.wr_id);
        }
    }
    REQUIRE(pong != NULL);
    CHECK_EQUAL(le16toh(pong->message.type), RDISK_MSG_PONG);
    CHECK_EQUAL(le64toh(pong->payload), 4711);
    end();
}

static void pong_without_ping(void)
{
    struct rdisk_wire_ping pong = { .message.epoch = htole64(1) };

    begin(1);
    take_read();
    say(RDISK_MSG_PONG, &pong, sizeof(pong));
    ended("PONG answers no PING");
}

static void second_grant(void)
{
    struct rdisk_wire_open_reply open = {
        .message.epoch = htole64(1),
        .session = htole64(1), .epoch = htole64(1), .size = htole64(1 << 20),
        .block_size = htole32(512), .queues = htole16(1),
        .slots = htole16(1), .slot_size = htole32(4096),
    };

    begin(1);
    take_read();
    say(RDISK_MSG_OPEN_REPLY, &open, sizeof(open));
    ended("out of turn");
}

static void message_of_another_epoch(void)
{
    struct rdisk_wire_ping ping = { .message.epoch = htole64(2) };

    begin(1);
    take_read();
    say(RDISK_MSG_PING, &ping, sizeof(ping));
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

    begin(1);
    take_read();
    say(RDISK_MSG_BYE, &bye, sizeof(bye));
    CHECK_EQUAL(io.result, -EIO);
    ended("replaced by you!");
}

static const struct unit_test tests[] = {
    { "(a good answer by hand works)", good_answer_works },
    { "a lease of more slots than granted ends the session",
      lease_of_more_slots },
    { "a lease of another slot size ends the session", lease_of_other_size },
    { "a lease for another queue ends the session",
      lease_for_another_queue },
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
    { "a message of another epoch ends the session",
      message_of_another_epoch },
    { "a BYE tells its reason", bye_with_a_reason },
};

UNIT_SUITE("hostile-server", tests)
