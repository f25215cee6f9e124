/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Internal to the transport: an RDMA device as a client uses it.
 *
 * All sessions of the process on the same device share one protection domain
 * and one table of registered memory, so that a guest's RAM is pinned once,
 * however many disks it has. But for those with another guest-memory: a key
 * for all of the memory must open nothing through a queue pair of a session
 * that hands out none.
 */
#ifndef RDISK_INITIATOR_DEVICE_H
#define RDISK_INITIATOR_DEVICE_H

#include <rdisk/env.h>
#include <rdisk/initiator.h>
#include "transport/initiator/memory.h"
#include "transport/verbs/limits.h"

struct rdisk_device {
    const struct rdisk_verbs *verbs;
    struct ibv_context *context; /* librdmacm's */
    struct ibv_pd *pd;
    enum rdisk_guest_memory guest_memory;
    struct rdisk_device_limits limits;
    struct rdisk_memory memory;
    unsigned int users; /* under the list's lock */
    struct rdisk_device *next;
};

/*
 * The process's one device object for both. NULL with -ENOTSUP if the device
 * cannot do what @guest_memory needs. Any thread.
 */
struct rdisk_device *rdisk_device_get(const struct rdisk_verbs *verbs,
                                      struct ibv_context *context,
                                      enum rdisk_guest_memory guest_memory,
                                      struct rdisk_error *err);
/* The last one frees it. Nothing of the device is in use any more. */
void rdisk_device_put(struct rdisk_device *device);

#endif
