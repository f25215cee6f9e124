/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What happens to a client in a certain state: in each of its states each
 * thing, in turn over the schedules, so that a short run takes every transition
 * of its state machine.
 */
#include <errno.h>

#include "tests/sim/sim.h"
#include "transport/initiator/queue.h"
#include "transport/wire/wire.h"

#define RESTORE_MS      300u
#define STALL_SERVER_MS 12000u  /* longer than any open-timeout here */
#define SLOW_NAME_MS    2400u   /* longer than the shortest reconnect-delay */
#define STALL_QUEUES_MS 40000u  /* longer than QUIESCING stays silent */
#define SLOW_US         800000u /* requests, for DRAINING to last */

static const enum rdisk_initiator_state goals[] = {
    RDISK_INITIATOR_RESOLVING,  RDISK_INITIATOR_CONNECTING,
    RDISK_INITIATOR_HELLO_SENT, RDISK_INITIATOR_AUTH_SENT,
    RDISK_INITIATOR_PROOF_SENT, RDISK_INITIATOR_OPENING,
    RDISK_INITIATOR_CREATING,   RDISK_INITIATOR_JOINING,
    RDISK_INITIATOR_READY,      RDISK_INITIATOR_DRAINING,
    RDISK_INITIATOR_QUIESCING,  RDISK_INITIATOR_BACKOFF,
    RDISK_INITIATOR_CLOSING,
};

#define GOALS (sizeof(goals) / sizeof(goals[0]))

enum act {
    BREAK,       /* the control connection's queue pair */
    BREAK_QUEUE, /* that of a data queue */
    REMOVE,      /* the client's device */
    STALL_SERVER,
    STALL_QUEUES, /* the threads that serve them */
    SPOIL,        /* the server's next message */
    CANCEL,
    GIVE_UP,
    FENCE, /* by hand, at the server */
    ACTS
};

static const char *const act_names[] = {
    [BREAK] = "the control connection breaks",
    [BREAK_QUEUE] = "a data queue breaks",
    [REMOVE] = "the device is removed",
    [STALL_SERVER] = "the server stalls",
    [STALL_QUEUES] = "the queues' threads stall",
    [SPOIL] = "the server's next message is spoilt",
    [CANCEL] = "the wait is cancelled",
    [GIVE_UP] = "the connection is given up",
    [FENCE] = "it is fenced by hand",
};

/* ---- The server's messages ----------------------------------------------- */

static bool spoil;
static int (*post_send)(struct ibv_qp *qp, struct ibv_send_wr *wr,
                        struct ibv_send_wr **bad);

static int post_send_spoilt(struct ibv_qp *qp, struct ibv_send_wr *wr,
                            struct ibv_send_wr **bad)
{
    if (spoil && wr->opcode == IBV_WR_SEND) {
        struct rdisk_wire_message *message =
            (struct rdisk_wire_message *)(uintptr_t)wr->sg_list[0].addr;

        message->type = htole16(999);
        spoil = false;
    }
    return post_send(qp, wr, bad);
}

void sim_ambush_server_verbs(struct rdisk_verbs *verbs)
{
    spoil = false;
    post_send = verbs->post_send;
    verbs->post_send = post_send_spoilt;
}

/* ---- The way there ------------------------------------------------------- */

static void break_qp(const struct sim_client *client, unsigned int index)
{
    struct ibv_qp *qp = fake_host_qp(client->host, index);

    if (qp) {
        fake_qp_break(qp);
    }
}

static struct rdisk_target_session *session_at_server(
    const struct sim_client *client)
{
    struct sim_server *server = &client->sim->server;

    for (unsigned int i = 0; !server->dead && i < SIM_HOLDERS; i++) {
        const struct sim_holder *holder = &server->holders[i];

        if (holder->session && holder->client == client->index &&
            holder->serial == client->serial) {
            return holder->session;
        }
    }
    return NULL;
}

