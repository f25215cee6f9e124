/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A visitor: a client by bare verbs that brings its session on the server to a
 * certain state, and then does something there, or has the server do it. Real
 * clients are seldom there at such a moment, and never break the protocol.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "tests/sim/visitor.h"
#include "transport/verbs/conn_param.h"
#include "transport/wire/list.h"

#define STAY_MS 20000 /* then it goes, whatever has come of it */
/* Time for the server to receive what was sent without a reply. */
#define ARRIVE_MS 30

static uint64_t now(const struct sim_visitor *visitor)
{
    return sim_now(visitor->sim);
}

/* ---- Connections ------------------------------------------------------- */

static void resolve(struct sim_visitor *visitor, struct rdma_cm_id **id)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(SIM_PORT),
    };
    const struct rdisk_verbs *verbs = visitor->env.verbs;

    inet_pton(AF_INET, fake_host_address(visitor->sim->server.host),
              &address.sin_addr);
    if (verbs->create_id(visitor->channel, id, NULL) < 0 ||
        verbs->resolve_addr(*id, (struct sockaddr *)&address, 2000) < 0) {
        visitor->leave_at = 0;
    }
}

static void fill_connect(const struct sim_visitor *visitor, bool data,
                         struct rdisk_wire_connect *wire)
{
    const struct rdisk_wire_open_reply *granted = &visitor->granted;

    *wire = (struct rdisk_wire_connect) {
        .magic = htole32(RDISK_WIRE_MAGIC),
        .version = htole16(RDISK_WIRE_VERSION),
    };
    if (data) {
        wire->kind = RDISK_LINK_DATA;
        wire->queue = htole16(1);
        wire->slots = granted->slots;
        wire->slot_size = granted->slot_size;
        wire->session = granted->session;
        wire->epoch = granted->epoch;
        memcpy(wire->token, granted->token, sizeof(wire->token));
    }
}

static int create_ends(struct sim_visitor *visitor, struct rdma_cm_id *id)
{
    struct rdisk_qp_config config = {
        .counters = &visitor->counters,
        .send_depth = 4,
        .recv_depth = 4,
        .max_sge = 1,
    };
    struct rdisk_error err;

    if (id == visitor->data) {
        return rdisk_qp_create(&visitor->qp, &visitor->env, id, visitor->pd,
                               &config, &err);
    }
    visitor->pd = visitor->env.verbs->alloc_pd(id->verbs);
    return !visitor->pd ? -1
                        : rdisk_control_create(&visitor->control, &visitor->env,
                                               id, visitor->pd, &err);
}

static void connect_id(struct sim_visitor *visitor, struct rdma_cm_id *id)
{
    struct rdisk_wire_connect wire;
    struct rdma_conn_param param = rdisk_conn_param(&wire, sizeof(wire));

    fill_connect(visitor, id == visitor->data, &wire);
    if (create_ends(visitor, id) < 0 ||
        visitor->env.verbs->connect(id, &param) < 0) {
        visitor->leave_at = 0;
    }
}

/* ---- On its way -------------------------------------------------------- */

void sim_visitor_arrive(struct sim_visitor *visitor, unsigned int ms)
{
    visitor->act_at = now(visitor) + (uint64_t)ms * RDISK_MSEC;
}

/* True if it has the state that it is sent to; else it goes on. */
static bool reached(struct sim_visitor *visitor, enum rdisk_target_state state)
{
    if (visitor->goal == state) {
        sim_visitor_arrive(visitor, 0);
    }
    return visitor->goal == state;
}

static void ask(struct sim_visitor *visitor)
{
    bool creates = visitor->goal == RDISK_TARGET_CREATING ||
                   (visitor->goal == RDISK_TARGET_CLOSE_WAIT &&
                    visitor->how & 4);

    if (reached(visitor, RDISK_TARGET_WAIT_OPEN)) {
        return;
    }
    if (visitor->goal == RDISK_TARGET_LISTING) {
        sim_visitor_send_list(visitor);
        sim_visitor_arrive(visitor, ARRIVE_MS);
        return;
    }
    if (creates) {
        sim_visitor_send_create(visitor);
    } else {
        sim_visitor_send_open(visitor);
    }
    if (visitor->goal != RDISK_TARGET_WAIT_JOIN &&
        visitor->goal < RDISK_TARGET_OPEN) {
        sim_visitor_arrive(visitor, ARRIVE_MS);
    }
}

/* Half of them list the volumes before. */
static void ask_or_list(struct sim_visitor *visitor)
{
    if (visitor->how & 128 && visitor->auth.chosen & RDISK_FEATURE_LIST &&
        visitor->goal != RDISK_TARGET_LISTING) {
        visitor->listed[0] = '\0';
        sim_visitor_send_list(visitor);
    } else {
        ask(visitor);
    }
}

