/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The listener: on an address, and thus on the RDMA device that has it, which
 * may be removed and restored.
 */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transport/target/session.h"
#include "transport/verbs/channel.h"

/* Connections not taken yet; the kernel's limit is 1024 by default. */
#define BACKLOG  4096
#define AGAIN_MS 1000 /* between attempts to listen again */

static bool is_any(const struct rdisk_target_options *options)
{
    return !options->address || !options->address[0];
}

/* The first address of a name counts. May block as long as the resolver. */
static int resolve(const struct rdisk_target_options *options,
                   struct rdisk_addresses *where, struct rdisk_error *err)
{
    unsigned int port = options->port ? options->port : RDISK_DEFAULT_PORT;
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    struct addrinfo *found;
    int ret;

    where->count = 0;
    ret = getaddrinfo(is_any(options) ? "::" : options->address, NULL, &hints,
                      &found);
    if (ret == 0) {
        rdisk_addresses_add(where, found, (uint16_t)port);
        freeaddrinfo(found);
    }
    if (!where->count) {
        return rdisk_error_set(err, -EINVAL, "cannot resolve address '%s': %s",
                               options->address,
                               ret ? gai_strerror(ret)
                                   : "it has no IPv4 or IPv6 address");
    }
    return 0;
}

/* Linux returns the same error for an address that no device has and for a port
 * that is in use on all addresses; another port distinguishes them. */
static bool address_exists(const struct rdisk_env *env,
                           struct rdma_event_channel *channel,
                           const struct sockaddr_storage *where)
{
    struct sockaddr_storage address = *where;
    struct rdma_cm_id *id;
    bool exists;

    /* The port is at the same place in both families. */
    ((struct sockaddr_in *)&address)->sin_port = 0;
    if (env->verbs->create_id(channel, &id, NULL) < 0) {
        return false;
    }
    exists = env->verbs->bind_addr(id, (struct sockaddr *)&address) == 0;
    env->verbs->destroy_id(id);
    return exists;
}

/* "::" is for both families, unless the kernel has no IPv6. */
static int bind_any(const struct rdisk_env *env, struct rdma_cm_id *id,
                    struct sockaddr_storage *where)
{
    struct sockaddr_in any = {
        .sin_family = AF_INET,
        .sin_port = ((const struct sockaddr_in *)where)->sin_port,
    };
    int ret = env->verbs->set_afonly(id, 0);

    if (ret == 0) {
        ret = env->verbs->bind_addr(id, (struct sockaddr *)where);
    }
    if (ret != -EAFNOSUPPORT && ret != -ENOSYS && ret != -EINVAL) {
        return ret;
    }
    rdisk_log(env, RDISK_LOG_INFO, "no IPv6 (%s): listening on IPv4 only",
              strerror(-ret));
    memset(where, 0, sizeof(*where));
    memcpy(where, &any, sizeof(any));
    return env->verbs->bind_addr(id, (struct sockaddr *)where);
}

/* Bind a new id, which is the caller's, on failure too if it is not NULL. */
static int bind_listener(const struct rdisk_env *env,
                         const struct rdisk_target_options *options,
                         const struct rdisk_addresses *addresses,
                         struct rdma_event_channel *channel,
                         struct rdma_cm_id **id, bool listen,
                         struct rdisk_error *err)
{
    const char *address = is_any(options) ? "any address" : options->address;
    unsigned int port = options->port ? options->port : RDISK_DEFAULT_PORT;
    struct sockaddr_storage where = addresses->list[0];
    int ret = env->verbs->create_id(channel, id, NULL);

    if (ret < 0) {
        *id = NULL;
    } else if (is_any(options)) {
        ret = bind_any(env, *id, &where);
    } else {
        ret = env->verbs->bind_addr(*id, (struct sockaddr *)&where);
    }
    if (ret == 0 && listen) {
        ret = env->verbs->listen(*id, BACKLOG);
    }
    if (ret == -EADDRNOTAVAIL && address_exists(env, channel, &where)) {
        ret = -EADDRINUSE;
    }
    switch (ret) {
    case 0:
        return 0;
    case -EADDRINUSE:
        return rdisk_error_set(err, ret,
                               "cannot listen on %s, port %u: "
                               "another server uses that port",
                               address, port);
    case -ENODEV:
    case -EADDRNOTAVAIL:
        return rdisk_error_set(err, ret,
                               "cannot listen on %s, port %u: no "
                               "RDMA device has that address",
                               address, port);
    default:
        return rdisk_error_set(err, ret, "cannot listen on %s, port %u: %s",
                               address, port, strerror(-ret));
    }
}

int rdisk_target_listen(struct rdisk_target *target, struct rdisk_error *err)
{
    /* Once: later the control thread must not wait for a resolver. */
    if (!target->listen_on.count &&
        resolve(&target->options, &target->listen_on, err) < 0) {
        return err->code;
    }
    return bind_listener(target->env, &target->options, &target->listen_on,
                         target->channel, &target->listener, true, err);
}

int rdisk_target_probe(const struct rdisk_env *env,
                       const struct rdisk_target_options *options,
                       char device[RDISK_DEVICE_NAME], struct rdisk_error *err)
{
    struct rdisk_addresses addresses;
    struct rdma_event_channel *channel;
    struct rdma_cm_id *id;
    int ret = rdisk_channel_create(env, &channel, err);

    if (ret < 0) {
        return ret;
    }
    id = NULL;
    ret = resolve(options, &addresses, err);
    if (ret == 0) {
        ret = bind_listener(env, options, &addresses, channel, &id, false, err);
    }
    if (ret == 0 && device) {
        snprintf(device, RDISK_DEVICE_NAME, "%s",
                 id->verbs ? id->verbs->device->name : "");
    }
    if (id) {
        env->verbs->destroy_id(id);
    }
    env->verbs->destroy_event_channel(channel);
    return ret;
}

struct rdma_cm_id *rdisk_target_listener_lost(struct rdisk_target *target)
{
    struct rdma_cm_id *deaf = target->listener;

    rdisk_log(target->env, RDISK_LOG_ERROR,
              "the RDMA device that has %s was removed: no client can connect "
              "until it is back",
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
        rdisk_log(target->env, RDISK_LOG_WARNING,
                  "the RDMA device that has "
                  "%s is back: listening again",
                  target->options.address);
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
 * A listener on all devices gets no event when one is removed, and neither does
 * anything else without a connection; librdmacm keeps it open (verbs.c). So an
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
        return; /* it gets an event */
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
