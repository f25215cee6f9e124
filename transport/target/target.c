/* SPDX-License-Identifier: BSD-3-Clause */
/* A target: its sessions, connection events, and deadlines. */
#include <rdisk/target.h>

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "transport/base/least.h"
#include "transport/target/queue.h"
#include "transport/target/session.h"
#include "transport/verbs/channel.h"

/* Between attempts to take the events of connections without memory. */
#define PAUSE_MS 100u

/* Sessions that have messages: more would be no faster. */
#define READABLE_PER_TURN 256

/* Connection events: clients may connect without end. */
#define EVENTS_PER_TURN 32u
/* Each may bring a queue, whose memory takes long to register. */
#define TURN_MS 20
/* A connection is accepted at the latest after so many turns in which
 * handshakes that had begun needed something, however many those are. */
#define ADMISSION_PASSES 32u

void rdisk_target_options_init(struct rdisk_target_options *options)
{
    *options = (struct rdisk_target_options) {
        .port = RDISK_DEFAULT_PORT,
        .max_sessions = 256,
        .max_queues = 16,
        .max_slots = 128,
        .max_slot_size = 1u << 20,
        .max_memory = 1ull << 30,
        .base_memory = 512u << 10,
        .handshake_timeout_ms = 5000,
        .max_silence_ms = 300000,
        .open_timeout_ms = 8000,
        .call_timeout_ms = 30000,
    };
}

int rdisk_target_watch(struct rdisk_target *target, int fd,
                       struct rdisk_target_session *session)
{
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = session };

    return epoll_ctl(target->poll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno
                                                                     : 0;
}

void rdisk_target_unwatch(struct rdisk_target *target, int fd)
{
    epoll_ctl(target->poll_fd, EPOLL_CTL_DEL, fd, NULL);
}

/* ---- Create ----------------------------------------------------------- */

static int check_options(const struct rdisk_target_options *options,
                         struct rdisk_error *err)
{
    if (options->max_queues < 1 || options->max_queues > RDISK_QUEUES_MAX ||
        options->max_slots < 1 || options->max_slots > RDISK_SLOTS_MAX ||
        options->max_slot_size < RDISK_SLOT_SIZE_MIN ||
        options->max_slot_size > RDISK_SLOT_SIZE_MAX ||
        options->max_slot_size % RDISK_SLOT_SIZE_MIN ||
        options->max_sessions < 1 || options->handshake_timeout_ms < 1 ||
        options->max_silence_ms < 1 || options->open_timeout_ms < 1 ||
        options->call_timeout_ms < 1) {
        return rdisk_error_set(
            err, -EINVAL,
            "a limit is out of range: queues %u (1…%u), slots %u (1…%u), "
            "slot size %u (multiple of %u up to %u), sessions %u (from 1), "
            "handshake timeout %u ms (from 1), silence %u ms (from 1), time "
            "for an answer to OPEN %u ms (from 1), to others %u ms (from 1)",
            options->max_queues, RDISK_QUEUES_MAX, options->max_slots,
            RDISK_SLOTS_MAX, options->max_slot_size, RDISK_SLOT_SIZE_MIN,
            RDISK_SLOT_SIZE_MAX, options->max_sessions,
            options->handshake_timeout_ms, options->max_silence_ms,
            options->open_timeout_ms, options->call_timeout_ms);
    }
    return 0;
}

static int open_channel(struct rdisk_target *target, struct rdisk_error *err)
{
    int ret;

    ret = rdisk_channel_create(target->env, &target->channel, err);
    if (ret < 0) {
        return ret;
    }
    ret = rdisk_target_watch(target, target->channel->fd, NULL);
    if (ret < 0) {
        return rdisk_error_set(err, ret, "cannot watch for connections: %s",
                               strerror(-ret));
    }
    return rdisk_target_listen(target, err);
}

struct rdisk_target *rdisk_target_create(
    const struct rdisk_env *env, const struct rdisk_target_options *options,
    const struct rdisk_target_events *events, void *opaque,
    struct rdisk_error *err)
{
    struct rdisk_target *target;

