/* SPDX-License-Identifier: BSD-3-Clause */
/* An address and port of TCP to listen on, as written in a configuration. */
#ifndef RDISK_COMMON_LISTEN_ADDRESS_H
#define RDISK_COMMON_LISTEN_ADDRESS_H

#include <sys/socket.h>

#include <rdisk/error.h>

struct listen_address {
    struct sockaddr_storage address;
    socklen_t length; /* 0: none */
};

/*
 * "127.0.0.1:9105" or "[::1]:9105": numbers, port 1…65535. "" is none. 0, or
 * -EINVAL with a sentence. Any thread.
 */
int listen_address_parse(const char *text, struct listen_address *address,
                         struct rdisk_error *err);

/* A socket that listens there; or a negative errno. Any thread. */
int listen_address_open(const struct listen_address *address);

#endif
