/* SPDX-License-Identifier: BSD-3-Clause */
/* Addresses as text, and as lists of what the resolver finds. */
#include <arpa/inet.h>

#include "tests/unit/support/unit.h"
#include "transport/verbs/address.h"

static const char *text_of(const char *host)
{
    static char text[RDISK_ADDRESS_TEXT];
    struct rdisk_addresses addresses;

    REQUIRE(rdisk_addresses_parse(&addresses, host, 7471));
    REQUIRE(addresses.count == 1);
    rdisk_address_text((const struct sockaddr *)&addresses.list[0], text,
                       sizeof(text));
    return text;
}

static void to_text(void)
{
    CHECK(!strcmp(text_of("192.0.2.1"), "192.0.2.1:7471"));
    CHECK(!strcmp(text_of("2001:db8::1"), "[2001:db8::1]:7471"));
}

static void zone(void)
{
    CHECK(!strcmp(text_of("fe80::1%lo"), "[fe80::1%lo]:7471"));
}

static void names(void)
{
    struct rdisk_addresses addresses;

    CHECK(!rdisk_addresses_parse(&addresses, "localhost", 7471));
    CHECK(!rdisk_addresses_parse(&addresses, "", 7471));
    CHECK(!rdisk_addresses_parse(&addresses, "192.0.2", 7471) ||
          addresses.count == 1);
}

/* A list as getaddrinfo() makes them, @count long, of @distinct addresses. */
static void add(struct rdisk_addresses *addresses, unsigned int count,
                unsigned int distinct)
{
    struct sockaddr_in in[64] = { 0 };
    struct addrinfo list[64] = { 0 };

    for (unsigned int i = 0; i < count; i++) {
        in[i].sin_family = AF_INET;
        in[i].sin_addr.s_addr = htonl(0xc0000200 + i % distinct);
        list[i].ai_addr = (struct sockaddr *)&in[i];
        list[i].ai_addrlen = sizeof(in[i]);
        list[i].ai_next = i + 1 < count ? &list[i + 1] : NULL;
    }
    rdisk_addresses_add(addresses, list, 7471);
}

static void repeated(void)
{
    struct rdisk_addresses addresses = { 0 };

    add(&addresses, 9, 3);
    CHECK_EQUAL(addresses.count, 3);
}

static void too_many(void)
{
    struct rdisk_addresses addresses = { 0 };

    add(&addresses, 64, 64);
    CHECK_EQUAL(addresses.count, RDISK_ADDRESSES_MAX);
}

static void other_family(void)
{
    struct rdisk_addresses addresses = { 0 };
    struct sockaddr address = { .sa_family = AF_UNIX };
    struct addrinfo found = {
        .ai_addr = &address,
        .ai_addrlen = sizeof(address),
    };
    char text[RDISK_ADDRESS_TEXT];

    rdisk_addresses_add(&addresses, &found, 7471);
    CHECK_EQUAL(addresses.count, 0);
    rdisk_address_text(&address, text, sizeof(text));
    CHECK(!strcmp(text, "?"));
}

static const struct unit_test tests[] = {
    { "an address and its port as text, IPv6 in brackets", to_text },
    { "the zone of a link-local address is kept", zone },
    { "a name is no address", names },
    { "an address that is found twice counts once", repeated },
    { "a name has at most 16 addresses", too_many },
    { "addresses of other families are left out", other_family },
};

UNIT_SUITE("address", tests)
