/* SPDX-License-Identifier: BSD-3-Clause */
/* Metrics over HTTP, asked for by a client in this thread. */
#include <errno.h>
#include <json-c/json.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/listen_address.h"
#include "common/metrics_server.h"
#include "tests/unit/support/unit.h"

static struct loop loop;
static struct metrics_server *server;
static struct metrics_query *held; /* that is not answered */
static unsigned int asked;
static char address[32];
static char reply[65536];

static void stat_now(void *opaque, struct metrics_query *query)
{
    asked++;
    metrics_answer(query, json_tokener_parse("{\"volumes\":[]}"));
}

static void stat_never(void *opaque, struct metrics_query *query)
{
    asked++;
    held = query;
}

/* A port that is free now. */
static void choose_address(void)
{
    struct sockaddr_in any = { .sin_family = AF_INET };
    socklen_t length = sizeof(any);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(fd >= 0 && bind(fd, (struct sockaddr *)&any, length) == 0);
    REQUIRE(getsockname(fd, (struct sockaddr *)&any, &length) == 0);
    snprintf(address, sizeof(address), "127.0.0.1:%u", ntohs(any.sin_port));
    close(fd);
}

static bool begin(metrics_stat_fn *stat)
{
    struct rdisk_error err;

    asked = 0;
    held = NULL;
    REQUIRE(loop_init(&loop) == 0);
    choose_address();
    server = metrics_server_create(&loop, address, stat, NULL, &err);
    if (!server && err.code == -ENOTSUP) {
        loop_destroy(&loop); /* built without libmicrohttpd */
        return false;
    }
    REQUIRE(server != NULL);
    return true;
}

static void end(void)
{
    metrics_server_destroy(server);
    loop_destroy(&loop);
}

static int send_request(const char *line)
{
    struct listen_address to;
    struct rdisk_error err;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char text[128];

    REQUIRE(listen_address_parse(address, &to, &err) == 0);
    REQUIRE(fd >= 0 &&
            connect(fd, (struct sockaddr *)&to.address, to.length) == 0);
    snprintf(text, sizeof(text),
             "%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", line);
    REQUIRE(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    return fd;
}

/* Up to the end of the connection, into reply[]. */
static void receive(int fd)
{
    struct pollfd pfd = { .fd = fd, .events = POLLIN };
    size_t length = 0;
    ssize_t n = 1;

    while (n > 0 && length < sizeof(reply) - 1) {
        loop_turn(&loop, 0);
        if (poll(&pfd, 1, 10) > 0) {
            n = read(fd, reply + length, sizeof(reply) - 1 - length);
            length += n > 0 ? (size_t)n : 0;
        }
    }
    reply[length] = '\0';
    close(fd);
}

static void scraped(void)
{
    if (!begin(stat_now)) {
        return;
    }
    receive(send_request("GET /metrics"));
    CHECK(strncmp(reply, "HTTP/1.1 200 ", 13) == 0);
    CHECK(strstr(reply, "text/plain; version=0.0.4") != NULL);
    CHECK(strstr(reply, "\nrdisk_pool_error 0\n") != NULL);
    CHECK_EQUAL(asked, 1);
    end();
}

static void not_asked(void)
{
    if (!begin(stat_now)) {
        return;
    }
    receive(send_request("GET /"));
    CHECK(strncmp(reply, "HTTP/1.1 404 ", 13) == 0);
    receive(send_request("DELETE /metrics"));
    CHECK(strncmp(reply, "HTTP/1.1 405 ", 13) == 0);
    CHECK_EQUAL(asked, 0);
    end();
}

/* The owner may answer when the server has ended, too. */
static void ends_while_asked(void)
{
    int fd;

    if (!begin(stat_never)) {
        return;
    }
    fd = send_request("GET /metrics");
    while (!held) {
        loop_turn(&loop, 10);
    }
    end();
    close(fd);
    metrics_answer(held, json_tokener_parse("{\"volumes\":[]}"));
}

static void no_address(void)
{
    struct rdisk_error err;

    REQUIRE(loop_init(&loop) == 0);
    CHECK(metrics_server_create(&loop, "", stat_now, NULL, &err) == NULL);
    CHECK_EQUAL(err.code, 0);
    loop_destroy(&loop);
    if (!begin(stat_now)) {
        return;
    }
    CHECK(metrics_server_create(&loop, address, stat_now, NULL, &err) == NULL);
    CHECK_EQUAL(err.code, -EADDRINUSE);
    CHECK(strstr(err.text, address) != NULL);
    end();
}

static const struct unit_test tests[] = {
    { "a GET gets the metrics of one snapshot", scraped },
    { "other paths and methods make no query", not_asked },
    { "it ends while a snapshot is pending", ends_while_asked },
    { "without an address it is off, and one that is taken is an error",
      no_address },
};

UNIT_SUITE("metrics-server", tests)
