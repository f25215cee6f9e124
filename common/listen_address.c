/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/listen_address.h"

#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/number.h"

#define BACKLOG 16

static int invalid(const char *text, struct rdisk_error *err)
{
    return rdisk_error_set(err, -EINVAL,
                           "'%.80s' is not ADDRESS:PORT: write e.g. "
                           "127.0.0.1:9105 or [::1]:9105",
                           text);
}

/* "127.0.0.1", or what is in the brackets; false: neither. */
static bool split(const char *text, char *host, size_t size, const char **port)
{
    const char *colon = strrchr(text, ':'), *end = colon;

    if (!colon) {
        return false;
    }
    if (text[0] == '[') {
        text++;
        end--;
        if (end < text || *end != ']') {
            return false;
        }
    } else if (strchr(text, ':') != colon) {
        return false; /* IPv6 without brackets: where the port begins is not
                         clear. */
    }
    if (end == text || (size_t)(end - text) >= size) {
        return false;
    }
    snprintf(host, size, "%.*s", (int)(end - text), text);
    *port = colon + 1;
    return true;
}

int listen_address_parse(const char *text, struct listen_address *address,
                         struct rdisk_error *err)
{
    const struct addrinfo hints = {
        .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
        .ai_socktype = SOCK_STREAM,
    };
    struct addrinfo *found;
    const char *port;
    uint64_t number;
    char host[64];

    *address = (struct listen_address) { 0 };
    if (!text[0]) {
        return 0;
    }
    if (!split(text, host, sizeof(host), &port) ||
        number_parse(port, 10, &number) < 0 || number < 1 ||
        number > UINT16_MAX || getaddrinfo(host, port, &hints, &found)) {
        return invalid(text, err);
    }
    memcpy(&address->address, found->ai_addr, found->ai_addrlen);
    address->length = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

int listen_address_open(const struct listen_address *address)
{
    int fd = socket(address->address.ss_family,
                    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int one = 1, result;

    if (fd < 0) {
        return -errno;
    }
    /* A server that has just ended leaves connections in TIME_WAIT. */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (const struct sockaddr *)&address->address, address->length) <
            0 ||
        listen(fd, BACKLOG) < 0) {
        result = -errno;
        close(fd);
        return result;
    }
    return fd;
}
