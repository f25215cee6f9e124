/* SPDX-License-Identifier: BSD-3-Clause */
/* Sessions and the clock: timeouts, heartbeats, pings. */
#include <errno.h>

#include "tests/unit/support/scene.h"
#include "tests/unit/support/unit.h"

static struct scene scene;
static struct scene_client *client = &scene.clients[0];

static void late_progress_changes_nothing(void)
{
    /* At whichever step the timeout comes, FAILED stays FAILED. */
    for (unsigned int steps = 0; steps < 40; steps++) {
        scene_begin(&scene, steps);
        scene_start(client);
        for (unsigned int i = 0; i < steps; i++) {
            if (fake_fabric_step(scene.fabric) && i % 2) {
                rdisk_initiator_process(client->session);
            }
        }
        fake_fabric_set_now(scene.fabric,
                            rdisk_initiator_deadline(client->session));
        rdisk_initiator_process(client->session);
        scene_failed(client, -ETIMEDOUT, "open-timeout");
        scene_pump(&scene);
        scene_failed(client, -ETIMEDOUT, "open-timeout");
        CHECK_EQUAL(rdisk_initiator_deadline(client->session), RDISK_NEVER);
        scene_end(&scene);
    }
}

static void silence_is_noticed(void)
{
    scene_begin(&scene, 1);
    client->options.heartbeat_ms = 1000;
    REQUIRE(scene_connect(client));
    scene_advance(&scene, 10000);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
    fake_link_cut(client->host, scene.server_host, true);
    scene_advance(&scene, 1600);
    scene_failed(client, -ETIMEDOUT, "heartbeat=1");
    /* The server forgets the client as well, after twice that time. */
    scene_advance(&scene, 3000);
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 0);
    scene_end(&scene);
}

/*
 * QEMU's thread may be away for longer than the heartbeat, filling a buffer of
 * 2 GiB: no message has been sent to the server meanwhile.
 */
static void own_silence_is_no_fault(void)
{
    scene_begin(&scene, 1);
    client->options.heartbeat_ms = 1000;
    REQUIRE(scene_connect(client));
    fake_fabric_advance(scene.fabric, 1700 * RDISK_MSEC);
    rdisk_initiator_process(client->session);
    scene_advance(&scene, 5000);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
    fake_link_cut(client->host, scene.server_host, true);
    scene_advance(&scene, 1600);
    scene_failed(client, -ETIMEDOUT, "heartbeat=1");
    scene_end(&scene);
}

/* Its device answers for it, so no request fails for want of a session. */
static void a_busy_client_keeps_its_session(void)
{
    scene_begin(&scene, 1);
    client->options.heartbeat_ms = 1000;
    REQUIRE(scene_connect(client));
    client->away = true;
    scene_advance(&scene, 60000);
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 1);
    client->away = false;
    scene_advance(&scene, 5000);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
    scene_end(&scene);
}

/* As when the machine that runs both is suspended. */
static void a_server_that_was_away_asks_first(void)
{
    scene_begin(&scene, 1);
    client->options.heartbeat_ms = 1000;
    REQUIRE(scene_connect(client));
    client->away = true;
    fake_fabric_advance(scene.fabric, 5000 * RDISK_MSEC);
    scene_advance(&scene, 5000);
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 1);
    fake_link_cut(client->host, scene.server_host, true);
    fake_fabric_advance(scene.fabric, 5000 * RDISK_MSEC);
    scene_advance(&scene, 1600);
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 0);
    fake_link_cut(client->host, scene.server_host, false);
    client->away = false;
    scene_advance(&scene, 5000);
    scene_end(&scene);
}

/* It promises nothing, but its machine may lose its power all the same. */
static void a_client_without_heartbeat_is_noticed_too(void)
{
    scene_begin(&scene, 1);
    client->options.heartbeat_ms = 0;
    REQUIRE(scene_connect(client));
    client->away = true;
    scene_advance(&scene, 3600000);
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 1);
    fake_link_cut(client->host, scene.server_host, true);
    scene_advance(&scene, 70000);
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 0);
    scene_drop(client);
    scene_end(&scene);
}

