/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests that keep no protocol: the server and
 * the honest client are unharmed.
 */
#include <errno.h>
#include <stdlib.h>

#include "tests/unit/support/hostile.h"
#include "tests/unit/support/unit.h"

static void good_request_works(void)
{
    hostile_begin(1);
    hostile_join();
    hostile_request();
    hostile_send_request(0, rdisk_imm_request(0, 0));
    CHECK_EQUAL(hostile_answer(), rdisk_imm_answer(0, 0, RDISK_STATUS_OK));
    hostile_end();
}

/* A spoilt request ends the session and reaches no owner. */
static void ends_session(unsigned int slot, uint32_t imm)
{
    unsigned int before = hostile_scene.requests;

    hostile_send_request(slot, imm);
    CHECK(hostile_answer() < 0);
    hostile_thrown_out();
    CHECK_EQUAL(hostile_scene.requests, before);
    hostile_end();
}

static void garbage_header(void)
{
    hostile_begin(1);
    hostile_join();
    memset(hostile_request(), 0xff, sizeof(struct rdisk_wire_request));
    ends_session(0, rdisk_imm_request(0, 0xffff));
}

static void wrong_slot(void)
{
    hostile_begin(1);
    hostile_join();
    hostile_request()->slot = htole16(1);
    ends_session(0, rdisk_imm_request(0, 0));
}

static void slot_beyond_lease(void)
{
    hostile_begin(1);
    hostile_join();
    hostile_request();
    ends_session(0, rdisk_imm_request(4, 0));
}

static void slot_far_beyond_lease(void)
{
    hostile_begin(1);
    hostile_join();
    hostile_request();
    ends_session(0, rdisk_imm_request(0xffff, 0xffff));
}

static void wrong_sequence(void)
{
    hostile_begin(1);
    hostile_join();
    hostile_request();
    ends_session(0, rdisk_imm_request(0, 1));
}

static void stale_epoch(void)
{
    hostile_begin(1);
    hostile_join();
    hostile_request()->epoch = htole64(4);
    ends_session(0, rdisk_imm_request(0, 0));
}

static void longer_than_slot(void)
{
    hostile_begin(1);
    hostile_join();
    hostile_request()->length = htole32(8192 + 512);
    ends_session(0, rdisk_imm_request(0, 0));
}

static void huge_length(void)
{
    hostile_begin(1);
    hostile_join();
    hostile_request()->length = htole32(UINT32_MAX - 511);
    ends_session(0, rdisk_imm_request(0, 0));
}

static void huge_segment_count(void)
{
    struct rdisk_wire_request *wire;

    hostile_begin(1);
    hostile_join();
    wire = hostile_request();
    wire->opcode = RDISK_OP_READ;
    wire->segments = htole16(0xffff);
    ends_session(0, rdisk_imm_request(0, 0));
}

static void more_segments_than_agreed(void)
{
    struct rdisk_wire_request *wire;
    uint32_t size = 64 + 101 * 16;

    hostile_begin_limited(1, 200);
    hostile_join();
    CHECK_EQUAL(le16toh(lease.max_segments), 100);
    wire = hostile_request();
    wire->opcode = RDISK_OP_READ;
    wire->segments = htole16(101);
    wire->length = htole32(8192);
    CHECK_EQUAL(raw_write(&data, 8192 + 64 - size, size,
                          hostile_header_address(0) + 64 - size,
                          le32toh(lease.rkey), rdisk_imm_request(0, 0)),
                0);
    scene_pump(&hostile_scene);
    CHECK(hostile_answer() < 0);
    hostile_thrown_out();
    CHECK_SAYS(bye_text, "the agreed limit is 100");
    hostile_end();
}

