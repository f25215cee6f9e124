/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/session/session.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/session/create.h"
#include "server/log.h"
#include "server/session/resize.h"

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

    *memory = 0;
    for (const struct queue *queue = session->queues; queue;
         queue = queue->next) {
        size_t length;
        void *address;

        rdisk_target_queue_memory(queue->target, &address, &length);
        *memory += length;
        n++;
    }
    return n;
}

/* ---- Open and close --------------------------------------------------- */

static void fill_grant(const struct session *session,
                       struct rdisk_open_grant *grant)
{
    const struct backend *backend = session->holder.volume->backend;
    const struct backend_geometry *geometry = &backend->geometry;

    grant->size = geometry->size;
    grant->block_size = geometry->block_size;
    grant->optimal_size = geometry->optimal_size;
    grant->read_only = session->read_only;
    grant->rotational = geometry->rotational;
    grant->discard = geometry->discard;
    grant->zeroes = geometry->zeroes;
    grant->generation = session->holder.generation;
    memcpy(grant->identity, backend->identity, sizeof(grant->identity));
    backend_cache(backend, grant->cache);
    grant->extents = geometry->extents;
    grant->copy = geometry->copy;
    grant->resize = !session->read_only &&
                    resize_allowed(session->server, session->holder.volume);
}

/* What may the one who asks do with the volume it asks for? */
static enum access access_of(const struct server *server,
                             const struct rdisk_open_request *request)
{
    const struct access_client *client;

    if (server->config->authentication == ACCESS_METHOD_OPEN) {
        return ACCESS_WRITE;
    }
    client = access_find(server->config->clients, request->user);
    return client ? access_to(client, request->volume) : ACCESS_NONE;
}

/* Is it drained? Only who may see the volume is told. */
static bool drained(const struct server *server,
                    const struct rdisk_open_request *request,
                    struct rdisk_error *err)
{
    if (!drain_covers(&server->drain, request->volume)) {
        return false;
    }
    rdisk_error_set(err, -ESHUTDOWN, "volume '%s' is drained and takes no "
                    "new sessions until the server resumes it",
                    request->volume);
    return true;
}

/* Let @session, the transport's @target, hold @volume, if it may. */
static enum rdisk_status take_volume(struct session *session,
                                     struct rdisk_target_session *target,
                                     struct volume *volume, enum access access,
                                     const struct rdisk_open_request *request,
                                     struct rdisk_error *err)
{
    struct volume_holder *holder = &session->holder;
    struct volume_holder *older;
    enum rdisk_status status;
    int result;

    session->read_only = request->read_only || access != ACCESS_WRITE ||
                         volume->backend->geometry.read_only;
    snprintf(holder->peer, sizeof(holder->peer), "%s", request->peer);
    snprintf(holder->user, sizeof(holder->user), "%s", request->user);
    memcpy(holder->client, request->client, sizeof(holder->client));
    holder->epoch = request->epoch;
    holder->writer = !session->read_only;
    holder->shared = request->shared;
    holder->generation = request->generation;
    if (holder->writer) {
        result = pool_lease(&session->server->pool, volume,
                            rdisk_now(session->server->env), err);
        if (result < 0) {
            return rdisk_status_from_errno(result);
        }
    }
    status = volume_check(volume, holder, rdisk_now(session->server->env),
                          &older, err);
    if (status != RDISK_STATUS_OK) {
        return status;
    }
    if (older) {
        /*
         * Its connection is lost, but requests of it may still be carried
         * out; only when they are done may the new session begin.
         */
        if (!older->fenced) {
            older->fenced = true;
            rdisk_target_session_fence(((struct session *)older)->target);
        }
        rdisk_error_set(err, -EBUSY, "the older session of this client has "
                        "not ended: requests of it are still being carried "
                        "out");
        return RDISK_LATER;
    }
    /* The lease comes last: who is refused must not have it. */
    result = rdisk_target_session_reserve(target, err);
    if (result == 0) {
        result = volume_hold(volume, holder, err);
    }
    return rdisk_status_from_errno(result);
}

