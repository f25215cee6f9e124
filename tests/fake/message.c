/* SPDX-License-Identifier: BSD-3-Clause */
/* The connection manager's messages and timers, and what they do. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static bool over_the_wire(const struct fake_message *message)
{
    return message->kind >= FAKE_REQ;
}

struct fake_message *fake_message_new(struct fake_id *from,
                                      enum fake_message_kind kind,
                                      uint64_t delay)
{
    struct fake_fabric *fabric = from->host->fabric;
    struct fake_message *message = fake_alloc(sizeof(*message));

    message->kind = kind;
    message->due = fabric->now + delay;
    message->from_host = from->host;
    message->from = from->number;
    message->to_host = from->remote_host;
    message->to = from->remote;
    if (over_the_wire(message) && !fake_linked(from->host) &&
        !fake_gone(from->host, from->born)) {
        from->host->deaf = true;
    }
    TAILQ_INSERT_TAIL(&fabric->messages, message, link);
    return message;
}

void fake_message_data(struct fake_message *message, const void *data,
                       size_t size)
{
    /* The rest stays zero, and the receiver sees it all. */
    if (size) {
        memcpy(message->data, data, size);
    }
}

static void remove_message(struct fake_fabric *fabric,
                           struct fake_message *message)
{
    TAILQ_REMOVE(&fabric->messages, message, link);
    free(message);
}

void fake_message_cancel(struct fake_fabric *fabric, uint32_t from,
                         enum fake_message_kind kind)
{
    struct fake_message *message = TAILQ_FIRST(&fabric->messages);

    while (message) {
        struct fake_message *next = TAILQ_NEXT(message, link);

        if (message->from == from && message->kind == kind) {
            remove_message(fabric, message);
        }
        message = next;
    }
}

void fake_message_drop(struct fake_host *host)
{
    struct fake_message *message = TAILQ_FIRST(&host->fabric->messages);

    while (message) {
        struct fake_message *next = TAILQ_NEXT(message, link);

        if (message->from_host == host && over_the_wire(message)) {
            remove_message(host->fabric, message);
        }
        message = next;
    }
}

/* ---- Which may come --------------------------------------------------- */

/* Before all messages are visited in their order. */
static void begin_pass(struct fake_fabric *fabric)
{
    unsigned int needed = fabric->last_id + 1;

    if (needed > fabric->visited_room) {
        fabric->visited = realloc(fabric->visited,
                                  2 * needed * sizeof(uint64_t));
        if (!fabric->visited) {
            abort();
        }
        memset(fabric->visited + fabric->visited_room, 0,
               (2 * needed - fabric->visited_room) * sizeof(uint64_t));
        fabric->visited_room = 2 * needed;
    }
    fabric->pass++;
}

/* Messages of one id stay in order; those of different ids need not. */
static bool overtakes(struct fake_fabric *fabric,
                      const struct fake_message *message)
{
    uint64_t *visited = &fabric->visited[message->from];
    bool before = *visited == fabric->pass;

    *visited = fabric->pass;
    return before;
}

static bool message_ready(struct fake_fabric *fabric,
                          struct fake_message *message, uint64_t *next)
{
    uint64_t due = message->due;

    if (over_the_wire(message)) {
        uint64_t link_due;

        if (overtakes(fabric, message) || message->from_host->deaf ||
            message->to_host->deaf) {
            return false;
        }
        if (!fake_link_up(message->from_host, message->to_host, &link_due)) {
            due = due > link_due ? due : link_due;
            *next = due < *next ? due : *next;
            return false;
        }
    }
    if (due > fabric->now) {
        *next = due < *next ? due : *next;
        return false;
    }
    return true;
}

unsigned int fake_message_count(struct fake_fabric *fabric, uint64_t *next)
{
    struct fake_message *message;
    unsigned int count = 0;

    begin_pass(fabric);
    TAILQ_FOREACH(message, &fabric->messages, link) {
        count += message_ready(fabric, message, next);
    }
    return count;
}

/* ---- What they do ----------------------------------------------------- */

static void address_done(struct fake_id *id, struct fake_message *message)
{
    if (id->host->removed) {
        message->status = -ENODEV;
    }
    if (message->status) {
        id->state = FAKE_CM_BOUND;
        fake_event_push(id, RDMA_CM_EVENT_ADDR_ERROR, message->status);
        return;
    }
    id->state = FAKE_CM_ADDR_RESOLVED;
    fake_event_push(id, RDMA_CM_EVENT_ADDR_RESOLVED, 0);
}

static void route_done(struct fake_id *id)
{
    if (id->host->removed) {
        id->state = FAKE_CM_ADDR_RESOLVED;
        fake_event_push(id, RDMA_CM_EVENT_ROUTE_ERROR, -ENODEV);
        return;
    }
    id->state = FAKE_CM_ROUTE_RESOLVED;
    fake_event_push(id, RDMA_CM_EVENT_ROUTE_RESOLVED, 0);
}

