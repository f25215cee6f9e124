/* SPDX-License-Identifier: BSD-3-Clause */
/* Addresses of servers: lists, text, comparison. Thread-safe. */
#ifndef RDISK_VERBS_ADDRESS_H
#define RDISK_VERBS_ADDRESS_H

#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define RDISK_ADDRESSES_MAX 16u /* of a name that are used */

/* "[", address, "%", zone, "]:", port and the terminating zero. */
#define RDISK_ADDRESS_TEXT (INET6_ADDRSTRLEN + IF_NAMESIZE + 10)

struct rdisk_addresses {
    unsigned int count;
    struct sockaddr_storage list[RDISK_ADDRESSES_MAX]; /* AF_INET, AF_INET6 */
};

/*
 * Add what getaddrinfo(3) has found, in its order, with @port. Repetitions,
 * other families, and what is beyond RDISK_ADDRESSES_MAX are left out.
 */
void rdisk_addresses_add(struct rdisk_addresses *addresses,
                         const struct addrinfo *found, uint16_t port);

bool rdisk_addresses_contain(const struct rdisk_addresses *addresses,
                             const struct sockaddr_storage *address);

/* @addresses is the one address that @host is the text of ("10.0.0.1",
 * "fe80::1%eth0"). False if it is not: it is a name, then. Does not block. */
bool rdisk_addresses_parse(struct rdisk_addresses *addresses, const char *host,
                           uint16_t port);

/* "10.0.0.1:7471", "[fe80::1%eth0]:7471"; "?" if it is of another family. */
void rdisk_address_text(const struct sockaddr *address, char *text,
                        size_t size);

#endif
