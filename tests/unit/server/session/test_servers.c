/* SPDX-License-Identifier: BSD-3-Clause */
/* Two servers have the same volume in storage that they share. */
#include <errno.h>

#include "common/log.h"
#include "server/server.h"
#include "server/session/fence.h"
#include "server/session/session.h"
#include "tests/unit/support/quiet.h"
#include "tests/unit/support/shared_store.h"
#include "tests/unit/support/unit.h"
#include "transport/target/session.h"

#define A (&servers[0])
#define B (&servers[1])

static struct config config;
static struct server servers[2];
static struct rdisk_error err;
static struct rdisk_target target;
/* What the transport has of each session. */
static struct rdisk_target_session asking[8];
static unsigned int asked;
static struct rdisk_open_grant grant;

static void begin(void)
{
    log_set_level(QUIET);
    shared_store = (struct shared_store) { .size = 1 << 20 };
    REQUIRE(config_init(&config) == 0);
    config.authentication = ACCESS_METHOD_OPEN;
    for (unsigned int i = 0; i < 2; i++) {
        servers[i] = (struct server) { .config = &config,
                                       .env = &rdisk_env_system };
        operations_init(&servers[i].operations, NULL);
        REQUIRE(pool_init_images(&servers[i].pool, &shared_store_class, NULL,
                                 "place", 0, &err) == 0);
        servers[i].pool.lease_time = 1000000 * RDISK_MSEC;
    }
    target = (struct rdisk_target) {
        .env = &rdisk_env_system,
        .options = {
            .max_memory = 1 << 20, .max_queues = 1, .max_slots = 4,
            .max_slot_size = 4096,
        },
    };
    asked = 0;
}

static void end(void)
{
    for (unsigned int i = 0; i < 2; i++) {
        CHECK(servers[i].sessions == NULL);
        pool_destroy(&servers[i].pool);
    }
    CHECK_EQUAL(shared_store.open, 0);
    config_free(&config);
    log_set_level(RDISK_LOG_INFO);
}

/* Client @id opens the volume; NULL if it is refused with @status. */
static void *open_at(struct server *server, uint8_t id, uint64_t epoch,
                     uint64_t generation, enum rdisk_status status)
{
    struct rdisk_open_request request = {
        .volume = "v",
        .client = { id },
        .epoch = epoch,
        .generation = generation,
        .read_only = !id,
        .servers = true,
    };
    struct rdisk_target_session *session = &asking[asked++];
    void *user = NULL;

    *session = (struct rdisk_target_session) {
        .target = &target,
        .state = RDISK_TARGET_CLOSING,
        .requested = {
            .queues = htole16(1), .slots = htole16(4),
            .slot_size = htole32(4096),
        },
    };
    snprintf(request.peer, sizeof(request.peer), "10.9.0.%u:1", id);
    err = (struct rdisk_error) { 0 };
    CHECK_EQUAL(session_events.open(server, session, &request, &grant, &user,
                                    &err),
                status);
    return user;
}

/* Its client has lost the connection. */
static void lose(struct server *server, void *user)
{
    session_events.close(server, user, false);
}

static void close_at(struct server *server, void *user)
{
    session_events.close(server, user, true);
}

static struct backend *backend_at(struct server *server)
{
    return pool_find(&server->pool, "v")->backend;
}

/* ---- Moving -------------------------------------------------------------- */

static void reconnects_through_the_other(void)
{
    void *at_a, *at_b;

    begin();
    at_a = open_at(A, 1, 1, 0, RDISK_STATUS_OK);
    CHECK_EQUAL(grant.generation, 1);
    CHECK(shared_store.locked == backend_at(A));
    at_b = open_at(B, 1, 2, 1, RDISK_STATUS_OK);
    CHECK_EQUAL(grant.generation, 1);
    CHECK_EQUAL(shared_store.fenced, 1);
    CHECK(shared_store.locked == backend_at(B));
    /* A's requests fail; what it records about that does not count. */
    atomic_store(&backend_at(A)->fenced, true);
    lose(A, at_a);
    lose(B, at_b);
    at_b = open_at(B, 1, 3, 1, RDISK_STATUS_OK);
    close_at(B, at_b);
    end();
}

static void older_epoch_does_not_take_it_back(void)
{
    void *at_a, *at_b;

    begin();
    at_a = open_at(A, 1, 1, 0, RDISK_STATUS_OK);
    lose(A, at_a);
    at_b = open_at(B, 1, 3, 1, RDISK_STATUS_OK);
    open_at(A, 1, 2, 1, RDISK_STATUS_STALE);
    CHECK_SAYS(err.text, "epoch 2 of this client is too old");
    CHECK(shared_store.locked == backend_at(B));
    CHECK_EQUAL(shared_store.fenced, 0);
    close_at(B, at_b);
    end();
}

