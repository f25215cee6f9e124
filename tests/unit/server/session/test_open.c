/* SPDX-License-Identifier: BSD-3-Clause */
/* Sessions open volumes of a pool directory. */
#include <stdlib.h>
#include <unistd.h>

#include "server/session/session.h"
#include "tests/unit/support/pool_server.h"
#include "tests/unit/support/unconnected.h"
#include "tests/unit/support/unit.h"

static struct rdisk_error err;
static struct rdisk_target_session asking;
static struct rdisk_open_grant grant;

static void begin(void)
{
    pool_server_begin(4096);
    unconnected_begin();
}

/* Client @id opens volume "v"; NULL if it is refused with @status. */
static void *open_as(uint8_t id, uint64_t epoch, uint64_t generation,
                     enum rdisk_status status)
{
    struct rdisk_open_request request = {
        .volume = "v",
        .client = { id },
        .epoch = epoch,
        .generation = generation,
    };
    void *session = NULL;

    asking = unconnected_session();
    snprintf(request.peer, sizeof(request.peer), "10.9.0.%u:1", id);
    err = (struct rdisk_error) { 0 };
    CHECK_EQUAL(session_events.open(&pool_server, &asking, &request, &grant,
                                    &session, &err),
                status);
    return session;
}

static void refused_client_does_not_take_the_lease(void)
{
    void *session;

    begin();
    session = open_as(1, 1, 0, RDISK_STATUS_OK);
    CHECK_EQUAL(grant.generation, 1);
    session_events.close(&pool_server, session, false);
    unconnected_target.options.max_memory = unconnected_target.memory;
    CHECK(!open_as(2, 1, 0, RDISK_STATUS_NO_RESOURCES));
    CHECK_SAYS(err.text, "bytes of slots requested");
    unconnected_target.options.max_memory = 1 << 20;
    session = open_as(1, 2, 1, RDISK_STATUS_OK);
    REQUIRE(session != NULL);
    CHECK_EQUAL(grant.generation, 1);
    session_events.close(&pool_server, session, true);
    pool_server_end();
}

/* It is known only to its older session, which must not be in the way. */
static void client_that_comes_back_needs_no_memory_beside_its_older_self(void)
{
    begin();
    REQUIRE(open_as(1, 1, 0, RDISK_STATUS_OK) != NULL);
    pool_server.sessions->holder.fenced = true;
    unconnected_target.options.max_memory = unconnected_target.memory;
    CHECK(!open_as(1, 2, 1, RDISK_LATER));
    session_events.close(&pool_server, pool_server.sessions, false);
    pool_server_end();
}

/* A file cannot be fenced. */
static void several_servers_are_refused(void)
{
    struct rdisk_open_request request = {
        .volume = "v",
        .client = { 1 },
        .epoch = 1,
        .servers = true,
    };
    void *session = NULL;

    begin();
    asking = unconnected_session();
    CHECK_EQUAL(session_events.open(&pool_server, &asking, &request, &grant,
                                    &session, &err),
                RDISK_STATUS_UNSUPPORTED);
    CHECK_SAYS(err.text, "cannot be opened through several servers");
    CHECK(!session);
    pool_server_end();
}

static const struct unit_test tests[] = {
    { "a client that is refused for lack of memory takes no lease",
      refused_client_does_not_take_the_lease },
    { "a client that comes back fences its older session before it needs "
      "memory",
      client_that_comes_back_needs_no_memory_beside_its_older_self },
    { "a client with several servers gets no volume that cannot be fenced",
      several_servers_are_refused },
};

UNIT_SUITE("server-open", tests)
