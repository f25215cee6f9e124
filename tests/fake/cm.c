/* SPDX-License-Identifier: BSD-3-Clause */
/* The connection manager's objects: channels, events, ids, addresses. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

/* ---- Event channels --------------------------------------------------- */

struct rdma_event_channel *fake_event_channel_new(struct fake_host *host)
{
    struct fake_channel *channel;
    int ret;

    fake_lock(host->fabric);
    ret = fake_called(host, FAKE_CREATE_EVENT_CHANNEL);
    if (ret < 0) {
        fake_unlock(host->fabric);
        errno = -ret;
        return NULL;
    }
    channel = fake_alloc(sizeof(*channel));
    channel->channel.fd = fake_eventfd();
    channel->host = host;
    channel->user = host->user;
    TAILQ_INIT(&channel->events);
    host->fabric->live[FAKE_OBJECT_EVENT_CHANNEL]++;
    fake_unlock(host->fabric);
    return &channel->channel;
}

int fake_channel_allows(const struct rdma_event_channel *rdma)
{
    const struct fake_channel *channel = (const struct fake_channel *)rdma;

    return channel->user == channel->host->user ? 0 : -EACCES;
}

static void destroy_event_channel(struct rdma_event_channel *rdma)
{
    struct fake_channel *channel = (struct fake_channel *)rdma;
    struct fake_fabric *fabric = channel->host->fabric;

    fake_lock(fabric);
    if (channel->ids || channel->unacked) {
        fake_misuse(fabric,
                    "event channel destroyed with %u ids and %u "
                    "unacknowledged events",
                    channel->ids, channel->unacked);
    }
    fabric->live[FAKE_OBJECT_EVENT_CHANNEL]--;
    close(channel->channel.fd);
    free(channel);
    fake_unlock(fabric);
}

/* ---- Events ----------------------------------------------------------- */

struct fake_event *fake_event_push(struct fake_id *id,
                                   enum rdma_cm_event_type type, int status)
{
    struct fake_channel *channel = (struct fake_channel *)id->id.channel;
    struct fake_event *event;

    if (id->listener) {
        /* Its user does not have the id yet; the kernel drops such events. */
        return NULL;
    }
    event = fake_alloc(sizeof(*event));
    event->event.id = &id->id;
    event->event.event = type;
    event->event.status = status;
    event->channel = channel;
    event->owner = id;
    TAILQ_INSERT_TAIL(&channel->events, event, link);
    fake_fd_set(channel->channel.fd);
    return event;
}

/* What the library does when the user takes an event. */
static void event_taken(struct fake_event *event)
{
    struct fake_id *id = event->owner;

    switch (event->event.event) {
    case RDMA_CM_EVENT_ADDR_RESOLVED:
        id->id.verbs = fake_context(id->host);
        id->born = id->host->removals;
        id->id.port_num = 1;
        break;
    case RDMA_CM_EVENT_CONNECT_REQUEST:
        event->child->listener = NULL;
        event->event.id = &event->child->id;
        event->event.listen_id = &id->id;
        id->waiting--;
        id->host->fabric->live[FAKE_OBJECT_ID]++;
        ((struct fake_channel *)id->id.channel)->ids++;
        event->child = NULL;
        break;
    case RDMA_CM_EVENT_ESTABLISHED:
        fake_connection_response(id, event);
        break;
    case RDMA_CM_EVENT_REJECTED:
        if (id->id.qp) {
            fake_qp_fail((struct fake_qp *)id->id.qp);
        }
        break;
    default:
        break;
    }
    id->unacked++;
    event->channel->unacked++;
    id->host->fabric->live[FAKE_OBJECT_CM_EVENT]++;
}

static int get_cm_event(struct rdma_event_channel *rdma,
                        struct rdma_cm_event **taken)
{
    struct fake_channel *channel = (struct fake_channel *)rdma;
    struct fake_fabric *fabric = channel->host->fabric;
    struct fake_event *event;
    int ret;

    fake_lock(fabric);
    ret = fake_channel_allows(rdma);
    event = ret < 0 ? NULL : TAILQ_FIRST(&channel->events);
    if (event) {
        TAILQ_REMOVE(&channel->events, event, link);
        event_taken(event);
        *taken = &event->event;
    }
    if (event && TAILQ_EMPTY(&channel->events)) {
        fake_fd_clear(channel->channel.fd);
    }
    fake_unlock(fabric);
    return event ? 0 : ret < 0 ? ret : -EAGAIN;
}

