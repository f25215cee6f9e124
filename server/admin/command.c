/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/admin/command.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/container_of.h"
#include "common/control_server.h"
#include "common/log.h"
#include "common/snapshot_name.h"
#include "common/thread.h"
#include "server/admin/listing.h"
#include "server/admin/parse.h"
#include "server/reload.h"
#include "server/server.h"
#include "server/session/copy.h"
#include "server/session/fence.h"
#include "server/session/flatten.h"
#include "server/session/resize.h"
#include "server/session/session.h"
#include "server/session/snapshot.h"
#include "server/session/throttled.h"
#include "server/session/usage.h"
#include "server/volume/pool_change.h"

/*
 * A command. One on a volume is an operation on its name: it takes its turn,
 * and uses storage in jobs. It is answered within storage-timeout; one that has
 * begun by then continues.
 */
struct command {
    struct server *server;
    struct request request;
    struct control_call *call; /* NULL: it has been answered */
    union {
        struct operation operation; /* the first of each */
        struct pool_change change;
        struct resize resize;
        struct fence fence;
        struct volume_operation lookup;
        struct snapshot snapshot;
        struct usage usage;
    };
};

static void reply(struct control_call *call, struct json_object *object)
{
    char *text = strdup(
        json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN));

    json_object_put(object);
    control_answer(call, text);
}

/* ---- Its end ----------------------------------------------------------- */

/* Its operation has ended. @object is NULL if it has failed with @result. */
static void finish(struct command *command, int result,
                   const struct rdisk_error *why, struct json_object *object)
{
    if (command->call && result < 0) {
        control_answer(command->call, control_error(why));
    } else if (command->call) {
        reply(command->call, object);
    } else if (result < 0) {
        log_warning("%s", why->text); /* its answer was sent before */
    } else {
        json_object_put(object);
    }
    free(command);
}

/* Its volume has been changed: worth a line in the log. */
static struct json_object *changed(int result, const char *format,
                                   const struct request *request)
{
    if (result < 0) {
        return NULL;
    }
    log_info(format, request->name, request->size);
    return json_object_new_object();
}

static void pool_changed(struct pool_change *change)
{
    struct command *command = container_of(change, struct command, change);
    const char *format = change->kind == POOL_DELETE ? "volume '%s' deleted"
                         : change->kind == POOL_REVERT
                             ? "volume reverted to snapshot '%s'"
                             : "volume '%s' created, %" PRIu64 " bytes";

    finish(command, change->result, &change->why,
           changed(change->result, format, &command->request));
}

static void resized(struct resize *resize)
{
    struct command *command = container_of(resize, struct command, resize);

    finish(command, resize->work.result, &resize->work.why,
           changed(resize->work.result,
                   "volume '%s' resized to %" PRIu64 " bytes",
                   &command->request));
}

/* What has been done so far of something that takes long. */
static struct json_object *progress(const char *name, uint64_t size,
                                    uint64_t done, bool ended)
{
    struct json_object *object = json_object_new_object();

    json_object_object_add(object, "name", json_object_new_string(name));
    json_object_object_add(object, "size", json_object_new_int64(size));
    json_object_object_add(object, "done", json_object_new_int64(done));
    json_object_object_add(object, "ended", json_object_new_boolean(ended));
    return object;
}

static struct json_object *copy_progress(const struct copy *copy)
{
    return progress(copy->target, copy->size, copy->done, copy->ended);
}

static void copy_begun(struct copy *copy)
{
    struct command *command = copy->opaque;
    int result = copy->ended ? copy->work.result : 0;

    finish(command, result, &copy->work.why,
           result < 0 ? NULL : copy_progress(copy));
}

/* Its storage cannot share blocks, and the request allows a copy. */
static void copy_instead(struct command *command)
{
    struct copy *copy = calloc(1, sizeof(*copy));
    struct rdisk_error err;

    if (!copy) {
        rdisk_error_set(&err, -ENOMEM, "no memory for a copy");
        finish(command, -ENOMEM, &err, NULL);
        return;
    }
    copy->server = command->server;
    copy->begun = copy_begun;
    copy->opaque = command;
    memcpy(copy->target, command->snapshot.target, sizeof(copy->target));
    memcpy(copy->work.operation.volume, command->operation.volume,
           sizeof(copy->work.operation.volume));
    copy_start(copy);
}

