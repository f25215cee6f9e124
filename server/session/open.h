/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How sessions begin: whether a client may have a volume is decided by an
 * operation on the volume (operation.h), step by step. Control thread.
 */
#ifndef RDISK_SERVER_SESSION_OPEN_H
#define RDISK_SERVER_SESSION_OPEN_H

#include "server/session/session.h"

/* For struct rdisk_target_events. */
enum rdisk_status open_event(void *opaque, struct rdisk_target_session *target,
                             const struct rdisk_open_request *request,
                             struct rdisk_open_grant *grant, void **user,
                             struct rdisk_error *err);

#endif
