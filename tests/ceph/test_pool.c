/* SPDX-License-Identifier: BSD-3-Clause */
/* A Ceph pool as the pool of volumes, on a real cluster (tests/ceph/run). */
#include <errno.h>
#include <stdlib.h>

#include "server/backends/module.h"
#include "tests/unit/support/unit.h"

static const struct backend_pool_class *class(void)
{
    return rdisk_backend_module.class->pool;
}

static struct backend_pool *begin(const char *place, struct rdisk_error *err)
{
    static struct backend_ceph ceph = {
        .user = "admin",
        .keyring = "",
        .op_timeout_s = 10,
        .connect_timeout_s = 10,
    };

    ceph.config = getenv("CEPH_CONF");
    return class()->open(&ceph, place, err);
}

struct seen {
    unsigned int count, limit;
    uint64_t size; /* of "pool-a" */
};

static bool see(void *opaque, const char *name, uint64_t size)
{
    struct seen *seen = opaque;

    if (strcmp(name, "pool-a") == 0) {
        seen->size = size;
    }
    return ++seen->count < seen->limit;
}

static void test_life(void)
{
    struct rdisk_error err = { 0 };
    struct backend_pool *pool = begin("rbd", &err);
    struct seen seen = { .limit = 1000 }, one = { .limit = 1 };

    REQUIRE(pool != NULL);
    CHECK_EQUAL(class()->create(pool, "pool-a", 3 << 20, &err), 0);
    CHECK_EQUAL(class()->create(pool, "pool-b", 1 << 20, &err), 0);
    CHECK_EQUAL(class()->create(pool, "pool-a", 1 << 20, &err), -EEXIST);
    CHECK_EQUAL(class()->list(pool, see, &seen, &err), 0);
    CHECK(seen.count >= 2);
    CHECK_EQUAL(seen.size, 3 << 20);
    /* Its caller's memory has an end. */
    CHECK_EQUAL(class()->list(pool, see, &one, &err), -ENOMEM);
    CHECK_EQUAL(one.count, 1);
    CHECK_EQUAL(class()->delete (pool, "pool-a", &err), 0);
    CHECK_EQUAL(class()->delete (pool, "pool-a", &err), -ENOENT);
    CHECK_EQUAL(class()->delete (pool, "pool-b", &err), 0);
    class()->close(pool);
}

/* More than one answer of the cluster's has room for at first. */
static void test_many(void)
{
    struct rdisk_error err = { 0 };
    struct backend_pool *pool = begin("rbd", &err);
    struct seen before = { .limit = 1000 }, after = before;
    char name[16];

    REQUIRE(pool != NULL);
    CHECK_EQUAL(class()->list(pool, see, &before, &err), 0);
    for (unsigned int i = 0; i < 70; i++) {
        snprintf(name, sizeof(name), "many-%u", i);
        REQUIRE(class()->create(pool, name, 1 << 20, &err) == 0);
    }
    CHECK_EQUAL(class()->list(pool, see, &after, &err), 0);
    CHECK_EQUAL(after.count, before.count + 70);
    for (unsigned int i = 0; i < 70; i++) {
        snprintf(name, sizeof(name), "many-%u", i);
        CHECK_EQUAL(class()->delete (pool, name, &err), 0);
    }
    class()->close(pool);
}

static void test_refused(void)
{
    struct rdisk_error err = { 0 };
    struct backend_pool *pool = begin("rbd", &err);

    CHECK(!begin("absent", &err));
    CHECK_SAYS(err.text, "pool 'absent'");
    CHECK(!begin("a/b/c", &err));
    CHECK_SAYS(err.text, "is not POOL or POOL/NAMESPACE");
    REQUIRE(pool != NULL);
    CHECK_EQUAL(class()->create(pool, "a@b", 1 << 20, &err), -EINVAL);
    CHECK_SAYS(err.text, "is a snapshot's");
    class()->close(pool);
}

static const struct unit_test tests[] = {
    { "images are created, listed with their sizes, and deleted", test_life },
    { "a list has all images, however many", test_many },
    { "what is no pool, and no volume's name, is refused", test_refused },
};

/* Before the images' tests, which leave the cluster full. */
UNIT_SUITE("ceph-0-pool", tests)