static void snapshot_made(struct snapshot *snapshot)
{
    struct command *command = container_of(snapshot, struct command, snapshot);
    struct json_object *object = NULL;

    if (snapshot->work.result == -ENOTSUP && command->request.agreed) {
        copy_instead(command);
        return;
    }

    if (snapshot->work.result == 0) {
        log_info("'%s' made of volume '%s', whose requests were held for %g ms",
                 snapshot->target, snapshot->work.operation.volume,
                 snapshot->pause / 1000 / 1000.0);
        object = json_object_new_object();
        json_object_object_add(object, "name",
                               json_object_new_string(snapshot->target));
        json_object_object_add(object, "pause",
                               json_object_new_int64(snapshot->pause / 1000));
    }
    finish(command, snapshot->work.result, &snapshot->work.why, object);
}

static void fenced(struct fence *fence)
{
    struct command *command = container_of(fence, struct command, fence);
    struct json_object *object = NULL;

    if (fence->work.result == 0) {
        log_info("volume '%s' fenced: generation %" PRIu64
                 ", %u sessions ended",
                 command->request.name, fence->generation, fence->sessions);
        object = json_object_new_object();
        json_object_object_add(object, "generation",
                               json_object_new_int64(fence->generation));
        json_object_object_add(object, "sessions",
                               json_object_new_int64(fence->sessions));
    }
    finish(command, fence->work.result, &fence->work.why, object);
}

static void measured(struct usage *usage)
{
    struct command *command = container_of(usage, struct command, usage);
    struct json_object *object = NULL;

    if (usage->work.result == 0) {
        object = json_object_new_object();
        json_object_object_add(object, "name",
                               json_object_new_string(command->request.name));
        json_object_object_add(object, "allocated",
                               json_object_new_int64(usage->allocated));
        if (usage->parent[0]) {
            json_object_object_add(object, "parent",
                                   json_object_new_string(usage->parent));
        }
        json_object_object_add(object, "snapshots",
                               json_object_new_int64(usage->snapshots));
        json_object_object_add(object, "snapshots_allocated",
                               json_object_new_int64(usage->held));
        json_object_object_add(object, "snapshots_overlap",
                               json_object_new_boolean(usage->overlaps));
    }
    finish(command, usage->work.result, &usage->work.why, object);
}

/* ---- Drain and resume --------------------------------------------------- */

/* The sessions that are left on a drained volume, or on all, and what they wait
 * for. */
static struct json_object *left(struct server *server, const char *volume)
{
    struct json_object *reply = json_object_new_object();
    struct json_object *peers = json_object_new_array();
    struct rdisk_target_counters counters = { 0 };

    for (const struct session *session = server->sessions; session;
         session = session->next) {
        if (!volume[0] || strcmp(session->holder.volume->name, volume) == 0) {
            json_object_array_add(peers,
                                  json_object_new_string(session->holder.peer));
            session_counters(session, &counters);
        }
    }
    json_object_object_add(reply, "sessions",
                           json_object_new_int64(
                               json_object_array_length(peers)));
    json_object_object_add(reply, "peers", peers);
    json_object_object_add(reply, "in_flight",
                           json_object_new_int64((int64_t)counters.in_flight));
    return reply;
}

/* Only with storage that others have can a client go on there. */
static int check_moves(const struct server *server,
                       const struct request *request, struct rdisk_error *err)
{
    const struct volume *volume = pool_find(&server->pool, request->name);

    if (request->host[0] &&
        (!server->pool.images || (volume && volume->configured))) {
        return rdisk_error_set(err, -ENOTSUP,
                               "no other server has %s%s%s: only volumes of a "
                               "Ceph pool can be handed over",
                               request->name[0] ? "volume '" : "these volumes",
                               request->name, request->name[0] ? "'" : "");
    }
    return 0;
}

static struct json_object *drain(struct server *server,
                                 const struct request *request,
                                 struct rdisk_error *err)
{
    const char *name = request->name;
    struct json_object *object;
    unsigned int moved;

