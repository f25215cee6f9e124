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

/* While the control link is not up, only this address of the server is lost. */
static enum rdisk_session_event failure(const struct rdisk_link *link)
{
    return link->queue || link->state == RDISK_LINK_UP ||
                   link->state == RDISK_LINK_ENDED
               ? RDISK_EVENT_LOST
               : RDISK_EVENT_ADDRESS_FAILED;
}

static void fail_with(struct rdisk_link *link, const struct rdisk_error *err)
{
    enum rdisk_session_event event = failure(link);

    link->state = RDISK_LINK_DOWN;
    rdisk_initiator_raise_error(link->session, event, err);
}

/* @what was tried with the server, and how it failed. */
static void fail(struct rdisk_link *link, int code, const char *what)
{
    struct rdisk_error err;

    rdisk_error_set(&err, code, "%s %s: %s", what, link->session->server.where,
                    strerror(-code));
    fail_with(link, &err);
}

static int milliseconds_left(const struct rdisk_initiator *session)
{
    uint64_t now = rdisk_now(session->env);
    uint64_t deadline = session->machine.deadline_at;

    return deadline > now ? (int)((deadline - now) / RDISK_MSEC) + 1 : 1;
}

/* Find the device that reaches the server, within the time of one try. */
static int resolve(struct rdisk_link *link)
{
    struct rdisk_initiator *session = link->session;
    int left = milliseconds_left(session);

    return session->env->verbs->resolve_addr(
        link->id, (struct sockaddr *)&session->connection.address,
        left < RESOLVE_MS ? left : RESOLVE_MS);
}

