/* SPDX-License-Identifier: BSD-3-Clause */
/* A client session as its owner sees it. */
#include <rdisk/initiator.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "transport/initiator/session.h"

/* ---- Create and destroy ----------------------------------------------- */

static void begin(struct rdisk_initiator *session)
{
    session->epoch = 1;
    session->poll_fd = session->alarm_fd = session->timers.fd = -1;
    session->timers.set = RDISK_NEVER;
    session->timers.tick = session->timers.drain_check = RDISK_NEVER;
    session->timers.slots_check = RDISK_NEVER;
    session->recovery.deadline = session->recovery.close_by = RDISK_NEVER;
    session->recovery.backoff = RDISK_BACKOFF_MIN;
    session->connection.link.session = session;
    rdisk_cm_teardowns_init(&session->connection.teardowns, session->env);
    rdisk_initiator_state_begin(session);
    session->durations.steps.device = session->registrations.device_name;
    session->env->random(session->env->opaque, session->handshake.client,
                         sizeof(session->handshake.client));
}

static void take_client(struct rdisk_initiator *session,
                        const struct rdisk_client *client)
{
    assert(client->epoch);
    memcpy(session->handshake.client, client->id, sizeof(client->id));
    session->epoch = client->epoch;
    session->info.generation = client->generation;
    session->handshake.generation = client->generation;
}

static bool copy_options(struct rdisk_initiator *session,
                         const struct rdisk_initiator_options *options)
{
    session->options = *options;
    session->options.client = NULL; /* the caller's may go */
    if (options->client) {
        take_client(session, options->client);
    }
    session->options.host = session->options.servers = NULL; /* the same */
    session->options.volume = strdup(options->volume);
    session->options.secret = NULL; /* the caller's may go */
    if (options->user) {
        session->options.user = strdup(options->user);
        session->handshake.secret = rdisk_secret_new();
    }
    if (!session->options.volume ||
        !rdisk_servers_init(&session->servers, options) ||
        (options->user &&
         (!session->options.user || !session->handshake.secret))) {
        return false;
    }
    if (options->user) {
        *session->handshake.secret = *options->secret;
    }
    session->peer = rdisk_servers_host(&session->servers)->peer;
    return true;
}

static bool open_descriptors(struct rdisk_initiator *session)
{
    const struct rdisk_env *env = session->env;

    session->poll_fd = epoll_create1(EPOLL_CLOEXEC);
    session->alarm_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (env->clock) {
        session->timers.fd = timerfd_create(env->clock,
                                            TFD_NONBLOCK | TFD_CLOEXEC);
    }
    return session->poll_fd >= 0 && session->alarm_fd >= 0 &&
           (!env->clock || session->timers.fd >= 0);
}

struct rdisk_initiator *rdisk_initiator_create(
    const struct rdisk_env *env, const struct rdisk_initiator_options *options,
    const struct rdisk_initiator_events *events, void *opaque,
    struct rdisk_error *err)
{
    struct rdisk_initiator *session;

    if (rdisk_initiator_options_check(options, err) < 0) {
        return NULL;
    }
    session = calloc(1, sizeof(*session));
    if (session) {
        session->env = env;
        session->events = events;
        session->opaque = opaque;
        begin(session);
        if (copy_options(session, options) && open_descriptors(session)) {
            return session;
        }
        rdisk_initiator_destroy(session);
    }
    rdisk_error_set(err, -ENOMEM, "out of memory or descriptors");
    return NULL;
}

static void close_descriptor(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}

void rdisk_initiator_destroy(struct rdisk_initiator *session)
{
    struct rdisk_range *range;

    if (!session) {
        return;
    }
    assert(!session->machine.running);
    rdisk_use_begin(&session->use);
    rdisk_initiator_fail_calls(session, -ECANCELED);
    rdisk_initiator_drop_query(session);
    rdisk_connection_break(session);
    rdisk_connection_drop(session);
    for (unsigned int i = 0; i < session->queues.count; i++) {
        rdisk_queue_destroy(&session->queues.list[i]);
    }
    free(session->queues.list);
    rdisk_initiator_leave_device(session);
    rdisk_connection_close(session);
    while ((range = session->registrations.ranges)) {
        session->registrations.ranges = range->next;
        free(range);
    }
    close_descriptor(session->poll_fd);
    close_descriptor(session->alarm_fd);
    close_descriptor(session->timers.fd);
    free((char *)session->options.volume);
    free((char *)session->options.user);
    rdisk_servers_free(&session->servers);
    rdisk_secret_free(session->handshake.secret);
    rdisk_use_end(&session->use);
    free(session);
}

/* ---- What the owner does ------------------------------------------------ */

/* An owner's call raised something. */
static void take(struct rdisk_initiator *session)
{
    rdisk_initiator_run(session);
    rdisk_timers_set(session);
}

int rdisk_initiator_start(struct rdisk_initiator *session,
                          struct rdisk_error *err)
{
    int ret;

    if (rdisk_initiator_state(session) != RDISK_INITIATOR_IDLE) {
        return rdisk_error_set(err, -EALREADY,
                               "the session has already been started");
    }
    rdisk_use_begin(&session->use);
    rdisk_initiator_raise(session, RDISK_EVENT_START);
    take(session);
    rdisk_connection_report_quiesced(session);
    ret = rdisk_initiator_state(session) == RDISK_INITIATOR_FAILED
              ? session->machine.error.code
              : 0;
    if (ret < 0 && err) {
        *err = session->machine.error;
    }
    rdisk_use_end(&session->use);
    return ret;
}

