/* SPDX-License-Identifier: BSD-3-Clause */
/* The fake device keeps the rules of memory windows of type 2. */
#include <errno.h>

#include "tests/unit/support/raw.h"
#include "tests/unit/support/unit.h"

static struct fake_fabric *fabric;
static struct fake_host *left, *right;
static struct raw owner, peer; /* of the memory; the one that writes to it */
static struct ibv_mr *region;
static struct ibv_mw *window;
static uint32_t key; /* the next that is to be bound */
static uint8_t memory[8192];

static void begin_region(int access)
{
    fabric = fake_fabric_new(1);
    left = fake_host_add(fabric, "10.0.0.1");
    right = fake_host_add(fabric, "10.0.0.2");
    raw_init(&owner, fabric, left);
    raw_init(&peer, fabric, right);
    raw_pair(&owner, &peer);
    memset(memory, 0, sizeof(memory));
    region = owner.verbs->reg_mr(owner.pd, memory, sizeof(memory), access);
    REQUIRE(region != NULL);
    window = owner.verbs->alloc_mw(owner.pd, IBV_MW_TYPE_2);
    REQUIRE(window != NULL);
    key = ibv_inc_rkey(window->rkey);
    memcpy(peer.buffer, "12345678", 8);
}

static void begin(void)
{
    begin_region(IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_MW_BIND);
}

static void end(void)
{
    owner.verbs->dealloc_mw(window);
    owner.verbs->dereg_mr(region);
    raw_unpair(&owner, &peer);
    CHECK_EQUAL(fake_fabric_free(fabric), 0);
}

static enum ibv_wc_status status_of(struct raw *raw)
{
    struct ibv_wc wc = { .status = IBV_WC_FATAL_ERR };

    REQUIRE(raw_poll(raw, &wc));
    return wc.status;
}

/* Of the 4096 bytes in the middle. */
static enum ibv_wc_status bind_middle(void)
{
    CHECK_EQUAL(raw_bind(&owner, window, region, key, memory + 2048, 4096), 0);
    return status_of(&owner);
}

static enum ibv_wc_status write_at(size_t offset, uint32_t with)
{
    CHECK_EQUAL(raw_write(&peer, 0, 8, (uintptr_t)memory + offset, with, -1),
                0);
    return status_of(&peer);
}

static bool untouched(void)
{
    for (size_t i = 0; i < sizeof(memory); i++) {
        if (memory[i]) {
            return false;
        }
    }
    return true;
}

static void bound_window_opens(void)
{
    begin();
    CHECK(!fake_host_exposes(left, memory, sizeof(memory)));
    CHECK_EQUAL(bind_middle(), IBV_WC_SUCCESS);
    CHECK(fake_host_exposes(left, memory + 2048, 1));
    CHECK(!fake_host_exposes(left, memory, 2048));
    CHECK_EQUAL(write_at(2048, key), IBV_WC_SUCCESS);
    CHECK(!memcmp(memory + 2048, "12345678", 8));
    CHECK_EQUAL(write_at(6136, key), IBV_WC_SUCCESS);
    end();
}

static void outside_is_refused(void)
{
    static const size_t offsets[] = { 2047, 6137, 0, 8184 };

    for (size_t i = 0; i < 4; i++) {
        begin();
        CHECK_EQUAL(bind_middle(), IBV_WC_SUCCESS);
        CHECK_EQUAL(write_at(offsets[i], key), IBV_WC_REM_ACCESS_ERR);
        CHECK(untouched());
        end();
    }
}

static void invalidated_is_refused(void)
{
    begin();
    CHECK_EQUAL(bind_middle(), IBV_WC_SUCCESS);
    CHECK_EQUAL(raw_invalidate(&owner, key), 0);
    CHECK_EQUAL(status_of(&owner), IBV_WC_SUCCESS);
    CHECK(!fake_host_exposes(left, memory, sizeof(memory)));
    CHECK_EQUAL(write_at(2048, key), IBV_WC_REM_ACCESS_ERR);
    CHECK(untouched());
    end();
}

