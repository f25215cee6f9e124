/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/initiator/device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t devices_lock = PTHREAD_MUTEX_INITIALIZER;
static struct rdisk_device *devices; /* under devices_lock */

/* Access to registered memory, in addition to local use. */
static int memory_access(enum rdisk_guest_memory guest_memory)
{
    switch (guest_memory) {
    case RDISK_GUEST_MEMORY_DIRECT:
        return IBV_ACCESS_REMOTE_WRITE;
    case RDISK_GUEST_MEMORY_WINDOW:
        return IBV_ACCESS_MW_BIND;
    default:
        return 0;
    }
}

static int check_windows(const struct rdisk_device *device,
                         struct rdisk_error *err)
{
    if (device->guest_memory != RDISK_GUEST_MEMORY_WINDOW ||
        device->limits.windows) {
        return 0;
    }
    return rdisk_error_set(
        err, -ENOTSUP,
        "RDMA device '%s' has no type-2 memory windows, which "
        "guest-memory=window needs; guest-memory=bounce keeps the server out "
        "of the guest's memory on any device, but copies what is read",
        device->context->device ? device->context->device->name : "?");
}

static struct rdisk_device *device_new(const struct rdisk_verbs *verbs,
                                       struct ibv_context *context,
                                       enum rdisk_guest_memory guest_memory,
                                       struct rdisk_error *err)
{
    struct rdisk_device *device = calloc(1, sizeof(*device));

    if (!device) {
        rdisk_error_set(err, -ENOMEM, "out of memory");
        return NULL;
    }
    device->verbs = verbs;
    device->context = context;
    device->guest_memory = guest_memory;
    device->users = 1;
    if (rdisk_device_query(verbs, context, &device->limits, err) < 0 ||
        check_windows(device, err) < 0) {
        goto fail;
    }
    device->pd = verbs->alloc_pd(context);
    if (!device->pd) {
        rdisk_error_set(err, -errno, "cannot allocate a protection domain: %s",
                        strerror(errno));
        goto fail;
    }
    if (rdisk_memory_init(&device->memory, verbs, device->pd,
                          memory_access(guest_memory)) < 0) {
        verbs->dealloc_pd(device->pd);
        rdisk_error_set(err, -ENOMEM, "out of memory");
        goto fail;
    }
    return device;

fail:
    free(device);
    return NULL;
}

struct rdisk_device *rdisk_device_get(const struct rdisk_verbs *verbs,
                                      struct ibv_context *context,
                                      enum rdisk_guest_memory guest_memory,
                                      struct rdisk_error *err)
{
    struct rdisk_device *device;

    pthread_mutex_lock(&devices_lock);
    for (device = devices; device; device = device->next) {
        if (device->context == context && device->verbs == verbs &&
            device->guest_memory == guest_memory) {
            device->users++;
            break;
        }
    }
    if (!device) {
        device = device_new(verbs, context, guest_memory, err);
        if (device) {
            device->next = devices;
            devices = device;
        }
    }
    pthread_mutex_unlock(&devices_lock);
    return device;
}

void rdisk_device_put(struct rdisk_device *device)
{
    struct rdisk_device **link;

    pthread_mutex_lock(&devices_lock);
    if (--device->users == 0) {
        for (link = &devices; *link != device; link = &(*link)->next) {
        }
        *link = device->next;
        rdisk_memory_destroy(&device->memory);
        device->verbs->dealloc_pd(device->pd);
        free(device);
    }
    pthread_mutex_unlock(&devices_lock);
}
