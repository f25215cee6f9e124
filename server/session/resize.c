/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/session/resize.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

bool resize_allowed(const struct server *server, const struct volume *volume)
{
    /* A configured volume is as large as its section or its disk says. */
    return server->config->resize && !volume->configured &&
           volume->backend->class->resize &&
           !volume->backend->geometry.read_only;
}

static void tell(struct server *server, const struct volume *volume,
                 uint64_t size)
{
    for (struct session *session = server->sessions; session;
         session = session->next) {
        if (session->holder.volume == volume) {
            rdisk_target_session_resize(session->target, size);
        }
    }
}

void resize_tell(struct server *server, const char *name)
{
    for (const struct session *session = server->sessions; session;
         session = session->next) {
        const struct volume *volume = session->holder.volume;

        if (strcmp(volume->name, name) == 0) {
            tell(server, volume, volume->backend->geometry.size);
            return;
        }
    }
}

/*
 * The new size is in force before anything is truncated, so what comes from now
 * on is refused there; what came before must have been answered.
 */
static enum rdisk_status shrink_volume(struct session *session, uint64_t size,
                                       struct rdisk_error *err)
{
    struct volume *volume = session->holder.volume;
    uint64_t old = volume->backend->geometry.size;
    struct rdisk_error why = { 0 };
    int result;

    if (volume->holders->next) {
        rdisk_error_set(err, -EBUSY,
                        "volume '%s' is open elsewhere too: it "
                        "can only grow",
                        volume->name);
        return RDISK_STATUS_BUSY;
    }
    rdisk_target_session_resize(session->target, size);
    if (rdisk_target_session_busy(session->target)) {
        rdisk_error_set(&why, -EBUSY,
                        "requests on volume '%s' are in flight: "
                        "it can be made smaller when they are answered",
                        volume->name);
        result = -EBUSY;
    } else {
        result = backend_resize(volume->backend, volume->name, size, &why);
    }
    if (result < 0) {
        rdisk_target_session_resize(session->target, old);
        if (err) {
            *err = why;
        }
    }
    return rdisk_status_from_errno(result);
}

enum rdisk_status resize_event(void *opaque, void *user, uint64_t size,
                               bool shrink, struct rdisk_error *err)
{
    struct server *server = opaque;
    struct session *session = user;
    struct volume *volume = session->holder.volume;
    uint64_t old = volume->backend->geometry.size;
    int result;

    if (!resize_allowed(server, volume)) {
        rdisk_error_set(err, -EPERM,
                        "clients may not resize volume '%s' of "
                        "this server",
                        volume->name);
        return RDISK_STATUS_DENIED;
    }
    if (volume_check_size(volume, size, shrink, err) < 0) {
        return RDISK_STATUS_OUT_OF_RANGE;
    }
    if (size < old) {
        return shrink_volume(session, size, err);
    }
    result = backend_resize(volume->backend, volume->name, size, err);
    if (result == 0) {
        tell(server, volume, size);
    }
    return rdisk_status_from_errno(result);
}

enum rdisk_status resize_stat_event(void *opaque, void *user,
                                    uint64_t *allocated,
                                    struct rdisk_error *err)
{
    const struct session *session = user;
    struct backend *backend = session->holder.volume->backend;
    int result;

    if (!backend->class->allocated) {
        *allocated = backend->geometry.size;
        return RDISK_STATUS_OK;
    }
    result = backend->class->allocated(backend, allocated);
    if (result < 0) {
        rdisk_error_set(
            err, result,
            "cannot determine the allocated size of volume '%s': %s",
            session->holder.volume->name, strerror(-result));
    }
    return rdisk_status_from_errno(result);
}