    if (check_options(options, err) < 0) {
        return NULL;
    }
    target = calloc(1, sizeof(*target));
    if (!target) {
        rdisk_error_set(err, -ENOMEM, "out of memory");
        return NULL;
    }
    target->env = env;
    target->options = *options;
    target->events = events;
    target->opaque = opaque;
    target->sessions_end = &target->sessions;
    target->admission.end = &target->admission.first;
    target->listen_again = RDISK_NEVER;
    target->events_again = RDISK_NEVER;
    target->idle_until = RDISK_NEVER;
    target->share_again = target->memory_again = RDISK_NEVER;
    rdisk_cm_teardowns_init(&target->teardowns, env);
    if (!target->options.port) {
        target->options.port = RDISK_DEFAULT_PORT;
    }
    env->random(env->opaque, target->instance, sizeof(target->instance));
    /* The first reading takes milliseconds: now, not in a reactor. */
    rdisk_stopwatch(env);
    target->poll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (target->poll_fd < 0) {
        rdisk_error_set(err, -errno, "cannot create an epoll set: %s",
                        strerror(errno));
        free(target);
        return NULL;
    }
    if (open_channel(target, err) < 0) {
        rdisk_target_destroy(target);
        return NULL;
    }
    return target;
}

int rdisk_target_set_limits(struct rdisk_target *target,
                            const struct rdisk_target_options *options,
                            struct rdisk_error *err)
{
    RDISK_USE(target);
    struct rdisk_target_options next = *options;
    int result;

    next.address = target->options.address;
    next.port = target->options.port;
    result = check_options(&next, err);
    if (result == 0) {
        target->options = next;
        target->share_due = true;
    }
    return result;
}

void rdisk_target_destroy(struct rdisk_target *target)
{
    if (!target) {
        return;
    }
    assert(!target->sessions && !target->processing);
    if (target->listener) {
        target->env->verbs->destroy_id(target->listener);
    }
    rdisk_target_release_watches(target);
    rdisk_target_admission_end(target);
    rdisk_cm_teardowns_end(&target->teardowns);
    if (target->channel) {
        target->env->verbs->destroy_event_channel(target->channel);
    }
    close(target->poll_fd);
    free(target);
}

/* ---- Connections ------------------------------------------------------ */

void rdisk_target_reject(struct rdisk_target *target, struct rdma_cm_id *id,
                         enum rdisk_status status, const char *text)
{
    struct rdisk_wire_reject wire = {
        .magic = htole32(RDISK_WIRE_MAGIC),
        .version = htole16(RDISK_WIRE_VERSION),
        .status = htole16(status),
    };
    size_t length = strnlen(text, sizeof(wire.text));

    wire.text_length = htole16((uint16_t)length);
    memcpy(wire.text, text, length);
    rdisk_log(target->env, RDISK_LOG_WARNING, "connection refused: %s", text);
    target->env->verbs->reject(id, &wire, sizeof(wire));
}

static struct rdisk_target_session *find_session(
    struct rdisk_target *target, const struct rdisk_wire_connect *wire)
{
    struct rdisk_target_session *session;

    for (session = target->sessions; session; session = session->next) {
        if (rdisk_target_session_joinable(session) &&
            session->session_id == le64toh(wire->session) &&
            rdisk_auth_same(session->token, wire->token,
                            sizeof(session->token))) {
            return session;
        }
    }
    return NULL;
}

static enum rdisk_status new_queue(struct rdisk_target *target,
                                   const struct rdma_cm_event *event,
                                   const struct rdisk_wire_connect *wire,
                                   struct rdisk_error *err)
{
    struct rdisk_target_session *session = find_session(target, wire);
    enum rdisk_status status;

    if (!session) {
        rdisk_error_set(err, -ESTALE, "the queue belongs to no open session");
        return RDISK_STATUS_STALE;
    }
    status = rdisk_target_session_join(session, event, wire, err);
    target->admission.served |= status == RDISK_STATUS_OK;
    return status;
}

