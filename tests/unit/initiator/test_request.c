/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests: what they mean, and what they cost. */
#include <errno.h>
#include <stdlib.h>

#include "tests/unit/support/lone.h"
#include "tests/unit/support/unit.h"

static struct rdisk_error err;
static struct scene_io ios[8];

/* ---- Meaning ----------------------------------------------------------- */

static void flush_arrives(void)
{
    lone_begin(1);
    CHECK_EQUAL(scene_do(lone, RDISK_OP_FLUSH, 0, NULL, 0), 0);
    CHECK_EQUAL(scene.flushes, 1);
    CHECK_EQUAL(lone_counters().ops.count[RDISK_OP_FLUSH], 1);
    scene_end(&scene);
}

static void fua_arrives(void)
{
    lone_begin(1);
    scene.park = true;
    CHECK_EQUAL(scene_submit(&ios[0], lone, 0, RDISK_OP_WRITE, 0, memory, 512),
                0);
    scene_pump(&scene);
    /* The flag is the caller's to set before submit: do it the hard way. */
    rdisk_queue_kick(lone_queue());
    scene_pump(&scene);
    REQUIRE(scene.parked_count == 1);
    CHECK_EQUAL(scene.parked[0]->flags, 0);
    scene_unpark(&scene, 1);
    scene_pump(&scene);
    ios[0].request.flags = RDISK_REQUEST_FUA;
    lone->outstanding++;
    CHECK_EQUAL(rdisk_queue_submit(lone_queue(), &ios[0].request), 0);
    rdisk_queue_kick(lone_queue());
    scene_pump(&scene);
    REQUIRE(scene.parked_count == 1);
    CHECK_EQUAL(scene.parked[0]->flags, RDISK_REQUEST_FUA);
    scene_unpark(&scene, 1);
    scene_pump(&scene);
    scene_end(&scene);
}

static void bad_requests(void)
{
    struct scene_io *io = &ios[0];

    lone_begin(1);
    CHECK_EQUAL(scene_do(lone, RDISK_OP_READ, 0, memory, 100), -EINVAL);
    CHECK_EQUAL(scene_do(lone, RDISK_OP_READ, 100, memory, 512), -EINVAL);
    CHECK_EQUAL(scene_do(lone, RDISK_OP_READ, 0, memory, 0), -EINVAL);
    CHECK_EQUAL(scene_do(lone, RDISK_OP_READ, SCENE_SIZE, memory, 512),
                -EINVAL);
    CHECK_EQUAL(scene_do(lone, RDISK_OP_WRITE, SCENE_SIZE - 512, memory, 1024),
                -EINVAL);
    CHECK_EQUAL(scene_do(lone, RDISK_OP_WRITE, UINT64_MAX - 511, memory, 1024),
                -EINVAL);
    CHECK_EQUAL(scene_do(lone, RDISK_OP_WRITE, 0, memory, 65536 + 512),
                -EINVAL);
    CHECK_EQUAL(scene_do(lone, RDISK_OP_FLUSH, 512, NULL, 0), -EINVAL);
    CHECK_EQUAL(scene_do(lone, (enum rdisk_op)RDISK_OPS, 0, memory, 512),
                -ENOTSUP);
    /* A length that its pieces do not add up to. */
    scene_submit(io, lone, 0, RDISK_OP_READ, 0, memory, 512);
    rdisk_queue_kick(lone_queue());
    scene_pump(&scene);
    io->request.length = 1024;
    CHECK_EQUAL(rdisk_queue_submit(lone_queue(), &io->request), -EINVAL);
    CHECK_EQUAL(scene.requests, 1);
    scene_end(&scene);
}

