/* SPDX-License-Identifier: BSD-3-Clause */
/* What a server replies, for people. */
#ifndef TOOLS_DISK_H
#define TOOLS_DISK_H

#include <stdbool.h>
#include <json-c/json.h>

/* True if @reply comes from rdisk-vhost, not rdiskd. */
bool disks_are_in(struct json_object *reply);
/* Its reply to "list", and to "stat". */
void disks_print_list(struct json_object *reply);
void disks_print_stat(struct json_object *reply);

/* The pool of rdiskd's reply to "list" or "stat": how full it is. */
void pool_print(struct json_object *reply);

#endif
