/* SPDX-License-Identifier: BSD-3-Clause */
/* A session of the server ends for the first reason, and in time. */
#include <errno.h>

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

static void a_drained_session_is_fenced_at_once(void)
{
    struct scene_io io;

    scene_begin(&scene, 1);
    REQUIRE(scene_connect(client));
    scene.park = true;
    CHECK_EQUAL(scene_submit(&io, client, 0, RDISK_OP_WRITE, 0, buffer,
                             sizeof(buffer)),
                0);
    rdisk_queue_kick(rdisk_initiator_queue(client->session, 0));
    scene_pump(&scene);
    CHECK_EQUAL(scene.parked_count, 1);
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

static const struct unit_test tests[] = {
    { "a session that drains is fenced at once",
      a_drained_session_is_fenced_at_once },
    { "the first reason to end a session wins", the_first_reason_to_end_wins },
};

UNIT_SUITE("target-machine", tests)
