/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/admin/command.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/listing.h"
#include "server/admin/socket.h"
#include "server/log.h"
#include "server/admin/parse.h"
#include "server/reload.h"
#include "server/session/resize.h"
#include "server/server.h"
#include "server/session/session.h"

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

/* What is left of a drained volume, or of all: who it is waited for. */
static struct json_object *left(struct server *server, const char *volume)
{
    struct json_object *reply = json_object_new_object();
    struct json_object *peers = json_object_new_array();

    for (const struct session *session = server->sessions; session;
         session = session->next) {
        if (!volume[0] || strcmp(session->holder.volume->name, volume) == 0) {
            json_object_array_add(peers,
                                  json_object_new_string(session->holder.peer));
        }
    }
    json_object_object_add(reply, "sessions",
                           json_object_new_int64(
                               json_object_array_length(peers)));
    json_object_object_add(reply, "peers", peers);
    return reply;
}

static struct json_object *drain(struct server *server, const char *name,
                                 struct rdisk_error *err)
{
    struct volume *volume = NULL;

    if (name[0]) {
        /* Does it exist? */
        volume = pool_get(&server->pool, name, err);
        if (!volume) {
            return NULL;
        }
        pool_put(&server->pool, volume);
    }
    if (!drain_covers(&server->drain, name)) {
        log_info("draining %s%s%s", name[0] ? "volume '" : "all volumes", name,
                 name[0] ? "'" : "");
    }
    if (drain_begin(&server->drain, name, err) < 0) {
        return NULL;
    }
    session_drain(server);
    return left(server, name);
}

static struct json_object *resume(struct server *server, const char *name,
                                  struct rdisk_error *err)
{
    if (drain_end(&server->drain, name, err) < 0) {
        return NULL;
    }
    log_info("resuming %s%s%s", name[0] ? "volume '" : "all volumes", name,
             name[0] ? "'" : "");
    return json_object_new_object();
}

static struct json_object *resized(struct server *server,
                                   const struct request *request,
                                   struct rdisk_error *err)
{
    int result = pool_resize(&server->pool, request->name, request->size,
                             request->agreed, err);

    if (result == 0) {
        resize_tell(server, request->name);
    }
    return changed(result, "volume '%s' resized to %" PRIu64 " bytes", request);
}

static struct json_object *created(struct server *server,
                                   const struct request *request,
                                   struct rdisk_error *err)
{
    struct pool *pool = &server->pool;
    int result = request->agreed
                     ? pool_replace(pool, request->name, request->size, err)
                     : pool_create(pool, request->name, request->size, err);

    return changed(result, "volume '%s' created, %" PRIu64 " bytes", request);
}

static struct json_object *fence(struct server *server,
                                 const struct request *request,
                                 struct rdisk_error *err)
{
    struct json_object *reply;
    unsigned int sessions;
    uint64_t generation;

    if (session_fence(server, request->name, &generation, &sessions, err) < 0) {
        return NULL;
    }
    log_info("volume '%s' fenced: generation %" PRIu64 ", %u sessions ended",
             request->name, generation, sessions);
    reply = json_object_new_object();
    json_object_object_add(reply, "generation",
                           json_object_new_int64(generation));
    json_object_object_add(reply, "sessions", json_object_new_int64(sessions));
    return reply;
}

static struct json_object *run(struct server *server,
                               const struct request *request,
                               struct rdisk_error *err)
{
    struct pool *pool = &server->pool;

    switch (request->op) {
    case REQUEST_CREATE:
        return created(server, request, err);
    case REQUEST_DELETE:
        return changed(pool_delete(pool, request->name, err),
                       "volume '%s' deleted", request);
    case REQUEST_RESIZE:
        return resized(server, request, err);
    case REQUEST_FENCE:
        return fence(server, request, err);
    case REQUEST_LIST:
    case REQUEST_STAT:
        break; /* listing.c answers them */
    case REQUEST_RELOAD:
        break; /* reload.c answers it */
    case REQUEST_DRAIN:
        return drain(server, request->name, err);
    case REQUEST_RESUME:
        return resume(server, request->name, err);
    }
    rdisk_error_set(err, -EINVAL, "unknown request");
    return NULL;
}

static void answer(struct server *server, const struct request *request,
                   struct control_call *call)
{
    struct rdisk_error err = { 0 };
    struct json_object *reply = run(server, request, &err);
    char *text;

    if (!reply) {
        control_answer(call, control_error(&err));
        return;
    }
    text = strdup(
        json_object_to_json_string_ext(reply, JSON_C_TO_STRING_PLAIN));
    json_object_put(reply);
    control_answer(call, text);
}

/* A command on a volume takes its turn: the volume may just be closing. */
struct command {
    struct operation operation; /* first */
    struct server *server;
    struct request request;
    struct control_call *call; /* NULL: it has been answered */
};

static void command_begin(struct operation *operation)
{
    struct command *command = (struct command *)operation;

    if (command->call) {
        answer(command->server, &command->request, command->call);
    }
    operation_end(operation);
    free(command);
}

/* It has not had its turn, and is not carried out. */
static void command_late(struct operation *operation)
{
    struct command *command = (struct command *)operation;
    struct rdisk_error err;

    rdisk_error_set(&err, -ETIMEDOUT,
                    "volume '%s' is busy: an operation on it waits for its "
                    "storage",
                    operation->volume);
    control_answer(command->call, control_error(&err));
    command->call = NULL;
}

static void run_in_turn(struct server *server, const struct request *request,
                        struct control_call *call)
{
    struct command *command = calloc(1, sizeof(*command));

    if (!command) {
        control_answer(call, NULL);
        return;
    }
    command->server = server;
    command->request = *request;
    command->call = call;
    command->operation.what = "a command on volume";
    command->operation.begin = command_begin;
    command->operation.late = command_late;
    command->operation.deadline = rdisk_now(server->env) +
                                  server->config->storage_timeout * RDISK_MSEC;
    snprintf(command->operation.volume, sizeof(command->operation.volume), "%s",
             request->name);
    operation_start(&server->operations, &command->operation);
}

void command_run(void *opaque, const char *line, struct control_call *call)
{
    struct rdisk_error err = { 0 };
    struct request request;

    if (request_parse(line, &request, &err) < 0) {
        control_answer(call, control_error(&err));
    } else if (request.op == REQUEST_LIST || request.op == REQUEST_STAT) {
        listing_ask(opaque, request.op, call);
    } else if (request.op == REQUEST_RELOAD) {
        reload_ask(opaque, call);
    } else if (request.name[0]) {
        run_in_turn(opaque, &request, call);
    } else {
        answer(opaque, &request, call);
    }
}