static void ack_cm_event(struct rdma_cm_event *rdma)
{
    struct fake_event *event = (struct fake_event *)rdma;
    struct fake_fabric *fabric = event->channel->host->fabric;

    fake_lock(fabric);
    event->owner->unacked--;
    event->channel->unacked--;
    fabric->live[FAKE_OBJECT_CM_EVENT]--;
    free(event);
    fake_unlock(fabric);
}

/* ---- Ids -------------------------------------------------------------- */

static struct fake_id **id_bucket(struct fake_fabric *fabric, uint32_t number)
{
    return &fabric->id_hash[number % FAKE_ID_HASH];
}

struct fake_id *fake_id_new(struct fake_channel *channel, void *context)
{
    struct fake_fabric *fabric = channel->host->fabric;
    struct fake_id *id = fake_alloc(sizeof(*id));

    id->host = channel->host;
    id->number = ++fabric->last_id;
    id->ack_timeout = fabric->timing.ack_timeout;
    id->id.channel = &channel->channel;
    id->id.context = context;
    id->id.ps = RDMA_PS_TCP;
    id->id.qp_type = IBV_QPT_RC;
    TAILQ_INSERT_TAIL(&fabric->ids, id, link);
    id->hash_next = *id_bucket(fabric, id->number);
    *id_bucket(fabric, id->number) = id;
    return id;
}

struct fake_id *fake_find_id(struct fake_fabric *fabric, uint32_t number)
{
    struct fake_id *id = *id_bucket(fabric, number);

    while (id && id->number != number) {
        id = id->hash_next;
    }
    return id;
}

static void remove_number(struct fake_fabric *fabric, const struct fake_id *id)
{
    struct fake_id **link = id_bucket(fabric, id->number);

    while (*link != id) {
        link = &(*link)->hash_next;
    }
    *link = id->hash_next;
}

/* Remove it from the fabric, with its events that were not read. */
void fake_id_discard(struct fake_id *id)
{
    struct fake_fabric *fabric = id->host->fabric;
    struct fake_channel *channel = (struct fake_channel *)id->id.channel;
    struct fake_event *event = TAILQ_FIRST(&channel->events);

    fake_id_hang_up(id);
    while (event) {
        struct fake_event *next = TAILQ_NEXT(event, link);

        if (event->owner == id) {
            TAILQ_REMOVE(&channel->events, event, link);
            if (event->child) {
                fake_id_discard(event->child);
            }
            free(event);
        }
        event = next;
    }
    if (TAILQ_EMPTY(&channel->events)) {
        fake_fd_clear(channel->channel.fd);
    }
    for (int kind = FAKE_ADDR_DONE; kind <= FAKE_TIME_WAIT_END; kind++) {
        fake_message_cancel(fabric, id->number, kind);
    }
    remove_number(fabric, id);
    TAILQ_REMOVE(&fabric->ids, id, link);
    free(id);
}

static int create_id(struct rdma_event_channel *rdma, struct rdma_cm_id **id,
                     void *context)
{
    struct fake_channel *channel = (struct fake_channel *)rdma;
    struct fake_fabric *fabric = channel->host->fabric;
    int ret;

    fake_lock(fabric);
    ret = fake_called(channel->host, FAKE_CREATE_ID);
    if (ret == 0) {
        ret = fake_channel_allows(rdma);
    }
    if (ret == 0) {
        *id = &fake_id_new(channel, context)->id;
        channel->ids++;
        fabric->live[FAKE_OBJECT_ID]++;
    }
    fake_unlock(fabric);
    return ret;
}

static void destroy_id(struct rdma_cm_id *rdma)
{
    struct fake_id *id = (struct fake_id *)rdma;
    struct fake_fabric *fabric = id->host->fabric;
    struct fake_host *host = id->host;
    unsigned int born = id->born;
    bool last;

    fake_lock(fabric);
    last = id->id.verbs && fake_gone(host, born);
    if (id->id.qp) {
        fake_misuse(fabric, "connection id destroyed before its queue pair");
        ((struct fake_qp *)id->id.qp)->id = NULL;
    }
    if (id->unacked) {
        fake_misuse(fabric,
                    "destroying a connection id blocks indefinitely: %u "
                    "events unacknowledged",
                    id->unacked);
    }
    ((struct fake_channel *)id->id.channel)->ids--;
    fabric->live[FAKE_OBJECT_ID]--;
    fake_id_discard(id);
    if (last) {
        fake_device_closes(host, born);
    }
    fake_unlock(fabric);
}

