/* SPDX-License-Identifier: BSD-3-Clause */
/* Volumes that clients make, and delete. Control thread. */
#ifndef RDISK_SERVER_SESSION_CREATE_H
#define RDISK_SERVER_SESSION_CREATE_H

#include <rdisk/target.h>

struct session;

/* For struct rdisk_target_events; its opaque is the struct server. */
enum rdisk_status create_event(void *opaque,
                               struct rdisk_target_session *target,
                               const struct rdisk_create_request *request,
                               void **user, struct rdisk_error *err);
/* @session, which creates a volume, has ended in the transport: there is no
 * client for the answer. */
void create_leave(struct session *session);

#endif
