/* SPDX-License-Identifier: BSD-3-Clause */
/* The configuration is read again by a server that runs. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/config/command_line.h"
#include "server/config/limits.h"
#include "server/reload.h"
#include "server/session/session.h"
#include "tests/unit/support/pool_server.h"
#include "tests/unit/support/quiet.h"
#include "tests/unit/support/text_file.h"
#include "tests/unit/support/unconnected.h"
#include "tests/unit/support/unit.h"

#define SECRET "0123456789abcdef0123456789abcdef\n"

static char conf[80], secret[80];
static char *argv[] = { "rdiskd", "--config", conf, "--max-queues", "3", NULL };
static const struct command_line line = { 5, argv };
static struct rdisk_error err;
static struct rdisk_target_session asking;

/* ---- Helpers ------------------------------------------------------------ */

/* The client "a" with @access, and @more. */
static void write_conf(const char *access, const char *more)
{
    char text[1000];

    snprintf(text, sizeof(text),
             "[pool]\ndirectory = %s\n"
             "[client a]\nsecret-file = %s\n%s\n%s",
             pool_folder, secret, access, more);
    text_file_write(conf, text);
}

static void begin(void)
{
    pool_server_begin(4096);
    pool_server_start_jobs();
    snprintf(conf, sizeof(conf), "%s/.conf", pool_folder);
    snprintf(secret, sizeof(secret), "%s/.secret", pool_folder);
    text_file_write(secret, SECRET);
    write_conf("read-write = v", "");
    /* All of it from the file. */
    config_free(&pool_config);
    REQUIRE(config_init(&pool_config) == 0);
    REQUIRE(options_read(&line, &pool_config, &err) == 0);
    unconnected_target = (struct rdisk_target) { 0 };
    config_target_options(&pool_config, &unconnected_target.options);
    pool_server.line = &line;
    pool_server.target = &unconnected_target;
    pool_server.running = true;
}

static void end(void)
{
    pool_server_settle();
    CHECK(pool_server.reload == NULL);
    pool_server_end();
}

static void reload(void)
{
    reload_wanted(&pool_server);
    pool_server_settle();
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
        asking = unconnected_session();
    }
    return session_events.open(&pool_server, &asking, &request, &grant, session,
                               &err);
}

/* ---- What a reload changes ---------------------------------------------- */

static void limits_and_clients_are_taken_over(void)
{
    begin();
    write_conf("read-only = v", "[server]\nmax-memory = 2G\nmax-sessions = 7\n"
                                "lease-time = 9\nlog-level = debug\n");
    reload();
    CHECK_EQUAL(unconnected_target.options.max_memory, 2ll << 30);
    CHECK_EQUAL(unconnected_target.options.max_sessions, 7);
    CHECK_EQUAL(pool_server.pool.lease_time, 9000 * RDISK_MSEC);
    CHECK_EQUAL(pool_config.log_level, RDISK_LOG_DEBUG);
    CHECK_EQUAL(session_access(&pool_server, "a", "v"), ACCESS_READ);
    end();
}

static void command_line_still_wins(void)
{
    begin();
    CHECK_EQUAL(unconnected_target.options.max_queues, 3);
    write_conf("read-only = v", "[server]\nmax-queues = 9\n");
    reload();
    CHECK_EQUAL(unconnected_target.options.max_queues, 3);
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
    config_adopt(&pool_config, &next, &change);
    config_free(&next);
    CHECK_EQUAL(pool_config.port, RDISK_DEFAULT_PORT);
    CHECK_EQUAL(pool_config.max_slots, 5);
    CHECK(pool_config.volumes == NULL);
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
    CHECK_EQUAL(session_access(&pool_server, "a", "v"), ACCESS_WRITE);
    CHECK(pool_config.max_sessions != 7);
    CHECK(unconnected_target.options.max_sessions != 7);
    end();
}

