/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A server with a pool directory and no transport, for tests that are its
 * control thread. Nothing is logged while it exists.
 */
#ifndef RDISK_UNIT_POOL_SERVER_H
#define RDISK_UNIT_POOL_SERVER_H

#include "server/server.h"

extern struct server pool_server;
extern struct config pool_config; /* the server's */
extern char pool_folder[64];      /* the directory */

/* With one volume, "v", of @size bytes. */
void pool_server_begin(uint64_t size);
/* The same on a file system that shares blocks between files; false: this
 * machine has none, which is printed. */
bool pool_server_begin_shared(uint64_t size);
/* With no volume, and @text as its configuration. A client whose section ends
 * it gets a secret. */
void pool_server_begin_configured(const char *text);
/* Removes the directory. */
void pool_server_end(void);

/* The server ends, and is started again on the same directory. */
void pool_server_close(void);
void pool_server_open(void);

/* Wait for a message for up to @ms, and handle what has come. */
void pool_server_turn(int ms);

/* ---- Its jobs ------------------------------------------------------------ */

/* From now on other threads call storage; before, each call is made at once. */
void pool_server_start_jobs(void);
/* Until all jobs have ended. */
void pool_server_settle(void);
/* Keep all threads that the pool may have, until pool_server_release(). */
void pool_server_hang(void);
void pool_server_release(void);

/* ---- Snapshots ----------------------------------------------------------- */

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
