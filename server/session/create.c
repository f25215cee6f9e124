/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/session/create.h"

#include <errno.h>
#include <stdlib.h>
#include <stdio.h>

#include "common/container_of.h"
#include "common/log.h"
#include "common/snapshot_name.h"
#include "common/thread.h"
#include "server/server.h"
#include "server/session/flatten.h"
#include "server/session/session.h"
#include "server/session/snapshot.h"
#include "server/volume/pool_change.h"

/* What a session does that opens no volume. */
struct creation {
    union {
        struct operation operation; /* the first of each */
        struct pool_change change;
        struct snapshot snapshot;
    };
    struct flatten_wait wait; /* of one that flattens, which needs none of
                                 these */
    struct session *session;
    bool answered; /* of one that flattens */
    int result;    /* of its end */
    struct rdisk_error why;
};

static bool is_running(const struct creation *creation)
{
    return creation->wait.answer ? !creation->answered
                                 : creation->operation.operations != NULL;
}

/* ---- Permission --------------------------------------------------------- */

static bool may_write(const struct access_client *client, const char *name)
{
    char volume[RDISK_VOLUME_NAME_MAX + 1];

    return access_to(client, snapshot_volume(name, volume)) == ACCESS_WRITE;
}

/*
 * Check whether this client may create or delete such a volume, or what it asks
 * for of a snapshot. The answer does not depend on whether there is one of that
 * name.
 */
static bool allowed(const struct server *server,
                    const struct rdisk_create_request *request)
{
    const struct config *config = server->config;
    const struct access_client *client;

    if (config->authentication == ACCESS_METHOD_OPEN) {
        return config->create;
    }
    client = access_find(config->clients, request->user);
    if (!client) {
        return false;
    }
    if (request->action == RDISK_SNAPSHOT_CLONE) {
        return access_to_create(client, request->target) &&
               access_to(client, request->volume) != ACCESS_NONE;
    }
    /* To replace or delete one is to write to it, and so is what is done to a
     * snapshot to its volume. */
    return access_to_create(client, request->volume) &&
           (request->exclusive || may_write(client, request->volume));
}

/* What it is that the client may not. */
static const char *verb(const struct rdisk_create_request *request)
{
    switch (request->action) {
    case RDISK_SNAPSHOT_TAKE:
        return "take snapshot";
    case RDISK_SNAPSHOT_REVERT:
        return "revert to";
    case RDISK_SNAPSHOT_CLONE:
        return "clone";
    case RDISK_SNAPSHOT_FLATTEN:
        return "flatten";
    default:
        return request->deletes ? "delete a volume" : "create a volume";
    }
}

static void refuse(const struct rdisk_create_request *request,
                   struct rdisk_error *err)
{
    bool replaces = !request->exclusive && !request->deletes &&
                    !request->action;

    if (request->user[0]) {
        log_warning("client '%s' at %s may not %s '%s'%s: no list of "
                    "its section has it",
                    request->user, request->peer, verb(request),
                    request->volume, replaces ? " again" : "");
    }
    rdisk_error_set(err, -EPERM, "this client may not %s '%s'%s", verb(request),
                    request->volume, replaces ? " or replace one" : "");
}

/* ---- Its end ------------------------------------------------------------ */

/* What its answer says besides that it is done. */
static void report(const struct session *session)
{
    if (session->flattens) {
        rdisk_target_session_flattens(session->target, session->pause,
                                      session->flattens);
    } else if (session->pause) {
        rdisk_target_session_paused(session->target, session->pause);
    }
}

static void end(struct creation *creation, int result,
                const struct rdisk_error *why)
{
    struct session *session = creation->session;

    creation->result = result;
    creation->why = *why;
    if (session->asking) {
        return; /* create_event() answers */
    }
    if (!session->abandoned) {
        report(session);
        rdisk_target_session_created(session->target,
                                     rdisk_status_from_errno(result),
                                     &creation->why);
    }
    free(session);
    free(creation);
}

static void changed(struct pool_change *change)
{
    end(container_of(change, struct creation, change), change->result,
        &change->why);
}

static void made(struct snapshot *snapshot)
{
    struct creation *creation = container_of(snapshot, struct creation,
                                             snapshot);

    creation->session->pause = snapshot->pause / 1000;
    end(creation, snapshot->work.result, &snapshot->work.why);
}

static void flattening(struct flatten_wait *wait, const struct flatten *flatten,
                       const struct rdisk_error *err)
{
    static const struct rdisk_error none;
    struct creation *creation = container_of(wait, struct creation, wait);

    if (!err) {
        creation->session->pause = atomic_load(&flatten->done);
        creation->session->flattens = flatten->size;
    }
    creation->answered = true;
    end(creation, err ? err->code : 0, err ? err : &none);
}

