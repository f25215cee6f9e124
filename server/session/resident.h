/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memory of a resident volume, registered for each session, so that the
 * client reads it by itself. That is optional: without it the client's requests
 * are answered. So it takes neither time that the client does not have, nor
 * locked memory that others need. Control thread.
 */
#ifndef RDISK_SERVER_SESSION_RESIDENT_H
#define RDISK_SERVER_SESSION_RESIDENT_H

struct session;

/* While @session is being opened: register what its volume has, if that is
 * resident, and call @then, perhaps from within. */
void resident_register(struct session *session,
                       void (*then)(struct session *session));
/* Its memory is not registered any more. */
void resident_forget(struct session *session);

#endif
