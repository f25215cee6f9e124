/* SPDX-License-Identifier: BSD-3-Clause */
/* Writes without a header: which writes they are, and where they go. */
#include <errno.h>

#include "tests/unit/support/lone.h"
#include "tests/unit/support/unit.h"

#define PAGE 4096u

static struct scene_io io;

/* ---- What crosses the wire --------------------------------------------- */

/* The messages that arrive in the server's slots, in their order. */
static struct {
    uintptr_t address;
    size_t length;
} seen[8];
static unsigned int seen_count;

/* They may come bit by bit. */
static void note_write(const struct fake_write *write)
{
    unsigned int last = seen_count - 1;

    if (write->host != scene.server_host || !write->length) {
        return;
    }
    if (seen_count &&
        (uintptr_t)write->address == seen[last].address + seen[last].length) {
        seen[last].length += write->length;
    } else if (seen_count < 8) {
        seen[seen_count].address = (uintptr_t)write->address;
        seen[seen_count++].length = write->length;
    }
}

/* Without vectors, whose first request has a header. */
static void begin_registered(void)
{
    struct rdisk_error err;

    scene_begin(&scene, 1);
    lone->options.withheld_features = RDISK_FEATURE_VECTOR;
    REQUIRE(scene_connect(lone));
    REQUIRE(rdisk_initiator_register(lone->session, memory, sizeof(memory),
                                     &err) == 0);
}

/* Bytes of header that a write of @length bytes at @offset had: 0 or 64. */
static size_t header_of_pieces(uint64_t offset, unsigned int pieces,
                               uint32_t length)
{
    struct rdisk_queue_counters before = lone_counters();

    seen_count = 0;
    scene.watch = note_write;
    scene_pattern(memory, sizeof(memory), (uint32_t)offset);
    for (unsigned int i = 0; i < pieces; i++) {
        io.iov[i] = (struct iovec) {
            .iov_base = memory + (size_t)i * 2 * length,
            .iov_len = length / pieces,
        };
    }
    CHECK_EQUAL(scene_submit_iov(&io, lone, 0, RDISK_OP_WRITE, offset, pieces),
                0);
    rdisk_queue_kick(lone_queue());
    scene_pump(&scene);
    scene.watch = NULL;
    CHECK_EQUAL(io.completed, 1);
    CHECK_EQUAL(seen_count, 1);
    CHECK_EQUAL(seen[0].address % PAGE,
                seen[0].length > length ? PAGE - 64 : 0);
    CHECK_EQUAL(lone_counters().doorbells, before.doorbells + 1);
    return seen[0].length - length;
}

static size_t header_of(uint64_t offset, uint32_t length)
{
    size_t header = header_of_pieces(offset, 1, length);

    CHECK_EQUAL(io.result, 0);
    CHECK(!memcmp(scene.disk + offset, memory, length));
    return header;
}

static void whole_pages(void)
{
    struct rdisk_queue_counters before;

    begin_registered();
    before = lone_counters();
    CHECK_EQUAL(header_of(0, PAGE), 0);
    CHECK_EQUAL(header_of(SCENE_SIZE - PAGE, PAGE), 0);
    CHECK_EQUAL(header_of(PAGE, 65536), 0);
    CHECK_EQUAL(lone_counters().work_requests, before.work_requests + 3);
    CHECK_EQUAL(lone_counters().copied_bytes, 0);
    lone_end_registered();
}

static void other_writes(void)
{
    struct rdisk_queue_counters before;

    begin_registered();
    before = lone_counters();
    CHECK_EQUAL(header_of(512, PAGE), 64);
    CHECK_EQUAL(header_of(0, 512), 64);
    CHECK_EQUAL(header_of(0, 65536 - 512), 64);
    lone->flags = RDISK_REQUEST_FUA;
    CHECK_EQUAL(header_of(0, PAGE), 64);
    CHECK_EQUAL(header_of(0, 65536), 64);
    CHECK_EQUAL(lone_counters().work_requests, before.work_requests + 5);
    lone_end_registered();
}

static void pieces(void)
{
    unsigned int max_sge;

    begin_registered();
    max_sge = (unsigned int)fake_host_limits(lone->host)->max_sge;
    CHECK_EQUAL(header_of_pieces(0, max_sge, max_sge * 512), 0);
    CHECK_EQUAL(io.result, 0);
    lone_end_registered();
}

