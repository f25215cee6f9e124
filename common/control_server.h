/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control socket: a line with a request in, a line with its reply out.
 * Their content is the handler's, which may answer later. Never blocks; a
 * client gets its next reply only when it has read the last one.
 */
#ifndef RDISK_COMMON_CONTROL_SERVER_H
#define RDISK_COMMON_CONTROL_SERVER_H

#include "common/loop.h"
#include <rdisk/error.h>

#define CONTROL_LINE_MAX    4096 /* bytes of a request, its newline included */
#define CONTROL_CLIENTS_MAX 32

struct control;
struct control_call; /* a request that waits for its reply */

/* Answers @call once with control_answer(), now or later. */
typedef void control_fn(void *opaque, const char *line,
                        struct control_call *call);
/* @reply: without a newline, taken over; NULL: there was no memory for it, and
 * the client is cut. It may have left, and the socket may be gone. */
void control_answer(struct control_call *call, char *reply);

/* The last folder of @path, if it is missing; if it cannot be created, the call
 * that uses it reports why. */
void control_make_folder(const char *path);
/*
 * Listen at @path, for the user of the server only. Creates the last folder
 * of @path if it is missing, and replaces a socket that no process listens to
 * any more. NULL with @err filled.
 */
struct control *control_create(struct loop *loop, const char *path,
                               control_fn *handler, void *opaque,
                               struct rdisk_error *err);
/* Cuts all clients and removes the socket. NULL is allowed. */
void control_destroy(struct control *control);

/* When control_check_time() has to be called, because clients cannot be
 * accepted now; RDISK_NEVER. NULL is allowed. */
uint64_t control_deadline(const struct control *control);
void control_check_time(struct control *control, uint64_t now);

/* A reply that reports an error, to be freed. */
char *control_error(const struct rdisk_error *err);

#endif
