/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A server with a pool directory and no clients, for tests that are its control
 * thread. Nothing is logged while it exists.
 */
#ifndef RDISK_UNIT_POOL_SERVER_H
#define RDISK_UNIT_POOL_SERVER_H

#include "server/server.h"

#define POOL_VOLUME_SIZE (1u << 20)

extern struct server pool_server;

/* A directory with one volume, "v". */
void pool_server_begin(void);
/* The same on a file system that shares blocks between files; false: this
 * machine has none, which is printed. */
bool pool_server_begin_shared(void);
/* Removes the directory. */
void pool_server_end(void);

/* The server ends, and is started again on the same directory. */
void pool_server_close(void);
void pool_server_open(void);

/* Wait for a message for up to @ms, and handle what has come. */
void pool_server_turn(int ms);

/* The result of a snapshot or clone @target of @source; *@pause, unless NULL:
 * the longest time in ns that requests were kept. */
int pool_server_snapshot(const char *source, const char *target,
                         uint64_t *pause, struct rdisk_error *err);

/* ---- Its files ----------------------------------------------------------- */

bool pool_has_file(const char *name);
void pool_put_text(const char *name, uint64_t offset, const char *text);
bool pool_has_text(const char *name, uint64_t offset, const char *text);
/* No file that is made under another name and then renamed is left. */
bool pool_has_no_new_file(void);

#endif
