/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/verbs/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static size_t size_of(const struct sockaddr *address)
{
    switch (address->sa_family) {
    case AF_INET:
        return sizeof(struct sockaddr_in);
    case AF_INET6:
        return sizeof(struct sockaddr_in6);
    default:
        return 0;
    }
}

bool rdisk_addresses_contain(const struct rdisk_addresses *addresses,
                             const struct sockaddr_storage *address)
{
    for (unsigned int i = 0; i < addresses->count; i++) {
        if (memcmp(&addresses->list[i], address, sizeof(*address)) == 0) {
            return true;
        }
    }
    return false;
}

static void set_port(struct sockaddr_storage *address, uint16_t port)
{
    /* It is at the same place in both families. */
    ((struct sockaddr_in *)address)->sin_port = htons(port);
}

void rdisk_addresses_add(struct rdisk_addresses *addresses,
                         const struct addrinfo *found, uint16_t port)
{
    for (; found; found = found->ai_next) {
        struct sockaddr_storage address = { 0 };

        if (!size_of(found->ai_addr) ||
            addresses->count == RDISK_ADDRESSES_MAX) {
            continue;
        }
        memcpy(&address, found->ai_addr, size_of(found->ai_addr));
        set_port(&address, port);
        if (!rdisk_addresses_contain(addresses, &address)) {
            addresses->list[addresses->count++] = address;
        }
    }
}

bool rdisk_addresses_parse(struct rdisk_addresses *addresses, const char *host,
                           uint16_t port)
{
    struct addrinfo hints = {
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_NUMERICHOST,
    };
    struct addrinfo *found;

    if (getaddrinfo(host, NULL, &hints, &found)) {
        return false;
    }
    addresses->count = 0;
    rdisk_addresses_add(addresses, found, port);
    freeaddrinfo(found);
    return addresses->count > 0;
}

static void text_of_ipv6(const struct sockaddr_in6 *address, char *text,
                         size_t size)
{
    char host[INET6_ADDRSTRLEN] = "?";
    char zone[IF_NAMESIZE] = "";

    inet_ntop(AF_INET6, &address->sin6_addr, host, sizeof(host));
    if (address->sin6_scope_id &&
        !if_indextoname(address->sin6_scope_id, zone)) {
        snprintf(zone, sizeof(zone), "%u", address->sin6_scope_id);
    }
    snprintf(text, size, "[%s%s%s]:%u", host, zone[0] ? "%" : "", zone,
             ntohs(address->sin6_port));
}

void rdisk_address_text(const struct sockaddr *address, char *text, size_t size)
{
    char host[INET_ADDRSTRLEN] = "?";

    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)address;

        inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
        snprintf(text, size, "%s:%u", host, ntohs(in->sin_port));
    } else if (address->sa_family == AF_INET6) {
        text_of_ipv6((const struct sockaddr_in6 *)address, text, size);
    } else {
        snprintf(text, size, "?");
    }
}