/* A read whose only segment has @bytes. */
static void read_request(uint32_t bytes, uint64_t address, uint32_t key)
{
    struct rdisk_wire_request *wire = hostile_request();
    struct rdisk_wire_segment *segment = (struct rdisk_wire_segment *)wire - 1;

    wire->opcode = RDISK_OP_READ;
    wire->segments = htole16(1);
    segment->address = htole64(address);
    segment->length = htole32(bytes);
    segment->key = htole32(key);
    CHECK_EQUAL(raw_write(&data, 8192 - 16, 64 + 16,
                          hostile_header_address(0) - 16, le32toh(lease.rkey),
                          rdisk_imm_request(0, 0)),
                0);
    scene_pump(&hostile_scene);
}

static void good_read_works(void)
{
    hostile_begin(1);
    hostile_join();
    scene_pattern(hostile_scene.disk, 512, 3);
    read_request(512, (uintptr_t)data.buffer, data.mr->rkey);
    CHECK_EQUAL(hostile_answer(), rdisk_imm_answer(0, 0, RDISK_STATUS_OK));
    CHECK(scene_is_pattern(data.buffer, 512, 3));
    hostile_end();
}

static void segments_too_short(void)
{
    hostile_begin(1);
    hostile_join();
    read_request(511, (uintptr_t)data.buffer, data.mr->rkey);
    CHECK(hostile_answer() < 0);
    hostile_thrown_out();
    hostile_end();
}

static void segments_too_long(void)
{
    hostile_begin(1);
    hostile_join();
    read_request(8192, (uintptr_t)data.buffer, data.mr->rkey);
    CHECK(hostile_answer() < 0);
    hostile_thrown_out();
    hostile_end();
}

static void segment_with_wrong_key(void)
{
    hostile_begin(1);
    hostile_join();
    read_request(512, (uintptr_t)data.buffer, 0x1234567);
    CHECK(hostile_answer() < 0);
    scene_advance(&hostile_scene, 20000);
    CHECK_EQUAL(rdisk_target_sessions(hostile_scene.target), 1);
    hostile_end();
}

static void busy_slot(void)
{
    hostile_begin(1);
    hostile_join();
    hostile_scene.park = true;
    hostile_request();
    hostile_send_request(0, rdisk_imm_request(0, 0));
    CHECK_EQUAL(hostile_scene.parked_count, 1);
    hostile_request()->sequence = htole32(1);
    hostile_send_request(0, rdisk_imm_request(0, 1));
    CHECK_EQUAL(hostile_scene.parked_count, 1);
    /* The owner still holds the first: only then can the queue end. */
    CHECK_EQUAL(rdisk_target_sessions(hostile_scene.target), 2);
    hostile_scene.park = false;
    scene_unpark(&hostile_scene, 1);
    CHECK(hostile_answer() < 0);
    hostile_thrown_out();
    hostile_end();
}

static void header_changes_after_the_check(void)
{
    hostile_begin(1);
    hostile_join();
    hostile_scene.park = true;
    hostile_request()->offset = htole64(512);
    hostile_send_request(0, rdisk_imm_request(0, 0));
    REQUIRE(hostile_scene.parked_count == 1);
    /* Another offset, length and operation, without an immediate. */
    memset(data.buffer + 8192, 0xff, 64);
    CHECK_EQUAL(raw_write(&data, 8192, 64, hostile_header_address(0),
                          le32toh(lease.rkey), -1),
                0);
    scene_pump(&hostile_scene);
    CHECK_EQUAL(hostile_scene.parked[0]->offset, 512);
    CHECK_EQUAL(hostile_scene.parked[0]->length, 512);
    CHECK_EQUAL(hostile_scene.parked[0]->op, RDISK_OP_WRITE);
    hostile_scene.park = false;
    scene_unpark(&hostile_scene, 1);
    scene_pump(&hostile_scene);
    CHECK_EQUAL(hostile_answer(), rdisk_imm_answer(0, 0, RDISK_STATUS_OK));
    hostile_end();
}

