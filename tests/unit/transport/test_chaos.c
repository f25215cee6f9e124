/* SPDX-License-Identifier: BSD-3-Clause */
/* Every call fails once, and everything fails at random. */
#include <errno.h>
#include <stdlib.h>

#include "tests/unit/support/load.h"
#include "tests/unit/support/unit.h"

/* ---- Every call fails once --------------------------------------------- */

static struct fake_host *the_client(void)
{
    return client->host;
}

static struct fake_host *the_server(void)
{
    return load_scene.server_host;
}

/* One session with requests; the @nth such call of @host fails. Returns
 * whether so many were made at all. */
static bool life_with_failure(struct fake_host *(*host)(void),
                              enum fake_call call, unsigned int nth,
                              enum rdisk_guest_memory guest_memory)
{
    unsigned int failures = CU_get_number_of_failures();
    uint64_t before;
    bool reached;

    load_prepare(nth);
    client->options.guest_memory = guest_memory;
    before = fake_calls(host(), call);
    fake_fail(host(), call, nth, ENOMEM);
    if (scene_connect(client)) {
        rdisk_initiator_register(client->session, buffer, sizeof(buffer) / 2,
                                 &err);
        load_submit(IOS, RDISK_OP_READ);
    }
    scene_advance(&load_scene, 120000);
    for (unsigned int i = 0; i < IOS; i++) {
        CHECK(ios[i].completed <= 1);
        CHECK(!ios[i].completed || ios[i].result <= 0);
    }
    CHECK_EQUAL(client->outstanding, 0);
    CHECK(client->state == RDISK_INITIATOR_READY ||
          client->state == RDISK_INITIATOR_FAILED);
    if (client->state == RDISK_INITIATOR_FAILED) {
        CHECK(rdisk_initiator_error(client->session)->code < 0);
        CHECK(rdisk_initiator_error(client->session)->text[0]);
    }
    reached = fake_calls(host(), call) - before >= nth;
    fake_fail(host(), call, 0, 0);
    if (client->session) {
        rdisk_initiator_unregister(client->session, buffer, sizeof(buffer) / 2);
    }
    scene_end(&load_scene);
    CHECK_EQUAL(late_writes, 0);
    if (CU_get_number_of_failures() != failures) {
        printf("    call %d of the %s, number %u\n", call,
               host == the_client ? "client" : "server", nth);
        return false;
    }
    return reached;
}

static void every_call_of_the_client_fails(void)
{
    for (int call = 0; call < FAKE_CALLS_SURVIVED; call++) {
        for (unsigned int nth = 1;
             nth < 60 && life_with_failure(the_client, call, nth,
                                           RDISK_GUEST_MEMORY_DIRECT);
             nth++) {
            /* the next one */
        }
    }
}

static void every_call_of_the_server_fails(void)
{
    for (int call = 0; call < FAKE_CALLS_SURVIVED; call++) {
        for (unsigned int nth = 1;
             nth < 60 && life_with_failure(the_server, call, nth,
                                           RDISK_GUEST_MEMORY_DIRECT);
             nth++) {
            /* the next one */
        }
    }
}

static void every_call_fails_with_windows(void)
{
    for (int call = 0; call < FAKE_CALLS_SURVIVED; call++) {
        for (unsigned int nth = 1;
             nth < 60 && life_with_failure(the_client, call, nth,
                                           RDISK_GUEST_MEMORY_WINDOW);
             nth++) {
            /* the next one */
        }
    }
}

/* ---- Chance ------------------------------------------------------------ */

static uint64_t chance(uint64_t bound)
{
    return fake_fabric_random(load_scene.fabric, bound);
}

static void random_fault(void)
{
    struct ibv_qp *qp;

    switch (chance(8)) {
    case 0:
        fake_link_cut(client->host, load_scene.server_host, chance(2));
        break;
    case 1:
        qp = fake_host_qp(client->host, (unsigned int)chance(3));
        if (qp) {
            fake_qp_break(qp);
        }
        break;
    case 2:
        qp = fake_host_qp(load_scene.server_host, (unsigned int)chance(3));
        if (qp) {
            fake_qp_cut(qp, true);
        }
        break;
    case 3:
        fake_host_kill(client->host, FAKE_PROCESS_DIES);
        break;
    case 4:
        fake_fail(chance(2) ? client->host : load_scene.server_host,
                  chance(FAKE_CALLS_SURVIVED), 1 + (unsigned int)chance(3),
                  ENOMEM);
        break;
    case 5:
        fake_link_delay(client->host, load_scene.server_host,
                        chance(8000) * RDISK_MSEC);
        break;
    case 6:
        fake_fabric_loss(load_scene.fabric, 2 + (unsigned int)chance(30));
        break;
    default:
        fake_host_remove_device(client->host, chance(2));
        break;
    }
}

