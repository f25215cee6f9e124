/* SPDX-License-Identifier: BSD-3-Clause */
/* A client session: its life, its time-outs, and what it tells. */
#include <rdisk/initiator.h>

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "transport/initiator/session.h"
#include "transport/verbs/channel.h"

const char *rdisk_initiator_state_name(enum rdisk_initiator_state state)
{
    static const char *const names[] = {
        [RDISK_INITIATOR_IDLE] = "idle",
        [RDISK_INITIATOR_CONNECTING] = "connecting",
        [RDISK_INITIATOR_HELLO_SENT] = "greeting",
        [RDISK_INITIATOR_AUTH_SENT] = "telling its name",
        [RDISK_INITIATOR_PROOF_SENT] = "proving its secret",
        [RDISK_INITIATOR_OPENING] = "opening the volume",
        [RDISK_INITIATOR_CREATING] = "making the volume",
        [RDISK_INITIATOR_JOINING] = "connecting its queues",
        [RDISK_INITIATOR_READY] = "ready",
        [RDISK_INITIATOR_DRAINING] = "draining",
        [RDISK_INITIATOR_QUIESCING] = "letting go of a lost connection",
        [RDISK_INITIATOR_BACKOFF] = "waiting to connect again",
        [RDISK_INITIATOR_CLOSING] = "closing",
        [RDISK_INITIATOR_CLOSED] = "closed",
        [RDISK_INITIATOR_FAILED] = "failed",
    };

    return names[state];
}

enum rdisk_initiator_state rdisk_initiator_state(
    const struct rdisk_initiator *session)
{
    return (enum rdisk_initiator_state)
        atomic_load_explicit(&session->state, memory_order_acquire);
}

/* ---- Create and destroy ----------------------------------------------- */

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
    if (!session) {
        goto no_memory;
    }
    session->env = env;
    session->options = *options;
    session->events = events;
    session->opaque = opaque;
    session->epoch = 1;
    session->alarm_fd = -1;
    session->timer_fd = -1;
    session->timer = RDISK_NEVER;
    session->open_deadline = RDISK_NEVER;
    session->tick = RDISK_NEVER;
    session->reconnect_deadline = RDISK_NEVER;
    session->link.session = session;
    rdisk_cm_teardowns_init(&session->teardowns, env);
    session->steps.device = session->device_name;
    env->random(env->opaque, session->client, sizeof(session->client));
    if (!session->options.port) {
        session->options.port = RDISK_DEFAULT_PORT;
    }
    session->options.host = strdup(options->host);
    session->options.volume = strdup(options->volume);
    session->options.secret = NULL;     /* the caller's may go */
    if (options->user) {
        session->options.user = strdup(options->user);
        session->secret = *options->secret;
    }
    session->poll_fd = epoll_create1(EPOLL_CLOEXEC);
    session->alarm_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (env->clock) {
        session->timer_fd = timerfd_create(env->clock,
                                           TFD_NONBLOCK | TFD_CLOEXEC);
    }
    if (!session->options.host || !session->options.volume ||
        (options->user && !session->options.user) || session->poll_fd < 0 ||
        session->alarm_fd < 0 || (env->clock && session->timer_fd < 0)) {
        rdisk_initiator_destroy(session);
        goto no_memory;
    }
    return session;

no_memory:
    rdisk_error_set(err, -ENOMEM, "out of memory or descriptors");
    return NULL;
}

void rdisk_initiator_destroy(struct rdisk_initiator *session)
{
    struct rdisk_range *range;

    if (!session) {
        return;
    }
    rdisk_initiator_fail_calls(session, -ECANCELED);
    rdisk_initiator_break(session);
    rdisk_initiator_drop(session);
    for (unsigned int i = 0; i < session->queue_count; i++) {
        rdisk_queue_destroy(&session->queues[i]);
    }
    free(session->queues);
    rdisk_initiator_leave_device(session);
    rdisk_cm_teardowns_end(&session->teardowns);
    while ((range = session->ranges)) {
        session->ranges = range->next;
        free(range);
    }
    if (session->channel) {
        session->env->verbs->destroy_event_channel(session->channel);
    }
    if (session->poll_fd >= 0) {
        close(session->poll_fd);
    }
    if (session->alarm_fd >= 0) {
        close(session->alarm_fd);
    }
    if (session->timer_fd >= 0) {
        close(session->timer_fd);
    }
    free((char *)session->options.host);
    free((char *)session->options.volume);
    free((char *)session->options.user);
    rdisk_secret_wipe(&session->secret);
    free(session);
}

/* ---- Start ------------------------------------------------------------ */

