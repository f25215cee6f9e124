/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket's requests, one JSON object a line, as rdiskd's:
 *   {"op":"list"}                       the disks and their states
 *   {"op":"stat"}                       the same with counters, and reactors
 *   {"op":"add","name":NAME,"uri":URI,"socket":PATH[,OPTION:TEXT…]}
 *   {"op":"remove","name":NAME}
 *   {"op":"drain"[,"name":NAME]}        replies with the disks that are left
 *   {"op":"resume"[,"name":NAME]}
 */
#include <errno.h>
#include <json-c/json.h>
#include <string.h>

#include "vhost-user-blk/adding.h"
#include "vhost-user-blk/daemon.h"

static void add_text(struct json_object *object, const char *key,
                     const char *text)
{
    json_object_object_add(object, key, json_object_new_string(text));
}

static void add_number(struct json_object *object, const char *key,
                       uint64_t number)
{
    json_object_object_add(object, key, json_object_new_uint64(number));
}

static char *finish(struct json_object *reply)
{
    char *text = strdup(
        json_object_to_json_string_ext(reply, JSON_C_TO_STRING_PLAIN));

    json_object_put(reply);
    return text;
}

static struct json_object *describe(struct disk *disk, bool counters)
{
    struct json_object *object = json_object_new_object();
    struct disk_info info;
    const struct rdisk_op_totals *ops = &info.queues.ops;

    disk_get_info(disk, &info);
    add_text(object, "name", info.name);
    add_text(object, "uri", info.uri);
    add_text(object, "socket", info.socket);
    add_text(object, "state", disk_state_name(info.report.state));
    json_object_object_add(object, "connected",
                           json_object_new_boolean(info.report.connected));
    if (info.report.held) {
        json_object_object_add(object, "held", json_object_new_boolean(true));
    }
    add_number(object, "size", info.report.size);
    if (info.report.error.text[0]) {
        const char *code = strerrorname_np(-info.report.error.code);

        add_text(object, "error", info.report.error.text);
        add_text(object, "code", code ? code : "EIO");
    }
    if (counters) {
        add_number(object, "requests", info.requests);
        add_number(object, "failed", info.failed);
        add_number(object, "refused", info.refused);
        for (unsigned int op = 1; op < RDISK_OPS; op++) {
            add_number(object, rdisk_op_plural(op), ops->count[op]);
        }
        add_number(object, "read_bytes", ops->bytes[RDISK_OP_READ]);
        add_number(object, "write_bytes", ops->bytes[RDISK_OP_WRITE]);
        add_number(object, "copied_bytes", info.queues.copied_bytes);
        add_number(object, "slots", info.queues.slots);
        add_number(object, "slot_waits", info.queues.slot_waits);
        add_number(object, "slot_grants", info.queues.slot_grants);
        add_number(object, "slot_returns", info.queues.slot_returns);
        add_number(object, "reconnects", info.reconnects);
    }
    return object;
}

static struct json_object *list(struct daemon *daemon, bool counters)
{
    struct json_object *reply = json_object_new_object();
    struct json_object *disks = json_object_new_array();

    for (struct daemon_disk *entry = daemon->disks; entry;
         entry = entry->next) {
        json_object_array_add(disks, describe(entry->disk, counters));
    }
    json_object_object_add(reply, "disks", disks);
    if (counters) {
        struct json_object *reactors = json_object_new_array();

        for (unsigned int i = 0; i < daemon->reactor_count; i++) {
            struct json_object *reactor = json_object_new_object();
            struct reactor_counters counted;

            reactor_count(daemon->reactors[i], &counted);
            add_number(reactor, "turns", counted.turns);
            add_number(reactor, "sleeps", counted.sleeps);
            json_object_array_add(reactors, reactor);
        }
        json_object_object_add(reply, "reactors", reactors);
    }
    return reply;
}

void daemon_stat(void *opaque, struct metrics_query *query)
{
    metrics_answer(query, list(opaque, true));
}

/* The text of @key, or NULL with @err filled. */
static const char *text_of(struct json_object *request, const char *op,
                           const char *key, struct rdisk_error *err)
{
    struct json_object *value;

    if (!json_object_object_get_ex(request, key, &value) ||
        !json_object_is_type(value, json_type_string)) {
        rdisk_error_set(err, -EINVAL, "%s needs \"%s\", a string", op, key);
        return NULL;
    }
    return json_object_get_string(value);
}