static void statuses_become_errors(void)
{
    static const struct {
        enum rdisk_status status;
        int code;
    } cases[] = {
        { RDISK_STATUS_IO_ERROR, -EIO },
        { RDISK_STATUS_NO_SPACE, -ENOSPC },
        { RDISK_STATUS_READ_ONLY, -EROFS },
        { RDISK_STATUS_STALE, -ESTALE },
        { RDISK_STATUS_UNSUPPORTED, -ENOTSUP },
    };

    lone_begin_registered(1);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        memset(memory, 0x55, 4096);
        scene.fail_with = cases[i].status;
        CHECK_EQUAL(scene_do(lone, RDISK_OP_READ, 0, memory, 4096),
                    cases[i].code);
        /* A failed read leaves the memory alone. */
        CHECK_EQUAL(memory[0], 0x55);
        CHECK_EQUAL(scene_do(lone, RDISK_OP_WRITE, 0, memory, 4096),
                    cases[i].code);
    }
    CHECK_EQUAL(scene.disk[0], 0);
    scene.fail_with = RDISK_STATUS_OK;
    CHECK_EQUAL(scene_do(lone, RDISK_OP_READ, 0, memory, 4096), 0);
    CHECK_EQUAL(lone->state, RDISK_INITIATOR_READY);
    lone_end_registered();
}

static void read_only_grant(void)
{
    scene_begin(&scene, 1);
    scene.read_only = true;
    REQUIRE(scene_connect(lone));
    CHECK(rdisk_initiator_info(lone->session)->read_only);
    CHECK_EQUAL(scene_do(lone, RDISK_OP_WRITE, 0, memory, 512), -EROFS);
    CHECK_EQUAL(scene_do(lone, RDISK_OP_READ, 0, memory, 512), 0);
    CHECK_EQUAL(scene.requests, 1);
    scene_end(&scene);
}

static void read_only_wish(void)
{
    scene_begin(&scene, 1);
    lone->options.read_only = true;
    lone->options.shared = true;
    REQUIRE(scene_connect(lone));
    CHECK(scene.last_open.read_only && scene.last_open.shared);
    CHECK(rdisk_initiator_info(lone->session)->read_only);
    CHECK_EQUAL(scene_do(lone, RDISK_OP_WRITE, 0, memory, 512), -EROFS);
    scene_end(&scene);
}

static void not_ready(void)
{
    lone_begin(1);
    rdisk_initiator_close(lone->session);
    CHECK_EQUAL(scene_do(lone, RDISK_OP_READ, 0, memory, 512), -ENOTCONN);
    scene_pump(&scene);
    CHECK_EQUAL(scene_do(lone, RDISK_OP_READ, 0, memory, 512), -ENOTCONN);
    scene_end(&scene);
}

static void sessions_share_registrations(void)
{
    uint64_t before;

    lone_begin_registered(1);
    /* A second session of the same process and device. */
    scene.clients[1].env = lone->env;
    REQUIRE(scene_connect(&scene.clients[1]));
    before = fake_calls(lone->host, FAKE_REG_MR);
    CHECK_EQUAL(rdisk_initiator_register(scene.clients[1].session, memory,
                                         sizeof(memory), &err),
                0);
    CHECK_EQUAL(fake_calls(lone->host, FAKE_REG_MR), before);
    rdisk_initiator_unregister(lone->session, memory, sizeof(memory));
    scene_disconnect(lone);
    CHECK_EQUAL(scene_do(&scene.clients[1], RDISK_OP_READ, 0, memory, 512), 0);
    rdisk_initiator_unregister(scene.clients[1].session, memory,
                               sizeof(memory));
    scene_end(&scene);
}

/* The other session may take it back under a request of this one. */
static void sessions_use_their_own_registrations(void)
{
    struct scene_client *other = &scene.clients[1];
    struct rdisk_queue_counters counters = { 0 };

    lone_begin_registered(1);
    other->env = lone->env;
    REQUIRE(scene_connect(other));
    CHECK_EQUAL(scene_do(other, RDISK_OP_READ, 0, memory, 512), 0);
    rdisk_queue_counters(rdisk_initiator_queue(other->session, 0), &counters);
    CHECK_EQUAL(counters.copied_bytes, 512);
    lone_end_registered();
}

