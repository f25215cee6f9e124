/* SPDX-License-Identifier: BSD-3-Clause */
/* What one client may have of the server, and that others do not notice. */
#include <errno.h>

#include "tests/unit/support/scene.h"
#include "tests/unit/support/unit.h"

/* Of a queue: 8 slots of 64 KiB and their headers. */
#define SLOT    (65536 + 8192)
#define SESSION (8 * SLOT)

static struct scene scene;
static struct scene_client *const first = &scene.clients[0];
static struct scene_client *const second = &scene.clients[1];
static struct scene_client *const third = &scene.clients[2];

/* Of "alice", as which the first two authenticate; the third is "bob". */
static void begin(uint64_t sessions, uint64_t memory)
{
    scene_prepare(&scene, 1);
    scene_authenticate(&scene, "alice", "a secret of alice");
    scene.other_user = "bob";
    third->options.user = "bob";
    scene.quota = (struct rdisk_quota) {
        .sessions = sessions,
        .memory = memory,
    };
    scene_serve(&scene);
    REQUIRE(scene.target != NULL);
}

static void uses(const char *user, uint64_t sessions, uint64_t memory)
{
    struct rdisk_quota use;

    rdisk_target_use(scene.target, user, &use);
    CHECK_EQUAL(use.sessions, sessions);
    CHECK_EQUAL(use.memory, memory);
}

static void too_many_sessions(void)
{
    begin(1, 0);
    REQUIRE(scene_connect(first));
    CHECK(!scene_connect(second));
    scene_gives_up(second, -ENOBUFS,
                   "client 'alice' has 1 sessions, its limit");
    CHECK(scene_connect(third));
    uses("alice", 1, SESSION);
    uses("bob", 1, SESSION);
    scene_end(&scene);
}

static void closed_session(void)
{
    begin(1, 0);
    REQUIRE(scene_connect(first));
    scene_disconnect(first);
    scene_advance(&scene, 1100);
    uses("alice", 0, 0);
    CHECK(scene_connect(second));
    scene_end(&scene);
}

static void comes_back(void)
{
    begin(1, SESSION);
    first->options.reconnect_delay_ms = 60000;
    REQUIRE(scene_connect(first));
    fake_qp_break(fake_host_qp(first->host, 0));
    scene_advance(&scene, 2000);
    CHECK_EQUAL(first->state, RDISK_INITIATOR_READY);
    CHECK_EQUAL(rdisk_initiator_reconnects(first->session), 1);
    uses("alice", 1, SESSION);
    scene_end(&scene);
}

static void fewer_slots(void)
{
    begin(0, SESSION + 5 * SLOT);
    REQUIRE(scene_connect(first));
    REQUIRE(scene_connect(second));
    CHECK_EQUAL(rdisk_initiator_info(second->session)->slots, 5);
    REQUIRE(scene_connect(third));
    CHECK_EQUAL(rdisk_initiator_info(third->session)->slots, 8);
    uses("alice", 2, SESSION + 5 * SLOT);
    scene_end(&scene);
}

static void no_memory(void)
{
    begin(0, SESSION + 3 * SLOT);
    REQUIRE(scene_connect(first));
    CHECK(!scene_connect(second));
    scene_gives_up(second, -ENOBUFS, "its limit is max-memory = 811008");
    CHECK(scene_connect(third));
    scene_end(&scene);
}

static void limit_lowered(void)
{
    begin(0, 0);
    REQUIRE(scene_connect(first));
    scene.quota.memory = 1 << 20;
    scene.quota.sessions = 1;
    CHECK(!scene_connect(second));
    CHECK_EQUAL(first->state, RDISK_INITIATOR_READY);
    scene_end(&scene);
}

static const struct unit_test tests[] = {
    { "a client with all its sessions is refused another one, others are not",
      too_many_sessions },
    { "a session that has ended does not count", closed_session },
    { "a client at its limits comes back after a loss", comes_back },
    { "a session gets the slots that the client's memory has left",
      fewer_slots },
    { "a client without memory is refused, others are not", no_memory },
    { "a limit that is lowered ends no session", limit_lowered },
};

UNIT_SUITE("quota", tests)
