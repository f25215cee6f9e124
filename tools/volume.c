/* SPDX-License-Identifier: BSD-3-Clause */
/* rdisk create, delete, resize, fence, list */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/size.h"
#include "tools/control_socket.h"
#include "tools/disk.h"
#include "tools/rdisk.h"
#include "tools/remote.h"
#include "tools/table.h"

/*
 * @remote runs it if the first word is a URI. @agreement: "replace", "shrink"
 * or "snapshots" if that was given, or NULL; @choice: "preallocate", the same.
 */
static int change(const struct arguments *arguments, const char *op, bool sized,
                  const char *agreement, const char *choice,
                  int (*remote)(const struct arguments *arguments,
                                uint64_t size))
{
    const char *name = arguments->words[0];
    struct json_object *request, *reply;
    uint64_t size = 0;
    int result = sized ? size_parse(arguments->words[1], &size) : 0;

    if (result == 0 && remote_is_uri(name)) {
        result = remote(arguments, size);
        return result == EXIT_OK
                   ? print_done(arguments, name, sized ? &size : NULL)
                   : result;
    }
    if (result < 0) {
        failed("'%s' is %s; write e.g. 512M or 10G", arguments->words[1],
               result == -ERANGE ? "too large" : "no size");
        return EXIT_USAGE;
    }
    request = control_request(op, name, sized ? &size : NULL);
    if (agreement) {
        json_object_object_add(request, agreement,
                               json_object_new_boolean(true));
    }
    if (choice) {
        json_object_object_add(request, choice, json_object_new_boolean(true));
    }
    reply = control_call(arguments->control, request);
    if (!reply) {
        return EXIT_FAILED;
    }
    json_object_put(reply);
    return print_done(arguments, name, sized ? &size : NULL);
}

/* Thin volumes may be larger together than what they are in. */
static void warn_of_pool(const char *control)
{
    struct json_object *reply = control_call(control,
                                             control_request("list", NULL,
                                                             NULL));
    struct json_object *pool = reply ? json_object_object_get(reply, "pool")
                                     : NULL;
    char all[SIZE_TEXT], capacity[SIZE_TEXT];

    if (pool && control_number(pool, "provisioned") >
                    control_number(pool, "capacity")) {
        fprintf(stderr,
                "rdisk: warning: the pool's volumes can grow to %s together, "
                "and its file system has %s: writes fail when it is full\n",
                size_round(control_number(pool, "provisioned"), all,
                           sizeof(all)),
                size_round(control_number(pool, "capacity"), capacity,
                           sizeof(capacity)));
    }
    json_object_put(reply);
}

int command_create(const struct arguments *arguments)
{
    int result = change(arguments, "create", true,
                        arguments->replace ? "replace" : NULL,
                        arguments->preallocate ? "preallocate" : NULL,
                        remote_create);

    if (result == EXIT_OK && !remote_is_uri(arguments->words[0]) &&
        !arguments->json) {
        warn_of_pool(arguments->control);
    }
    return result;
}

int command_delete(const struct arguments *arguments)
{
    return change(arguments, "delete", false,
                  arguments->snapshots ? "snapshots" : NULL, NULL,
                  remote_delete);
}

int command_resize(const struct arguments *arguments)
{
    return change(arguments, "resize", true,
                  arguments->shrink ? "shrink" : NULL, NULL, remote_resize);
}

int command_fence(const struct arguments *arguments)
{
    const char *name = arguments->words[0];
    struct json_object *reply = control_call(arguments->control,
                                             control_request("fence", name,
                                                             NULL));

    if (!reply) {
        return EXIT_FAILED;
    }
    if (arguments->json) {
        print_json(reply);
    } else {
        printf("volume %s: generation %" PRIu64 ", %" PRIu64
               " sessions ended\n",
               name, control_number(reply, "generation"),
               control_number(reply, "sessions"));
    }
    json_object_put(reply);
    return EXIT_OK;
}

static void print_volumes(struct json_object *volumes)
{
    static const struct table_column columns[] = {
        { "NAME", TABLE_NAME },       { "SIZE", TABLE_RIGHT },
        { "ALLOCATED", TABLE_RIGHT }, { "BACKEND", TABLE_LEFT },
        { "SESSIONS", TABLE_RIGHT },
    };
    struct table *table = table_new(columns, 5);

    for (size_t i = 0; i < json_object_array_length(volumes); i++) {
        struct json_object *volume = json_object_array_get_idx(volumes, i);
        char size[SIZE_TEXT], allocated[SIZE_TEXT] = "", sessions[24];
        const char *cells[] = { control_text(volume, "name"), size, allocated,
                                control_text(volume, "backend"), sessions };

        size_format(control_number(volume, "size"), size, sizeof(size));
        if (json_object_object_get(volume, "allocated")) {
            size_round(control_number(volume, "allocated"), allocated,
                       sizeof(allocated));
        }
        snprintf(sessions, sizeof(sessions), "%" PRIu64,
                 control_number(volume, "sessions"));
        table_row(table, cells);
    }
    table_print(table, 0);
}

/* Of a server that is named by a URI. */
static void print_remote(struct json_object *volumes)
{
    static const struct table_column columns[] = {
        { "NAME", TABLE_NAME },
        { "SIZE", TABLE_RIGHT },
        { "ACCESS", TABLE_LEFT },
    };
    struct table *table = table_new(columns, 3);

    for (size_t i = 0; i < json_object_array_length(volumes); i++) {
        struct json_object *volume = json_object_array_get_idx(volumes, i);
        char size[SIZE_TEXT];
        const char *cells[] = {
            control_text(volume, "name"),
            size,
            json_object_get_boolean(json_object_object_get(volume, "read_only"))
                ? "read-only"
                : "read-write",
        };

        size_format(control_number(volume, "size"), size, sizeof(size));
        table_row(table, cells);
    }
    table_print(table, 0);
}

static int list_remote(const struct arguments *arguments)
{
    struct json_object *volumes;
    int result = remote_list(arguments, &volumes);

    if (result != EXIT_OK) {
        return result;
    }
    if (arguments->json) {
        struct json_object *all = json_object_new_object();

        json_object_object_add(all, "volumes", volumes);
        print_json(all);
        json_object_put(all);
    } else {
        print_remote(volumes);
        json_object_put(volumes);
    }
    return EXIT_OK;
}

static int list_here(const struct arguments *arguments)
{
    struct json_object *reply = control_call(arguments->control,
                                             control_request("list", NULL,
                                                             NULL));

    if (!reply) {
        return EXIT_FAILED;
    }
    if (arguments->json) {
        print_json(reply);
    } else if (disks_are_in(reply)) {
        disks_print_list(reply);
    } else {
        print_volumes(json_object_object_get(reply, "volumes"));
        pool_print(reply);
    }
    json_object_put(reply);
    return EXIT_OK;
}

int command_list(const struct arguments *arguments)
{
    if (!arguments->uri) {
        return list_here(arguments);
    }
    if (!remote_is_uri(arguments->uri)) {
        failed("'%s' is not the URI of a server; write e.g. rdma://HOST/",
               arguments->uri);
        return EXIT_USAGE;
    }
    return list_remote(arguments);
}
