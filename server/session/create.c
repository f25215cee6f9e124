/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/session/create.h"

#include <errno.h>
#include <stdlib.h>
#include <stdio.h>
#include <stddef.h>

#include "server/log.h"
#include "server/server.h"
#include "server/session/session.h"

/*
 * May this client make such a volume? The answer tells nothing about whether
 * there is one of that name.
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
    /* To replace one is to write to it. */
    return client && access_to_create(client, request->volume) &&
           (request->exclusive ||
            access_to(client, request->volume) == ACCESS_WRITE);
}

static enum rdisk_status make(struct server *server, const char *volume,
                              uint64_t size, bool exclusive,
                              struct rdisk_error *err)
{
    return rdisk_status_from_errno(
        exclusive ? pool_create(&server->pool, volume, size, err)
                  : pool_replace(&server->pool, volume, size, err));
}

static void create_begin(struct operation *operation)
{
    struct session *session = (struct session *)((char *)operation -
                                                 offsetof(struct session,
                                                          operation));
    enum rdisk_status status = make(session->server, operation->volume,
                                    session->create_size,
                                    session->create_exclusive, &session->why);

    operation_end(operation);
    rdisk_target_session_created(session->target, status, &session->why);
    free(session);
}

/* Something is being done to a volume of that name: it may just be closing.
 * If the client goes before its turn, close_event() frees what waits. */
static enum rdisk_status create_in_turn(
    struct server *server, struct rdisk_target_session *target,
    const struct rdisk_create_request *request, void **user,
    struct rdisk_error *err)
{
    struct session *session = calloc(1, sizeof(*session));

    if (!session) {
        rdisk_error_set(err, -ENOMEM, "the server has no memory for a session");
        return RDISK_STATUS_NO_RESOURCES;
    }
    session->server = server;
    session->target = target;
    session->create_size = request->size;
    session->create_exclusive = request->exclusive;
    session->operation.what = "creating volume";
    session->operation.begin = create_begin;
    snprintf(session->operation.volume, sizeof(session->operation.volume), "%s",
             request->volume);
    *user = session;
    operation_start(&server->operations, &session->operation);
    rdisk_error_set(err, -EBUSY,
                    "volume '%s' is busy: an operation on it waits for its "
                    "storage",
                    request->volume);
    return RDISK_LATER;
}

enum rdisk_status create_event(void *opaque,
                               struct rdisk_target_session *target,
                               const struct rdisk_create_request *request,
                               void **user, struct rdisk_error *err)
{
    struct server *server = opaque;

    if (!allowed(server, request)) {
        if (request->user[0]) {
            log_warning("client '%s' at %s may not create volume '%s'%s: no "
                        "list of its section has it",
                        request->user, request->peer, request->volume,
                        request->exclusive ? "" : " again");
        }
        rdisk_error_set(err, -EPERM,
                        "this client may not create a volume '%s'%s",
                        request->volume,
                        request->exclusive ? "" : " or replace one");
        return RDISK_STATUS_DENIED;
    }
    if (drain_covers(&server->drain, request->volume)) {
        rdisk_error_set(err, -ESHUTDOWN,
                        "volume '%s' is drained until the "
                        "server resumes it",
                        request->volume);
        return RDISK_STATUS_SHUTTING_DOWN;
    }
    if (operation_pending(&server->operations, request->volume)) {
        return create_in_turn(server, target, request, user, err);
    }
    return make(server, request->volume, request->size, request->exclusive,
                err);
}
