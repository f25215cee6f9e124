/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests that list the volumes: list, snapshots and stat. The pool directory
 * is read in a thread; one that does not respond delays neither the server nor
 * stat, which then lists the volumes that are open. The directory is read once
 * at a time; requests that arrive meanwhile wait for the next reading. Control
 * thread.
 */
#ifndef RDISK_SERVER_ADMIN_LISTING_H
#define RDISK_SERVER_ADMIN_LISTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/admin/parse.h"
#include "server/volume/pool.h"

struct control_call;
struct json_object;
struct listing;
struct server;

/* What the pool directory has. */
struct pool_listing {
    struct pool_file *files;
    size_t count;
    struct pool_space space;
};

/* NULL: no memory. */
struct listing *listing_create(struct server *server);
/* None is running. NULL is allowed. */
void listing_destroy(struct listing *listing);
/* True if the directory is being read. */
bool listing_running(const struct listing *listing);

/* @request: REQUEST_LIST, REQUEST_SNAPSHOTS or REQUEST_STAT. Answers @call. */
void listing_ask(struct server *server, const struct request *request,
                 struct control_call *call);
/* Calls @answer once with the reply to "stat", which is given to it; NULL: no
 * memory. */
void listing_ask_stat(struct server *server,
                      void (*answer)(void *opaque, struct json_object *reply),
                      void *opaque);
/* When to call listing_check_time() at the latest; RDISK_NEVER. */
uint64_t listing_deadline(const struct listing *listing);
/* Answer the requests whose time is over, without the pool directory. */
void listing_check_time(struct listing *listing, uint64_t now);

#endif
