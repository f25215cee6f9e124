/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memory that a session's owner has registered. It is kept as a list too,
 * since the next connection may go through another device.
 */
#include <errno.h>
#include <stdlib.h>

#include "transport/initiator/session.h"

int rdisk_initiator_register(struct rdisk_initiator *session, void *address,
                             size_t length, struct rdisk_error *err)
{
    struct rdisk_range *range;
    int ret;

    if (!session->established) {
        return rdisk_error_set(err, -ENOTCONN, "no device is known yet");
    }
    range = calloc(1, sizeof(*range));
    if (!range) {
        return rdisk_error_set(err, -ENOMEM, "out of memory");
    }
    range->address = address;
    range->length = length;
    /* Without a device it is for the next one to do. */
    if (session->device) {
        ret = rdisk_memory_add(&session->memory, address, length, err);
        if (ret < 0) {
            free(range);
            return ret;
        }
        range->registered = true;
    }
    range->next = session->ranges;
    session->ranges = range;
    return 0;
}

void rdisk_initiator_unregister(struct rdisk_initiator *session,
                                void *address, size_t length)
{
    struct rdisk_range **link = &session->ranges;
    struct rdisk_range *range;

    while (*link && ((*link)->address != address ||
                     (*link)->length != length)) {
        link = &(*link)->next;
    }
    range = *link;
    if (!range) {
        return;
    }
    *link = range->next;
    if (range->registered) {
        rdisk_memory_remove(&session->memory, address, length);
    }
    free(range);
}

static void register_all(struct rdisk_initiator *session)
{
    struct rdisk_range *range;
    struct rdisk_error err;

    for (range = session->ranges; range; range = range->next) {
        range->registered = rdisk_memory_add(&session->memory,
                                             range->address, range->length,
                                             &err) == 0;
        if (!range->registered) {
            rdisk_log(session->env, RDISK_LOG_WARNING,
                      "I/O on part of the memory will be copied: %s",
                      err.text);
        }
    }
}

int rdisk_initiator_take_device(struct rdisk_initiator *session,
                                struct ibv_context *context,
                                struct rdisk_error *err)
{
    session->device = rdisk_device_get(session->env->verbs, context,
                                       session->options.guest_memory, err);
    if (!session->device) {
        return err->code;
    }
    if (rdisk_memory_init_part(&session->memory,
                               &session->device->memory) < 0) {
        rdisk_device_put(session->device);
        session->device = NULL;
        return rdisk_error_set(err, -ENOMEM, "out of memory");
    }
    register_all(session);
    return 0;
}

void rdisk_initiator_release_watch(struct rdisk_initiator *session)
{
    if (session->device_watch) {
        rdisk_cm_teardowns_add(&session->teardowns, session->device_watch,
                            session->link_suspect);
        session->device_watch = NULL;
    }
}

void rdisk_initiator_leave_device(struct rdisk_initiator *session)
{
    struct rdisk_range *range;

    if (!session->device) {
        return;
    }
    for (range = session->ranges; range; range = range->next) {
        range->registered = false;
    }
    rdisk_memory_destroy(&session->memory);
    rdisk_device_put(session->device);
    session->device = NULL;
    rdisk_initiator_release_watch(session);
    session->device_lost = false;
}
