/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A link that goes down and up at one end, on a device whose connection manager
 * stops receiving permanently when it has to speak meanwhile.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/support/batch.h"
#include "tests/unit/support/unit.h"

static struct scene scene;
static struct scene_client *client = &scene.clients[0];
static struct batch batch;

static void begin(uint64_t seed, unsigned int reconnect_delay_ms)
{
    scene_begin(&scene, seed);
    fake_fabric_timing(scene.fabric)->settle = 1000 * RDISK_MSEC;
    fake_fabric_timing(scene.fabric)->stale = seed % 3 * 500 * RDISK_MSEC;
    client->options.queues = 2;
    client->options.heartbeat_ms = 2000;
    client->options.reconnect_delay_ms = reconnect_delay_ms;
    REQUIRE(scene_connect(client));
}

static void flap(struct fake_host *host, uint64_t milliseconds)
{
    fake_host_link(host, false);
    scene_advance(&scene, milliseconds);
    fake_host_link(host, true);
}

static void check_all_is_well(void)
{
    CHECK(!fake_host_deaf(client->host));
    CHECK(!fake_host_deaf(scene.server_host));
    CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
    CHECK_EQUAL(batch_completed(&batch, 0), BATCH_IOS);
    CHECK(batch_on_disk(&scene));
}

/* Times from shorter than any timeout to longer than all of them. */
static uint64_t a_while(uint64_t seed)
{
    static const uint64_t whiles[] = { 1, 150, 700, 3000, 20000 };

    return whiles[seed % 5];
}

static void goes_down_and_up_under_load(bool server)
{
    for (uint64_t seed = 0; seed < 40; seed++) {
        begin(seed, 600000);
        for (unsigned int round = 0; round < 3; round++) {
            memset(scene.disk, 0, BATCH_IOS * BATCH_BYTES);
            batch_submit(&batch, client, RDISK_OP_WRITE, 0, BATCH_IOS);
            for (uint64_t i = fake_fabric_random(scene.fabric, 60); i; i--) {
                fake_fabric_step(scene.fabric);
            }
            flap(server ? scene.server_host : client->host,
                 a_while(seed + round));
            scene_advance(&scene, 20000);
            check_all_is_well();
        }
        scene_end(&scene);
    }
}

static void clients_link_goes_down_and_up(void)
{
    goes_down_and_up_under_load(false);
}

static void servers_link_goes_down_and_up(void)
{
    goes_down_and_up_under_load(true);
}

/* Only heartbeats notice. */
static void idle_session_survives(void)
{
    for (uint64_t seed = 0; seed < 10; seed++) {
        begin(seed, 600000);
        flap(seed % 2 ? scene.server_host : client->host, a_while(seed / 2));
        scene_advance(&scene, 20000);
        batch_submit(&batch, client, RDISK_OP_WRITE, 0, BATCH_IOS);
        scene_advance(&scene, 1000);
        check_all_is_well();
        scene_end(&scene);
    }
}

/* One end after the other, and both. */
static void both_links_go_down_and_up(void)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        begin(seed, 600000);
        batch_submit(&batch, client, RDISK_OP_WRITE, 0, BATCH_IOS);
        fake_host_link(client->host, false);
        scene_advance(&scene, a_while(seed));
        flap(scene.server_host, a_while(seed / 5));
        scene_advance(&scene, a_while(seed / 2));
        fake_host_link(client->host, true);
        scene_advance(&scene, 30000);
        check_all_is_well();
        scene_end(&scene);
    }
}

/* What was kept since the first time must not meet the second. */
static void goodbyes_meet_the_next_flap(void)
{
    for (uint64_t seed = 0; seed < 60; seed++) {
        begin(seed, 600000);
        batch_submit(&batch, client, RDISK_OP_WRITE, 0, BATCH_IOS);
        flap(seed % 2 ? scene.server_host : client->host, 5000);
        scene_advance(&scene, 1500 + 50 * seed);
        flap(seed % 3 ? scene.server_host : client->host, 5000);
        scene_advance(&scene, 20000);
        check_all_is_well();
        scene_end(&scene);
    }
}

static void failed_session_waits_with_its_end(void)
{
    begin(3, 0);
    batch_submit(&batch, client, RDISK_OP_WRITE, 0, BATCH_IOS);
    fake_host_link(client->host, false);
    scene_advance(&scene, 20000);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
    CHECK_EQUAL(batch_completed(&batch, 0), 0);
    fake_host_link(client->host, true);
    scene_advance(&scene, 1000);
    scene_drop(client);
    REQUIRE(scene_connect(client));
    batch_submit(&batch, client, RDISK_OP_WRITE, 0, BATCH_IOS);
    scene_advance(&scene, 1000);
    check_all_is_well();
    scene_end(&scene);
}

/* However often the client tries, it keeps no more than what it had. */
static void nothing_grows_while_it_is_down(void)
{
    unsigned int early;

    begin(4, 3600000);
    batch_submit(&batch, client, RDISK_OP_WRITE, 0, BATCH_IOS);
    fake_host_link(client->host, false);
    scene_advance(&scene, 100000);
    early = fake_fabric_live(scene.fabric, NULL, 0);
    scene_advance(&scene, 1000000);
    CHECK_EQUAL(fake_fabric_live(scene.fabric, NULL, 0), early);
    fake_host_link(client->host, true);
    scene_advance(&scene, 20000);
    check_all_is_well();
    scene_end(&scene);
}

/* Its own removal waits for no peer. */
static void device_is_removed_while_it_is_down(void)
{
    for (uint64_t seed = 0; seed < 10; seed++) {
        begin(seed, 600000);
        batch_submit(&batch, client, RDISK_OP_WRITE, 0, BATCH_IOS);
        fake_host_link(client->host, false);
        scene_advance(&scene, a_while(seed));
        fake_host_remove_device(client->host, seed % 2);
        scene_advance(&scene, 1000);
        fake_host_restore_device(client->host);
        fake_host_link(client->host, true);
        scene_advance(&scene, 20000);
        check_all_is_well();
        scene_end(&scene);
    }
}

static const struct unit_test tests[] = {
    { "a client's link goes down and up under load",
      clients_link_goes_down_and_up },
    { "a server's link goes down and up under load",
      servers_link_goes_down_and_up },
    { "an idle session survives a link that goes down", idle_session_survives },
    { "the links of both ends go down and up", both_links_go_down_and_up },
    { "what is kept to be said does not meet the next flap",
      goodbyes_meet_the_next_flap },
    { "a session that failed disconnects when the link is up",
      failed_session_waits_with_its_end },
    { "nothing grows while a link is down", nothing_grows_while_it_is_down },
    { "a device is removed while its link is down",
      device_is_removed_while_it_is_down },
};

UNIT_SUITE("link", tests)
