/* SPDX-License-Identifier: BSD-3-Clause */
/* How memory is registered. */
#include <errno.h>

#include "tests/unit/support/unit.h"
#include "transport/verbs/mr.h"

static int taken[4]; /* access flags, in turn */
static unsigned int calls;
static int refuses; /* flags for which the device has an error, */
static int refusal; /* and that error */
static struct ibv_mr registered = { .length = 4096 };

static struct ibv_mr *reg_mr(struct ibv_pd *pd, void *address, size_t length,
                             int access)
{
    taken[calls++] = access;
    errno = refusal;
    return access & refuses ? NULL : &registered;
}

static int dereg_mr(struct ibv_mr *mr)
{
    return 0;
}

static const struct rdisk_verbs verbs = {
    .reg_mr = reg_mr,
    .dereg_mr = dereg_mr,
};

static struct ibv_mr *try(int refused, int code)
{
    struct rdisk_error err;

    calls = 0;
    refuses = refused;
    refusal = code;
    return rdisk_mr_register(&verbs, NULL, NULL, 4096, IBV_ACCESS_REMOTE_WRITE,
                             &err);
}

static void ordering_is_relaxed(void)
{
    struct ibv_mr *mr = try(0, 0);

    CHECK(mr == &registered);
    CHECK_EQUAL(calls, 1);
    CHECK_EQUAL(taken[0], IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_LOCAL_WRITE |
                              IBV_ACCESS_RELAXED_ORDERING);
    rdisk_mr_deregister(&verbs, mr);
}

static void a_device_may_refuse_it(void)
{
    static const int codes[] = { EINVAL, EOPNOTSUPP };

    for (unsigned int i = 0; i < 2; i++) {
        struct ibv_mr *mr = try(IBV_ACCESS_RELAXED_ORDERING, codes[i]);

        CHECK(mr == &registered);
        CHECK_EQUAL(calls, 2);
        CHECK_EQUAL(taken[1], IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_LOCAL_WRITE);
        rdisk_mr_deregister(&verbs, mr);
    }
}

static void no_memory_is_not_tried_again(void)
{
    CHECK(try(IBV_ACCESS_LOCAL_WRITE, ENOMEM) == NULL);
    CHECK_EQUAL(calls, 1);
}

static const struct unit_test tests[] = {
    { "memory is registered for relaxed ordering", ordering_is_relaxed },
    { "a device that refuses relaxed ordering gets memory without",
      a_device_may_refuse_it },
    { "what fails for another reason is not tried again",
      no_memory_is_not_tried_again },
};

UNIT_SUITE("registration", tests)
