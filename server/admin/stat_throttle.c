/* SPDX-License-Identifier: BSD-3-Clause */
/* What the server reports about limits of requests and bytes. */
#include <json-c/json.h>

#include "server/admin/command.h"
#include "server/server.h"
#include "server/session/throttled.h"

static void add_count(struct json_object *object, const char *key,
                      uint64_t value)
{
    json_object_object_add(object, key, json_object_new_int64((int64_t)value));
}

static uint64_t read_count(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

struct json_object *stat_throttle(const struct server *server, bool client,
                                  const char *name)
{
    const struct throttled *throttled = throttled_find(server, client, name);
    struct throttle_values values = throttled
                                        ? throttled->values
                                        : throttled_configured(server, client,
                                                               name);
    struct json_object *object = json_object_new_object();
    char text[THROTTLE_TEXT];

    json_object_object_add(object, "limits",
                           json_object_new_string(
                               throttle_values_format(&values, text)));
    json_object_object_add(object, "commanded",
                           json_object_new_boolean(throttled &&
                                                   throttled->commanded));
    add_count(object, "requests",
              throttled ? read_count(&throttled->throttle.requests) : 0);
    add_count(object, "time",
              throttled ? read_count(&throttled->throttle.time) : 0);
    return object;
}
