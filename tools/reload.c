/* SPDX-License-Identifier: BSD-3-Clause */
/* rdisk reload */
#include <inttypes.h>
#include <stdio.h>

#include "tools/control_socket.h"
#include "tools/rdisk.h"

static void print_names(const char *what, struct json_object *reply,
                        const char *key)
{
    struct json_object *names;

    if (!json_object_object_get_ex(reply, key, &names) ||
        !json_object_array_length(names)) {
        return;
    }
    printf("%s:", what);
    for (size_t i = 0; i < json_object_array_length(names); i++) {
        printf("%s %s", i ? "," : "",
               json_object_get_string(json_object_array_get_idx(names, i)));
    }
    printf("\n");
}

int command_reload(const struct arguments *arguments)
{
    struct json_object *reply = control_call(arguments->control,
                                             control_request("reload", NULL,
                                                             NULL));

    if (!reply) {
        return EXIT_FAILED;
    }
    if (arguments->json) {
        print_json(reply);
    } else {
        printf("reloaded: %" PRIu64 " clients, %" PRIu64 " sessions ended\n",
               control_number(reply, "clients"),
               control_number(reply, "sessions_ended"));
        print_names("changed", reply, "changed");
        print_names("not applied until rdiskd is restarted", reply, "restart");
    }
    json_object_put(reply);
    return EXIT_OK;
}