void create_leave(struct session *session)
{
    struct creation *creation = session->creation;

    if (creation->wait.answer) {
        flatten_forget(session->server, &creation->wait);
        free(session);
        free(creation);
        return;
    }
    session->abandoned = true;
    if (!creation->operation.begun) {
        operation_end(&creation->operation);
        free(session);
        free(creation);
    }
}

/* ---- Its start ---------------------------------------------------------- */

static void start_change(struct server *server, struct creation *creation,
                         const struct rdisk_create_request *request)
{
    struct pool_change *change = &creation->change;

    change->pool = &server->pool;
    change->kind = request->deletes     ? POOL_DELETE
                   : request->action    ? POOL_REVERT
                   : request->exclusive ? POOL_CREATE
                                        : POOL_REPLACE;
    change->size = request->size;
    change->done = changed;
    if (request->action) {
        snprintf(change->snapshot, sizeof(change->snapshot), "%s",
                 request->volume);
        snapshot_volume(request->volume, creation->operation.volume);
    }
    pool_change_start(&server->operations, change);
}

static void start_snapshot(struct server *server, struct creation *creation,
                           const struct rdisk_create_request *request)
{
    bool clone = request->action == RDISK_SNAPSHOT_CLONE;
    struct snapshot *snapshot = &creation->snapshot;

    snapshot->server = server;
    snapshot->done = made;
    snprintf(snapshot->target, sizeof(snapshot->target), "%s",
             clone ? request->target : request->volume);
    if (!clone) {
        snapshot_volume(request->volume, creation->operation.volume);
    }
    snapshot_start(snapshot);
}

static void start(struct server *server, struct creation *creation,
                  const struct rdisk_create_request *request)
{
    struct session *session = creation->session;

    snprintf(creation->operation.volume, sizeof(creation->operation.volume),
             "%s", request->volume);
    session->asking = true;
    if (request->action == RDISK_SNAPSHOT_FLATTEN) {
        creation->wait.answer = flattening;
        flatten_ask(server, request->volume, &creation->wait);
    } else if (request->action == RDISK_SNAPSHOT_TAKE ||
               request->action == RDISK_SNAPSHOT_CLONE) {
        start_snapshot(server, creation, request);
    } else {
        start_change(server, creation, request);
    }
    session->asking = false;
}

static enum rdisk_status create(struct server *server,
                                struct rdisk_target_session *target,
                                const struct rdisk_create_request *request,
                                void **user, struct rdisk_error *err)
{
    struct session *session = calloc(1, sizeof(*session));
    struct creation *creation = calloc(1, sizeof(*creation));
    enum rdisk_status status;

    if (!session || !creation) {
        free(session);
        free(creation);
        rdisk_error_set(err, -ENOMEM, "the server has no memory for a session");
        return RDISK_STATUS_NO_RESOURCES;
    }
    session->server = server;
    session->target = target;
    session->creation = creation;
    creation->session = session;
    start(server, creation, request);
    if (is_running(creation)) {
        *user = session;
        rdisk_error_set(err, -EBUSY,
                        "volume '%s' is busy: an operation on it waits for its "
                        "storage",
                        request->volume);
        return RDISK_LATER;
    }
    report(session);
    status = rdisk_status_from_errno(creation->result);
    if (status != RDISK_STATUS_OK && err) {
        *err = creation->why;
    }
    free(session);
    free(creation);
    return status;
}

enum rdisk_status create_event(void *opaque,
                               struct rdisk_target_session *target,
                               const struct rdisk_create_request *request,
                               void **user, struct rdisk_error *err)
{
    struct server *server = opaque;
    char volume[RDISK_VOLUME_NAME_MAX + 1];

    assert_control_thread();
    if (!allowed(server, request)) {
        refuse(request, err);
        return RDISK_STATUS_DENIED;
    }
    /* With a snapshot's name it would take one, for which no right to create
     * suffices. */
    if (request->action == RDISK_SNAPSHOT_CLONE &&
        pool_check_new_name(request->target, err) < 0) {
        return rdisk_status_from_errno(-EINVAL);
    }
    if (drain_covers(&server->drain,
                     snapshot_volume(request->volume, volume))) {
        rdisk_error_set(err, -ESHUTDOWN,
                        "volume '%s' is drained until the "
                        "server resumes it",
                        volume);
        return RDISK_STATUS_SHUTTING_DOWN;
    }
    return create(server, target, request, user, err);
}
