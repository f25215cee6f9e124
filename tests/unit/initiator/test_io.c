/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests: data arrives unharmed. */
#include <errno.h>
#include <stdlib.h>

#include "tests/unit/support/lone.h"
#include "tests/unit/support/unit.h"

static struct rdisk_error err;
static struct scene_io ios[400];

/* ---- Data -------------------------------------------------------------- */

static void write_and_read(void)
{
    scene_pattern(memory, 65536, 1);
    CHECK_EQUAL(scene_do(lone, RDISK_OP_WRITE, 4096, memory, 65536), 0);
    CHECK(scene_is_pattern(scene.disk + 4096, 65536, 1));
    CHECK_EQUAL(scene.disk[4095], 0);
    CHECK_EQUAL(scene.disk[4096 + 65536], 0);
    memset(memory, 0, 70000);
    CHECK_EQUAL(scene_do(lone, RDISK_OP_READ, 4096, memory, 65536), 0);
    CHECK(scene_is_pattern(memory, 65536, 1));
    CHECK_EQUAL(memory[65536], 0);
    CHECK_EQUAL(scene_do(lone, RDISK_OP_READ, SCENE_SIZE - 512, memory, 512),
                0);
}

static void bounced(void)
{
    lone_begin(1);
    write_and_read();
    CHECK_EQUAL(lone_counters().copied_bytes, 2 * 65536 + 512);
    CHECK_EQUAL(lone_counters().bounced, 3);
    scene_end(&scene);
}

static void registered(void)
{
    lone_begin_registered(1);
    write_and_read();
    CHECK_EQUAL(lone_counters().copied_bytes, 0);
    CHECK_EQUAL(lone_counters().bounced, 0);
    lone_end_registered();
}

/* Fill io->iov with @count odd pieces, not in the order of addresses. */
static uint32_t scatter(struct scene_io *io, unsigned int count)
{
    uint32_t length = 0;

    for (unsigned int i = 0; i < count; i++) {
        uint32_t piece = 1 + (i * 37) % 200;

        if (i + 1 == count) {
            piece = SCENE_BLOCK - length % SCENE_BLOCK;
        }
        io->iov[i].iov_base = memory + (size_t)(count - i) * 1000 + i % 7;
        io->iov[i].iov_len = piece;
        length += piece;
    }
    return length;
}

static void to_iov(const struct scene_io *io, unsigned int count,
                   const uint8_t *flat)
{
    for (unsigned int i = 0; i < count; i++) {
        memcpy(io->iov[i].iov_base, flat, io->iov[i].iov_len);
        flat += io->iov[i].iov_len;
    }
}

static void from_iov(const struct scene_io *io, unsigned int count,
                     uint8_t *flat)
{
    for (unsigned int i = 0; i < count; i++) {
        memcpy(flat, io->iov[i].iov_base, io->iov[i].iov_len);
        flat += io->iov[i].iov_len;
    }
}

/* Bytes that the write, and that the read, took copying. */
struct copies {
    uint64_t write, read;
};

/* Returns the bytes moved each way. */
static uint32_t scattered(unsigned int count, struct copies *copies)
{
    static uint8_t flat[65536];
    struct scene_io *io = &ios[0];
    uint32_t length = scatter(io, count);
    uint64_t before = lone_counters().copied_bytes;

    scene_pattern(flat, length, count);
    to_iov(io, count, flat);
    CHECK_EQUAL(scene_submit_iov(io, lone, 0, RDISK_OP_WRITE, 8192, count), 0);
    rdisk_queue_kick(lone_queue());
    scene_pump(&scene);
    CHECK_EQUAL(io->result, 0);
    CHECK(scene_is_pattern(scene.disk + 8192, length, count));
    copies->write = lone_counters().copied_bytes - before;
    memset(memory, 0, sizeof(memory));
    CHECK_EQUAL(scene_submit_iov(io, lone, 0, RDISK_OP_READ, 8192, count), 0);
    rdisk_queue_kick(lone_queue());
    scene_pump(&scene);
    CHECK_EQUAL(io->completed, 1);
    CHECK_EQUAL(io->result, 0);
    from_iov(io, count, flat);
    CHECK(scene_is_pattern(flat, length, count));
    copies->read = lone_counters().copied_bytes - before - copies->write;
    return length;
}

