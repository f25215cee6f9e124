/* SPDX-License-Identifier: BSD-3-Clause */
/* The event channel of connections: the first thing that needs a device. */
#ifndef RDISK_CHANNEL_H
#define RDISK_CHANNEL_H

#include "transport/verbs/verbs.h"
#include <rdisk/env.h>
#include <rdisk/error.h>

/*
 * Errors: -ENODEV: this machine has no RDMA device; -EMFILE: this process, or
 * the machine, has no descriptor left; -ENOMEM.
 */
int rdisk_channel_create(const struct rdisk_env *env,
                         struct rdma_event_channel **channel,
                         struct rdisk_error *err);

#endif
