/* SPDX-License-Identifier: BSD-3-Clause */
/* rdisk throttle */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tools/control_socket.h"
#include "tools/rdisk.h"

/* Longer than all limits together; the server checks them. */
#define LIMITS_TEXT 1024

/* The words after the name, with blanks between them. False: too long. */
static bool join_words(const struct arguments *arguments, char *text)
{
    size_t length = 0;

    text[0] = '\0';
    for (int i = 1; i < arguments->words_count && length < LIMITS_TEXT; i++) {
        length += (size_t)snprintf(text + length, LIMITS_TEXT - length, "%s%s",
                                   i > 1 ? " " : "", arguments->words[i]);
    }
    return length < LIMITS_TEXT;
}

void throttle_print(struct json_object *throttle)
{
    printf("limits: %s%s; %" PRIu64 " requests waited for them, %.1f s "
           "together\n",
           control_text(throttle, "limits"),
           control_number(throttle, "commanded") ? " (until the next reload)"
                                                 : "",
           control_number(throttle, "requests"),
           (double)control_number(throttle, "time") / 1e9);
}

bool throttle_is_set(struct json_object *throttle)
{
    return strcmp(control_text(throttle, "limits"), "off") != 0 ||
           control_number(throttle, "requests");
}

int command_throttle(const struct arguments *arguments)
{
    struct json_object *request = control_request("throttle",
                                                  arguments->words[0], NULL);
    struct json_object *reply;
    char limits[LIMITS_TEXT];

    if (!join_words(arguments, limits)) {
        json_object_put(request);
        return failed("the limits are longer than %d bytes", LIMITS_TEXT - 1);
    }
    if (limits[0]) {
        json_object_object_add(request, "limits",
                               json_object_new_string(limits));
    }
    json_object_object_add(request, "client",
                           json_object_new_boolean(arguments->client));
    reply = control_call(arguments->control, request);
    if (!reply) {
        return EXIT_FAILED;
    }
    if (arguments->json) {
        print_json(reply);
    } else {
        printf("%s %s: ", arguments->client ? "client" : "volume",
               arguments->words[0]);
        throttle_print(reply);
    }
    json_object_put(reply);
    return EXIT_OK;
}