static enum rdisk_status session_open(void *opaque,
                                      struct rdisk_target_session *target,
                                      const struct rdisk_open_request *request,
                                      struct rdisk_open_grant *grant,
                                      void **user, struct rdisk_error *err)
{
    struct server *server = opaque;
    enum access access = access_of(server, request);
    struct rdisk_error why = { 0 };
    struct session *session = calloc(1, sizeof(*session));
    struct volume *volume = NULL;
    enum rdisk_status status;

    if (!session) {
        rdisk_error_set(err, -ENOMEM, "the server has no memory for a "
                        "session");
        return RDISK_STATUS_NO_RESOURCES;
    }
    session->server = server;
    if (access == ACCESS_NONE) {
        /* Not even looked for, so that nothing tells whether it exists. */
        log_warning("client '%s' at %s may not use volume '%s': no list of "
                    "its section has it",
                    request->user, request->peer, request->volume);
        rdisk_error_set(&why, -ENOENT, "there is no volume '%s'",
                        request->volume);
    } else {
        volume = pool_get(&server->pool, request->volume, &why);
    }
    if (!volume) {
        status = rdisk_status_from_errno(why.code);
    } else if (drained(server, request, &why)) {
        status = RDISK_STATUS_SHUTTING_DOWN;
    } else {
        status = take_volume(session, target, volume, access, request, &why);
    }
    if (status != RDISK_STATUS_OK) {
        if (err) {
            *err = why;
        }
        if (volume) {
            pool_put(&server->pool, volume);
        }
        free(session);
        return status;
    }
    session->target = target;
    session->next = server->sessions;
    server->sessions = session;
    fill_grant(session, grant);
    *user = session;
    return RDISK_STATUS_OK;
}

static bool session_secret(void *opaque, const char *user,
                           struct rdisk_secret *secret)
{
    const struct server *server = opaque;
    const struct access_client *client =
        access_find(server->config->clients, user);

    if (client) {
        *secret = *client->secret;
    }
    return client != NULL;
}

static void session_close(void *opaque, void *user, bool orderly)
{
    struct server *server = opaque;
    struct session *session = user;
    const struct rdisk_op_totals *ops = &session->past.ops;
    struct volume *volume = session->holder.volume;
    struct rdisk_error err;
    struct session **link = &server->sessions;

    while (*link != session) {
        link = &(*link)->next;
    }
    *link = session->next;
    log_info("%s closes volume '%s': %" PRIu64 " reads, %" PRIu64 " writes, "
             "%" PRIu64 " flushes, %" PRIu64 " of them failed",
             session->holder.peer, volume->name, ops->count[RDISK_OP_READ],
             ops->count[RDISK_OP_WRITE], ops->count[RDISK_OP_FLUSH],
             ops->failed);
    counters_add(&volume->past, &session->past);
    volume->polled_past += session->polled_past;
    if (volume_release(&session->holder, orderly, rdisk_now(server->env)) &&
        volume_settle(volume, &err) < 0) {
        log_warning("%s", err.text);
    }
    pool_put(&server->pool, volume);
    free(session);
}

void session_drain(struct server *server)
{
    for (struct session *session = server->sessions; session;
         session = session->next) {
        if (drain_covers(&server->drain, session->holder.volume->name)) {
            rdisk_target_session_end(session->target,
                                     RDISK_STATUS_SHUTTING_DOWN,
                                     "the volume is being drained");
        }
    }
}

/* ---- Fencing by hand -------------------------------------------------- */

static unsigned int end_writers(struct server *server,
                                const struct volume *volume)
{
    unsigned int count = 0;
    char text[256];

    snprintf(text, sizeof(text), "volume '%s' was taken away from this client "
             "with rdisk fence: it may not write any more", volume->name);
    for (struct session *session = server->sessions; session;
         session = session->next) {
        if (session->holder.volume == volume && session->holder.writer) {
            session->holder.fenced = true;
            rdisk_target_session_end(session->target, RDISK_STATUS_STALE,
                                     text);
            count++;
        }
    }
    return count;
}

int session_fence(struct server *server, const char *name,
                  uint64_t *generation, unsigned int *sessions,
                  struct rdisk_error *err)
{
    struct volume *volume = pool_get(&server->pool, name, err);
    int result;

    if (!volume) {
        return err->code;
    }
    result = pool_lease(&server->pool, volume, rdisk_now(server->env), err);
    if (result == 0) {
        /* First for good, then for now. */
        result = lease_fence(volume->lease, err);
    }
    if (result == 0) {
        *generation = volume->lease->record.generation;
        *sessions = end_writers(server, volume);
    }
    pool_put(&server->pool, volume);
    return result;
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

static struct rdisk_target_group *session_queue_group(void *opaque,
                                                      void *user)
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
                        session->holder.volume->backend,
                        server->config->max_slots, &server->mailbox,
                        session_queue_left, session, queue_user);
    if (!queue) {
        return rdisk_error_set(err, -ENOMEM, "the server has no memory for a "
                               "queue");
    }
    queue->next = session->queues;
    session->queues = queue;
    return 0;
}

const struct rdisk_target_events session_events = {
    .secret = session_secret,
    .open = session_open,
    .close = session_close,
    .create = create_event,
    .resize = resize_event,
    .stat = resize_stat_event,
    .queue_group = session_queue_group,
    .queue_new = session_queue_new,
    .request = queue_request_event,
    .queue_idle = queue_idle_event,
};