static void random_request(unsigned int i)
{
    enum rdisk_op op = chance(2) ? RDISK_OP_READ : RDISK_OP_WRITE;

    if (client->state == RDISK_INITIATOR_READY && !ios[i].client) {
        scene_pattern(buffer + i * IO_SIZE, IO_SIZE, 100 + i);
        memcpy(load_scene.disk + i * IO_SIZE, buffer + i * IO_SIZE, IO_SIZE);
        if (op == RDISK_OP_READ) {
            memset(buffer + i * IO_SIZE, 0, IO_SIZE);
        } else {
            memset(load_scene.disk + i * IO_SIZE, 0, IO_SIZE);
        }
        if (scene_submit(&ios[i], client, (unsigned int)chance(2), op,
                         (uint64_t)i * IO_SIZE, buffer + i * IO_SIZE,
                         IO_SIZE) < 0) {
            ios[i].completed = 1;
            ios[i].result = -EIO;
        }
        if (chance(2)) {
            rdisk_queue_kick(rdisk_initiator_queue(client->session, 0));
            rdisk_queue_kick(rdisk_initiator_queue(client->session, 1));
        }
    }
}

static void random_life(uint64_t seed)
{
    unsigned int fault_at;

    load_prepare(seed);
    client->options.open_timeout_ms = 5000;
    client->options.request_timeout_ms = 5000;
    client->options.slots = 1 + (unsigned int)chance(8);
    client->options.guest_memory = seed % 3;
    fault_at = (unsigned int)chance(200);
    scene_start(client);
    for (unsigned int turn = 0; turn < 200; turn++) {
        if (turn == fault_at) {
            random_fault();
        }
        if (client->state == RDISK_INITIATOR_READY && chance(20) == 0) {
            rdisk_initiator_register(client->session, buffer, sizeof(buffer),
                                     &err);
        }
        load_scene.park = chance(3) == 0;
        random_request((unsigned int)chance(IOS));
        if (chance(3) == 0) {
            scene_pump(&load_scene);
            scene_unpark(&load_scene, (unsigned int)chance(5));
        } else {
            fake_fabric_step(load_scene.fabric);
        }
    }
    if (client->state == RDISK_INITIATOR_READY) {
        rdisk_queue_kick(rdisk_initiator_queue(client->session, 0));
        rdisk_queue_kick(rdisk_initiator_queue(client->session, 1));
    }
    load_scene.park = false;
    scene_pump(&load_scene);
    scene_unpark(&load_scene, load_scene.parked_count);
    scene_advance(&load_scene, 60000);
}

static void random_end(void)
{
    CHECK_EQUAL(client->outstanding, 0);
    for (unsigned int i = 0; i < IOS; i++) {
        if (!ios[i].client) {
            continue;
        }
        CHECK_EQUAL(ios[i].completed, 1);
        if (ios[i].result == 0) {
            CHECK(scene_is_pattern(buffer + i * IO_SIZE, IO_SIZE, 100 + i));
            CHECK(scene_is_pattern(load_scene.disk + i * IO_SIZE, IO_SIZE,
                                   100 + i));
        }
    }
    for (int call = 0; call < FAKE_CALLS_SURVIVED; call++) {
        fake_fail(client->host, call, 0, 0);
        fake_fail(load_scene.server_host, call, 0, 0);
    }
    fake_fabric_loss(load_scene.fabric, 0);
    fake_link_cut(client->host, load_scene.server_host, false);
    scene_advance(&load_scene, 10000);
    /* The device holds the table of registrations, not the session. */
    for (int i = 0; i < 200 && client->session; i++) {
        rdisk_initiator_unregister(client->session, buffer, sizeof(buffer));
    }
    scene_end(&load_scene);
    CHECK_EQUAL(late_writes, 0);
}

/* UNIT_SEEDS=FIRST-LAST looks elsewhere, or for longer. */
static void random_faults(void)
{
    unsigned int failures = CU_get_number_of_failures();
    const char *seeds = getenv("UNIT_SEEDS");
    unsigned long first = 0, last = 999;

    if (seeds && sscanf(seeds, "%lu-%lu", &first, &last) != 2) {
        CU_FAIL("UNIT_SEEDS is not FIRST-LAST");
    }
    for (uint64_t seed = first; seed <= last; seed++) {
        random_life(seed);
        random_end();
        if (CU_get_number_of_failures() != failures) {
            printf("    seed %llu\n", (unsigned long long)seed);
            return;
        }
    }
}

static const struct unit_test tests[] = {
    { "every call of the client may fail", every_call_of_the_client_fails },
    { "every call of the server may fail", every_call_of_the_server_fails },
    { "every call of a client with windows may fail",
      every_call_fails_with_windows },
    { "random faults harm no data and leave nothing behind", random_faults },
};

UNIT_SUITE("chaos", tests)
