/* SPDX-License-Identifier: BSD-3-Clause */
/* What one turn produces goes in one message: requests, and answers. */
#include <errno.h>

#include "tests/unit/support/lone.h"
#include "tests/unit/support/unit.h"

#define PAGE 4096u
#define MANY 70u

static struct scene_io ios[MANY];

/* Messages that the client sends, and answers' messages that it gets. */
static uint64_t sent(void)
{
    return lone_counters().work_requests;
}

static uint64_t received(void)
{
    return lone_counters().receives;
}

static void connect_lone(enum rdisk_guest_memory mode, uint64_t withheld)
{
    struct rdisk_error err;

    lone->options.slots = 64;
    lone->options.reconnect_delay_ms = 60000;
    lone->options.guest_memory = mode;
    lone->options.withheld_features = withheld;
    REQUIRE(scene_connect(lone));
    REQUIRE(rdisk_initiator_register(lone->session, memory, sizeof(memory),
                                     &err) == 0);
}

static void begin(enum rdisk_guest_memory mode, uint64_t withheld)
{
    scene_begin(&scene, 1);
    for (uint64_t i = 0; i < MANY; i++) {
        scene_pattern(scene.disk + i * PAGE, PAGE, (uint32_t)i);
    }
    connect_lone(mode, withheld);
}

static void submit(unsigned int i, enum rdisk_op op)
{
    memset(&ios[i], 0, sizeof(ios[i]));
    CHECK_EQUAL(scene_submit(&ios[i], lone, 0, op,
                             op == RDISK_OP_FLUSH ? 0 : (uint64_t)i * PAGE,
                             memory + (size_t)i * PAGE,
                             op == RDISK_OP_FLUSH ? 0 : PAGE),
                0);
}

static void pump(void)
{
    rdisk_queue_kick(lone_queue());
    scene_pump(&scene);
}

static void all_ended(unsigned int count, int result)
{
    for (unsigned int i = 0; i < count; i++) {
        CHECK_EQUAL(ios[i].completed, 1);
        CHECK_EQUAL(ios[i].result, result);
    }
}

/* @count reads in one turn, each with its own data. */
static void read_many(unsigned int count)
{
    memset(memory, 0, (size_t)count * PAGE);
    for (unsigned int i = 0; i < count; i++) {
        submit(i, RDISK_OP_READ);
    }
    pump();
    all_ended(count, 0);
    for (unsigned int i = 0; i < count; i++) {
        CHECK(scene_is_pattern(memory + (size_t)i * PAGE, PAGE, i));
    }
}

/* Parked, so that they are answered in one turn. */
static void answer_many(unsigned int count, enum rdisk_op op)
{
    scene.park = true;
    for (unsigned int i = 0; i < count; i++) {
        if (op == RDISK_OP_WRITE) {
            scene_pattern(memory + (size_t)i * PAGE, PAGE, i + 1000);
        }
        submit(i, op);
    }
    pump();
    CHECK_EQUAL(scene.parked_count, count);
    scene.park = false;
    scene_unpark(&scene, count);
    scene_pump(&scene);
    all_ended(count, 0);
}

/* ---- Requests ---------------------------------------------------------- */

static void requests_of_a_turn(void)
{
    uint64_t before;

    begin(RDISK_GUEST_MEMORY_DIRECT, 0);
    before = sent();
    read_many(8);
    CHECK_EQUAL(sent(), before + 1);
    lone_end_registered();
}

static void at_most_32(void)
{
    uint64_t before;

    begin(RDISK_GUEST_MEMORY_DIRECT, 0);
    before = sent();
    read_many(32);
    CHECK_EQUAL(sent(), before + 1);
    read_many(33);
    CHECK_EQUAL(sent(), before + 3);
    /* With 64 slots: 6 wait. */
    read_many(MANY);
    lone_end_registered();
}

static struct fake_write last;
static size_t seen_bytes;

static void note(const struct fake_write *write)
{
    if (write->host == scene.server_host && write->length) {
        last = *write;
        seen_bytes += write->length;
    }
}

static void alone(void)
{
    uint64_t before;

    begin(RDISK_GUEST_MEMORY_DIRECT, 0);
    read_many(1);
    before = sent();
    seen_bytes = 0;
    scene.watch = note;
    read_many(1);
    scene.watch = NULL;
    CHECK_EQUAL(sent(), before + 1);
    /* Segment and header, up to the payload area. */
    CHECK_EQUAL(seen_bytes, 80);
    CHECK_EQUAL(((uintptr_t)last.address + last.length) % PAGE, 0);
    lone_end_registered();
}

