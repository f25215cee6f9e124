/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reconnecting at random: no old attempt of a write takes effect after a newer
 * write was acknowledged, reads return what was acknowledged, and no byte
 * lands in a request's memory after it has ended.
 *
 * Each region of the volume is written in versions, one request at a time.
 */
#include <errno.h>
#include <stdlib.h>

#include "tests/unit/support/load.h"
#include "tests/unit/support/unit.h"

/* What may lie in a region: versions from acknowledged to attempted. */
static struct region {
    uint32_t acknowledged, attempted;
    uint32_t at_submit; /* acknowledged when a read was submitted */
    bool busy;
    enum rdisk_op op;
} regions[IOS];

static unsigned int succeeded;

static uint64_t chance(uint64_t bound)
{
    return fake_fabric_random(load_scene.fabric, bound);
}

static uint32_t pattern_of(unsigned int i, uint32_t version)
{
    return version ? 1000 * (i + 1) + version : 0;
}

/* One of the versions allowed; 0 is the empty volume. */
static bool is_version(const uint8_t *bytes, unsigned int i, uint32_t first)
{
    static const uint8_t zeros[IO_SIZE];

    for (uint32_t v = first; v <= regions[i].attempted; v++) {
        if (v ? scene_is_pattern(bytes, IO_SIZE, pattern_of(i, v))
              : !memcmp(bytes, zeros, IO_SIZE)) {
            return true;
        }
    }
    return false;
}

static void submit(unsigned int i)
{
    struct region *region = &regions[i];

    if (region->busy || client->state != RDISK_INITIATOR_READY) {
        return;
    }
    region->op = chance(3) ? RDISK_OP_WRITE : RDISK_OP_READ;
    region->at_submit = region->acknowledged;
    if (region->op == RDISK_OP_WRITE) {
        scene_pattern(buffer + i * IO_SIZE, IO_SIZE,
                      pattern_of(i, region->attempted + 1));
    }
    if (scene_submit(&ios[i], client, (unsigned int)chance(2), region->op,
                     (uint64_t)i * IO_SIZE, buffer + i * IO_SIZE,
                     IO_SIZE) == 0) {
        region->busy = true;
        region->attempted += region->op == RDISK_OP_WRITE;
    }
}

static void take_results(void)
{
    for (unsigned int i = 0; i < IOS; i++) {
        struct region *region = &regions[i];

        if (!region->busy || !ios[i].completed) {
            continue;
        }
        CHECK_EQUAL(ios[i].completed, 1);
        region->busy = false;
        if (ios[i].result < 0) {
            continue;
        }
        succeeded++;
        if (region->op == RDISK_OP_WRITE) {
            region->acknowledged = region->attempted;
        } else {
            CHECK(is_version(buffer + i * IO_SIZE, i, region->at_submit));
        }
    }
}

static void fault(void)
{
    struct ibv_qp *qp;

    switch (chance(7)) {
    case 0:
        fake_link_cut(client->host, load_scene.server_host, true);
        break;
    case 1:
    case 2:
        fake_link_cut(client->host, load_scene.server_host, false);
        break;
    case 3:
        qp = fake_host_qp(chance(2) ? client->host : load_scene.server_host,
                          (unsigned int)chance(3));
        if (qp) {
            fake_qp_break(qp);
        }
        break;
    case 4:
        qp = fake_host_qp(load_scene.server_host, (unsigned int)chance(3));
        if (qp) {
            fake_qp_cut(qp, true);
        }
        break;
    case 5:
        fake_link_delay(client->host, load_scene.server_host,
                        chance(3000) * RDISK_MSEC);
        break;
    default:
        scene_restart_server(&load_scene);
        break;
    }
}

static void kick(void)
{
    for (unsigned int i = 0; i < 2 && client->state == RDISK_INITIATOR_READY;
         i++) {
        struct rdisk_queue *queue = rdisk_initiator_queue(client->session, i);

        if (queue) {
            rdisk_queue_kick(queue);
        }
    }
}

static void life(uint64_t seed)
{
    memset(regions, 0, sizeof(regions));
    load_prepare(seed);
    client->options.open_timeout_ms = 2000;
    client->options.request_timeout_ms = 3000;
    client->options.heartbeat_ms = 1000;
    client->options.reconnect_delay_ms = seed % 3 ? 3600000 : 2000;
    REQUIRE(scene_connect(client));
    if (seed % 2) {
        rdisk_initiator_register(client->session, buffer, sizeof(buffer), &err);
    }
    for (unsigned int turn = 0; turn < 150; turn++) {
        if (chance(30) == 0) {
            fault();
        }
        load_scene.park = chance(3) == 0;
        submit((unsigned int)chance(IOS));
        kick();
        switch (chance(4)) {
        case 0:
            scene_advance(&load_scene, chance(1500));
            break;
        case 1:
            scene_pump(&load_scene);
            scene_unpark(&load_scene, (unsigned int)chance(4));
            break;
        default:
            fake_fabric_step(load_scene.fabric);
            break;
        }
        take_results();
    }
}

static void end(uint64_t seed)
{
    fake_link_cut(client->host, load_scene.server_host, false);
    load_scene.park = false;
    kick();
    scene_pump(&load_scene);
    scene_unpark(&load_scene, load_scene.parked_count);
    scene_advance(&load_scene, 60000);
    take_results();
    CHECK_EQUAL(client->outstanding, 0);
    for (unsigned int i = 0; i < IOS; i++) {
        CHECK(!regions[i].busy);
        CHECK(is_version(load_scene.disk + i * IO_SIZE, i,
                         regions[i].acknowledged));
    }
    if (seed % 2) {
        rdisk_initiator_unregister(client->session, buffer, sizeof(buffer));
    }
    scene_end(&load_scene);
    CHECK_EQUAL(late_writes, 0);
}

/* UNIT_SEEDS=FIRST-LAST looks elsewhere, or for longer. */
static void no_ghosts(void)
{
    unsigned int failures = CU_get_number_of_failures();
    const char *seeds = getenv("UNIT_SEEDS");
    unsigned long first = 0, last = 299;

    succeeded = 0;
    if (seeds && sscanf(seeds, "%lu-%lu", &first, &last) != 2) {
        CU_FAIL("UNIT_SEEDS is not FIRST-LAST");
    }
    for (uint64_t seed = first; seed <= last; seed++) {
        life(seed);
        end(seed);
        if (CU_get_number_of_failures() != failures) {
            printf("    seed %llu\n", (unsigned long long)seed);
            return;
        }
    }
    /* It was about something. */
    CHECK(succeeded > 20 * (last - first + 1));
}

static const struct unit_test tests[] = {
    { "random reconnects leave no ghost write and no late byte", no_ghosts },
};

UNIT_SUITE("ghost", tests)
