/* SPDX-License-Identifier: BSD-3-Clause */
/* One outgoing connection: address, route, connect, up, down. */
#include <errno.h>
#include <string.h>

#include "transport/initiator/session.h"
#include "transport/verbs/conn_param.h"

/*
 * One try to resolve the server's address. Linux misses an answer to ARP that
 * comes before it has begun to wait for it, and then waits in vain.
 */
#define RESOLVE_MS 1000

/* The part of a refusal that says who refused what. */
static void fail(struct rdisk_link *link, int code, const char *what)
{
    struct rdisk_initiator *session = link->session;
    struct rdisk_error err;

    link->state = RDISK_LINK_DOWN;
    rdisk_error_set(&err, code, "%s %s:%u: %s", what, session->options.host,
                    session->options.port, strerror(-code));
    rdisk_initiator_fail(session, &err);
}

static int milliseconds_left(const struct rdisk_initiator *session)
{
    uint64_t now = rdisk_now(session->env);

    return session->open_deadline > now
           ? (int)((session->open_deadline - now) / RDISK_MSEC) + 1 : 1;
}

/* Which device reaches the server? For as long as one try takes. */
static int resolve(struct rdisk_link *link)
{
    struct rdisk_initiator *session = link->session;
    int left = milliseconds_left(session);

    return session->env->verbs->resolve_addr(link->id,
        (struct sockaddr *)&session->address,
        left < RESOLVE_MS ? left : RESOLVE_MS);
}

int rdisk_link_start(struct rdisk_link *link, struct rdisk_error *err)
{
    struct rdisk_initiator *session = link->session;
    const struct rdisk_verbs *verbs = session->env->verbs;
    int ret;

    ret = rdisk_cm_teardowns_reserve(&session->teardowns);
    if (ret < 0) {
        return rdisk_error_set(err, ret, "out of memory");
    }
    ret = verbs->create_id(session->channel, &link->id, link);
    if (ret < 0) {
        link->id = NULL;
        rdisk_cm_teardowns_release(&session->teardowns);
        return rdisk_error_set(err, ret,
                               "cannot create a connection: %s",
                               strerror(-ret));
    }
    link->state = RDISK_LINK_ADDRESS;
    ret = resolve(link);
    if (ret < 0) {
        link->state = RDISK_LINK_DOWN;
        return rdisk_error_set(err, ret,
            "no RDMA device of this machine reaches %s: %s",
            session->options.host, strerror(-ret));
    }
    return 0;
}

static void address_resolved(struct rdisk_link *link)
{
    struct rdisk_initiator *session = link->session;
    const struct rdisk_verbs *verbs = session->env->verbs;
    struct rdisk_error err;
    int ret;

    if (!rdisk_port_active(session->env, link->id)) {
        fail(link, -ENETDOWN, "cannot connect to");
        return;
    }
    ret = rdisk_initiator_device(session, link->id->verbs, &err);
    if (ret < 0) {
        rdisk_initiator_fail(session, &err);
        return;
    }
    /* Older kernels refuse the option; theirs is a longer silence, no harm. */
    ret = verbs->set_ack_timeout(link->id, RDISK_ACK_TIMEOUT);
    if (ret < 0) {
        rdisk_log(session->env, RDISK_LOG_DEBUG,
                  "the ACK timeout stays the kernel's: %s", strerror(-ret));
    }
    link->state = RDISK_LINK_ROUTE;
    ret = verbs->resolve_route(link->id, milliseconds_left(session));
    if (ret < 0) {
        fail(link, ret, "cannot find a route to");
    }
}

static int create_endpoint(struct rdisk_link *link, struct rdisk_error *err)
{
    struct rdisk_initiator *session = link->session;

    if (link->queue) {
        return rdisk_queue_connect(&session->queues[link->queue - 1], err);
    }
    return rdisk_control_create(&session->control, session->env, link->id,
                                session->device->pd, err);
}

static void route_resolved(struct rdisk_link *link)
{
    struct rdisk_initiator *session = link->session;
    struct rdisk_wire_connect hello = {
        .magic = htole32(RDISK_WIRE_MAGIC),
        .version = htole16(RDISK_WIRE_VERSION),
        .kind = link->queue ? RDISK_LINK_DATA : RDISK_LINK_CONTROL,
        .queue = htole16((uint16_t)link->queue),
    };
    struct rdma_conn_param param = rdisk_conn_param(&hello, sizeof(hello));
    struct rdisk_error err;
    int ret;

    if (create_endpoint(link, &err) < 0) {
        rdisk_initiator_fail(session, &err);
        return;
    }
    if (link->queue) {
        hello.slots = htole16((uint16_t)session->granted_slots);
        hello.slot_size = htole32(session->info.max_transfer);
        hello.session = htole64(session->server_session);
        hello.epoch = htole64(session->epoch);
        memcpy(hello.token, session->token, sizeof(hello.token));
    } else {
        session->steps.route = rdisk_initiator_step(session);
    }
    link->state = RDISK_LINK_CONNECT;
    link->known = true;
    ret = session->env->verbs->connect(link->id, &param);
    if (ret < 0) {
        fail(link, ret, "cannot connect to");
    }
}

