/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A server that writes where it should not, or when: what of the guest's
 * memory it reaches with each guest-memory.
 */
#include <errno.h>

#include "tests/unit/support/rogue.h"
#include "tests/unit/support/unit.h"

static struct rdisk_error err;
/* What the victim has registered: the read goes to the middle. */
static uint8_t guest[3 * 4096] __attribute__((aligned(4096)));
static uint8_t *const inside = guest + 4096;
static uint64_t address; /* of the read's segment */
static uint32_t key;

static void begin(uint64_t seed, enum rdisk_guest_memory guest_memory)
{
    rogue_guest_memory = guest_memory;
    rogue_begin(seed);
    memset(guest, 0x11, sizeof(guest));
    REQUIRE(rdisk_initiator_register(victim->session, guest, sizeof(guest),
                                     &err) == 0);
}

/* The victim reads into the middle; here is what the server learns of it. */
static void read_inside(unsigned int expected_sequence)
{
    struct rdisk_wire_segment *segment;
    struct rdisk_wire_request *wire;

    wire = rogue_take_read_into(inside);
    CHECK_EQUAL(le32toh(wire->sequence), expected_sequence);
    CHECK_EQUAL(le16toh(wire->segments), 1);
    segment = (struct rdisk_wire_segment *)wire - 1;
    address = le64toh(segment->address);
    key = le32toh(segment->key);
}

static void end(void)
{
    scene_advance(&rogue_scene, 20000);
    CHECK_EQUAL(victim->outstanding, 0);
    rdisk_initiator_unregister(victim->session, guest, sizeof(guest));
    rogue_end();
}

static enum ibv_wc_status last_send(void)
{
    enum ibv_wc_status status = IBV_WC_SUCCESS;
    struct ibv_wc wc;

    while (raw_poll(&rogue_data, &wc)) {
        if (!(wc.wr_id & RAW_RECV)) {
            status = wc.status;
        }
    }
    return status;
}

/* A write of 8 bytes that the protocol knows nothing of. */
static enum ibv_wc_status intrude(uint64_t where, uint32_t with)
{
    memcpy(rogue_data.buffer, "intruder", 8);
    CHECK_EQUAL(raw_write(&rogue_data, 0, 8, where, with, -1), 0);
    scene_pump(&rogue_scene);
    return last_send();
}

static void answer_well(unsigned int sequence)
{
    scene_pattern(rogue_data.buffer, 4096, 5 + sequence);
    CHECK_EQUAL(raw_write(&rogue_data, 0, 4096, address, key,
                          rdisk_imm_answer(0, (uint8_t)sequence, 0)),
                0);
    scene_pump(&rogue_scene);
    CHECK_EQUAL(rogue_io.completed, 1);
    CHECK_EQUAL(rogue_io.result, 0);
    CHECK(scene_is_pattern(inside, 4096, 5 + sequence));
}

static bool untouched(const uint8_t *from, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (from[i] != 0x11) {
            return false;
        }
    }
    return true;
}

static void session_ended(void)
{
    scene_advance(&rogue_scene, 20000);
    CHECK_EQUAL(victim->state, RDISK_INITIATOR_FAILED);
}

/* ---- direct: what it does not protect from ------------------------------ */

static void direct_late_write_lands(void)
{
    begin(1, RDISK_GUEST_MEMORY_DIRECT);
    read_inside(0);
    answer_well(0);
    CHECK_EQUAL(intrude(address, key), IBV_WC_SUCCESS);
    CHECK(!memcmp(inside, "intruder", 8));
    CHECK_EQUAL(intrude(address - 4096, key), IBV_WC_SUCCESS);
    CHECK(!memcmp(guest, "intruder", 8));
    end();
}

/* ---- window ------------------------------------------------------------ */

static void window_answers(void)
{
    uint32_t first;

    begin(1, RDISK_GUEST_MEMORY_WINDOW);
    read_inside(0);
    CHECK_EQUAL(address, (uintptr_t)inside);
    first = key;
    answer_well(0);
    for (unsigned int i = 1; i < 20; i++) {
        read_inside(i);
        CHECK(key != first);
        answer_well(i);
        CHECK(!fake_host_exposes(victim->host, guest, sizeof(guest)));
    }
    CHECK(untouched(guest, 4096) && untouched(inside + 4096, 4096));
    end();
}

static void window_outside(void)
{
    static const int64_t offsets[] = { -4096, -1, 4089, 4096 };

    for (size_t i = 0; i < 4; i++) {
        begin(1, RDISK_GUEST_MEMORY_WINDOW);
        read_inside(0);
        CHECK_EQUAL(intrude(address + (uint64_t)offsets[i], key),
                    IBV_WC_REM_ACCESS_ERR);
        CHECK(untouched(guest, sizeof(guest)));
        session_ended();
        CHECK_EQUAL(rogue_io.completed, 1);
        CHECK(rogue_io.result < 0);
        end();
    }
}

static void window_late(void)
{
    begin(1, RDISK_GUEST_MEMORY_WINDOW);
    read_inside(0);
    answer_well(0);
    CHECK_EQUAL(intrude(address, key), IBV_WC_REM_ACCESS_ERR);
    CHECK(scene_is_pattern(inside, 4096, 5));
    session_ended();
    end();
}

/* The key of an older read while a newer one is in flight. */
static void window_older_key(void)
{
    uint32_t old;

    begin(1, RDISK_GUEST_MEMORY_WINDOW);
    read_inside(0);
    old = key;
    answer_well(0);
    memset(inside, 0x11, 4096);
    read_inside(1);
    CHECK_EQUAL(intrude(address, old), IBV_WC_REM_ACCESS_ERR);
    CHECK(untouched(guest, sizeof(guest)));
    session_ended();
    end();
}

