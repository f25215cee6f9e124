/* SPDX-License-Identifier: BSD-3-Clause */
/* A build without libmicrohttpd. */
#include "common/metrics_server.h"

#include <errno.h>
#include <stddef.h>

void metrics_answer(struct metrics_query *query, struct json_object *reply)
{
}

struct metrics_server *metrics_server_create(struct loop *loop,
                                             const char *address,
                                             metrics_stat_fn *stat,
                                             void *opaque,
                                             struct rdisk_error *err)
{
    *err = (struct rdisk_error) { 0 };
    if (address[0]) {
        rdisk_error_set(err, -ENOTSUP,
                        "metrics = %s: this program was built without "
                        "libmicrohttpd; use 'rdisk stat --prometheus'",
                        address);
    }
    return NULL;
}

void metrics_server_destroy(struct metrics_server *server)
{
}