static int watch(struct rdisk_initiator *session, int fd)
{
    struct epoll_event event = { .events = EPOLLIN };

    return epoll_ctl(session->poll_fd, EPOLL_CTL_ADD, fd, &event) < 0
           ? -errno : 0;
}

static int resolve_name(struct rdisk_initiator *session,
                        struct rdisk_error *err)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    struct addrinfo *list;
    char port[8];
    int ret;

    snprintf(port, sizeof(port), "%u", session->options.port);
    ret = getaddrinfo(session->options.host, port, &hints, &list);
    if (ret) {
        return rdisk_error_set(err, -ENOENT, "cannot resolve host '%s': %s",
                               session->options.host, gai_strerror(ret));
    }
    memcpy(&session->address, list->ai_addr, list->ai_addrlen);
    freeaddrinfo(list);
    return 0;
}

static int open_channel(struct rdisk_initiator *session,
                        struct rdisk_error *err)
{
    int ret;

ret = rdisk_channel_create(session->env, &session->channel, err);
    if (ret < 0) {
        return ret;
    }
    ret = watch(session, session->channel->fd);
    if (ret == 0) {
        ret = watch(session, session->alarm_fd);
    }
    if (ret == 0 && session->timer_fd >= 0) {
        ret = watch(session, session->timer_fd);
    }
    if (ret < 0) {
        return rdisk_error_set(err, ret, "cannot watch for events: %s",
                               strerror(-ret));
    }
    return 0;
}

int rdisk_initiator_start(struct rdisk_initiator *session,
                          struct rdisk_error *err)
{
    int ret;

    if (rdisk_initiator_state(session) != RDISK_INITIATOR_IDLE) {
        return rdisk_error_set(err, -EALREADY, "the session was started "
                               "before");
    }
    session->step_started = rdisk_now(session->env);
    session->open_deadline = session->step_started +
                             session->options.open_timeout_ms * RDISK_MSEC;
    /* The session keeps the sentence, even if the caller does not want it. */
    ret = open_channel(session, &session->error);
    if (ret == 0) {
        ret = resolve_name(session, &session->error);
    }
    if (ret == 0) {
        session->steps.name = rdisk_initiator_step(session);
        session->connected = true;
        rdisk_initiator_set_state(session, RDISK_INITIATOR_CONNECTING);
        ret = rdisk_link_start(&session->link, &session->error);
    }
    if (ret < 0) {
        session->open_deadline = RDISK_NEVER;
        rdisk_initiator_set_state(session, RDISK_INITIATOR_FAILED);
        if (err) {
            *err = session->error;
        }
    }
    rdisk_initiator_set_timer(session);
    return ret;
}

/* ---- Progress, called by links and messages ---------------------------- */

uint64_t rdisk_initiator_step(struct rdisk_initiator *session)
{
    uint64_t now = rdisk_now(session->env);
    uint64_t took = now - session->step_started;

    session->step_started = now;
    return took;
}

void rdisk_initiator_set_state(struct rdisk_initiator *session,
                               enum rdisk_initiator_state state)
{
    atomic_store_explicit(&session->state, (int)state, memory_order_release);
    if (session->events && session->events->state) {
        session->events->state(session->opaque, state);
    }
}

int rdisk_initiator_device(struct rdisk_initiator *session,
                           struct ibv_context *context,
                           struct rdisk_error *err)
{
    if (session->device && session->device->context == context) {
        rdisk_initiator_release_watch(session);
        return 0;
    }
    if (session->device_watch) {
        /* No connection is left on the other one. */
        rdisk_initiator_leave_device(session);
    }
    if (session->device) {
        return rdisk_error_set(err, -ENODEV,
                               "the path to %s moved to another RDMA device "
                               "while connecting", session->options.host);
    }
    if (rdisk_initiator_take_device(session, context, err) < 0) {
        return err->code;
    }
    if (context->device) {
        snprintf(session->device_name, sizeof(session->device_name), "%s",
                 context->device->name);
    }
    session->steps.address = rdisk_initiator_step(session);
    return 0;
}

static int create_queues(struct rdisk_initiator *session,
                         struct rdisk_error *err)
{
    unsigned int n = session->info.queues;

    if (session->queues) {
        return 0;   /* from the connection before */
    }
    session->queues = calloc(n, sizeof(session->queues[0]));
    if (!session->queues) {
        return rdisk_error_set(err, -ENOMEM, "out of memory");
    }
    for (unsigned int i = 0; i < n; i++) {
        session->queue_count++;
        if (rdisk_queue_init(&session->queues[i], session, i + 1) < 0) {
            return rdisk_error_set(err, -errno,
                                   "cannot create a queue's descriptors: %s",
                                   strerror(errno));
        }
    }
    return 0;
}