static void drain(struct sim_client *client)
{
    struct rdisk_target_session *session = session_at_server(client);

    if (session) {
        client->sim->server.slowest = SLOW_US * 1000;
        for (unsigned int i = 0; i < 4; i++) {
            sim_client_submit(client, RDISK_OP_WRITE, i, 1, i << 4);
        }
        sim_client_kick(client);
        rdisk_target_session_end(session, RDISK_STATUS_SHUTTING_DOWN,
                                 "drained");
    }
}

/* A session that is READY gets to the state. */
static void provoke(struct sim_client *client)
{
    switch (client->ambush.state) {
    case RDISK_INITIATOR_READY:
        break;
    case RDISK_INITIATOR_DRAINING:
        drain(client);
        break;
    case RDISK_INITIATOR_CLOSING:
        client->want_close = true;
        break;
    case RDISK_INITIATOR_QUIESCING:
    case RDISK_INITIATOR_BACKOFF:
        break_qp(client, 0);
        break;
    default:
        if (client->ambush.again) {
            break_qp(client, 0);
        } else {
            client->want_close = true;
        }
    }
}

/* ---- There --------------------------------------------------------------- */

/* A data queue that is connected, while others may not be yet. */
static struct rdisk_queue *joined_queue(const struct sim_client *client)
{
    struct rdisk_queue *queue;

    for (unsigned int i = 0;
         (queue = rdisk_initiator_queue(client->session, i)); i++) {
        if (queue->link.state == RDISK_LINK_UP) {
            return queue;
        }
    }
    return NULL;
}

static void stall(struct sim_client *client, uint64_t *until, unsigned int ms)
{
    *until = sim_now(client->sim) + ms * RDISK_MSEC;
    client->ambush.until = *until;
}

static void act_on(struct sim_client *client)
{
    struct rdisk_target_session *session = session_at_server(client);
    uint64_t now = sim_now(client->sim);

    sim_log(client->sim, "client %u: in state %s, %s", client->index,
            rdisk_initiator_state_name(client->state),
            act_names[client->ambush.act]);
    switch ((enum act)client->ambush.act) {
    case BREAK:
        break_qp(client, 0);
        break;
    case BREAK_QUEUE:
        if (client->state != RDISK_INITIATOR_JOINING) {
            break_qp(client, 1);
        } else {
            /* Else the server sends BYE first. */
            fake_id_disconnect(joined_queue(client)->link.id);
        }
        break;
    case REMOVE:
        sim_client_remove(client, true);
        client->ambush.restore_at = now + RESTORE_MS * RDISK_MSEC;
        break;
    case STALL_SERVER:
        if (client->state == RDISK_INITIATOR_RESOLVING) {
            sim_resolver(client->sim, SIM_RESOLVER_RIGHT, SLOW_NAME_MS);
            break;
        }
        stall(client, &client->sim->server.stalled_until, STALL_SERVER_MS);
        break;
    case STALL_QUEUES:
        stall(client, &client->stalled_until[1], STALL_QUEUES_MS);
        break;
    case SPOIL:
        spoil = true;
        break;
    case CANCEL:
        rdisk_initiator_cancel(client->session);
        break;
    case GIVE_UP:
        rdisk_initiator_give_up(client->session);
        break;
    case FENCE:
        if (session) {
            rdisk_target_session_end(session, RDISK_STATUS_STALE,
                                     "fenced by hand");
        }
        break;
    case ACTS:
        break;
    }
}

static bool there(const struct sim_client *client)
{
    const struct sim_ambush *ambush = &client->ambush;

    if (client->state != ambush->state) {
        return false;
    }
    switch (client->state) {
    case RDISK_INITIATOR_READY:
    case RDISK_INITIATOR_DRAINING:
    case RDISK_INITIATOR_CLOSING:
        return true;
    case RDISK_INITIATOR_JOINING:
        return client->opened == ambush->again &&
               (ambush->act != BREAK_QUEUE || joined_queue(client));
    default:
        return client->opened == ambush->again;
    }
}

/* ---- For the others ------------------------------------------------------ */

