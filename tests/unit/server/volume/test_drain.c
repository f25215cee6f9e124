/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A server, or a volume, that is drained: what was taken is finished, clients
 * wait outside, and come back to go on as if nothing had been.
 */
#include <errno.h>

#include "tests/unit/support/batch.h"
#include "server/volume/drain.h"
#include "tests/unit/support/unit.h"

static struct scene scene;
static struct scene_client *client = &scene.clients[0];
static struct scene_client *late = &scene.clients[1];
static struct batch batch;

static void begin(uint64_t seed, unsigned int delay_ms)
{
    scene_begin(&scene, seed);
    client->options.queues = 2;
    client->options.reconnect_delay_ms = delay_ms;
    REQUIRE(scene_connect(client));
}

/* ---- Under requests ---------------------------------------------------- */

static void requests_wait_for_resume(void)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        memset(&batch, 0, sizeof(batch));
        begin(seed, 60000);
        batch_submit(&batch, client, RDISK_OP_WRITE, 0, BATCH_IOS / 2);
        for (uint64_t i = fake_fabric_random(scene.fabric, 60); i; i--) {
            fake_fabric_step(scene.fabric);
        }
        scene_drain(&scene);
        scene_advance(&scene, 6000);
        CHECK_EQUAL(scene.opens, scene.closes);
        batch_submit(&batch, client, RDISK_OP_WRITE, BATCH_IOS / 2, BATCH_IOS);
        scene_advance(&scene, 20000);
        CHECK(batch_completed(&batch, 0) <= BATCH_IOS / 2);
        CHECK_EQUAL(client->outstanding,
                    BATCH_IOS - batch_completed(&batch, 0));
        scene.drained = false;
        scene_advance(&scene, 10000);
        batch_end(&batch, &scene);
    }
}

static void requests_wait_for_a_restart(void)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        memset(&batch, 0, sizeof(batch));
        begin(seed, 60000);
        batch_submit(&batch, client, RDISK_OP_WRITE, 0, BATCH_IOS / 2);
        scene_drain(&scene);
        scene_advance(&scene, 100);
        scene_stop_server(&scene);
        batch_submit(&batch, client, RDISK_OP_WRITE, BATCH_IOS / 2, BATCH_IOS);
        scene.drained = false;
        scene_serve(&scene);
        scene_advance(&scene, 10000);
        batch_end(&batch, &scene);
    }
}

static void taken_requests_are_finished_first(void)
{
    memset(&batch, 0, sizeof(batch));
    begin(1, 60000);
    scene.park = true;
    batch_submit(&batch, client, RDISK_OP_WRITE, 0, 8);
    scene_pump(&scene);
    CHECK_EQUAL(scene.parked_count, 8);
    scene_drain(&scene);
    scene_advance(&scene, 1000);
    /* It is not drained, and the error says so. */
    CHECK_EQUAL(scene.closes, 0);
    scene.park = false;
    scene_unpark(&scene, 8);
    scene_advance(&scene, 100);
    CHECK_EQUAL(scene.closes, 1);
    CHECK_EQUAL(batch_completed(&batch, 0), 8);
    /* They were carried out once: nothing is left to be sent again. */
    CHECK_EQUAL(scene.requests, 8);
    scene.drained = false;
    scene_advance(&scene, 10000);
    CHECK_EQUAL(scene.requests, 8);
    scene_end(&scene);
}

static void new_clients_are_refused(void)
{
    begin(2, 60000);
    scene_drain(&scene);
    scene_advance(&scene, 1000);
    /* Whatever its reconnect-delay: it has nothing to come back to. */
    late->options.reconnect_delay_ms = 60000;
    CHECK(!scene_connect(late));
    scene_gives_up(late, -ESHUTDOWN, "drained");
    scene_drop(late);
    scene.drained = false;
    late->options.shared = true;
    CHECK(scene_connect(late));
    scene_end(&scene);
}

static void patience_ends(void)
{
    memset(&batch, 0, sizeof(batch));
    begin(3, 2000);
    scene_drain(&scene);
    scene_advance(&scene, 100);
    batch_submit(&batch, client, RDISK_OP_WRITE, 0, 4);
    scene_advance(&scene, 1000);
    CHECK_EQUAL(client->outstanding, 4);
    scene_advance(&scene, 2000);
    CHECK_EQUAL(client->outstanding, 0);
    CHECK_EQUAL(batch_completed(&batch, 0), 0);
    scene.drained = false;
    scene_advance(&scene, 10000);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
    scene_end(&scene);
}

static void impatient_clients_get_errors(void)
{
    begin(4, 0);
    scene_drain(&scene);
    scene_advance(&scene, 100);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_FAILED);
    CHECK_EQUAL(rdisk_initiator_error(client->session)->code, -ESHUTDOWN);
    CHECK_EQUAL(scene.opens, scene.closes);
    scene_end(&scene);
}

/* ---- What is drained ---------------------------------------------------- */

static void volumes_are_told_apart(void)
{
    struct drain drain = { 0 };
    struct rdisk_error err;

    CHECK(!drain_covers(&drain, "a"));
    CHECK_EQUAL(drain_begin(&drain, "a", &err), 0);
    CHECK_EQUAL(drain_begin(&drain, "a", &err), 0);
    CHECK(drain_covers(&drain, "a"));
    CHECK(!drain_covers(&drain, "b"));
    CHECK_EQUAL(drain_end(&drain, "b", &err), -EINVAL);
    CHECK_SAYS(err.text, "'b' is not drained");
    CHECK_EQUAL(drain_end(&drain, "a", &err), 0);
    CHECK(!drain_covers(&drain, "a"));
    CHECK_EQUAL(drain_end(&drain, "a", &err), -EINVAL);
}

static void all_is_more_than_each(void)
{
    struct drain drain = { 0 };
    struct rdisk_error err;

    CHECK_EQUAL(drain_begin(&drain, "a", &err), 0);
    CHECK_EQUAL(drain_begin(&drain, "", &err), 0);
    CHECK(drain_covers(&drain, "b"));
    CHECK_EQUAL(drain_end(&drain, "a", &err), -EINVAL);
    CHECK_SAYS(err.text, "the whole server is drained");
    CHECK(drain_covers(&drain, "a"));
    CHECK_EQUAL(drain_end(&drain, "", &err), 0);
    CHECK(!drain_covers(&drain, "a"));
    CHECK(!drain_covers(&drain, "b"));
}

static const struct unit_test tests[] = {
    { "requests wait while it is drained, and none is lost",
      requests_wait_for_resume },
    { "a drained server may be restarted without an error",
      requests_wait_for_a_restart },
    { "what was taken is finished first, and once",
      taken_requests_are_finished_first },
    { "new clients are refused in clear words", new_clients_are_refused },
    { "a client waits no longer than its reconnect-delay", patience_ends },
    { "a client without reconnect-delay gets an error",
      impatient_clients_get_errors },
    { "a drained volume is distinguished from the others",
      volumes_are_told_apart },
    { "draining all is more than draining each", all_is_more_than_each },
};

UNIT_SUITE("drain", tests)