static const unsigned int counts[] = {
    1, 2, 31, 32, 33, 64, 128, 256, 257, 300
};
#define COUNTS (sizeof(counts) / sizeof(counts[0]))

static void scattered_bounced(void)
{
    struct copies copies;

    lone_begin(2);
    for (size_t i = 0; i < COUNTS; i++) {
        uint32_t length = scattered(counts[i], &copies);

        CHECK_EQUAL(copies.write, length);
        CHECK_EQUAL(copies.read, length);
    }
    scene_end(&scene);
}

static void scattered_registered(void)
{
    struct copies copies;

    lone_begin_registered(2);
    for (size_t i = 0; i < COUNTS; i++) {
        scattered(counts[i], &copies);
        if (counts[i] <= rdisk_initiator_info(lone->session)->max_segments) {
            CHECK_EQUAL(copies.write, 0);
        }
    }
    lone_end_registered();
}

/* The server writes each piece by itself: see PIECE_LEAST. */
static void small_pieces_are_read_in_one(void)
{
    static const struct {
        unsigned int count;
        uint32_t size;
        bool copied;
    } reads[] = {
        { 1, 512, false },  { 2, 1024, true },  { 8, 512, true },
        { 2, 2048, false }, { 8, 2048, false }, { 4, 4096, false },
    };

    lone_begin_registered(2);
    for (size_t i = 0; i < sizeof(reads) / sizeof(reads[0]); i++) {
        uint32_t size = reads[i].size;
        uint64_t before = lone_counters().copied_bytes;
        struct scene_io *io = &ios[0];

        for (unsigned int k = 0; k < reads[i].count; k++) {
            io->iov[k] = (struct iovec) { memory + 8192 * k, size };
        }
        scene_pattern(scene.disk, size * reads[i].count, i);
        CHECK_EQUAL(scene_submit_iov(io, lone, 0, RDISK_OP_READ, 0,
                                     reads[i].count),
                    0);
        rdisk_queue_kick(lone_queue());
        scene_pump(&scene);
        CHECK_EQUAL(io->result, 0);
        for (unsigned int k = 0; k < reads[i].count; k++) {
            CHECK(!memcmp(memory + 8192 * k, scene.disk + size * k, size));
        }
        CHECK_EQUAL(lone_counters().copied_bytes - before,
                    reads[i].copied ? size * reads[i].count : 0);
    }
    lone_end_registered();
}

static void partly_registered(void)
{
    struct scene_io *io = &ios[0];
    static uint8_t other[4096];

    lone_begin(3);
    REQUIRE(rdisk_initiator_register(lone->session, memory, 8192, &err) == 0);
    io->iov[0] = (struct iovec) { memory, 4096 };
    io->iov[1] = (struct iovec) { other, 4096 };
    scene_pattern(memory, 4096, 1);
    scene_pattern(other, 4096, 2);
    CHECK_EQUAL(scene_submit_iov(io, lone, 0, RDISK_OP_WRITE, 0, 2), 0);
    rdisk_queue_kick(lone_queue());
    scene_pump(&scene);
    CHECK_EQUAL(io->result, 0);
    CHECK(scene_is_pattern(scene.disk, 4096, 1));
    CHECK(scene_is_pattern(scene.disk + 4096, 4096, 2));
    rdisk_initiator_unregister(lone->session, memory, 8192);
    scene_end(&scene);
}

static void few_sges(void)
{
    struct copies copies;

    scene_begin(&scene, 4);
    fake_host_limits(lone->host)->max_sge = 2;
    fake_host_limits(scene.server_host)->max_sge = 2;
    fake_host_limits(lone->host)->max_inline = 0;
    lone->options.slots = 1;
    REQUIRE(scene_connect(lone));
    REQUIRE(rdisk_initiator_register(lone->session, memory, sizeof(memory),
                                     &err) == 0);
    for (size_t i = 0; i < COUNTS; i++) {
        scattered(counts[i], &copies);
    }
    lone_end_registered();
}

static void server_with_few_work_requests(void)
{
    struct copies copies;

    scene_begin(&scene, 4);
    fake_host_limits(scene.server_host)->max_qp_wr = 200;
    REQUIRE(scene_connect(lone));
    CHECK_EQUAL(rdisk_initiator_info(lone->session)->max_segments, 100);
    REQUIRE(rdisk_initiator_register(lone->session, memory, sizeof(memory),
                                     &err) == 0);
    for (size_t i = 0; i < COUNTS; i++) {
        scattered(counts[i], &copies);
    }
    lone_end_registered();
}