void rdisk_initiator_close(struct rdisk_initiator *session)
{
    rdisk_use_begin(&session->use);
    rdisk_initiator_raise(session, RDISK_EVENT_CLOSE);
    take(session);
    rdisk_use_end(&session->use);
}

void rdisk_initiator_cancel(struct rdisk_initiator *session)
{
    rdisk_use_begin(&session->use);
    rdisk_initiator_raise(session, RDISK_EVENT_STOP_WAITING);
    take(session);
    rdisk_use_end(&session->use);
}

void rdisk_initiator_give_up(struct rdisk_initiator *session)
{
    struct rdisk_error err;

    rdisk_error_set(&err, -ECONNABORTED,
                    "the connection to %s was aborted by request",
                    session->peer);
    rdisk_use_begin(&session->use);
    rdisk_initiator_raise_error(session, RDISK_EVENT_GIVE_UP, &err);
    rdisk_initiator_raise(session, RDISK_EVENT_STOP_WAITING);
    take(session);
    rdisk_use_end(&session->use);
}

/* ---- Events and time -------------------------------------------------- */

int rdisk_initiator_fd(const struct rdisk_initiator *session)
{
    return session->poll_fd;
}

void rdisk_initiator_ring_alarm(struct rdisk_initiator *session)
{
    uint64_t one = 1;

    if (write(session->alarm_fd, &one, sizeof(one)) < 0) {
        rdisk_log(session->env, RDISK_LOG_ERROR, "cannot wake the session: %s",
                  strerror(errno));
    }
}

/* A queue's thread saw its connection break, has given it back, or stopped
 * serving it. */
static void take_alarm(struct rdisk_initiator *session)
{
    struct rdisk_error err;
    uint64_t rings;

    if (read(session->alarm_fd, &rings, sizeof(rings)) < 0) {
        return;
    }
    for (unsigned int i = 0; i < session->queues.count; i++) {
        struct rdisk_queue *queue = &session->queues.list[i];

        if (queue->created && atomic_load(&queue->qp.broken)) {
            rdisk_connection_explain(session, &queue->qp, &err);
            rdisk_initiator_raise_error(session, RDISK_EVENT_QUEUE_ENDED, &err);
            break;
        }
    }
    rdisk_initiator_run(session);
}

void rdisk_initiator_process(struct rdisk_initiator *session)
{
    bool all_taken;

    if (!session->connection.channel) {
        return;
    }
    assert(!session->machine.running);
    rdisk_use_begin(&session->use);
    rdisk_initiator_take_addresses(session);
    rdisk_link_take_events(session);
    all_taken = rdisk_initiator_take_messages(session);
    if (all_taken) {
        /* A BYE has the reason why a link has ended: messages first. */
        rdisk_link_report_ended(session);
    }
    rdisk_initiator_send_calls(session);
    take_alarm(session);
    if (!all_taken) {
        rdisk_initiator_ring_alarm(session);
    }
    rdisk_timers_take(session);
    rdisk_initiator_send_slots(session);
    rdisk_initiator_run(session);
    rdisk_connection_report_quiesced(session);
    rdisk_timers_set(session);
    rdisk_use_end(&session->use);
}

int rdisk_initiator_wait(struct rdisk_initiator *session,
                         struct rdisk_error *err)
{
    for (;;) {
        struct pollfd pfd = { .fd = session->poll_fd, .events = POLLIN };
        uint64_t now = rdisk_now(session->env);
        uint64_t deadline = rdisk_initiator_deadline(session);
        uint64_t wait = deadline > now ? (deadline - now) / RDISK_MSEC + 1 : 0;

        switch (rdisk_initiator_state(session)) {
        case RDISK_INITIATOR_READY:
        case RDISK_INITIATOR_CLOSED:
            return 0;
        case RDISK_INITIATOR_FAILED:
            if (err) {
                *err = session->machine.error;
            }
            return session->machine.error.code;
        default:
            break;
        }
        /* At most a second at a time, so that every sleep is bounded. */
        poll(&pfd, 1, wait < 1000 ? (int)wait : 1000);
        rdisk_initiator_process(session);
    }
}

/* ---- Messages that it sends ---------------------------------------------- */

const struct rdisk_error *rdisk_initiator_error(
    const struct rdisk_initiator *session)
{
    return &session->machine.error;
}

const struct rdisk_volume_info *rdisk_initiator_info(
    const struct rdisk_initiator *session)
{
    return &session->info;
}

uint64_t rdisk_initiator_step(struct rdisk_initiator *session)
{
    uint64_t now = rdisk_now(session->env);
    uint64_t took = now - session->durations.began;

    session->durations.began = now;
    return took;
}

void rdisk_initiator_steps(const struct rdisk_initiator *session,
                           struct rdisk_initiator_steps *steps)
{
    *steps = session->durations.steps;
}

struct rdisk_queue *rdisk_initiator_queue(struct rdisk_initiator *session,
                                          unsigned int index)
{
    return index < session->queues.count ? &session->queues.list[index] : NULL;
}

uint64_t rdisk_initiator_reconnects(const struct rdisk_initiator *session)
{
    return rdisk_counter_read(&session->recovery.reconnects);
}
