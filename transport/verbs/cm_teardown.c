/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/verbs/cm_teardown.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* Between two checks of a port; longer than a kernel takes to take it down. */
#define LOOK_MS 200
/* A port calls itself active before its interface has its queue and all its
 * routes back: Linux takes up to a second to see a carrier. */
#define SETTLE_MS 3000

struct rdisk_cm_teardown {
    struct rdisk_cm_teardown *next;
    struct rdma_cm_id *id;
    uint64_t active; /* since when its port is; or RDISK_NEVER */
    bool removed;    /* with its device: no disconnect is sent */
};

bool rdisk_port_active(const struct rdisk_env *env, struct rdma_cm_id *id)
{
    struct ibv_port_attr port;

    /* Without a device there is no connection; a device that cannot be queried
     * any more has been removed. */
    if (!id->verbs ||
        env->verbs->query_port(id->verbs, id->port_num, &port) < 0) {
        return true;
    }
    return (port.state == IBV_PORT_ACTIVE ||
            port.state == IBV_PORT_ACTIVE_DEFER) &&
           env->verbs->interface_up(id);
}

void rdisk_cm_teardowns_init(struct rdisk_cm_teardowns *teardowns,
                             const struct rdisk_env *env)
{
    *teardowns = (struct rdisk_cm_teardowns) {
        .env = env,
        .deadline = RDISK_NEVER,
    };
}

static void report(struct rdisk_cm_teardowns *teardowns,
                   const struct rdma_cm_id *id)
{
    if (!teardowns->reported) {
        teardowns->reported = true;
        rdisk_log(teardowns->env, RDISK_LOG_WARNING,
                  "RDMA device %s has no link: disconnects are sent when it "
                  "has one again",
                  id->verbs->device->name);
    }
}

static void look_later(struct rdisk_cm_teardowns *teardowns)
{
    teardowns->deadline = rdisk_now(teardowns->env) + LOOK_MS * RDISK_MSEC;
}

int rdisk_cm_teardowns_reserve(struct rdisk_cm_teardowns *teardowns)
{
    struct rdisk_cm_teardown *teardown = malloc(sizeof(*teardown));

    if (!teardown) {
        return -ENOMEM;
    }
    teardown->next = teardowns->reserved;
    teardowns->reserved = teardown;
    return 0;
}

static struct rdisk_cm_teardown *take_reserved(
    struct rdisk_cm_teardowns *teardowns)
{
    struct rdisk_cm_teardown *teardown = teardowns->reserved;

    assert(teardown);
    teardowns->reserved = teardown->next;
    return teardown;
}

void rdisk_cm_teardowns_release(struct rdisk_cm_teardowns *teardowns)
{
    free(take_reserved(teardowns));
}

void rdisk_cm_teardowns_add(struct rdisk_cm_teardowns *teardowns,
                            struct rdma_cm_id *id, bool suspect)
{
    struct rdisk_cm_teardown *teardown;

    assert(!id->qp);
    if (!suspect && rdisk_port_active(teardowns->env, id)) {
        teardowns->env->verbs->destroy_id(id);
        rdisk_cm_teardowns_release(teardowns);
        return;
    }
    id->context = NULL;
    teardown = take_reserved(teardowns);
    *teardown = (struct rdisk_cm_teardown) {
        .next = teardowns->first,
        .id = id,
        .active = RDISK_NEVER,
    };
    teardowns->first = teardown;
    look_later(teardowns);
}

void rdisk_cm_teardowns_removed(struct rdisk_cm_teardowns *teardowns,
                                const struct rdma_cm_id *id)
{
    struct rdisk_cm_teardown *teardown;

    for (teardown = teardowns->first; teardown; teardown = teardown->next) {
        if (teardown->id == id) {
            teardown->removed = true;
            teardowns->deadline = rdisk_now(teardowns->env);
        }
    }
}

void rdisk_cm_teardowns_process(struct rdisk_cm_teardowns *teardowns,
                                uint64_t now)
{
    struct rdisk_cm_teardown **link = &teardowns->first, *teardown;
    const struct ibv_context *verbs = NULL;
    uint8_t port = 0;
    bool active = false;

    if (now < teardowns->deadline) {
        return;
    }
    while ((teardown = *link)) {
        struct rdma_cm_id *id = teardown->id;

        /* Most are of the same port. */
        if (verbs != id->verbs || port != id->port_num) {
            active = rdisk_port_active(teardowns->env, id);
            verbs = id->verbs;
            port = id->port_num;
        }
        if (!active) {
            report(teardowns, id);
            teardown->active = RDISK_NEVER;
        } else if (teardown->active == RDISK_NEVER) {
            teardown->active = now;
        }
        if (!teardown->removed &&
            (!active || now - teardown->active < SETTLE_MS * RDISK_MSEC)) {
            link = &teardown->next;
            continue;
        }
        *link = teardown->next;
        teardowns->env->verbs->destroy_id(teardown->id);
        free(teardown);
    }
    if (teardowns->first) {
        look_later(teardowns);
    } else {
        teardowns->reported = false;
        teardowns->deadline = RDISK_NEVER;
    }
}

int rdisk_cm_teardowns_migrate(struct rdisk_cm_teardowns *teardowns,
                               struct rdma_event_channel *channel)
{
    struct rdisk_cm_teardown *teardown;
    int result = 0;

    for (teardown = teardowns->first; teardown; teardown = teardown->next) {
        int ret = teardowns->env->verbs->migrate_id(teardown->id, channel);

        result = ret < 0 ? ret : result;
    }
    return result;
}

void rdisk_cm_teardowns_end(struct rdisk_cm_teardowns *teardowns)
{
    struct rdisk_cm_teardown *teardown;

    while ((teardown = teardowns->first)) {
        teardowns->first = teardown->next;
        teardowns->env->verbs->destroy_id(teardown->id);
        free(teardown);
    }
    while (teardowns->reserved) {
        rdisk_cm_teardowns_release(teardowns);
    }
    teardowns->deadline = RDISK_NEVER;
}