void rdisk_initiator_join(struct rdisk_initiator *session)
{
    struct rdisk_error err = { 0 };

    if (create_queues(session, &err) < 0) {
        rdisk_initiator_fail(session, &err);
        return;
    }
    rdisk_initiator_set_state(session, RDISK_INITIATOR_JOINING);
    for (unsigned int i = 0; i < session->queue_count; i++) {
        if (rdisk_link_start(&session->queues[i].link, &err) < 0) {
            rdisk_initiator_fail(session, &err);
            return;
        }
    }
}

/* Every queue has its lease: requests may flow. */
static void ready(struct rdisk_initiator *session)
{
    session->steps.join = rdisk_initiator_step(session);
    session->open_deadline = RDISK_NEVER;
    session->reconnect_deadline = RDISK_NEVER;
    atomic_store(&session->expired, false);
    rdisk_initiator_start_tick(session);
    if (session->established) {
        rdisk_counter_add(&session->reconnects, 1);
        rdisk_log(session->env, RDISK_LOG_WARNING,
                  "%s:%u is back, epoch %llu", session->options.host,
                  session->options.port, (unsigned long long)session->epoch);
    } else {
        session->info.max_segments = session->queues[0].max_segments;
        session->established = true;
    }
    rdisk_initiator_set_state(session, RDISK_INITIATOR_READY);
    for (unsigned int i = 0; i < session->queue_count; i++) {
        rdisk_queue_hand_over(&session->queues[i]);
    }
    rdisk_initiator_ask_again(session);
}

void rdisk_initiator_link_up(struct rdisk_initiator *session,
                             struct rdisk_link *link,
                             const struct rdisk_wire_accept *accept)
{
    struct rdisk_error err;

    if (!link->queue) {
        session->steps.connect = rdisk_initiator_step(session);
        if (watch(session, rdisk_qp_fd(&session->control.qp)) < 0) {
            rdisk_error_set(&err, -errno, "cannot watch for messages: %s",
                            strerror(errno));
            rdisk_initiator_fail(session, &err);
            return;
        }
        rdisk_initiator_say_hello(session);
        return;
    }
    if (le16toh(accept->slots) > session->granted_slots ||
        le32toh(accept->slot_size) != session->info.max_transfer) {
        rdisk_error_set(&err, -EPROTO,
                        "%s:%u leased other slots than it granted",
                        session->options.host, session->options.port);
        rdisk_initiator_fail(session, &err);
        return;
    }
    rdisk_queue_set_grant(&session->queues[link->queue - 1], accept);
    if (++session->queues_up == session->queue_count) {
        ready(session);
    }
}

/* ---- The end ---------------------------------------------------------- */

void rdisk_initiator_end(struct rdisk_initiator *session,
                         const struct rdisk_error *err)
{
    if (rdisk_initiator_state(session) >= RDISK_INITIATOR_CLOSED) {
        return;
    }
    session->error = *err;
    session->open_deadline = RDISK_NEVER;
    session->tick = RDISK_NEVER;
    session->reconnect_deadline = RDISK_NEVER;
    /*
     * In ERROR no remote access is accepted any more; the flushed completions
     * wake each queue's thread, which then ends its requests.
     */
    rdisk_initiator_set_state(session, RDISK_INITIATOR_FAILED);
    rdisk_initiator_break(session);
    for (unsigned int i = 0; i < session->queue_count; i++) {
        rdisk_queue_wake(&session->queues[i]);
    }
    rdisk_initiator_fail_calls(session, err->code);
}

void rdisk_initiator_fail(struct rdisk_initiator *session,
                          const struct rdisk_error *err)
{
    switch (rdisk_initiator_state(session)) {
    case RDISK_INITIATOR_QUIESCING:
    case RDISK_INITIATOR_BACKOFF:
    case RDISK_INITIATOR_CLOSED:
    case RDISK_INITIATOR_FAILED:
        /* The first failure of a connection is the one that counts. */
        return;
    case RDISK_INITIATOR_CLOSING:
        break;
    default:
        if (session->established && session->options.reconnect_delay_ms) {
            rdisk_initiator_recover(session, err);
            return;
        }
    }
    rdisk_initiator_end(session, err);
}

void rdisk_initiator_link_lost(struct rdisk_initiator *session,
                               struct rdisk_link *link)
{
    struct rdisk_error err;

