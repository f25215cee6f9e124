/* SPDX-License-Identifier: BSD-3-Clause */
/* Sessions that survive: a lost connection comes back, and nothing is lost. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/support/batch.h"
#include "tests/unit/support/unit.h"

static struct scene scene;
static struct scene_client *client = &scene.clients[0];
static struct batch batch;

static void server_restarts(void)
{
    for (uint64_t seed = 0; seed < 30; seed++) {
        batch_begin(&scene, seed);
        scene.park = true;
        batch_submit(&batch, client, RDISK_OP_WRITE, 0, BATCH_IOS);
        scene_pump(&scene);
        CHECK_EQUAL(batch_completed(&batch, 0), 0);
        scene_restart_server(&scene);
        scene_advance(&scene, 10000);
        CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
        CHECK_EQUAL(batch_completed(&batch, 0), BATCH_IOS);
        CHECK(batch_on_disk(&scene));
        CHECK(rdisk_initiator_info(client->session)->epoch >= 2);
        CHECK_EQUAL(scene_do(client, RDISK_OP_FLUSH, 0, NULL, 0), 0);
        scene_end(&scene);
    }
}

static void queue_pair_breaks(void)
{
    for (uint64_t seed = 0; seed < 30; seed++) {
        batch_begin(&scene, seed);
        batch_submit(&batch, client, RDISK_OP_WRITE, 0, BATCH_IOS);
        for (uint64_t i = fake_fabric_random(scene.fabric, 40); i; i--) {
            fake_fabric_step(scene.fabric);
        }
        fake_qp_break(
            fake_host_qp(client->host,
                         (unsigned int)fake_fabric_random(scene.fabric, 3)));
        scene_advance(&scene, 20000);
        batch_end(&batch, &scene);
    }
}

/* What it has opened as the other user is refused (QEMU's -run-with user=). */
static void user_changes(void)
{
    for (uint64_t seed = 0; seed < 30; seed++) {
        batch_begin(&scene, seed);
        fake_host_change_user(client->host);
        batch_submit(&batch, client, RDISK_OP_WRITE, 0, BATCH_IOS);
        scene_advance(&scene, 1000);
        CHECK_EQUAL(batch_completed(&batch, 0), BATCH_IOS);
        CHECK_EQUAL(rdisk_initiator_info(client->session)->epoch, 1);
        for (unsigned int i = 0; i < 2; i++) {
            scene_restart_server(&scene);
            scene_advance(&scene, 10000);
            CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
            CHECK_EQUAL(scene_do(client, RDISK_OP_FLUSH, 0, NULL, 0), 0);
        }
        CHECK(batch_on_disk(&scene));
        scene_end(&scene);
    }
}

/* In the middle of an attempt, too. */
static void user_changes_while_it_reconnects(void)
{
    for (uint64_t seed = 0; seed < 30; seed++) {
        batch_begin(&scene, seed);
        fake_qp_break(fake_host_qp(client->host, (unsigned int)seed % 3));
        for (uint64_t i = fake_fabric_random(scene.fabric, 60); i; i--) {
            if (!fake_fabric_step(scene.fabric)) {
                scene_advance(&scene, 20);
            }
        }
        fake_host_change_user(client->host);
        scene_advance(&scene, 20000);
        CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
        CHECK_EQUAL(scene_do(client, RDISK_OP_FLUSH, 0, NULL, 0), 0);
        scene_end(&scene);
    }
}

/* It may not open what it needs: that is said, and tried again. */
static void new_user_has_no_rights(void)
{
    batch_begin(&scene, 1);
    fake_host_change_user(client->host);
    fake_fail_randomly(client->host, FAKE_CREATE_EVENT_CHANNEL, 1, EACCES);
    scene_restart_server(&scene);
    scene_advance(&scene, 10000);
    CHECK(client->state != RDISK_INITIATOR_READY);
    CHECK_SAYS(rdisk_initiator_error(client->session)->text,
               "may not open /dev/infiniband/rdma_cm");
    fake_fail_randomly(client->host, FAKE_CREATE_EVENT_CHANNEL, 0, 0);
    scene_advance(&scene, 10000);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
    scene_end(&scene);
}

