/* SPDX-License-Identifier: BSD-3-Clause */
#include "farewell.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* Between two looks at a port; longer than a kernel takes to take it down. */
#define LOOK_MS     200
/* A port calls itself active before its interface has its queue and all its
 * routes back: Linux takes up to a second to see a carrier. */
#define SETTLE_MS   3000

struct rdisk_farewell {
    struct rdisk_farewell *next;
    struct rdma_cm_id *id;
    uint64_t active;            /* since when its port is; or RDISK_NEVER */
    bool removed;               /* with its device: there is nobody to tell */
};

bool rdisk_port_active(const struct rdisk_env *env, struct rdma_cm_id *id)
{
    struct ibv_port_attr port;

    /* Without a device there is no connection; a device that cannot be asked
     * any more is gone. */
    if (!id->verbs ||
        env->verbs->query_port(id->verbs, id->port_num, &port) < 0) {
        return true;
    }
    return (port.state == IBV_PORT_ACTIVE ||
            port.state == IBV_PORT_ACTIVE_DEFER) &&
           env->verbs->interface_up(id);
}

void rdisk_farewells_init(struct rdisk_farewells *farewells,
                          const struct rdisk_env *env)
{
    *farewells = (struct rdisk_farewells) {
        .env = env,
        .deadline = RDISK_NEVER,
    };
}

static void tell(struct rdisk_farewells *farewells,
                 const struct rdma_cm_id *id)
{
    if (!farewells->told) {
        farewells->told = true;
        rdisk_log(farewells->env, RDISK_LOG_WARNING, "RDMA device %s has no "
                  "link: the other side is told of the end of connections "
                  "when it has one again", id->verbs->device->name);
    }
}

static void look_later(struct rdisk_farewells *farewells)
{
    farewells->deadline = rdisk_now(farewells->env) + LOOK_MS * RDISK_MSEC;
}

int rdisk_farewells_reserve(struct rdisk_farewells *farewells)
{
    struct rdisk_farewell *farewell = malloc(sizeof(*farewell));

    if (!farewell) {
        return -ENOMEM;
    }
    farewell->next = farewells->reserved;
    farewells->reserved = farewell;
    return 0;
}

static struct rdisk_farewell *take_one(struct rdisk_farewells *farewells)
{
    struct rdisk_farewell *farewell = farewells->reserved;

    assert(farewell);
    farewells->reserved = farewell->next;
    return farewell;
}

void rdisk_farewells_release(struct rdisk_farewells *farewells)
{
    free(take_one(farewells));
}

void rdisk_farewells_add(struct rdisk_farewells *farewells,
                         struct rdma_cm_id *id, bool suspect)
{
    struct rdisk_farewell *farewell;

    if (!suspect && rdisk_port_active(farewells->env, id)) {
        farewells->env->verbs->destroy_id(id);
        rdisk_farewells_release(farewells);
        return;
    }
    id->context = NULL;
    farewell = take_one(farewells);
    *farewell = (struct rdisk_farewell) {
        .next = farewells->first,
        .id = id,
        .active = RDISK_NEVER,
    };
    farewells->first = farewell;
    look_later(farewells);
}

void rdisk_farewells_removed(struct rdisk_farewells *farewells,
                             const struct rdma_cm_id *id)
{
    struct rdisk_farewell *farewell;

    for (farewell = farewells->first; farewell; farewell = farewell->next) {
        if (farewell->id == id) {
            farewell->removed = true;
            farewells->deadline = rdisk_now(farewells->env);
        }
    }
}

void rdisk_farewells_process(struct rdisk_farewells *farewells, uint64_t now)
{
    struct rdisk_farewell **link = &farewells->first, *farewell;
    const struct ibv_context *verbs = NULL;
    uint8_t port = 0;
    bool active = false;

    if (now < farewells->deadline) {
        return;
    }
    while ((farewell = *link)) {
        struct rdma_cm_id *id = farewell->id;

        /* Most are of the same port. */
        if (verbs != id->verbs || port != id->port_num) {
            active = rdisk_port_active(farewells->env, id);
            verbs = id->verbs;
            port = id->port_num;
        }
        if (!active) {
            tell(farewells, id);
            farewell->active = RDISK_NEVER;
        } else if (farewell->active == RDISK_NEVER) {
            farewell->active = now;
        }
        if (!farewell->removed && (!active || now - farewell->active <
                                              SETTLE_MS * RDISK_MSEC)) {
            link = &farewell->next;
            continue;
        }
        *link = farewell->next;
        farewells->env->verbs->destroy_id(farewell->id);
        free(farewell);
    }
    if (farewells->first) {
        look_later(farewells);
    } else {
        farewells->told = false;
        farewells->deadline = RDISK_NEVER;
    }
}

void rdisk_farewells_end(struct rdisk_farewells *farewells)
{
    struct rdisk_farewell *farewell;

    while ((farewell = farewells->first)) {
        farewells->first = farewell->next;
        farewells->env->verbs->destroy_id(farewell->id);
        free(farewell);
    }
    while (farewells->reserved) {
        rdisk_farewells_release(farewells);
    }
    farewells->deadline = RDISK_NEVER;
}
