/* SPDX-License-Identifier: BSD-3-Clause */
/* Sessions come and go while storage does not answer. */
#include <errno.h>
#include <semaphore.h>

#include "server/session/session.h"
#include "tests/unit/support/pool.h"
#include "tests/unit/support/pool_server.h"
#include "tests/unit/support/unconnected.h"
#include "tests/unit/support/unit.h"

#define CLIENTS 4u

static struct rdisk_error err;
/* What the transport has of each client. */
static struct rdisk_target_session asking[CLIENTS];
static void *user[CLIENTS];
static struct rdisk_open_grant grant;

/* Records are written when the test lets them. */
static int (*real_save)(void *opaque, const uint8_t *identity,
                        const struct lease_record *before,
                        const struct lease_record *record,
                        struct rdisk_error *why);
static bool hangs;
static sem_t saving, go;
/* The same, of reading them. */
static int (*real_load)(void *opaque, const uint8_t *identity,
                        struct lease_record *record, struct rdisk_error *why);
static bool load_hangs;
static sem_t loaded;

static void wait_for(sem_t *semaphore)
{
    while (sem_wait(semaphore) < 0) {
        /* interrupted */
    }
}

static int save(void *opaque, const uint8_t *identity,
                const struct lease_record *before,
                const struct lease_record *record, struct rdisk_error *why)
{
    if (hangs) {
        sem_post(&saving);
        wait_for(&go);
    }
    return real_save(opaque, identity, before, record, why);
}

/* It has read, and says so late. */
static int load(void *opaque, const uint8_t *identity,
                struct lease_record *record, struct rdisk_error *why)
{
    bool late = load_hangs;
    int result = real_load(opaque, identity, record, why);

    if (late) {
        load_hangs = false;
        sem_post(&loaded);
        wait_for(&go);
    }
    return result;
}

static void begin(void)
{
    pool_server_begin(4096);
    pool_server_start_jobs();
    unconnected_begin();
    real_save = pool_server.records.store.save;
    pool_server.records.store.save = save;
    real_load = pool_server.records.store.load;
    pool_server.records.store.load = load;
    CHECK_EQUAL(pool_create(&pool_server.pool, "w", 4096, &err), 0);
    memset(user, 0, sizeof(user));
    sem_init(&saving, 0, 0);
    sem_init(&go, 0, 0);
    sem_init(&loaded, 0, 0);
    hangs = load_hangs = false;
}

static void end(void)
{
    pool_server_settle();
    pool_server_end();
}

static enum rdisk_status ask(unsigned int i, const char *volume, bool reads)
{
    struct rdisk_open_request request = {
        .client = { i + 1 },
        .epoch = 1,
        .read_only = reads,
    };

    asking[i] = unconnected_session();
    snprintf(request.volume, sizeof(request.volume), "%s", volume);
    snprintf(request.peer, sizeof(request.peer), "10.9.0.%u:1", i);
    err = (struct rdisk_error) { 0 };
    return session_events.open(&pool_server, &asking[i], &request, &grant,
                               &user[i], &err);
}

/* Ask until it is decided. */
static enum rdisk_status open_now(unsigned int i, const char *volume,
                                  bool reads)
{
    enum rdisk_status status = ask(i, volume, reads);

    if (status == RDISK_LATER) {
        pool_server_settle();
        status = ask(i, volume, reads);
    }
    return status;
}

static void close_now(unsigned int i, bool orderly)
{
    session_events.close(&pool_server, user[i], orderly);
    pool_server_settle();
}

