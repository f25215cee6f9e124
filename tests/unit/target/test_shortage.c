/* SPDX-License-Identifier: BSD-3-Clause */
/* A server that runs out of memory for a while. */
#include <poll.h>

#include "tests/unit/support/allocation.h"
#include "tests/unit/support/scene.h"
#include "tests/unit/support/unit.h"

static struct scene scene;
static struct scene_client *const client = &scene.clients[0];

static bool readable(void)
{
    struct pollfd pfd = { .fd = rdisk_target_fd(scene.target),
                          .events = POLLIN };

    return poll(&pfd, 1, 0) == 1;
}

/* Deliver until the server has an event of a connection to take. */
static void until_readable(void)
{
    while (!readable()) {
        if (!fake_fabric_step(scene.fabric)) {
            rdisk_initiator_process(client->session);
        }
    }
}

static void events_wait_for_memory(void)
{
    uint64_t now;

    if (!unit_allocation_fails(false)) {
        return;
    }
    scene_begin(&scene, 1);
    scene_start(client);
    until_readable();
    now = fake_fabric_now(scene.fabric);
    for (unsigned int i = 0; i < 3; i++) {
        unit_allocation_fails(true);
        rdisk_target_process(scene.target);
        unit_allocation_fails(false);
        CHECK(!readable());
        CHECK_EQUAL(rdisk_target_deadline(scene.target),
                    now + 100 * RDISK_MSEC);
    }
    scene_advance(&scene, 1000);
    CHECK_EQUAL(client->state, RDISK_INITIATOR_READY);
    scene_end(&scene);
}

static const struct unit_test tests[] = {
    { "a server without memory for events waits without spinning",
      events_wait_for_memory },
};

UNIT_SUITE("shortage", tests)
