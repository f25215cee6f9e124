/* SPDX-License-Identifier: BSD-3-Clause */
/* The storage that servers share does not answer one of them. */
#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <string.h>

#include "common/log.h"
#include "server/server.h"
#include "server/session/session.h"
#include "tests/unit/support/quiet.h"
#include "tests/unit/support/shared_store.h"
#include "tests/unit/support/unconnected.h"
#include "tests/unit/support/unit.h"

#define STEP    50u   /* ms */
#define CUT_OFF 2000u /* the same; the default */

static struct config config;
static struct server server;
static struct rdisk_env env;
static uint64_t now;
static struct rdisk_error err;
static struct rdisk_target_session asking[3];
static unsigned int asked;

/* Of the storage: its data, and its monitors. */
static struct backend_pool_class place;
static struct backend_class class;
static atomic_bool data_hangs, monitors_hang;
static atomic_uint hanging, reads, pings;
static sem_t go;

static uint64_t clock_now(void *opaque)
{
    return now;
}

static void hang(atomic_bool *hangs)
{
    if (!atomic_load(hangs)) {
        return;
    }
    atomic_fetch_add(&hanging, 1);
    while (sem_wait(&go) < 0) {
        /* interrupted */
    }
}

static int place_read(struct backend_pool *pool, const char *name, char *text,
                      size_t size)
{
    if (strcmp(name, "none") == 0) {
        atomic_fetch_add(&reads, 1);
        hang(&data_hangs);
        return -ENOENT;
    }
    return shared_store_class.pool->read(pool, name, text, size);
}

static int place_ping(struct backend_pool *pool)
{
    atomic_fetch_add(&pings, 1);
    hang(&monitors_hang);
    return 0;
}

static void begin(void)
{
    log_set_level(QUIET);
    shared_store = (struct shared_store) { .size = 1 << 20 };
    place = *shared_store_class.pool;
    place.read = place_read;
    place.ping = place_ping;
    class = shared_store_class;
    class.pool = &place;
    env = rdisk_env_system;
    env.now = clock_now;
    now = 1000 * RDISK_MSEC;
    atomic_store(&data_hangs, false);
    atomic_store(&monitors_hang, false);
    atomic_store(&hanging, 0);
    atomic_store(&reads, 0);
    atomic_store(&pings, 0);
    sem_init(&go, 0, 0);
    REQUIRE(config_init(&config) == 0);
    config.authentication = ACCESS_METHOD_OPEN;
    server = (struct server) { .config = &config, .env = &env };
    REQUIRE(mailbox_init(&server.mailbox) == 0);
    server.jobs = jobs_create(&server.mailbox, &env, RDISK_NEVER / 2);
    REQUIRE(server.jobs != NULL);
    operations_init(&server.operations, NULL);
    REQUIRE(pool_init_images(&server.pool, &class, NULL, "place", 0, &err) ==
            0);
    unconnected_begin();
    unconnected_target.env = &env;
    asked = 0;
}

/* It has its thread, and has ended unless it @hangs. */
static bool is_settled(const struct store_probe *probe, bool hangs)
{
    return !probe->running || (hangs && atomic_load(&probe->begun));
}

/* However slow this machine is. */
static void settle(void)
{
    const struct store_watch *watch = &server.store_watch;

    while (!is_settled(&watch->read, atomic_load(&data_hangs)) ||
           !is_settled(&watch->ping, atomic_load(&monitors_hang))) {
        struct pollfd pfd = { .fd = server.mailbox.fd, .events = POLLIN };

        poll(&pfd, 1, 20);
        mailbox_run(&server.mailbox);
    }
}

static void turn(void)
{
    store_watch_check_time(&server, now);
    settle();
}

/* What hangs goes on. */
static void answer(void)
{
    atomic_store(&data_hangs, false);
    atomic_store(&monitors_hang, false);
    while (store_watch_is_busy(&server)) {
        struct pollfd pfd = { .fd = server.mailbox.fd, .events = POLLIN };

        while (atomic_load(&hanging)) {
            atomic_fetch_sub(&hanging, 1);
            sem_post(&go);
        }
        poll(&pfd, 1, 20);
        mailbox_run(&server.mailbox);
    }
}

static void end(void)
{
    answer();
    CHECK(server.sessions == NULL);
    CHECK_EQUAL(store_watch_deadline(&server), RDISK_NEVER);
    pool_destroy(&server.pool);
    jobs_destroy(server.jobs);
    mailbox_destroy(&server.mailbox);
    config_free(&config);
    log_set_level(RDISK_LOG_INFO);
}

static struct session *open_volume(bool servers, enum rdisk_status status)
{
    struct rdisk_open_request request = {
        .volume = "v",
        .client = { asked + 1 },
        .epoch = 1,
        .read_only = true,
        .servers = servers,
        .peer = "10.9.0.1:1",
    };
    struct rdisk_open_grant grant;
    void *user = NULL;

    asking[asked] = unconnected_session();
    asking[asked].state = RDISK_TARGET_CLOSING;
    err = (struct rdisk_error) { 0 };
    CHECK_EQUAL(session_events.open(&server, &asking[asked++], &request, &grant,
                                    &user, &err),
                status);
    return user;
}

static void close_volume(struct session *session)
{
    session_events.close(&server, session, true);
}

/* Milliseconds until @session is ended, at most @limit. */
static unsigned int ended_after(const struct session *session,
                                unsigned int limit)
{
    unsigned int ms = 0;

    for (; ms < limit && !session->ended; ms += STEP) {
        now += STEP * RDISK_MSEC;
        turn();
    }
    return ms;
}

/* ---- Tests --------------------------------------------------------------- */

