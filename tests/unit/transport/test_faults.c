/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What breaks under requests: every request ends exactly once, not before the
 * device has released its memory, and nothing is left behind.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/support/load.h"
#include "tests/unit/support/unit.h"

/* ---- The server goes --------------------------------------------------- */

static void server_process_dies(void)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        load_begin(seed);
        load_scene.park = true;
        load_submit(IOS, RDISK_OP_READ);
        scene_pump(&load_scene);
        CHECK_EQUAL(load_completed(IOS), 0);
        fake_host_kill(load_scene.server_host, FAKE_PROCESS_DIES);
        scene_pump(&load_scene);
        CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
        CHECK_EQUAL(load_completed(IOS), IOS);
        for (unsigned int i = 0; i < IOS; i++) {
            CHECK(ios[i].result < 0);
        }
        load_end();
    }
}

static void server_loses_power(void)
{
    for (uint64_t seed = 0; seed < 10; seed++) {
        load_begin(seed);
        load_scene.park = true;
        load_submit(IOS, RDISK_OP_WRITE);
        scene_pump(&load_scene);
        fake_host_kill(load_scene.server_host, FAKE_POWER_FAILS);
        scene_advance(&load_scene, 20000);
        CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
        load_all_failed(IOS, rdisk_initiator_error(client->session)->code);
        fake_host_start(load_scene.server_host);
        load_end();
    }
}

/*
 * The send that is to prove the silent ones cannot be posted; what is flushed
 * afterwards has been given up already. Found by the simulator.
 */
static void last_send_fails(void)
{
    for (uint64_t seed = 0; seed < 50; seed++) {
        load_begin(seed);
        load_submit(IOS, RDISK_OP_WRITE);
        for (uint64_t i = 0; i < seed; i++) {
            fake_fabric_step(load_scene.fabric);
        }
        fake_fail(client->host, FAKE_POST_SEND, 1, ENOMEM);
        fake_qp_break(fake_host_qp(client->host, 1));
        scene_advance(&load_scene, 20000);
        CHECK_EQUAL(client->outstanding, 0);
        CHECK_EQUAL(load_completed(IOS), IOS);
        load_end();
    }
}

/* A peer that vanished has not ended anything: the message must not say so. */
static void silence_is_told_from_an_end(void)
{
    const struct rdisk_error *why;

    load_begin(3);
    load_scene.park = true;
    load_submit(IOS, RDISK_OP_WRITE);
    fake_host_kill(load_scene.server_host, FAKE_POWER_FAILS);
    scene_advance(&load_scene, 20000);
    why = rdisk_initiator_error(client->session);
    CHECK_EQUAL(why->code, -ETIMEDOUT);
    CHECK(strstr(why->text, "does not answer") != NULL);
    fake_host_start(load_scene.server_host);
    load_end();

    load_begin(3);
    load_scene.park = true;
    load_submit(IOS, RDISK_OP_WRITE);
    scene_pump(&load_scene);
    fake_host_kill(load_scene.server_host, FAKE_PROCESS_DIES);
    scene_pump(&load_scene);
    why = rdisk_initiator_error(client->session);
    CHECK_EQUAL(why->code, -ECONNRESET);
    CHECK(strstr(why->text, "ended the connection") != NULL);
    load_end();
}

static void completion_waits_for_the_flush(void)
{
    load_begin(1);
    load_scene.park = true;
    load_submit(4, RDISK_OP_READ);
    scene_pump(&load_scene);
    fake_qp_break(fake_host_qp(client->host, 1));
    /* The queue pair is in error; of its flush nothing has come yet. */
    rdisk_queue_process(rdisk_initiator_queue(client->session, 0));
    rdisk_queue_process(rdisk_initiator_queue(client->session, 1));
    CHECK_EQUAL(load_completed(4), 0);
    CHECK(fake_fabric_step(load_scene.fabric));
    rdisk_queue_process(rdisk_initiator_queue(client->session, 0));
    rdisk_queue_process(rdisk_initiator_queue(client->session, 1));
    CHECK_EQUAL(load_completed(4), 0);
    scene_pump(&load_scene);
    CHECK_EQUAL(load_completed(4), 4);
    load_end();
}

