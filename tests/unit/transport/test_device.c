/* SPDX-License-Identifier: BSD-3-Clause */
/* Devices that are removed, the client's or the server's, and come back. */
#include "tests/unit/support/batch.h"
#include "tests/unit/support/unit.h"

static struct scene scene;
static struct scene_client *client = &scene.clients[0];
static struct batch batch;

static void device_comes_back(void)
{
    for (int flush = 0; flush <= 1; flush++) {
        batch_begin(&scene, 6);
        CHECK_EQUAL(rdisk_initiator_register(client->session, batch.buffers,
                                             sizeof(batch.buffers), NULL),
                    0);
        scene.park = true;
        batch_submit(&batch, client, RDISK_OP_WRITE, 0, BATCH_IOS);
        scene_pump(&scene);
        fake_host_remove_device(client->host, flush);
        scene.park = false;
        scene_unpark(&scene, scene.parked_count);
        scene_advance(&scene, 2000);
        CHECK_EQUAL(client->outstanding, BATCH_IOS);
        fake_host_restore_device(client->host);
        scene_advance(&scene, 20000);
        CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
        CHECK_EQUAL(batch_completed(&batch, 0), BATCH_IOS);
        CHECK(batch_on_disk(&scene));
        rdisk_initiator_unregister(client->session, batch.buffers,
                                   sizeof(batch.buffers));
        scene_end(&scene);
    }
}

/* So fast that no queue's thread has looked meanwhile. */
static void device_is_back_at_once(void)
{
    for (int flush = 0; flush <= 1; flush++) {
        batch_begin(&scene, 10);
        batch_submit(&batch, client, RDISK_OP_WRITE, 0, BATCH_IOS);
        fake_host_remove_device(client->host, flush);
        fake_host_restore_device(client->host);
        scene_advance(&scene, 20000);
        batch_end(&batch, &scene);
    }
}

/* The device that goes while there is no connection that could tell of it. */
static void waiting_session_lets_go_of_the_device(void)
{
    batch_begin(&scene, 6);
    CHECK_EQUAL(rdisk_initiator_register(client->session, batch.buffers,
                                         sizeof(batch.buffers), NULL),
                0);
    fake_link_cut(client->host, scene.server_host, true);
    fake_qp_break(fake_host_qp(client->host, 0));
    for (unsigned int i = 0;
         i < 1000 && client->state != RDISK_INITIATOR_BACKOFF; i++) {
        scene_advance(&scene, 10);
    }
    CHECK_EQUAL(client->state, RDISK_INITIATOR_BACKOFF);
    CHECK(fake_host_exposes(client->host, batch.buffers, 1));
    fake_host_remove_device(client->host, false);
    scene_advance(&scene, 1);
    CHECK(!fake_host_exposes(client->host, batch.buffers, 1));
    fake_host_restore_device(client->host);
    fake_link_cut(client->host, scene.server_host, false);
    batch_submit(&batch, client, RDISK_OP_WRITE, 0, BATCH_IOS);
    scene_advance(&scene, 20000);
    CHECK_EQUAL(batch_completed(&batch, 0), BATCH_IOS);
    CHECK(batch_on_disk(&scene));
    rdisk_initiator_unregister(client->session, batch.buffers,
                               sizeof(batch.buffers));
    scene_end(&scene);
}

/* The address it listens on goes with the device, and comes back with it. */
static void servers_device_comes_back(void)
{
    for (uint64_t seed = 0; seed < 10; seed++) {
        scene_prepare(&scene, seed);
        scene.options.address = "10.0.0.1";
        scene_serve(&scene);
        REQUIRE(scene.target != NULL);
        client->options.queues = 2;
        client->options.reconnect_delay_ms = 60000;
        REQUIRE(scene_connect(client));
        batch_submit(&batch, client, RDISK_OP_WRITE, 0, BATCH_IOS);
        fake_host_remove_device(scene.server_host, seed % 2);
        scene_advance(&scene, 5000);
        fake_host_restore_device(scene.server_host);
        scene_advance(&scene, 10000);
        batch_end(&batch, &scene);
    }
}

/* It listens on any device, and no client is connected. */
static void idle_server_lets_go_of_its_device(void)
{
    unsigned int before, idle;

    scene_begin(&scene, 4);
    before = fake_fabric_live(scene.fabric, NULL, 0);
    for (unsigned int i = 0; i < 2; i++) {
        REQUIRE(scene_connect(client));
        scene_drop(client);
        scene_advance(&scene, 20000);
        idle = fake_fabric_live(scene.fabric, NULL, 0);
        fake_host_remove_device(scene.server_host, true);
        scene_advance(&scene, 1);
        CHECK_EQUAL(fake_fabric_live(scene.fabric, NULL, 0), idle - 1);
        CHECK_EQUAL(idle - 1, before);
        fake_host_restore_device(scene.server_host);
    }
    scene_end(&scene);
}

static const struct unit_test tests[] = {
    { "a device that goes and comes back is used again", device_comes_back },
    { "a device that is back at once is used again", device_is_back_at_once },
    { "a session that waits releases a device that is removed",
      waiting_session_lets_go_of_the_device },
    { "when the server's device comes back it listens again",
      servers_device_comes_back },
    { "an idle server releases a device that is removed",
      idle_server_lets_go_of_its_device },
};

UNIT_SUITE("device", tests)
