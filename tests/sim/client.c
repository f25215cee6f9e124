/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Clients: each a host with a program that opens sessions, and opens another
 * one when one has failed.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/sim.h"

static uint8_t arenas[SIM_CLIENTS][2][SIM_CELLS] __attribute__((aligned(4096)));

/* ---- Sessions ---------------------------------------------------------- */

/* Mutations of what happens when a connection breaks or is back. */
static void mutate_state(struct sim_client *client)
{
    enum sim_mutation mutation = client->sim->mutation;

    for (unsigned int i = 0; i < client->request_count; i++) {
        struct sim_request *request = &client->requests[i];

        if (mutation == SIM_MUTATE_LATE_DMA && request->pending &&
            (client->state == RDISK_INITIATOR_QUIESCING ||
             client->state == RDISK_INITIATOR_FAILED)) {
            sim_request_end(request, -EIO);
            request->given_up = true;
        }
    }
}

static void state_changed(void *opaque, enum rdisk_initiator_state state)
{
    struct sim_client *client = opaque;

    sim_log(client->sim, "client %u: session %u is %s", client->index,
            client->serial, rdisk_initiator_state_name(state));
    if (rdisk_initiator_state_ended(client->state)) {
        sim_violation("an ended session of client %u goes on", client->index);
    }
    client->state = state;
    if (state == RDISK_INITIATOR_READY) {
        client->opened = true;
        /* The server has fenced and drained what was before. */
        sim_check_settled(&client->sim->checker, client->index, client->serial);
    }
    mutate_state(client);
}

static void start(struct sim_client *client)
{
    static const struct rdisk_initiator_events events = {
        .state = state_changed,
        .volume_changed = sim_client_told,
    };
    const struct sim_config *config = &client->sim->schedule->config;
    struct rdisk_initiator_options options;
    struct rdisk_error err = { 0 };
    struct rdisk_secret secret;

    rdisk_initiator_options_init(&options);
    if (config->authenticate) {
        sim_secret(&secret);
        options.user = SIM_USER;
        options.secret = &secret;
    }
    options.host = config->name ? SIM_HOST : "10.0.0.1";
    options.port = SIM_PORT;
    options.volume = client->creates ? "new" : "vol";
    options.shared = config->shared;
    options.queues = config->queues;
    options.slots = config->slots;
    options.slot_size = SIM_RUN * SIM_BLOCK;
    options.bounce_size = 64 << 10;
    options.guest_memory = config->guest_memory;
    options.write_acks = config->write_acks;
    options.reconnect_delay_ms = config->reconnect_delay_ms;
    options.heartbeat_ms = config->heartbeat_ms;
    options.request_timeout_ms = config->request_timeout_ms;
    options.open_timeout_ms = config->open_timeout_ms;
    options.withheld_features = sim_withheld(client->sim);
    client->serial++;
    client->state = RDISK_INITIATOR_IDLE;
    client->opened = client->register_tried = client->registered = false;
    client->session = rdisk_initiator_create(&client->env, &options, &events,
                                             client, &err);
    if (!client->session) {
        sim_violation("no session: %s", err.text);
    }
    if (client->creates) {
        rdisk_initiator_make(client->session, SIM_BLOCK, 0);
        client->creates = false;
    }
    rdisk_initiator_start(client->session, &err);
}

static void drop(struct sim_client *client)
{
    struct sim *sim = client->sim;

    if (client->state == RDISK_INITIATOR_FAILED) {
        sim_log(sim, "client %u: session %u has failed: %s", client->index,
                client->serial, rdisk_initiator_error(client->session)->text);
    }
    if (client->registered) {
        rdisk_initiator_unregister(client->session, client->cells[1],
                                   SIM_CELLS);
    }
    /* The end of a program tells the other side, whatever that does to a
     * device without a link. */
    fake_host_link(client->host, true);
    rdisk_initiator_destroy(client->session);
    client->session = NULL;
    client->want_close = client->closing = false;
    client->reopen_at = sim_now(sim) + (50 + sim_random(sim, 500)) * RDISK_MSEC;
    if (!sim_server_holds(sim, client->index, client->serial)) {
        sim_check_settled(&sim->checker, client->index, client->serial);
    }
    if (client->crashed) {
        fake_host_start(client->host);
        client->crashed = false;
    }
}

void sim_client_crash(struct sim_client *client, enum fake_death death)
{
    if (!client->session || client->crashed || client->removed) {
        return;
    }
    fake_host_link(client->host, true);
    fake_host_kill(client->host, death);
    client->crashed = true;
    client->stalled_until[0] = client->stalled_until[1] = 0;
}

