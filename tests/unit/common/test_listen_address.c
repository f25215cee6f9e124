/* SPDX-License-Identifier: BSD-3-Clause */
/* Addresses to listen on, as people write them. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <unistd.h>

#include "common/listen_address.h"
#include "tests/unit/support/unit.h"

static struct listen_address address;
static struct rdisk_error err;

static void both_families(void)
{
    const struct sockaddr_in *four = (struct sockaddr_in *)&address.address;
    const struct sockaddr_in6 *six = (struct sockaddr_in6 *)&address.address;

    CHECK_EQUAL(listen_address_parse("127.0.0.1:9105", &address, &err), 0);
    CHECK_EQUAL(four->sin_family, AF_INET);
    CHECK_EQUAL(ntohs(four->sin_port), 9105);
    CHECK_EQUAL(ntohl(four->sin_addr.s_addr), INADDR_LOOPBACK);
    CHECK_EQUAL(listen_address_parse("[::1]:65535", &address, &err), 0);
    CHECK_EQUAL(six->sin6_family, AF_INET6);
    CHECK_EQUAL(ntohs(six->sin6_port), 65535);
    CHECK_EQUAL(listen_address_parse("", &address, &err), 0);
    CHECK_EQUAL(address.length, 0);
}

static void nothing_else(void)
{
    static const char *const wrong[] = {
        "127.0.0.1",       "127.0.0.1:",
        ":9105",           "9105",
        "127.0.0.1:0",     "127.0.0.1:65536",
        "::1:9105",        "[::1]",
        "[::1]9105",       "[::1:9105",
        "[]:9105",         "localhost:9105",
        "127.0.0.1:9105x", "127.0.0.1: 9105",
        "[127.0.0.1:9105",
    };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        err.text[0] = '\0';
        CHECK_EQUAL(listen_address_parse(wrong[i], &address, &err), -EINVAL);
        CHECK(strstr(err.text, wrong[i]) != NULL);
        CHECK(strstr(err.text, "ADDRESS:PORT") != NULL);
    }
}

static void taken(void)
{
    struct sockaddr_in *four = (struct sockaddr_in *)&address.address;
    socklen_t length = sizeof(*four);
    int first;

    CHECK_EQUAL(listen_address_parse("127.0.0.1:1", &address, &err), 0);
    four->sin_port = 0; /* any */
    first = listen_address_open(&address);
    REQUIRE(first >= 0);
    REQUIRE(getsockname(first, (struct sockaddr *)four, &length) == 0);
    CHECK_EQUAL(listen_address_open(&address), -EADDRINUSE);
    close(first);
}

static const struct unit_test tests[] = {
    { "an address of either family has a port", both_families },
    { "everything else is refused, and named", nothing_else },
    { "an address that is taken is an error", taken },
};

UNIT_SUITE("listen-address", tests)