    if (rdisk_initiator_state(session) == RDISK_INITIATOR_CLOSING) {
        /* The server ends the data queues before it answers. */
        if (link->queue) {
            return;
        }
        /* It had nothing more to say. */
        rdisk_initiator_set_state(session, RDISK_INITIATOR_CLOSED);
        return;
    }
    /* A BYE may have come just before; its sentence is the better one. */
    if (session->control.created) {
        rdisk_control_process(&session->control, rdisk_initiator_message,
                              session);
    }
    if (rdisk_initiator_state(session) == RDISK_INITIATOR_DRAINING) {
        err = session->error;
    } else if (atomic_load(&session->control.qp.reason) != IBV_WC_SUCCESS ||
               atomic_load(&session->control.qp.gone)) {
        rdisk_initiator_tell_break(session, &session->control.qp, &err);
    } else {
        rdisk_error_set(&err, -ECONNRESET, "%s:%u ended the connection",
                        session->options.host, session->options.port);
    }
    rdisk_initiator_fail(session, &err);
}

void rdisk_initiator_close(struct rdisk_initiator *session)
{
    struct rdisk_wire_message close_message = {
        .type = htole16(RDISK_MSG_CLOSE),
    };

    if (rdisk_initiator_state(session) != RDISK_INITIATOR_READY) {
        return;
    }
    session->tick = RDISK_NEVER;
    session->open_deadline = rdisk_now(session->env) +
                             session->options.open_timeout_ms * RDISK_MSEC;
    rdisk_initiator_set_state(session, RDISK_INITIATOR_CLOSING);
    if (!rdisk_control_send(&session->control, &close_message,
                            sizeof(close_message))) {
        rdisk_initiator_set_state(session, RDISK_INITIATOR_CLOSED);
    }
    rdisk_initiator_set_timer(session);
}

/* ---- Events and time -------------------------------------------------- */

int rdisk_initiator_fd(const struct rdisk_initiator *session)
{
    return session->poll_fd;
}

/* A queue's thread saw its connection break, or has parked it, or rests. */
static void take_alarm(struct rdisk_initiator *session)
{
    struct rdisk_error err;
    uint64_t rings;

    if (read(session->alarm_fd, &rings, sizeof(rings)) < 0) {
        return;
    }
    for (unsigned int i = 0; i < session->queue_count; i++) {
        if (session->queues[i].created &&
            atomic_load(&session->queues[i].qp.broken)) {
            rdisk_initiator_tell_break(session, &session->queues[i].qp, &err);
            rdisk_initiator_fail(session, &err);
            return;
        }
    }
}

void rdisk_initiator_process(struct rdisk_initiator *session)
{
    if (!session->channel) {
        return;
    }
    rdisk_link_take_events(session);
    if (session->control.created) {
        rdisk_control_process(&session->control, rdisk_initiator_message,
                              session);
        if (atomic_load(&session->control.qp.broken)) {
            rdisk_initiator_link_lost(session, &session->link);
        }
        if (atomic_load(&session->control.qp.gone)) {
            /* The channel of a removed device is readable for ever. */
            epoll_ctl(session->poll_fd, EPOLL_CTL_DEL,
                      rdisk_qp_fd(&session->control.qp), NULL);
        }
    }
    if (rdisk_initiator_state(session) == RDISK_INITIATOR_READY) {
        rdisk_initiator_ask_again(session);
    }
    take_alarm(session);
    rdisk_initiator_timers(session, rdisk_now(session->env));
    rdisk_initiator_recovery_step(session);
    rdisk_initiator_set_timer(session);
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
                *err = session->error;
            }
            return session->error.code;
        default:
            break;
        }
        /* At most a second at a time: a bound behind every sleep. */
        poll(&pfd, 1, wait < 1000 ? (int)wait : 1000);
        rdisk_initiator_process(session);
    }
}

/* ---- What it tells ---------------------------------------------------- */

const struct rdisk_error *rdisk_initiator_error(
    const struct rdisk_initiator *session)
{
    return &session->error;
}

const struct rdisk_volume_info *rdisk_initiator_info(
    const struct rdisk_initiator *session)
{
    return &session->info;
}

void rdisk_initiator_steps(const struct rdisk_initiator *session,
                           struct rdisk_initiator_steps *steps)
{
    *steps = session->steps;
}

struct rdisk_queue *rdisk_initiator_queue(struct rdisk_initiator *session,
                                          unsigned int index)
{
    return index < session->queue_count ? &session->queues[index] : NULL;
}

uint64_t rdisk_initiator_reconnects(const struct rdisk_initiator *session)
{
    return rdisk_counter_read(&session->reconnects);
}