/* The disk's name, or NULL with @err filled. */
static const char *name_to_add(struct json_object *request,
                               struct rdisk_error *err)
{
    const char *name = text_of(request, "add", "name", err);

    if (name && !rdisk_volume_name_valid(name, strlen(name))) {
        rdisk_error_set(err, -EINVAL,
                        "invalid disk name '%.140s': use "
                        "1-%d of [A-Za-z0-9._+@,-], not starting with "
                        "'.' or '-'",
                        name, RDISK_VOLUME_NAME_MAX);
        return NULL;
    }
    return name;
}

static int remove_disk(struct daemon *daemon, struct json_object *request,
                       struct rdisk_error *err)
{
    const char *name = text_of(request, "remove", "name", err);

    return name ? daemon_ask(daemon, name, DISK_REMOVE, err) : err->code;
}

/* The disks of @name, or all, that are not drained yet. */
static char *not_drained(struct daemon *daemon, const char *name)
{
    struct json_object *reply = json_object_new_object();
    struct json_object *names = json_object_new_array();

    for (struct daemon_disk *entry = daemon->disks; entry;
         entry = entry->next) {
        struct disk_info info;

        disk_get_info(entry->disk, &info);
        if ((!name || strcmp(entry->name, name) == 0) &&
            info.report.state != DISK_DRAINED) {
            json_object_array_add(names, json_object_new_string(entry->name));
        }
    }
    add_number(reply, "sessions", json_object_array_length(names));
    json_object_object_add(reply, "peers", names);
    return finish(reply);
}

/* Of a disk, or of all without "name". */
static char *drain(struct daemon *daemon, struct json_object *request,
                   enum disk_request what, struct rdisk_error *err)
{
    const char *name = NULL;

    if (json_object_object_get_ex(request, "name", NULL)) {
        name = text_of(request, "drain", "name", err);
        if (!name) {
            return NULL;
        }
    }
    if (daemon_ask(daemon, name, what, err) < 0) {
        return NULL;
    }
    return what == DISK_DRAIN ? not_drained(daemon, name) : strdup("{}");
}

/* The reply, or NULL with @err filled. */
static char *carry_out(struct daemon *daemon, const char *op,
                       struct json_object *request, struct rdisk_error *err)
{
    if (strcmp(op, "list") == 0 || strcmp(op, "stat") == 0) {
        return finish(list(daemon, op[0] == 's'));
    }
    if (strcmp(op, "remove") == 0) {
        return remove_disk(daemon, request, err) < 0 ? NULL : strdup("{}");
    }
    if (strcmp(op, "drain") == 0 || strcmp(op, "resume") == 0) {
        return drain(daemon, request, op[0] == 'd' ? DISK_DRAIN : DISK_RESUME,
                     err);
    }
    rdisk_error_set(
        err, -EINVAL,
        "unknown op \"%.40s\": use list, stat, add, remove, drain or resume",
        op);
    return NULL;
}

/* Answers @call, or fills @err. */
static void begin(struct daemon *daemon, struct json_object *request,
                  struct control_call *call, struct rdisk_error *err)
{
    const char *op = text_of(request, "the request", "op", err);
    const char *name;
    char *reply;

    if (!op) {
        return;
    }
    if (strcmp(op, "add") == 0) {
        name = name_to_add(request, err);
        if (name) {
            adding_start(daemon, name, request, call);
        }
        return;
    }
    reply = carry_out(daemon, op, request, err);
    if (!err->code) {
        control_answer(call, reply);
    }
}

void daemon_control(void *opaque, const char *line, struct control_call *call)
{
    struct json_object *request = json_tokener_parse(line);
    struct rdisk_error err = { 0 };

    if (!request || !json_object_is_type(request, json_type_object)) {
        rdisk_error_set(&err, -EINVAL, "the request is not a JSON object");
    } else {
        begin(opaque, request, call, &err);
    }
    json_object_put(request);
    if (err.code) {
        control_answer(call, control_error(&err));
    }
}