/* Without its secret no client could authenticate as this one. */
static void missing_secret_changes_nothing(void)
{
    begin();
    write_conf("read-only = v", "");
    unlink(secret);
    reload();
    CHECK_EQUAL(session_access(&pool_server, "a", "v"), ACCESS_WRITE);
    end();
}

/* ---- When --------------------------------------------------------------- */

static void signal_before_it_runs_has_its_turn_then(void)
{
    begin();
    pool_server.running = false;
    write_conf("read-only = v", "");
    reload();
    CHECK_EQUAL(session_access(&pool_server, "a", "v"), ACCESS_WRITE);
    pool_server.running = true;
    reload_begin_wanted(&pool_server);
    pool_server_settle();
    CHECK_EQUAL(session_access(&pool_server, "a", "v"), ACCESS_READ);
    end();
}

/* The file may have been written after the first one had read it. */
static void signal_during_a_reload_is_another_one(void)
{
    begin();
    reload_wanted(&pool_server);
    write_conf("read-only = v", "");
    reload_wanted(&pool_server);
    CHECK(pool_server.reload_wanted);
    pool_server_settle();
    CHECK(!pool_server.reload_wanted);
    CHECK_EQUAL(session_access(&pool_server, "a", "v"), ACCESS_READ);
    end();
}

/* A FIFO is a file whose storage does not answer. */
static void file_that_hangs_is_given_up(void)
{
    begin();
    unlink(conf);
    REQUIRE(mkfifo(conf, 0600) == 0);
    reload_wanted(&pool_server);
    REQUIRE(pool_server.reload != NULL);
    CHECK(reload_deadline(&pool_server) != RDISK_NEVER);
    reload_check_time(&pool_server, reload_deadline(&pool_server));
    CHECK_EQUAL(reload_deadline(&pool_server), RDISK_NEVER);
    write_conf("read-only = v", "");
    pool_server_settle();
    CHECK_EQUAL(session_access(&pool_server, "a", "v"), ACCESS_WRITE);
    end();
}

/* ---- Sessions ----------------------------------------------------------- */

static void session_with_more_than_it_may_have_is_withdrawn(void)
{
    void *session = NULL;

    begin();
    while (ask(&session) == RDISK_LATER) {
        pool_server_settle();
    }
    REQUIRE(pool_server.sessions != NULL);
    CHECK(!session_withdrawn(pool_server.sessions));
    pool_server.sessions->read_only = true;
    pool_config.clients->read_only = strdup("v");
    free(pool_config.clients->read_write);
    pool_config.clients->read_write = NULL;
    CHECK(!session_withdrawn(pool_server.sessions));
    pool_server.sessions->read_only = false;
    CHECK(session_withdrawn(pool_server.sessions));
    pool_server.sessions->read_only = true;
    pool_config.authentication = ACCESS_METHOD_HMAC;
    snprintf(pool_server.sessions->request.user,
             sizeof(pool_server.sessions->request.user), "gone");
    CHECK(session_withdrawn(pool_server.sessions));
    session_events.close(&pool_server, session, true);
    end();
}

/* Its record was being written when the client lost its access. */
static void access_lost_while_opening_is_refused(void)
{
    void *session = NULL;

    begin();
    CHECK_EQUAL(ask(&session), RDISK_LATER);
    pool_config.clients->read_only = pool_config.clients->read_write;
    pool_config.clients->read_write = NULL;
    pool_server_settle();
    CHECK_EQUAL(ask(&session), RDISK_STATUS_NO_VOLUME);
    CHECK(session == NULL);
    end();
}

static void drained_while_opening_is_refused(void)
{
    void *session = NULL;

    begin();
    CHECK_EQUAL(ask(&session), RDISK_LATER);
    pool_server_settle();
    REQUIRE(drain_begin(&pool_server.drain, "", &err) == 0);
    CHECK_EQUAL(ask(&session), RDISK_STATUS_SHUTTING_DOWN);
    CHECK(session == NULL);
    CHECK(pool_server.sessions == NULL);
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