static void refusals_keep_the_connection(void)
{
    static const struct {
        uint8_t opcode, flags;
        uint32_t length;
        uint64_t offset;
        enum rdisk_status status;
    } cases[] = {
        { RDISK_OP_WRITE, 0, 100, 0, RDISK_STATUS_MISALIGNED },
        { RDISK_OP_WRITE, 0, 512, 100, RDISK_STATUS_MISALIGNED },
        { RDISK_OP_WRITE, 0, 0, 0, RDISK_STATUS_MISALIGNED },
        { RDISK_OP_WRITE, 0, 512, SCENE_SIZE, RDISK_STATUS_OUT_OF_RANGE },
        { RDISK_OP_WRITE, 0, 512, UINT64_MAX - 511, RDISK_STATUS_OUT_OF_RANGE },
        { RDISK_OP_WRITE, 0x80, 512, 0, RDISK_STATUS_UNSUPPORTED },
        { 99, 0, 512, 0, RDISK_STATUS_UNSUPPORTED },
        { RDISK_OP_WRITE, 0, 512, 0, RDISK_STATUS_OK },
    };

    hostile_begin(1);
    hostile_join();
    for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rdisk_wire_request *wire = hostile_request();

        wire->opcode = cases[i].opcode;
        wire->flags = cases[i].flags;
        wire->length = htole32(cases[i].length);
        wire->offset = htole64(cases[i].offset);
        wire->sequence = htole32(i);
        wire->slot = htole16(2);
        hostile_send_request(2, rdisk_imm_request(2, i));
        CHECK_EQUAL(hostile_answer(), rdisk_imm_answer(2, i, cases[i].status));
    }
    CHECK_EQUAL(hostile_scene.requests, 1);
    hostile_end();
}

static unsigned int refusals_logged;

static void count_refusals(void *opaque, enum rdisk_log_level level,
                           const char *line)
{
    refusals_logged += strstr(line, "request refused") != NULL;
}

static void refusals_are_few_lines(void)
{
    hostile_begin(1);
    hostile_scene.env.log = count_refusals;
    refusals_logged = 0;
    hostile_join();
    for (uint32_t i = 0; i < 8; i++) {
        struct rdisk_wire_request *wire = hostile_request();

        wire->length = htole32(100);
        wire->sequence = htole32(i);
        hostile_send_request(0, rdisk_imm_request(0, (uint16_t)i));
        CHECK_EQUAL(hostile_answer(),
                    rdisk_imm_answer(0, i, RDISK_STATUS_MISALIGNED));
    }
    /* The 1st, 2nd, 4th and 8th. */
    CHECK_EQUAL(refusals_logged, 4);
    hostile_end();
}

static void message_on_a_data_queue(void)
{
    hostile_begin(1);
    hostile_join();
    CHECK_EQUAL(raw_send(&data, 0, 16), 0);
    scene_advance(&hostile_scene, 3000);
    CHECK_EQUAL(rdisk_target_sessions(hostile_scene.target), 1);
    hostile_end();
}

static void flood_of_requests(void)
{
    hostile_begin(1);
    hostile_join();
    hostile_scene.park = true;
    /* More than the server has receives for: the device pushes back. */
    for (uint32_t i = 0; i < RAW_DEPTH; i++) {
        struct rdisk_wire_request *wire = hostile_request();

        wire->slot = htole16((uint16_t)(i % 4));
        wire->sequence = htole32(i);
        raw_write(&data, 8192, sizeof(*wire), hostile_header_address(i % 4),
                  le32toh(lease.rkey), rdisk_imm_request(i % 4, i));
        fake_fabric_run(hostile_scene.fabric);
    }
    scene_pump(&hostile_scene);
    hostile_scene.park = false;
    scene_unpark(&hostile_scene, hostile_scene.parked_count);
    scene_advance(&hostile_scene, 20000);
    CHECK_EQUAL(rdisk_target_sessions(hostile_scene.target), 1);
    hostile_end();
}

/* ---- Chance ------------------------------------------------------------ */

