/* SPDX-License-Identifier: BSD-3-Clause */
/* Lists of the volumes that a client may open. Control thread. */
#ifndef RDISK_SERVER_SESSION_LIST_H
#define RDISK_SERVER_SESSION_LIST_H

#include <rdisk/target.h>

struct session;

/*
 * For struct rdisk_target_events; its opaque is the struct server. One list is
 * read at a time, so that clients that list occupy no thread which others need.
 */
enum rdisk_status list_event(void *opaque, struct rdisk_target_session *target,
                             const struct rdisk_list_request *request,
                             struct rdisk_list_page *page, void **user,
                             struct rdisk_error *err);
/* @session, which lists volumes, has ended in the transport: there is no client
 * for the answer. */
void list_leave(struct session *session);

#endif