/* Returns the id if it has no owner, to be destroyed after the event. */
static struct rdma_cm_id *connect_request(struct rdisk_target *target,
                                          const struct rdma_cm_event *event)
{
    const struct rdma_conn_param *conn = &event->param.conn;
    struct rdisk_error err = { 0 };
    struct rdisk_wire_connect wire;
    enum rdisk_status status;

    /* A child inherits the listener's context. */
    event->id->context = NULL;
    rdisk_target_watch_device(target, event->id);
    if (!rdisk_port_active(target->env, event->id)) {
        return event->id; /* it cannot be answered; the client tries again */
    }
    status = rdisk_wire_check_connect(conn->private_data,
                                      conn->private_data_len, &err);
    if (status == RDISK_STATUS_OK && target->stopping) {
        status = RDISK_STATUS_SHUTTING_DOWN;
        rdisk_error_set(&err, -ESHUTDOWN, "the server is shutting down");
    }
    if (status == RDISK_STATUS_OK) {
        memcpy(&wire, conn->private_data, sizeof(wire));
        status = wire.kind == RDISK_LINK_CONTROL
                     ? rdisk_target_admission_add(target, event->id, &err)
                     : new_queue(target, event, &wire, &err);
    }
    if (status == RDISK_STATUS_OK) {
        return NULL;
    }
    rdisk_target_reject(target, event->id, status, err.text);
    return event->id;
}

/* A connection of the session has ended, and the others of it follow. */
static void connection_ended(struct rdisk_target_session *session,
                             enum rdma_cm_event_type type)
{
    if (session->state != RDISK_TARGET_ENDED) {
        rdisk_log(session->target->env, RDISK_LOG_INFO, "%s: %s",
                  session->request.peer,
                  rdisk_target_session_ignores(session) ? "session ends"
                                                        : "connection lost");
        session->target->totals.device_removals += type ==
                                                   RDMA_CM_EVENT_DEVICE_REMOVAL;
    }
    rdisk_target_session_step(session, type == RDMA_CM_EVENT_DEVICE_REMOVAL
                                           ? RDISK_TARGET_ON_CUT
                                           : RDISK_TARGET_ON_LOST);
}

/*
 * The context of an accepted id is its session, of the control connection and
 * the queues alike: they end together.
 */
static struct rdma_cm_id *cm_event(struct rdisk_target *target,
                                   const struct rdma_cm_event *event)
{
    struct rdisk_target_session *session = event->id->context;

    if (event->event == RDMA_CM_EVENT_DEVICE_REMOVAL) {
        rdisk_cm_teardowns_removed(&target->teardowns, event->id);
    }
    switch (event->event) {
    case RDMA_CM_EVENT_CONNECT_REQUEST:
        return connect_request(target, event);
    case RDMA_CM_EVENT_DISCONNECTED:
    case RDMA_CM_EVENT_CONNECT_ERROR:
    case RDMA_CM_EVENT_UNREACHABLE:
    case RDMA_CM_EVENT_REJECTED:
    case RDMA_CM_EVENT_DEVICE_REMOVAL:
        if (session) {
            connection_ended(session, event->event);
        }
        if (rdisk_target_release_watch(target, event->id)) {
            return event->id;
        }
        if (rdisk_target_admission_leave(target, event->id)) {
            /* It has its own place in the list already. */
            rdisk_cm_teardowns_release(&target->teardowns);
            return event->id;
        }
        return event->id == target->listener
                   ? rdisk_target_listener_lost(target)
                   : NULL;
    default:
        return NULL;
    }
}

/* ---- Events and time -------------------------------------------------- */

int rdisk_target_fd(const struct rdisk_target *target)
{
    return target->poll_fd;
}

