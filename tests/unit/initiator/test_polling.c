/* SPDX-License-Identifier: BSD-3-Clause */
/* Queues whose owners look instead of sleeping. */
#include "tests/unit/support/scene.h"
#include "tests/unit/support/unit.h"

#define REQUESTS 50u

static struct scene scene;
static struct scene_client *client = &scene.clients[0];
static uint8_t buffer[65536] __attribute__((aligned(4096)));

static struct rdisk_queue *queue(void)
{
    return rdisk_initiator_queue(client->session, 0);
}

static void begin(void)
{
    scene_begin(&scene, 1);
    REQUIRE(scene_connect(client));
}

static void read_some(void)
{
    for (unsigned int i = 0; i < REQUESTS; i++) {
        CHECK_EQUAL(scene_do(client, RDISK_OP_READ, 0, buffer, 4096), 0);
    }
}

static uint64_t client_wakeups(void)
{
    struct rdisk_queue_counters counters = { 0 };

    rdisk_queue_counters(queue(), &counters);
    return counters.wakeups;
}

static uint64_t server_wakeups(void)
{
    struct rdisk_target_counters counters = { 0 };

    for (unsigned int i = 0; i < SCENE_QUEUES; i++) {
        if (scene.queues[i].queue) {
            rdisk_target_queue_counters(scene.queues[i].queue, &counters);
        }
    }
    return counters.wakeups;
}

static void client_takes_no_event(void)
{
    uint64_t before;

    begin();
    read_some();
    CHECK(client_wakeups() >= REQUESTS);
    client->polls = true;
    before = client_wakeups();
    read_some();
    CHECK_EQUAL(client_wakeups(), before);
    scene_end(&scene);
}

/* The one event from before polling is taken, and no other comes. */
static void client_is_told_once(void)
{
    uint64_t before;

    begin();
    client->polls = true;
    before = client_wakeups();
    read_some();
    rdisk_queue_drain_events(queue());
    CHECK_EQUAL(client_wakeups(), before + 1);
    read_some();
    rdisk_queue_drain_events(queue());
    CHECK_EQUAL(client_wakeups(), before + 1);
    scene_end(&scene);
}

/* scene_do() is a hang if a wake-up is lost. */
static void client_sleeps_again(void)
{
    begin();
    for (unsigned int i = 0; i < 20; i++) {
        client->polls = true;
        read_some();
        if (i % 2) {
            rdisk_queue_drain_events(queue());
        }
        rdisk_queue_arm(queue());
        CHECK(!rdisk_queue_pending(queue()));
        client->polls = false;
        CHECK_EQUAL(scene_do(client, RDISK_OP_READ, 0, buffer, 4096), 0);
    }
    scene_end(&scene);
}

static void server_takes_no_event(void)
{
    uint64_t before;

    begin();
    scene.polls = true;
    before = server_wakeups();
    read_some();
    CHECK_EQUAL(server_wakeups(), before);
    scene.polls = false;
    read_some();
    CHECK(server_wakeups() > before);
    scene_end(&scene);
}

/* Neither side hears of the broken connection by a descriptor. */
static void connection_lost_while_polling(void)
{
    for (unsigned int i = 0; i < 2; i++) {
        scene_begin(&scene, 2);
        client->polls = true;
        scene.polls = true;
        client->options.reconnect_delay_ms = 60000;
        REQUIRE(scene_connect(client));
        read_some();
        fake_qp_break(fake_host_qp(client->host, i));
        scene_advance(&scene, 20000);
        CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
        CHECK_EQUAL(scene_do(client, RDISK_OP_READ, 0, buffer, 4096), 0);
        scene_end(&scene);
    }
}

static const struct unit_test tests[] = {
    { "a polling client takes no event", client_takes_no_event },
    { "a polling client's descriptor reports one event only",
      client_is_told_once },
    { "a client that has polled can sleep again", client_sleeps_again },
    { "a polling server takes no event", server_takes_no_event },
    { "a connection lost while both poll is made again",
      connection_lost_while_polling },
};

UNIT_SUITE("polling", tests)
