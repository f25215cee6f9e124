/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests that list the volumes, list and stat. The pool directory is read in
 * a thread; one that does not answer holds up neither the server nor stat,
 * which then lists the volumes that are open. Control thread.
 */
#ifndef RDISK_SERVER_ADMIN_LISTING_H
#define RDISK_SERVER_ADMIN_LISTING_H

#include "server/admin/parse.h"
#include "server/io/jobs.h"
#include "server/volume/pool.h"

struct control_call;
struct json_object;
struct listing_wait;
struct server;

/* What the pool directory has. */
struct pool_listing {
    struct pool_file *files;
    size_t count;
    struct pool_space space;
};

/* One reading at a time; requests that arrive during it wait for the next. */
struct listing {
    struct job job;
    struct server *server;
    bool running;
    struct listing_wait *now, *next;
    /* Of the reading, in its thread. */
    struct pool_listing found;
    struct rdisk_error err;
    int result;
};

/* @op: REQUEST_LIST or REQUEST_STAT. Answers @call. */
void listing_ask(struct server *server, enum request_op op,
                 struct control_call *call);
/* Calls @answer once with the reply to "stat", which is given to it; NULL: no
 * memory. */
void listing_ask_stat(struct server *server,
                      void (*answer)(void *opaque, struct json_object *reply),
                      void *opaque);
/* When somebody has waited for long enough; RDISK_NEVER. */
uint64_t listing_deadline(const struct listing *listing);
/* Answer those without the pool directory. */
void listing_check_time(struct listing *listing, uint64_t now);

#endif
