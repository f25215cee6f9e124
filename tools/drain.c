/* SPDX-License-Identifier: BSD-3-Clause */
/* rdisk drain, resume */
#include <inttypes.h>
#include <stdio.h>

#include "tools/control_socket.h"
#include "tools/rdisk.h"

static const char *volume_of(const struct arguments *arguments)
{
    return arguments->words_count ? arguments->words[0] : NULL;
}

/* "1 session is left: 10.9.0.1:4242" */
static void print_left(struct json_object *reply, uint64_t left)
{
    struct json_object *peers;

    printf("%" PRIu64 " %s left", left,
           left == 1 ? "session is" : "sessions are");
    if (json_object_object_get_ex(reply, "peers", &peers)) {
        for (size_t i = 0; i < json_object_array_length(peers); i++) {
            printf("%s %s", i ? "," : ":",
                   json_object_get_string(json_object_array_get_idx(peers, i)));
        }
    }
    printf("\n");
    fflush(stdout);
}

static void print_drained(const struct arguments *arguments,
                          struct json_object *reply)
{
    if (arguments->json) {
        print_json(reply);
    } else {
        printf("drained\n");
    }
}

int command_drain(const struct arguments *arguments)
{
    double end = monotonic_seconds() + arguments->timeout;
    uint64_t left, requests, reported = 0;

    for (;;) {
        /* To drain what is drained only reports what is left. */
        struct json_object *reply =
            control_call(arguments->control,
                         control_request("drain", volume_of(arguments), NULL));

        if (!reply) {
            return EXIT_FAILED;
        }
        left = control_number(reply, "sessions");
        if (left && left != reported && !arguments->json) {
            print_left(reply, left);
            reported = left;
        }
        if (!left) {
            print_drained(arguments, reply);
        }
        requests = control_number(reply, "in_flight");
        json_object_put(reply);
        if (!left) {
            return EXIT_OK;
        }
        if (monotonic_seconds() >= end) {
            return failed("%" PRIu64
                          " sessions are left after --timeout %g seconds, with "
                          "%" PRIu64 " requests at the storage; they will end: "
                          "'rdisk drain' waits for them again; 'rdisk resume' "
                          "accepts new ones again",
                          left, arguments->timeout, requests);
        }
        pause_between_queries();
    }
}

int command_resume(const struct arguments *arguments)
{
    struct json_object *reply =
        control_call(arguments->control,
                     control_request("resume", volume_of(arguments), NULL));

    if (!reply) {
        return EXIT_FAILED;
    }
    if (arguments->json) {
        print_json(reply);
    }
    json_object_put(reply);
    return EXIT_OK;
}
