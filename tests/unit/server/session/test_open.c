/* SPDX-License-Identifier: BSD-3-Clause */
/* Sessions open volumes of a pool directory. */
#include <stdlib.h>
#include <unistd.h>

#include "common/log.h"
#include "server/server.h"
#include "server/session/session.h"
#include "tests/unit/support/pool.h"
#include "tests/unit/support/unit.h"
#include "transport/target/session.h"

static char folder[64];
static struct config config;
static struct server server;
static struct rdisk_error err;
/* What the transport has of a session that asks: its target's memory. */
static struct rdisk_target target;
static struct rdisk_target_session asking;
static struct rdisk_open_grant grant;

static void begin(void)
{
    log_set_level(RDISK_LOG_ERROR);
    strcpy(folder, "/tmp/rdisk-unit-XXXXXX");
    REQUIRE(mkdtemp(folder) != NULL);
    REQUIRE(config_init(&config) == 0);
    config.authentication = ACCESS_METHOD_OPEN;
    server = (struct server) { .config = &config, .env = &rdisk_env_system };
    REQUIRE(pool_init(&server.pool, folder, 0, &err) == 0);
    REQUIRE(records_init(&server.records, NULL, folder) == 0);
    server.pool.records = &server.records;
    CHECK_EQUAL(pool_create(&server.pool, "v", 4096, &err), 0);
    target = (struct rdisk_target) {
        .options = {
            .max_memory = 1 << 20, .max_queues = 1, .max_slots = 4,
            .max_slot_size = 4096,
        },
    };
}

static void end(void)
{
    char command[100];

    CHECK(server.sessions == NULL);
    pool_destroy(&server.pool);
    records_destroy(&server.records);
    config_free(&config);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    CHECK_EQUAL(system(command), 0);
    log_set_level(RDISK_LOG_INFO);
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

    asking = (struct rdisk_target_session) {
        .target = &target,
        .requested = {
            .queues = htole16(1), .slots = htole16(4),
            .slot_size = htole32(4096),
        },
    };
    snprintf(request.peer, sizeof(request.peer), "10.9.0.%u:1", id);
    err = (struct rdisk_error) { 0 };
    CHECK_EQUAL(session_events.open(&server, &asking, &request, &grant,
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
    session_events.close(&server, session, false);
    target.options.max_memory = target.memory;
    CHECK(!open_as(2, 1, 0, RDISK_STATUS_NO_RESOURCES));
    CHECK_SAYS(err.text, "bytes of slots requested");
    target.options.max_memory = 1 << 20;
    session = open_as(1, 2, 1, RDISK_STATUS_OK);
    REQUIRE(session != NULL);
    CHECK_EQUAL(grant.generation, 1);
    session_events.close(&server, session, true);
    end();
}

/* It is known only to its older session, which must not be in the way. */
static void client_that_comes_back_needs_no_memory_beside_its_older_self(void)
{
    begin();
    REQUIRE(open_as(1, 1, 0, RDISK_STATUS_OK) != NULL);
    server.sessions->holder.fenced = true;
    target.options.max_memory = target.memory;
    CHECK(!open_as(1, 2, 1, RDISK_LATER));
    session_events.close(&server, server.sessions, false);
    end();
}

static const struct unit_test tests[] = {
    { "a client that is refused for lack of memory takes no lease",
      refused_client_does_not_take_the_lease },
    { "a client that comes back fences its older session before it needs "
      "memory",
      client_that_comes_back_needs_no_memory_beside_its_older_self },
};

UNIT_SUITE("server-open", tests)