static void closed(struct fake_id *id)
{
    struct fake_fabric *fabric = id->host->fabric;

    id->state = FAKE_CM_CLOSED;
    fake_message_cancel(fabric, id->number, FAKE_DISCONNECT_TIMEOUT);
    fake_message_cancel(fabric, id->number, FAKE_DREQ);
    fake_event_push(id, RDMA_CM_EVENT_DISCONNECTED, 0);
    fake_message_new(id, FAKE_TIME_WAIT_END, fabric->timing.time_wait);
}

static void local_event(struct fake_fabric *fabric,
                        struct fake_message *message)
{
    struct fake_id *id = fake_find_id(fabric, message->from);

    switch (message->kind) {
    case FAKE_ADDR_DONE:
        address_done(id, message);
        break;
    case FAKE_ROUTE_DONE:
        route_done(id);
        break;
    case FAKE_CONNECT_TIMEOUT:
        fake_message_cancel(fabric, id->number, FAKE_REQ);
        fake_message_cancel(fabric, id->number, FAKE_REP);
        id->state = FAKE_CM_CLOSED;
        fake_event_push(id, RDMA_CM_EVENT_UNREACHABLE, -ETIMEDOUT);
        break;
    case FAKE_DISCONNECT_TIMEOUT:
        closed(id);
        break;
    default:
        fake_event_push(id, RDMA_CM_EVENT_TIMEWAIT_EXIT, 0);
        break;
    }
}

/* Answer a message for which there is no id any more, or none yet. */
static void answer_without_client(struct fake_message *to,
                                  enum fake_message_kind kind, int status)
{
    struct fake_fabric *fabric = to->from_host->fabric;
    struct fake_message *message = fake_alloc(sizeof(*message));

    message->kind = kind;
    message->due = fabric->now;
    message->from_host = to->to_host;
    message->to_host = to->from_host;
    message->to = to->from;
    message->status = status;
    /* Not a number of an id: nothing is in order with it. */
    message->from = ++fabric->last_id;
    TAILQ_INSERT_TAIL(&fabric->messages, message, link);
}

static struct fake_id *find_listener(struct fake_host *host, in_port_t port)
{
    struct fake_id *id;

    TAILQ_FOREACH(id, &host->fabric->ids, link) {
        if (id->host == host && id->state == FAKE_CM_LISTEN &&
            id->id.route.addr.src_sin.sin_port == port &&
            (id->id.route.addr.src_sin.sin_family == AF_INET || id->both)) {
            return id;
        }
    }
    return NULL;
}

static void event_param(struct fake_event *event,
                        const struct fake_message *message, size_t size)
{
    struct rdma_conn_param *param = &event->event.param.conn;

    *param = message->param;
    /* As the receiver would have them. */
    param->responder_resources = message->param.initiator_depth;
    param->initiator_depth = message->param.responder_resources;
    memcpy(event->data, message->data, size);
    param->private_data = event->data;
    param->private_data_len = size;
}

static uint8_t min_of(uint8_t wanted, int limit)
{
    return wanted < limit ? wanted : (uint8_t)limit;
}

static void connect_request(struct fake_message *message)
{
    struct fake_host *host = message->to_host;
    struct fake_id *listener = find_listener(host, message->port);
    struct fake_event *event;
    struct fake_id *child;

    if (!listener) {
        answer_without_client(message, FAKE_REJ, FAKE_REJ_NO_LISTENER);
        return;
    }
    if (listener->waiting >= listener->backlog) {
        answer_without_client(message, FAKE_REJ, FAKE_REJ_CONSUMER);
        return;
    }
    listener->waiting++;
    child = fake_id_new((struct fake_channel *)listener->id.channel,
                        listener->id.context);
    child->listener = listener;
    child->state = FAKE_CM_REQ_RECEIVED;
    child->remote = message->from;
    child->remote_host = message->from_host;
    child->remote_qpn = message->param.qp_num;
    child->retry_count = message->param.retry_count;
    child->rnr_retry = message->param.rnr_retry_count;
    /* What one side may begin, the other one answers. */
    child->reads_in = min_of(message->param.initiator_depth,
                             host->limits.max_rd_atom);
    child->reads_out = min_of(message->param.responder_resources,
                              host->limits.max_rd_atom);
    child->id.verbs = fake_context(host);
    child->born = host->removals;
    child->id.port_num = 1;
    child->id.route.addr.dst_sin = message->address;
    child->id.route.addr.src_sin.sin_family = AF_INET;
    child->id.route.addr.src_sin.sin_addr = host->address;
    child->id.route.addr.src_sin.sin_port = message->port;
    event = fake_event_push(listener, RDMA_CM_EVENT_CONNECT_REQUEST, 0);
    event->child = child;
    event_param(event, message, FAKE_REQ_DATA);
}

