/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages of slots that come and go that keep no protocol. */
#include "tests/unit/support/hostile.h"
#include "tests/unit/support/unit.h"
#include "transport/target/session.h"

static struct rdisk_wire_slots granted;

static void begin(uint64_t features)
{
    struct rdisk_error err;

    hostile_begin(1);
    hostile_scene.options.withheld_features = 0;
    REQUIRE(rdisk_target_set_limits(hostile_scene.target,
                                    &hostile_scene.options, &err) == 0);
    hostile_features = features;
    hostile_join();
}

static struct rdisk_wire_slots *slots_message(enum rdisk_message_type type,
                                              unsigned int first,
                                              unsigned int count)
{
    struct rdisk_wire_slots *wire = hostile_message(type, sizeof(*wire));

    wire->message.epoch = htole64(5);
    wire->queue = htole16(1);
    wire->first = htole16((uint16_t)first);
    wire->count = htole16((uint16_t)count);
    return wire;
}

static void send_message(size_t size)
{
    CHECK_EQUAL(raw_send(&control, HOSTILE_SAY, (uint32_t)size), 0);
    scene_pump(&hostile_scene);
}

static void send_slots(enum rdisk_message_type type, unsigned int first,
                       unsigned int count)
{
    slots_message(type, first, count);
    send_message(sizeof(struct rdisk_wire_slots));
}

static void send_ack(void)
{
    struct rdisk_wire_message *ack = hostile_message(RDISK_MSG_SLOTS_ACK,
                                                     sizeof(*ack));

    ack->epoch = htole64(5);
    send_message(sizeof(*ack));
}

/* The messages that have come: acknowledgements, and the last grant. */
static unsigned int take(void)
{
    unsigned int acks = 0;
    struct ibv_wc wc;

    while (raw_poll(&control, &wc)) {
        uint32_t offset = (uint32_t)wc.wr_id;
        struct rdisk_wire_message *wire = (void *)(control.buffer + offset);

        if (wc.status != IBV_WC_SUCCESS || !(wc.wr_id & RAW_RECV)) {
            continue;
        }
        acks += le16toh(wire->type) == RDISK_MSG_SLOTS_ACK;
        if (le16toh(wire->type) == RDISK_MSG_SLOTS_GRANT) {
            memcpy(&granted, wire, sizeof(granted));
        }
        CHECK_EQUAL(raw_receive(&control, offset, 512), 0);
    }
    return acks;
}

/* Four slots, and no more: the numbers after the base's. */
static void get_slots(void)
{
    memset(&granted, 0, sizeof(granted));
    send_slots(RDISK_MSG_SLOTS_WANT, 0, 4);
    CHECK_EQUAL(take(), 1);
    CHECK_EQUAL(le16toh(granted.queue), 1);
    CHECK_EQUAL(le16toh(granted.first), 4);
    CHECK_EQUAL(le16toh(granted.count), 4);
    CHECK_EQUAL(le32toh(granted.slot_size), 8192);
    send_ack();
}

/* A flush in slot 4. */
static void send_request(void)
{
    struct rdisk_wire_request *wire = hostile_request();

    wire->opcode = RDISK_OP_FLUSH;
    wire->length = 0;
    wire->slot = htole16(4);
    CHECK_EQUAL(raw_write(&data, 8192, sizeof(*wire),
                          le64toh(granted.base) + RDISK_HEADER_AREA -
                              sizeof(*wire),
                          le32toh(granted.rkey), rdisk_imm_request(4, 0)),
                0);
    scene_pump(&hostile_scene);
}

static void thrown_out(const char *words)
{
    hostile_thrown_out();
    CHECK_SAYS(bye_text, words);
    hostile_end();
}

static void good_ones_work(void)
{
    begin(RDISK_FEATURE_SLOTS);
    get_slots();
    send_request();
    CHECK_EQUAL(hostile_answer(), rdisk_imm_answer(4, 0, RDISK_STATUS_OK));
    send_slots(RDISK_MSG_SLOTS_RETURN, 4, 4);
    CHECK_EQUAL(take(), 1);
    CHECK_EQUAL(hostile_scene.target->growth, 0);
    get_slots();
    hostile_end();
}

