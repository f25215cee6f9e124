/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sessions come and go: what that takes of storage is done by operations on
 * the volume (operation.h), step by step. Control thread.
 */
#ifndef RDISK_SERVER_SESSION_OPEN_H
#define RDISK_SERVER_SESSION_OPEN_H

#include "server/session/session.h"

/* For struct rdisk_target_events. */
enum rdisk_status open_event(void *opaque, struct rdisk_target_session *target,
                             const struct rdisk_open_request *request,
                             struct rdisk_open_grant *grant, void **user,
                             struct rdisk_error *err);
void close_event(void *opaque, void *user, bool orderly);
enum rdisk_status release_event(void *opaque, void *user,
                                struct rdisk_error *err);

#endif
