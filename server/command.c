/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/command.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <string.h>

#include "server/control.h"
#include "server/log.h"
#include "server/request.h"
#include "server/server.h"

static struct json_object *list(struct pool *pool, struct rdisk_error *err)
{
    struct json_object *volumes = stat_volumes(pool, err);
    struct json_object *reply;

    if (!volumes) {
        return NULL;
    }
    reply = json_object_new_object();
    json_object_object_add(reply, "volumes", volumes);
    return reply;
}

/* A change of the pool is worth a line in the log. */
static struct json_object *changed(int result, const char *format,
                                   const struct request *request)
{
    if (result < 0) {
        return NULL;
    }
    log_info(format, request->name, request->size);
    return json_object_new_object();
}

static struct json_object *run(struct server *server,
                               const struct request *request,
                               struct rdisk_error *err)
{
    struct pool *pool = &server->pool;

    switch (request->op) {
    case REQUEST_CREATE:
        return changed(pool_create(pool, request->name, request->size, err),
                       "volume '%s' created, %" PRIu64 " bytes", request);
    case REQUEST_DELETE:
        return changed(pool_delete(pool, request->name, err),
                       "volume '%s' deleted", request);
    case REQUEST_RESIZE:
        return changed(pool_resize(pool, request->name, request->size, err),
                       "volume '%s' resized to %" PRIu64 " bytes", request);
    case REQUEST_LIST:
        return list(pool, err);
    case REQUEST_STAT:
        return stat_server(server, err);
    }
    rdisk_error_set(err, -EINVAL, "there is no such request");
    return NULL;
}

char *command_run(void *opaque, const char *line)
{
    struct json_object *reply = NULL;
    struct rdisk_error err = { 0 };
    struct request request;
    char *text;

    if (request_parse(line, &request, &err) == 0) {
        reply = run(opaque, &request, &err);
    }
    if (!reply) {
        return control_error(&err);
    }
    text = strdup(json_object_to_json_string_ext(reply,
                                                 JSON_C_TO_STRING_PLAIN));
    json_object_put(reply);
    return text;
}
