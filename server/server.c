/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/server.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/notify.h"

char *server_address(const struct server *server, char *text, size_t size)
{
    const char *listen = server->config->listen;

    snprintf(text, size, strchr(listen, ':') ? "[%s]:%" PRIu64 : "%s:%" PRIu64,
             listen[0] ? listen : "*", server->config->port);
    return text;
}

void server_notify_ready(const struct server *server)
{
    char address[128];

    notify_service(server->env, NOTIFY_READY, "serving %u volume%s on %s",
                   server->volumes, server->volumes == 1 ? "" : "s",
                   server_address(server, address, sizeof(address)));
}
