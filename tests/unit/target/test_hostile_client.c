/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connections and messages that keep no protocol: the server and
 * the honest client are unharmed.
 */
#include <errno.h>
#include <stdlib.h>

#include "tests/unit/support/hostile.h"
#include "tests/unit/support/unit.h"

/* ---- Keys and names ---------------------------------------------------- */

static void other_sessions_memory(void)
{
    void *memory;

    hostile_begin(1);
    hostile_join();
    memory = rdisk_target_queue_base(hostile_scene.queues[0].queue)->memory;
    memset(data.buffer, 0xee, 512);
    CHECK_EQUAL(raw_write(&data, 0, 512, (uintptr_t)memory, le32toh(lease.rkey),
                          -1),
                0);
    scene_advance(&hostile_scene, 20000);
    CHECK(hostile_answer() < 0);
    CHECK(((uint8_t *)memory)[0] != 0xee);
    hostile_end();
}

static void join_fails(const struct rdisk_wire_connect *wire,
                       enum rdisk_status status)
{
    const struct rdisk_wire_reject *reject = (void *)data.data;

    raw_connect_start(&data, "10.0.0.1", SCENE_PORT, wire, sizeof(*wire));
    CHECK(!hostile_connected(&data));
    CHECK_EQUAL(data.event, RDMA_CM_EVENT_REJECTED);
    CHECK_EQUAL(le16toh(reject->status), status);
    CHECK(le16toh(reject->text_length) > 0);
    hostile_end();
}

static void join_without_token(void)
{
    struct rdisk_wire_connect wire;

    hostile_begin(1);
    hostile_open_volume();
    hostile_fill_join(&wire);
    wire.token[15] ^= 1;
    join_fails(&wire, RDISK_STATUS_STALE);
}

static void join_of_no_session(void)
{
    struct rdisk_wire_connect wire;

    hostile_begin(1);
    hostile_open_volume();
    hostile_fill_join(&wire);
    wire.session ^= 1;
    join_fails(&wire, RDISK_STATUS_STALE);
}

static void join_of_old_epoch(void)
{
    struct rdisk_wire_connect wire;

    hostile_begin(1);
    hostile_open_volume();
    hostile_fill_join(&wire);
    wire.epoch = htole64(4);
    join_fails(&wire, RDISK_STATUS_STALE);
}

static void join_beyond_grant(void)
{
    struct rdisk_wire_connect wire;

    hostile_begin(1);
    hostile_open_volume();
    hostile_fill_join(&wire);
    wire.queue = htole16(3);
    join_fails(&wire, RDISK_STATUS_BAD_MESSAGE);
}

static void join_with_more_slots(void)
{
    struct rdisk_wire_connect wire;

    hostile_begin(1);
    hostile_open_volume();
    hostile_fill_join(&wire);
    wire.slots = htole16(5);
    join_fails(&wire, RDISK_STATUS_BAD_MESSAGE);
}

static void join_twice(void)
{
    const struct rdisk_wire_reject *reject;
    struct rdisk_wire_connect wire;
    struct raw again;

    hostile_begin(1);
    hostile_join();
    hostile_fill_join(&wire);
    raw_init(&again, hostile_scene.fabric, hostile_scene.clients[0].host);
    raw_connect_start(&again, "10.0.0.1", SCENE_PORT, &wire, sizeof(wire));
    CHECK(!hostile_connected(&again));
    reject = (void *)again.data;
    CHECK_EQUAL(le16toh(reject->status), RDISK_STATUS_BAD_MESSAGE);
    raw_destroy(&again);
    /* The first one is unharmed. */
    hostile_request();
    hostile_send_request(0, rdisk_imm_request(0, 0));
    CHECK_EQUAL(hostile_answer(), rdisk_imm_answer(0, 0, RDISK_STATUS_OK));
    hostile_end();
}

static void garbage_request_to_connect(void)
{
    uint8_t garbage[56];

    hostile_begin(1);
    memset(garbage, 0x5a, sizeof(garbage));
    raw_connect_start(&data, "10.0.0.1", SCENE_PORT, garbage, sizeof(garbage));
    CHECK(!hostile_connected(&data));
    CHECK_EQUAL(data.event, RDMA_CM_EVENT_REJECTED);
    hostile_end();
}

static void other_version(void)
{
    const struct rdisk_wire_reject *reject = (void *)data.data;
    struct rdisk_wire_connect wire;

    hostile_begin(1);
    hostile_fill_connect(&wire);
    wire.version = htole16(2);
    raw_connect_start(&data, "10.0.0.1", SCENE_PORT, &wire, sizeof(wire));
    CHECK(!hostile_connected(&data));
    CHECK_EQUAL(le16toh(reject->status), RDISK_STATUS_BAD_VERSION);
    CHECK_EQUAL(le16toh(reject->version), RDISK_WIRE_VERSION);
    CHECK(!memcmp(reject->text, "the peer speaks protocol version 2", 34));
    hostile_end();
}

