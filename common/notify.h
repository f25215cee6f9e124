/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Notifications to systemd of a service with Type=notify: ready, reloading,
 * stopping, and one line of status (sd_notify(3)). The protocol is
 * one datagram; nothing is sent where NOTIFY_SOCKET is not set. Any thread.
 */
#ifndef RDISK_COMMON_NOTIFY_H
#define RDISK_COMMON_NOTIFY_H

#include <rdisk/env.h>

#define NOTIFY_LOADING_S 120

enum notify_event {
    NOTIFY_STATUS,  /* nothing but the status */
    NOTIFY_LOADING, /* the start goes on, and may take this long again:
                           NOTIFY_LOADING_S */
    NOTIFY_READY,
    NOTIFY_RELOADING, /* until NOTIFY_READY */
    NOTIFY_STOPPING,
};

/* With the status, one line. Does not block: what cannot be sent is logged. */
void notify_service(const struct rdisk_env *env, enum notify_event event,
                    const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
