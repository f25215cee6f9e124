/* SPDX-License-Identifier: BSD-3-Clause */
/* What the control socket's requests do. Control thread. */
#ifndef RDISK_SERVER_ADMIN_COMMAND_H
#define RDISK_SERVER_ADMIN_COMMAND_H

#include "server/volume/pool.h"

struct control_call;
struct json_object;
struct pool_listing;
struct server;

/* A control_fn; @opaque is the struct server. */
void command_run(void *opaque, const char *line, struct control_call *call);

/* The replies to "list", with the volumes, and to "stat", with everything about
 * the server; the pool directory has @found. */
struct json_object *stat_list(struct server *server,
                              const struct pool_listing *found);
struct json_object *stat_server(struct server *server,
                                const struct pool_listing *found);
/* The reply to "snapshots": those of @volume, or all if it is "". */
struct json_object *stat_snapshots(const struct pool_listing *found,
                                   const char *volume);
/* The limits of a volume or a client, and who waited for them: the reply to
 * "throttle", and a member of both in that to "stat". */
struct json_object *stat_throttle(const struct server *server, bool client,
                                  const char *name);

#endif
