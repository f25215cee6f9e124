/* SPDX-License-Identifier: BSD-3-Clause */
/* Slots come and go with the load. */
#include <string.h>

#include "tests/unit/support/scene.h"
#include "tests/unit/support/unit.h"
#include "transport/initiator/session.h"
#include "transport/target/queue.h"
#include "transport/target/session.h"

#define SLOTS     64u
#define SLOT_SIZE (256u << 10)
#define STRIDE    (RDISK_HEADER_AREA + SLOT_SIZE)
#define DEPTH     (SLOTS + RDISK_BASE_SLOTS_MAX)
#define SECOND    (1000 * RDISK_MSEC)

static struct scene scene;
static struct scene_io ios[2][DEPTH];
static uint8_t buffer[SLOT_SIZE];

static void prepare(uint64_t seed)
{
    scene_prepare(&scene, seed);
    scene.options.withheld_features = 0;
    scene.vast = true;
    scene.size = 1ull << 30;
    scene.park = true;
    for (unsigned int i = 0; i < SCENE_CLIENTS; i++) {
        scene.clients[i].options.shared = true;
        scene.clients[i].options.queues = 4;
        scene.clients[i].options.slots = SLOTS;
        scene.clients[i].options.reconnect_delay_ms = 60000;
        scene.clients[i].options.slot_size = SLOT_SIZE;
    }
}

static void begin(uint64_t seed)
{
    prepare(seed);
    scene_serve(&scene);
    REQUIRE(scene_connect(&scene.clients[0]));
}

static struct rdisk_queue_counters counters(unsigned int client)
{
    struct rdisk_queue_counters sum = { 0 };
    struct rdisk_queue *queue;

    for (unsigned int i = 0;
         (queue = rdisk_initiator_queue(scene.clients[client].session, i));
         i++) {
        rdisk_queue_counters(queue, &sum);
    }
    return sum;
}

/* Requests that the server does not answer yet. */
static void submit(unsigned int client, enum rdisk_op op, unsigned int count,
                   uint32_t length)
{
    for (unsigned int i = 0; i < count; i++) {
        CHECK_EQUAL(scene_submit(&ios[client][i], &scene.clients[client], 0, op,
                                 0, length ? buffer : NULL, length),
                    0);
    }
    rdisk_queue_kick(rdisk_initiator_queue(scene.clients[client].session, 0));
}

static unsigned int completed(unsigned int client, unsigned int count)
{
    unsigned int n = 0;

    for (unsigned int i = 0; i < count; i++) {
        n += ios[client][i].completed;
    }
    return n;
}

/* As many as are parked now, again and again. */
static void answer_all(void)
{
    while (scene.parked_count) {
        scene_unpark(&scene, scene.parked_count);
        scene_pump(&scene);
    }
}

static void idle_session(void)
{
    begin(1);
    CHECK(scene.target->memory > 0);
    CHECK(scene.target->memory <= 1 << 20);
    CHECK_EQUAL(scene.target->growth, 0);
    scene_end(&scene);
}

static void any_number_of_queues(void)
{
    struct rdisk_target target = { 0 };
    struct rdisk_target_session session = {
        .target = &target,
        .granted_slot_size = RDISK_SLOT_SIZE_MAX,
    };

    rdisk_target_options_init(&target.options);
    for (unsigned int queues = 1; queues <= RDISK_QUEUES_MAX; queues++) {
        unsigned int slots;
        uint32_t size;

        session.granted_queues = queues;
        rdisk_target_base(&session, &slots, &size);
        CHECK(slots >= 1 && slots <= RDISK_BASE_SLOTS_MAX);
        CHECK(size >= RDISK_SLOT_SIZE_MIN && size % RDISK_SLOT_SIZE_MIN == 0);
        CHECK(queues * rdisk_target_slots_size(slots, size) <= 1 << 20);
    }
}

static void all_slots(void)
{
    uint64_t base;

    begin(2);
    base = scene.target->memory;
    submit(0, RDISK_OP_FLUSH, DEPTH, 0);
    scene_pump(&scene);
    CHECK_EQUAL(scene.parked_count, DEPTH);
    CHECK_EQUAL(counters(0).slots, SLOTS);
    CHECK_EQUAL(scene.target->growth, (uint64_t)SLOTS * STRIDE);
    CHECK_EQUAL(scene.target->memory, base + scene.target->growth);
    scene_unpark(&scene, DEPTH);
    scene_pump(&scene);
    CHECK_EQUAL(completed(0, DEPTH), DEPTH);

    /* Not at once. */
    scene_advance(&scene, 2000);
    CHECK_EQUAL(counters(0).slots, SLOTS);
    scene_advance(&scene, 8000);
    CHECK_EQUAL(counters(0).slots, 0);
    CHECK_EQUAL(scene.target->memory, base);
    CHECK_EQUAL(scene.target->growth, 0);
    CHECK_EQUAL(counters(0).slot_returns, counters(0).slot_grants);
    CHECK_EQUAL(scene.target->totals.slots.returns, counters(0).slot_returns);
    CHECK_EQUAL(scene.target->totals.slots.recalls, 0);
    scene_end(&scene);
}

