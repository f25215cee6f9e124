/* SPDX-License-Identifier: BSD-3-Clause */
/* A session of the server ends for the first reason, and in time. */
#include <errno.h>
#include <poll.h>

#include "tests/unit/support/scene.h"
#include "tests/unit/support/unit.h"

static struct scene scene;
static struct scene_client *const client = &scene.clients[0];
static uint8_t buffer[4096];

static void end(enum rdisk_status status, const char *text)
{
    REQUIRE(scene.holders[0].session);
    rdisk_target_session_end(scene.holders[0].session, status, text);
}

/* A session with a write that the server's storage does not complete. */
static void begin_write(struct scene_io *io, uint64_t seed)
{
    scene_begin(&scene, seed);
    REQUIRE(scene_connect(client));
    scene.park = true;
    CHECK_EQUAL(scene_submit(io, client, 0, RDISK_OP_WRITE, 0, buffer,
                             sizeof(buffer)),
                0);
    rdisk_queue_kick(rdisk_initiator_queue(client->session, 0));
    scene_pump(&scene);
    CHECK_EQUAL(scene.parked_count, 1);
}

static void a_drained_session_is_fenced_at_once(void)
{
    struct scene_io io;

    begin_write(&io, 1);
    end(RDISK_STATUS_SHUTTING_DOWN, "drained");
    scene_pump(&scene);
    CHECK(!io.completed);
    end(RDISK_STATUS_STALE, "taken away");
    scene_pump(&scene);
    CHECK_EQUAL(io.completed, 1);
    CHECK(io.result < 0);
    scene_failed(client, -ESTALE, "taken away");
    scene_unpark(&scene, 1);
    scene_drop(client);
    scene_end(&scene);
}

static void the_first_reason_to_end_wins(void)
{
    scene_begin(&scene, 2);
    REQUIRE(scene_connect(client));
    end(RDISK_STATUS_STALE, "taken away");
    end(RDISK_STATUS_SHUTTING_DOWN, "drained");
    end(RDISK_STATUS_BUSY, "something else");
    scene_pump(&scene);
    scene_failed(client, -ESTALE, "taken away");
    scene_drop(client);
    scene_end(&scene);
}

static bool server_readable(void)
{
    struct pollfd fd = {
        .fd = rdisk_target_fd(scene.target),
        .events = POLLIN,
    };

    return poll(&fd, 1, 0) == 1;
}

/* A removed device's descriptors stay readable. */
static void waiting_for_storage_without_a_device_is_idle(void)
{
    struct scene_io io;

    begin_write(&io, 3);
    fake_host_remove_device(scene.server_host, false);
    for (unsigned int i = 0; i < 10; i++) {
        rdisk_target_process(scene.target);
    }
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 1);
    CHECK(!server_readable());
    scene_unpark(&scene, 1);
    scene_pump(&scene);
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 0);
    fake_host_restore_device(scene.server_host);
    scene_advance(&scene, 30000);
    CHECK_EQUAL(io.completed, 1);
    scene_drop(client);
    scene_end(&scene);
}

static const struct unit_test tests[] = {
    { "a session that drains is fenced at once",
      a_drained_session_is_fenced_at_once },
    { "a server whose device is gone waits for its storage without spinning",
      waiting_for_storage_without_a_device_is_idle },
    { "the first reason to end a session wins", the_first_reason_to_end_wins },
};

UNIT_SUITE("target-machine", tests)
