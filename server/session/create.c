/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/session/create.h"

#include <errno.h>
#include <stdlib.h>
#include <stdio.h>

#include "common/log.h"
#include "common/snapshot_name.h"
#include "common/thread.h"
#include "server/server.h"
#include "server/session/session.h"
#include "server/volume/pool_change.h"

/*
 * Check whether this client may create or delete such a volume. The answer does
 * not depend on whether there is one of that name.
 */
static bool allowed(const struct server *server,
                    const struct rdisk_create_request *request)
{
    const struct config *config = server->config;
    char volume[RDISK_VOLUME_NAME_MAX + 1];
    const struct access_client *client;

    if (config->authentication == ACCESS_METHOD_OPEN) {
        return config->create;
    }
    client = access_find(config->clients, request->user);
    /* To replace or delete one is to write to it; to delete a snapshot, to
     * its volume. */
    return client && access_to_create(client, request->volume) &&
           (request->exclusive ||
            access_to(client, snapshot_volume(request->volume, volume)) ==
                ACCESS_WRITE);
}

static void created(struct pool_change *change)
{
    struct session *session = change->opaque;

    if (session->asking) {
        return; /* create_event() answers */
    }
    if (!session->dead) {
        rdisk_target_session_created(session->target,
                                     rdisk_status_from_errno(change->result),
                                     &change->why);
    }
    free(session);
    free(change);
}

void create_leave(struct session *session)
{
    struct pool_change *change = session->creation;

    session->dead = true;
    if (!change->operation.begun) {
        operation_end(&change->operation);
        free(session);
        free(change);
    }
}

static enum rdisk_status create(struct server *server,
                                struct rdisk_target_session *target,
                                const struct rdisk_create_request *request,
                                void **user, struct rdisk_error *err)
{
    struct session *session = calloc(1, sizeof(*session));
    struct pool_change *change = calloc(1, sizeof(*change));
    enum rdisk_status status;

    if (!session || !change) {
        free(session);
        free(change);
        rdisk_error_set(err, -ENOMEM, "the server has no memory for a session");
        return RDISK_STATUS_NO_RESOURCES;
    }
    session->server = server;
    session->target = target;
    session->creation = change;
    change->pool = &server->pool;
    change->kind = request->deletes     ? POOL_DELETE
                   : request->exclusive ? POOL_CREATE
                                        : POOL_REPLACE;
    change->size = request->size;
    change->done = created;
    change->opaque = session;
    snprintf(change->operation.volume, sizeof(change->operation.volume), "%s",
             request->volume);
    session->asking = true;
    pool_change_start(&server->operations, change);
    session->asking = false;
    if (change->operation.operations) {
        *user = session;
        rdisk_error_set(err, -EBUSY,
                        "volume '%s' is busy: an operation on it waits for its "
                        "storage",
                        request->volume);
        return RDISK_LATER;
    }
    status = rdisk_status_from_errno(change->result);
    if (status != RDISK_STATUS_OK && err) {
        *err = change->why;
    }
    free(session);
    free(change);
    return status;
}

static void refuse(const struct rdisk_create_request *request,
                   struct rdisk_error *err)
{
    bool replaces = !request->exclusive && !request->deletes;
    const char *verb = request->deletes ? "delete" : "create";

    if (request->user[0]) {
        log_warning("client '%s' at %s may not %s volume '%s'%s: no list of "
                    "its section has it",
                    request->user, request->peer, verb, request->volume,
                    replaces ? " again" : "");
    }
    rdisk_error_set(err, -EPERM, "this client may not %s a volume '%s'%s", verb,
                    request->volume, replaces ? " or replace one" : "");
}

enum rdisk_status create_event(void *opaque,
                               struct rdisk_target_session *target,
                               const struct rdisk_create_request *request,
                               void **user, struct rdisk_error *err)
{
    struct server *server = opaque;

    assert_control_thread();
    if (!allowed(server, request)) {
        refuse(request, err);
        return RDISK_STATUS_DENIED;
    }
    if (drain_covers(&server->drain, request->volume)) {
        rdisk_error_set(err, -ESHUTDOWN,
                        "volume '%s' is drained until the "
                        "server resumes it",
                        request->volume);
        return RDISK_STATUS_SHUTTING_DOWN;
    }
    return create(server, target, request, user, err);
}