static void random_requests(void)
{
    for (uint64_t seed = 1; seed <= 300; seed++) {
        hostile_begin(seed);
        hostile_join();
        for (unsigned int i = 0; i < 6; i++) {
            uint8_t *bytes = (uint8_t *)hostile_request() - 64;
            unsigned int slot = (unsigned int)
                fake_fabric_random(hostile_scene.fabric, 4);
            uint32_t imm = rdisk_imm_request((uint16_t)slot, i);

            ((struct rdisk_wire_request *)(bytes + 64))->slot = htole16(
                (uint16_t)slot);
            ((struct rdisk_wire_request *)(bytes + 64))->sequence = htole32(i);
            for (unsigned int j = 0; j < i; j++) {
                bytes[fake_fabric_random(hostile_scene.fabric, 128)] = (uint8_t)
                    fake_fabric_random(hostile_scene.fabric, 256);
            }
            raw_write(&data, 8192 - 64, 128, hostile_header_address(slot) - 64,
                      le32toh(lease.rkey), imm);
            scene_pump(&hostile_scene);
        }
        hostile_end();
    }
}

/* ---- Fenced ------------------------------------------------------------ */

static struct rdisk_target_session *hostile_session(void)
{
    for (unsigned int i = 0; i < SCENE_HOLDERS; i++) {
        if (hostile_scene.holders[i].session &&
            hostile_scene.holders[i].request.epoch == 5) {
            return hostile_scene.holders[i].session;
        }
    }
    return NULL;
}

/* "rdisk drain", or the end of the server, gives it time; "rdisk fence" then
 * takes the time away. */
static void fenced_while_it_drains(void)
{
    struct rdisk_target_session *session;
    unsigned int before;

    hostile_begin(1);
    hostile_join();
    session = hostile_session();
    REQUIRE(session != NULL);
    rdisk_target_session_end(session, RDISK_STATUS_SHUTTING_DOWN, "drained");
    scene_pump(&hostile_scene);
    rdisk_target_session_end(session, RDISK_STATUS_STALE, "taken away");
    before = hostile_scene.requests;
    memset(hostile_scene.disk, 0, 512);
    hostile_request();
    memset(data.buffer + 8192 + sizeof(struct rdisk_wire_request), 'w', 512);
    raw_write(&data, 8192, sizeof(struct rdisk_wire_request) + 512,
              hostile_header_address(0), le32toh(lease.rkey),
              rdisk_imm_request(0, 0));
    scene_pump(&hostile_scene);
    CHECK_EQUAL(hostile_scene.requests, before);
    CHECK_EQUAL(hostile_scene.disk[0], 0);
    hostile_end();
}

static const struct unit_test tests[] = {
    { "(a good write by hand works)", good_request_works },
    { "(a good read by hand works)", good_read_works },
    { "a garbage header ends the session", garbage_header },
    { "a header of another slot ends the session", wrong_slot },
    { "a slot beyond the lease ends the session", slot_beyond_lease },
    { "a slot far beyond the lease ends the session", slot_far_beyond_lease },
    { "a wrong sequence ends the session", wrong_sequence },
    { "a stale epoch ends the session", stale_epoch },
    { "a length beyond the slot ends the session", longer_than_slot },
    { "a huge length ends the session", huge_length },
    { "a huge count of segments ends the session", huge_segment_count },
    { "more segments than the lease allows end the session",
      more_segments_than_agreed },
    { "segments shorter than the read end the session", segments_too_short },
    { "segments longer than the read end the session", segments_too_long },
    { "a segment with a wrong key ends the session", segment_with_wrong_key },
    { "a request in a busy slot ends the session, after the first", busy_slot },
    { "a header changed after its check changes nothing",
      header_changes_after_the_check },
    { "a refused request keeps the connection", refusals_keep_the_connection },
    { "refused requests fill no log", refusals_are_few_lines },
    { "a message on a data queue ends the session", message_on_a_data_queue },
    { "a flood of requests ends the session", flood_of_requests },
    { "random requests harm no other client", random_requests },
    { "a client that is fenced while it drains writes nothing more",
      fenced_while_it_drains },
};

UNIT_SUITE("hostile-request", tests)
