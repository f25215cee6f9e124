/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configuration is read again while the server runs: by a SIGHUP, or by a
 * request on the control socket. A job reads the files, since their storage may
 * hang; the control thread then takes over what may change: clients and their
 * secrets, access rules, limits, log level. Sessions whose client may not have
 * their volume any more end; all others are not touched. If anything is wrong,
 * nothing changes. Control thread.
 */
#ifndef RDISK_SERVER_RELOAD_H
#define RDISK_SERVER_RELOAD_H

#include <stdint.h>

struct control_call;
struct server;

/* For a signal: the result is logged. Before server_run(), and while another
 * one is running, it begins later. */
void reload_wanted(struct server *server);
/* The one that waits for its turn, if any. */
void reload_begin_wanted(struct server *server);
/*
 * For a client of the control socket, which is answered within storage-timeout
 * with {"clients": N, "sessions_ended": N, "changed": [OPTION…],
 * "restart": [OPTION…]}, or an error: then nothing has changed.
 */
void reload_ask(struct server *server, struct control_call *call);

/* When reload_check_time() has to be called at the latest; RDISK_NEVER. */
uint64_t reload_deadline(const struct server *server);
/* Abort a reload whose files cannot be read in time. */
void reload_check_time(struct server *server, uint64_t now);

#endif
