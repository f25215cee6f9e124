/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What may pass is tried again until open-timeout, and a server counts only the
 * time for which its client keeps it waiting.
 */
#include <errno.h>

#include "tests/unit/support/raw.h"
#include "tests/unit/support/scene.h"
#include "tests/unit/support/unit.h"
#include "transport/initiator/session.h"

static struct scene scene;
static struct scene_client *client = &scene.clients[0];
static struct scene_client *other = &scene.clients[1];

/* ---- Tried again -------------------------------------------------------- */

static void full_server(void)
{
    scene_prepare(&scene, 1);
    scene.options.max_sessions = 1;
    scene_serve(&scene);
    REQUIRE(scene_connect(other));
    CHECK(!scene_connect(client));
    CHECK_EQUAL(client->state, RDISK_INITIATOR_BACKOFF);
    scene_disconnect(other);
    scene_advance(&scene, 5000);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
    scene_end(&scene);
}

static void drained_server(void)
{
    scene_begin(&scene, 1);
    scene.drained = true;
    CHECK(!scene_connect(client));
    scene.drained = false;
    scene_advance(&scene, 1000);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
    scene_end(&scene);
}

/* Whichever message of the handshake it was, and wherever its queues were. */
static void dropped_handshake(void)
{
    for (enum rdisk_initiator_state state = RDISK_INITIATOR_HELLO_SENT;
         state <= RDISK_INITIATOR_JOINING; state++) {
        scene_begin(&scene, state);
        client->options.queues = 2;
        scene_start(client);
        for (unsigned int i = 0; i < 10000 && client->state != state; i++) {
            fake_fabric_step(scene.fabric);
            rdisk_initiator_process(client->session);
            if (client->state != state) {
                rdisk_target_process(scene.target);
            }
        }
        if (client->state == state) { /* else it authenticates, or creates */
            fake_qp_break(fake_host_qp(client->host, 0));
            scene_advance(&scene, 20000);
            CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
            CHECK_EQUAL(rdisk_initiator_reconnects(client->session), 0);
        }
        scene_end(&scene);
    }
}

/* As Linux does for a program that has too many of them. */
static void connection_not_taken(void)
{
    struct raw server;

    scene_prepare(&scene, 1);
    raw_init(&server, scene.fabric, scene.server_host);
    raw_listen(&server, SCENE_PORT);
    scene_start(client);
    scene_pump(&scene);
    REQUIRE(raw_request(&server));
    server.verbs->destroy_qp(server.id);
    server.verbs->destroy_id(server.id);
    server.id = NULL;
    server.qp = NULL;
    scene_pump(&scene);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_BACKOFF);
    CHECK_SAYS(rdisk_initiator_error(client->session)->text,
               "connection not accepted");
    scene_drop(client);
    raw_destroy(&server);
    scene_end(&scene);
}

static void the_last_reason_is_reported(void)
{
    scene_prepare(&scene, 1);
    scene.options.max_sessions = 1;
    scene_serve(&scene);
    REQUIRE(scene_connect(other));
    client->options.open_timeout_ms = 3000;
    CHECK(!scene_connect(client));
    scene_advance(&scene, 2900);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_BACKOFF);
    scene_advance(&scene, 200);
    scene_failed(client, -ENOBUFS, "attempts within open-timeout=3 seconds");
    scene_end(&scene);
}

/* ---- Not tried again ----------------------------------------------------- */

static void answers_are_final(void)
{
    scene_begin(&scene, 1);
    REQUIRE(scene_connect(other));
    client->options.volume = "nothere";
    CHECK(!scene_connect(client));
    scene_failed(client, -ENOENT, "there is no volume");
    scene_drop(client);
    client->options.volume = "vol";
    scene.fail_with = RDISK_STATUS_OK;
    fake_host_kill(scene.server_host, FAKE_PROCESS_DIES);
    CHECK(!scene_connect(client));
    scene_failed(client, -ECONNREFUSED, "no rdisk server listens there");
    fake_host_start(scene.server_host);
    scene_end(&scene);
}