static void older_client(void)
{
    uint64_t before;

    begin(RDISK_GUEST_MEMORY_DIRECT, RDISK_FEATURE_VECTOR);
    before = sent();
    read_many(8);
    CHECK_EQUAL(sent(), before + 8);
    before = received();
    answer_many(8, RDISK_OP_WRITE);
    CHECK_EQUAL(received(), before + 8);
    lone_end_registered();
}

static void older_server(void)
{
    uint64_t before;

    scene_prepare(&scene, 1);
    scene.options.withheld_features |= RDISK_FEATURE_VECTOR;
    scene_serve(&scene);
    connect_lone(RDISK_GUEST_MEMORY_DIRECT, 0);
    before = sent();
    answer_many(8, RDISK_OP_FLUSH);
    CHECK_EQUAL(sent(), before + 8);
    before = received();
    answer_many(8, RDISK_OP_WRITE);
    CHECK_EQUAL(received(), before + 8);
    lone_end_registered();
}

/* Without the other feature of the same kind, both work. */
static void without_bare_writes(void)
{
    uint64_t before;

    begin(RDISK_GUEST_MEMORY_DIRECT, RDISK_FEATURE_BARE);
    before = sent();
    read_many(8);
    CHECK_EQUAL(sent(), before + 1);
    before = received();
    answer_many(8, RDISK_OP_WRITE);
    CHECK_EQUAL(received(), before + 1);
    lone_end_registered();
}

/* Writes go out before the reads of their turn, and are counted before them. */
static void reads_among_writes(void)
{
    uint64_t before;

    begin(RDISK_GUEST_MEMORY_DIRECT, 0);
    for (unsigned int turn = 0; turn < 3; turn++) {
        before = sent();
        for (unsigned int i = 0; i < 20; i++) {
            scene_pattern(memory + (size_t)i * PAGE, PAGE,
                          i % 2 ? i + turn * 20 : 0);
            submit(i, i % 2 ? RDISK_OP_WRITE : RDISK_OP_READ);
        }
        pump();
        all_ended(20, 0);
        CHECK_EQUAL(sent(), before + 11);
        for (unsigned int i = 0; i < 20; i++) {
            CHECK(scene_is_pattern(memory + (size_t)i * PAGE, PAGE,
                                   i % 2 ? i + turn * 20 : i));
            CHECK(!memcmp(scene.disk + (size_t)i * PAGE,
                          memory + (size_t)i * PAGE, PAGE));
        }
    }
    lone_end_registered();
}

/* In pieces, or to the size of the header area: by themselves. */
static void reads_in_pieces(void)
{
    uint64_t before;

    begin(RDISK_GUEST_MEMORY_DIRECT, 0);
    before = sent();
    for (unsigned int i = 0; i < 4; i++) {
        memset(&ios[i], 0, sizeof(ios[i]));
        ios[i].iov[0] = (struct iovec) { memory + 4 * i * PAGE, PAGE };
        ios[i].iov[1] = (struct iovec) { memory + (4 * i + 2) * PAGE, PAGE };
        CHECK_EQUAL(scene_submit_iov(&ios[i], lone, 0, RDISK_OP_READ,
                                     (uint64_t)2 * i * PAGE, 2),
                    0);
    }
    submit(4, RDISK_OP_READ);
    submit(5, RDISK_OP_READ);
    pump();
    all_ended(6, 0);
    CHECK_EQUAL(sent(), before + 5);
    CHECK(scene_is_pattern(memory + 6 * PAGE, PAGE, 3));
    lone_end_registered();
}

static void every_guest_memory(enum rdisk_guest_memory mode)
{
    uint64_t before;

    begin(mode, 0);
    read_many(8);
    before = received();
    answer_many(8, RDISK_OP_WRITE);
    CHECK_EQUAL(received(), before + 1);
    read_many(0);
    for (unsigned int i = 0; i < 8; i++) {
        CHECK(scene_is_pattern(scene.disk + (size_t)i * PAGE, PAGE, i + 1000));
    }
    lone_end_registered();
}

static void windows(void)
{
    every_guest_memory(RDISK_GUEST_MEMORY_WINDOW);
}

static void bounce(void)
{
    every_guest_memory(RDISK_GUEST_MEMORY_BOUNCE);
}

/* ---- Answers ----------------------------------------------------------- */

static void answers_of_a_turn(void)
{
    uint64_t before;

    begin(RDISK_GUEST_MEMORY_DIRECT, 0);
    before = received();
    answer_many(8, RDISK_OP_WRITE);
    CHECK_EQUAL(received(), before + 1);
    answer_many(8, RDISK_OP_FLUSH);
    CHECK_EQUAL(received(), before + 2);
    answer_many(33, RDISK_OP_WRITE);
    CHECK_EQUAL(received(), before + 4);
    answer_many(1, RDISK_OP_WRITE);
    CHECK_EQUAL(received(), before + 5);
    lone_end_registered();
}