static void region_key_is_refused(void)
{
    begin();
    CHECK_EQUAL(bind_middle(), IBV_WC_SUCCESS);
    CHECK_EQUAL(write_at(2048, region->rkey), IBV_WC_REM_ACCESS_ERR);
    CHECK(untouched());
    end();
}

/* A second connection of the same hosts and domain. */
static void other_queue_pair_is_refused(void)
{
    struct raw owner2, peer2;

    begin();
    raw_init(&owner2, fabric, left);
    owner2.share = owner.pd;
    raw_init(&peer2, fabric, right);
    raw_listen(&peer2, 1001);
    raw_connect_start(&owner2, fake_host_address(right), 1001, NULL, 0);
    REQUIRE(raw_request(&peer2));
    raw_accept(&peer2, NULL, 0);
    REQUIRE(raw_event(&owner2) && raw_event(&peer2));
    CHECK_EQUAL(bind_middle(), IBV_WC_SUCCESS);
    CHECK_EQUAL(raw_write(&peer2, 0, 8, (uintptr_t)memory + 2048, key, -1), 0);
    CHECK_EQUAL(status_of(&peer2), IBV_WC_REM_ACCESS_ERR);
    CHECK(untouched());
    CHECK_EQUAL(write_at(2048, key), IBV_WC_SUCCESS);
    raw_unpair(&owner2, &peer2);
    end();
}

static void rebound_gets_a_new_key(void)
{
    uint32_t old;

    begin();
    CHECK_EQUAL(bind_middle(), IBV_WC_SUCCESS);
    CHECK_EQUAL(raw_invalidate(&owner, key), 0);
    CHECK_EQUAL(status_of(&owner), IBV_WC_SUCCESS);
    window->rkey = old = key;
    key = ibv_inc_rkey(key);
    CHECK_EQUAL(bind_middle(), IBV_WC_SUCCESS);
    CHECK_EQUAL(write_at(2048, key), IBV_WC_SUCCESS);
    CHECK_EQUAL(write_at(2048, old), IBV_WC_REM_ACCESS_ERR);
    end();
}

static void bound_twice(void)
{
    begin();
    CHECK_EQUAL(bind_middle(), IBV_WC_SUCCESS);
    window->rkey = key;
    key = ibv_inc_rkey(key);
    CHECK_EQUAL(bind_middle(), IBV_WC_MW_BIND_ERR);
    end();
}

static void bad_binds(void)
{
    begin();
    key = window->rkey; /* not a new one */
    CHECK_EQUAL(bind_middle(), IBV_WC_MW_BIND_ERR);
    end();
    begin();
    CHECK_EQUAL(raw_bind(&owner, window, region, key, memory + 8000, 193), 0);
    CHECK_EQUAL(status_of(&owner), IBV_WC_MW_BIND_ERR);
    end();
    begin();
    CHECK_EQUAL(raw_bind(&owner, window, region, key, memory, 0), 0);
    CHECK_EQUAL(status_of(&owner), IBV_WC_MW_BIND_ERR);
    end();
    begin_region(IBV_ACCESS_LOCAL_WRITE);
    CHECK_EQUAL(bind_middle(), IBV_WC_MW_BIND_ERR);
    end();
    begin_region(IBV_ACCESS_MW_BIND);
    CHECK_EQUAL(bind_middle(), IBV_WC_MW_BIND_ERR);
    end();
}

static void not_bound(void)
{
    begin();
    CHECK_EQUAL(raw_invalidate(&owner, window->rkey), 0);
    CHECK_EQUAL(status_of(&owner), IBV_WC_LOC_QP_OP_ERR);
    end();
}