    if (check_moves(server, request, err) < 0) {
        return NULL;
    }
    if (!drain_covers(&server->drain, name)) {
        log_info("draining %s%s%s%s%s", name[0] ? "volume '" : "all volumes",
                 name, name[0] ? "'" : "", request->host[0] ? " to " : "",
                 request->host);
    }
    if (drain_begin(&server->drain, name, err) < 0) {
        return NULL;
    }
    moved = session_drain(server, request->host, request->port);
    object = left(server, name);
    if (request->host[0]) {
        json_object_object_add(object, "moved", json_object_new_int64(moved));
    }
    return object;
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

/* The volume exists, or work->result is why that is not known. */
static void looked_up(struct volume_operation *work)
{
    struct command *command = container_of(work, struct command, lookup);
    struct json_object *object = NULL;
    struct rdisk_error why = work->why;
    int result = work->result;

    operation_end(&work->operation);
    if (result == 0) {
        object = drain(command->server, &command->request, &why);
        result = object ? 0 : why.code;
    }
    finish(command, result, &why, object);
}

static void look_up(struct volume_operation *work)
{
    work->result = work->volume ? 0 : work->why.code;
    volume_operation_put(work, looked_up);
}

static void look_up_begin(struct operation *operation)
{
    volume_operation_open(volume_operation_of(operation), look_up);
}

/* ---- Its start ---------------------------------------------------------- */

static void change(struct command *command, enum pool_change_kind kind)
{
    command->change.pool = &command->server->pool;
    command->change.kind = kind;
    command->change.size = command->request.size;
    command->change.snapshots = command->request.agreed;
    command->change.preallocate = command->request.chosen;
    command->change.done = pool_changed;
    pool_change_start(&command->server->operations, &command->change);
}

/* Both are operations on the volume whose snapshot the request names. */
static void revert(struct command *command)
{
    const char *name = command->request.name;

    snprintf(command->change.snapshot, sizeof(command->change.snapshot), "%s",
             name);
    snapshot_volume(name, command->operation.volume);
    change(command, POOL_REVERT);
}

static void make_snapshot(struct command *command)
{
    const struct request *request = &command->request;
    const char *target = request->op == REQUEST_CLONE ? request->target
                                                      : request->name;

    snprintf(command->snapshot.target, sizeof(command->snapshot.target), "%s",
             target);
    if (request->op == REQUEST_SNAPSHOT) {
        snapshot_volume(target, command->operation.volume);
    }
    command->snapshot.server = command->server;
    command->snapshot.done = snapshot_made;
    snapshot_start(&command->snapshot);
}

static void run(struct command *command)
{
    struct server *server = command->server;
    const struct request *request = &command->request;

    switch (request->op) {
    case REQUEST_CREATE:
        change(command, request->agreed ? POOL_REPLACE : POOL_CREATE);
        break;
    case REQUEST_DELETE:
        change(command, POOL_DELETE);
        break;
    case REQUEST_REVERT:
        revert(command);
        break;
    case REQUEST_SNAPSHOT:
    case REQUEST_CLONE:
        make_snapshot(command);
        break;
    case REQUEST_RESIZE:
        command->resize.work.pool = &server->pool;
        command->resize.server = server;
        command->resize.size = request->size;
        command->resize.shrink = request->agreed;
        command->resize.done = resized;
        resize_start(&command->resize);
        break;
    case REQUEST_FENCE:
        command->fence.work.pool = &server->pool;
        command->fence.server = server;
        command->fence.done = fenced;
        fence_start(&command->fence);
        break;
    case REQUEST_USAGE:
        command->usage.work.pool = &server->pool;
        command->usage.done = measured;
        usage_start(&server->operations, &command->usage);
        break;
    default: /* REQUEST_DRAIN: of a volume that exists */
        command->lookup.pool = &server->pool;
        command->lookup.looks = true;
        command->operation.what = "draining volume";
        command->operation.begin = look_up_begin;
        operation_start(&server->operations, &command->operation);
        break;
    }
}

/* One that has not had its turn is not carried out. */
static void late(struct operation *operation)
{
    struct command *command = container_of(operation, struct command,
                                           operation);
    struct rdisk_error err;

    if (operation->begun) {
        rdisk_error_set(&err, -ETIMEDOUT,
                        "%s '%s' has not ended within storage-timeout, %g "
                        "seconds: its storage does not answer; it goes on, and "
                        "may still succeed",
                        operation->what, operation->volume,
                        command->server->config->storage_timeout / 1000.0);
    } else {
        rdisk_error_set(&err, -ETIMEDOUT,
                        "volume '%s' is busy: an operation on it waits for its "
                        "storage",
                        operation->volume);
    }
    control_answer(command->call, control_error(&err));
    command->call = NULL;
    if (!operation->begun) {
        operation_end(operation);
        free(command);
    }
}

static void run_in_turn(struct server *server, const struct request *request,
                        struct control_call *call)
{
    struct command *command = calloc(1, sizeof(*command));
    struct operation *operation;

