/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/admin/parse.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* An object of plain values: nothing nests deeper. */
#define DEPTH 2

static const struct {
    const char *name;
    bool named, sized;     /* takes a name, and a size, and needs them */
    bool optional;         /* it does not need the name */
    const char *agreement; /* it may take, true or false; or NULL */
    bool targeted;         /* takes a second name, and needs it */
    const char *choice;    /* as agreement */
    bool limited;          /* it may take limits */
    bool moves;            /* it may take a host and a port */
} ops[] = {
    [REQUEST_CREATE] = { .name = "create",
                         .named = true,
                         .sized = true,
                         .agreement = "replace",
                         .choice = "preallocate" },
    [REQUEST_DELETE] = { .name = "delete",
                         .named = true,
                         .agreement = "snapshots" },
    [REQUEST_RESIZE] = { .name = "resize",
                         .named = true,
                         .sized = true,
                         .agreement = "shrink" },
    [REQUEST_FENCE] = { .name = "fence", .named = true },
    [REQUEST_LIST] = { .name = "list" },
    [REQUEST_STAT] = { .name = "stat" },
    [REQUEST_DRAIN] = { .name = "drain",
                        .named = true,
                        .optional = true,
                        .moves = true },
    [REQUEST_RESUME] = { .name = "resume", .named = true, .optional = true },
    [REQUEST_RELOAD] = { .name = "reload" },
    [REQUEST_SNAPSHOT] = { .name = "snapshot",
                           .named = true,
                           .agreement = "copy" },
    [REQUEST_COPYING] = { .name = "copying", .named = true },
    [REQUEST_SNAPSHOTS] = { .name = "snapshots",
                            .named = true,
                            .optional = true },
    [REQUEST_REVERT] = { .name = "revert", .named = true },
    [REQUEST_CLONE] = { .name = "clone",
                        .named = true,
                        .agreement = "copy",
                        .targeted = true },
    [REQUEST_FLATTEN] = { .name = "flatten", .named = true },
    [REQUEST_USAGE] = { .name = "usage", .named = true },
    [REQUEST_THROTTLE] = { .name = "throttle",
                           .named = true,
                           .agreement = "client",
                           .limited = true },
};

#define OPS (sizeof(ops) / sizeof(ops[0]))

static int parse_op(struct json_object *object, struct request *request,
                    struct rdisk_error *err)
{
    struct json_object *value;
    const char *name;

    if (!json_object_object_get_ex(object, "op", &value) ||
        !json_object_is_type(value, json_type_string)) {
        return rdisk_error_set(err, -EINVAL,
                               "the request needs \"op\", a string");
    }
    name = json_object_get_string(value);
    for (size_t i = 0; i < OPS; i++) {
        if (strcmp(ops[i].name, name) == 0) {
            request->op = i;
            return 0;
        }
    }
    return rdisk_error_set(err, -EINVAL,
                           "unknown op \"%.40s\": use create, delete, resize, "
                           "fence, list, stat, drain, resume, reload, "
                           "snapshot, snapshots, revert, clone, copying, "
                           "flatten, usage or throttle",
                           name);
}

/* The name under @key; "" if it is @optional and not there. */
static int parse_name(struct json_object *object, const char *op,
                      const char *key, bool optional,
                      char into[RDISK_VOLUME_NAME_MAX + 1],
                      struct rdisk_error *err)
{
    struct json_object *value = NULL;
    const char *name;
    size_t length;

    if (!json_object_object_get_ex(object, key, &value) && optional) {
        return 0;
    }
    if (!json_object_is_type(value, json_type_string)) {
        return rdisk_error_set(err, -EINVAL, "%s needs \"%s\", a string", op,
                               key);
    }
    name = json_object_get_string(value);
    /* The length is JSON's own: a name may not hide something behind a NUL. */
    length = json_object_get_string_len(value);
    if (rdisk_volume_name_check(name, length, err) < 0) {
        return -EINVAL;
    }
    snprintf(into, RDISK_VOLUME_NAME_MAX + 1, "%s", name);
    return 0;
}

static int parse_names(struct json_object *object, struct request *request,
                       struct rdisk_error *err)
{
    const char *op = ops[request->op].name;
    int result = 0;

    if (ops[request->op].named) {
        result = parse_name(object, op, "name", ops[request->op].optional,
                            request->name, err);
    }
    if (result == 0 && ops[request->op].targeted) {
        result = parse_name(object, op, "target", false, request->target, err);
    }
    return result;
}

static int parse_size(struct json_object *object, struct request *request,
                      struct rdisk_error *err)
{
    struct json_object *value;

    if (!json_object_object_get_ex(object, "size", &value) ||
        !json_object_is_type(value, json_type_int) ||
        json_object_get_int64(value) < 0) {
        return rdisk_error_set(err, -EINVAL,
                               "%s needs \"size\", a whole "
                               "number of bytes",
                               ops[request->op].name);
    }
    request->size = json_object_get_uint64(value);
    return 0;
}

/* Those that throttle_values_parse() takes; "" without the key. */
static int parse_limits(struct json_object *object, struct request *request,
                        struct rdisk_error *err)
{
    struct json_object *value;
    const char *text;