static void connect_reply(struct fake_id *id, struct fake_message *message)
{
    if (!id || id->state != FAKE_CM_REQ_SENT) {
        answer_without_client(message, FAKE_REJ, FAKE_REJ_CONSUMER);
        return;
    }
    fake_message_cancel(id->host->fabric, id->number, FAKE_CONNECT_TIMEOUT);
    id->state = FAKE_CM_REP_RECEIVED;
    id->remote = message->from;
    id->remote_qpn = message->param.qp_num;
    id->rnr_retry = message->param.rnr_retry_count;
    id->reads_in = message->param.initiator_depth;
    id->reads_out = message->param.responder_resources;
    event_param(fake_event_push(id, RDMA_CM_EVENT_ESTABLISHED, 0), message,
                FAKE_REP_DATA);
}

static void ready_to_use(struct fake_id *id)
{
    if (id && id->state == FAKE_CM_REP_SENT) {
        fake_message_cancel(id->host->fabric, id->number, FAKE_CONNECT_TIMEOUT);
        id->state = FAKE_CM_CONNECTED;
        fake_event_push(id, RDMA_CM_EVENT_ESTABLISHED, 0);
    }
}

static void rejected(struct fake_id *id, struct fake_message *message)
{
    struct fake_event *event;

    if (!id ||
        (id->state != FAKE_CM_REQ_SENT && id->state != FAKE_CM_REP_RECEIVED &&
         id->state != FAKE_CM_REQ_RECEIVED && id->state != FAKE_CM_REP_SENT)) {
        return;
    }
    fake_message_cancel(id->host->fabric, id->number, FAKE_CONNECT_TIMEOUT);
    id->state = FAKE_CM_CLOSED;
    event = fake_event_push(id, RDMA_CM_EVENT_REJECTED, message->status);
    if (event) {
        event_param(event, message, FAKE_REJ_DATA);
    }
}

static void disconnect_request(struct fake_id *id, struct fake_message *message)
{
    switch (id ? id->state : FAKE_CM_CLOSED) {
    case FAKE_CM_REP_RECEIVED:
    case FAKE_CM_REP_SENT:
    case FAKE_CM_CONNECTED:
        fake_message_cancel(id->host->fabric, id->number, FAKE_CONNECT_TIMEOUT);
        id->state = FAKE_CM_DREQ_RECEIVED;
        fake_event_push(id, RDMA_CM_EVENT_DISCONNECTED, 0);
        break;
    case FAKE_CM_DREQ_SENT:
        closed(id);
        /* fall through */
    default:
        answer_without_client(message, FAKE_DREP, 0);
        break;
    }
}

/* The id a message is for: a rejection by timeout names only itself. */
static struct fake_id *find_target(struct fake_fabric *fabric,
                                   struct fake_message *message)
{
    struct fake_id *id;

    if (message->to) {
        return fake_find_id(fabric, message->to);
    }
    TAILQ_FOREACH(id, &fabric->ids, link) {
        if (id->remote == message->from) {
            return id;
        }
    }
    return NULL;
}

static void deliver(struct fake_fabric *fabric, struct fake_message *message)
{
    struct fake_id *id;

    if (!over_the_wire(message)) {
        local_event(fabric, message);
        return;
    }
    if (message->kind == FAKE_REQ) {
        connect_request(message);
        return;
    }
    id = find_target(fabric, message);
    switch (message->kind) {
    case FAKE_REP:
        connect_reply(id, message);
        break;
    case FAKE_RTU:
        ready_to_use(id);
        break;
    case FAKE_REJ:
        rejected(id, message);
        break;
    case FAKE_DREQ:
        disconnect_request(id, message);
        break;
    default:
        if (id && id->state == FAKE_CM_DREQ_SENT) {
            closed(id);
        }
        break;
    }
}

void fake_message_deliver(struct fake_fabric *fabric, unsigned int index)
{
    struct fake_message *message;
    uint64_t next = RDISK_NEVER;

    begin_pass(fabric);
    TAILQ_FOREACH(message, &fabric->messages, link) {
        if (message_ready(fabric, message, &next) && index-- == 0) {
            break;
        }
    }
    if (over_the_wire(message) && fabric->loss &&
        fake_pick(fabric, fabric->loss) == 0) {
        /* Lost; the kernel sends it again after CMA_CM_RESPONSE_TIMEOUT. */
        message->due = fabric->now + 4300 * RDISK_MSEC;
        return;
    }
    TAILQ_REMOVE(&fabric->messages, message, link);
    deliver(fabric, message);
    free(message);
}
