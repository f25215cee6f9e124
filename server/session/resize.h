/* SPDX-License-Identifier: BSD-3-Clause */
/* Volumes that change their size while they are open. Control thread. */
#ifndef RDISK_SERVER_SESSION_RESIZE_H
#define RDISK_SERVER_SESSION_RESIZE_H

#include "server/session/session.h"

/* Tell all sessions on volume @name, if it is open, what size it has. */
void resize_tell(struct server *server, const char *name);

/* For struct rdisk_target_events. */
enum rdisk_status resize_event(void *opaque, void *user, uint64_t size,
                               bool shrink, struct rdisk_error *err);
enum rdisk_status resize_stat_event(void *opaque, void *user,
                                    uint64_t *allocated,
                                    struct rdisk_error *err);

/* May a client that writes this volume resize it? */
bool resize_allowed(const struct server *server, const struct volume *volume);

#endif