/* Another process goes on where one was killed. */
static void another_session_comes_back_as_the_client(void)
{
    struct scene_client *next = &scene.clients[1];
    struct rdisk_client same = { .id = "as the first one", .epoch = 7 };
    uint8_t data[SCENE_BLOCK] = { 1 };

    scene_begin(&scene, 5);
    client->options.client = &same;
    REQUIRE(scene_connect(client));
    CHECK_EQUAL(rdisk_initiator_info(client->session)->epoch, 7);
    CHECK_EQUAL(scene_do(client, RDISK_OP_WRITE, 0, data, sizeof(data)), 0);
    same.epoch = 1000;
    same.generation = rdisk_initiator_info(client->session)->generation;
    next->options.client = &same;
    REQUIRE(scene_connect(next));
    CHECK_EQUAL(rdisk_initiator_info(next->session)->epoch, 1000);
    CHECK_EQUAL(scene_do(next, RDISK_OP_WRITE, 0, data, sizeof(data)), 0);
    /* The older one is fenced. */
    CHECK(client->state == RDISK_INITIATOR_FAILED);
    scene_end(&scene);
}

/* It is asked for again and again, not once for as long as open-timeout. */
static void address_is_found_when_it_appears(void)
{
    batch_begin(&scene, 2);
    client->options.open_timeout_ms = 10000;
    fake_host_kill(scene.server_host, FAKE_POWER_FAILS);
    scene_advance(&scene, 20000);
    scene_stop_server(&scene);
    /* In the middle of an attempt. */
    while (client->state != RDISK_INITIATOR_CONNECTING) {
        scene_advance(&scene, 100);
    }
    scene_advance(&scene, 1000);
    fake_host_start(scene.server_host);
    scene_serve(&scene);
    scene_advance(&scene, 1500);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
    scene_end(&scene);
}

static void requests_come_while_it_is_away(void)
{
    batch_begin(&scene, 3);
    fake_host_kill(scene.server_host, FAKE_PROCESS_DIES);
    scene_advance(&scene, 1000);
    batch_submit(&batch, client, RDISK_OP_WRITE, 0, BATCH_IOS);
    scene_advance(&scene, 1000);
    CHECK_EQUAL(batch_completed(&batch, 0), 0);
    CHECK_EQUAL(client->outstanding, BATCH_IOS);
    scene_stop_server(&scene);
    fake_host_start(scene.server_host);
    scene_serve(&scene);
    scene_advance(&scene, 10000);
    batch_end(&batch, &scene);
}

static void delay_expires(void)
{
    batch_begin(&scene, 4);
    client->options.reconnect_delay_ms = 5000;
    scene_disconnect(client);
    REQUIRE(scene_connect(client));
    scene.park = true;
    batch_submit(&batch, client, RDISK_OP_READ, 0, BATCH_IOS);
    scene_pump(&scene);
    fake_host_kill(scene.server_host, FAKE_PROCESS_DIES);
    scene_advance(&scene, 4900);
    CHECK_EQUAL(client->outstanding, BATCH_IOS);
    scene_advance(&scene, 200);
    CHECK_EQUAL(batch_completed(&batch, -EIO), BATCH_IOS);
    /* New ones fail at once, until the server is back. */
    CHECK_EQUAL(scene_submit(&batch.ios[0], client, 0, RDISK_OP_READ, 0,
                             batch.buffers[0], BATCH_BYTES),
                -ENOTCONN);
    scene_restart_server(&scene);
    scene_advance(&scene, 10000);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
    CHECK_EQUAL(scene_do(client, RDISK_OP_READ, 0, batch.buffers[0],
                         BATCH_BYTES),
                0);
    scene_end(&scene);
}

static void cancel_ends_the_wait(void)
{
    batch_begin(&scene, 5);
    scene.park = true;
    batch_submit(&batch, client, RDISK_OP_WRITE, 0, BATCH_IOS);
    scene_pump(&scene);
    fake_host_kill(scene.server_host, FAKE_PROCESS_DIES);
    scene_advance(&scene, 1000);
    CHECK_EQUAL(client->outstanding, BATCH_IOS);
    rdisk_initiator_cancel(client->session);
    scene_pump(&scene);
    CHECK_EQUAL(batch_completed(&batch, -EIO), BATCH_IOS);
    scene_end(&scene);
}

