/* SPDX-License-Identifier: BSD-3-Clause */
/* Discard and zeroes: requests that name a range and carry nothing. */
#include <errno.h>
#include <stdlib.h>

#include "tests/unit/support/raw.h"
#include "tests/unit/support/scene.h"
#include "tests/unit/support/unit.h"
#include "transport/wire/request.h"

#define LONG_RANGE (SCENE_SIZE - 8192) /* many slots' worth */

static struct scene scene;
static struct scene_client *client = &scene.clients[0];

static void begin(bool ranges)
{
    scene_prepare(&scene, 1);
    scene.ranges = ranges;
    scene_serve(&scene);
    REQUIRE(scene_connect(client));
    scene_pattern(scene.disk, SCENE_SIZE, 7);
}

static bool is_filled(size_t from, size_t length, uint8_t byte)
{
    for (size_t i = from; i < from + length; i++) {
        if (scene.disk[i] != byte) {
            return false;
        }
    }
    return true;
}

static void offered_when_volume_has_them(void)
{
    begin(true);
    CHECK(rdisk_initiator_info(client->session)->discard);
    CHECK(rdisk_initiator_info(client->session)->zeroes);
    scene_end(&scene);
    begin(false);
    CHECK(!rdisk_initiator_info(client->session)->discard);
    CHECK(!rdisk_initiator_info(client->session)->zeroes);
    CHECK_EQUAL(scene_do(client, RDISK_OP_DISCARD, 0, NULL, 4096), -ENOTSUP);
    CHECK_EQUAL(scene_do(client, RDISK_OP_ZEROES, 0, NULL, 4096), -ENOTSUP);
    CHECK_EQUAL(scene.requests, 0);
    scene_end(&scene);
}

static void longer_than_a_slot(void)
{
    begin(true);
    CHECK(LONG_RANGE > rdisk_initiator_info(client->session)->max_transfer);
    CHECK_EQUAL(scene_do(client, RDISK_OP_ZEROES, 4096, NULL, LONG_RANGE), 0);
    CHECK_EQUAL(scene.requests, 1);
    CHECK(is_filled(4096, LONG_RANGE, 0));
    CHECK(scene_is_pattern(scene.disk, 4096, 7));
    CHECK_EQUAL(scene_do(client, RDISK_OP_DISCARD, 4096, NULL, LONG_RANGE), 0);
    CHECK(is_filled(4096, LONG_RANGE, 0xdd));
    scene_end(&scene);
}

static void range_is_checked(void)
{
    begin(true);
    CHECK_EQUAL(scene_do(client, RDISK_OP_DISCARD, 100, NULL, 4096), -EINVAL);
    CHECK_EQUAL(scene_do(client, RDISK_OP_DISCARD, 0, NULL, 100), -EINVAL);
    CHECK_EQUAL(scene_do(client, RDISK_OP_ZEROES, SCENE_SIZE - 512, NULL, 1024),
                -EINVAL);
    CHECK_EQUAL(scene_do(client, RDISK_OP_ZEROES, 0, NULL, 0), -EINVAL);
    CHECK_EQUAL(scene.requests, 0);
    scene_end(&scene);
}

static void counted_on_both_sides(void)
{
    struct rdisk_queue_counters counters = { 0 };

    begin(true);
    CHECK_EQUAL(scene_do(client, RDISK_OP_ZEROES, 0, NULL, 4096), 0);
    CHECK_EQUAL(scene_do(client, RDISK_OP_DISCARD, 0, NULL, 4096), 0);
    CHECK_EQUAL(scene_do(client, RDISK_OP_DISCARD, 0, NULL, 4096), 0);
    rdisk_queue_counters(rdisk_initiator_queue(client->session, 0), &counters);
    CHECK_EQUAL(counters.ops.count[RDISK_OP_ZEROES], 1);
    CHECK_EQUAL(counters.ops.count[RDISK_OP_DISCARD], 2);
    CHECK_EQUAL(counters.work_requests, 3);
    CHECK_EQUAL(counters.copied_bytes, 0);
    scene_end(&scene);
}

/* ---- On the wire ------------------------------------------------------- */

static enum rdisk_status check(struct rdisk_wire_request *wire, bool agreed,
                               bool read_only)
{
    struct rdisk_request_limits limits = {
        .epoch = 1,
        .size = 1ull << 40,
        .block_size = 512,
        .slot_size = 65536,
        .slot = 3,
        .immediate_sequence = 9,
        .read_only = read_only,
        .discard = agreed,
        .zeroes = agreed,
    };
    struct rdisk_request_view view;
    struct rdisk_error err;

    return rdisk_wire_check_request(wire, &limits, &view, &err);
}

static struct rdisk_wire_request range(enum rdisk_op op, uint8_t flags,
                                       uint32_t length)
{
    return (struct rdisk_wire_request) {
        .opcode = (uint8_t)op,
        .flags = flags,
        .slot = htole16(3),
        .length = htole32(length),
        .epoch = htole64(1),
        .sequence = htole32(9),
    };
}

static void wire_rules(void)
{
    struct rdisk_wire_request wire = range(RDISK_OP_DISCARD, 0,
                                           RDISK_RANGE_MAX);

    CHECK_EQUAL(check(&wire, true, false), RDISK_STATUS_OK);
    CHECK_EQUAL(check(&wire, false, false), RDISK_STATUS_UNSUPPORTED);
    CHECK_EQUAL(check(&wire, true, true), RDISK_STATUS_READ_ONLY);
    wire.length = htole32(RDISK_RANGE_MAX + 512);
    CHECK_EQUAL(check(&wire, true, false), RDISK_STATUS_BAD_MESSAGE);
    wire = range(RDISK_OP_DISCARD, RDISK_REQUEST_FUA, 512);
    CHECK_EQUAL(check(&wire, true, false), RDISK_STATUS_UNSUPPORTED);
    wire = range(RDISK_OP_ZEROES,
                 RDISK_REQUEST_FUA | RDISK_REQUEST_UNMAP | RDISK_REQUEST_FAST,
                 512);
    CHECK_EQUAL(check(&wire, true, false), RDISK_STATUS_OK);
    wire.flags = 1u << 3;
    CHECK_EQUAL(check(&wire, true, false), RDISK_STATUS_UNSUPPORTED);
    wire = range(RDISK_OP_ZEROES, 0, 512);
    wire.segments = htole16(1);
    CHECK_EQUAL(check(&wire, true, false), RDISK_STATUS_BAD_MESSAGE);
}

static const struct unit_test tests[] = {
    { "offered only when the volume has them", offered_when_volume_has_them },
    { "one request may be longer than any slot", longer_than_a_slot },
    { "the range is checked before it is sent", range_is_checked },
    { "they are counted, and cost one work request each",
      counted_on_both_sides },
    { "each rule of the wire refuses what breaks it", wire_rules },
};

UNIT_SUITE("ranges", tests)
