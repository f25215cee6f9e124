/* SPDX-License-Identifier: BSD-3-Clause */
/* When the memory of a resident volume is registered for a session. */
#include <errno.h>
#include <string.h>

#include "server/session/session.h"
#include "server/session/throttled.h"
#include "tests/unit/support/pool.h"
#include "tests/unit/support/pool_server.h"
#include "tests/unit/support/unconnected.h"
#include "tests/unit/support/unit.h"

#define SIZE (1u << 20)

static char bytes[SIZE];
static struct volume *volume;
static struct rdisk_target_session asking[2];
static struct rdisk_env env;
static struct rdisk_verbs verbs;
static struct ibv_mr mr;
static unsigned int calls;
static int fails_with;
static struct rdisk_error err;

static struct ibv_mr *reg_mr(struct ibv_pd *pd, void *address, size_t length,
                             int access)
{
    calls++;
    if (fails_with) {
        errno = fails_with;
        return NULL;
    }
    mr = (struct ibv_mr) { .addr = address, .length = length };
    return &mr;
}

static void begin(void)
{
    pool_server_begin(SIZE);
    volume = pool_get(&pool_server.pool, "v", &err);
    REQUIRE(volume != NULL);
    volume->backend->resident = bytes;
    volume->backend->geometry.read_only = true;
    verbs = rdisk_verbs_system;
    verbs.reg_mr = reg_mr;
    env = rdisk_env_system;
    env.verbs = &verbs;
    unconnected_begin();
    unconnected_target.env = &env;
    pool_server.lockable = UINT64_MAX;
    calls = 0;
    fails_with = 0;
}

static void end(void)
{
    CHECK_EQUAL(pool_server.registered, 0);
    volume->backend->resident = NULL;
    pool_put(&pool_server.pool, volume);
    pool_server_end();
}

/* Each is granted the volume. */
static void *open_as(unsigned int id)
{
    struct rdisk_open_request request = {
        .volume = "v",
        .client = { (uint8_t)(id + 1) },
        .epoch = 1,
        .peer = "10.9.0.1:1",
    };
    struct rdisk_open_grant grant;
    void *session = NULL;

    asking[id] = unconnected_session();
    asking[id].state = RDISK_TARGET_CLOSING;
    CHECK_EQUAL(session_events.open(&pool_server, &asking[id], &request, &grant,
                                    &session, &err),
                RDISK_STATUS_OK);
    REQUIRE(session != NULL);
    asking[id].grant = grant;
    asking[id].limits.reads_in = 16;
    return session;
}

static void close_volume(void *session)
{
    session_events.close(&pool_server, session, true);
}

static void is_registered(void)
{
    void *session;

    begin();
    session = open_as(0);
    CHECK_EQUAL(calls, 1);
    CHECK(asking[0].resident == &mr && !asking[0].held);
    CHECK_EQUAL(pool_server.registered, SIZE);
    close_volume(session);
    end();
}

static void a_failure_is_not_the_clients(void)
{
    void *session;

    begin();
    fails_with = ENOMEM;
    session = open_as(0);
    CHECK_EQUAL(calls, 1);
    CHECK_EQUAL(pool_server.registered, 0);
    close_volume(session);
    end();
}

static void takes_no_time_that_an_open_has_not(void)
{
    void *session;

    begin();
    volume->registering = 5000 * RDISK_MSEC;
    session = open_as(0);
    CHECK_EQUAL(calls, 0);
    close_volume(session);
    for (unsigned int i = 0; i < 10 && !calls; i++) {
        close_volume(open_as(0));
    }
    CHECK_EQUAL(calls, 1);
    end();
}

static void takes_no_memory_that_slots_need(void)
{
    void *first, *second;

    begin();
    pool_config.max_memory = 10 * SIZE;
    pool_server.lockable = 11 * SIZE - 1;
    first = open_as(0);
    CHECK_EQUAL(calls, 0);
    close_volume(first);
    pool_server.lockable = 11 * SIZE;
    first = open_as(0);
    CHECK_EQUAL(calls, 1);
    second = open_as(1);
    CHECK_EQUAL(calls, 1);
    close_volume(first);
    close_volume(second);
    end();
}

/* Requests of the other one are held back as they are. */
static void a_first_limit_ends_who_reads_by_itself(void)
{
    struct session *older, *reader;

    begin();
    reader = open_as(0);
    asking[0].features = RDISK_FEATURE_RESIDENT;
    older = open_as(1);
    CHECK_EQUAL(throttled_command(&pool_server, false, "v", "iops=1000", &err),
                0);
    CHECK(reader->ended);
    CHECK(!older->ended);
    close_volume(reader);
    close_volume(older);
    CHECK_EQUAL(throttled_command(&pool_server, false, "v", "configured", &err),
                0);
    end();
}

static const struct unit_test tests[] = {
    { "a first limit ends sessions that read by themselves, and no others",
      a_first_limit_ends_who_reads_by_itself },
    { "a resident volume's memory is registered for each session",
      is_registered },
    { "a client whose volume cannot be registered is served",
      a_failure_is_not_the_clients },
    { "what takes longer than an OPEN may is not registered, but tried again",
      takes_no_time_that_an_open_has_not },
    { "what is locked for slots is not taken for resident volumes",
      takes_no_memory_that_slots_need },
};

UNIT_SUITE("server-session-resident", tests)