static void giving_up_ends_requests_of_a_hanging_server(void)
{
    for (unsigned int delay = 0; delay <= 60000; delay += 60000) {
        scene_begin(&scene, 5);
        client->options.queues = 2;
        client->options.reconnect_delay_ms = delay;
        REQUIRE(scene_connect(client));
        scene.park = true;
        batch_submit(&batch, client, RDISK_OP_WRITE, 0, BATCH_IOS);
        scene_pump(&scene);
        CHECK_EQUAL(client->outstanding, BATCH_IOS);
        rdisk_initiator_give_up(client->session);
        scene_pump(&scene);
        CHECK_EQUAL(batch_completed(&batch, delay ? -EIO : -ECONNABORTED),
                    BATCH_IOS);
        scene.park = false;
        scene_unpark(&scene, scene.parked_count);
        scene_advance(&scene, 10000);
        CHECK_EQUAL(client->state,
                    delay ? RDISK_INITIATOR_READY : RDISK_INITIATOR_FAILED);
        CHECK_EQUAL(scene_do(client, RDISK_OP_READ, 0, batch.buffers[0],
                             BATCH_BYTES),
                    delay ? 0 : -ENOTCONN);
        scene_end(&scene);
    }
}

/* The ghost write: the old attempt must not land after the new one. */
static void old_requests_end_before_new_ones_begin(void)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        batch_begin(&scene, seed);
        scene.park = true;
        batch_submit(&batch, client, RDISK_OP_WRITE, 0, BATCH_IOS);
        scene_pump(&scene);
        CHECK(scene.parked_count > 0);
        fake_qp_break(fake_host_qp(client->host, 1));
        scene_advance(&scene, 3000);
        /* The server still works at requests of the older epoch. */
        CHECK(client->state != RDISK_INITIATOR_READY);
        CHECK_EQUAL(scene.opens, 1);
        CHECK_EQUAL(client->outstanding, BATCH_IOS);
        scene.park = false;
        scene_unpark(&scene, scene.parked_count);
        scene_advance(&scene, 10000);
        CHECK_EQUAL(scene.opens, 2);
        CHECK_EQUAL(scene.closes, 1);
        batch_end(&batch, &scene);
    }
}

/* A queue that no thread serves must not keep the session from coming back. */
static void unserved_queues_need_no_thread(void)
{
    batch_begin(&scene, 9);
    batch_submit(&batch, client, RDISK_OP_WRITE, 0, BATCH_IOS);
    scene_pump(&scene);
    CHECK_EQUAL(batch_completed(&batch, 0), BATCH_IOS);
    client->unserved = true;
    rdisk_queue_detach(rdisk_initiator_queue(client->session, 0));
    fake_qp_break(fake_host_qp(client->host, 1));
    scene_advance(&scene, 10000);
    /* The other queue's thread is only busy elsewhere: it is waited for. */
    CHECK_EQUAL(client->state, RDISK_INITIATOR_QUIESCING);
    rdisk_queue_detach(rdisk_initiator_queue(client->session, 1));
    scene_advance(&scene, 10000);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
    client->unserved = false;
    memset(scene.disk, 0, BATCH_IOS * BATCH_BYTES);
    batch_submit(&batch, client, RDISK_OP_WRITE, 0, BATCH_IOS);
    scene_pump(&scene);
    CHECK_EQUAL(batch_completed(&batch, 0), BATCH_IOS);
    CHECK(batch_on_disk(&scene));
    scene_end(&scene);
}

/* A busy IOThread until the main loop has its turn, found by the simulator. */
static void parked_queue_does_not_spin(void)
{
    struct rdisk_queue *queue;
    struct pollfd pfd = { .events = POLLIN };

    batch_begin(&scene, 9);
    batch_submit(&batch, client, RDISK_OP_WRITE, 0, BATCH_IOS);
    queue = rdisk_initiator_queue(client->session, 0);
    pfd.fd = rdisk_queue_fd(queue);
    fake_host_remove_device(client->host, false);
    /* The home thread is not scheduled meanwhile. */
    for (unsigned int i = 0; i < 3; i++) {
        fake_fabric_run(scene.fabric);
        rdisk_queue_process(queue);
    }
    CHECK_EQUAL(poll(&pfd, 1, 0), 0);
    fake_host_restore_device(client->host);
    scene_advance(&scene, 20000);
    CHECK_EQUAL(batch_completed(&batch, 0), BATCH_IOS);
    scene_end(&scene);
}