/* ---- Pauses -------------------------------------------------------------- */

/* Milliseconds from the first attempt to the second. */
static uint64_t first_pause(void)
{
    uint64_t began = fake_fabric_now(scene.fabric);

    for (unsigned int i = 0; i < 200 && client->session->recovery.attempts == 1;
         i++) {
        scene_advance(&scene, 1);
    }
    return (fake_fabric_now(scene.fabric) - began) / RDISK_MSEC;
}

static void pauses_differ(void)
{
    unsigned int different = 0;

    for (uint64_t seed = 1; seed <= 20; seed++) {
        uint64_t pauses[2];

        scene_prepare(&scene, seed);
        scene.options.max_sessions = 1;
        scene_serve(&scene);
        REQUIRE(scene_connect(other));
        for (unsigned int i = 0; i < 2; i++) {
            CHECK(!scene_connect(client));
            pauses[i] = first_pause();
            CHECK(pauses[i] >= 49 && pauses[i] <= 101);
            scene_drop(client);
        }
        different += pauses[0] != pauses[1];
        scene_end(&scene);
    }
    CHECK(different >= 15);
}

/* ---- The server's own time ----------------------------------------------- */

/* A client whose HELLO has arrived, and which waits for nothing but answers. */
static void server_is_late(void)
{
    scene_begin(&scene, 1);
    client->options.open_timeout_ms = 60000;
    scene_start(client);
    for (unsigned int i = 0; i < 15 && client->state != RDISK_INITIATOR_OPENING;
         i++) {
        fake_fabric_run(scene.fabric);
        rdisk_initiator_process(client->session);
        /* Each of its turns comes three seconds late. */
        fake_fabric_set_now(scene.fabric,
                            fake_fabric_now(scene.fabric) + 3000 * RDISK_MSEC);
        rdisk_target_process(scene.target);
        rdisk_target_process(scene.target);
    }
    scene_pump(&scene);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
    CHECK_EQUAL(rdisk_initiator_info(client->session)->epoch, 1);
    scene_end(&scene);
}

static const struct rdisk_verbs *plain;

static int slow_event(struct rdma_event_channel *channel,
                      struct rdma_cm_event **event)
{
    fake_fabric_set_now(scene.fabric,
                        fake_fabric_now(scene.fabric) + 400 * RDISK_MSEC);
    return plain->get_cm_event(channel, event);
}

/* The turn begins in time, but passes the time limit of a handshake whose
 * message could not be there yet. */
static void server_is_slow(void)
{
    struct rdisk_verbs slow;

    scene_prepare(&scene, 1);
    scene.options.handshake_timeout_ms = 300;
    scene_serve(&scene);
    scene_start(client);
    while (!rdisk_target_sessions(scene.target)) {
        fake_fabric_run(scene.fabric);
        rdisk_initiator_process(client->session);
        rdisk_target_process(scene.target);
    }
    rdisk_target_process(scene.target); /* there is no message yet */
    plain = scene.env.verbs;
    slow = *plain;
    slow.get_cm_event = slow_event;
    scene.env.verbs = &slow;
    rdisk_target_process(scene.target);
    scene.env.verbs = plain;
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 1);
    scene_pump(&scene);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
    scene_end(&scene);
}

static const struct unit_test tests[] = {
    { "a server that is full is tried again until it has room", full_server },
    { "a server that is drained is tried again until it is not",
      drained_server },
    { "a handshake that breaks is begun again", dropped_handshake },
    { "a connection that was not taken is tried again", connection_not_taken },
    { "at the end of open-timeout the last reason is reported",
      the_last_reason_is_reported },
    { "an answer that another attempt would not change ends it at once",
      answers_are_final },
    { "pauses between attempts are random, from half of their length on",
      pauses_differ },
    { "a server that is late itself ends no handshake", server_is_late },
    { "a turn of the server that takes long ends no handshake",
      server_is_slow },
};

UNIT_SUITE("open again", tests)