static void few_work_requests(void)
{
    scene_begin(&scene, 4);
    fake_host_limits(scene.server_host)->max_qp_wr = 64;
    CHECK(!scene_connect(lone));
    CHECK_SAYS(rdisk_initiator_error(lone->session)->text, "work requests");
    scene_end(&scene);
}

static void lookup_forgets(void)
{
    lone_begin_registered(5);
    rdisk_initiator_unregister(lone->session, memory, sizeof(memory));
    CHECK_EQUAL(scene_do(lone, RDISK_OP_WRITE, 0, memory, 4096), 0);
    CHECK_EQUAL(lone_counters().bounced, 1);
    scene_end(&scene);
}

static void unregistrable_is_bounced(void)
{
    lone_begin(5);
    fake_host_limits(lone->host)->memlock = 0;
    CHECK_EQUAL(rdisk_initiator_register(lone->session, memory, 8192, &err),
                -ENOMEM);
    CHECK_SAYS(err.text, "8192 bytes");
    write_and_read();
    scene_end(&scene);
}

static void little_memory_is_enough(void)
{
    scene_begin(&scene, 5);
    fake_host_limits(lone->host)->memlock = 1 << 20;
    REQUIRE(scene_connect(lone));
    write_and_read();
    CHECK_EQUAL(lone_counters().bounced, 3);
    scene_end(&scene);
}

/* ---- Many at a time ---------------------------------------------------- */

static void submit_many(unsigned int count, uint32_t length)
{
    for (unsigned int i = 0; i < count; i++) {
        scene_pattern(memory + (size_t)i * length, length, i);
        CHECK_EQUAL(scene_submit(&ios[i], lone, 0, RDISK_OP_WRITE,
                                 (uint64_t)i * length,
                                 memory + (size_t)i * length, length),
                    0);
    }
    rdisk_queue_kick(lone_queue());
}

static void check_many(unsigned int count, uint32_t length)
{
    for (unsigned int i = 0; i < count; i++) {
        CHECK_EQUAL(ios[i].completed, 1);
        CHECK_EQUAL(ios[i].result, 0);
        CHECK(scene_is_pattern(scene.disk + (size_t)i * length, length, i));
    }
    CHECK(rdisk_queue_idle(lone_queue()));
}

static void more_than_slots(void)
{
    lone_begin_registered(6);
    CHECK(rdisk_queue_idle(lone_queue()));
    submit_many(256, 4096);
    CHECK(!rdisk_queue_idle(lone_queue()));
    scene_pump(&scene);
    check_many(256, 4096);
    CHECK_EQUAL(lone_counters().ops.count[RDISK_OP_WRITE], 256);
    CHECK_EQUAL(lone_counters().waited, 256 - 8);
    lone_end_registered();
}

static void more_than_bounce_memory(void)
{
    lone_begin(7);
    /* 256 KiB of it, 1 MiB of requests. */
    submit_many(16, 65536);
    scene_pump(&scene);
    check_many(16, 65536);
    scene_end(&scene);
}

static void small_behind_large(void)
{
    lone_begin(8);
    submit_many(5, 65536);
    /* Does not overtake those that wait for bounce memory. */
    CHECK_EQUAL(scene_submit(&ios[5], lone, 0, RDISK_OP_FLUSH, 0, NULL, 0), 0);
    rdisk_queue_kick(lone_queue());
    scene.park = true;
    scene_pump(&scene);
    CHECK_EQUAL(scene.parked_count, 4);
    scene_unpark(&scene, 1);
    scene_pump(&scene);
    CHECK_EQUAL(scene.parked_count, 5);
    scene.park = false;
    scene_unpark(&scene, 5);
    scene_pump(&scene);
    check_many(5, 65536);
    CHECK_EQUAL(ios[5].result, 0);
    scene_end(&scene);
}