void sim_ambush_set(struct sim_client *client, unsigned int number)
{
    struct sim_ambush *ambush = &client->ambush;

    *ambush = (struct sim_ambush) {
        .armed = true,
        .state = goals[number % GOALS],
        .act = number / GOALS % ACTS,
        .again = number / GOALS / ACTS % 2,
        .until = ambush->until,
        .restore_at = ambush->restore_at ? ambush->restore_at : SIM_NEVER,
    };
    client->creates = ambush->state == RDISK_INITIATOR_CREATING;
}

void sim_ambush_suit(unsigned int number, struct sim_config *config)
{
    enum rdisk_initiator_state state = goals[number % GOALS];
    enum act act = number / GOALS % ACTS;
    bool again = number / GOALS / ACTS % 2;

    if (state == RDISK_INITIATOR_RESOLVING && !config->name) {
        config->name = SIM_NAME_HOST;
    }
    if (state == RDISK_INITIATOR_AUTH_SENT ||
        state == RDISK_INITIATOR_PROOF_SENT) {
        config->authenticate = true;
    }
    if (again && !config->reconnect_delay_ms) {
        config->reconnect_delay_ms = 20000;
    }
    if (again && act == STALL_SERVER) {
        config->reconnect_delay_ms = 2000;
        config->open_timeout_ms = 9000;
    }
    if (!again && state == RDISK_INITIATOR_DRAINING &&
        (act == REMOVE || act == BREAK_QUEUE || act == GIVE_UP)) {
        config->reconnect_delay_ms = 0;
    }
    if (act == BREAK_QUEUE && config->queues < 2) {
        config->queues = 2;
    }
}

bool sim_ambush_over(struct sim *sim)
{
    for (unsigned int i = 0; i < sim->schedule->config.clients; i++) {
        if (sim->clients[i].ambush.armed) {
            return false;
        }
    }
    return true;
}

void sim_ambush_text(unsigned int number, char *text, size_t size)
{
    snprintf(text, size, "in state %s, %s",
             rdisk_initiator_state_name(goals[number % GOALS]),
             act_names[number / GOALS % ACTS]);
}

bool sim_ambush_life(struct sim_client *client)
{
    struct sim_ambush *ambush = &client->ambush;

    if (client->removed && sim_now(client->sim) >= ambush->restore_at) {
        sim_client_restore(client);
        ambush->restore_at = SIM_NEVER;
        return true;
    }
    if (!ambush->armed || !client->session || client->crashed) {
        return false;
    }
    if (there(client)) {
        ambush->armed = false;
        act_on(client);
        return true;
    }
    if (client->state == RDISK_INITIATOR_READY && !ambush->provoked) {
        ambush->provoked = true;
        provoke(client);
        return true;
    }
    return false;
}

uint64_t sim_ambush_due(const struct sim_client *client)
{
    return client->removed ? client->ambush.restore_at : SIM_NEVER;
}

void sim_ambush_calm(struct sim_client *client)
{
    client->ambush.armed = false;
    client->ambush.act = BREAK;
    client->creates = false;
    spoil = false;
}

bool sim_ambush_holds(const struct sim_queue *queue)
{
    const struct sim *sim = queue->sim;
    const struct sim_client *client;

    if (queue->holder->visitor || queue->holder->reader) {
        return false;
    }
    client = &sim->clients[queue->holder->client];
    if (client->ambush.act != BREAK_QUEUE ||
        client->ambush.state != RDISK_INITIATOR_JOINING ||
        (!client->ambush.armed && client->state != RDISK_INITIATOR_JOINING)) {
        return false;
    }
    for (unsigned int i = 0; i < SIM_QUEUES; i++) {
        const struct sim_queue *other = &sim->server.queues[i];

        if (other->queue && other->holder == queue->holder && other->started) {
            return true;
        }
    }
    return false;
}

uint64_t sim_ambush_left(struct sim *sim)
{
    uint64_t until = sim_now(sim);

    for (unsigned int i = 0; i < sim->schedule->config.clients; i++) {
        const struct sim_ambush *ambush = &sim->clients[i].ambush;

        until = ambush->until > until ? ambush->until : until;
    }
    return until - sim_now(sim);
}
