/* SPDX-License-Identifier: BSD-3-Clause */
/* Sessions come and go while storage does not answer. */
#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/log.h"
#include "server/server.h"
#include "server/session/session.h"
#include "tests/unit/support/unit.h"
#include "transport/target/session.h"

#define CLIENTS 4u

static char folder[64];
static struct config config;
static struct server server;
static struct rdisk_error err;
static struct rdisk_target target;
/* What the transport has of each client. */
static struct rdisk_target_session asking[CLIENTS];
static void *user[CLIENTS];
static struct rdisk_open_grant grant;

/* Records are written when the test lets them. */
static int (*real_save)(void *opaque, const uint8_t *identity,
                        uint64_t generation, const struct lease_record *record,
                        struct rdisk_error *why);
static bool hangs;
static sem_t saving, go;

static void wait_for(sem_t *semaphore)
{
    while (sem_wait(semaphore) < 0) {
        /* interrupted */
    }
}

static int save(void *opaque, const uint8_t *identity, uint64_t generation,
                const struct lease_record *record, struct rdisk_error *why)
{
    if (hangs) {
        sem_post(&saving);
        wait_for(&go);
    }
    return real_save(opaque, identity, generation, record, why);
}

static void begin(void)
{
    log_set_level(RDISK_LOG_ERROR);
    strcpy(folder, "/tmp/rdisk-unit-XXXXXX");
    REQUIRE(mkdtemp(folder) != NULL);
    REQUIRE(config_init(&config) == 0);
    config.authentication = ACCESS_METHOD_OPEN;
    server = (struct server) { .config = &config, .env = &rdisk_env_system };
    REQUIRE(mailbox_init(&server.mailbox) == 0);
    server.jobs = jobs_create(&server.mailbox, server.env, RDISK_NEVER / 2);
    REQUIRE(server.jobs != NULL);
    operations_init(&server.operations, server.jobs);
    REQUIRE(pool_init(&server.pool, folder, 0, &err) == 0);
    REQUIRE(records_init(&server.records, NULL, folder) == 0);
    real_save = server.records.store.save;
    server.records.store.save = save;
    server.pool.records = &server.records;
    CHECK_EQUAL(pool_create(&server.pool, "v", 4096, &err), 0);
    CHECK_EQUAL(pool_create(&server.pool, "w", 4096, &err), 0);
    target = (struct rdisk_target){
        .options = {
            .max_memory = 1 << 20, .max_queues = 1, .max_slots = 4,
            .max_slot_size = 4096,
        },
    };
    memset(user, 0, sizeof(user));
    sem_init(&saving, 0, 0);
    sem_init(&go, 0, 0);
    hangs = false;
}

/* Until nothing is left to be done. */
static void settle(void)
{
    struct pollfd pfd = { .fd = server.mailbox.fd, .events = POLLIN };

    while (jobs_count(server.jobs)) {
        REQUIRE(poll(&pfd, 1, 20000) == 1);
        mailbox_run(&server.mailbox);
    }
}

static void end(void)
{
    char command[100];

    settle();
    CHECK(server.sessions == NULL);
    CHECK_EQUAL(server.operations.count, 0);
    jobs_destroy(server.jobs);
    mailbox_destroy(&server.mailbox);
    pool_destroy(&server.pool);
    records_destroy(&server.records);
    config_free(&config);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    CHECK_EQUAL(system(command), 0);
    log_set_level(RDISK_LOG_INFO);
}

static enum rdisk_status ask(unsigned int i, const char *volume, bool reads)
{
    struct rdisk_open_request request = {
        .client = { i + 1 },
        .epoch = 1,
        .read_only = reads,
    };

    asking[i] = (struct rdisk_target_session){
        .target = &target,
        .requested = {
            .queues = htole16(1), .slots = htole16(4),
            .slot_size = htole32(4096),
        },
    };
    snprintf(request.volume, sizeof(request.volume), "%s", volume);
    snprintf(request.peer, sizeof(request.peer), "10.9.0.%u:1", i);
    err = (struct rdisk_error) { 0 };
    return session_events.open(&server, &asking[i], &request, &grant, &user[i],
                               &err);
}