/* The same while the connection is made: the home thread alone handles it. */
static void joining_queue_does_not_spin(void)
{
    unsigned int spins = 0;

    for (unsigned int steps = 0; steps < 400; steps++) {
        scene_begin(&scene, steps);
        client->options.queues = 2;
        scene_start(client);
        for (unsigned int i = 0;
             i < steps && client->state != RDISK_INITIATOR_READY; i++) {
            fake_fabric_step(scene.fabric);
            rdisk_initiator_process(client->session);
            rdisk_target_process(scene.target);
        }
        if (client->state == RDISK_INITIATOR_JOINING) {
            struct rdisk_queue *queue = rdisk_initiator_queue(client->session,
                                                              0);
            struct pollfd pfd = {
                .fd = rdisk_queue_fd(queue),
                .events = POLLIN,
            };

            for (unsigned int i = 0; fake_host_qp(client->host, i); i++) {
                fake_qp_break(fake_host_qp(client->host, i));
            }
            fake_fabric_run(scene.fabric);
            rdisk_queue_process(queue);
            spins += poll(&pfd, 1, 0);
        }
        scene_drop(client);
        scene_end(&scene);
    }
    CHECK_EQUAL(spins, 0);
}

/*
 * With one slot the only completion there was is the one that could not be
 * taken, and nothing more came to wake the thread. Found by the simulator.
 */
/* The client closes, and its link goes before the answer has come. */
static void close_without_link(unsigned int delay)
{
    scene_begin(&scene, 3);
    client->options.reconnect_delay_ms = delay;
    client->options.open_timeout_ms = 20000;
    REQUIRE(scene_connect(client));
    fake_link_cut(client->host, scene.server_host, true);
    rdisk_initiator_close(client->session);
    scene_advance(&scene, 8000);
}

static void close_is_repeated(void)
{
    close_without_link(60000);
    CHECK(client->state != RDISK_INITIATOR_CLOSED);
    CHECK(client->state != RDISK_INITIATOR_FAILED);
    fake_link_cut(client->host, scene.server_host, false);
    scene_advance(&scene, 8000);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_CLOSED);
    scene_end(&scene);
}

static void close_is_repeated_for_open_timeout(void)
{
    close_without_link(60000);
    scene_advance(&scene, 18000);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
    fake_link_cut(client->host, scene.server_host, false);
    scene_end(&scene);
}

static void unanswered_close_fails(void)
{
    close_without_link(0);
    scene_advance(&scene, 14000);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
    CHECK(rdisk_initiator_error(client->session)->code < 0);
    fake_link_cut(client->host, scene.server_host, false);
    scene_end(&scene);
}

static void polling_fails_once(void)
{
    for (unsigned int nth = 1; nth <= 12; nth++) {
        for (int side = 0; side <= 1; side++) {
            scene_begin(&scene, nth);
            client->options.slots = 1;
            client->options.heartbeat_ms = 0;
            client->options.request_timeout_ms = 0;
            client->options.reconnect_delay_ms = 60000;
            REQUIRE(scene_connect(client));
            fake_fail(side ? client->host : scene.server_host, FAKE_POLL_CQ,
                      nth, EINVAL);
            CHECK_EQUAL(scene_submit(&batch.ios[0], client, 0, RDISK_OP_READ, 0,
                                     batch.buffers[0], BATCH_BYTES),
                        0);
            rdisk_queue_kick(rdisk_initiator_queue(client->session, 0));
            scene_advance(&scene, 20000);
            CHECK_EQUAL(batch.ios[0].completed, 1);
            CHECK_EQUAL(batch.ios[0].result, 0);
            CHECK_EQUAL(client->outstanding, 0);
            scene_end(&scene);
        }
    }
}

static void shutdown_lets_clients_wait(void)
{
    batch_begin(&scene, 7);
    batch_submit(&batch, client, RDISK_OP_WRITE, 0, BATCH_IOS);
    rdisk_target_stop(scene.target, "back in a minute");
    scene_advance(&scene, 6000);
    CHECK_EQUAL(rdisk_target_sessions(scene.target), 0);
    rdisk_target_destroy(scene.target);
    scene.target = NULL;
    scene_serve(&scene);
    scene_advance(&scene, 10000);
    batch_end(&batch, &scene);
}

static void volume_that_shrank_ends_the_session(void)
{
    batch_begin(&scene, 8);
    scene.read_only = true;
    fake_qp_break(fake_host_qp(client->host, 1));
    scene_advance(&scene, 10000);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
    CHECK_SAYS(rdisk_initiator_error(client->session)->text, "read-only");
    scene_end(&scene);
}

