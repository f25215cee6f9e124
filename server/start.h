/* SPDX-License-Identifier: BSD-3-Clause */
/* From a configuration to a server that serves. Control thread. */
#ifndef RDISK_SERVER_START_H
#define RDISK_SERVER_START_H

#include <rdisk/error.h>

struct command_line;
struct config;
struct server;

/*
 * Start everything. SIGTERM, SIGINT and SIGHUP must be blocked already.
 * Waits, within bounds, for an address that does not exist yet, and for
 * storage. On failure @server is released, except for threads whose storage
 * does not respond. -ECANCELED: stopped by a signal before it served.
 */
int server_start(struct server *server, struct config *config,
                 const struct command_line *line, struct rdisk_error *err);

#endif