/* The transport's retries end: they are fewer than those that rxe takes for no
 * limit. */
static void a_dead_server_is_noticed_without_heartbeat(void)
{
    static uint8_t buffer[512];
    struct scene_io io;

    scene_begin(&scene, 1);
    client->options.heartbeat_ms = 0;
    client->options.request_timeout_ms = 0;
    REQUIRE(scene_connect(client));
    fake_link_cut(client->host, scene.server_host, true);
    CHECK_EQUAL(scene_submit(&io, client, 0, RDISK_OP_READ, 0, buffer,
                             sizeof(buffer)),
                0);
    rdisk_queue_kick(rdisk_initiator_queue(client->session, 0));
    scene_advance(&scene, 3000);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
    scene_advance(&scene, 2000);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
    CHECK_EQUAL(io.completed, 1);
    fake_link_cut(client->host, scene.server_host, false);
    scene_drop(client);
    scene_end(&scene);
}

static void a_client_that_hangs_is_cut_off(void)
{
    scene_prepare(&scene, 1);
    scene.options.max_silence_ms = 10000;
    scene_serve(&scene);
    client->options.heartbeat_ms = 1000;
    REQUIRE(scene_connect(client));
    client->away = true;
    scene_advance(&scene, 9000);
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 1);
    scene_advance(&scene, 2000);
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 0);
    client->away = false;
    scene_pump(&scene);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
    scene_end(&scene);
}

static void too_short_a_silence_is_twice_the_heartbeat(void)
{
    scene_prepare(&scene, 1);
    scene.options.max_silence_ms = 1000;
    scene_serve(&scene);
    client->options.heartbeat_ms = 4000;
    REQUIRE(scene_connect(client));
    scene_advance(&scene, 60000);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
    client->away = true;
    scene_advance(&scene, 6000);
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 1);
    scene_advance(&scene, 3000);
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 0);
    client->away = false;
    scene_pump(&scene);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
    scene_end(&scene);
}

static void no_heartbeat_is_patient(void)
{
    scene_begin(&scene, 1);
    client->options.heartbeat_ms = 0;
    REQUIRE(scene_connect(client));
    scene_advance(&scene, 3600000);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 1);
    scene_end(&scene);
}

static uint64_t pong_took;

static void pong(void *opaque, uint64_t round_trip)
{
    pong_took = round_trip;
}

static void ping_is_answered(void)
{
    scene_begin(&scene, 1);
    REQUIRE(scene_connect(client));
    pong_took = 0;
    CHECK_EQUAL(rdisk_initiator_ping(client->session, pong, NULL), 0);
    CHECK_EQUAL(rdisk_initiator_ping(client->session, pong, NULL), -EBUSY);
    scene_pump(&scene);
    CHECK(pong_took > 0);
    CHECK_EQUAL(rdisk_initiator_ping(client->session, pong, NULL), 0);
    scene_pump(&scene);
    scene_end(&scene);
}

static const struct unit_test tests[] = {
    { "after a timeout late progress changes nothing",
      late_progress_changes_nothing },
    { "silence is noticed by both sides", silence_is_noticed },
    { "the time a client was away is not the server's silence",
      own_silence_is_no_fault },
    { "a client that is busy elsewhere keeps its session",
      a_busy_client_keeps_its_session },
    { "a server that was away asks before it takes a client for dead",
      a_server_that_was_away_asks_first },
    { "the power loss of a client without heartbeat is noticed",
      a_client_without_heartbeat_is_noticed_too },
    { "a dead server is noticed in about four seconds without heartbeat",
      a_dead_server_is_noticed_without_heartbeat },
    { "a client that hangs for longer than max-silence is disconnected",
      a_client_that_hangs_is_cut_off },
    { "a client is given twice its heartbeat, however short max-silence is",
      too_short_a_silence_is_twice_the_heartbeat },
    { "without a heartbeat silence is fine", no_heartbeat_is_patient },
    { "a ping is answered, one at a time", ping_is_answered },
};

UNIT_SUITE("session-time", tests)
