/* SPDX-License-Identifier: BSD-3-Clause */
/* rdisk drain, resume */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tools/control_socket.h"
#include "tools/rdisk.h"
#include <rdisk/uri.h>

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
                          struct json_object *reply, uint64_t moved)
{
    if (arguments->json && arguments->to) {
        json_object_object_add(reply, "moved", json_object_new_uint64(moved));
    }
    if (arguments->json) {
        print_json(reply);
    } else {
        printf("drained\n");
    }
}

/* ---- The server to go on at ---------------------------------------------- */

/* HOST, HOST:PORT, [ADDRESS] or [ADDRESS]:PORT. EXIT_OK, or the exit status. */
static int parse_to(const char *to, struct rdisk_uri *uri)
{
    struct rdisk_error err;
    char text[400];

    if (snprintf(text, sizeof(text), "rdma://%s/", to) >= (int)sizeof(text) ||
        strcspn(to, "/,?#") < strlen(to)) {
        failed("--to %.100s: name one server, HOST[:PORT]", to);
        return EXIT_USAGE;
    }
    if (rdisk_uri_parse_server(text, uri, NULL, NULL, &err) < 0) {
        failed("--to %s: %s", to, err.text);
        return EXIT_USAGE;
    }
    return EXIT_OK;
}

static struct json_object *request_of(const struct arguments *arguments,
                                      const struct rdisk_uri *to)
{
    struct json_object *request = control_request("drain", volume_of(arguments),
                                                  NULL);

    if (arguments->to) {
        json_object_object_add(request, "host",
                               json_object_new_string(to->host));
        json_object_object_add(request, "port", json_object_new_int(to->port));
    }
    return request;
}

/* Of the first reply: those that are left then have all been told, or cannot
 * be. */
static void print_moved(const struct arguments *arguments,
                        struct json_object *reply)
{
    uint64_t moved = control_number(reply, "moved");
    uint64_t left = control_number(reply, "sessions");

    if (arguments->json || !arguments->to) {
        return;
    }
    printf("%" PRIu64 " of %" PRIu64 " sessions handed over to %s\n", moved,
           left, arguments->to);
    if (moved < left) {
        printf("the others go to the next server of their client, if it has "
               "one, or wait for 'rdisk resume'\n");
    }
}

/* ---- The commands -------------------------------------------------------- */

int command_drain(const struct arguments *arguments)
{
    double end = monotonic_seconds() + arguments->timeout;
    uint64_t left, requests, reported = 0, moved = 0;
    bool first = true;
    struct rdisk_uri to = { 0 };

    if (arguments->to && parse_to(arguments->to, &to) != EXIT_OK) {
        return EXIT_USAGE;
    }
    for (;;) {
        /* To drain what is drained only reports what is left. */
        struct json_object *reply = control_call(arguments->control,
                                                 request_of(arguments, &to));

        if (!reply) {
            return EXIT_FAILED;
        }
        left = control_number(reply, "sessions");
        moved += control_number(reply, "moved");
        if (first) {
            print_moved(arguments, reply);
            first = false;
        }
        if (left && left != reported && !arguments->json) {
            print_left(reply, left);
            reported = left;
        }
        if (!left) {
            print_drained(arguments, reply, moved);
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
