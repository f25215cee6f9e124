/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands of an administrator, while the pool's storage hangs. */
#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/control_server.h"
#include "common/log.h"
#include "server/admin/command.h"
#include "server/admin/listing.h"
#include "server/server.h"
#include "server/session/copy.h"
#include "tests/unit/support/pool.h"
#include "tests/unit/support/quiet.h"
#include "tests/unit/support/unit.h"

static char folder[64], path[80];
static struct config config;
static struct server server;
static struct rdisk_error err;

/* As many jobs as the pool may have, none of which ends before release(). */
static struct job stuck[JOBS_OF_STORE];
static sem_t go;

static void stuck_run(struct job *job)
{
    while (sem_wait(&go) < 0) {
        /* interrupted */
    }
}

static void stuck_done(struct job *job)
{
}

static void hang(void)
{
    for (unsigned int i = 0; i < JOBS_OF_STORE; i++) {
        stuck[i] = (struct job) {
            .what = "waiting for",
            .volume = "pool",
            .store = &server.pool,
            .run = stuck_run,
            .done = stuck_done,
        };
        REQUIRE(jobs_submit(server.jobs, &stuck[i], &err) == 0);
    }
}

static void release(void)
{
    for (unsigned int i = 0; i < JOBS_OF_STORE; i++) {
        sem_post(&go);
    }
}

static void turn(int ms)
{
    struct pollfd pfd = { .fd = server.mailbox.fd, .events = POLLIN };

    loop_turn(&server.loop, 0);
    poll(&pfd, 1, ms);
    mailbox_run(&server.mailbox);
    operations_check_time(&server.operations, rdisk_now(server.env));
}

static void settle(void)
{
    while (jobs_count(server.jobs)) {
        turn(20);
    }
    CHECK_EQUAL(server.operations.count, 0);
}

static void begin(uint64_t storage_timeout)
{
    struct backend_spec memory = {
        .volume = "m",
        .size = 4096,
        .directory = AT_FDCWD,
    };

    log_set_level(QUIET);
    strcpy(folder, "/tmp/rdisk-unit-XXXXXX");
    REQUIRE(mkdtemp(folder) != NULL);
    snprintf(path, sizeof(path), "%s/.socket", folder);
    REQUIRE(config_init(&config) == 0);
    config.storage_timeout = storage_timeout;
    server = (struct server) { .config = &config, .env = &rdisk_env_system };
    REQUIRE(loop_init(&server.loop) == 0);
    REQUIRE(mailbox_init(&server.mailbox) == 0);
    server.jobs = jobs_create(&server.mailbox, server.env, RDISK_NEVER / 2);
    REQUIRE(server.jobs != NULL);
    operations_init(&server.operations, server.jobs);
    REQUIRE(pool_init(&server.pool, folder, 0, &err) == 0);
    REQUIRE(records_init(&server.records, NULL, folder) == 0);
    server.pool.records = &server.records;
    REQUIRE(pool_create(&server.pool, "v", 4096, &err) == 0);
    REQUIRE(pool_configure(&server.pool, &backend_memory, &memory, &err) == 0);
    server.listing = listing_create(&server);
    REQUIRE(server.listing != NULL);
    server.control = control_create(&server.loop, path, command_run, &server,
                                    &err);
    REQUIRE(server.control != NULL);
    sem_init(&go, 0, 0);
}

static void end(void)
{
    char command[100];

    settle();
    control_destroy(server.control);
    listing_destroy(server.listing);
    jobs_destroy(server.jobs);
    drain_end(&server.drain, "", NULL);
    pool_destroy(&server.pool);
    records_destroy(&server.records);
    mailbox_destroy(&server.mailbox);
    loop_destroy(&server.loop);
    config_free(&config);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    CHECK_EQUAL(system(command), 0);
    log_set_level(RDISK_LOG_INFO);
}

static bool there(const char *name)
{
    return faccessat(server.pool.directory, name, F_OK, AT_SYMLINK_NOFOLLOW) ==
           0;
}

/* ---- Somebody asks ------------------------------------------------------ */

static int ask(const char *line)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    REQUIRE(fd >= 0 &&
            connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    REQUIRE(write(fd, line, strlen(line)) == (ssize_t)strlen(line));
    REQUIRE(write(fd, "\n", 1) == 1);
    for (unsigned int i = 0; i < 3; i++) {
        turn(0); /* accepted, received */
    }
    return fd;
}