/* ---- Messages ---------------------------------------------------------- */

static void garbage_message(void)
{
    struct rdisk_wire_message *reply;

    hostile_begin(1);
    memset(control.buffer + HOSTILE_SAY, 0xa5, 512);
    reply = hostile_say(512);
    REQUIRE(reply != NULL);
    CHECK_EQUAL(le16toh(reply->type), RDISK_MSG_BYE);
    CHECK_EQUAL(le16toh(reply->status), RDISK_STATUS_BAD_MESSAGE);
    hostile_end();
}

static void overlong_message(void)
{
    hostile_begin(1);
    CHECK_EQUAL(raw_send(&control, HOSTILE_SAY, 513), 0);
    scene_advance(&hostile_scene, 20000);
    CHECK_EQUAL(rdisk_target_sessions(hostile_scene.target), 1);
    hostile_end();
}

static void empty_message(void)
{
    struct rdisk_wire_message *reply;

    hostile_begin(1);
    reply = hostile_say(0);
    CHECK(reply && le16toh(reply->type) == RDISK_MSG_BYE);
    hostile_end();
}

static void open_before_hello(void)
{
    struct rdisk_wire_message *reply;

    hostile_begin(1);
    hostile_open_message();
    reply = hostile_say(sizeof(struct rdisk_wire_open));
    CHECK(reply && le16toh(reply->type) == RDISK_MSG_BYE);
    CHECK_EQUAL(hostile_scene.opens, 1);
    hostile_end();
}

static void open_twice(void)
{
    struct rdisk_wire_message *reply;

    hostile_begin(1);
    hostile_open_volume();
    hostile_open_message()->message.epoch = htole64(5);
    reply = hostile_say(sizeof(struct rdisk_wire_open));
    CHECK(reply && le16toh(reply->type) == RDISK_MSG_BYE);
    CHECK_EQUAL(hostile_scene.opens, 2);
    hostile_end();
}

static void unknown_required_feature(void)
{
    struct rdisk_wire_message *reply;
    struct rdisk_wire_hello *hello;
    char text[RDISK_TEXT_MAX + 1];

    hostile_begin(1);
    hello = hostile_message(RDISK_MSG_HELLO, sizeof(*hello));
    hello->features = htole64(UINT64_MAX);
    hello->required = htole64(1ull << 40);
    reply = hostile_say(sizeof(*hello));
    REQUIRE(reply != NULL);
    CHECK_EQUAL(le16toh(reply->type), RDISK_MSG_HELLO_REPLY);
    CHECK_EQUAL(le16toh(reply->status), RDISK_STATUS_UNSUPPORTED);
    rdisk_wire_text(reply, text, sizeof(text));
    CHECK_SAYS(text, "0x10000000000");
    hostile_end();
}

static void unknown_offered_feature(void)
{
    struct rdisk_wire_hello *hello;

    hostile_begin(1);
    hello = hostile_message(RDISK_MSG_HELLO, sizeof(*hello));
    hello->features = htole64(UINT64_MAX);
    hello = (void *)hostile_say(sizeof(*hello));
    REQUIRE(hello != NULL);
    CHECK_EQUAL(le16toh(hello->message.status), RDISK_STATUS_OK);
    CHECK_EQUAL(le64toh(hello->features),
                RDISK_FEATURES_KNOWN &
                    ~hostile_scene.options.withheld_features);
    hostile_end();
}

static void bad_name_is_answered(void)
{
    struct rdisk_wire_message *reply;

    hostile_begin(1);
    hostile_message(RDISK_MSG_HELLO, sizeof(struct rdisk_wire_hello));
    REQUIRE(hostile_say(sizeof(struct rdisk_wire_hello)) != NULL);
    memcpy(hostile_open_message()->name, "../", 3);
    reply = hostile_say(sizeof(struct rdisk_wire_open));
    REQUIRE(reply != NULL);
    CHECK_EQUAL(le16toh(reply->type), RDISK_MSG_OPEN_REPLY);
    CHECK_EQUAL(le16toh(reply->status), RDISK_STATUS_NO_VOLUME);
    hostile_end();
}

static void flood_of_pings(void)
{
    hostile_begin(1);
    hostile_open_volume();
    for (unsigned int i = 0; i < 200; i++) {
        struct rdisk_wire_ping *ping = hostile_message(RDISK_MSG_PING,
                                                       sizeof(*ping));
        struct ibv_wc wc;

        ping->message.epoch = htole64(5);
        raw_send(&control, HOSTILE_SAY, sizeof(*ping));
        fake_fabric_run(hostile_scene.fabric);
        if (i % 5 == 0) {
            scene_pump(&hostile_scene);
        }
        while (raw_poll(&control, &wc)) {
            /* Never gives a receive back: the server's answers pile up. */
        }
    }
    scene_advance(&hostile_scene, 20000);
    hostile_end();
}

