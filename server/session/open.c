/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/session/open.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/container_of.h"
#include "common/log.h"
#include "common/thread.h"
#include "server/session/close.h"
#include "server/session/resident.h"
#include "server/session/resize.h"
#include "server/session/throttled.h"

/* ---- The decision ------------------------------------------------------ */

/* The OPEN is decided: retry it in the transport, if the session still
 * exists. */
static void decided(struct volume_operation *work)
{
    struct session *session = session_of_work(work);

    session->phase = SESSION_DECIDED;
    operation_end(&session->work.operation);
    if (!session->abandoned) {
        if (!session->asking) {
            rdisk_target_session_retry(session->target);
        }
        return;
    }
    /* The grant was not reported to the client. */
    if (session->status == RDISK_STATUS_OK) {
        session->orderly = !session->request.generation;
        session_release(session);
    } else {
        session_free(session);
    }
}

static void refuse(struct session *session, enum rdisk_status status)
{
    session->status = status;
    volume_operation_put(&session->work, decided);
}

/* ---- Opening ---------------------------------------------------------- */

static void enter(struct session *session)
{
    struct server *server = session->server;

    volume_enter(session->work.volume, &session->holder);
    session->next = server->sessions;
    server->sessions = session;
    session->status = RDISK_STATUS_OK;
    decided(&session->work);
}

static void save_run(struct job *job)
{
    struct session *session = session_of_job(job);

    session->work.result = lease_save(&session->lease, &session->record,
                                      &session->work.why);
}

static void save_done(struct job *job)
{
    struct session *session = session_of_job(job);

    if (session->work.result < 0) {
        refuse(session, rdisk_status_from_errno(session->work.result));
        return;
    }
    lease_grant(session->work.volume->lease, &session->holder,
                &session->record);
    enter(session);
}

/* The lease comes last: a client that is refused must not get it. */
static void take_lease(struct session *session)
{
    struct volume_holder *holder = &session->holder;
    struct lease *lease = session->work.volume->lease;

    if (!holder->writer) {
        holder->generation = 0;
        enter(session);
        return;
    }
    session->lease = *lease;
    if (!lease_plan(lease, holder, &session->record) || !lease->store) {
        lease_grant(lease, holder, &session->record);
        enter(session);
    } else if (operation_run(&session->work.operation, lease->store, save_run,
                             save_done, &session->work.why) < 0) {
        refuse(session, RDISK_STATUS_BUSY);
    }
}

/* ---- Before it ---------------------------------------------------------- */

/* Only a client that may open the volume learns that it is drained. */
static bool drained(struct session *session)
{
    const char *name = session->request.volume;

    if (!drain_covers(&session->server->drain, name)) {
        return false;
    }
    rdisk_error_set(&session->work.why, -ESHUTDOWN,
                    "volume '%s' is drained and takes no new sessions until "
                    "the server resumes it",
                    name);
    return true;
}

/* The limits of its client, as they are now: they may be reloaded. */
static void set_quota(struct session *session)
{
    const struct config *config = session->server->config;
    const struct access_client *client =
        config->authentication == ACCESS_METHOD_OPEN
            ? NULL
            : access_find(config->clients, session->request.user);

    if (client) {
        struct rdisk_quota quota = {
            .sessions = client->max_sessions,
            .memory = client->max_memory,
        };

        rdisk_target_session_quota(session->target, &quota);
    }
}

/* ---- A volume that other servers may have ------------------------------ */

static void opened(struct volume_operation *work);
static void read_record(struct session *session);

static void open_again(struct volume_operation *work)
{
    volume_operation_open(work, opened);
}

/* Who reconnects here, or elsewhere, gets it as it is then. */
static void end_sessions(struct server *server, const struct volume *volume)
{
    char text[256];

    snprintf(text, sizeof(text),
             "volume '%s' has been written through another server",
             volume->name);
    for (struct session *session = server->sessions; session;
         session = session->next) {
        if (session->holder.volume == volume && !session->ended) {
            session_end(session, RDISK_STATUS_BUSY, text);
        }
    }
}

