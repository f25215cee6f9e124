/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/session/session.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/thread.h"
#include "server/session/close.h"
#include "server/session/create.h"
#include "server/session/list.h"
#include "server/session/open.h"
#include "server/session/queue.h"
#include "server/session/resize.h"
#include "server/session/slots.h"

void counters_add(struct rdisk_target_counters *sum,
                  const struct rdisk_target_counters *counters)
{
    /* The structure is nothing but counters. */
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)counters;

    static_assert(sizeof(*sum) % sizeof(*to) == 0, "nothing but counters");
    for (size_t i = 0; i < sizeof(*sum) / sizeof(*to); i++) {
        to[i] += from[i];
    }
}

void session_counters(const struct session *session,
                      struct rdisk_target_counters *counters)
{
    counters_add(counters, &session->past);
    for (const struct queue *queue = session->queues; queue;
         queue = queue->next) {
        rdisk_target_queue_counters(queue->target, counters);
    }
}

uint64_t session_polled(const struct session *session)
{
    uint64_t polled = session->polled_past;

    for (const struct queue *queue = session->queues; queue;
         queue = queue->next) {
        polled += queue_polled(queue);
    }
    return polled;
}

unsigned int session_queues(const struct session *session, uint64_t *memory)
{
    unsigned int n = 0;

    assert_control_thread();
    *memory = 0;
    for (const struct queue *queue = session->queues; queue;
         queue = queue->next) {
        *memory += rdisk_target_queue_memory(queue->target);
        n++;
    }
    return n;
}

void session_slots(const struct session *session,
                   struct rdisk_target_slot_counters *counters)
{
    assert_control_thread();
    if (session->target) {
        rdisk_target_session_slots(session->target, counters);
    }
}

static bool session_secret(void *opaque, const char *user,
                           struct rdisk_secret *secret)
{
    const struct server *server = opaque;
    const struct access_client *client = access_find(server->config->clients,
                                                     user);

    if (client) {
        *secret = *client->secret;
    }
    return client != NULL;
}

struct log_subject session_subject(const struct session *session)
{
    return (struct log_subject) {
        .volume = session->request.volume,
        .peer = session->request.peer,
        .user = session->request.user,
        .session = session->serial,
    };
}

static void hurry(struct session *session)
{
    atomic_store_explicit(&session->terms.hurried, true, memory_order_relaxed);
}

void session_hurry_all(struct server *server)
{
    assert_control_thread();
    for (struct session *session = server->sessions; session;
         session = session->next) {
        hurry(session);
    }
}

void session_end(struct session *session, enum rdisk_status status,
                 const char *text)
{
    const struct rdisk_open_request request = session->request;
    const struct log_subject subject = {
        .volume = request.volume,
        .peer = request.peer,
        .user = request.user,
        .session = session->serial,
    };
    const struct log_subject *before = log_about(&subject);

    session->ended = true;
    hurry(session);
    rdisk_target_session_end(session->target, status, text);
    log_about(before);
}

unsigned int session_drain(struct server *server, const char *host,
                           uint16_t port)
{
    unsigned int moved = 0;

    assert_control_thread();
    for (struct session *session = server->sessions; session;
         session = session->next) {
        if (drain_covers(&server->drain, session->holder.volume->name)) {
            moved += host[0] &&
                     rdisk_target_session_move(session->target, host, port);
            session_end(session, RDISK_STATUS_SHUTTING_DOWN,
                        "the volume is being drained");
        }
    }
    return moved;
}

/* ---- Access that was withdrawn ----------------------------------------- */

enum access session_access(const struct server *server, const char *user,
                           const char *volume)
{
    const struct access_client *client;

    if (server->config->authentication == ACCESS_METHOD_OPEN) {
        return ACCESS_WRITE;
    }
    client = access_find(server->config->clients, user);
    return client ? access_to(client, volume) : ACCESS_NONE;
}

bool session_withdrawn(const struct session *session)
{
    assert_control_thread();
    return session_access(session->server, session->request.user,
                          session->request.volume) <
           (session->read_only ? ACCESS_READ : ACCESS_WRITE);
}

unsigned int session_end_withdrawn(struct server *server)
{
    struct session *session = server->sessions, *next;
    unsigned int count = 0;

    assert_control_thread();
    for (; session; session = next) {
        next = session->next;
        if (!session_withdrawn(session)) {
            continue;
        }
        session_end(session, RDISK_STATUS_DENIED,
                    "the server's configuration does not allow "
                    "this client to use the volume any more");
        count++;
    }
    return count;
}

/* ---- Limits of reads that this server does not see ---------------------- */

bool session_is_limited(const struct session *session)
{
    for (unsigned int i = 0; i < FLOW_THROTTLES; i++) {
        if (throttle_is_active(session->terms.throttles[i])) {
            return true;
        }
    }
    return false;
}

void session_end_unlimited(struct server *server)
{
    struct session *session = server->sessions, *next;

    assert_control_thread();
    for (; session; session = next) {
        next = session->next;
        if (!session->ended && session_is_limited(session) &&
            rdisk_target_session_one_sided(session->target)) {
            session_end(session, RDISK_STATUS_SHUTTING_DOWN,
                        "the volume or the client has limits now: reconnect");
        }
    }
}

/* ---- Queues ----------------------------------------------------------- */

static struct worker *idlest_worker(struct server *server)
{
    struct worker *idlest = &server->workers[0];

    for (unsigned int i = 1; i < server->placement.cores; i++) {
        if (server->workers[i].queues < idlest->queues) {
            idlest = &server->workers[i];
        }
    }
    return idlest;
}

/* The reactor has done with the queue. */
static void session_queue_left(struct queue *queue)
{
    struct session *session = queue->owner;
    struct rdisk_target_queue *target = queue->target;
    struct queue **link = &session->queues;

    while (*link != queue) {
        link = &(*link)->next;
    }
    *link = queue->next;
    rdisk_target_queue_counters(target, &session->past);
    session->polled_past += queue_polled(queue);
    queue_free(queue);
    /* The session may be gone when this returns. */
    rdisk_target_queue_release(target);
}

static struct rdisk_target_group *session_queue_group(void *opaque, void *user)
{
    return idlest_worker(opaque)->group;
}

static int session_queue_new(void *opaque, void *user,
                             struct rdisk_target_queue *target,
                             void **queue_user, struct rdisk_error *err)
{
    struct server *server = opaque;
    struct session *session = user;
    struct queue *queue;

    queue = queue_start(target, idlest_worker(server),
                        session->holder.volume->backend, &session->terms,
                        rdisk_target_queue_slots(target), &server->mailbox,
                        session_queue_left, session, queue_user);
    if (!queue) {
        return rdisk_error_set(err, -ENOMEM,
                               "the server has no memory for a "
                               "queue");
    }
    queue->next = session->queues;
    session->queues = queue;
    return 0;
}

const struct rdisk_target_events session_events = {
    .secret = session_secret,
    .open = open_event,
    .close = close_event,
    .release = release_event,
    .create = create_event,
    .list = list_event,
    .resize = resize_event,
    .stat = resize_stat_event,
    .queue_group = session_queue_group,
    .queue_new = session_queue_new,
    .request = queue_request_event,
    .queue_idle = queue_idle_event,
    .slots_returned = slots_returned_event,
    .slots_idle = slots_idle_event,
};
