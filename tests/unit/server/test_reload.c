/* SPDX-License-Identifier: BSD-3-Clause */
/* The configuration is read again by a server that runs. */
#include <fcntl.h>
#include <poll.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "server/config/command_line.h"
#include "server/config/limits.h"
#include "server/reload.h"
#include "server/server.h"
#include "server/session/session.h"
#include "tests/unit/support/pool.h"
#include "tests/unit/support/quiet.h"
#include "tests/unit/support/unit.h"
#include "transport/target/session.h"

#define SECRET "0123456789abcdef0123456789abcdef\n"

static char folder[64], conf[80], secret[80];
static char *argv[] = { "rdiskd", "--config", conf, "--max-queues", "3", NULL };
static const struct command_line line = { 5, argv };
static struct config config;
static struct server server;
static struct rdisk_error err;
static struct rdisk_target target;
static struct rdisk_target_session asking;

/* ---- Helpers ------------------------------------------------------------ */

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    REQUIRE(fd >= 0);
    REQUIRE(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

/* The client "a" with @access, and @more. */
static void write_conf(const char *access, const char *more)
{
    char text[1000];

    snprintf(text, sizeof(text),
             "[pool]\ndirectory = %s\n"
             "[client a]\nsecret-file = %s\n%s\n%s",
             folder, secret, access, more);
    write_file(conf, text);
}

static void settle(void)
{
    struct pollfd pfd = { .fd = server.mailbox.fd, .events = POLLIN };

    while (jobs_count(server.jobs)) {
        REQUIRE(poll(&pfd, 1, 20000) == 1);
        mailbox_run(&server.mailbox);
    }
}

static void begin(void)
{
    log_set_level(QUIET);
    strcpy(folder, "/tmp/rdisk-unit-XXXXXX");
    REQUIRE(mkdtemp(folder) != NULL);
    snprintf(conf, sizeof(conf), "%s/.conf", folder);
    snprintf(secret, sizeof(secret), "%s/.secret", folder);
    write_file(secret, SECRET);
    write_conf("read-write = v", "");
    REQUIRE(config_init(&config) == 0);
    REQUIRE(options_read(&line, &config, &err) == 0);
    target = (struct rdisk_target) { 0 };
    server = (struct server) {
        .config = &config,
        .line = &line,
        .env = &rdisk_env_system,
        .target = &target,
        .running = true,
    };
    config_target_options(&config, &target.options);
    REQUIRE(mailbox_init(&server.mailbox) == 0);
    server.jobs = jobs_create(&server.mailbox, server.env, RDISK_NEVER / 2);
    REQUIRE(server.jobs != NULL);
    operations_init(&server.operations, server.jobs);
    REQUIRE(pool_init(&server.pool, folder, 0, &err) == 0);
    REQUIRE(records_init(&server.records, NULL, folder) == 0);
    server.pool.records = &server.records;
    REQUIRE(pool_create(&server.pool, "v", 4096, &err) == 0);
}

static void end(void)
{
    char command[100];

    settle();
    CHECK(server.sessions == NULL);
    CHECK(server.reload == NULL);
    jobs_destroy(server.jobs);
    mailbox_destroy(&server.mailbox);
    pool_destroy(&server.pool);
    records_destroy(&server.records);
    config_free(&config);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    CHECK_EQUAL(system(command), 0);
    log_set_level(RDISK_LOG_INFO);
}

static void reload(void)
{
    reload_wanted(&server);
    settle();
    /* The file may have said otherwise. */
    log_set_level(QUIET);
}

static enum rdisk_status ask(void **session)
{
    struct rdisk_open_request request = {
        .volume = "v",
        .user = "a",
        .client = { 1 },
        .epoch = 1,
    };
    struct rdisk_open_grant grant;

    if (!*session) {
        asking = (struct rdisk_target_session) {
            .target = &target,
            .requested = {
                .queues = htole16(1), .slots = htole16(4),
                .slot_size = htole32(4096),
            },
        };
    }
    return session_events.open(&server, &asking, &request, &grant, session,
                               &err);
}

/* ---- What a reload changes ---------------------------------------------- */

static void limits_and_clients_are_taken_over(void)
{
    begin();
    write_conf("read-only = v", "[server]\nmax-memory = 2G\nmax-sessions = 7\n"
                                "lease-time = 9\nlog-level = debug\n");
    reload();
    CHECK_EQUAL(target.options.max_memory, 2ll << 30);
    CHECK_EQUAL(target.options.max_sessions, 7);
    CHECK_EQUAL(server.pool.lease_time, 9000 * RDISK_MSEC);
    CHECK_EQUAL(config.log_level, RDISK_LOG_DEBUG);
    CHECK_EQUAL(session_access(&server, "a", "v"), ACCESS_READ);
    end();
}

static void command_line_still_wins(void)
{
    begin();
    CHECK_EQUAL(target.options.max_queues, 3);
    write_conf("read-only = v", "[server]\nmax-queues = 9\n");
    reload();
    CHECK_EQUAL(target.options.max_queues, 3);
    end();
}

static void what_needs_a_restart_is_not_applied(void)
{
    struct config_change change;
    struct config next;

    begin();
    write_conf("read-only = v", "[server]\nport = 9999\nmax-slots = 5\n"
                                "[volume m]\nbackend = memory\nsize = 1M\n");
    REQUIRE(config_init(&next) == 0);
    REQUIRE(options_read(&line, &next, &err) == 0);
    config_adopt(&config, &next, &change);
    config_free(&next);
    CHECK_EQUAL(config.port, RDISK_DEFAULT_PORT);
    CHECK_EQUAL(config.max_slots, 5);
    CHECK(config.volumes == NULL);
    CHECK(change.volumes_pending);
    CHECK_EQUAL(__builtin_popcount(change.pending), 1);
    CHECK_EQUAL(__builtin_popcount(change.applied), 1);
    end();
}

static void wrong_file_changes_nothing(void)
{
    begin();
    write_conf("read-only = v", "[server]\nmax-sessions = 7\nmax-slots = 0\n");
    reload();
    CHECK_EQUAL(session_access(&server, "a", "v"), ACCESS_WRITE);
    CHECK(config.max_sessions != 7);
    CHECK(target.options.max_sessions != 7);
    end();
}

/* A client without its secret would be one that nobody can be. */
static void missing_secret_changes_nothing(void)
{
    begin();
    write_conf("read-only = v", "");
    unlink(secret);
    reload();
    CHECK_EQUAL(session_access(&server, "a", "v"), ACCESS_WRITE);
    end();
}

/* ---- When --------------------------------------------------------------- */

static void signal_before_it_runs_has_its_turn_then(void)
{
    begin();
    server.running = false;
    write_conf("read-only = v", "");
    reload();
    CHECK_EQUAL(session_access(&server, "a", "v"), ACCESS_WRITE);
    server.running = true;
    reload_begin_wanted(&server);
    settle();
    CHECK_EQUAL(session_access(&server, "a", "v"), ACCESS_READ);
    end();
}

/* The file may have been written after the first one had read it. */
static void signal_during_a_reload_is_another_one(void)
{
    begin();
    reload_wanted(&server);
    write_conf("read-only = v", "");
    reload_wanted(&server);
    CHECK(server.reload_wanted);
    settle();
    CHECK(!server.reload_wanted);
    CHECK_EQUAL(session_access(&server, "a", "v"), ACCESS_READ);
    end();
}

/* A FIFO is a file whose storage does not answer. */
static void file_that_hangs_is_given_up(void)
{
    begin();
    unlink(conf);
    REQUIRE(mkfifo(conf, 0600) == 0);
    reload_wanted(&server);
    REQUIRE(server.reload != NULL);
    CHECK(reload_deadline(&server) != RDISK_NEVER);
    reload_check_time(&server, reload_deadline(&server));
    CHECK_EQUAL(reload_deadline(&server), RDISK_NEVER);
    write_conf("read-only = v", "");
    settle();
    CHECK_EQUAL(session_access(&server, "a", "v"), ACCESS_WRITE);
    end();
}

/* ---- Sessions ----------------------------------------------------------- */

static void session_with_more_than_it_may_have_is_withdrawn(void)
{
    void *session = NULL;

    begin();
    while (ask(&session) == RDISK_LATER) {
        settle();
    }
    REQUIRE(server.sessions != NULL);
    CHECK(!session_withdrawn(server.sessions));
    server.sessions->read_only = true;
    config.clients->read_only = strdup("v");
    free(config.clients->read_write);
    config.clients->read_write = NULL;
    CHECK(!session_withdrawn(server.sessions));
    server.sessions->read_only = false;
    CHECK(session_withdrawn(server.sessions));
    server.sessions->read_only = true;
    config.authentication = ACCESS_METHOD_HMAC;
    snprintf(server.sessions->request.user,
             sizeof(server.sessions->request.user), "gone");
    CHECK(session_withdrawn(server.sessions));
    session_events.close(&server, session, true);
    end();
}

/* Its record was being written when the client lost its access. */
static void access_lost_while_opening_is_refused(void)
{
    void *session = NULL;

    begin();
    CHECK_EQUAL(ask(&session), RDISK_LATER);
    config.clients->read_only = config.clients->read_write;
    config.clients->read_write = NULL;
    settle();
    CHECK_EQUAL(ask(&session), RDISK_STATUS_NO_VOLUME);
    CHECK(session == NULL);
    end();
}

static void drained_while_opening_is_refused(void)
{
    void *session = NULL;

    begin();
    CHECK_EQUAL(ask(&session), RDISK_LATER);
    settle();
    REQUIRE(drain_begin(&server.drain, "", &err) == 0);
    CHECK_EQUAL(ask(&session), RDISK_STATUS_SHUTTING_DOWN);
    CHECK(session == NULL);
    CHECK(server.sessions == NULL);
    end();
}

static const struct unit_test tests[] = {
    { "limits, clients and the log level are taken over",
      limits_and_clients_are_taken_over },
    { "the command line wins over a file that is read again",
      command_line_still_wins },
    { "what needs a restart is reported and not applied",
      what_needs_a_restart_is_not_applied },
    { "a wrong file changes nothing", wrong_file_changes_nothing },
    { "a missing secret changes nothing", missing_secret_changes_nothing },
    { "a signal before the server runs has its turn then",
      signal_before_it_runs_has_its_turn_then },
    { "a signal during a reload is another reload",
      signal_during_a_reload_is_another_one },
    { "a file that hangs is given up, and not applied late",
      file_that_hangs_is_given_up },
    { "a session with more than its client may have is withdrawn",
      session_with_more_than_it_may_have_is_withdrawn },
    { "access lost while a volume is being opened is refused",
      access_lost_while_opening_is_refused },
    { "a volume drained while it is being opened is refused",
      drained_while_opening_is_refused },
};

UNIT_SUITE("server-reload", tests)
