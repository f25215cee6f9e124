/* SPDX-License-Identifier: BSD-3-Clause */
/* Sockets of processes that have ended. */
#ifndef RDISK_COMMON_STALE_SOCKET_H
#define RDISK_COMMON_STALE_SOCKET_H

#include <sys/un.h>

/*
 * Remove the socket at @address, which a process that was killed may have left,
 * so that it can be bound again. 0, also if there is none; -EADDRINUSE: a
 * process listens there; -EEXIST: there is something else; or another negative
 * errno. Does not block. Any thread.
 */
int stale_socket_remove(const struct sockaddr_un *address);

#endif