/* Ask until it is decided. */
static enum rdisk_status open_now(unsigned int i, const char *volume,
                                  bool reads)
{
    enum rdisk_status status = ask(i, volume, reads);

    if (status == RDISK_LATER) {
        settle();
        status = ask(i, volume, reads);
    }
    return status;
}

static void close_now(unsigned int i, bool orderly)
{
    session_events.close(&server, user[i], orderly);
    settle();
}

static void others_open(void)
{
    begin();
    hangs = true;
    CHECK_EQUAL(ask(0, "v", false), RDISK_LATER);
    CHECK_SAYS(err.text, "does not answer");
    while (sem_trywait(&saving) < 0) {
        struct pollfd pfd = { .fd = server.mailbox.fd, .events = POLLIN };

        poll(&pfd, 1, 10);
        mailbox_run(&server.mailbox);
    }
    /* It waits for its record; one that reads another volume needs none. */
    CHECK_EQUAL(ask(1, "w", true), RDISK_LATER);
    while (server.operations.count > 1) {
        struct pollfd pfd = { .fd = server.mailbox.fd, .events = POLLIN };

        REQUIRE(poll(&pfd, 1, 20000) == 1);
        mailbox_run(&server.mailbox);
    }
    CHECK_EQUAL(ask(1, "w", true), RDISK_STATUS_OK);
    CHECK_EQUAL(ask(0, "v", false), RDISK_LATER);
    /* And one that wants the same volume waits for its turn. */
    CHECK_EQUAL(ask(2, "v", false), RDISK_LATER);
    hangs = false;
    sem_post(&go);
    settle();
    CHECK_EQUAL(ask(0, "v", false), RDISK_STATUS_OK);
    CHECK_EQUAL(grant.generation, 1);
    CHECK_EQUAL(ask(2, "v", false), RDISK_STATUS_BUSY);
    close_now(0, true);
    close_now(1, true);
    end();
}

static void client_dies(void)
{
    begin();
    hangs = true;
    CHECK_EQUAL(ask(0, "v", false), RDISK_LATER);
    while (sem_trywait(&saving) < 0) {
        struct pollfd pfd = { .fd = server.mailbox.fd, .events = POLLIN };

        poll(&pfd, 1, 10);
        mailbox_run(&server.mailbox);
    }
    /* One whose turn has not come dies as well. */
    CHECK_EQUAL(ask(1, "v", false), RDISK_LATER);
    session_events.close(&server, user[1], false);
    session_events.close(&server, user[0], false);
    hangs = false;
    sem_post(&go);
    settle();
    CHECK(server.sessions == NULL);
    CHECK(server.pool.volumes == NULL);
    /* What it would have had, it has not. */
    user[2] = NULL;
    CHECK_EQUAL(open_now(2, "v", false), RDISK_STATUS_OK);
    CHECK_EQUAL(grant.generation, 2);
    close_now(2, true);
    end();
}

static void close_does_not_wait(void)
{
    begin();
    CHECK_EQUAL(open_now(0, "v", false), RDISK_STATUS_OK);
    hangs = true;
    session_events.close(&server, user[0], true);
    CHECK(server.sessions == NULL);
    wait_for(&saving);
    /* The next one has the volume when the record is written. */
    CHECK_EQUAL(ask(1, "v", false), RDISK_LATER);
    hangs = false;
    sem_post(&go);
    settle();
    CHECK_EQUAL(ask(1, "v", false), RDISK_STATUS_OK);
    CHECK_EQUAL(grant.generation, 2);
    close_now(1, true);
    end();
}

static const struct unit_test tests[] = {
    { "a volume whose record cannot be written holds up no other",
      others_open },
    { "a client that dies while its lease is written leaves nothing behind",
      client_dies },
    { "a session closes without waiting for storage", close_does_not_wait },
};

UNIT_SUITE("server-hang", tests)
