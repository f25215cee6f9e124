/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disks that are being added over the control socket. Their options name users,
 * groups and files, and to look these up may take as long as a directory
 * service or a file server does: a thread of each disk does it, so that the
 * control thread waits for none. All functions are for the control thread.
 */
#ifndef VHOST_USER_BLK_ADDING_H
#define VHOST_USER_BLK_ADDING_H

#include <json-c/json.h>
#include <stdint.h>

#include "common/control_server.h"
#include "vhost-user-blk/daemon.h"

/* At a time; a look-up that does not end goes on counting. */
#define ADDING_MAX 32u
/* Until the call is answered with an error, in milliseconds: less than the
 * client waits for the answer. The look-up's result is dropped then. */
#define ADDING_MS 20000u

/* Add disk @name with the options in @request, whose other members "op" and
 * "name" are skipped; answers @call, now or later. */
void adding_start(struct daemon *daemon, const char *name,
                  struct json_object *request, struct control_call *call);
/* Add those whose options are there; daemon.disk_fd tells when. */
void adding_finish(struct daemon *daemon);
/* When adding_check_time() has to be called; RDISK_NEVER. */
uint64_t adding_deadline(const struct daemon *daemon);
void adding_check_time(struct daemon *daemon, uint64_t now);

#endif
