/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One connection of a session: the control link and the data queues' links,
 * from the server's name to the release of all of it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "transport/initiator/session.h"
#include "transport/verbs/channel.h"

/* ---- What a session needs to connect ------------------------------------ */

static int watch(struct rdisk_initiator *session, int fd)
{
    struct epoll_event event = { .events = EPOLLIN };

    return epoll_ctl(session->poll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno
                                                                      : 0;
}

int rdisk_connection_open(struct rdisk_initiator *session,
                          struct rdisk_error *err)
{
    struct rdisk_connection *connection = &session->connection;
    int ret;

    ret = rdisk_channel_create(session->env, &connection->channel, err);
    if (ret < 0) {
        return ret;
    }
    ret = watch(session, connection->channel->fd);
    if (ret == 0) {
        ret = watch(session, session->alarm_fd);
    }
    if (ret == 0 && session->timers.fd >= 0) {
        ret = watch(session, session->timers.fd);
    }
    if (ret < 0) {
        return rdisk_error_set(err, ret, "cannot watch for events: %s",
                               strerror(-ret));
    }
    return 0;
}

static int migrate(struct rdisk_initiator *session, struct rdma_cm_id *id,
                   int result)
{
    int ret = id ? session->env->verbs->migrate_id(id,
                                                   session->connection.channel)
                 : 0;

    return ret < 0 ? ret : result;
}

/* All ids of the session. 0 or a negative errno. */
static int migrate_all(struct rdisk_initiator *session)
{
    struct rdisk_connection *connection = &session->connection;
    int result = rdisk_cm_teardowns_migrate(&connection->teardowns,
                                            connection->channel);

    for (unsigned int i = 0; i < session->queues.count; i++) {
        result = migrate(session, session->queues.list[i].link.id, result);
    }
    result = migrate(session, session->registrations.watch, result);
    return migrate(session, connection->link.id, result);
}

/*
 * Linux takes commands on a channel from the very credentials alone that opened
 * it (ib_safe_file_access()), so not from a process that has changed its user
 * since, such as QEMU with -run-with user=. The new user opens its own, and has
 * the ids moved to it.
 */
int rdisk_connection_renew_channel(struct rdisk_initiator *session,
                                   struct rdisk_error *err)
{
    struct rdisk_connection *connection = &session->connection;
    struct rdma_event_channel *old = connection->channel, *channel;
    int ret;

    RDISK_ASSERT_HOME(session);
    if (!connection->channel_refused) {
        /* It may be readable permanently. */
        epoll_ctl(session->poll_fd, EPOLL_CTL_DEL, old->fd, NULL);
        connection->channel_refused = true;
    }
    ret = rdisk_channel_create(session->env, &channel, err);
    if (ret < 0) {
        return ret;
    }
    ret = watch(session, channel->fd);
    if (ret < 0) {
        session->env->verbs->destroy_event_channel(channel);
        return rdisk_error_set(err, ret, "cannot watch for events: %s",
                               strerror(-ret));
    }
    connection->channel = channel;
    connection->channel_refused = false;
    ret = migrate_all(session);
    if (ret < 0) {
        /* An id needs its channel until it is destroyed. */
        rdisk_log(session->env, RDISK_LOG_WARNING,
                  "a connection cannot be moved to another event channel: %s",
                  strerror(-ret));
    } else {
        session->env->verbs->destroy_event_channel(old);
    }
    rdisk_log(session->env, RDISK_LOG_INFO,
              "this process has changed its user: /dev/infiniband/rdma_cm was "
              "opened again, by user %u",
              (unsigned int)geteuid());
    return 0;
}

void rdisk_connection_close(struct rdisk_initiator *session)
{
    rdisk_cm_teardowns_end(&session->connection.teardowns);
    if (session->connection.channel) {
        session->env->verbs->destroy_event_channel(session->connection.channel);
    }
}

/* ---- The control link --------------------------------------------------- */

void rdisk_connection_begin(struct rdisk_initiator *session)
{
    struct rdisk_error err;

    session->durations.began = rdisk_now(session->env);
    if (rdisk_connection_open(session, &err) < 0) {
        rdisk_initiator_raise_error(session, RDISK_EVENT_LOST, &err);
        return;
    }
    rdisk_initiator_resolve(session);
}

void rdisk_connection_try(struct rdisk_initiator *session)
{
    struct rdisk_server *server = &session->server;
    struct rdisk_connection *connection = &session->connection;
    struct rdisk_error err;

    if (server->next == 0) {
        session->durations.steps.name = rdisk_initiator_step(session);
    }
    connection->address = server->trying.list[server->next++];
    connection->exists = true;
    rdisk_address_text((const struct sockaddr *)&connection->address,
                       server->where, sizeof(server->where));
    if (rdisk_link_start(&connection->link, &err) < 0) {
        rdisk_initiator_raise_error(session, RDISK_EVENT_ADDRESS_FAILED, &err);
    }
}

int rdisk_connection_device(struct rdisk_initiator *session,
                            struct ibv_context *context,
                            struct rdisk_error *err)
{
    struct rdisk_registrations *registrations = &session->registrations;

    if (registrations->device && registrations->device->context == context) {
        rdisk_initiator_release_watch(session);
        return 0;
    }
    if (registrations->watch) {
        /* No connection is left on the other one. */
        rdisk_initiator_leave_device(session);
    }
    if (registrations->device) {
        return rdisk_error_set(
            err, -ENODEV,
            "the route to %s changed to another RDMA device while connecting",
            session->server.where);
    }
    if (rdisk_initiator_take_device(session, context, err) < 0) {
        return err->code;
    }
    if (context->device) {
        snprintf(registrations->device_name, sizeof(registrations->device_name),
                 "%s", context->device->name);
    }
    session->durations.steps.address = rdisk_initiator_step(session);
    return 0;
}

void rdisk_connection_control_up(struct rdisk_initiator *session)
{
    struct rdisk_connection *connection = &session->connection;
    int ret = watch(session, rdisk_qp_fd(&connection->control.qp));

    if (ret < 0) {
        rdisk_initiator_raise_lost(session, ret,
                                   "cannot watch for messages: "
                                   "%s",
                                   strerror(-ret));
        return;
    }
    session->durations.steps.connect = rdisk_initiator_step(session);
    connection->control_up = true;
    rdisk_initiator_raise(session, RDISK_EVENT_CONNECTED);
}

/* ---- The end of a connection --------------------------------------------- */

void rdisk_connection_explain(const struct rdisk_initiator *session,
                              const struct rdisk_qp *qp,
                              struct rdisk_error *err)
{
    int reason = atomic_load(&qp->reason);

    if (atomic_load(&qp->gone)) {
        rdisk_error_set(err, -ENODEV, "RDMA device %s was removed",
                        session->registrations.device_name);
    } else if (reason == IBV_WC_RETRY_EXC_ERR) {
        rdisk_error_set(err, -ETIMEDOUT,
                        "%s does not answer: transport retry "
                        "count exceeded",
                        session->peer);
    } else if (reason == IBV_WC_SUCCESS) {
        rdisk_error_set(err, -EIO, "the connection to %s broke", session->peer);
    } else {
        rdisk_error_set(err, -EIO, "the connection to %s broke: %s",
                        session->peer, rdisk_wc_status_name(reason));
    }
}

/* True if one of its queue pairs has seen that nothing goes out. */
static bool any_link_suspect(const struct rdisk_initiator *session)
{
    const struct rdisk_control *control = &session->connection.control;
    bool suspect = control->created && rdisk_qp_link_suspect(&control->qp);

    for (unsigned int i = 0; i < session->queues.count; i++) {
        const struct rdisk_queue *queue = &session->queues.list[i];

        suspect = suspect ||
                  (queue->created && rdisk_qp_link_suspect(&queue->qp));
    }
    return suspect;
}

void rdisk_connection_break(struct rdisk_initiator *session)
{
    struct rdisk_connection *connection = &session->connection;

    RDISK_ASSERT_HOME(session);
    connection->link_suspect = connection->link_suspect ||
                               any_link_suspect(session);
    for (unsigned int i = 0; i < session->queues.count; i++) {
        if (session->queues.list[i].created) {
            rdisk_qp_break(&session->queues.list[i].qp);
        }
        rdisk_link_disconnect(&session->queues.list[i].link);
    }
    if (connection->control.created) {
        rdisk_qp_break(&connection->control.qp);
    }
    rdisk_link_disconnect(&connection->link);
}

void rdisk_connection_report_quiesced(struct rdisk_initiator *session)
{
    bool quiesced = true;

    if (!session->connection.exists || !rdisk_initiator_quiesces(session)) {
        return;
    }
    for (unsigned int i = 0; i < session->queues.count; i++) {
        quiesced = rdisk_queue_reclaim(&session->queues.list[i]) && quiesced;
    }
    if (quiesced) {
        rdisk_initiator_raise(session, RDISK_EVENT_QUIESCED);
        rdisk_initiator_run(session);
    }
}

/* Keep the device through the control link's id, while there is none else. */
static void watch_device(struct rdisk_initiator *session)
{
    struct rdisk_registrations *registrations = &session->registrations;
    struct rdisk_link *link = &session->connection.link;

    if (!registrations->watch && registrations->device && link->id &&
        link->id->verbs == registrations->device->context) {
        registrations->watch = link->id;
        link->id = NULL;
        link->known = false;
    }
}

/* Before its last id goes, and librdmacm closes it. */
static void keep_device(struct rdisk_initiator *session)
{
    if (session->registrations.device_lost) {
        /* There is no port to send from. */
        session->connection.link_suspect = false;
        rdisk_initiator_leave_device(session);
    } else {
        watch_device(session);
    }
}

void rdisk_connection_drop(struct rdisk_initiator *session)
{
    struct rdisk_connection *connection = &session->connection;

    RDISK_ASSERT_HOME(session);
    for (unsigned int i = 0; i < session->queues.count; i++) {
        rdisk_queue_disconnect(&session->queues.list[i]);
    }
    rdisk_control_destroy(&connection->control);
    keep_device(session);
    for (unsigned int i = 0; i < session->queues.count; i++) {
        rdisk_link_destroy(&session->queues.list[i].link);
    }
    rdisk_link_destroy(&connection->link);
    connection->control_up = false;
    connection->exists = false;
    connection->link_suspect = false;
}

/*
 * The same before a control connection is established. The data queues use
 * nothing of it, so none of their threads has anything to release.
 */
static void drop_control(struct rdisk_initiator *session)
{
    struct rdisk_connection *connection = &session->connection;

    RDISK_ASSERT_HOME(session);
    if (connection->control.created) {
        connection->link_suspect = rdisk_qp_link_suspect(
            &connection->control.qp);
        rdisk_qp_break(&connection->control.qp);
    }
    rdisk_link_disconnect(&connection->link);
    rdisk_control_destroy(&connection->control);
    keep_device(session);
    rdisk_link_destroy(&connection->link);
    connection->link_suspect = false;
}

/* ---- The next address ---------------------------------------------------- */

void rdisk_connection_try_another(struct rdisk_initiator *session)
{
    rdisk_initiator_note_address(
        session, &session->machine.errors[RDISK_EVENT_ADDRESS_FAILED]);
    drop_control(session);
    rdisk_connection_try(session);
}