/* What is open is not the volume any more: it is closed, and opened again. */
static void reopen(struct session *session)
{
    const struct volume *volume = session->work.volume;

    if (!volume->holders && !volume->configured) {
        volume_operation_put(&session->work, open_again);
        return;
    }
    rdisk_error_set(&session->work.why, -EBUSY,
                    "volume '%s' was taken over by another server, or client "
                    "of its storage, and %s",
                    volume->name,
                    volume->configured
                        ? "has a section of its own: restart rdiskd to open it "
                          "again"
                        : "its sessions here have not ended yet");
    end_sessions(session->server, volume);
    refuse(session, volume->configured ? RDISK_STATUS_BUSY : RDISK_LATER);
}

/* No other server writes it now: check again that this client may. */
static void locked(struct volume_operation *work)
{
    struct session *session = session_of_work(work);

    if (work->result == 0) {
        read_record(session);
    } else if (work->result == -ESTALE) {
        reopen(session);
    } else {
        refuse(session, rdisk_status_from_errno(work->result));
    }
}

static bool is_unlocked(const struct session *session)
{
    const struct backend *backend = session->work.volume->backend;

    return session->holder.writer && backend->class->lock && !backend->locked;
}

/* ---- The decision ------------------------------------------------------- */

static void check_holders(struct session *session)
{
    struct server *server = session->server;
    struct volume_holder *older = NULL;
    enum rdisk_status status = drained(session)
                                   ? RDISK_STATUS_SHUTTING_DOWN
                                   : volume_check(session->work.volume,
                                                  &session->holder,
                                                  rdisk_now(server->env),
                                                  &older, &session->work.why);

    if (status != RDISK_STATUS_OK || session->abandoned) {
        refuse(session, status != RDISK_STATUS_OK ? status : RDISK_STATUS_BUSY);
        return;
    }
    if (older) {
        /*
         * Its connection is lost, but requests of it may still be carried
         * out; only when they are done may the new session begin.
         */
        if (!older->fenced) {
            older->fenced = true;
            rdisk_target_session_fence(
                container_of(older, struct session, holder)->target);
        }
        rdisk_error_set(&session->work.why, -EBUSY,
                        "the older session of this client has not ended: "
                        "requests of it are still being carried out");
        refuse(session, RDISK_LATER);
        return;
    }
    if (is_unlocked(session)) {
        session->work.force = lease_moves(session->work.volume->lease,
                                          &session->holder);
        volume_operation_lock(&session->work, locked);
        return;
    }
    set_quota(session);
    if (rdisk_target_session_reserve(session->target, &session->work.why) < 0) {
        log_warning("client '%s' at %s cannot open volume '%s': %s",
                    session->request.user, session->holder.peer,
                    session->request.volume, session->work.why.text);
        refuse(session, RDISK_STATUS_NO_RESOURCES);
        return;
    }
    resident_register(session, take_lease);
}

static void read_run(struct job *job)
{
    struct session *session = session_of_job(job);

    session->work.result = lease_read(session->lease.store,
                                      session->lease.identity, &session->record,
                                      &session->work.why);
}

static void read_done(struct job *job)
{
    struct session *session = session_of_job(job);

    if (session->work.result < 0) {
        refuse(session, rdisk_status_from_errno(session->work.result));
        return;
    }
    lease_compare(session->work.volume->lease, &session->record,
                  pool_lease_since(&session->server->pool,
                                   session->work.volume->lease,
                                   rdisk_now(session->server->env)));
    check_holders(session);
}

static void read_record(struct session *session)
{
    struct lease *lease = session->work.volume->lease;

    session->lease = *lease;
    if (operation_run(&session->work.operation, lease->store, read_run,
                      read_done, &session->work.why) < 0) {
        refuse(session, RDISK_STATUS_BUSY);
    }
}

/* Nothing would prevent this server from writing what it has received, after
 * another one has. */