static void other_client_does_not_take_it(void)
{
    void *at_a;

    begin();
    at_a = open_at(A, 1, 1, 0, RDISK_STATUS_OK);
    open_at(B, 2, 1, 0, RDISK_STATUS_BUSY);
    /* Nor when the lease would be over. */
    B->pool.lease_time = 0;
    B->pool.leases->lease_time = B->pool.leases->kept_until = 0;
    open_at(B, 2, 1, 0, RDISK_STATUS_BUSY);
    CHECK_SAYS(err.text, "another server has volume 'v'");
    CHECK_EQUAL(shared_store.fenced, 0);
    close_at(A, at_a);
    at_a = open_at(B, 2, 1, 0, RDISK_STATUS_OK);
    CHECK_EQUAL(grant.generation, 2);
    close_at(B, at_a);
    end();
}

static void comes_back_to_the_first(void)
{
    void *at_a, *at_b;

    begin();
    at_a = open_at(A, 1, 1, 0, RDISK_STATUS_OK);
    at_b = open_at(B, 1, 2, 1, RDISK_STATUS_OK);
    atomic_store(&backend_at(A)->fenced, true);
    /* Its old session has to end first; then the volume is opened again. */
    CHECK(!open_at(A, 1, 3, 1, RDISK_LATER));
    lose(A, at_a);
    at_a = open_at(A, 1, 3, 1, RDISK_STATUS_OK);
    CHECK_EQUAL(shared_store.fenced, 2);
    CHECK(!backend_is_fenced(backend_at(A)));
    atomic_store(&backend_at(B)->fenced, true);
    lose(B, at_b);
    close_at(A, at_a);
    CHECK(shared_store.locked == NULL);
    end();
}

/* ---- Reading ------------------------------------------------------------- */

static void readers_need_no_lock(void)
{
    void *reads_at_a, *reads_at_b, *writes;

    begin();
    reads_at_a = open_at(A, 0, 1, 0, RDISK_STATUS_OK);
    reads_at_b = open_at(B, 0, 1, 0, RDISK_STATUS_OK);
    CHECK(shared_store.locked == NULL);
    writes = open_at(A, 1, 1, 0, RDISK_STATUS_OK);
    CHECK(shared_store.locked == backend_at(A));
    close_at(A, writes);
    CHECK(shared_store.locked == NULL);
    writes = open_at(B, 2, 1, 0, RDISK_STATUS_OK);
    close_at(B, writes);
    close_at(A, reads_at_a);
    close_at(B, reads_at_b);
    CHECK_EQUAL(shared_store.fenced, 0);
    end();
}

/* Its size here is not the right one. */
static void writer_finds_what_others_have_changed(void)
{
    void *reads, *writes;

    begin();
    reads = open_at(A, 0, 1, 0, RDISK_STATUS_OK);
    shared_store.size = 2 << 20;
    CHECK(!open_at(A, 1, 1, 0, RDISK_LATER));
    close_at(A, reads);
    writes = open_at(A, 1, 1, 0, RDISK_STATUS_OK);
    CHECK_EQUAL(grant.size, 2 << 20);
    close_at(A, writes);
    end();
}

/* ---- By hand ------------------------------------------------------------- */

static void fenced(struct fence *fence)
{
    err = fence->work.why;
}

static void administrator_fences_through_the_other(void)
{
    struct fence fence = { .server = B, .done = fenced };
    void *at_a, *at_b;

    begin();
    at_a = open_at(A, 1, 1, 0, RDISK_STATUS_OK);
    fence.work.pool = &B->pool;
    strcpy(fence.work.operation.volume, "v");
    fence_start(&fence);
    CHECK_EQUAL(fence.work.result, 0);
    CHECK_EQUAL(shared_store.fenced, 1);
    atomic_store(&backend_at(A)->fenced, true);
    lose(A, at_a);
    open_at(A, 1, 2, 1, RDISK_STATUS_STALE);
    at_b = open_at(B, 2, 1, 0, RDISK_STATUS_OK);
    CHECK_EQUAL(grant.generation, 3);
    close_at(B, at_b);
    end();
}

static const struct unit_test tests[] = {
    { "a client that reconnects through another server takes the lock along",
      reconnects_through_the_other },
    { "an older epoch of a client takes nothing back",
      older_epoch_does_not_take_it_back },
    { "another client does not take the volume of a server that has it",
      other_client_does_not_take_it },
    { "a server that has lost a volume opens it again for a client that "
      "reconnects",
      comes_back_to_the_first },
    { "readers on several servers need no lock", readers_need_no_lock },
    { "a volume that was changed elsewhere is opened again to be written",
      writer_finds_what_others_have_changed },
    { "rdisk fence takes the volume from another server",
      administrator_fences_through_the_other },
};

UNIT_SUITE("server-servers", tests)
