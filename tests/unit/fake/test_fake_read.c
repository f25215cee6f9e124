/* SPDX-License-Identifier: BSD-3-Clause */
/* The fake device keeps the rules of RDMA READ. */
#include "tests/unit/support/raw.h"
#include "tests/unit/support/unit.h"

static struct fake_fabric *fabric;
static struct fake_host *left, *right;
static struct raw owner, peer; /* of the memory; the one that reads it */
static struct ibv_mr *region;
static uint8_t memory[8192];

static void begin(int access, uint8_t reads)
{
    fabric = fake_fabric_new(1);
    left = fake_host_add(fabric, "10.0.0.1");
    right = fake_host_add(fabric, "10.0.0.2");
    raw_init(&owner, fabric, left);
    raw_init(&peer, fabric, right);
    owner.reads = peer.reads = reads;
    raw_pair(&owner, &peer);
    for (size_t i = 0; i < sizeof(memory); i++) {
        memory[i] = (uint8_t)(i * 7);
    }
    region = owner.verbs->reg_mr(owner.pd, memory, sizeof(memory), access);
    REQUIRE(region != NULL);
}

static void end(void)
{
    owner.verbs->dereg_mr(region);
    raw_unpair(&owner, &peer);
    CHECK_EQUAL(fake_fabric_free(fabric), 0);
}

static enum ibv_wc_status read_at(size_t offset, uint32_t size, uint32_t key)
{
    struct ibv_wc wc = { .status = IBV_WC_FATAL_ERR };

    CHECK_EQUAL(raw_read(&peer, 0, size, (uintptr_t)memory + offset, key), 0);
    REQUIRE(raw_poll(&peer, &wc));
    return wc.status;
}

static void reads(void)
{
    begin(IBV_ACCESS_REMOTE_READ, 4);
    CHECK_EQUAL(read_at(100, 4000, region->rkey), IBV_WC_SUCCESS);
    CHECK(!memcmp(peer.buffer, memory + 100, 4000));
    CHECK_EQUAL(read_at(sizeof(memory) - 8, 8, region->rkey), IBV_WC_SUCCESS);
    CHECK(fake_host_readable(left, memory, 1));
    CHECK(!fake_host_exposes(left, memory, sizeof(memory)));
    end();
}

static void fails(size_t offset, uint32_t size, uint32_t key, int status)
{
    CHECK_EQUAL(read_at(offset, size, key), status);
    CHECK_EQUAL(peer.buffer[0], 0);
    end();
}

static void beyond_the_region(void)
{
    begin(IBV_ACCESS_REMOTE_READ, 4);
    fails(sizeof(memory) - 8, 16, region->rkey, IBV_WC_REM_ACCESS_ERR);
}

static void without_access(void)
{
    begin(IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE, 4);
    fails(0, 8, region->rkey, IBV_WC_REM_ACCESS_ERR);
}

static void not_agreed_on(void)
{
    begin(IBV_ACCESS_REMOTE_READ, 0);
    CHECK(raw_read(&peer, 0, 8, (uintptr_t)memory, region->rkey) < 0);
    end();
}

static void no_longer_registered(void)
{
    uint32_t key;

    begin(IBV_ACCESS_REMOTE_READ, 4);
    key = region->rkey;
    owner.verbs->dereg_mr(region);
    CHECK_EQUAL(read_at(0, 8, key), IBV_WC_REM_ACCESS_ERR);
    region = owner.verbs->reg_mr(owner.pd, memory, sizeof(memory), 0);
    end();
}

static void more_than_agreed_on_wait(void)
{
    struct ibv_wc wc;

    begin(IBV_ACCESS_REMOTE_READ, 2);
    for (uint32_t i = 0; i < 8; i++) {
        CHECK_EQUAL(raw_read(&peer, i * 64, 64, (uintptr_t)memory + i * 64,
                             region->rkey),
                    0);
    }
    for (unsigned int i = 0; i < 8; i++) {
        REQUIRE(raw_poll(&peer, &wc));
        CHECK_EQUAL(wc.status, IBV_WC_SUCCESS);
    }
    CHECK(!memcmp(peer.buffer, memory, 8 * 64));
    end();
}

static const struct unit_test tests[] = {
    { "a peer reads what is registered for that", reads },
    { "no read beyond a region succeeds", beyond_the_region },
    { "no read of what is registered to be written succeeds", without_access },
    { "no read is posted on a queue pair without reads", not_agreed_on },
    { "no read of what was registered succeeds", no_longer_registered },
    { "more reads than were agreed on wait for each other",
      more_than_agreed_on_wait },
};

UNIT_SUITE("fake-read", tests)