static void many_pieces(void)
{
    struct rdisk_queue_counters before;

    begin_registered();
    for (unsigned int i = 0; i < 64; i++) {
        scene_pattern(memory + 1024 * i, 512, i);
        io.iov[i] = (struct iovec) { memory + 1024 * i, 512 };
    }
    before = lone_counters();
    CHECK_EQUAL(scene_submit_iov(&io, lone, 0, RDISK_OP_WRITE, 0, 64), 0);
    rdisk_queue_kick(lone_queue());
    scene_pump(&scene);
    CHECK_EQUAL(io.result, 0);
    /* With a header: 65 pieces, 32 of which a work request gathers. */
    CHECK_EQUAL(lone_counters().work_requests, before.work_requests + 3);
    for (unsigned int i = 0; i < 64; i++) {
        CHECK(scene_is_pattern(scene.disk + 512 * i, 512, i));
    }
    lone_end_registered();
}

static void with_guest_memory(enum rdisk_guest_memory mode)
{
    struct rdisk_error err;

    scene_begin(&scene, 1);
    lone->options.guest_memory = mode;
    lone->options.withheld_features = RDISK_FEATURE_VECTOR;
    REQUIRE(scene_connect(lone));
    REQUIRE(rdisk_initiator_register(lone->session, memory, sizeof(memory),
                                     &err) == 0);
    CHECK_EQUAL(header_of(PAGE, 2 * PAGE), 0);
    CHECK_EQUAL(header_of(512, PAGE), 64);
    rdisk_initiator_unregister(lone->session, memory, sizeof(memory));
    /* From memory that is not registered. */
    CHECK_EQUAL(header_of(3 * PAGE, PAGE), 0);
    CHECK(lone_counters().bounced > 0);
    scene_end(&scene);
}

static void every_guest_memory(void)
{
    with_guest_memory(RDISK_GUEST_MEMORY_DIRECT);
    with_guest_memory(RDISK_GUEST_MEMORY_WINDOW);
    with_guest_memory(RDISK_GUEST_MEMORY_BOUNCE);
}

/* ---- An older peer ----------------------------------------------------- */

static void both_forms_have_a_header(void)
{
    CHECK_EQUAL(header_of(0, PAGE), 64);
    CHECK_EQUAL(header_of(PAGE, 65536), 64);
    scene_end(&scene);
}

static void older_client(void)
{
    scene_begin(&scene, 1);
    lone->options.withheld_features = RDISK_FEATURE_BARE;
    REQUIRE(scene_connect(lone));
    both_forms_have_a_header();
}

static void older_server(void)
{
    scene_prepare(&scene, 1);
    scene.options.withheld_features |= RDISK_FEATURE_BARE;
    scene_serve(&scene);
    REQUIRE(scene_connect(lone));
    both_forms_have_a_header();
}

/* ---- The base ---------------------------------------------------------- */

static void base_follows_headers(void)
{
    static const uint64_t bases[] = { 0, 512 * 1024, 300 * 512, 1020 * 1024 };

    begin_registered();
    for (unsigned int i = 0; i < 4; i++) {
        lone->flags = RDISK_REQUEST_FUA;
        CHECK_EQUAL(header_of(bases[i], 512), 64);
        lone->flags = 0;
        for (uint64_t at = 0; at < SCENE_SIZE; at += 37 * PAGE) {
            CHECK_EQUAL(header_of(at, PAGE), 0);
        }
    }
    lone_end_registered();
}

/* What the server refuses moves the base, too: what follows must agree. */
static void refused_write_moves_the_base(void)
{
    begin_registered();
    scene.fail_with = RDISK_STATUS_IO_ERROR;
    CHECK_EQUAL(scene_do(lone, RDISK_OP_WRITE, 40 * PAGE + 512, memory, 512),
                -EIO);
    scene.fail_with = RDISK_STATUS_OK;
    CHECK_EQUAL(header_of(3 * PAGE, PAGE), 0);
    CHECK_EQUAL(header_of(77 * PAGE, PAGE), 0);
    lone_end_registered();
}

/* Where a write arrives that no disk of these tests could take. */
static uint64_t arrives_at(uint64_t offset, size_t header)
{
    uint64_t arrived;

    scene.park = true;
    seen_count = 0;
    scene.watch = note_write;
    CHECK_EQUAL(scene_submit(&io, lone, 0, RDISK_OP_WRITE, offset, memory,
                             PAGE),
                0);
    rdisk_queue_kick(lone_queue());
    scene_pump(&scene);
    scene.watch = NULL;
    scene.park = false;
    CHECK_EQUAL(seen[0].length, PAGE + header);
    REQUIRE(scene.parked_count == 1);
    arrived = scene.parked[0]->offset;
    scene.fail_with = RDISK_STATUS_IO_ERROR;
    scene_unpark(&scene, 1);
    scene_pump(&scene);
    CHECK_EQUAL(io.result, -EIO);
    return arrived;
}

