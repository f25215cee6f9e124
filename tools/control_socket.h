/* SPDX-License-Identifier: BSD-3-Clause */
/* A client of the server's control socket. */
#ifndef TOOLS_CONTROL_SOCKET_H
#define TOOLS_CONTROL_SOCKET_H

#include <stdbool.h>
#include <stdint.h>
#include <json-c/json.h>

/*
 * Send @request, which is given away, and wait for the reply. NULL: a
 * sentence has been printed, be it the server's or our own.
 */
struct json_object *control_call(const char *control,
                                 struct json_object *request);

/* {"op": @op}, with a name and a size where they are not NULL. */
struct json_object *control_request(const char *op, const char *name,
                                    const uint64_t *size);

/* Members of a reply; "" and 0 where there is none. */
const char *control_text(struct json_object *object, const char *key);
uint64_t control_number(struct json_object *object, const char *key);
/* The member "code" as a negative errno; 0: there is none, or it is unknown. */
int control_code(struct json_object *object);

/* For commands that ask again and again how far the server is. */
double monotonic_seconds(void);
void pause_between_queries(void);

/* throttle.c: the member "throttle" of a volume or a client, as a line; and is
 * there anything to print? */
void throttle_print(struct json_object *throttle);
bool throttle_is_set(struct json_object *throttle);

#endif