static void take_list(struct sim_visitor *visitor,
                      const struct rdisk_wire_list_reply *reply)
{
    struct rdisk_list_place place = { 0 };
    struct rdisk_list_entry entry;

    if (visitor->goal == RDISK_TARGET_LISTING) {
        return;
    }
    while (rdisk_list_next(reply, &place, &entry)) {
        if (strcmp(entry.name, visitor->listed) <= 0) {
            sim_violation("a volume is listed twice");
        }
        memcpy(visitor->listed, entry.name, sizeof(visitor->listed));
    }
    if (le32toh(reply->flags) & RDISK_LIST_MORE) {
        sim_visitor_send_list(visitor);
        return;
    }
    if (strcmp(visitor->listed, SIM_VISITOR_LAST)) {
        sim_violation("the list of volumes is not whole");
    }
    ask(visitor);
}

static void joined(struct sim_visitor *visitor)
{
    struct sim_holder *holder = visitor->holder;

    if (visitor->auth.chosen & RDISK_FEATURE_BARE) {
        sim_visitor_write_beyond_the_end(visitor);
    }
    switch (visitor->goal) {
    case RDISK_TARGET_CLOSING:
        sim_visitor_send_plain(visitor, RDISK_MSG_CLOSE);
        break;
    case RDISK_TARGET_RELEASING:
        sim_visitor_send_plain(visitor, RDISK_MSG_CLOSE);
        return; /* it has that state when events->open is called */
    case RDISK_TARGET_ENDED:
        visitor->env.verbs->disconnect(visitor->id);
        break;
    case RDISK_TARGET_DRAINING:
        if (holder) {
            rdisk_target_session_end(holder->session,
                                     RDISK_STATUS_SHUTTING_DOWN, "drained");
        }
        break;
    default:
        break;
    }
    sim_visitor_arrive(visitor, ARRIVE_MS);
}

static void receive(struct sim_visitor *visitor,
                    const struct rdisk_wire_message *message)
{
    bool ok = !message->status;

    sim_log(visitor->sim, "visitor: receives %s",
            rdisk_message_name(le16toh(message->type)));
    if (visitor->goal == RDISK_TARGET_CLOSE_WAIT && !ok) {
        sim_visitor_arrive(visitor, 0);
        return;
    }
    switch (ok ? le16toh(message->type) : 0) {
    case RDISK_MSG_HELLO_REPLY:
        visitor->auth.chosen = le64toh(
            ((const struct rdisk_wire_hello *)message)->features);
        if (!((const struct rdisk_wire_hello *)message)->auth) {
            ask_or_list(visitor);
        } else if (!reached(visitor, RDISK_TARGET_WAIT_AUTH)) {
            sim_visitor_send_auth(visitor);
        }
        break;
    case RDISK_MSG_AUTH_CHALLENGE:
        if (!reached(visitor, RDISK_TARGET_WAIT_PROOF)) {
            sim_visitor_send_proof(visitor, (const void *)message);
            if (visitor->goal == RDISK_TARGET_DENY_DELAY ||
                visitor->goal == RDISK_TARGET_DENY_LEFT) {
                sim_visitor_arrive(visitor, ARRIVE_MS);
            }
        }
        break;
    case RDISK_MSG_AUTH_REPLY:
        ask_or_list(visitor);
        break;
    case RDISK_MSG_LIST_REPLY:
        take_list(visitor, (const void *)message);
        break;
    case RDISK_MSG_CREATE_REPLY:
    case RDISK_MSG_DELETE_REPLY:
        if ((le16toh(message->type) == RDISK_MSG_DELETE_REPLY) !=
            !!(visitor->how & 16)) {
            sim_violation("the reply is to another message");
        }
        sim_visitor_arrive(visitor, 0);
        break;
    case RDISK_MSG_OPEN_REPLY:
        memcpy(&visitor->granted, message, sizeof(visitor->granted));
        visitor->control.epoch = le64toh(visitor->granted.epoch);
        if (!reached(visitor, RDISK_TARGET_WAIT_JOIN)) {
            resolve(visitor, &visitor->data);
        }
        break;
    default:
        break;
    }
}

/* ---- There ------------------------------------------------------------- */

static void act(struct sim_visitor *visitor)
{
    const struct rdisk_verbs *verbs = visitor->env.verbs;
    struct sim *sim = visitor->sim;

    visitor->act_at = SIM_NEVER;
    sim_log(sim, "visitor: in state %s, act %u",
            rdisk_target_state_name(visitor->goal), visitor->act);
    if (visitor->goal == RDISK_TARGET_DENY_LEFT &&
        !visitor->control.qp.broken) {
        if (visitor->how & 1) {
            fake_qp_break(visitor->control.qp.qp);
        } else {
            verbs->disconnect(visitor->id);
        }
        rdisk_qp_break(&visitor->control.qp);
        sim_visitor_arrive(visitor, ARRIVE_MS);
        return;
    }
    switch (visitor->act) {
    case STAY:
        break;
    case LEAVE:
        verbs->disconnect(visitor->id);
        break;
    case BREAK:
        fake_qp_break(visitor->control.qp.qp);
        break;
    case MISBEHAVE:
        sim_visitor_send_plain(visitor, RDISK_MSG_CREATE_REPLY);
        break;
    case CLOSE:
        sim_visitor_send_plain(visitor, RDISK_MSG_CLOSE);
        break;
    case REMOVE:
        sim_server_remove_device(sim);
        break;
    case STOP:
        sim->server.want_start = sim->server.target != NULL;
        sim->server.start_at = now(visitor) + 100 * RDISK_MSEC;
        sim_server_stop(sim);
        break;
    default:
        if (visitor->holder && visitor->holder->session) {
            sim_visitor_owner_acts(visitor);
        }
        break;
    }
}