static void sends_clients_to_their_next_server(void)
{
    struct session *session;
    unsigned int ms;

    begin();
    session = open_volume(true, RDISK_STATUS_OK);
    CHECK_EQUAL(ended_after(session, 2 * CUT_OFF), 2 * CUT_OFF);
    CHECK(atomic_load(&reads) > 8);
    CHECK_EQUAL(atomic_load(&pings), 0);
    atomic_store(&data_hangs, true);
    atomic_store(&monitors_hang, true);
    ms = ended_after(session, 2 * CUT_OFF);
    CHECK(ms <= CUT_OFF + 2 * STEP && ms >= CUT_OFF - CUT_OFF / 8 - 2 * STEP);
    close_volume(session);
    open_volume(true, RDISK_STATUS_SHUTTING_DOWN);
    CHECK_SAYS(err.text, "its storage does not answer this server");
    answer();
    session = open_volume(true, RDISK_STATUS_OK);
    close_volume(session);
    end();
}

static void keeps_them_while_its_monitors_answer(void)
{
    struct session *session;

    begin();
    session = open_volume(true, RDISK_STATUS_OK);
    atomic_store(&data_hangs, true);
    CHECK_EQUAL(ended_after(session, 5 * CUT_OFF), 5 * CUT_OFF);
    CHECK(atomic_load(&pings) > 3);
    close_volume(session);
    end();
}

static void asks_nothing_for_clients_of_one_server(void)
{
    struct session *session;

    begin();
    session = open_volume(false, RDISK_STATUS_OK);
    CHECK_EQUAL(store_watch_deadline(&server), RDISK_NEVER);
    atomic_store(&data_hangs, true);
    atomic_store(&monitors_hang, true);
    CHECK_EQUAL(ended_after(session, 5 * CUT_OFF), 5 * CUT_OFF);
    CHECK_EQUAL(atomic_load(&reads), 0);
    close_volume(session);
    end();
}

static void own_absence_is_no_silence_of_the_storage(void)
{
    struct session *session;

    begin();
    session = open_volume(true, RDISK_STATUS_OK);
    ended_after(session, 2 * STEP);
    atomic_store(&monitors_hang, true);
    atomic_store(&data_hangs, true);
    now += 100 * CUT_OFF * RDISK_MSEC;
    turn();
    turn();
    CHECK(!session->ended);
    CHECK(ended_after(session, CUT_OFF) < CUT_OFF);
    close_volume(session);
    end();
}

static void hang_run(struct job *job)
{
    sem_wait(&go);
}

static void hang_done(struct job *job)
{
}

/* Other storage hangs, and has all threads. */
static void waiting_for_a_thread_is_no_silence(void)
{
    static struct job others[JOBS_THREADS];
    struct session *session;

    begin();
    session = open_volume(true, RDISK_STATUS_OK);
    for (unsigned int i = 0; i < JOBS_THREADS; i++) {
        others[i] = (struct job) { .what = "waiting for",
                                   .volume = "other",
                                   .store = &others[i],
                                   .run = hang_run,
                                   .done = hang_done };
        REQUIRE(jobs_submit(server.jobs, &others[i], &err) == 0);
    }
    for (unsigned int ms = 0; ms < 5 * CUT_OFF; ms += STEP) {
        now += STEP * RDISK_MSEC;
        store_watch_check_time(&server, now);
    }
    CHECK(!session->ended);
    CHECK_EQUAL(atomic_load(&reads), 0);
    for (unsigned int i = 0; i < JOBS_THREADS; i++) {
        sem_post(&go);
    }
    settle();
    while (jobs_count(server.jobs)) {
        struct pollfd pfd = { .fd = server.mailbox.fd, .events = POLLIN };

        poll(&pfd, 1, 20);
        mailbox_run(&server.mailbox);
    }
    close_volume(session);
    end();
}

/* The control thread does not spin. */
static void without_room_it_is_tried_again_later(void)
{
    static struct job others[JOBS_MAX];
    struct session *session;

    begin();
    session = open_volume(true, RDISK_STATUS_OK);
    for (unsigned int i = 0; i < JOBS_MAX; i++) {
        others[i] = (struct job) { .what = "waiting for",
                                   .volume = "other",
                                   .store = others,
                                   .run = hang_run,
                                   .done = hang_done };
        REQUIRE(jobs_submit(server.jobs, &others[i], &err) == 0);
    }
    now += STEP * RDISK_MSEC;
    store_watch_check_time(&server, now);
    now += CUT_OFF * RDISK_MSEC;
    store_watch_check_time(&server, now);
    CHECK(!store_watch_is_busy(&server));
    CHECK(store_watch_deadline(&server) > now);
    for (unsigned int i = 0; i < JOBS_MAX; i++) {
        sem_post(&go);
    }
    while (jobs_count(server.jobs)) {
        struct pollfd pfd = { .fd = server.mailbox.fd, .events = POLLIN };

        poll(&pfd, 1, 20);
        mailbox_run(&server.mailbox);
    }
    close_volume(session);
    end();
}

static const struct unit_test tests[] = {
    { "a server that is cut off sends clients to their next server",
      sends_clients_to_their_next_server },
    { "a server that lacks only an OSD keeps its clients",
      keeps_them_while_its_monitors_answer },
    { "storage is not asked for clients that have no other server",
      asks_nothing_for_clients_of_one_server },
    { "a server's own absence is no silence of the storage",
      own_absence_is_no_silence_of_the_storage },
    { "waiting for a thread is no silence of the storage",
      waiting_for_a_thread_is_no_silence },
    { "what finds no room among the jobs is tried again later",
      without_room_it_is_tried_again_later },
};

UNIT_SUITE("server-store-watch", tests)
