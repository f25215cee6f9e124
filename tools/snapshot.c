/* SPDX-License-Identifier: BSD-3-Clause */
/* rdisk snapshot, clone */
#include "common/snapshot_name.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/size.h"
#include "tools/control_socket.h"
#include "tools/rdisk.h"
#include "tools/table.h"

static struct json_object *call(const struct arguments *arguments,
                                const char *op, const char *name,
                                const char *target)
{
    struct json_object *request = control_request(op, name, NULL);

    if (target) {
        json_object_object_add(request, "target",
                               json_object_new_string(target));
    }
    return control_call(arguments->control, request);
}

/* What was made, and what that has cost the volume's clients. */
static int print_made(const struct arguments *arguments,
                      struct json_object *reply)
{
    if (!reply) {
        return EXIT_FAILED;
    }
    if (arguments->json) {
        puts(json_object_to_json_string_ext(reply, JSON_C_TO_STRING_PRETTY));
    } else {
        printf("%s: requests were held for at most %g ms\n",
               control_text(reply, "name"),
               control_number(reply, "pause") / 1000.0);
    }
    json_object_put(reply);
    return EXIT_OK;
}

/* ---- Create -------------------------------------------------------------- */

/* NAME@SNAPSHOT as it was written, or a name made of the time. */
static const char *complete(const char *name, char *text, size_t size)
{
    char stamp[32];
    time_t now = time(NULL);
    struct tm tm;

    if (snapshot_is_name(name)) {
        return name;
    }
    strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", gmtime_r(&now, &tm));
    snprintf(text, size, "%s@%s", name, stamp);
    return text;
}

static int create(const struct arguments *arguments, const char *name)
{
    char text[2 * RDISK_VOLUME_NAME_MAX];

    return print_made(arguments,
                      call(arguments, "snapshot",
                           complete(name, text, sizeof(text)), NULL));
}

/* ---- List ---------------------------------------------------------------- */

static void print_list(struct json_object *snapshots)
{
    static const struct table_column columns[] = {
        { "NAME", TABLE_NAME },
        { "SIZE", TABLE_RIGHT },
        { "ALLOCATED", TABLE_RIGHT },
        { "TAKEN", TABLE_LEFT },
    };
    struct table *table = table_new(columns, 4);

    for (size_t i = 0; i < json_object_array_length(snapshots); i++) {
        struct json_object *one = json_object_array_get_idx(snapshots, i);
        char size[SIZE_TEXT], allocated[SIZE_TEXT] = "", taken[32];
        const char *cells[] = { control_text(one, "name"), size, allocated,
                                taken };
        time_t when = (time_t)control_number(one, "taken");
        struct tm tm;

        size_format(control_number(one, "size"), size, sizeof(size));
        if (json_object_object_get(one, "allocated")) {
            size_round(control_number(one, "allocated"), allocated,
                       sizeof(allocated));
        }
        strftime(taken, sizeof(taken), "%Y-%m-%d %H:%M:%S",
                 localtime_r(&when, &tm));
        table_row(table, cells);
    }
    table_print(table, 0);
}

static int list(const struct arguments *arguments, const char *name)
{
    struct json_object *reply = call(arguments, "snapshots", name, NULL);

    if (!reply) {
        return EXIT_FAILED;
    }
    if (arguments->json) {
        puts(json_object_to_json_string_ext(reply, JSON_C_TO_STRING_PRETTY));
    } else {
        print_list(json_object_object_get(reply, "snapshots"));
    }
    json_object_put(reply);
    return EXIT_OK;
}

/* ---- Delete and revert --------------------------------------------------- */

static int change(const struct arguments *arguments, const char *op,
                  const char *name)
{
    struct rdisk_error err;
    struct json_object *reply;

    /* rdisk delete would take it for the volume. */
    if (snapshot_name_check(name, &err) < 0) {
        failed("%s", err.text);
        return EXIT_USAGE;
    }
    reply = call(arguments, op, name, NULL);
    if (!reply) {
        return EXIT_FAILED;
    }
    json_object_put(reply);
    return EXIT_OK;
}

int command_snapshot(const struct arguments *arguments)
{
    const char *action = arguments->words[0];
    const char *name = arguments->words_count > 1 ? arguments->words[1] : NULL;

    if (strcmp(action, "list") == 0) {
        return list(arguments, name);
    }
    if (strcmp(action, "create") != 0 && strcmp(action, "delete") != 0 &&
        strcmp(action, "revert") != 0) {
        failed("snapshot %s: use create, list, delete or revert", action);
        return EXIT_USAGE;
    }
    if (!name) {
        failed("snapshot %s needs %s", action,
               action[0] == 'c' ? "VOLUME or VOLUME@NAME" : "VOLUME@NAME");
        return EXIT_USAGE;
    }
    return action[0] == 'c' ? create(arguments, name)
                            : change(arguments, action, name);
}

int command_clone(const struct arguments *arguments)
{
    return print_made(arguments, call(arguments, "clone", arguments->words[0],
                                      arguments->words[1]));
}
