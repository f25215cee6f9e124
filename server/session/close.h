/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How sessions end: what is recorded on storage then is an operation on the
 * volume (operation.h). Control thread.
 */
#ifndef RDISK_SERVER_SESSION_CLOSE_H
#define RDISK_SERVER_SESSION_CLOSE_H

#include "server/session/session.h"

/* For struct rdisk_target_events. */
void close_event(void *opaque, void *user, bool orderly);
enum rdisk_status release_event(void *opaque, void *user,
                                struct rdisk_error *err);

/* @session, which has been granted the volume, no longer holds it. Its record
 * is saved later, and then @session is freed. */
void session_release(struct session *session);
/* The transport does not have @session any more, and its operation has
 * ended. */
void session_free(struct session *session);

#endif