static void failures_of_a_turn(void)
{
    uint64_t before;

    begin(RDISK_GUEST_MEMORY_DIRECT, 0);
    before = received();
    scene.fail_with = RDISK_STATUS_IO_ERROR;
    for (unsigned int i = 0; i < 8; i++) {
        submit(i, RDISK_OP_READ);
    }
    pump();
    all_ended(8, -EIO);
    CHECK_EQUAL(received(), before + 1);
    scene.fail_with = RDISK_STATUS_OK;
    read_many(8);
    lone_end_registered();
}

/* A write whose turn comes in the completion of one before it. */
static unsigned int chained;

static void submit_next(struct rdisk_request *request, int result)
{
    CHECK_EQUAL(result, 0);
    if (chained++ < 400) {
        CHECK_EQUAL(rdisk_queue_submit(lone_queue(), request), 0);
    }
}

static void slots_that_are_used_again_at_once(void)
{
    begin(RDISK_GUEST_MEMORY_DIRECT, 0);
    chained = 0;
    for (unsigned int i = 0; i < 16; i++) {
        ios[i].iov[0] = (struct iovec) { memory + (size_t)i * PAGE, PAGE };
        ios[i].request = (struct rdisk_request) {
            .op = RDISK_OP_WRITE,
            .offset = (uint64_t)i * PAGE,
            .length = PAGE,
            .iov = ios[i].iov,
            .iovcnt = 1,
            .complete = submit_next,
        };
        CHECK_EQUAL(rdisk_queue_submit(lone_queue(), &ios[i].request), 0);
    }
    pump();
    CHECK_EQUAL(chained, 416);
    lone_end_registered();
}

/* ---- A long life ------------------------------------------------------- */

static void sequence_wraps(void)
{
    begin(RDISK_GUEST_MEMORY_DIRECT, 0);
    for (unsigned int turn = 0; turn < 40; turn++) {
        read_many(7);
        answer_many(5, RDISK_OP_FLUSH);
    }
    lone_end_registered();
}

/* The connection is lost while all of a vector is in flight, or some of it. */
static void reconnects(unsigned int answered, uint64_t withheld)
{
    begin(RDISK_GUEST_MEMORY_DIRECT, 0);
    scene.park = true;
    for (unsigned int i = 0; i < 12; i++) {
        submit(i, i < 6 ? RDISK_OP_READ : RDISK_OP_WRITE);
        if (i >= 6) {
            scene_pattern(memory + (size_t)i * PAGE, PAGE, i + 50);
        }
    }
    pump();
    CHECK_EQUAL(scene.parked_count, 12);
    scene_unpark(&scene, answered);
    scene.park = false;
    scene.options.withheld_features |= withheld;
    scene_restart_server(&scene);
    scene_advance(&scene, 30000);
    all_ended(12, 0);
    for (unsigned int i = 0; i < 12; i++) {
        CHECK(scene_is_pattern(memory + (size_t)i * PAGE, PAGE,
                               i < 6 ? i : i + 50));
        CHECK(!memcmp(scene.disk + (size_t)i * PAGE, memory + (size_t)i * PAGE,
                      PAGE));
    }
    read_many(6);
    lone_end_registered();
}

static void sent_again(void)
{
    reconnects(0, 0);
}

static void rest_is_sent_again(void)
{
    reconnects(5, 0);
}

static void sent_again_to_an_older_server(void)
{
    reconnects(3, RDISK_FEATURE_VECTOR);
}

static const struct unit_test tests[] = {
    { "the requests of a turn go in one message", requests_of_a_turn },
    { "a message has at most 32 requests", at_most_32 },
    { "a single request goes as if there were no others", alone },
    { "an older client sends a message for each, and gets one for each",
      older_client },
    { "an older server gets a message for each, and sends one for each",
      older_server },
    { "vectors do not need bare writes", without_bare_writes },
    { "writes between reads do not split the message of the reads",
      reads_among_writes },
    { "a read in pieces goes by itself", reads_in_pieces },
    { "vectors work with memory windows", windows },
    { "vectors work with bounce memory", bounce },
    { "the answers of a turn go in one message", answers_of_a_turn },
    { "the failures of a turn go in one message", failures_of_a_turn },
    { "slots that are used again at once keep their answers apart",
      slots_that_are_used_again_at_once },
    { "the sequence that both sides count wraps", sequence_wraps },
    { "a vector that is lost is sent again", sent_again },
    { "what a lost connection left of a vector is sent again",
      rest_is_sent_again },
    { "a lost vector is sent again, one by one, to an older server",
      sent_again_to_an_older_server },
};

UNIT_SUITE("vector", tests)