/* A write that has failed goes out again: a mutation. */
static bool resend(struct sim_client *client)
{
    for (unsigned int i = 0; i < client->request_count; i++) {
        struct sim_request *request = &client->requests[i];
        const struct sim_write *write =
            &client->sim->checker.writes[request->write];

        if (request->write && !request->pending && !request->given_up &&
            request->serial == client->serial && !write->succeeded &&
            write->op == RDISK_OP_WRITE && write->answered != SIM_NEVER &&
            rdisk_queue_submit(rdisk_initiator_queue(client->session, 0),
                               &request->request) == 0) {
            request->given_up = true;
            request->write = 0;
            return true;
        }
    }
    return false;
}

static bool end_session(struct sim_client *client)
{
    switch (client->state) {
    case RDISK_INITIATOR_CLOSED:
        sim_check_given_back(client->sim, client->index, client->serial,
                             rdisk_initiator_info(client->session)->generation);
        drop(client);
        return true;
    case RDISK_INITIATOR_FAILED:
        drop(client);
        return true;
    case RDISK_INITIATOR_CLOSING:
        return false;
    case RDISK_INITIATOR_READY:
        if (client->want_close) {
            client->closing = true;
            rdisk_initiator_close(client->session);
        }
        return client->want_close;
    default:
        if (client->want_close && !client->closing) {
            drop(client);
            return true;
        }
        return false;
    }
}

bool sim_client_life(struct sim_client *client)
{
    if (client->sim->mutation == SIM_MUTATE_LATE_DMA && sim_mutate_catch_up()) {
        return true;
    }
    if (sim_ambush_life(client)) {
        return true;
    }
    if (!client->session) {
        if (client->stay_away || sim_now(client->sim) < client->reopen_at) {
            return false;
        }
        start(client);
        return true;
    }
    if (client->crashed) {
        if (client->outstanding) {
            rdisk_initiator_cancel(client->session);
            return false;
        }
        drop(client);
        return true;
    }
    if (sim_client_stalled(client, 0)) {
        return false;
    }
    if (client->state == RDISK_INITIATOR_READY && !client->register_tried) {
        client->register_tried = true;
        client->registered = rdisk_initiator_register(client->session,
                                                      client->cells[1],
                                                      SIM_CELLS, NULL) == 0;
    }
    if (client->sim->mutation == SIM_MUTATE_RESEND_FAILED &&
        client->state == RDISK_INITIATOR_READY && resend(client)) {
        return true;
    }
    return !client->outstanding && end_session(client);
}

uint64_t sim_client_due(const struct sim_client *client)
{
    uint64_t now = sim_now(client->sim);
    uint64_t due = SIM_NEVER;

    due = sim_ambush_due(client);
    if (!client->session) {
        return client->stay_away ? due : sim_least(due, client->reopen_at);
    }
    for (unsigned int i = 0; i < 2; i++) {
        if (client->stalled_until[i] > now) {
            due = sim_least(due, client->stalled_until[i]);
        }
    }
    return client->stalled_until[0] > now
               ? due
               : sim_least(due, rdisk_initiator_deadline(client->session));
}

bool sim_client_stalled(const struct sim_client *client, unsigned int who)
{
    return client->stalled_until[who] > sim_now(client->sim);
}

/* ---- Beginning --------------------------------------------------------- */

static uint64_t env_now(void *opaque)
{
    struct sim_client *client = opaque;

    return sim_now(client->sim);
}

/* 16 bytes are a session's client id: the server's owner reads from them
 * whose it is. */
static void env_random(void *opaque, void *buf, size_t size)
{
    struct sim_client *client = opaque;

    client->fake.random(client->fake.opaque, buf, size);
    if (size == 16) {
        unsigned int id[2] = { client->index, client->serial };

        memcpy(buf, id, sizeof(id));
    }
}

static void env_log(void *opaque, enum rdisk_log_level level, const char *line)
{
    struct sim_client *client = opaque;

    sim_log(client->sim, "client %u: %s", client->index, line);
    /* Control messages are corrupted on purpose; answers are not. */
    if (strstr(line, "matches no request")) {
        sim_violation("client %u: %s", client->index, line);
    }
}

void sim_clients_begin(struct sim *sim)
{
    for (unsigned int i = 0; i < sim->schedule->config.clients; i++) {
        struct sim_client *client = &sim->clients[i];
        char address[32];

        snprintf(address, sizeof(address), "10.0.0.%u", 2 + i);
        client->sim = sim;
        client->index = i;
        client->cells[0] = arenas[i][0];
        client->cells[1] = arenas[i][1];
        client->host = fake_host_add(sim->fabric, address);
        fake_host_env(client->host, &client->fake);
        client->verbs = *client->fake.verbs;
        sim_mutate_client_verbs(&client->verbs, sim->mutation);
        sim_mutate_bare_client(&client->verbs, sim->mutation,
                               sim->schedule->config.slots);
        sim_mutate_vector_client(&client->verbs, sim->mutation);
        sim_mutate_slots_client(&client->verbs, sim->mutation);
        client->env = (struct rdisk_env) {
            .verbs = &client->verbs,
            .now = env_now,
            .stopwatch = env_now,
            .random = env_random,
            .log = env_log,
            .opaque = client,
        };
    }
}
