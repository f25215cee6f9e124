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
#include "tools/remote.h"
#include "tools/table.h"

static struct json_object *call(const struct arguments *arguments,
                                const char *op, const char *name,
                                const char *target)
{
    struct json_object *request = control_request(op, name, NULL);

    if (arguments->copy) {
        json_object_object_add(request, "copy", json_object_new_boolean(true));
    }

    if (target) {
        json_object_object_add(request, "target",
                               json_object_new_string(target));
    }
    return control_call(arguments->control, request);
}

static void print_reply(struct json_object *reply)
{
    print_progress(control_number(reply, "done"), control_number(reply, "size"),
                   control_number(reply, "ended"));
}

/* Ask for the progress of the copy that @reply has begun, until it has ended;
 * if this program ends, so do the queries, and the server cancels the copy. */
static struct json_object *wait_for_copy(const struct arguments *arguments,
                                         struct json_object *reply)
{
    static const struct timespec pause = { .tv_nsec = 200000000 };
    char name[RDISK_VOLUME_NAME_MAX + 1];

    snprintf(name, sizeof(name), "%s", control_text(reply, "name"));
    while (reply && !control_number(reply, "ended")) {
        print_reply(reply);
        nanosleep(&pause, NULL);
        json_object_put(reply);
        reply = control_call(arguments->control,
                             control_request("copying", name, NULL));
    }
    if (reply) {
        print_reply(reply);
    }
    return reply;
}

/* What was made, and what that has cost the volume's clients. */
static int print_made(const struct arguments *arguments,
                      struct json_object *reply)
{
    if (reply && json_object_object_get(reply, "size")) {
        reply = wait_for_copy(arguments, reply);
    }
    if (!reply) {
        return EXIT_FAILED;
    }
    if (arguments->json) {
        print_json(reply);
    } else if (json_object_object_get(reply, "size")) {
        printf("%s: copied\n", control_text(reply, "name"));
    } else {
        printf("%s: requests were held for at most %g ms\n",
               control_text(reply, "name"),
               control_number(reply, "pause") / 1000.0);
    }
    json_object_put(reply);
    return EXIT_OK;
}

/* ---- With a URI --------------------------------------------------------- */

/*
 * @action on the snapshot that the URI names, which gets @name in the place of
 * the URI's volume if that is not NULL. @target: of a clone, or NULL.
 */
static int remote(const struct arguments *arguments,
                  enum rdisk_snapshot_action action, const char *name,
                  const char *target, uint64_t *pause)
{
    struct remote_options where = { 0 };
    struct rdisk_error err = { 0 };
    int result = remote_options_read(&where, arguments, false);

    if (result != EXIT_OK) {
        return result;
    }
    if (name) {
        where.options.volume = name;
    }
    result = rdisk_snapshot_volume(&rdisk_env_system, &where.options, action,
                                   target, pause, &err);
    rdisk_secret_wipe(&where.secret);
    return result < 0
               ? failed_code(err.code, "%s: %s", arguments->uri, err.text)
               : EXIT_OK;
}

/* What a server on this machine would have answered. */
static struct json_object *made(const char *name, uint64_t pause)
{
    struct json_object *reply = json_object_new_object();

    json_object_object_add(reply, "name", json_object_new_string(name));
    json_object_object_add(reply, "pause", json_object_new_uint64(pause));
    return reply;
}

/* ---- Create ------------------------------------------------------------- */

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

static int create_remote(const struct arguments *arguments)
{
    char text[2 * RDISK_VOLUME_NAME_MAX];
    struct remote_options where = { 0 };
    const char *name;
    uint64_t pause;
    int result = remote_options_read(&where, arguments, false);

    rdisk_secret_wipe(&where.secret);
    if (result != EXIT_OK) {
        return result;
    }
    name = complete(where.uri.volume, text, sizeof(text));
    result = remote(arguments, RDISK_SNAPSHOT_TAKE, name, NULL, &pause);
    return result == EXIT_OK ? print_made(arguments, made(name, pause))
                             : result;
}

static int create(const struct arguments *arguments, const char *name)
{
    char text[2 * RDISK_VOLUME_NAME_MAX];

    if (remote_is_uri(name)) {
        return create_remote(arguments);
    }
    return print_made(arguments,
                      call(arguments, "snapshot",
                           complete(name, text, sizeof(text)), NULL));
}

/* ---- List --------------------------------------------------------------- */

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

        taken[0] = '\0';
        size_format(control_number(one, "size"), size, sizeof(size));
        if (json_object_object_get(one, "allocated")) {
            size_round(control_number(one, "allocated"), allocated,
                       sizeof(allocated));
        }
        /* A server elsewhere says neither. */
        if (when) {
            strftime(taken, sizeof(taken), "%Y-%m-%d %H:%M:%S",
                     localtime_r(&when, &tm));
        }
        table_row(table, cells);
    }
    table_print(table, 0);
}

static int list(const struct arguments *arguments, const char *name)
{
    struct json_object *reply;

    if (name && remote_is_uri(name)) {
        struct json_object *snapshots;
        int result = remote_list_snapshots(arguments, &snapshots);

        if (result != EXIT_OK) {
            return result;
        }
        reply = json_object_new_object();
        json_object_object_add(reply, "snapshots", snapshots);
    } else {
        reply = call(arguments, "snapshots", name, NULL);
    }
    if (!reply) {
        return EXIT_FAILED;
    }
    if (arguments->json) {
        print_json(reply);
    } else {
        print_list(json_object_object_get(reply, "snapshots"));
    }
    json_object_put(reply);
    return EXIT_OK;
}

/* ---- Delete and revert -------------------------------------------------- */

static int change_remote(const struct arguments *arguments, const char *op)
{
    struct remote_options where = { 0 };
    struct rdisk_error err;
    int result = remote_options_read(&where, arguments, false);

    rdisk_secret_wipe(&where.secret);
    if (result != EXIT_OK) {
        return result;
    }
    if (snapshot_name_check(where.uri.volume, &err) < 0) {
        failed("%s", err.text);
        return EXIT_USAGE;
    }
    return strcmp(op, "delete") == 0
               ? remote_delete(arguments, 0)
               : remote(arguments, RDISK_SNAPSHOT_REVERT, NULL, NULL, NULL);
}

static int change(const struct arguments *arguments, const char *op,
                  const char *name)
{
    struct rdisk_error err;
    struct json_object *reply;

    if (remote_is_uri(name)) {
        return change_remote(arguments, op);
    }
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
    const char *target = arguments->words[1];
    uint64_t pause;
    int result;

    if (remote_is_uri(arguments->words[0])) {
        result = remote(arguments, RDISK_SNAPSHOT_CLONE, NULL, target, &pause);
        return result == EXIT_OK ? print_made(arguments, made(target, pause))
                                 : result;
    }
    return print_made(arguments, call(arguments, "clone", arguments->words[0],
                                      arguments->words[1]));
}