/* ---- Cost -------------------------------------------------------------- */

static struct rdisk_target_counters served(void)
{
    struct rdisk_target_counters counters = { 0 };

    rdisk_target_queue_counters(scene.queues[0].queue, &counters);
    return counters;
}

/* What one 4 KiB request on registered memory costs both sides. */
static void cost(enum rdisk_op op)
{
    struct rdisk_queue_counters before, after;
    struct rdisk_target_counters server_before, server_after;
    unsigned int requests = 200;

    lone_begin_registered(1);
    CHECK_EQUAL(scene_do(lone, op, 0, memory, 4096), 0);
    before = lone_counters();
    server_before = served();
    for (unsigned int i = 0; i < requests; i++) {
        CHECK_EQUAL(scene_do(lone, op, 0, memory, 4096), 0);
    }
    after = lone_counters();
    server_after = served();
    CHECK_EQUAL(after.doorbells - before.doorbells, requests);
    CHECK_EQUAL(after.work_requests - before.work_requests, requests);
    CHECK_EQUAL(after.receives - before.receives, requests);
    CHECK_EQUAL(after.copied_bytes, 0);
    CHECK_EQUAL(server_after.doorbells - server_before.doorbells, requests);
    CHECK_EQUAL(server_after.work_requests - server_before.work_requests,
                requests);
    CHECK_EQUAL(server_after.receives - server_before.receives, requests);
    lone_end_registered();
}

static void cost_of_a_read(void)
{
    cost(RDISK_OP_READ);
}

static void cost_of_a_write(void)
{
    cost(RDISK_OP_WRITE);
}

static void batch_rings_once(void)
{
    struct rdisk_queue_counters before;

    lone_begin_registered(1);
    before = lone_counters();
    for (unsigned int i = 0; i < 8; i++) {
        CHECK_EQUAL(scene_submit(&ios[i], lone, 0, RDISK_OP_WRITE, 0,
                                 memory + i * 4096, 4096),
                    0);
    }
    rdisk_queue_kick(lone_queue());
    CHECK_EQUAL(lone_counters().doorbells - before.doorbells, 1);
    CHECK_EQUAL(lone_counters().work_requests - before.work_requests, 8);
    scene_pump(&scene);
    for (unsigned int i = 0; i < 8; i++) {
        CHECK_EQUAL(ios[i].result, 0);
    }
    lone_end_registered();
}

static void idle_sleeps(void)
{
    struct rdisk_queue_counters before;
    struct rdisk_target_counters server_before;

    lone_begin_registered(1);
    CHECK_EQUAL(scene_do(lone, RDISK_OP_READ, 0, memory, 4096), 0);
    scene_advance(&scene, 1000);
    before = lone_counters();
    server_before = served();
    scene_advance(&scene, 600000);
    CHECK_EQUAL(lone_counters().wakeups, before.wakeups);
    CHECK_EQUAL(served().wakeups, server_before.wakeups);
    lone_end_registered();
}

static const struct unit_test tests[] = {
    { "a flush arrives", flush_arrives },
    { "FUA arrives", fua_arrives },
    { "a request that cannot be is refused before it is sent", bad_requests },
    { "each status of the server becomes its errno", statuses_become_errors },
    { "a read-only grant refuses writes", read_only_grant },
    { "a read-only session refuses writes", read_only_wish },
    { "a session that is not ready takes no request", not_ready },
    { "sessions of one process share registrations",
      sessions_share_registrations },
    { "a session uses no memory that only another one has registered",
      sessions_use_their_own_registrations },
    { "a read costs one post and one receive on each side", cost_of_a_read },
    { "a write costs one post and one receive on each side", cost_of_a_write },
    { "requests submitted together ring once", batch_rings_once },
    { "an idle queue is never woken", idle_sleeps },
};

UNIT_SUITE("request", tests)