/* One fault or remedy of those that a client is to survive. */
static void random_event(void)
{
    struct ibv_qp *qp;

    switch (fake_fabric_random(scene.fabric, 7)) {
    case 0:
        fake_link_cut(client->host, scene.server_host, true);
        break;
    case 1:
        fake_link_cut(client->host, scene.server_host, false);
        break;
    case 2:
        qp = fake_host_qp(client->host,
                          (unsigned int)fake_fabric_random(scene.fabric, 3));
        if (qp) {
            fake_qp_break(qp);
        }
        break;
    case 3:
        qp = fake_host_qp(scene.server_host,
                          (unsigned int)fake_fabric_random(scene.fabric, 6));
        if (qp) {
            fake_qp_break(qp);
        }
        break;
    case 4:
        scene_restart_server(&scene);
        break;
    case 5:
        fake_host_remove_device(client->host,
                                fake_fabric_random(scene.fabric, 2));
        scene_advance(&scene, fake_fabric_random(scene.fabric, 3000));
        fake_host_restore_device(client->host);
        break;
    default:
        scene.park = fake_fabric_random(scene.fabric, 2);
        scene_unpark(&scene,
                     (unsigned int)fake_fabric_random(scene.fabric, BATCH_IOS));
        break;
    }
    scene_advance(&scene, fake_fabric_random(scene.fabric, 6000));
}

static void random_faults(void)
{
    for (uint64_t seed = 0; seed < 200; seed++) {
        scene_begin(&scene, seed);
        client->options.queues = 2;
        /* For longer than this test lasts. */
        client->options.reconnect_delay_ms = 3600000;
        REQUIRE(scene_connect(client));
        CHECK_EQUAL(rdisk_initiator_register(client->session, batch.buffers,
                                             sizeof(batch.buffers) / 2, NULL),
                    0);
        batch_submit(&batch, client, RDISK_OP_WRITE, 0, BATCH_IOS);
        for (unsigned int i = 0; i < 8; i++) {
            random_event();
        }
        scene.park = false;
        scene_unpark(&scene, scene.parked_count);
        fake_link_cut(client->host, scene.server_host, false);
        scene_advance(&scene, 120000);
        if (client->state != RDISK_INITIATOR_READY ||
            batch_completed(&batch, 0) != BATCH_IOS || !batch_on_disk(&scene)) {
            fprintf(stderr, "reconnect: seed %u\n", (unsigned int)seed);
        }
        batch_end(&batch, &scene);
    }
}

static const struct unit_test tests[] = {
    { "another session comes back as the client and fences the older one",
      another_session_comes_back_as_the_client },
    { "requests survive a restart of the server", server_restarts },
    { "requests survive a broken queue pair, whichever", queue_pair_breaks },
    { "a process that changes its user goes on, and comes back", user_changes },
    { "a process that changes its user while it reconnects comes back",
      user_changes_while_it_reconnects },
    { "a user that may not open an RDMA device is named",
      new_user_has_no_rights },
    { "a server's address is found when it appears",
      address_is_found_when_it_appears },
    { "requests wait while the server is away",
      requests_come_while_it_is_away },
    { "after reconnect-delay requests fail until the server is back",
      delay_expires },
    { "cancelling ends the wait", cancel_ends_the_wait },
    { "giving up ends the requests of a server that hangs",
      giving_up_ends_requests_of_a_hanging_server },
    { "a new session begins when the old one's last request has ended",
      old_requests_end_before_new_ones_begin },
    { "a queue that has released a removed device sleeps",
      parked_queue_does_not_spin },
    { "a CLOSE that is not answered is sent again on another connection",
      close_is_repeated },
    { "a CLOSE is sent again for open-timeout, and not longer",
      close_is_repeated_for_open_timeout },
    { "without reconnect-delay a CLOSE that is not answered has failed",
      unanswered_close_fails },
    { "a completion that could not be taken once is not lost",
      polling_fails_once },
    { "a queue sleeps while the home thread connects it",
      joining_queue_does_not_spin },
    { "a queue at rest needs no thread to release a connection",
      unserved_queues_need_no_thread },
    { "a server that shuts down gets its clients back",
      shutdown_lets_clients_wait },
    { "no request is lost whatever breaks in whichever order", random_faults },
    { "a volume that came back read-only ends a writer's session",
      volume_that_shrank_ends_the_session },
};

UNIT_SUITE("reconnect", tests)