static void one_queue_takes_all(void)
{
    load_begin(1);
    load_scene.park = true;
    load_submit(IOS, RDISK_OP_READ);
    scene_pump(&load_scene);
    /* 0 is the control queue's, 1 and 2 are the data queues'. */
    fake_qp_break(fake_host_qp(client->host, 2));
    scene_pump(&load_scene);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
    CHECK_EQUAL(load_completed(IOS), IOS);
    CHECK_EQUAL(rdisk_initiator_error(client->session)->code, -EIO);
    load_end();
}

static void broken_control_takes_all(void)
{
    load_begin(1);
    load_scene.park = true;
    load_submit(IOS, RDISK_OP_READ);
    scene_pump(&load_scene);
    fake_qp_break(fake_host_qp(client->host, 0));
    scene_pump(&load_scene);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
    CHECK_EQUAL(load_completed(IOS), IOS);
    load_end();
}

static void server_stops(void)
{
    unsigned int taken, succeeded = 0;

    load_begin(1);
    load_scene.park = true;
    load_submit(IOS, RDISK_OP_READ);
    scene_pump(&load_scene);
    CHECK(load_scene.parked_count > 0);
    taken = load_scene.parked_count;
    rdisk_target_stop(load_scene.target, "going home");
    scene_pump(&load_scene);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_DRAINING);
    CHECK_EQUAL(load_completed(IOS), 0);
    load_scene.park = false;
    scene_unpark(&load_scene, taken);
    scene_advance(&load_scene, 1000);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
    CHECK_SAYS(rdisk_initiator_error(client->session)->text, "going home");
    CHECK_EQUAL(load_completed(IOS), IOS);
    for (unsigned int i = 0; i < IOS; i++) {
        CHECK(ios[i].result == 0 || ios[i].result == -ESHUTDOWN);
        succeeded += ios[i].result == 0;
    }
    /* What the server has taken is answered, the rest was never sent. */
    CHECK_EQUAL(succeeded, taken);
    CHECK_EQUAL(rdisk_target_sessions(load_scene.target), 0);
    load_end();
}

static void server_stops_impatiently(void)
{
    load_begin(1);
    load_scene.park = true;
    load_submit(IOS, RDISK_OP_READ);
    scene_pump(&load_scene);
    rdisk_target_stop(load_scene.target, "going home");
    scene_advance(&load_scene, 30000);
    load_all_failed(IOS, -ESHUTDOWN);
    /* The owner still works on what it has taken. */
    CHECK_EQUAL(rdisk_target_sessions(load_scene.target), 1);
    CHECK_EQUAL(load_scene.closes, 0);
    load_scene.park = false;
    scene_unpark(&load_scene, load_scene.parked_count);
    scene_advance(&load_scene, 1000);
    CHECK_EQUAL(rdisk_target_sessions(load_scene.target), 0);
    load_end();
}

/* ---- Time -------------------------------------------------------------- */

static void request_times_out(void)
{
    load_prepare(1);
    client->options.request_timeout_ms = 2000;
    client->options.heartbeat_ms = 0;
    REQUIRE(scene_connect(client));
    REQUIRE(rdisk_initiator_register(client->session, buffer, sizeof(buffer),
                                     &err) == 0);
    load_scene.park = true;
    load_submit(IOS, RDISK_OP_READ);
    scene_advance(&load_scene, 1990);
    CHECK_EQUAL(load_completed(IOS), 0);
    scene_advance(&load_scene, 600);
    load_all_failed(IOS, -ETIMEDOUT);
    CHECK_SAYS(rdisk_initiator_error(client->session)->text,
               "request-timeout=2");
    /* The answers come after all, to no client. */
    load_scene.park = false;
    scene_unpark(&load_scene, load_scene.parked_count);
    scene_pump(&load_scene);
    load_end();
}

static void request_that_never_times_out(void)
{
    load_prepare(1);
    client->options.request_timeout_ms = 0;
    REQUIRE(scene_connect(client));
    load_scene.park = true;
    CHECK_EQUAL(scene_submit(&ios[0], client, 0, RDISK_OP_FLUSH, 0, NULL, 0),
                0);
    rdisk_queue_kick(rdisk_initiator_queue(client->session, 0));
    scene_advance(&load_scene, 7200000);
    CHECK_EQUAL(ios[0].completed, 0);
    load_scene.park = false;
    scene_unpark(&load_scene, 1);
    scene_pump(&load_scene);
    CHECK_EQUAL(ios[0].completed, 1);
    CHECK_EQUAL(ios[0].result, 0);
    load_end();
}

