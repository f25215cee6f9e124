/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands of an administrator, while the pool's storage hangs. */
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/control_server.h"
#include "server/admin/command.h"
#include "server/admin/listing.h"
#include "server/session/copy.h"
#include "tests/unit/support/pool_server.h"
#include "tests/unit/support/unit.h"

static char path[80];
static struct rdisk_error err;

static void turn(int ms)
{
    loop_turn(&pool_server.loop, 0);
    pool_server_turn(ms);
    operations_check_time(&pool_server.operations, rdisk_now(pool_server.env));
}

static void settle(void)
{
    while (jobs_count(pool_server.jobs)) {
        turn(20);
    }
    CHECK_EQUAL(pool_server.operations.count, 0);
}

static void begin(uint64_t storage_timeout)
{
    struct backend_spec memory = {
        .volume = "m",
        .size = 4096,
        .directory = AT_FDCWD,
    };

    pool_server_begin(4096);
    pool_server_start_jobs();
    pool_config.storage_timeout = storage_timeout;
    REQUIRE(loop_init(&pool_server.loop) == 0);
    REQUIRE(pool_configure(&pool_server.pool, &backend_memory, &memory, &err) ==
            0);
    pool_server.listing = listing_create(&pool_server);
    REQUIRE(pool_server.listing != NULL);
    snprintf(path, sizeof(path), "%s/.socket", pool_folder);
    pool_server.control = control_create(&pool_server.loop, path, command_run,
                                         &pool_server, &err);
    REQUIRE(pool_server.control != NULL);
}

static void end(void)
{
    settle();
    control_destroy(pool_server.control);
    listing_destroy(pool_server.listing);
    drain_end(&pool_server.drain, "", NULL);
    loop_destroy(&pool_server.loop);
    pool_server_end();
}

/* ---- A client of the control socket ------------------------------------- */

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
        pool_server_hang();
        text = answer(ask(commands[i]));
        CHECK_SAYS(text, "has not ended within storage-timeout, 0.05 seconds");
        CHECK_SAYS(text, "ETIMEDOUT");
        CHECK_EQUAL(pool_server.operations.count, 1);
        pool_server_release();
        settle();
        /* It went on. */
        CHECK_EQUAL(pool_has_file("new"), i == 0);
        CHECK_EQUAL(pool_has_file("newer"), i == 1);
        CHECK_EQUAL(pool_has_file("v"), i != 2);
        CHECK_EQUAL(drain_covers(&pool_server.drain, "v"), i == 5);
        end();
    }
}

static void others_are_answered(void)
{
    char text[256];
    int fd[COMMANDS];

    begin(60000);
    pool_server_hang();
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
    pool_server_release();
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
    pool_server_hang();
    first = ask("{\"op\":\"create\",\"name\":\"x\",\"size\":4096}");
    second = ask("{\"op\":\"delete\",\"name\":\"x\"}");
    CHECK_SAYS(answer(second), "volume 'x' is busy: an operation on it waits");
    CHECK_SAYS(answer(first), "creating volume 'x' has not ended");
    CHECK_EQUAL(pool_server.operations.count, 1);
    pool_server_release();
    settle();
    CHECK(pool_has_file("x"));
    end();
}

static void one_of_two_creates(void)
{
    int first, second;

    begin(60000);
    pool_server_hang();
    first = ask("{\"op\":\"create\",\"name\":\"x\",\"size\":4096}");
    second = ask("{\"op\":\"create\",\"name\":\"x\",\"size\":8192}");
    pool_server_release();
    CHECK_SAYS(answer(first), "{}");
    CHECK_SAYS(answer(second), "volume 'x' already exists");
    end();
}

static void asker_leaves(void)
{
    begin(60000);
    pool_server_hang();
    for (unsigned int i = 0; i < COMMANDS; i++) {
        close(ask(commands[i]));
    }
    pool_server_release();
    settle();
    CHECK(pool_has_file("new"));
    CHECK(!pool_has_file("v"));
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
    CHECK(pool_has_file("v@s"));
    copies_check_time(&pool_server, RDISK_NEVER - 1);
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
    { "a command is carried out though its client has gone", asker_leaves },
};

UNIT_SUITE("server-command", tests)