static bool answered(int fd, char *text, size_t size)
{
    ssize_t n = recv(fd, text, size - 1, MSG_DONTWAIT);

    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* The answer, when it comes. */
static const char *answer(int fd)
{
    static char text[400];

    while (!answered(fd, text, sizeof(text))) {
        turn(20);
    }
    close(fd);
    return text;
}

static const char *const commands[] = {
    "{\"op\":\"create\",\"name\":\"new\",\"size\":4096}",
    "{\"op\":\"create\",\"name\":\"newer\",\"size\":4096,\"replace\":true}",
    "{\"op\":\"delete\",\"name\":\"v\"}",
    "{\"op\":\"resize\",\"name\":\"v\",\"size\":8192}",
    "{\"op\":\"fence\",\"name\":\"v\"}",
    "{\"op\":\"drain\",\"name\":\"v\"}",
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

/* ---- Tests -------------------------------------------------------------- */

static void answered_in_time(void)
{
    for (unsigned int i = 0; i < COMMANDS; i++) {
        const char *text;

        begin(50);
        hang();
        text = answer(ask(commands[i]));
        CHECK_SAYS(text, "has not ended within storage-timeout, 0.05 seconds");
        CHECK_SAYS(text, "ETIMEDOUT");
        CHECK_EQUAL(server.operations.count, 1);
        release();
        settle();
        /* It went on. */
        CHECK_EQUAL(there("new"), i == 0);
        CHECK_EQUAL(there("newer"), i == 1);
        CHECK_EQUAL(there("v"), i != 2);
        CHECK_EQUAL(drain_covers(&server.drain, "v"), i == 5);
        end();
    }
}

static void others_are_answered(void)
{
    char text[256];
    int fd[COMMANDS];

    begin(60000);
    hang();
    for (unsigned int i = 0; i < COMMANDS; i++) {
        fd[i] = ask(commands[i]);
    }
    CHECK_SAYS(answer(ask("{\"op\":\"resize\",\"name\":\"m\",\"size\":8192}")),
               "{}");
    CHECK_SAYS(answer(ask("{\"op\":\"fence\",\"name\":\"m\"}")),
               "\"generation\":1");
    CHECK_SAYS(answer(ask("{\"op\":\"drain\"}")), "\"sessions\":0");
    for (unsigned int i = 0; i < COMMANDS; i++) {
        CHECK(!answered(fd[i], text, sizeof(text)));
    }
    release();
    CHECK_SAYS(answer(fd[0]), "{}");
    CHECK_SAYS(answer(fd[1]), "{}");
    /* In the order in which they came: there is no volume after the first. */
    CHECK_SAYS(answer(fd[2]), "{}");
    for (unsigned int i = 3; i < COMMANDS; i++) {
        CHECK_SAYS(answer(fd[i]), "there is no volume 'v'");
    }
    end();
}

static void late_one_is_dropped(void)
{
    int first, second;

    begin(50);
    hang();
    first = ask("{\"op\":\"create\",\"name\":\"x\",\"size\":4096}");
    second = ask("{\"op\":\"delete\",\"name\":\"x\"}");
    CHECK_SAYS(answer(second), "volume 'x' is busy: an operation on it waits");
    CHECK_SAYS(answer(first), "creating volume 'x' has not ended");
    CHECK_EQUAL(server.operations.count, 1);
    release();
    settle();
    CHECK(there("x"));
    end();
}

static void one_of_two_creates(void)
{
    int first, second;

    begin(60000);
    hang();
    first = ask("{\"op\":\"create\",\"name\":\"x\",\"size\":4096}");
    second = ask("{\"op\":\"create\",\"name\":\"x\",\"size\":8192}");
    release();
    CHECK_SAYS(answer(first), "{}");
    CHECK_SAYS(answer(second), "volume 'x' already exists");
    end();
}

static void asker_leaves(void)
{
    begin(60000);
    hang();
    for (unsigned int i = 0; i < COMMANDS; i++) {
        close(ask(commands[i]));
    }
    release();
    settle();
    CHECK(there("new"));
    CHECK(!there("v"));
    end();
}

static void copied_with_progress(void)
{
    const char *text;

    begin(60000);
    text = answer(ask("{\"op\":\"snapshot\",\"name\":\"v@s\","
                      "\"copy\":true}"));
    CHECK_SAYS(text, "\"name\":\"v@s\"");
    /* Where /tmp shares blocks there is nothing to wait for. */
    while (strstr(text, "\"ended\":false")) {
        text = answer(ask("{\"op\":\"copying\",\"name\":\"v@s\"}"));
    }
    CHECK(strstr(text, "\"ended\":true") || strstr(text, "\"pause\""));
    CHECK(there("v@s"));
    copies_check_time(&server, RDISK_NEVER - 1);
    CHECK_SAYS(answer(ask("{\"op\":\"copying\",\"name\":\"v@s\"}")),
               "no copy is being made as 'v@s'");
    CHECK_SAYS(answer(ask("{\"op\":\"snapshots\",\"name\":\"v\"}")),
               "\"name\":\"v@s\",\"size\":4096");
    end();
}

static const struct unit_test tests[] = {
    { "a copy is asked for until it has ended", copied_with_progress },
    { "a command on storage that hangs is answered within storage-timeout",
      answered_in_time },
    { "commands on storage that hangs hold up no command on other storage",
      others_are_answered },
    { "a command that was answered before its turn is not carried out",
      late_one_is_dropped },
    { "of two commands that create one volume the second is refused",
      one_of_two_creates },
    { "a command is carried out though nobody waits for its answer",
      asker_leaves },
};

UNIT_SUITE("server-command", tests)
