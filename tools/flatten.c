/* SPDX-License-Identifier: BSD-3-Clause */
/* rdisk flatten */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tools/control_socket.h"
#include "tools/rdisk.h"
#include "tools/remote.h"

/* If this program ends, so do its questions, and the server gives up. */
#define INTERVAL_NS 500000000

/* What is there so far, of bytes. */
struct flattened {
    uint64_t done, size; /* both 0: nothing was to be done */
    bool ended;
};

/* Each begins it, or asks how far it is. EXIT_OK, or the exit status. */
static int ask_server(const struct arguments *arguments,
                      struct flattened *flattened)
{
    struct json_object *reply =
        control_call(arguments->control,
                     control_request("flatten", arguments->words[0], NULL));

    if (!reply) {
        return EXIT_FAILED;
    }
    flattened->done = control_number(reply, "done");
    flattened->size = control_number(reply, "size");
    flattened->ended = control_number(reply, "ended");
    json_object_put(reply);
    return EXIT_OK;
}

static int ask_remote(const struct arguments *arguments,
                      struct flattened *flattened)
{
    struct remote_options where = { 0 };
    struct rdisk_error err = { 0 };
    int result = remote_options_read(&where, arguments, false);

    if (result != EXIT_OK) {
        return result;
    }
    result = rdisk_flatten_volume(&rdisk_env_system, &where.options,
                                  &flattened->done, &flattened->size, &err);
    rdisk_secret_wipe(&where.secret);
    flattened->ended = flattened->done == flattened->size;
    return result < 0
               ? failed_code(err.code, "%s: %s", arguments->uri, err.text)
               : EXIT_OK;
}

static int print_flattened(const struct arguments *arguments, uint64_t size)
{
    struct json_object *object;

    if (!arguments->json) {
        printf("%s: %s\n", arguments->words[0],
               size ? "flattened: it needs no other volume any more"
                    : "it does not depend on another volume: there is nothing "
                      "to do");
        return EXIT_OK;
    }
    object = json_object_new_object();
    json_object_object_add(object, "name",
                           json_object_new_string(arguments->words[0]));
    json_object_object_add(object, "flattened",
                           json_object_new_boolean(size != 0));
    json_object_object_add(object, "size", json_object_new_uint64(size));
    print_json(object);
    json_object_put(object);
    return EXIT_OK;
}

int command_flatten(const struct arguments *arguments)
{
    static const struct timespec pause = { .tv_nsec = INTERVAL_NS };
    bool remote = remote_is_uri(arguments->words[0]);
    struct flattened flattened = { 0 };
    uint64_t size = 0; /* once it has begun */
    int result;

    for (;;) {
        result = remote ? ask_remote(arguments, &flattened)
                        : ask_server(arguments, &flattened);
        if (result != EXIT_OK) {
            return result;
        }
        size = flattened.size ? flattened.size : size;
        print_progress(flattened.done, flattened.size, flattened.ended);
        if (flattened.ended) {
            return print_flattened(arguments, size);
        }
        nanosleep(&pause, NULL);
    }
}