uint64_t rdisk_target_deadline(const struct rdisk_target *target)
{
    uint64_t earliest = target->listen_again < target->teardowns.deadline
                            ? target->listen_again
                            : target->teardowns.deadline;

    earliest = target->events_again < earliest ? target->events_again
                                               : earliest;
    earliest = rdisk_least(earliest, rdisk_target_share_deadline(target));
    if (target->admission.first) {
        return 0;
    }

    for (const struct rdisk_target_session *session = target->sessions; session;
         session = session->next) {
        uint64_t deadline = rdisk_target_session_deadline(session);

        earliest = deadline < earliest ? deadline : earliest;
    }
    return earliest;
}

static bool free_ended(struct rdisk_target *target)
{
    struct rdisk_target_session **link = &target->sessions;
    bool any = false;

    while (*link) {
        struct rdisk_target_session *session = *link;

        if (!rdisk_target_session_over(session)) {
            link = &session->next;
            continue;
        }
        *link = session->next;
        if (target->sessions_end == &session->next) {
            target->sessions_end = link;
        }
        target->session_count--;
        rdisk_target_session_destroy(session);
        any = true;
    }
    return any;
}

/* Free what has ended; that may be what others wait for. */
void rdisk_target_reap(struct rdisk_target *target)
{
    while (free_ended(target)) {
        struct rdisk_target_session *session;

        for (session = target->sessions; session; session = session->next) {
            rdisk_target_session_retry(session);
        }
    }
}

/* Events wait in the channel; a thread that waits for its descriptor must not
 * spin. */
static void pause_events(struct rdisk_target *target)
{
    if (target->events_again == RDISK_NEVER) {
        rdisk_log(target->env, RDISK_LOG_WARNING,
                  "no memory for the events "
                  "of connections: trying again every %u ms",
                  PAUSE_MS);
        epoll_ctl(target->poll_fd, EPOLL_CTL_DEL, target->channel->fd, NULL);
    }
    target->events_again = rdisk_now(target->env) + PAUSE_MS * RDISK_MSEC;
}

static void resume_events(struct rdisk_target *target)
{
    if (target->events_again != RDISK_NEVER &&
        rdisk_target_watch(target, target->channel->fd, NULL) == 0) {
        target->events_again = RDISK_NEVER;
    }
}

/*
 * An event may bring an id, which has to end one day; without memory for that
 * it is left where it is until there is some.
 */
static bool take_event(struct rdisk_target *target)
{
    const struct rdisk_verbs *verbs = target->env->verbs;
    struct rdma_cm_event *event;
    struct rdma_cm_id *orphan;
    bool incoming;

    if (rdisk_cm_teardowns_reserve(&target->teardowns) < 0) {
        pause_events(target);
        return false;
    }
    resume_events(target);
    if (verbs->get_cm_event(target->channel, &event) < 0) {
        rdisk_cm_teardowns_release(&target->teardowns);
        return false;
    }
    incoming = event->event == RDMA_CM_EVENT_CONNECT_REQUEST;
    orphan = cm_event(target, event);
    verbs->ack_cm_event(event);
    if (orphan) {
        rdisk_cm_teardowns_add(&target->teardowns, orphan, false);
    } else if (!incoming) {
        rdisk_cm_teardowns_release(&target->teardowns);
    }
    return true;
}

/* What is left after so many, or so long, keeps the channel readable. */
static void take_events(struct rdisk_target *target, uint64_t began)
{
    for (unsigned int i = 0; i < EVENTS_PER_TURN && take_event(target); i++) {
        if (rdisk_now(target->env) - began > TURN_MS * RDISK_MSEC) {
            return;
        }
    }
}

/* Those that may have messages, as many as fit: the others stay readable. */
static void find_readable(struct rdisk_target *target)
{
    struct epoll_event events[READABLE_PER_TURN];
    int n = epoll_wait(target->poll_fd, events, READABLE_PER_TURN, 0);

    for (int i = 0; i < n; i++) {
        struct rdisk_target_session *session = events[i].data.ptr;

        if (session) {
            session->readable = true;
        }
    }
}

/*
 * A client has kept this server waiting while the server did nothing else and
 * the client's message was not there. So what does not count is how long a turn
 * takes; the pause before it, if a message is there now, which may have arrived
 * at its beginning; and otherwise as much of it as this turn @began later than
 * it was meant to, for lack of a processor, say. A handshake that was due by
 * then, and whose message is not there, is over.
 */
