/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The listener: on an address, and thus on the RDMA device that has it, which
 * may go away and come back.
 */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transport/target/session.h"

#define BACKLOG         128
#define AGAIN_MS        1000    /* between attempts to listen again */

int rdisk_target_listen(struct rdisk_target *target, struct rdisk_error *err)
{
    const struct rdisk_verbs *verbs = target->env->verbs;
    const char *address = target->options.address;
    struct addrinfo hints = {
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_PASSIVE,
    };
    struct addrinfo *list;
    char port[8];
    int ret;

    address = address && address[0] ? address : "0.0.0.0";
    snprintf(port, sizeof(port), "%u", target->options.port);
    ret = getaddrinfo(address, port, &hints, &list);
    if (ret) {
        return rdisk_error_set(err, -EINVAL, "cannot resolve address '%s': %s",
                               address, gai_strerror(ret));
    }
    ret = verbs->create_id(target->channel, &target->listener, NULL);
    if (ret < 0) {
        target->listener = NULL;
    } else {
        ret = verbs->bind_addr(target->listener, list->ai_addr);
    }
    freeaddrinfo(list);
    if (ret == 0) {
        ret = verbs->listen(target->listener, BACKLOG);
    }
    if (ret == -ENODEV || ret == -EADDRNOTAVAIL) {
        return rdisk_error_set(err, ret,
            "cannot listen on %s:%s: no RDMA device has that address",
            address, port);
    }
    if (ret < 0) {
        return rdisk_error_set(err, ret, "cannot listen on %s:%s: %s",
                               address, port, strerror(-ret));
    }
    return 0;
}

struct rdma_cm_id *rdisk_target_listener_lost(struct rdisk_target *target)
{
    struct rdma_cm_id *deaf = target->listener;

    rdisk_log(target->env, RDISK_LOG_ERROR, "the RDMA device that has %s is "
              "gone: nobody can connect until it is back",
              target->options.address);
    target->listener = NULL;
    if (!target->stopping) {
        target->listen_again = rdisk_now(target->env) + AGAIN_MS * RDISK_MSEC;
    }
    return deaf;
}

void rdisk_target_listen_again(struct rdisk_target *target)
{
    struct rdisk_error err = { 0 };

    target->listen_again = RDISK_NEVER;
    if (rdisk_target_listen(target, &err) == 0) {
        rdisk_log(target->env, RDISK_LOG_WARNING, "the RDMA device that has "
                  "%s is back: listening again", target->options.address);
        return;
    }
    rdisk_log(target->env, RDISK_LOG_DEBUG, "not yet: %s", err.text);
    if (target->listener) {
        target->env->verbs->destroy_id(target->listener);
        target->listener = NULL;
    }
    target->listen_again = rdisk_now(target->env) + AGAIN_MS * RDISK_MSEC;
}

/* ---- Devices ----------------------------------------------------------- */

/*
 * A listener on all devices is not told when one is removed, and without a
 * connection nobody is; librdmacm keeps it open all the same (verbs.c). So an
 * id stays on each device that ever had a connection.
 */
struct rdisk_target_device_watch {
    struct rdisk_target_device_watch *next;
    struct rdma_cm_id *id;
};

static struct rdma_cm_id *bind_watch(struct rdisk_target *target,
                                      const struct rdma_cm_id *id)
{
    const struct rdisk_verbs *verbs = target->env->verbs;
    struct rdma_addr address = id->route.addr;
    struct rdma_cm_id *watch;
    int ret = verbs->create_id(target->channel, &watch, NULL);

    if (ret < 0) {
        return NULL;
    }
    /* The port is at the same place in both families. */
    address.src_sin.sin_port = 0;
    ret = verbs->bind_addr(watch, &address.src_addr);
    if (ret < 0) {
        verbs->destroy_id(watch);
        return NULL;
    }
    return watch;
}

void rdisk_target_watch_device(struct rdisk_target *target,
                         const struct rdma_cm_id *id)
{
    struct rdisk_target_device_watch *watch;

    if (target->listener && target->listener->verbs) {
        return;                 /* it is told */
    }
    for (watch = target->device_watches; watch; watch = watch->next) {
        if (watch->id->verbs == id->verbs) {
            return;
        }
    }
    watch = malloc(sizeof(*watch));
    if (!watch || !(watch->id = bind_watch(target, id))) {
        /* The next connection tries again. */
        free(watch);
        return;
    }
    watch->next = target->device_watches;
    target->device_watches = watch;
}

bool rdisk_target_release_watch(struct rdisk_target *target,
                               const struct rdma_cm_id *id)
{
    struct rdisk_target_device_watch **link = &target->device_watches, *watch;

    while (*link && (*link)->id != id) {
        link = &(*link)->next;
    }
    watch = *link;
    if (!watch) {
        return false;
    }
    *link = watch->next;
    free(watch);
    return true;
}

void rdisk_target_release_watches(struct rdisk_target *target)
{
    while (target->device_watches) {
        struct rdma_cm_id *id = target->device_watches->id;

        rdisk_target_release_watch(target, id);
        target->env->verbs->destroy_id(id);
    }
}