static void part_of_them(void)
{
    begin(3);
    submit(0, RDISK_OP_FLUSH, DEPTH, 0);
    scene_pump(&scene);
    scene_unpark(&scene, DEPTH);
    scene_pump(&scene);
    for (unsigned int i = 0; i < 100; i++) {
        submit(0, RDISK_OP_FLUSH, 20, 0);
        scene_pump(&scene);
        scene_unpark(&scene, 20);
        scene_advance(&scene, 100);
    }
    CHECK(counters(0).slots >= 16);
    CHECK(counters(0).slots <= 24);
    scene_end(&scene);
}

static void large_request(void)
{
    begin(4);
    submit(0, RDISK_OP_READ, 1, SLOT_SIZE);
    scene_pump(&scene);
    answer_all();
    CHECK_EQUAL(completed(0, 1), 1);
    CHECK_EQUAL(ios[0][0].result, 0);
    CHECK(counters(0).slot_grants == 1);
    scene_end(&scene);
}

/* One has all that there is, and does not rest. */
static void small_memory(void)
{
    prepare(5);
    scene.options.max_memory = (2 << 20) + 4 * STRIDE;
    scene_serve(&scene);
    REQUIRE(scene_connect(&scene.clients[0]));
    REQUIRE(scene_connect(&scene.clients[1]));
    submit(0, RDISK_OP_FLUSH, DEPTH, 0);
    scene_pump(&scene);
    CHECK(scene.target->growth > 0);
    CHECK(scene.target->memory <= scene.options.max_memory);
    submit(1, RDISK_OP_READ, 4, SLOT_SIZE);
    scene_pump(&scene);
    answer_all();
    CHECK_EQUAL(completed(0, DEPTH), DEPTH);
    CHECK_EQUAL(completed(1, 4), 4);
    CHECK(scene.target->memory <= scene.options.max_memory);
    scene_end(&scene);
}

/* Of the first client, at the server. */
static struct rdisk_target_queue *first_queue(void)
{
    struct scene_queue *queue = scene.queues;

    while (queue->queue->index != 1) {
        queue++;
    }
    return queue->queue;
}

/* The client has the answer, but its device's acknowledgement is lost: the
 * server's may send the payload again. */
static void unacknowledged(void)
{
    struct ibv_qp *qp;

    prepare(10);
    scene.options.max_memory = (2 << 20) + STRIDE;
    scene.park = false;
    scene_serve(&scene);
    REQUIRE(scene_connect(&scene.clients[0]));
    REQUIRE(scene_connect(&scene.clients[1]));
    while (scene.target->memory + STRIDE <= scene.options.max_memory) {
        scene.options.max_memory -= STRIDE;
    }
    scene.options.max_memory += STRIDE;
    REQUIRE(rdisk_target_set_limits(scene.target, &scene.options,
                                    &scene.error) == 0);
    qp = first_queue()->qp.qp;
    fake_qp_lose_acks(qp, true);
    submit(0, RDISK_OP_READ, 1, SLOT_SIZE);
    scene_pump(&scene);
    CHECK_EQUAL(completed(0, 1), 1);
    submit(1, RDISK_OP_READ, 1, SLOT_SIZE);
    scene_pump(&scene);
    CHECK_EQUAL(counters(0).slot_returns, 1);
    CHECK_EQUAL(completed(1, 1), 0);
    CHECK_EQUAL(scene.target->growth, STRIDE);
    fake_qp_lose_acks(qp, false);
    scene_advance(&scene, 2000);
    CHECK_EQUAL(completed(1, 1), 1);
    CHECK_EQUAL(scene.clients[0].state, RDISK_INITIATOR_READY);
    scene_end(&scene);
}

/* Two that want all share it. */
static void shared_fairly(void)
{
    uint64_t first, second;

    prepare(6);
    scene.options.max_memory = (2 << 20) + 64 * STRIDE;
    scene_serve(&scene);
    REQUIRE(scene_connect(&scene.clients[0]));
    REQUIRE(scene_connect(&scene.clients[1]));
    submit(0, RDISK_OP_FLUSH, DEPTH, 0);
    scene_pump(&scene);
    /* Never all that is left. */
    CHECK(scene.target->growth > 0);
    CHECK(scene.target->growth <= 40 * STRIDE);
    for (unsigned int i = 0; i < 200; i++) {
        for (unsigned int client = 0; client < 2; client++) {
            unsigned int ended = completed(client, DEPTH);

            if (ended == DEPTH || (client == 1 && i == 0)) {
                memset(ios[client], 0, sizeof(ios[client]));
                submit(client, RDISK_OP_FLUSH, DEPTH, 0);
            }
        }
        scene_pump(&scene);
        scene_unpark(&scene, scene.parked_count);
        scene_advance(&scene, 10);
    }
    first = counters(0).slots;
    second = counters(1).slots;
    CHECK(first + second >= 30);
    CHECK(first <= second + 9 && second <= first + 9);
    CHECK(scene.target->totals.slots.recalls > 0);
    answer_all();
    scene_end(&scene);
}