static void not_agreed(void)
{
    begin(RDISK_FEATURE_BARE);
    send_slots(RDISK_MSG_SLOTS_WANT, 0, 1);
    thrown_out("not agreed on");
}

static void other_queue(void)
{
    begin(RDISK_FEATURE_SLOTS);
    slots_message(RDISK_MSG_SLOTS_WANT, 0, 1)->queue = htole16(2);
    send_message(sizeof(struct rdisk_wire_slots));
    thrown_out("has not joined");
}

static void malformed(void)
{
    begin(RDISK_FEATURE_SLOTS);
    slots_message(RDISK_MSG_SLOTS_WANT, 0, 1)->rkey = htole32(1);
    send_message(sizeof(struct rdisk_wire_slots));
    thrown_out("not zero");
}

static void ack_of_nothing(void)
{
    begin(RDISK_FEATURE_SLOTS);
    send_ack();
    thrown_out("SLOTS_ACK without");
}

static void return_of_nothing(void)
{
    begin(RDISK_FEATURE_SLOTS);
    send_slots(RDISK_MSG_SLOTS_RETURN, 4, 4);
    thrown_out("not granted");
}

static void return_of_the_base(void)
{
    begin(RDISK_FEATURE_SLOTS);
    send_slots(RDISK_MSG_SLOTS_RETURN, 0, 4);
    thrown_out("not granted");
}

static void return_of_a_part(void)
{
    begin(RDISK_FEATURE_SLOTS);
    get_slots();
    send_slots(RDISK_MSG_SLOTS_RETURN, 4, 3);
    thrown_out("not granted");
}

static void return_in_use(void)
{
    begin(RDISK_FEATURE_SLOTS);
    get_slots();
    hostile_scene.park = true;
    send_request();
    send_slots(RDISK_MSG_SLOTS_RETURN, 4, 4);
    hostile_scene.park = false;
    scene_unpark(&hostile_scene, 1);
    thrown_out("not answered");
}

static void request_in_no_slot(void)
{
    begin(RDISK_FEATURE_SLOTS);
    hostile_request()->slot = htole16(4);
    hostile_send_request(0, rdisk_imm_request(4, 0));
    CHECK(hostile_answer() < 0);
    thrown_out("not granted");
}

/* It has returned them, and the key with them. */
static void request_after_return(void)
{
    begin(RDISK_FEATURE_SLOTS);
    get_slots();
    send_slots(RDISK_MSG_SLOTS_RETURN, 4, 4);
    CHECK_EQUAL(take(), 1);
    send_request();
    CHECK(hostile_answer() < 0);
    scene_advance(&hostile_scene, 3000);
    hostile_end();
}

/* The server keeps to itself what it would grant next. */
static void no_ack(void)
{
    begin(RDISK_FEATURE_SLOTS);
    memset(&granted, 0, sizeof(granted));
    send_slots(RDISK_MSG_SLOTS_WANT, 0, 4);
    CHECK_EQUAL(take(), 1);
    CHECK_EQUAL(le16toh(granted.count), 4);
    memset(&granted, 0, sizeof(granted));
    send_slots(RDISK_MSG_SLOTS_RETURN, 4, 4);
    send_slots(RDISK_MSG_SLOTS_WANT, 0, 4);
    CHECK_EQUAL(take(), 2);
    CHECK_EQUAL(le16toh(granted.count), 0);
    send_ack();
    take();
    CHECK_EQUAL(le16toh(granted.count), 4);
    hostile_end();
}

static const struct unit_test tests[] = {
    { "slots are granted, used and returned", good_ones_work },
    { "slots without the feature end the session", not_agreed },
    { "slots for a queue that has not joined end the session", other_queue },
    { "fields that are not zero end the session", malformed },
    { "an acknowledgement of nothing ends the session", ack_of_nothing },
    { "a return of what is not granted ends the session", return_of_nothing },
    { "a return of the base ends the session", return_of_the_base },
    { "a return of a part of a grant ends the session", return_of_a_part },
    { "a return of slots in use ends the session", return_in_use },
    { "a request in a slot that is not granted ends the session",
      request_in_no_slot },
    { "a request in a slot that was returned opens nothing",
      request_after_return },
    { "without an acknowledgement there is no further grant", no_ack },
};

UNIT_SUITE("hostile-slots", tests)
