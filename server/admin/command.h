/* SPDX-License-Identifier: BSD-3-Clause */
/* What the control socket's requests do. Control thread. */
#ifndef RDISK_SERVER_ADMIN_COMMAND_H
#define RDISK_SERVER_ADMIN_COMMAND_H

#include "server/volume/pool.h"

struct control_call;
struct json_object;
struct server;

/* A control_fn; @opaque is the struct server. */
void command_run(void *opaque, const char *line, struct control_call *call);

/* The volumes as an array, and everything about the server as an object; the
 * pool directory has @files. */
struct json_object *stat_volumes(struct server *server,
                                 const struct pool_file *files, size_t count);
struct json_object *stat_server(struct server *server,
                                const struct pool_file *files, size_t count);

#endif
