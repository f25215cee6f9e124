/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memory that a session's owner has registered. It is kept as a list too,
 * since the next connection may go through another device.
 */
#include <errno.h>
#include <stdlib.h>

#include "transport/initiator/session.h"

static int add_range(struct rdisk_initiator *session, void *address,
                     size_t length, struct rdisk_error *err)
{
    struct rdisk_range *range;
    int ret;

    if (!session->queues.count) {
        return rdisk_error_set(err, -ENOTCONN, "no device is known yet");
    }
    range = calloc(1, sizeof(*range));
    if (!range) {
        return rdisk_error_set(err, -ENOMEM, "out of memory");
    }
    range->address = address;
    range->length = length;
    /* Without a device it is for the next one to do. */
    if (session->registrations.device) {
        ret = rdisk_memory_add(&session->registrations.memory, address, length,
                               err);
        if (ret < 0) {
            free(range);
            return ret;
        }
        range->registered = true;
    }
    range->next = session->registrations.ranges;
    session->registrations.ranges = range;
    return 0;
}

int rdisk_initiator_register(struct rdisk_initiator *session, void *address,
                             size_t length, struct rdisk_error *err)
{
    int ret;

    rdisk_use_begin(&session->use);
    ret = add_range(session, address, length, err);
    rdisk_use_end(&session->use);
    return ret;
}

static void remove_range(struct rdisk_initiator *session, void *address,
                         size_t length)
{
    struct rdisk_range **link = &session->registrations.ranges;
    struct rdisk_range *range;

    while (*link &&
           ((*link)->address != address || (*link)->length != length)) {
        link = &(*link)->next;
    }
    range = *link;
    if (!range) {
        return;
    }
    *link = range->next;
    if (range->registered) {
        rdisk_memory_remove(&session->registrations.memory, address, length);
    }
    free(range);
}

void rdisk_initiator_unregister(struct rdisk_initiator *session, void *address,
                                size_t length)
{
    rdisk_use_begin(&session->use);
    remove_range(session, address, length);
    rdisk_use_end(&session->use);
}

static void register_all(struct rdisk_initiator *session)
{
    struct rdisk_range *range;
    struct rdisk_error err;

    for (range = session->registrations.ranges; range; range = range->next) {
        range->registered = rdisk_memory_add(&session->registrations.memory,
                                             range->address, range->length,
                                             &err) == 0;
        if (!range->registered) {
            rdisk_log(session->env, RDISK_LOG_WARNING,
                      "I/O on part of the memory will be copied: %s", err.text);
        }
    }
}

int rdisk_initiator_take_device(struct rdisk_initiator *session,
                                struct ibv_context *context,
                                struct rdisk_error *err)
{
    session->registrations.device = rdisk_device_get(
        session->env->verbs, context, session->options.guest_memory, err);
    if (!session->registrations.device) {
        return err->code;
    }
    if (rdisk_memory_init_part(&session->registrations.memory,
                               &session->registrations.device->memory) < 0) {
        rdisk_device_put(session->registrations.device);
        session->registrations.device = NULL;
        return rdisk_error_set(err, -ENOMEM, "out of memory");
    }
    register_all(session);
    return 0;
}

void rdisk_initiator_release_watch(struct rdisk_initiator *session)
{
    if (session->registrations.watch) {
        rdisk_cm_teardowns_add(&session->connection.teardowns,
                               session->registrations.watch,
                               session->connection.link_suspect);
        session->registrations.watch = NULL;
    }
}

void rdisk_initiator_leave_device(struct rdisk_initiator *session)
{
    struct rdisk_range *range;

    if (!session->registrations.device) {
        return;
    }
    for (range = session->registrations.ranges; range; range = range->next) {
        range->registered = false;
    }
    rdisk_memory_destroy(&session->registrations.memory);
    rdisk_device_put(session->registrations.device);
    session->registrations.device = NULL;
    rdisk_initiator_release_watch(session);
    session->registrations.device_lost = false;
}