static void window_other_queue(void)
{
    enum ibv_wc_status status = IBV_WC_SUCCESS;
    struct ibv_wc wc;

    begin(1, RDISK_GUEST_MEMORY_WINDOW);
    read_inside(0);
    memcpy(rogue_control.buffer, "intruder", 8);
    CHECK_EQUAL(raw_write(&rogue_control, 0, 8, address, key, -1), 0);
    scene_pump(&rogue_scene);
    while (status == IBV_WC_SUCCESS && raw_poll(&rogue_control, &wc)) {
        status = wc.wr_id & RAW_RECV ? status : wc.status;
    }
    CHECK_EQUAL(status, IBV_WC_REM_ACCESS_ERR);
    CHECK(untouched(guest, sizeof(guest)));
    session_ended();
    end();
}

static uint8_t at_completion[4096];

static void remember(struct rdisk_request *request, int result)
{
    memcpy(at_completion, inside, 4096);
    rogue_io.completed++;
    rogue_io.result = result;
    victim->outstanding--;
}

/* Writes behind the answer, in any order of events: until the request ends its
 * memory is the server's, from then on it is not. */
static void window_race(void)
{
    unsigned int landed = 0;

    for (uint64_t seed = 1; seed <= 200; seed++) {
        begin(seed, RDISK_GUEST_MEMORY_WINDOW);
        read_inside(0);
        rogue_io.request.complete = remember;
        scene_pattern(rogue_data.buffer, 4096, 5);
        raw_write(&rogue_data, 0, 4096, address, key,
                  rdisk_imm_answer(0, 0, 0));
        for (unsigned int i = 0; i < 4; i++) {
            memset(rogue_data.buffer + 4096 + 64 * i, (int)(0x80 + i), 64);
            raw_write(&rogue_data, 4096 + 64 * i, 64, address + 1024 * i, key,
                      -1);
        }
        while (fake_fabric_step(rogue_scene.fabric)) {
            if (fake_fabric_random(rogue_scene.fabric, 4) == 0) {
                rdisk_queue_process(rdisk_initiator_queue(victim->session, 0));
            }
        }
        scene_pump(&rogue_scene);
        session_ended();
        CHECK_EQUAL(rogue_io.completed, 1);
        CHECK_EQUAL(rogue_io.result, 0);
        CHECK(!memcmp(at_completion, inside, 4096));
        landed += inside[0] == 0x80;
        end();
    }
    /* Both happen, or this would show nothing. */
    CHECK(landed > 10 && landed < 190);
}

/* The session breaks between the answer and the end of the window. */
static void window_breaks_before_it_closes(void)
{
    begin(1, RDISK_GUEST_MEMORY_WINDOW);
    read_inside(0);
    fake_fail(victim->host, FAKE_POST_SEND, 1, EINVAL);
    scene_pattern(rogue_data.buffer, 4096, 5);
    raw_write(&rogue_data, 0, 4096, address, key, rdisk_imm_answer(0, 0, 0));
    session_ended();
    CHECK_EQUAL(rogue_io.completed, 1);
    CHECK_EQUAL(rogue_io.result, 0);
    CHECK(scene_is_pattern(inside, 4096, 5));
    CHECK(!fake_host_exposes(victim->host, guest, sizeof(guest)));
    end();
}

static void window_answered_twice(void)
{
    begin(1, RDISK_GUEST_MEMORY_WINDOW);
    read_inside(0);
    raw_write(&rogue_data, 0, 0, 0, 0, rdisk_imm_answer(0, 0, 0));
    raw_write(&rogue_data, 0, 0, 0, 0, rdisk_imm_answer(0, 0, 0));
    session_ended();
    CHECK_EQUAL(rogue_io.completed, 1);
    end();
}

/* ---- bounce ------------------------------------------------------------ */

static void bounce_late(void)
{
    begin(1, RDISK_GUEST_MEMORY_BOUNCE);
    read_inside(0);
    CHECK(address != (uintptr_t)inside);
    answer_well(0);
    CHECK_EQUAL(intrude(address, key), IBV_WC_SUCCESS);
    CHECK(scene_is_pattern(inside, 4096, 5));
    CHECK(untouched(guest, 4096) && untouched(inside + 4096, 4096));
    end();
}

static void bounce_guest(void)
{
    begin(1, RDISK_GUEST_MEMORY_BOUNCE);
    read_inside(0);
    CHECK_EQUAL(intrude((uintptr_t)inside, key), IBV_WC_REM_ACCESS_ERR);
    CHECK(untouched(guest, sizeof(guest)));
    session_ended();
    end();
}

static const struct unit_test tests[] = {
    { "direct: a write after the answer reaches the guest",
      direct_late_write_lands },
    { "window: an honest answer reaches the guest, by a new key each time",
      window_answers },
    { "window: a write outside of the segment is refused", window_outside },
    { "window: a write after the answer is refused", window_late },
    { "window: an older read's key is refused", window_older_key },
    { "window: the key is no good on another queue pair", window_other_queue },
    { "window: nothing changes from the request's end on", window_race },
    { "window: a connection that breaks before the window closes ends well",
      window_breaks_before_it_closes },
    { "window: a second answer ends the session", window_answered_twice },
    { "bounce: a write after the answer reaches bounce memory only",
      bounce_late },
    { "bounce: no key of the server's reaches the guest", bounce_guest },
};

UNIT_SUITE("hostile-window", tests)