static void discount_own_delay(struct rdisk_target *target, uint64_t began,
                               uint64_t now)
{
    uint64_t since = target->idle_since, until = target->idle_until;
    uint64_t pause = began > since ? began - since : 0;
    uint64_t late = rdisk_least(began > until ? began - until : 0, pause);
    uint64_t due = rdisk_least(began, until); /* this turn may take long */
    struct rdisk_target_session *session;

    for (session = target->sessions; session; session = session->next) {
        if (rdisk_target_session_waits(session) &&
            (session->readable || session->deadline > due)) {
            session->deadline += now - began +
                                 (session->readable ? pause : late);
        }
    }
}

/* The rest of the turn, since that was called. */
static void discount_rest_of_turn(struct rdisk_target *target, uint64_t rest)
{
    struct rdisk_target_session *session;

    for (session = target->sessions; session; session = session->next) {
        if (rdisk_target_session_waits(session)) {
            session->deadline += rest;
        }
    }
}

void rdisk_target_process(struct rdisk_target *target)
{
    RDISK_USE(target);
    struct rdisk_target_session *session;
    uint64_t began = rdisk_now(target->env), now;

    target->processing = true;
    target->admission.served = false;
    find_readable(target);
    take_events(target, began);
    now = rdisk_now(target->env);
    discount_own_delay(target, began, now);
    if (now >= target->listen_again) {
        rdisk_target_listen_again(target);
    }
    for (session = target->sessions; session; session = session->next) {
        rdisk_target_session_process(session, now);
    }
    if (!target->admission.served ||
        ++target->admission.passed == ADMISSION_PASSES) {
        target->admission.passed = 0;
        rdisk_target_admission_next(target);
    }
    target->processing = false;
    rdisk_target_reap(target);
    if (now >= rdisk_target_share_deadline(target)) {
        rdisk_target_share(target);
    }
    rdisk_cm_teardowns_process(&target->teardowns, now);
    target->idle_since = rdisk_now(target->env);
    discount_rest_of_turn(target, target->idle_since - now);
    target->idle_until = rdisk_target_deadline(target);
}

void rdisk_target_queue_release(struct rdisk_target_queue *queue)
{
    struct rdisk_target_session *session = queue->session;
    struct rdisk_target *target = session->target;
    struct rdisk_target_queue **link;
    RDISK_USE(target);

    for (link = &session->queues; *link != queue; link = &(*link)->next) {
    }
    *link = queue->next;
    session->queue_count--;
    if (rdisk_target_session_joinable(session)) {
        /* It broke by itself: a violation, or an error of the device. */
        rdisk_target_session_end(session,
                                 queue->violation.code
                                     ? RDISK_STATUS_BAD_MESSAGE
                                     : RDISK_STATUS_IO_ERROR,
                                 queue->violation.code ? queue->violation.text
                                                       : "a data queue broke");
    }
    rdisk_target_queue_destroy(queue);
    if (session->state == RDISK_TARGET_CLOSING && !session->queues) {
        rdisk_target_session_step(session, RDISK_TARGET_ON_DRAINED);
    }
    if (!target->processing) {
        rdisk_target_reap(target);
        rdisk_target_share(target);
    }
}

void rdisk_target_stop(struct rdisk_target *target, const char *text)
{
    RDISK_USE(target);
    struct rdisk_target_session *session;

    target->stopping = true;
    target->listen_again = RDISK_NEVER;
    for (session = target->sessions; session; session = session->next) {
        rdisk_target_session_end(session, RDISK_STATUS_SHUTTING_DOWN, text);
    }
    if (!target->processing) {
        rdisk_target_reap(target);
    }
}

unsigned int rdisk_target_sessions(const struct rdisk_target *target)
{
    return target->session_count;
}

const struct rdisk_target_totals *rdisk_target_totals(
    const struct rdisk_target *target)
{
    return &target->totals;
}