/* In the order of the queue, though there is no answer to it. */
static void local_work_keeps_its_place(void)
{
    struct ibv_wc wc;

    begin();
    fake_link_cut(left, right, true);
    CHECK_EQUAL(raw_write(&owner, 0, 8, (uintptr_t)peer.buffer + 100,
                          peer.mr->rkey, -1),
                0);
    CHECK_EQUAL(raw_bind(&owner, window, region, key, memory, 64), 0);
    CHECK(!raw_poll(&owner, &wc));
    fake_link_cut(left, right, false);
    CHECK_EQUAL(status_of(&owner), IBV_WC_SUCCESS);
    CHECK_EQUAL(status_of(&owner), IBV_WC_SUCCESS);
    CHECK_EQUAL(write_at(0, key), IBV_WC_SUCCESS);
    end();
}

static void error_state_flushes(void)
{
    begin();
    CHECK_EQUAL(bind_middle(), IBV_WC_SUCCESS);
    fake_qp_break(owner.qp);
    CHECK_EQUAL(raw_invalidate(&owner, key), 0);
    CHECK_EQUAL(status_of(&owner), IBV_WC_WR_FLUSH_ERR);
    CHECK(!fake_host_exposes(left, memory, sizeof(memory)));
    end();
}

static char misused[200];

static void misuse(void *opaque, const char *sentence)
{
    snprintf(misused, sizeof(misused), "%s", sentence);
}

static void bound_region_must_stay(void)
{
    begin();
    fake_fabric_on_misuse(fabric, misuse, NULL);
    CHECK_EQUAL(bind_middle(), IBV_WC_SUCCESS);
    owner.verbs->dereg_mr(region);
    CHECK_SAYS(misused, "windows");
    owner.verbs->dealloc_mw(window);
    raw_unpair(&owner, &peer);
    CHECK_EQUAL(fake_fabric_free(fabric), 0);
}

static void bound_queue_pair_must_stay(void)
{
    begin();
    fake_fabric_on_misuse(fabric, misuse, NULL);
    CHECK_EQUAL(bind_middle(), IBV_WC_SUCCESS);
    owner.verbs->destroy_qp(owner.id);
    owner.qp = NULL;
    CHECK_SAYS(misused, "queue pair is destroyed");
    end();
}

static void device_without(void)
{
    struct ibv_device_attr attr;

    begin();
    owner.verbs->query_device(owner.qp->context, &attr);
    CHECK(attr.device_cap_flags & IBV_DEVICE_MEM_WINDOW_TYPE_2B);
    fake_host_limits(left)->max_mw = 0;
    owner.verbs->query_device(owner.qp->context, &attr);
    CHECK(!(attr.device_cap_flags & IBV_DEVICE_MEM_WINDOW_TYPE_2B));
    CHECK(owner.verbs->alloc_mw(owner.pd, IBV_MW_TYPE_2) == NULL);
    CHECK_EQUAL(errno, EOPNOTSUPP);
    end();
}

static const struct unit_test tests[] = {
    { "a bound window opens its range", bound_window_opens },
    { "a write that leaves the window is refused", outside_is_refused },
    { "an invalidated window opens nothing", invalidated_is_refused },
    { "the key of a region for windows opens nothing", region_key_is_refused },
    { "a window is good through its queue pair only",
      other_queue_pair_is_refused },
    { "a window's older key opens nothing", rebound_gets_a_new_key },
    { "a bound window cannot be bound", bound_twice },
    { "a bind that breaks a rule fails", bad_binds },
    { "a window that is not bound cannot be invalidated", not_bound },
    { "binds keep their place among the sends", local_work_keeps_its_place },
    { "an invalidation on a broken queue pair is flushed",
      error_state_flushes },
    { "a region with windows bound to it must stay", bound_region_must_stay },
    { "a queue pair with windows bound to it must stay",
      bound_queue_pair_must_stay },
    { "a device may have none", device_without },
};

UNIT_SUITE("fake-window", tests)