static void others_open(void)
{
    begin();
    hangs = true;
    CHECK_EQUAL(ask(0, "v", false), RDISK_LATER);
    CHECK_SAYS(err.text, "does not answer");
    while (sem_trywait(&saving) < 0) {
        pool_server_turn(10);
    }
    /* It waits for its record; one that reads another volume needs none. */
    CHECK_EQUAL(ask(1, "w", true), RDISK_LATER);
    while (pool_server.operations.count > 1) {
        pool_server_turn(20);
    }
    CHECK_EQUAL(ask(1, "w", true), RDISK_STATUS_OK);
    CHECK_EQUAL(ask(0, "v", false), RDISK_LATER);
    /* And one that wants the same volume waits for its turn. */
    CHECK_EQUAL(ask(2, "v", false), RDISK_LATER);
    hangs = false;
    sem_post(&go);
    pool_server_settle();
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
        pool_server_turn(10);
    }
    /* One whose turn has not come dies as well. */
    CHECK_EQUAL(ask(1, "v", false), RDISK_LATER);
    session_events.close(&pool_server, user[1], false);
    session_events.close(&pool_server, user[0], false);
    hangs = false;
    sem_post(&go);
    pool_server_settle();
    CHECK(pool_server.sessions == NULL);
    CHECK(pool_server.pool.volumes == NULL);
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
    session_events.close(&pool_server, user[0], true);
    CHECK(pool_server.sessions == NULL);
    wait_for(&saving);
    /* The next one has the volume when the record is written. */
    CHECK_EQUAL(ask(1, "v", false), RDISK_LATER);
    hangs = false;
    sem_post(&go);
    pool_server_settle();
    CHECK_EQUAL(ask(1, "v", false), RDISK_STATUS_OK);
    CHECK_EQUAL(grant.generation, 2);
    close_now(1, true);
    end();
}

static void close_is_answered_when_it_is_durable(void)
{
    begin();
    CHECK_EQUAL(open_now(0, "v", false), RDISK_STATUS_OK);
    CHECK_EQUAL(open_now(1, "v", true), RDISK_STATUS_OK);
    hangs = true;
    CHECK_EQUAL(session_events.release(&pool_server, user[0], &err),
                RDISK_LATER);
    asking[0].owner_knows = true;
    wait_for(&saving);
    CHECK(asking[0].owner_knows);
    /* A reader changes no record, and does not wait for that one. */
    CHECK_EQUAL(session_events.release(&pool_server, user[1], &err),
                RDISK_STATUS_OK);
    hangs = false;
    sem_post(&go);
    pool_server_settle();
    CHECK(!asking[0].owner_knows); /* answered */
    end();
}

static void client_leaves_before_close_is_answered(void)
{
    begin();
    CHECK_EQUAL(open_now(0, "v", false), RDISK_STATUS_OK);
    hangs = true;
    CHECK_EQUAL(session_events.release(&pool_server, user[0], &err),
                RDISK_LATER);
    wait_for(&saving);
    session_events.close(&pool_server, user[0], true);
    hangs = false;
    sem_post(&go);
    end();
}

/* As in a migration: the destination asks again and again. */
static void closed_while_another_reads_the_record(void)
{
    begin();
    pool_server.pool.lease_time = 60000 * RDISK_MSEC;
    CHECK_EQUAL(open_now(0, "v", false), RDISK_STATUS_OK);
    load_hangs = true;
    CHECK_EQUAL(ask(1, "v", false), RDISK_LATER);
    wait_for(&loaded);
    session_events.close(&pool_server, user[0], true);
    sem_post(&go);
    pool_server_settle();
    CHECK_EQUAL(ask(1, "v", false), RDISK_STATUS_OK);
    CHECK_EQUAL(grant.generation, 2);
    close_now(1, true);
    end();
}

/* ---- What an open session asks ----------------------------------------- */

static uint64_t size_of(unsigned int i)
{
    return atomic_load(&asking[i].size);
}

static enum rdisk_status resize(unsigned int i, uint64_t size, bool shrink)
{
    enum rdisk_status status = session_events.resize(&pool_server, user[i],
                                                     size, shrink, &err);

    asking[i].resize.at_owner = status == RDISK_LATER;
    return status;
}

static void resize_does_not_wait(void)
{
    begin();
    pool_config.resize = true;
    CHECK_EQUAL(open_now(0, "v", false), RDISK_STATUS_OK);
    CHECK_EQUAL(open_now(1, "v", true), RDISK_STATUS_OK);
    pool_server_hang();
    CHECK_EQUAL(resize(0, 8192, false), RDISK_LATER);
    CHECK_SAYS(err.text, "the storage of volume 'v' does not answer");
    CHECK_EQUAL(size_of(1), 0);
    pool_server_release();
    pool_server_settle();
    CHECK(!asking[0].resize.at_owner); /* answered */
    CHECK_EQUAL(size_of(0), 8192);
    CHECK_EQUAL(size_of(1), 8192);
    CHECK_EQUAL(pool_server.pool.volumes->backend->geometry.size, 8192);
    close_now(0, true);
    close_now(1, true);
    end();
}

