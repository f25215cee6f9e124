/* SPDX-License-Identifier: BSD-3-Clause */
/* A volume that grows while it is in use: RESIZE and VOLUME_CHANGED. */
#include <errno.h>
#include <string.h>

#include "tests/sim/sim.h"

static void resized(void *opaque, int result, const struct rdisk_error *err)
{
    struct sim_client *client = opaque;
    struct sim *sim = client->sim;

    sim_log(sim, "client %u: resize ends: %s", client->index,
            result ? err->text : "well");
    if (!client->wanted) {
        sim_violation("a resize of client %u ends twice", client->index);
    }
    if (result == 0 &&
        (sim->size < client->wanted ||
         rdisk_initiator_size(client->session) < client->wanted)) {
        sim_violation("client %u has got a volume of %llu bytes, but it has "
                      "%llu",
                      client->index, (unsigned long long)client->wanted,
                      (unsigned long long)sim->size);
    }
    client->wanted = 0;
    client->outstanding--;
}

void sim_client_resize(struct sim_client *client, unsigned int blocks)
{
    uint64_t size;

    if (!client->session || client->state != RDISK_INITIATOR_READY ||
        client->want_close || client->crashed || client->wanted ||
        sim_client_stalled(client, 0)) {
        return;
    }
    size = rdisk_initiator_size(client->session) + blocks * SIM_BLOCK;
    client->wanted = size;
    client->outstanding++;
    if (rdisk_initiator_resize(client->session, size, 0, resized, client) < 0) {
        sim_violation("a good resize of client %u is refused", client->index);
    }
}

void sim_client_told(void *opaque, uint64_t size)
{
    struct sim_client *client = opaque;

    if (size > client->sim->size) {
        sim_violation("client %u is told of %llu bytes, the volume has %llu",
                      client->index, (unsigned long long)size,
                      (unsigned long long)client->sim->size);
    }
}

enum rdisk_status sim_server_resize(void *opaque, void *user, uint64_t size,
                                    bool shrink, struct rdisk_error *err)
{
    struct sim *sim = opaque;

    if (size < sim->size) {
        /* Another client was faster. */
        rdisk_error_set(err, -EINVAL, "it is larger already");
        return RDISK_STATUS_OUT_OF_RANGE;
    }
    sim->size = size;
    for (unsigned int i = 0; i < SIM_HOLDERS; i++) {
        struct sim_holder *holder = &sim->server.holders[i];

        /* A visitor's volume is another one, and the reader's. */
        if (holder->session && !holder->visitor && !holder->reader &&
            (holder == user ||
             sim->mutation != SIM_MUTATE_RESIZE_NOT_REPORTED)) {
            rdisk_target_session_resize(holder->session, size);
        }
    }
    return RDISK_STATUS_OK;
}

bool sim_sizes_known(struct sim *sim)
{
    for (unsigned int i = 0; i < sim->schedule->config.clients; i++) {
        const struct sim_client *client = &sim->clients[i];

        if (client->session && client->state == RDISK_INITIATOR_READY &&
            rdisk_initiator_size(client->session) != sim->size) {
            return false;
        }
    }
    return true;
}
