/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/session/create.h"

#include <errno.h>

#include "server/log.h"
#include "server/server.h"

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

enum rdisk_status create_event(void *opaque,
                               struct rdisk_target_session *target,
                               const struct rdisk_create_request *request,
                               void **user, struct rdisk_error *err)
{
    struct server *server = opaque;
    int result;

    if (!allowed(server, request)) {
        if (request->user[0]) {
            log_warning("client '%s' at %s may not make volume '%s'%s: no list "
                        "of its section has it",
                        request->user, request->peer, request->volume,
                        request->exclusive ? "" : " again");
        }
        rdisk_error_set(err, -EPERM,
                        "this client may not make a volume '%s'%s",
                        request->volume,
                        request->exclusive ? "" : ", nor replace one");
        return RDISK_STATUS_DENIED;
    }
    if (drain_covers(&server->drain, request->volume)) {
        rdisk_error_set(err, -ESHUTDOWN, "volume '%s' is drained until the "
                        "server resumes it", request->volume);
        return RDISK_STATUS_SHUTTING_DOWN;
    }
    result = request->exclusive ?
             pool_create(&server->pool, request->volume, request->size, err) :
             pool_replace(&server->pool, request->volume, request->size, err);
    return rdisk_status_from_errno(result);
}