static int migrate_id(struct rdma_cm_id *rdma, struct rdma_event_channel *other)
{
    struct fake_id *id = (struct fake_id *)rdma;
    struct fake_channel *from = (struct fake_channel *)id->id.channel;
    struct fake_channel *to = (struct fake_channel *)other;
    struct fake_fabric *fabric = id->host->fabric;
    struct fake_event *event, *next;
    int ret;

    fake_lock(fabric);
    if (id->unacked) {
        fake_misuse(fabric, "an id with %u events unacknowledged is migrated",
                    id->unacked);
    }
    ret = fake_channel_allows(other);
    for (event = TAILQ_FIRST(&from->events); event && ret == 0; event = next) {
        next = TAILQ_NEXT(event, link);
        if (event->owner == id) {
            TAILQ_REMOVE(&from->events, event, link);
            TAILQ_INSERT_TAIL(&to->events, event, link);
            event->channel = to;
            fake_fd_set(to->channel.fd);
        }
    }
    if (ret == 0) {
        id->id.channel = other;
        from->ids--;
        to->ids++;
    }
    fake_unlock(fabric);
    return ret;
}

/* ---- Addresses -------------------------------------------------------- */

/* The id that listens there, or NULL. */
static const struct fake_id *port_taken(struct fake_host *host, in_port_t port)
{
    struct fake_id *id;

    TAILQ_FOREACH(id, &host->fabric->ids, link) {
        if (id->host == host && id->state == FAKE_CM_LISTEN &&
            id->id.route.addr.src_sin.sin_port == port) {
            return id;
        }
    }
    return NULL;
}

static bool is_any(const struct sockaddr_in *address)
{
    return address->sin_addr.s_addr == htonl(INADDR_ANY);
}

static in_port_t ephemeral_port(struct fake_fabric *fabric)
{
    return htons(32768 + fake_pick(fabric, 28000));
}

static int bind_locked(struct fake_id *id, const struct sockaddr_in *addr)
{
    struct fake_host *host = id->host;
    struct sockaddr_in *source = &id->id.route.addr.src_sin;
    const struct fake_id *listener;
    int ret = fake_called(host, FAKE_BIND_ADDR);

    if (ret < 0) {
        return ret;
    }
    if (id->state != FAKE_CM_IDLE) {
        return -EINVAL;
    }
    if (addr->sin_family == AF_INET6 &&
        memcmp(&((const struct sockaddr_in6 *)addr)->sin6_addr, &in6addr_any,
               sizeof(in6addr_any))) {
        return -EADDRNOTAVAIL; /* no host has an IPv6 address */
    }
    if (addr->sin_family != AF_INET && addr->sin_family != AF_INET6) {
        return -EAFNOSUPPORT;
    }
    /* Both families have the port at the same place, and "::" no address. */
    if (!is_any(addr)) {
        if (addr->sin_addr.s_addr != host->address.s_addr) {
            return -EADDRNOTAVAIL;
        }
        if (host->removed) {
            return -ENODEV;
        }
        id->id.verbs = fake_context(host);
        id->born = host->removals;
        id->id.port_num = 1;
    }
    listener = addr->sin_port ? port_taken(host, addr->sin_port) : NULL;
    if (listener) {
        /* As Linux has it, if one of the two is on any address. */
        return is_any(addr) || is_any(&listener->id.route.addr.src_sin)
                   ? -EADDRNOTAVAIL
                   : -EADDRINUSE;
    }
    *source = *addr;
    if (!source->sin_port) {
        source->sin_port = ephemeral_port(host->fabric);
    }
    id->state = FAKE_CM_BOUND;
    return 0;
}

static int bind_addr(struct rdma_cm_id *rdma, struct sockaddr *addr)
{
    struct fake_id *id = (struct fake_id *)rdma;
    int ret;

    fake_lock(id->host->fabric);
    ret = bind_locked(id, (const struct sockaddr_in *)addr);
    fake_unlock(id->host->fabric);
    return ret;
}

static int listen_id(struct rdma_cm_id *rdma, int backlog)
{
    struct fake_id *id = (struct fake_id *)rdma;
    int ret;

    fake_lock(id->host->fabric);
    ret = fake_called(id->host, FAKE_LISTEN);
    if (ret == 0 && id->state != FAKE_CM_BOUND) {
        ret = -EINVAL;
    }
    if (ret == 0 && port_taken(id->host, id->id.route.addr.src_sin.sin_port)) {
        ret = -EADDRINUSE;
    }
    if (ret == 0) {
        id->backlog = backlog > 0 && backlog < 1024 ? backlog : 1024;
        id->state = FAKE_CM_LISTEN;
    }
    fake_unlock(id->host->fabric);
    return ret;
}