static void refuse_servers(struct session *session)
{
    rdisk_error_set(&session->work.why, -ENOTSUP,
                    "volume '%s' cannot be opened through several servers, "
                    "since only those of a Ceph pool can be fenced: name one "
                    "server",
                    session->work.volume->name);
    refuse(session, RDISK_STATUS_UNSUPPORTED);
}

/* The lease of a volume is compared with its record each time. */
static void opened(struct volume_operation *work)
{
    struct session *session = session_of_work(work);
    struct volume *volume = work->volume;
    struct volume_holder *holder = &session->holder;
    struct lease *lease;

    if (!volume) {
        refuse(session, rdisk_status_from_errno(work->why.code));
        return;
    }
    if (backend_is_fenced(volume->backend)) {
        reopen(session);
        return;
    }
    if (session->request.servers && !pool_is_shared(work->pool, volume)) {
        refuse_servers(session);
        return;
    }
    session->read_only = session->request.read_only ||
                         session->access != ACCESS_WRITE ||
                         volume->backend->geometry.read_only;
    holder->writer = !session->read_only;
    if (!holder->writer) {
        check_holders(session);
        return;
    }
    lease = pool_lease_of(&session->server->pool, volume, &session->work.why);
    if (!lease) {
        refuse(session, RDISK_STATUS_NO_RESOURCES);
    } else if (!lease->store) {
        check_holders(session);
    } else {
        read_record(session);
    }
}

static void open_begin(struct operation *operation)
{
    volume_operation_open(volume_operation_of(operation), opened);
}

/* Its limits: those of the volume, and of its client if that has a name. */
static bool get_throttles(struct session *session)
{
    const char *names[FLOW_THROTTLES] = {
        session->request.volume,
        session->request.user,
    };

    for (unsigned int i = 0; i < FLOW_THROTTLES; i++) {
        if (!names[i][0]) {
            continue;
        }
        session->throttled[i] = throttled_get(session->server, i, names[i]);
        if (!session->throttled[i]) {
            return false;
        }
        session->terms.throttles[i] = &session->throttled[i]->throttle;
    }
    return true;
}

static struct session *session_new(struct server *server,
                                   struct rdisk_target_session *target,
                                   const struct rdisk_open_request *request)
{
    struct session *session = calloc(1, sizeof(*session));
    struct volume_holder *holder;

    if (!session) {
        return NULL;
    }
    holder = &session->holder;
    session->server = server;
    session->target = target;
    session->work.pool = &server->pool;
    session->request = *request;
    session->serial = server->serials;
    session->asked = rdisk_now(server->env);
    session->access = session_access(server, request->user, request->volume);
    snprintf(holder->peer, sizeof(holder->peer), "%s", request->peer);
    snprintf(holder->user, sizeof(holder->user), "%s", request->user);
    memcpy(holder->client, request->client, sizeof(holder->client));
    holder->epoch = request->epoch;
    holder->shared = request->shared;
    holder->generation = request->generation;
    snprintf(session->work.operation.volume,
             sizeof(session->work.operation.volume), "%s", request->volume);
    session->work.looks = true;
    session->work.operation.what = "opening volume";
    session->work.operation.begin = open_begin;
    if (!get_throttles(session)) {
        session_free(session);
        return NULL;
    }
    return session;
}

static void fill_grant(const struct session *session,
                       struct rdisk_open_grant *grant)
{
    const struct backend *backend = session->holder.volume->backend;
    const struct backend_geometry *geometry = &backend->geometry;

    grant->size = geometry->size;
    /* If it read the rest of a block and wrote it back, it would undo what
     * another writer has done meanwhile: the server does that. */
    grant->block_size = session->holder.writer && session->holder.shared
                            ? RDISK_BLOCK_SIZE_MIN
                            : geometry->block_size;
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
    /* What this server does not notice it cannot limit. */
    grant->one_sided = backend->resident && !session_is_limited(session);
    grant->resize = !session->read_only &&
                    resize_allowed(session->server, session->holder.volume);
}

