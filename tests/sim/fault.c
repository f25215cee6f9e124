/* SPDX-License-Identifier: BSD-3-Clause */
/* Makes one event of a schedule happen, and ends all that is wrong. */
#include <errno.h>

#include "tests/sim/sim.h"

void sim_client_restore(struct sim_client *client)
{
    if (client->removed) {
        client->removed = false;
        fake_host_restore_device(client->host);
    }
}

void sim_client_remove(struct sim_client *client, bool flush)
{
    if (!client->removed && !client->crashed) {
        client->removed = true;
        fake_host_remove_device(client->host, flush);
    }
}

/* A queue that connects, and that the server has not accepted yet. */
static bool accepting(const struct sim *sim)
{
    for (unsigned int i = 0; i < SIM_QUEUES; i++) {
        const struct sim_queue *queue = &sim->server.queues[i];

        if (queue->queue && !queue->started) {
            return true;
        }
    }
    return false;
}

/*
 * While an end is connecting its kernel may have to answer, whatever the
 * program does.
 */
static void link_event(struct sim *sim, struct sim_client *client,
                       const struct sim_event *event)
{
    bool servers = event->b % 2;

    if (event->kind == SIM_LINK) {
        fake_host_link(servers ? sim->server.host : client->host, true);
    } else if (servers) {
        if (!accepting(sim)) {
            fake_host_link(sim->server.host, false);
        }
    } else if (client->state == RDISK_INITIATOR_READY ||
               client->state == RDISK_INITIATOR_BACKOFF) {
        fake_host_link(client->host, false);
    }
}

static void queue_pair(struct sim *sim, struct sim_client *client,
                       const struct sim_event *event)
{
    struct fake_host *host = event->b % 2 ? client->host : sim->server.host;
    struct ibv_qp *qp = fake_host_qp(host, event->c % 6);

    if (qp && event->kind == SIM_BREAK) {
        fake_qp_break(qp);
    } else if (qp && event->kind == SIM_LOSE_ACKS) {
        fake_qp_lose_acks(qp, event->d % 3);
    } else if (qp) {
        fake_qp_cut(qp, true);
    }
}

void sim_resolver(struct sim *sim, enum sim_resolver what,
                  unsigned int delay_ms)
{
    static const char *const right[SIM_NAME_COUNT] = {
        [SIM_NAME_ADDRESS] = "10.0.0.1",
        [SIM_NAME_HOST] = "10.0.0.1",
        [SIM_NAME_DEAD] = "10.0.0.99 10.0.0.1",
        [SIM_NAME_REFUSE] = "10.0.0.2 10.0.0.1",
    };
    static const char *const others[SIM_RESOLVER_COUNT] = {
        [SIM_RESOLVER_EMPTY] = "",
        [SIM_RESOLVER_WRONG] = "10.0.0.99",
    };

    fake_name_set(sim->fabric, SIM_HOST,
                  what == SIM_RESOLVER_RIGHT ? right[sim->schedule->config.name]
                                             : others[what],
                  delay_ms * RDISK_MSEC);
}

static void server_event(struct sim *sim, const struct sim_event *event)
{
    struct sim_server *server = &sim->server;
    bool was_up = server->target && !server->dead && !server->stopping;

    switch (event->kind) {
    case SIM_KILL:
        sim_server_kill(sim, FAKE_PROCESS_DIES);
        break;
    case SIM_POWER:
        sim_server_kill(sim, FAKE_POWER_FAILS);
        break;
    case SIM_STOP:
        sim_server_stop(sim);
        break;
    default:
        if (!was_up && !server->want_start) {
            server->want_start = true;
            server->start_at = sim_now(sim);
        }
        return;
    }
    /* Mostly it comes back by itself, at once or later. */
    if (was_up) {
        server->want_start = event->b % 4;
        server->start_at = sim_now(sim) + event->c % 4000 * RDISK_MSEC;
    }
}

static void program_event(struct sim *sim, struct sim_client *client,
                          const struct sim_event *event)
{
    static const uint64_t speeds[] = { 0, 200, 20000, 800000, 4000000 };
    uint64_t until = sim_now(sim) + event->c % 15000 * RDISK_MSEC;

    switch (event->kind) {
    case SIM_STALL:
        for (unsigned int i = 0; i < 2; i++) {
            if (event->b & 1u << i) {
                client->stalled_until[i] = until;
            }
        }
        break;
    case SIM_STALL_SERVER:
        sim->server.stalled_until = until;
        break;
    case SIM_SLOW:
        sim->server.slowest = speeds[event->b % 5] * 1000;
        break;
    case SIM_ERRORS:
        sim->server.errors = event->b % 3 ? 2 + event->c % 20 : 0;
        break;
    case SIM_CANCEL:
        if (client->session && client->opened && event->b % 2) {
            rdisk_initiator_give_up(client->session);
        } else if (client->session && client->opened) {
            rdisk_initiator_cancel(client->session);
        }
        break;
    case SIM_VISIT:
        sim_visitor_come(sim, event->b, event->c, event->d);
        break;
    case SIM_AMBUSH:
        sim_ambush_set(client, event->b);
        sim_advance(sim, 1500 * RDISK_MSEC, sim_ambush_over);
        break;
    case SIM_RESIZE:
        sim_client_resize(client, event->b % 4);
        break;
    case SIM_CLOSE:
        client->want_close = client->session != NULL;
        break;
    default:
        sim_client_crash(client,
                         event->b % 2 ? FAKE_PROCESS_DIES : FAKE_POWER_FAILS);
        break;
    }
}

