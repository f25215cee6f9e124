/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests: what they mean, and what they cost. */
#include <errno.h>
#include <stdlib.h>

#include "scene.h"
#include "unit.h"

static struct scene scene;
static struct scene_client *client = &scene.clients[0];
static struct rdisk_error err;
static uint8_t buffer[65536 + 4096] __attribute__((aligned(4096)));
static struct scene_io ios[8];

static void begin(uint64_t seed)
{
    memset(buffer, 0, sizeof(buffer));
    scene_begin(&scene, seed);
    REQUIRE(scene_connect(client));
}

static void begin_registered(uint64_t seed)
{
    begin(seed);
    REQUIRE(rdisk_initiator_register(client->session, buffer, sizeof(buffer),
                                     &err) == 0);
}

static void end_registered(void)
{
    rdisk_initiator_unregister(client->session, buffer, sizeof(buffer));
    scene_end(&scene);
}

static struct rdisk_queue *queue(void)
{
    return rdisk_initiator_queue(client->session, 0);
}

static struct rdisk_queue_counters counters(void)
{
    struct rdisk_queue_counters counters;

    rdisk_queue_counters(queue(), &counters);
    return counters;
}

/* ---- Meaning ----------------------------------------------------------- */

static void flush_arrives(void)
{
    begin(1);
    CHECK_EQUAL(scene_do(client, RDISK_OP_FLUSH, 0, NULL, 0), 0);
    CHECK_EQUAL(scene.flushes, 1);
    CHECK_EQUAL(counters().flushes, 1);
    scene_end(&scene);
}

static void fua_arrives(void)
{
    begin(1);
    scene.park = true;
    CHECK_EQUAL(scene_submit(&ios[0], client, 0, RDISK_OP_WRITE, 0, buffer,
                             512), 0);
    scene_pump(&scene);
    /* The flag is the caller's to set before submit: do it the hard way. */
    rdisk_queue_kick(queue());
    scene_pump(&scene);
    REQUIRE(scene.parked_count == 1);
    CHECK_EQUAL(scene.parked[0]->flags, 0);
    scene_unpark(&scene, 1);
    scene_pump(&scene);
    ios[0].request.flags = RDISK_REQUEST_FUA;
    client->outstanding++;
    CHECK_EQUAL(rdisk_queue_submit(queue(), &ios[0].request), 0);
    rdisk_queue_kick(queue());
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

    begin(1);
    CHECK_EQUAL(scene_do(client, RDISK_OP_READ, 0, buffer, 100), -EINVAL);
    CHECK_EQUAL(scene_do(client, RDISK_OP_READ, 100, buffer, 512), -EINVAL);
    CHECK_EQUAL(scene_do(client, RDISK_OP_READ, 0, buffer, 0), -EINVAL);
    CHECK_EQUAL(scene_do(client, RDISK_OP_READ, SCENE_SIZE, buffer, 512),
                -EINVAL);
    CHECK_EQUAL(scene_do(client, RDISK_OP_WRITE, SCENE_SIZE - 512, buffer,
                         1024), -EINVAL);
    CHECK_EQUAL(scene_do(client, RDISK_OP_WRITE, UINT64_MAX - 511, buffer,
                         1024), -EINVAL);
    CHECK_EQUAL(scene_do(client, RDISK_OP_WRITE, 0, buffer, 65536 + 512),
                -EINVAL);
    CHECK_EQUAL(scene_do(client, RDISK_OP_FLUSH, 512, NULL, 0), -EINVAL);
    /* A length that its pieces do not add up to. */
    scene_submit(io, client, 0, RDISK_OP_READ, 0, buffer, 512);
    rdisk_queue_kick(queue());
    scene_pump(&scene);
    io->request.length = 1024;
    CHECK_EQUAL(rdisk_queue_submit(queue(), &io->request), -EINVAL);
    CHECK_EQUAL(scene.requests, 1);
    scene_end(&scene);
}

static void statuses_become_errors(void)
{
    static const struct {
        enum rdisk_status status;
        int code;
    } cases[] = {
        { RDISK_STATUS_IO_ERROR, -EIO }, { RDISK_STATUS_NO_SPACE, -ENOSPC },
        { RDISK_STATUS_READ_ONLY, -EROFS },
        { RDISK_STATUS_STALE, -ESTALE },
        { RDISK_STATUS_UNSUPPORTED, -ENOTSUP },
    };

    begin_registered(1);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        memset(buffer, 0x55, 4096);
        scene.fail_with = cases[i].status;
        CHECK_EQUAL(scene_do(client, RDISK_OP_READ, 0, buffer, 4096),
                    cases[i].code);
        /* A failed read leaves the memory alone. */
        CHECK_EQUAL(buffer[0], 0x55);
        CHECK_EQUAL(scene_do(client, RDISK_OP_WRITE, 0, buffer, 4096),
                    cases[i].code);
    }
    CHECK_EQUAL(scene.disk[0], 0);
    scene.fail_with = RDISK_STATUS_OK;
    CHECK_EQUAL(scene_do(client, RDISK_OP_READ, 0, buffer, 4096), 0);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
    end_registered();
}

static void read_only_grant(void)
{
    scene_begin(&scene, 1);
    scene.read_only = true;
    REQUIRE(scene_connect(client));
    CHECK(rdisk_initiator_info(client->session)->read_only);
    CHECK_EQUAL(scene_do(client, RDISK_OP_WRITE, 0, buffer, 512), -EROFS);
    CHECK_EQUAL(scene_do(client, RDISK_OP_READ, 0, buffer, 512), 0);
    CHECK_EQUAL(scene.requests, 1);
    scene_end(&scene);
}