    if (!command) {
        control_answer(call, NULL);
        return;
    }
    command->server = server;
    command->request = *request;
    command->call = call;
    operation = &command->operation;
    operation->late = late;
    operation->deadline = rdisk_now(server->env) +
                          server->config->storage_timeout * RDISK_MSEC;
    snprintf(operation->volume, sizeof(operation->volume), "%s", request->name);
    run(command);
}

/* Commands that use no storage. */
static void run_at_once(struct server *server, const struct request *request,
                        struct control_call *call)
{
    struct rdisk_error err = { 0 };
    struct json_object *object = request->op == REQUEST_DRAIN
                                     ? drain(server, request, &err)
                                     : resume(server, request->name, &err);

    if (object) {
        reply(call, object);
    } else {
        control_answer(call, control_error(&err));
    }
}

static void answer_throttle(struct server *server,
                            const struct request *request,
                            struct control_call *call)
{
    struct rdisk_error err;

    if (request->limits[0] &&
        throttled_command(server, request->agreed, request->name,
                          request->limits, &err) < 0) {
        control_answer(call, control_error(&err));
        return;
    }
    reply(call, stat_throttle(server, request->agreed, request->name));
}

static void answer_progress(struct server *server,
                            const struct request *request,
                            struct control_call *call)
{
    struct copy *copy = copy_find(server, request->name);
    struct rdisk_error err;

    if (!copy) {
        rdisk_error_set(&err, -ENOENT, "no copy is being made as '%s'",
                        request->name);
        control_answer(call, control_error(&err));
    } else if (copy->ended && copy->work.result < 0) {
        control_answer(call, control_error(&copy->work.why));
    } else {
        reply(call, copy_progress(copy));
    }
}

/* ---- Flatten ------------------------------------------------------------ */

struct flatten_command {
    struct flatten_wait wait;
    struct control_call *call;
};

static void flatten_answered(struct flatten_wait *wait,
                             const struct flatten *flatten,
                             const struct rdisk_error *err)
{
    struct flatten_command *command = container_of(wait, struct flatten_command,
                                                   wait);

    if (err) {
        control_answer(command->call, control_error(err));
    } else {
        reply(command->call,
              progress(flatten->work.operation.volume, flatten->size,
                       atomic_load(&flatten->done), flatten->ended));
    }
    free(command);
}

static void run_flatten(struct server *server, const struct request *request,
                        struct control_call *call)
{
    struct flatten_command *command = calloc(1, sizeof(*command));

    if (!command) {
        control_answer(call, NULL);
        return;
    }
    command->wait.answer = flatten_answered;
    command->call = call;
    flatten_ask(server, request->name, &command->wait);
}

void command_run(void *opaque, const char *line, struct control_call *call)
{
    struct rdisk_error err = { 0 };
    struct request request;

    assert_control_thread();
    if (request_parse(line, &request, &err) < 0) {
        control_answer(call, control_error(&err));
    } else if (request.op == REQUEST_LIST || request.op == REQUEST_STAT ||
               request.op == REQUEST_SNAPSHOTS) {
        listing_ask(opaque, &request, call);
    } else if (request.op == REQUEST_COPYING) {
        answer_progress(opaque, &request, call);
    } else if (request.op == REQUEST_FLATTEN) {
        run_flatten(opaque, &request, call);
    } else if (request.op == REQUEST_THROTTLE) {
        answer_throttle(opaque, &request, call);
    } else if (request.op == REQUEST_RELOAD) {
        reload_ask(opaque, call);
    } else if (request.op == REQUEST_RESUME || !request.name[0]) {
        run_at_once(opaque, &request, call);
    } else {
        run_in_turn(opaque, &request, call);
    }
}