/* What happens to the link between a client and the server; false: it is
 * something else. */
static bool network_event(struct sim *sim, struct sim_client *client,
                          const struct sim_event *event)
{
    struct fake_host *server = sim->server.host;

    switch (event->kind) {
    case SIM_CUT:
    case SIM_MEND:
        fake_link_cut(client->host, server, event->kind == SIM_CUT);
        return true;
    case SIM_AWAY:
        fake_link_cut(client->host, server, true);
        sim_server_lose(sim, event->a);
        return true;
    case SIM_NO_LINK:
    case SIM_LINK:
        link_event(sim, client, event);
        return true;
    case SIM_DELAY:
        fake_link_delay(client->host, server, event->c % 6000 * RDISK_MSEC);
        return true;
    case SIM_LOSS:
        fake_fabric_loss(sim->fabric, event->b % 2 ? 5 + event->c % 100 : 0);
        return true;
    default:
        return false;
    }
}

void sim_event(struct sim *sim, const struct sim_event *event)
{
    struct sim_client *client = &sim->clients[event->a];

    if (network_event(sim, client, event)) {
        return;
    }
    switch (event->kind) {
    case SIM_SUBMIT:
        sim_client_submit(client, (enum rdisk_op)event->b, event->c, event->d,
                          event->e);
        break;
    case SIM_BREAK:
    case SIM_CUT_QP:
    case SIM_LOSE_ACKS:
        queue_pair(sim, client, event);
        break;
    case SIM_REMOVE:
        sim_client_remove(client, event->b % 2);
        break;
    case SIM_RESTORE:
        sim_server_restore_device(sim);
        sim_client_restore(client);
        break;
    case SIM_FAIL:
        fake_fail(event->d % 2 ? client->host : sim->server.host,
                  event->b % FAKE_CALLS_SURVIVED, 1 + event->c % 4,
                  event->d % 3 ? ENOMEM : EINVAL);
        break;
    case SIM_REPLAY:
        sim_server_replay(sim, event->a, event->b % 3);
        break;
    case SIM_NAME:
        sim_resolver(sim, event->b % SIM_RESOLVER_COUNT,
                     event->d % 2 ? event->c % 60000 : event->c % 300);
        break;
    case SIM_DRAIN:
    case SIM_RESUME:
        sim_server_drain(sim, event->kind == SIM_DRAIN);
        break;
    case SIM_KILL:
    case SIM_POWER:
    case SIM_STOP:
    case SIM_START:
        server_event(sim, event);
        break;
    default:
        program_event(sim, client, event);
        break;
    }
}

static void acknowledge(struct fake_host *host)
{
    struct ibv_qp *qp;

    for (unsigned int i = 0; (qp = fake_host_qp(host, i)); i++) {
        fake_qp_lose_acks(qp, false);
    }
}

void sim_heal(struct sim *sim)
{
    struct sim_server *server = &sim->server;

    fake_fabric_loss(sim->fabric, 0);
    acknowledge(server->host);
    sim_resolver(sim, SIM_RESOLVER_RIGHT, 0);
    for (int call = 0; call < FAKE_CALLS_SURVIVED; call++) {
        fake_fail(server->host, call, 0, 0);
        for (unsigned int c = 0; c < sim->schedule->config.clients; c++) {
            fake_fail(sim->clients[c].host, call, 0, 0);
        }
    }
    for (unsigned int c = 0; c < sim->schedule->config.clients; c++) {
        struct sim_client *client = &sim->clients[c];

        sim_ambush_calm(client);
        acknowledge(client->host);
        fake_link_cut(client->host, server->host, false);
        fake_host_link(client->host, true);
        sim_client_restore(client);
        client->stalled_until[0] = client->stalled_until[1] = 0;
        sim_client_kick(client);
    }
    fake_host_link(server->host, true);
    sim_server_restore_device(sim);
    sim_visitor_calm(sim);
    sim_reader_calm(sim);
    server->stalled_until = 0;
    server->drained = false;
    /* What the backend has begun still takes its time. */
    server->slowest = 200000;
    server->errors = 0;
    if (!server->want_start &&
        (!server->target || server->dead || server->stopping)) {
        server->want_start = true;
        server->start_at = sim_now(sim);
    }
}