static void out_of_reach(void)
{
    /* 64 slots: 25 bits of distance. */
    const uint64_t reach = (1ull << 24) * PAGE, size = 1ull << 50;
    const uint64_t far = size / 2;

    scene_prepare(&scene, 1);
    scene.size = size;
    scene.any_range = true;
    lone->options.slots = 64;
    lone->options.withheld_features = RDISK_FEATURE_VECTOR;
    scene_serve(&scene);
    REQUIRE(scene_connect(lone));
    CHECK_EQUAL(arrives_at(reach - PAGE, 0), reach - PAGE);
    CHECK_EQUAL(arrives_at(reach, 64), reach);
    CHECK_EQUAL(arrives_at(0, 0), 0);
    CHECK_EQUAL(arrives_at(2 * reach - PAGE, 0), 2 * reach - PAGE);
    CHECK_EQUAL(arrives_at(far, 64), far);
    CHECK_EQUAL(arrives_at(far - reach, 0), far - reach);
    CHECK_EQUAL(arrives_at(far + reach - PAGE, 0), far + reach - PAGE);
    CHECK_EQUAL(arrives_at(far + reach, 64), far + reach);
    CHECK_EQUAL(arrives_at(size - PAGE, 64), size - PAGE);
    CHECK_EQUAL(arrives_at(far, 64), far);
    CHECK_EQUAL(arrives_at(far - reach - PAGE, 64), far - reach - PAGE);
    scene.fail_with = RDISK_STATUS_OK;
    scene_end(&scene);
}

/* ---- A long life ------------------------------------------------------- */

static void sequence_wraps(void)
{
    begin_registered();
    for (uint32_t i = 0; i < 600; i++) {
        uint8_t *page = memory + (size_t)(i % 64) * PAGE;

        scene_pattern(page, PAGE, i);
        lone->flags = i % 7 ? 0 : RDISK_REQUEST_FUA;
        CHECK_EQUAL(scene_do(lone, RDISK_OP_WRITE, (uint64_t)(i % 64) * PAGE,
                             page, PAGE),
                    0);
        lone->flags = 0;
        CHECK_EQUAL(scene_do(lone, RDISK_OP_READ, (uint64_t)(i % 64) * PAGE,
                             page, i % 3 ? PAGE : 512),
                    0);
        CHECK(scene_is_pattern(page, PAGE, i));
    }
    lone_end_registered();
}

static void reconnects(uint64_t withheld)
{
    struct rdisk_error err;

    scene_begin(&scene, 1);
    lone->options.reconnect_delay_ms = 60000;
    lone->options.withheld_features = RDISK_FEATURE_VECTOR;
    REQUIRE(scene_connect(lone));
    REQUIRE(rdisk_initiator_register(lone->session, memory, sizeof(memory),
                                     &err) == 0);
    lone->flags = RDISK_REQUEST_FUA;
    CHECK_EQUAL(header_of(100 * PAGE, PAGE), 64);
    lone->flags = 0;
    scene.park = true;
    scene_pattern(memory, PAGE, 5);
    CHECK_EQUAL(scene_submit(&io, lone, 0, RDISK_OP_WRITE, 7 * PAGE, memory,
                             PAGE),
                0);
    rdisk_queue_kick(lone_queue());
    scene_pump(&scene);
    CHECK_EQUAL(scene.parked_count, 1);
    scene.options.withheld_features |= withheld;
    scene_restart_server(&scene);
    scene_advance(&scene, 30000);
    CHECK_EQUAL(io.completed, 1);
    CHECK_EQUAL(io.result, 0);
    CHECK(scene_is_pattern(scene.disk + 7 * PAGE, PAGE, 5));
    CHECK_EQUAL(header_of(9 * PAGE, PAGE), withheld ? 64 : 0);
    lone_end_registered();
}

static void sent_again_bare(void)
{
    reconnects(0);
}

static void sent_again_to_an_older_server(void)
{
    reconnects(RDISK_FEATURE_BARE);
}

static const struct unit_test tests[] = {
    { "a write of whole pages is one message of its payload", whole_pages },
    { "a write with FUA, or not of whole pages, has a header", other_writes },
    { "as many pieces as the device gathers go without a header", pieces },
    { "more pieces than the device gathers go with a header", many_pieces },
    { "a write goes without a header whatever guest-memory is",
      every_guest_memory },
    { "an older client sends headers", older_client },
    { "an older server gets headers", older_server },
    { "the base follows each write with a header", base_follows_headers },
    { "a write that fails moves the base, too", refused_write_moves_the_base },
    { "a write out of reach has a header, and moves the base", out_of_reach },
    { "the sequence that both sides count wraps", sequence_wraps },
    { "after a reconnect both sides count from 0", sent_again_bare },
    { "a bare write is sent again with a header to an older server",
      sent_again_to_an_older_server },
};

UNIT_SUITE("bare", tests)