/* Memory for one slot, and queues that never have enough. */
static void each_its_turn(void)
{
    struct scene_io io[3][2];
    unsigned int carried[3] = { 0 };

    prepare(11);
    scene.options.max_memory = 2 << 20;
    scene_serve(&scene);
    for (unsigned int i = 0; i < 3; i++) {
        REQUIRE(scene_connect(&scene.clients[i]));
    }
    scene.options.max_memory = scene.target->memory + STRIDE;
    REQUIRE(rdisk_target_set_limits(scene.target, &scene.options,
                                    &scene.error) == 0);
    memset(io, 0, sizeof(io));
    for (unsigned int round = 0; round < 100; round++) {
        for (unsigned int i = 0; i < 3; i++) {
            for (unsigned int j = 0; j < 2; j++) {
                if (round && !io[i][j].completed) {
                    continue;
                }
                carried[i] += io[i][j].completed;
                io[i][j].completed = 0;
                CHECK_EQUAL(scene_submit(&io[i][j], &scene.clients[i], 0,
                                         RDISK_OP_READ, 0, buffer, SLOT_SIZE),
                            0);
            }
            rdisk_queue_kick(
                rdisk_initiator_queue(scene.clients[i].session, 0));
        }
        scene_pump(&scene);
        scene_unpark(&scene, scene.parked_count);
        scene_advance(&scene, 20);
    }
    for (unsigned int i = 0; i < 3; i++) {
        CHECK(carried[i] >= 20);
    }
    scene.park = false;
    answer_all();
    scene_end(&scene);
}

/* A session without slots of its own that come and go has all the memory. */
static void beside_an_older_one(void)
{
    prepare(12);
    scene.clients[0].options.withheld_features = RDISK_FEATURE_SLOTS;
    scene.options.max_memory = 4ull * SLOTS * STRIDE + (1 << 20);
    scene_serve(&scene);
    REQUIRE(scene_connect(&scene.clients[0]));
    scene.options.max_memory = scene.target->memory + (1 << 20);
    REQUIRE(rdisk_target_set_limits(scene.target, &scene.options,
                                    &scene.error) == 0);
    REQUIRE(scene_connect(&scene.clients[1]));
    scene.options.max_memory = scene.target->memory;
    REQUIRE(rdisk_target_set_limits(scene.target, &scene.options,
                                    &scene.error) == 0);
    submit(1, RDISK_OP_READ, DEPTH, SLOT_SIZE);
    scene_pump(&scene);
    /* One at a time, at least. */
    CHECK_EQUAL(counters(1).slots, 1);
    scene_unpark(&scene, scene.parked_count);
    scene_advance(&scene, 100);
    CHECK(completed(1, DEPTH) >= 1);
    /* What it frees is shared, without another request for it. */
    scene_disconnect(&scene.clients[0]);
    scene_advance(&scene, 2000);
    CHECK(counters(1).slots >= 16);
    scene.park = false;
    answer_all();
    scene_advance(&scene, 1000);
    CHECK_EQUAL(completed(1, DEPTH), DEPTH);
    scene_end(&scene);
}

/* Two queues with large requests for which bounce memory is missing: the one
 * slot that there is does not go back and forth between them. */
static void slot_of_no_use(void)
{
    struct scene_io io[2][2];

    prepare(14);
    scene.options.max_memory = 2 << 20;
    scene.clients[0].options.guest_memory = RDISK_GUEST_MEMORY_BOUNCE;
    scene.clients[0].options.bounce_size = SLOT_SIZE;
    scene_serve(&scene);
    REQUIRE(scene_connect(&scene.clients[0]));
    scene.options.max_memory = scene.target->memory + STRIDE;
    REQUIRE(rdisk_target_set_limits(scene.target, &scene.options,
                                    &scene.error) == 0);
    memset(io, 0, sizeof(io));
    for (unsigned int i = 0; i < 2; i++) {
        CHECK_EQUAL(scene_submit(&io[i][0], &scene.clients[0], i, RDISK_OP_READ,
                                 0, buffer, 4096),
                    0);
        CHECK_EQUAL(scene_submit(&io[i][1], &scene.clients[0], i, RDISK_OP_READ,
                                 0, buffer, SLOT_SIZE),
                    0);
        rdisk_queue_kick(rdisk_initiator_queue(scene.clients[0].session, i));
    }
    scene_pump(&scene);
    CHECK_EQUAL(scene.parked_count, 2);
    CHECK(scene.target->totals.slots.grants <= 8);
    answer_all();
    for (unsigned int i = 0; i < 2; i++) {
        CHECK_EQUAL(io[i][0].completed, 1);
        CHECK_EQUAL(io[i][1].completed, 1);
    }
    scene_end(&scene);
}