/* ---- Coming and going -------------------------------------------------- */

void sim_visitor_begin(struct sim *sim)
{
    struct sim_visitor *visitor = &sim->visitor;

    visitor->sim = sim;
    visitor->host = fake_host_add(sim->fabric, SIM_VISITOR_ADDRESS);
    fake_host_env(visitor->host, &visitor->env);
}

void sim_visitor_come(struct sim *sim, unsigned int goal, unsigned int what,
                      unsigned int how)
{
    struct sim_visitor *visitor = &sim->visitor;

    if (visitor->channel) {
        return;
    }
    visitor->goal = goal;
    visitor->act = what;
    visitor->how = how;
    visitor->act_at = SIM_NEVER;
    visitor->leave_at = now(visitor) + STAY_MS * RDISK_MSEC;
    visitor->holder = NULL;
    memset(&visitor->auth, 0, sizeof(visitor->auth));
    visitor->channel = visitor->env.verbs->create_event_channel();
    if (visitor->channel) {
        resolve(visitor, &visitor->id);
    }
}

void sim_visitor_leave(struct sim *sim)
{
    struct sim_visitor *visitor = &sim->visitor;
    const struct rdisk_verbs *verbs = visitor->env.verbs;

    if (!visitor->channel) {
        return;
    }
    rdisk_qp_destroy(&visitor->qp);
    rdisk_control_destroy(&visitor->control);
    if (visitor->data) {
        verbs->destroy_id(visitor->data);
    }
    if (visitor->id) {
        verbs->destroy_id(visitor->id);
    }
    if (visitor->mr) {
        verbs->dereg_mr(visitor->mr);
    }
    if (visitor->pd) {
        verbs->dealloc_pd(visitor->pd);
    }
    verbs->destroy_event_channel(visitor->channel);
    visitor->channel = NULL;
    visitor->id = visitor->data = NULL;
    visitor->pd = NULL;
    visitor->mr = NULL;
}

void sim_visitor_calm(struct sim *sim)
{
    if (sim->visitor.act == REMOVE || sim->visitor.act == STOP) {
        sim->visitor.act = LEAVE;
    }
}

static void cm_event(struct sim_visitor *visitor,
                     const struct rdma_cm_event *event)
{
    switch (event->event) {
    case RDMA_CM_EVENT_ADDR_RESOLVED:
        if (visitor->env.verbs->resolve_route(event->id, 2000) < 0) {
            visitor->leave_at = 0;
        }
        break;
    case RDMA_CM_EVENT_ROUTE_RESOLVED:
        connect_id(visitor, event->id);
        break;
    case RDMA_CM_EVENT_ESTABLISHED:
        if (event->id == visitor->data) {
            joined(visitor);
        } else if (!reached(visitor, RDISK_TARGET_WAIT_HELLO)) {
            sim_visitor_send_hello(visitor);
        }
        break;
    case RDMA_CM_EVENT_DISCONNECTED:
    case RDMA_CM_EVENT_TIMEWAIT_EXIT:
        break;
    default:
        visitor->leave_at = 0;
        break;
    }
}

static void receive_all(struct sim_visitor *visitor)
{
    struct rdisk_control_message message;

    rdisk_control_take_events(&visitor->control);
    while (rdisk_control_next(&visitor->control, &message)) {
        if (message.check == RDISK_STATUS_OK) {
            receive(visitor, &message.message);
        }
    }
}

bool sim_visitor_life(struct sim *sim)
{
    struct sim_visitor *visitor = &sim->visitor;
    struct rdma_cm_event *event, copy;

    if (!visitor->channel) {
        return false;
    }
    if (now(visitor) >= visitor->leave_at) {
        sim_visitor_leave(sim);
        return true;
    }
    if (now(visitor) >= visitor->act_at) {
        act(visitor);
        return true;
    }
    if (visitor->control.created) {
        receive_all(visitor);
    }
    if (visitor->env.verbs->get_cm_event(visitor->channel, &event) < 0) {
        return false;
    }
    copy = *event;
    if (event->event == RDMA_CM_EVENT_ESTABLISHED &&
        event->id == visitor->data) {
        memcpy(&visitor->lease, event->param.conn.private_data,
               sizeof(visitor->lease));
    }
    visitor->env.verbs->ack_cm_event(event);
    cm_event(visitor, &copy);
    return true;
}

uint64_t sim_visitor_due(const struct sim *sim)
{
    const struct sim_visitor *visitor = &sim->visitor;

    return visitor->channel ? sim_least(visitor->act_at, visitor->leave_at)
                            : SIM_NEVER;
}