/* ---- Chance ------------------------------------------------------------ */

static void random_messages(void)
{
    for (uint64_t seed = 1; seed <= 300; seed++) {
        hostile_begin(seed);
        if (seed % 2) {
            hostile_open_volume();
        } else {
            hostile_message(RDISK_MSG_HELLO, sizeof(struct rdisk_wire_hello));
            hostile_say(sizeof(struct rdisk_wire_hello));
        }
        for (unsigned int i = 0; i < 3; i++) {
            uint8_t *bytes = (uint8_t *)hostile_open_message();

            bytes[16] = 5;
            bytes[6] = (uint8_t)fake_fabric_random(hostile_scene.fabric, 10);
            for (unsigned int j = 0; j < 1 + i; j++) {
                bytes[fake_fabric_random(hostile_scene.fabric, 216)] = (uint8_t)
                    fake_fabric_random(hostile_scene.fabric, 256);
            }
            hostile_say(
                seed % 3 ? 216 : fake_fabric_random(hostile_scene.fabric, 513));
        }
        hostile_end();
    }
}

/* It would keep the memory that it was granted, and cost its maker nothing. */
static void open_and_no_queue(void)
{
    hostile_begin(1);
    hostile_open_volume();
    CHECK_EQUAL(rdisk_target_sessions(hostile_scene.target), 2);
    scene_advance(&hostile_scene,
                  hostile_scene.options.handshake_timeout_ms + 100);
    CHECK_EQUAL(rdisk_target_sessions(hostile_scene.target), 1);
    hostile_end();
}

static uint64_t (*plain_now)(void *opaque);
static uint64_t passed;

/* Time passes with each look at the clock, as it does. */
static uint64_t running_now(void *opaque)
{
    return plain_now(opaque) + (passed += 20000);
}

/* What the server does takes time, and it wakes a little after the handshake
 * was due: that does not prolong it without end. */
static void silent_beside_a_real_clock(void)
{
    uint64_t timeout;

    hostile_begin(1);
    timeout = hostile_scene.options.handshake_timeout_ms * RDISK_MSEC;
    hostile_open_volume();
    CHECK_EQUAL(rdisk_target_sessions(hostile_scene.target), 2);
    plain_now = hostile_scene.env.now;
    passed = 0;
    hostile_scene.env.now = running_now;
    for (unsigned int i = 0;
         i < 100 && rdisk_target_sessions(hostile_scene.target) == 2; i++) {
        uint64_t due = rdisk_target_deadline(hostile_scene.target);
        uint64_t now = hostile_scene.env.now(hostile_scene.env.opaque);

        /* To the millisecond, as a loop wakes. */
        if (due > now) {
            passed += due - now + RDISK_MSEC / 2;
        }
        rdisk_target_process(hostile_scene.target);
        fake_fabric_run(hostile_scene.fabric);
    }
    CHECK_EQUAL(rdisk_target_sessions(hostile_scene.target), 1);
    CHECK(passed <= 2 * timeout);
    hostile_scene.env.now = plain_now;
    hostile_end();
}

static const struct unit_test tests[] = {
    { "a silent handshake ends though the server's turns take time",
      silent_beside_a_real_clock },
    { "one session's key does not open another's slots",
      other_sessions_memory },
    { "a queue without the token may not join", join_without_token },
    { "a queue of no session may not join", join_of_no_session },
    { "a queue of an old epoch may not join", join_of_old_epoch },
    { "a queue beyond the grant may not join", join_beyond_grant },
    { "a queue with more slots than granted may not join",
      join_with_more_slots },
    { "a queue may not join twice", join_twice },
    { "a garbage connection request is rejected", garbage_request_to_connect },
    { "another version is rejected with a sentence", other_version },
    { "a garbage message ends the session", garbage_message },
    { "an overlong message ends the session", overlong_message },
    { "an empty message ends the session", empty_message },
    { "OPEN before HELLO ends the session", open_before_hello },
    { "a second OPEN ends the session", open_twice },
    { "an OPEN that no queue follows is dropped", open_and_no_queue },
    { "an unknown required feature is named", unknown_required_feature },
    { "an unknown offered feature is not chosen", unknown_offered_feature },
    { "a volume name out of the rules is answered", bad_name_is_answered },
    { "a flood of pings harms no other client", flood_of_pings },
    { "random messages harm no other client", random_messages },
};

UNIT_SUITE("hostile-client", tests)