static void established(struct rdisk_link *link,
                        const struct rdma_cm_event *event)
{
    const struct rdma_conn_param *conn = &event->param.conn;
    struct rdisk_wire_accept accept;
    struct rdisk_error err;

    if (rdisk_wire_check_accept(conn->private_data, conn->private_data_len,
                                link->queue, &err) != RDISK_STATUS_OK) {
        rdisk_initiator_fail(link->session, &err);
        return;
    }
    memcpy(&accept, conn->private_data, sizeof(accept));
    link->state = RDISK_LINK_UP;
    rdisk_initiator_link_up(link->session, link, &accept);
}

static void rejected(struct rdisk_link *link,
                     const struct rdma_cm_event *event)
{
    const struct rdma_conn_param *conn = &event->param.conn;
    struct rdisk_error err;

    link->state = RDISK_LINK_DOWN;
    rdisk_wire_read_reject(conn->private_data, conn->private_data_len, &err);
    rdisk_error_prefix(&err, "%s:%u", link->session->options.host,
                       link->session->options.port);
    rdisk_initiator_fail(link->session, &err);
}

/* An event's status is a negative errno, but for the odd positive one. */
static int event_code(const struct rdma_cm_event *event)
{
    return event->status < 0 ? event->status : -ETIMEDOUT;
}

static void take_event(struct rdisk_link *link,
                       const struct rdma_cm_event *event)
{
    struct rdisk_error err;

    if (event->event == RDMA_CM_EVENT_DEVICE_REMOVAL) {
        link->session->device_lost = true;
    }
    if (link->state == RDISK_LINK_DOWN) {
        /* What was still under way must not bring it back. */
        return;
    }
    switch (event->event) {
    case RDMA_CM_EVENT_ADDR_RESOLVED:
        address_resolved(link);
        break;
    case RDMA_CM_EVENT_ROUTE_RESOLVED:
        route_resolved(link);
        break;
    case RDMA_CM_EVENT_ESTABLISHED:
        established(link, event);
        break;
    case RDMA_CM_EVENT_REJECTED:
        rejected(link, event);
        break;
    case RDMA_CM_EVENT_ADDR_ERROR:
        if (event_code(event) == -ETIMEDOUT &&
            rdisk_now(link->session->env) < link->session->open_deadline &&
            resolve(link) == 0) {
            break;
        }
        fail(link, event_code(event), "no RDMA device reaches");
        break;
    case RDMA_CM_EVENT_ROUTE_ERROR:
        fail(link, event_code(event), "cannot find a route to");
        break;
    case RDMA_CM_EVENT_UNREACHABLE:
    case RDMA_CM_EVENT_CONNECT_ERROR:
        fail(link, event_code(event), "no answer from");
        break;
    case RDMA_CM_EVENT_DISCONNECTED:
        link->state = RDISK_LINK_DOWN;
        rdisk_initiator_link_lost(link->session, link);
        break;
    case RDMA_CM_EVENT_DEVICE_REMOVAL:
        link->state = RDISK_LINK_DOWN;
        rdisk_error_set(&err, -ENODEV, "RDMA device %s was removed",
                        link->session->device_name);
        rdisk_initiator_fail(link->session, &err);
        break;
    default:
        /* TIMEWAIT_EXIT and ADDR_CHANGE ask for nothing. */
        break;
    }
}

void rdisk_link_take_events(struct rdisk_initiator *session)
{
    const struct rdisk_verbs *verbs = session->env->verbs;
    struct rdma_cm_event *event;

    while (verbs->get_cm_event(session->channel, &event) == 0) {
        bool removal = event->event == RDMA_CM_EVENT_DEVICE_REMOVAL;

        if (!event->id->context) {
            if (removal) {
                rdisk_cm_teardowns_removed(&session->teardowns, event->id);
            }
        } else if (event->id != session->device_watch) {
            take_event(event->id->context, event);
        } else if (removal) {
            session->device_lost = true;
        }
        verbs->ack_cm_event(event);
    }
    if (session->device_lost && session->device_watch) {
        rdisk_initiator_leave_device(session);
    }
    rdisk_cm_teardowns_process(&session->teardowns, rdisk_now(session->env));
}

void rdisk_link_disconnect(struct rdisk_link *link)
{
    struct rdisk_initiator *session = link->session;

    /* Else its id's end tells, when it can. */
    if (link->state == RDISK_LINK_UP && !session->link_suspect &&
        rdisk_port_active(session->env, link->id)) {
        session->env->verbs->disconnect(link->id);
    }
    link->state = RDISK_LINK_DOWN;
}

void rdisk_link_destroy(struct rdisk_link *link)
{
    struct rdisk_initiator *session = link->session;

    if (link->id && link->known) {
        rdisk_cm_teardowns_add(&session->teardowns, link->id, session->link_suspect);
    } else if (link->id) {
        session->env->verbs->destroy_id(link->id);
        rdisk_cm_teardowns_release(&session->teardowns);
    }
    link->id = NULL;
    link->known = false;
}
