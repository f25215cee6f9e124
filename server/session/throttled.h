/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The volumes and clients that have sessions, a limit by command, or had
 * requests that waited, each with its throttle. Control thread; reactors use
 * the throttles of their sessions.
 */
#ifndef RDISK_SERVER_SESSION_THROTTLED_H
#define RDISK_SERVER_SESSION_THROTTLED_H

#include "server/session/throttle.h"
#include <rdisk/protocol.h>

struct server;

/* Something that has a throttle. */
struct throttled {
    struct throttle throttle;
    bool client; /* not a volume */
    char name[RDISK_VOLUME_NAME_MAX + 1];
    struct throttle_values values; /* as they are now */
    bool commanded;                /* they are not the configuration's */
    unsigned int sessions;
    struct throttled *next; /* of the server's list */
};

/* For one more session. NULL: no memory. */
struct throttled *throttled_get(struct server *server, bool client,
                                const char *name);
/* NULL is allowed. */
void throttled_put(struct server *server, struct throttled *throttled);
/* NULL: it has no session and no limit by command, and nothing has waited. */
const struct throttled *throttled_find(const struct server *server, bool client,
                                       const char *name);
/* What the configuration says of it. */
struct throttle_values throttled_configured(const struct server *server,
                                            bool client, const char *name);

/*
 * Give it the limits of @text (throttle_values_parse()), until the next reload,
 * or with "configured" those of the configuration. 0 or a negative errno with
 * @err, and nothing is changed.
 */
int throttled_command(struct server *server, bool client, const char *name,
                      const char *text, struct rdisk_error *err);
/* The configuration has been read again: it counts. */
void throttled_reload(struct server *server);
void throttled_free(struct server *server);

#endif