/*
 * While its record was written the volume may have been drained, or taken away
 * from this client: it is not granted then.
 */
static enum rdisk_status still_granted(struct session *session)
{
    if (session->status != RDISK_STATUS_OK) {
        return session->status;
    }
    if (drained(session)) {
        return RDISK_STATUS_SHUTTING_DOWN;
    }
    if (session_withdrawn(session)) {
        rdisk_error_set(&session->work.why, -ENOENT, "there is no volume '%s'",
                        session->request.volume);
        return RDISK_STATUS_NO_VOLUME;
    }
    return RDISK_STATUS_OK;
}

/* The first call for this OPEN, or a later one. */
static enum rdisk_status answer(struct session *session,
                                struct rdisk_open_grant *grant, void **user,
                                struct rdisk_error *err)
{
    enum rdisk_status status;

    if (session->phase != SESSION_DECIDED) {
        rdisk_error_set(err, -ETIMEDOUT,
                        "the storage of volume '%s', or of its record of who "
                        "may write, does not answer",
                        session->request.volume);
        *user = session;
        return RDISK_LATER;
    }
    status = still_granted(session);
    if (status == RDISK_STATUS_OK) {
        session->phase = SESSION_OPEN;
        fill_grant(session, grant);
        *user = session;
        return status;
    }
    if (err) {
        *err = session->work.why;
    }
    *user = NULL;
    if (session->status == RDISK_STATUS_OK) {
        session->target = NULL;
        session->orderly = !session->request.generation;
        session_release(session);
    } else {
        session_free(session);
    }
    return status;
}

static enum rdisk_status begin(struct server *server,
                               struct rdisk_target_session *target,
                               const struct rdisk_open_request *request,
                               struct rdisk_open_grant *grant, void **user,
                               struct rdisk_error *err)
{
    struct session *session;

    assert_control_thread();
    session = session_new(server, target, request);
    if (!session) {
        rdisk_error_set(err, -ENOMEM, "the server has no memory for a session");
        return RDISK_STATUS_NO_RESOURCES;
    }
    if (session->access == ACCESS_NONE) {
        /* Not searched for, so that no reply shows whether it exists. */
        log_warning("client '%s' at %s may not use volume '%s': no list of "
                    "its section has it",
                    request->user, request->peer, request->volume);
        rdisk_error_set(err, -ENOENT, "there is no volume '%s'",
                        request->volume);
        session_free(session);
        return RDISK_STATUS_NO_VOLUME;
    }
    if (store_watch_is_cut(server, request->volume, err)) {
        session_free(session);
        return RDISK_STATUS_SHUTTING_DOWN;
    }
    session->asking = true;
    operation_start(&server->operations, &session->work.operation);
    session->asking = false;
    return answer(session, grant, user, err);
}

/* The first epoch of a client is 1. */
static void count_open(struct server_totals *totals,
                       const struct rdisk_open_request *request,
                       enum rdisk_status status)
{
    totals->opened += status == RDISK_STATUS_OK;
    totals->reconnected += status == RDISK_STATUS_OK &&
                           (request->epoch > 1 || request->generation);
    totals->refused += status != RDISK_STATUS_OK && status != RDISK_LATER;
}

enum rdisk_status open_event(void *opaque, struct rdisk_target_session *target,
                             const struct rdisk_open_request *request,
                             struct rdisk_open_grant *grant, void **user,
                             struct rdisk_error *err)
{
    struct server *server = opaque;
    struct session *session = *user;
    const struct log_subject subject = {
        .volume = request->volume,
        .peer = request->peer,
        .user = request->user,
        .session = session ? session->serial : ++server->serials,
    };
    const struct log_subject *before = log_about(&subject);
    enum rdisk_status status = session ? answer(session, grant, user, err)
                                       : begin(server, target, request, grant,
                                               user, err);

    log_about(before);
    count_open(&server->totals, request, status);
    return status;
}