int rdisk_link_start(struct rdisk_link *link, struct rdisk_error *err)
{
    struct rdisk_initiator *session = link->session;
    struct rdisk_connection *connection = &session->connection;
    const struct rdisk_verbs *verbs = session->env->verbs;
    int ret;

    ret = rdisk_cm_teardowns_reserve(&connection->teardowns);
    if (ret < 0) {
        return rdisk_error_set(err, ret, "out of memory");
    }
    ret = verbs->create_id(connection->channel, &link->id, link);
    if (ret == -EACCES) {
        link->id = NULL;
        ret = rdisk_connection_renew_channel(session, err);
        if (ret < 0) {
            rdisk_cm_teardowns_release(&connection->teardowns);
            return ret;
        }
        ret = verbs->create_id(connection->channel, &link->id, link);
    }
    if (ret < 0) {
        link->id = NULL;
        rdisk_cm_teardowns_release(&connection->teardowns);
        return rdisk_error_set(err, ret, "cannot create a connection: %s",
                               strerror(-ret));
    }
    link->state = RDISK_LINK_ADDRESS;
    ret = resolve(link);
    if (ret < 0) {
        link->state = RDISK_LINK_DOWN;
        return rdisk_error_set(err, ret,
                               "no RDMA device of this machine reaches %s: %s",
                               session->server.where, strerror(-ret));
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
    ret = rdisk_connection_device(session, link->id->verbs, &err);
    if (ret < 0) {
        fail_with(link, &err);
        return;
    }
    /* Older kernels refuse the option; with them a loss takes longer to
     * detect. */
    ret = verbs->set_ack_timeout(link->id, RDISK_ACK_TIMEOUT);
    if (ret < 0) {
        rdisk_log(session->env, RDISK_LOG_DEBUG,
                  "cannot set the ACK timeout, the kernel's is used: %s",
                  strerror(-ret));
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
        return rdisk_queue_connect(&session->queues.list[link->queue - 1], err);
    }
    return rdisk_control_create(&session->connection.control, session->env,
                                link->id, session->registrations.device->pd,
                                err);
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
        fail_with(link, &err);
        return;
    }
    if (link->queue) {
        hello.slots = htole16((uint16_t)session->queues.slots);
        hello.slot_size = htole32(session->info.max_transfer);
        hello.session = htole64(session->handshake.server_session);
        hello.epoch = htole64(session->epoch);
        memcpy(hello.token, session->handshake.token, sizeof(hello.token));
        param.initiator_depth = (uint8_t)rdisk_resident_reads(session);
    } else {
        session->durations.steps.route = rdisk_initiator_step(session);
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
    struct rdisk_initiator *session = link->session;
    struct rdisk_wire_resident resident = { 0 };
    struct rdisk_wire_accept accept;
    struct rdisk_error err;

    if (rdisk_wire_check_accept(conn->private_data, conn->private_data_len,
                                link->queue, &err) != RDISK_STATUS_OK) {
        fail_with(link, &err);
        return;
    }
    if (link->queue && session->handshake.resident &&
        rdisk_wire_check_resident(conn->private_data, conn->private_data_len,
                                  session->info.size, &resident,
                                  &err) != RDISK_STATUS_OK) {
        fail_with(link, &err);
        return;
    }
    memcpy(&accept, conn->private_data, sizeof(accept));
    link->state = RDISK_LINK_UP;
    if (link->queue) {
        struct rdisk_queue *queue = &session->queues.list[link->queue - 1];

        rdisk_resident_accepted(queue, &resident);
        rdisk_initiator_queue_up(session, queue, &accept);
    } else {
        rdisk_connection_control_up(session);
    }
}

/* The reason of a rejection that a program has given, or its end: as in IBTA,
 * 12.6.7.2. */
#define CONSUMER_REJECT 28

/*
 * Linux rejects a connection in the name of a program that listens when it has
 * too many that it has not taken (its backlog), and all those when it ends.
 */
static bool not_taken(const struct rdma_cm_event *event)
{
    const struct rdma_conn_param *conn = &event->param.conn;
    const uint8_t *bytes = conn->private_data;

    for (unsigned int i = 0; bytes && i < conn->private_data_len; i++) {
        if (bytes[i]) {
            return false;
        }
    }
    return event->status == CONSUMER_REJECT;
}

static void rejected(struct rdisk_link *link, const struct rdma_cm_event *event)
{
    const struct rdma_conn_param *conn = &event->param.conn;
    struct rdisk_error err;

    if (not_taken(event)) {
        rdisk_error_set(&err, -EAGAIN,
                        "connection not accepted: the server has too many at "
                        "once, or has just ended");
    } else {
        rdisk_wire_read_reject(conn->private_data, conn->private_data_len,
                               &err);
    }
    rdisk_error_prefix(&err, "%s", link->session->server.where);
    fail_with(link, &err);
}

/* An event's status is a negative errno, but for the odd positive one. */
static int event_code(const struct rdma_cm_event *event)
{
    return event->status < 0 ? event->status : -ETIMEDOUT;
}

/* Such as no answer to ARP. */
static void address_error(struct rdisk_link *link,
                          const struct rdma_cm_event *event)
{
    struct rdisk_initiator *session = link->session;

    if (event_code(event) != -ETIMEDOUT ||
        rdisk_now(session->env) >= session->machine.deadline_at ||
        resolve(link) < 0) {
        fail(link, event_code(event), "no RDMA device reaches");
    }
}

static void removed(struct rdisk_link *link)
{
    struct rdisk_error err;

    rdisk_error_set(&err, -ENODEV, "RDMA device %s was removed",
                    link->session->registrations.device_name);
    fail_with(link, &err);
}

static void disconnected(struct rdisk_link *link)
{
    if (link->state == RDISK_LINK_UP) {
        link->state = RDISK_LINK_ENDED;
    } else {
        fail(link, -ECONNRESET, "cannot connect to");
    }
}

static void take_event(struct rdisk_link *link,
                       const struct rdma_cm_event *event)
{
    if (event->event == RDMA_CM_EVENT_DEVICE_REMOVAL) {
        link->session->registrations.device_lost = true;
    }
    if (link->state == RDISK_LINK_DOWN) {
        /* What was still in flight must not bring it back. */
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
        address_error(link, event);
        break;
    case RDMA_CM_EVENT_ROUTE_ERROR:
        fail(link, event_code(event), "cannot find a route to");
        break;
    case RDMA_CM_EVENT_UNREACHABLE:
    case RDMA_CM_EVENT_CONNECT_ERROR:
        fail(link, event_code(event), "no answer from");
        break;
    case RDMA_CM_EVENT_DISCONNECTED:
        disconnected(link);
        break;
    case RDMA_CM_EVENT_DEVICE_REMOVAL:
        removed(link);
        break;
    default:
        /* TIMEWAIT_EXIT and ADDR_CHANGE require nothing. */
        break;
    }
}

/* Of a link, of the device watch, or of a connection that waits for its end. */
static void dispatch(struct rdisk_initiator *session,
                     const struct rdma_cm_event *event)
{
    bool removal = event->event == RDMA_CM_EVENT_DEVICE_REMOVAL;

    if (!event->id->context) {
        if (removal) {
            rdisk_cm_teardowns_removed(&session->connection.teardowns,
                                       event->id);
        }
    } else if (event->id != session->registrations.watch) {
        take_event(event->id->context, event);
    } else if (removal) {
        session->registrations.device_lost = true;
    }
}

/* The channel stays readable while there are more. */
void rdisk_link_take_events(struct rdisk_initiator *session)
{
    const struct rdisk_verbs *verbs = session->env->verbs;
    struct rdisk_connection *connection = &session->connection;
    struct rdma_cm_event *event;
    struct rdisk_error err;
    int ret = 0;

    RDISK_ASSERT_HOME(session);
    for (unsigned int i = 0;
         i < RDISK_EVENTS_PER_TURN && !connection->channel_refused; i++) {
        ret = verbs->get_cm_event(connection->channel, &event);
        if (ret < 0) {
            break;
        }
        dispatch(session, event);
        verbs->ack_cm_event(event);
        rdisk_initiator_run(session);
    }
    if (ret == -EACCES && rdisk_connection_renew_channel(session, &err) < 0) {
        rdisk_log(session->env, RDISK_LOG_WARNING, "%s", err.text);
    }
    if (session->registrations.device_lost && session->registrations.watch) {
        rdisk_initiator_leave_device(session);
    }
    rdisk_cm_teardowns_process(&connection->teardowns, rdisk_now(session->env));
}

static void ended(struct rdisk_initiator *session,
                  enum rdisk_session_event event, struct rdisk_link *link)
{
    struct rdisk_error err;

    link->state = RDISK_LINK_DOWN;
    rdisk_error_set(&err, -ECONNRESET, "%s ended the connection",
                    session->peer);
    rdisk_initiator_raise_error(session, event, &err);
}

/* Its device reports more than the connection manager. */
static void control_broken(struct rdisk_initiator *session)
{
    struct rdisk_error err;

    rdisk_connection_explain(session, &session->connection.control.qp, &err);
    rdisk_initiator_raise_error(session, RDISK_EVENT_CONTROL_ENDED, &err);
}

void rdisk_link_report_ended(struct rdisk_initiator *session)
{
    struct rdisk_connection *connection = &session->connection;

    if (rdisk_initiator_takes_messages(session) &&
        atomic_load(&connection->control.qp.broken)) {
        control_broken(session);
    } else if (connection->link.state == RDISK_LINK_ENDED) {
        ended(session, RDISK_EVENT_CONTROL_ENDED, &connection->link);
    }
    for (unsigned int i = 0; i < session->queues.count; i++) {
        struct rdisk_link *link = &session->queues.list[i].link;

        if (link->state == RDISK_LINK_ENDED) {
            ended(session, RDISK_EVENT_QUEUE_ENDED, link);
        }
    }
    rdisk_initiator_run(session);
}

void rdisk_link_disconnect(struct rdisk_link *link)
{
    struct rdisk_initiator *session = link->session;

    /* Else the id's teardown does it, when it can. */
    if (link->state == RDISK_LINK_UP && !session->connection.link_suspect &&
        rdisk_port_active(session->env, link->id)) {
        session->env->verbs->disconnect(link->id);
    }
    link->state = RDISK_LINK_DOWN;
}

void rdisk_link_destroy(struct rdisk_link *link)
{
    struct rdisk_initiator *session = link->session;
    struct rdisk_cm_teardowns *teardowns = &session->connection.teardowns;

    if (link->id && link->known) {
        rdisk_cm_teardowns_add(teardowns, link->id,
                               session->connection.link_suspect);
    } else if (link->id) {
        session->env->verbs->destroy_id(link->id);
        rdisk_cm_teardowns_release(teardowns);
    }
    link->id = NULL;
    link->known = false;
}
