/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/support/lone.h"

#include "tests/unit/support/unit.h"

struct scene scene;
struct scene_client *const lone = &scene.clients[0];
uint8_t memory[4 << 20] __attribute__((aligned(4096)));

void lone_begin(uint64_t seed)
{
    memset(memory, 0, sizeof(memory));
    scene_begin(&scene, seed);
    REQUIRE(scene_connect(lone));
}

void lone_begin_registered(uint64_t seed)
{
    struct rdisk_error err;

    lone_begin(seed);
    REQUIRE(rdisk_initiator_register(lone->session, memory, sizeof(memory),
                                     &err) == 0);
}

void lone_end_registered(void)
{
    rdisk_initiator_unregister(lone->session, memory, sizeof(memory));
    scene_end(&scene);
}

struct rdisk_queue *lone_queue(void)
{
    return rdisk_initiator_queue(lone->session, 0);
}

struct rdisk_queue_counters lone_counters(void)
{
    struct rdisk_queue_counters counters = { 0 };

    rdisk_queue_counters(lone_queue(), &counters);
    return counters;
}