static void read_only_wish(void)
{
    scene_begin(&scene, 1);
    client->options.read_only = true;
    client->options.shared = true;
    REQUIRE(scene_connect(client));
    CHECK(scene.last_open.read_only && scene.last_open.shared);
    CHECK(rdisk_initiator_info(client->session)->read_only);
    CHECK_EQUAL(scene_do(client, RDISK_OP_WRITE, 0, buffer, 512), -EROFS);
    scene_end(&scene);
}

static void not_ready(void)
{
    begin(1);
    rdisk_initiator_close(client->session);
    CHECK_EQUAL(scene_do(client, RDISK_OP_READ, 0, buffer, 512), -ENOTCONN);
    scene_pump(&scene);
    CHECK_EQUAL(scene_do(client, RDISK_OP_READ, 0, buffer, 512), -ENOTCONN);
    scene_end(&scene);
}

static void sessions_share_registrations(void)
{
    uint64_t before;

    begin_registered(1);
    /* A second session of the same process and device. */
    scene.clients[1].env = client->env;
    REQUIRE(scene_connect(&scene.clients[1]));
    before = fake_calls(client->host, FAKE_REG_MR);
    CHECK_EQUAL(rdisk_initiator_register(scene.clients[1].session, buffer,
                                         sizeof(buffer), &err), 0);
    CHECK_EQUAL(fake_calls(client->host, FAKE_REG_MR), before);
    rdisk_initiator_unregister(client->session, buffer, sizeof(buffer));
    scene_disconnect(client);
    CHECK_EQUAL(scene_do(&scene.clients[1], RDISK_OP_READ, 0, buffer, 512),
                0);
    rdisk_initiator_unregister(scene.clients[1].session, buffer,
                               sizeof(buffer));
    scene_end(&scene);
}

/* The other session may take it back under a request of this one. */
static void sessions_use_their_own_registrations(void)
{
    struct scene_client *other = &scene.clients[1];
    struct rdisk_queue_counters counters;

    begin_registered(1);
    other->env = client->env;
    REQUIRE(scene_connect(other));
    CHECK_EQUAL(scene_do(other, RDISK_OP_READ, 0, buffer, 512), 0);
    rdisk_queue_counters(rdisk_initiator_queue(other->session, 0), &counters);
    CHECK_EQUAL(counters.copied_bytes, 512);
    end_registered();
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

    begin_registered(1);
    CHECK_EQUAL(scene_do(client, op, 0, buffer, 4096), 0);
    before = counters();
    server_before = served();
    for (unsigned int i = 0; i < requests; i++) {
        CHECK_EQUAL(scene_do(client, op, 0, buffer, 4096), 0);
    }
    after = counters();
    server_after = served();
    CHECK_EQUAL(after.doorbells - before.doorbells, requests);
    CHECK_EQUAL(after.work_requests - before.work_requests, requests);
    CHECK_EQUAL(after.receives - before.receives, requests);
    CHECK_EQUAL(after.copied_bytes, 0);
    CHECK_EQUAL(server_after.doorbells - server_before.doorbells, requests);
    CHECK_EQUAL(server_after.work_requests - server_before.work_requests,
                requests);
    CHECK_EQUAL(server_after.receives - server_before.receives, requests);
    end_registered();
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

    begin_registered(1);
    before = counters();
    for (unsigned int i = 0; i < 8; i++) {
        CHECK_EQUAL(scene_submit(&ios[i], client, 0, RDISK_OP_WRITE, 0,
                                 buffer + i * 4096, 4096), 0);
    }
    rdisk_queue_kick(queue());
    CHECK_EQUAL(counters().doorbells - before.doorbells, 1);
    CHECK_EQUAL(counters().work_requests - before.work_requests, 8);
    scene_pump(&scene);
    for (unsigned int i = 0; i < 8; i++) {
        CHECK_EQUAL(ios[i].result, 0);
    }
    end_registered();
}

static void idle_sleeps(void)
{
    struct rdisk_queue_counters before;
    struct rdisk_target_counters server_before;

    begin_registered(1);
    CHECK_EQUAL(scene_do(client, RDISK_OP_READ, 0, buffer, 4096), 0);
    scene_advance(&scene, 1000);
    before = counters();
    server_before = served();
    scene_advance(&scene, 600000);
    CHECK_EQUAL(counters().wakeups, before.wakeups);
    CHECK_EQUAL(served().wakeups, server_before.wakeups);
    end_registered();
}

static const struct unit_test tests[] = {
    { "a flush arrives", flush_arrives },
    { "FUA arrives", fua_arrives },
    { "a request that cannot be is refused before it is sent",
      bad_requests },
    { "each status of the server becomes its errno",
      statuses_become_errors },
    { "a read-only grant refuses writes", read_only_grant },
    { "a read-only session refuses writes", read_only_wish },
    { "a session that is not ready takes no request", not_ready },
    { "sessions of one process share registrations",
      sessions_share_registrations },
    { "a session uses no memory that only another one has registered",
      sessions_use_their_own_registrations },
    { "a read costs one post and one receive on each side",
      cost_of_a_read },
    { "a write costs one post and one receive on each side",
      cost_of_a_write },
    { "requests submitted together ring once", batch_rings_once },
    { "an idle queue is never woken", idle_sleeps },
};

UNIT_SUITE("request", tests)