static void short_outage_is_survived(void)
{
    load_begin(1);
    load_submit(IOS, RDISK_OP_WRITE);
    fake_link_cut(client->host, load_scene.server_host, true);
    scene_advance(&load_scene, 2000);
    CHECK_EQUAL(load_completed(IOS), 0);
    fake_link_cut(client->host, load_scene.server_host, false);
    scene_pump(&load_scene);
    load_all_failed(IOS, 0);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
    load_end();
}

/* ---- The client goes --------------------------------------------------- */

static void client_dies(enum fake_death death)
{
    load_begin(1);
    REQUIRE(scene_connect(other));
    load_scene.park = true;
    load_submit(IOS, RDISK_OP_WRITE);
    scene_pump(&load_scene);
    CHECK(load_scene.parked_count > 0);
    fake_host_kill(client->host, death);
    scene_advance(&load_scene, 30000);
    /* Its slots are the owner's until the owner has done. */
    CHECK_EQUAL(rdisk_target_sessions(load_scene.target), 2);
    load_scene.park = false;
    scene_unpark(&load_scene, load_scene.parked_count);
    scene_advance(&load_scene, 1000);
    CHECK_EQUAL(rdisk_target_sessions(load_scene.target), 1);
    CHECK_EQUAL(load_scene.closes, 1);
    CHECK_EQUAL(load_completed(IOS), IOS);
    CHECK_EQUAL(other->state, RDISK_INITIATOR_READY);
    CHECK_EQUAL(scene_do(other, RDISK_OP_READ, 0, NULL, 0), -EINVAL);
    CHECK_EQUAL(scene_do(other, RDISK_OP_FLUSH, 0, NULL, 0), 0);
    load_end();
}

static void client_process_dies(void)
{
    client_dies(FAKE_PROCESS_DIES);
}

static void client_loses_power(void)
{
    client_dies(FAKE_POWER_FAILS);
}

/* ---- The device goes --------------------------------------------------- */

static void client_device_removed(void)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        load_begin(seed);
        load_scene.park = true;
        load_submit(IOS, RDISK_OP_READ);
        scene_pump(&load_scene);
        fake_host_remove_device(client->host, seed % 2);
        scene_pump(&load_scene);
        CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
        CHECK_EQUAL(load_completed(IOS), IOS);
        CHECK_EQUAL(client->outstanding, 0);
        load_end();
    }
}

static void server_device_removed(void)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        load_begin(seed);
        load_scene.park = true;
        load_submit(IOS, RDISK_OP_READ);
        scene_pump(&load_scene);
        fake_host_remove_device(load_scene.server_host, seed % 2);
        load_scene.park = false;
        scene_unpark(&load_scene, load_scene.parked_count);
        scene_advance(&load_scene, 20000);
        CHECK_EQUAL(rdisk_target_sessions(load_scene.target), 0);
        CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
        CHECK_EQUAL(load_completed(IOS), IOS);
        load_end();
    }
}

static const struct unit_test tests[] = {
    { "when the server's process dies every request ends once",
      server_process_dies },
    { "when the server loses power every request ends in time",
      server_loses_power },
    { "a vanished peer is distinguished from an orderly end",
      silence_is_told_from_an_end },
    { "requests end where the last send cannot be posted", last_send_fails },
    { "a request ends only after its queue pair was flushed",
      completion_waits_for_the_flush },
    { "when one queue breaks all end", one_queue_takes_all },
    { "when the control queue breaks all end", broken_control_takes_all },
    { "a stopping server finishes what it has taken", server_stops },
    { "a stopping server waits for its backend, the client does not wait "
      "indefinitely",
      server_stops_impatiently },
    { "an unanswered request runs into request-timeout", request_times_out },
    { "without request-timeout a request waits indefinitely",
      request_that_never_times_out },
    { "a short outage is survived", short_outage_is_survived },
    { "when a client's process dies its requests are drained",
      client_process_dies },
    { "when a client loses power its requests are drained",
      client_loses_power },
    { "when the client's device goes every request ends",
      client_device_removed },
    { "when the server's device goes its sessions end", server_device_removed },
};

UNIT_SUITE("faults", tests)
