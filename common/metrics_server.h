/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Metrics over HTTP, GET /metrics, in a thread of its own with few
 * connections. The thread requests a snapshot from the control thread, waits
 * for at most METRICS_WAIT_MS, and does the rest itself, so the control thread
 * does no more than for rdisk stat, and waits for nothing.
 *
 * Where libmicrohttpd was not there when this was built, no address can be
 * configured (metrics_server_none.c). Create and destroy: control thread.
 */
#ifndef RDISK_COMMON_METRICS_SERVER_H
#define RDISK_COMMON_METRICS_SERVER_H

#include "common/loop.h"
#include <rdisk/error.h>

#define METRICS_WAIT_MS         5000
#define METRICS_CONNECTIONS_MAX 8  /* more are refused */
#define METRICS_IDLE_SECONDS    10 /* that a connection may wait */

struct json_object;
struct metrics_query; /* waits for its answer */
struct metrics_server;

/* Control thread: answers @query once with metrics_answer(), now or later. */
typedef void metrics_stat_fn(void *opaque, struct metrics_query *query);
/* Control thread. @reply: to "stat", whose ownership passes; NULL: no
 * memory. The client may have timed out, and the server may have been
 * destroyed. */
void metrics_answer(struct metrics_query *query, struct json_object *reply);

/*
 * Listen at @address, of listen_address_parse(). "": NULL with @err->code 0.
 * NULL with @err filled on failure.
 */
struct metrics_server *metrics_server_create(struct loop *loop,
                                             const char *address,
                                             metrics_stat_fn *stat,
                                             void *opaque,
                                             struct rdisk_error *err);
/* NULL is allowed. */
void metrics_server_destroy(struct metrics_server *server);

#endif