static void any_order(void)
{
    lone_begin_registered(9);
    scene.park = true;
    submit_many(8, 4096);
    scene_pump(&scene);
    REQUIRE(scene.parked_count == 8);
    for (unsigned int i = 0; i < 4; i++) {
        struct rdisk_target_request *swap = scene.parked[i];

        scene.parked[i] = scene.parked[7 - i];
        scene.parked[7 - i] = swap;
    }
    scene.park = false;
    scene_unpark(&scene, 3);
    scene_pump(&scene);
    CHECK_EQUAL(ios[7].completed, 1);
    CHECK_EQUAL(ios[0].completed, 0);
    scene_unpark(&scene, 5);
    scene_pump(&scene);
    check_many(8, 4096);
    lone_end_registered();
}

static void mixed_in_any_order(void)
{
    for (uint64_t seed = 0; seed < 30; seed++) {
        lone_begin(seed);
        /* Half of the memory is registered. */
        REQUIRE(rdisk_initiator_register(lone->session, memory, 300000, &err) ==
                0);
        submit_many(100, 6144);
        scene_pump(&scene);
        check_many(100, 6144);
        memset(memory, 0, sizeof(memory));
        for (unsigned int i = 0; i < 100; i++) {
            CHECK_EQUAL(scene_submit(&ios[i], lone, 0, RDISK_OP_READ,
                                     6144ull * i, memory + 6144ull * i, 6144),
                        0);
            if (i % 9 == 0) {
                rdisk_queue_kick(lone_queue());
                fake_fabric_step(scene.fabric);
            }
        }
        rdisk_queue_kick(lone_queue());
        scene_pump(&scene);
        for (unsigned int i = 0; i < 100; i++) {
            CHECK_EQUAL(ios[i].result, 0);
            CHECK(scene_is_pattern(memory + 6144ull * i, 6144, i));
        }
        rdisk_initiator_unregister(lone->session, memory, 300000);
        scene_end(&scene);
    }
}

static void lossy_network(void)
{
    for (uint64_t seed = 0; seed < 10; seed++) {
        lone_begin_registered(seed);
        fake_fabric_loss(scene.fabric, 20);
        submit_many(100, 4096);
        scene_advance(&scene, 55000);
        check_many(100, 4096);
        fake_fabric_loss(scene.fabric, 0);
        scene_advance(&scene, 1000);
        lone_end_registered();
    }
}

static unsigned int resubmitted;

static void submit_again(struct rdisk_request *request, int result)
{
    CHECK_EQUAL(result, 0);
    lone->outstanding--;
    if (resubmitted++ < 50) {
        lone->outstanding++;
        CHECK_EQUAL(rdisk_queue_submit(lone_queue(), request), 0);
    }
}

static void submit_from_completion(void)
{
    lone_begin_registered(10);
    resubmitted = 0;
    CHECK_EQUAL(scene_submit(&ios[0], lone, 0, RDISK_OP_READ, 0, memory, 4096),
                0);
    ios[0].request.complete = submit_again;
    rdisk_queue_kick(lone_queue());
    scene_pump(&scene);
    CHECK_EQUAL(resubmitted, 51);
    lone_end_registered();
}

static const struct unit_test tests[] = {
    { "unregistered memory is bounced unharmed", bounced },
    { "registered memory moves without a copy", registered },
    { "scattered unregistered memory arrives unharmed", scattered_bounced },
    { "scattered registered memory is written without a copy up to the limit",
      scattered_registered },
    { "a read in small pieces comes in one, and is copied",
      small_pieces_are_read_in_one },
    { "memory registered in part is written whole", partly_registered },
    { "a device that gathers from two places serves long lists too", few_sges },
    { "a server with few work requests takes fewer pieces",
      server_with_few_work_requests },
    { "a device with too few work requests is reported", few_work_requests },
    { "memory is bounced again after unregistering", lookup_forgets },
    { "memory that cannot be registered is reported and bounced",
      unregistrable_is_bounced },
    { "with little lockable memory requests are bounced through less of it",
      little_memory_is_enough },
    { "more requests than slots wait their turn", more_than_slots },
    { "more requests than bounce memory wait their turn",
      more_than_bounce_memory },
    { "a small request does not overtake a waiting large one",
      small_behind_large },
    { "answers may come in any order", any_order },
    { "registered and bounced requests mix in any order of events",
      mixed_in_any_order },
    { "a lossy network loses no request", lossy_network },
    { "a completion may submit again", submit_from_completion },
};

UNIT_SUITE("io", tests)