/* Nothing may be written behind the new end from the moment it is asked for. */
static void smaller_size_holds_before_it_is_done(void)
{
    begin();
    pool_config.resize = true;
    CHECK_EQUAL(open_now(0, "v", false), RDISK_STATUS_OK);
    pool_server_hang();
    CHECK_EQUAL(resize(0, 2048, true), RDISK_LATER);
    CHECK_EQUAL(size_of(0), 2048);
    CHECK_EQUAL(pool_server.pool.volumes->backend->geometry.size, 4096);
    /* No client opens it meanwhile. */
    CHECK_EQUAL(ask(1, "v", true), RDISK_LATER);
    pool_server_release();
    pool_server_settle();
    CHECK_EQUAL(ask(1, "v", true), RDISK_STATUS_OK);
    CHECK_EQUAL(grant.size, 2048);
    close_now(0, true);
    close_now(1, true);
    end();
}

static void stat_does_not_wait(void)
{
    uint64_t allocated;

    begin();
    CHECK_EQUAL(open_now(0, "v", false), RDISK_STATUS_OK);
    pool_server_hang();
    CHECK_EQUAL(session_events.stat(&pool_server, user[0], &allocated, &err),
                RDISK_LATER);
    asking[0].stat.at_owner = true;
    pool_server_release();
    pool_server_settle();
    CHECK(!asking[0].stat.at_owner);
    close_now(0, true);
    end();
}

static enum rdisk_status create(unsigned int i, const char *volume)
{
    struct rdisk_create_request request = {
        .peer = "10.9.0.1:1",
        .user = "",
        .size = 4096,
        .exclusive = true,
    };

    snprintf(request.volume, sizeof(request.volume), "%s", volume);
    return session_events.create(&pool_server, &asking[i], &request, &user[i],
                                 &err);
}

static void create_does_not_wait(void)
{
    begin();
    pool_config.create = true;
    pool_server_hang();
    CHECK_EQUAL(create(0, "x"), RDISK_LATER);
    CHECK_EQUAL(create(1, "x"), RDISK_LATER); /* has to wait for its turn */
    CHECK_EQUAL(pool_server.operations.count, 2);
    session_events.close(&pool_server, user[1], false);
    CHECK_EQUAL(pool_server.operations.count, 1);
    session_events.close(&pool_server, user[0], false);
    pool_server_release();
    pool_server_settle();
    CHECK_EQUAL(pool_server.operations.count, 0);
    user[0] = NULL;
    CHECK_EQUAL(open_now(0, "x", true), RDISK_STATUS_OK);
    close_now(0, true);
    end();
}

static void session_leaves_before_its_answers(void)
{
    uint64_t allocated;

    begin();
    pool_config.resize = true;
    CHECK_EQUAL(open_now(0, "v", false), RDISK_STATUS_OK);
    pool_server_hang();
    CHECK_EQUAL(resize(0, 2048, true), RDISK_LATER); /* begun */
    CHECK_EQUAL(session_events.stat(&pool_server, user[0], &allocated, &err),
                RDISK_LATER); /* waits for its turn */
    session_events.close(&pool_server, user[0], false);
    CHECK(pool_server.sessions == NULL);
    pool_server_release();
    pool_server_settle();
    CHECK(pool_server.pool.volumes == NULL);
    user[1] = NULL;
    CHECK_EQUAL(open_now(1, "v", true), RDISK_STATUS_OK);
    CHECK_EQUAL(grant.size, 2048);
    close_now(1, true);
    end();
}

static const struct unit_test tests[] = {
    { "a volume whose record cannot be written holds up no other",
      others_open },
    { "a client that dies while its lease is written leaves nothing behind",
      client_dies },
    { "a session closes without waiting for storage", close_does_not_wait },
    { "a CLOSE is answered when the record says that the client has closed",
      close_is_answered_when_it_is_durable },
    { "a client that leaves before its CLOSE is answered has closed",
      client_leaves_before_close_is_answered },
    { "a volume that is closed while another client's OPEN reads its record is "
      "not kept",
      closed_while_another_reads_the_record },
    { "a RESIZE is answered when storage has done it", resize_does_not_wait },
    { "a smaller size holds from the moment in which it is asked for",
      smaller_size_holds_before_it_is_done },
    { "a STAT does not wait for storage", stat_does_not_wait },
    { "a CREATE does not wait for storage", create_does_not_wait },
    { "a session that leaves before its RESIZE and STAT are answered is gone",
      session_leaves_before_its_answers },
};

UNIT_SUITE("server-hang", tests)
