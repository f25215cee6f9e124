/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/initiator/servers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* An IPv6 address is bracketed, as in a URI. */
static bool add(struct rdisk_servers *servers, const char *host, uint16_t port)
{
    struct rdisk_host *entry = &servers->list[servers->count++];
    bool brackets = strchr(host, ':');

    entry->port = port;
    entry->name = strdup(host);
    if (asprintf(&entry->peer, "%s%s%s:%u", brackets ? "[" : "", host,
                 brackets ? "]" : "", port) < 0) {
        entry->peer = NULL;
    }
    return entry->name && entry->peer;
}

/* Call @each for each further server of @text. 0 or a negative errno with
 * @err. */
static int for_each(const char *text,
                    bool (*each)(struct rdisk_servers *servers,
                                 const char *host, uint16_t port),
                    struct rdisk_servers *servers, struct rdisk_error *err)
{
    char host[256];
    uint16_t port;

    for (unsigned int n = 1; text; n++) {
        int ret;

        if (n == RDISK_SERVERS_MAX) {
            return rdisk_error_set(err, -EINVAL,
                                   "more than %u servers are named",
                                   RDISK_SERVERS_MAX);
        }
        ret = rdisk_server_parse(text, strlen(text), host, &port, &text, err);
        if (ret < 0) {
            return ret;
        }
        if (each && !each(servers, host, port)) {
            return rdisk_error_set(err, -ENOMEM, "out of memory");
        }
    }
    return 0;
}

static const char *further(const struct rdisk_initiator_options *options)
{
    return options->servers && options->servers[0] ? options->servers : NULL;
}

int rdisk_servers_check(const struct rdisk_initiator_options *options,
                        struct rdisk_error *err)
{
    return for_each(further(options), NULL, NULL, err);
}

bool rdisk_servers_init(struct rdisk_servers *servers,
                        const struct rdisk_initiator_options *options)
{
    *servers = (struct rdisk_servers) {
        .list = calloc(RDISK_SERVERS_MAX, sizeof(*servers->list)),
    };
    return servers->list &&
           add(servers, options->host,
               options->port ? options->port : RDISK_DEFAULT_PORT) &&
           for_each(further(options), add, servers, NULL) == 0;
}

void rdisk_servers_free(struct rdisk_servers *servers)
{
    for (unsigned int i = 0; i < servers->count; i++) {
        free(servers->list[i].name);
        free(servers->list[i].peer);
    }
    free(servers->list);
    *servers = (struct rdisk_servers) { 0 };
}

/* By its name, or by an address that it is known to have. */
static bool is_named(const struct rdisk_host *host, const char *name,
                     uint16_t port)
{
    struct rdisk_addresses addresses;

    if (host->port != port) {
        return false;
    }
    return strcasecmp(host->name, name) == 0 ||
           (rdisk_addresses_parse(&addresses, name, port) &&
            rdisk_addresses_contain(&host->known, &addresses.list[0]));
}

bool rdisk_servers_move(struct rdisk_servers *servers, const char *host,
                        uint16_t port)
{
    for (unsigned int i = 0; i < servers->count; i++) {
        if (is_named(&servers->list[i], host, port)) {
            servers->next = i + 1;
            return true;
        }
    }
    return false;
}

static void next(struct rdisk_servers *servers)
{
    servers->current = servers->next ? servers->next - 1
                                     : (servers->current + 1) % servers->count;
    servers->next = 0;
}

/* With one that was named a round begins. */
void rdisk_servers_turn(struct rdisk_servers *servers)
{
    servers->tried = servers->next ? 0 : (servers->tried + 1) % servers->count;
    next(servers);
}

/* One that does not answer, or leaves, is tried last: connecting to it may take
 * as long as it may. */
void rdisk_servers_restart(struct rdisk_servers *servers, int code)
{
    servers->tried = 0;
    if (servers->next || code == -ETIMEDOUT || code == -ESHUTDOWN) {
        next(servers);
    }
}
