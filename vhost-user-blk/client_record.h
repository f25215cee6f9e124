/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The identity of a disk as a client of its server, in a file that outlives the
 * daemon: so the next one reconnects as the same client, fences the connection
 * of the one before, and has the lease that is kept for it. Control thread; the
 * folder is meant to be in memory, such as /run, and exists as long as the
 * guests.
 */
#ifndef VHOST_USER_BLK_CLIENT_RECORD_H
#define VHOST_USER_BLK_CLIENT_RECORD_H

#include <rdisk/env.h>
#include <rdisk/error.h>
#include <rdisk/initiator.h>

/*
 * Epochs that one session may use up, one for each reconnect: a session begins
 * so far above the one before, whose last epoch is not recorded.
 */
#define CLIENT_EPOCHS (1ull << 32)

/*
 * Read the record at @path; where there is none, a new client. 0 or a negative
 * errno: a damaged record is -EINVAL.
 */
int client_record_read(const char *path, const struct rdisk_env *env,
                       struct rdisk_client *client, struct rdisk_error *err);
/* Atomically, even if the daemon is killed. */
int client_record_write(const char *path, const struct rdisk_client *client,
                        struct rdisk_error *err);

#endif