static int resolve_addr(struct rdma_cm_id *rdma, struct sockaddr *dst,
                        int timeout_ms)
{
    struct fake_id *id = (struct fake_id *)rdma;
    struct fake_fabric *fabric = id->host->fabric;
    struct sockaddr_in target;
    struct fake_host *host;
    struct fake_message *message;
    int ret;

    memcpy(&target, dst, sizeof(target));
    fake_lock(fabric);
    ret = fake_called(id->host, FAKE_RESOLVE_ADDR);
    if (ret == 0) {
        ret = fake_channel_allows(id->id.channel);
    }
    if (ret == 0 && target.sin_family != AF_INET) {
        ret = -EAFNOSUPPORT;
    }
    if (ret == 0 && !fake_linked(id->host)) {
        ret = -ENETUNREACH;
    }
    if (ret == 0 && id->state != FAKE_CM_IDLE && id->state != FAKE_CM_BOUND) {
        ret = -EINVAL;
    }
    if (ret == 0) {
        struct sockaddr_in *source = &id->id.route.addr.src_sin;

        id->state = FAKE_CM_ADDR_QUERY;
        id->id.route.addr.dst_sin = target;
        source->sin_family = AF_INET;
        source->sin_addr = id->host->address;
        if (!source->sin_port) {
            source->sin_port = ephemeral_port(fabric);
        }
        host = fake_find_host(fabric, target.sin_addr);
        /* No host answers ARP there: repeated until the timeout. */
        message = fake_message_new(id, FAKE_ADDR_DONE,
                                   host && !host->down
                                       ? 0
                                       : timeout_ms * RDISK_MSEC);
        message->status = host && !host->down ? 0 : -ETIMEDOUT;
    }
    fake_unlock(fabric);
    return ret;
}

static int resolve_route(struct rdma_cm_id *rdma, int timeout_ms)
{
    struct fake_id *id = (struct fake_id *)rdma;
    int ret;

    fake_lock(id->host->fabric);
    ret = fake_called(id->host, FAKE_RESOLVE_ROUTE);
    if (ret == 0) {
        ret = fake_channel_allows(id->id.channel);
    }
    if (ret == 0 && (id->state != FAKE_CM_ADDR_RESOLVED || !id->id.verbs)) {
        ret = -EINVAL;
    }
    if (ret == 0) {
        id->state = FAKE_CM_ROUTE_QUERY;
        fake_message_new(id, FAKE_ROUTE_DONE, 0);
    }
    fake_unlock(id->host->fabric);
    return ret;
}

static int set_ack_timeout(struct rdma_cm_id *rdma, uint8_t timeout)
{
    struct fake_id *id = (struct fake_id *)rdma;
    int ret;

    fake_lock(id->host->fabric);
    ret = fake_called(id->host, FAKE_SET_ACK_TIMEOUT);
    if (ret == 0 && (timeout > 31 || (id->state >= FAKE_CM_REQ_SENT &&
                                      id->state != FAKE_CM_REQ_RECEIVED))) {
        ret = -EINVAL;
    }
    if (ret == 0) {
        id->ack_timeout = timeout;
    }
    fake_unlock(id->host->fabric);
    return ret;
}

static int set_afonly(struct rdma_cm_id *rdma, int afonly)
{
    struct fake_id *id = (struct fake_id *)rdma;
    int ret;

    fake_lock(id->host->fabric);
    ret = fake_called(id->host, FAKE_SET_AFONLY);
    if (ret == 0 && id->state != FAKE_CM_IDLE) {
        ret = -EINVAL;
    }
    if (ret == 0) {
        id->both = !afonly;
    }
    fake_unlock(id->host->fabric);
    return ret;
}

void fake_cm_verbs(struct rdisk_verbs *verbs)
{
    verbs->destroy_event_channel = destroy_event_channel;
    verbs->get_cm_event = get_cm_event;
    verbs->ack_cm_event = ack_cm_event;
    verbs->create_id = create_id;
    verbs->destroy_id = destroy_id;
    verbs->migrate_id = migrate_id;
    verbs->bind_addr = bind_addr;
    verbs->listen = listen_id;
    verbs->resolve_addr = resolve_addr;
    verbs->resolve_route = resolve_route;
    verbs->set_ack_timeout = set_ack_timeout;
    verbs->set_afonly = set_afonly;
}