    if (!json_object_object_get_ex(object, "limits", &value)) {
        return 0;
    }
    text = json_object_get_string(value);
    if (!json_object_is_type(value, json_type_string) || !text[0] ||
        strlen(text) >= sizeof(request->limits)) {
        return rdisk_error_set(err, -EINVAL,
                               "%s: \"limits\" must be a string of 1 to %zu "
                               "bytes",
                               ops[request->op].name,
                               sizeof(request->limits) - 1);
    }
    snprintf(request->limits, sizeof(request->limits), "%s", text);
    return 0;
}

/* A client ends the session if it is told one that is not. */
static bool is_host(const char *text, size_t size)
{
    size_t length = strlen(text);

    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)text[i] <= ' ' || text[i] == 0x7f) {
            return false;
        }
    }
    return length && length < size;
}

/* The server to go on at: both, or neither. */
static int parse_place(struct json_object *object, struct request *request,
                       struct rdisk_error *err)
{
    struct json_object *host = NULL, *port = NULL;
    const char *text;
    int64_t number;

    json_object_object_get_ex(object, "host", &host);
    json_object_object_get_ex(object, "port", &port);
    if (!host && !port) {
        return 0;
    }
    text = json_object_is_type(host, json_type_string)
               ? json_object_get_string(host)
               : "";
    number = json_object_is_type(port, json_type_int)
                 ? json_object_get_int64(port)
                 : 0;
    if (!is_host(text, sizeof(request->host)) ||
        strlen(text) != (size_t)json_object_get_string_len(host) ||
        number < 1 || number > UINT16_MAX) {
        return rdisk_error_set(err, -EINVAL,
                               "%s: \"host\" must be a string of 1 to %zu "
                               "bytes without spaces, and \"port\" a number in "
                               "1…65535",
                               ops[request->op].name,
                               sizeof(request->host) - 1);
    }
    snprintf(request->host, sizeof(request->host), "%s", text);
    request->port = (uint16_t)number;
    return 0;
}

/* A key, or NULL, whose value is true or false; without it false. */
static int parse_flag(struct json_object *object, enum request_op op,
                      const char *key, bool *flag, struct rdisk_error *err)
{
    struct json_object *value;

    if (!key || !json_object_object_get_ex(object, key, &value)) {
        return 0;
    }
    if (!json_object_is_type(value, json_type_boolean)) {
        return rdisk_error_set(err, -EINVAL, "%s: \"%s\" must be true or false",
                               ops[op].name, key);
    }
    *flag = json_object_get_boolean(value);
    return 0;
}

static bool takes(enum request_op op, const char *key)
{
    return strcmp(key, "op") == 0 ||
           (ops[op].named && strcmp(key, "name") == 0) ||
           (ops[op].sized && strcmp(key, "size") == 0) ||
           (ops[op].targeted && strcmp(key, "target") == 0) ||
           (ops[op].agreement && strcmp(key, ops[op].agreement) == 0) ||
           (ops[op].choice && strcmp(key, ops[op].choice) == 0) ||
           (ops[op].limited && strcmp(key, "limits") == 0) ||
           (ops[op].moves &&
            (strcmp(key, "host") == 0 || strcmp(key, "port") == 0));
}

static int parse_object(struct json_object *object, struct request *request,
                        struct rdisk_error *err)
{
    int result = parse_op(object, request, err);

    if (result < 0) {
        return result;
    }
    json_object_object_foreach(object, key, value)
    {
        if (!takes(request->op, key)) {
            return rdisk_error_set(err, -EINVAL, "%s does not take \"%.40s\"",
                                   ops[request->op].name, key);
        }
        (void)value;
    }
    result = parse_names(object, request, err);
    if (result == 0 && ops[request->op].sized) {
        result = parse_size(object, request, err);
    }
    if (result == 0 && ops[request->op].limited) {
        result = parse_limits(object, request, err);
    }
    if (result == 0 && ops[request->op].moves) {
        result = parse_place(object, request, err);
    }
    if (result == 0) {
        result = parse_flag(object, request->op, ops[request->op].agreement,
                            &request->agreed, err);
    }
    return result < 0 ? result
                      : parse_flag(object, request->op, ops[request->op].choice,
                                   &request->chosen, err);
}

int request_parse(const char *line, struct request *request,
                  struct rdisk_error *err)
{
    struct json_tokener *tokener = json_tokener_new_ex(DEPTH);
    struct json_object *object;
    int result;

    if (!tokener) {
        return rdisk_error_set(err, -ENOMEM, "no memory for a request");
    }
    memset(request, 0, sizeof(*request));
    json_tokener_set_flags(tokener,
                           JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    /* With its NUL, so that a number at the very end is complete. */
    object = json_tokener_parse_ex(tokener, line, strlen(line) + 1);
    if (json_tokener_get_error(tokener) != json_tokener_success) {
        result = rdisk_error_set(err, -EINVAL,
                                 "the request is not a JSON "
                                 "object: %s at byte %zu",
                                 json_tokener_error_desc(
                                     json_tokener_get_error(tokener)),
                                 json_tokener_get_parse_end(tokener));
    } else if (!json_object_is_type(object, json_type_object)) {
        result = rdisk_error_set(err, -EINVAL,
                                 "the request is JSON, but not an object");
    } else {
        result = parse_object(object, request, err);
    }
    json_object_put(object);
    json_tokener_free(tokener);
    return result;
}