/* A queue that its thread has left returns what is recalled. */
static void recalled_from_none(void)
{
    prepare(13);
    scene.options.max_memory = 2 << 20;
    scene.park = false;
    scene_serve(&scene);
    REQUIRE(scene_connect(&scene.clients[0]));
    REQUIRE(scene_connect(&scene.clients[1]));
    scene.options.max_memory = scene.target->memory + STRIDE;
    REQUIRE(rdisk_target_set_limits(scene.target, &scene.options,
                                    &scene.error) == 0);
    submit(0, RDISK_OP_READ, 1, SLOT_SIZE);
    scene_pump(&scene);
    CHECK_EQUAL(completed(0, 1), 1);
    CHECK_EQUAL(scene.target->growth, STRIDE);
    rdisk_queue_detach(rdisk_initiator_queue(scene.clients[0].session, 0));
    submit(1, RDISK_OP_READ, 1, SLOT_SIZE);
    scene_pump(&scene);
    CHECK_EQUAL(completed(1, 1), 1);
    scene_end(&scene);
}

static void older(uint64_t by_client, uint64_t by_server)
{
    prepare(7);
    scene.options.withheld_features = by_server;
    scene.clients[0].options.withheld_features = by_client;
    scene_serve(&scene);
    REQUIRE(scene_connect(&scene.clients[0]));
    CHECK_EQUAL(scene.target->memory, 4ull * SLOTS * STRIDE);
    submit(0, RDISK_OP_FLUSH, DEPTH, 0);
    scene_pump(&scene);
    CHECK_EQUAL(scene.parked_count, SLOTS);
    answer_all();
    CHECK_EQUAL(completed(0, DEPTH), DEPTH);
    CHECK_EQUAL(counters(0).slot_waits, 0);
    scene_end(&scene);
}

static void older_client(void)
{
    older(RDISK_FEATURE_SLOTS, 0);
}

static void older_server(void)
{
    older(0, RDISK_FEATURE_SLOTS);
}

static void quota(void)
{
    prepare(8);
    scene_authenticate(&scene, "alice", "a secret of some length");
    scene.quota.memory = (1 << 20) + 8 * STRIDE;
    scene_serve(&scene);
    REQUIRE(scene_connect(&scene.clients[0]));
    submit(0, RDISK_OP_FLUSH, DEPTH, 0);
    scene_pump(&scene);
    CHECK(counters(0).slots >= 8);
    CHECK(scene.target->memory <= scene.quota.memory);
    answer_all();
    CHECK_EQUAL(completed(0, DEPTH), DEPTH);
    scene_end(&scene);
}

/* What waits when the connection is lost gets its slots from the next one. */
static void reconnect(void)
{
    begin(9);
    submit(0, RDISK_OP_FLUSH, DEPTH, 0);
    scene_pump(&scene);
    scene_restart_server(&scene);
    scene.park = true;
    scene_advance(&scene, 30000);
    CHECK_EQUAL(counters(0).slots, SLOTS);
    answer_all();
    CHECK_EQUAL(completed(0, DEPTH), DEPTH);
    scene_end(&scene);
}

static const struct unit_test tests[] = {
    { "each queue gets its turn where there is memory for one slot",
      each_its_turn },
    { "a large request is carried out beside an older session with all memory",
      beside_an_older_one },
    { "a slot that no queue can use does not go back and forth",
      slot_of_no_use },
    { "a queue without a thread returns what is recalled", recalled_from_none },
    { "an idle session has at most 1 MiB of slots", idle_session },
    { "the same with any number of queues", any_number_of_queues },
    { "a queue under load gets all its slots, and returns them", all_slots },
    { "a queue returns what it does not use of its slots", part_of_them },
    { "a large request gets a slot for it", large_request },
    { "a large request gets a slot that another session has", small_memory },
    { "slots are not released while the device may send from them again",
      unacknowledged },
    { "two sessions that want all slots share them", shared_fairly },
    { "an older client has all slots from the beginning", older_client },
    { "with an older server a client has all slots from the beginning",
      older_server },
    { "a client's quota limits what its session gets", quota },
    { "requests that wait for slots get them after a reconnect", reconnect },
};

UNIT_SUITE("slots", tests)
