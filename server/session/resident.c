/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/session/resident.h"

#include <errno.h>
#include <inttypes.h>

#include "common/log.h"
#include "common/thread.h"
#include "server/config/limits.h"
#include "server/session/session.h"

/* It may take so many times as long as it has ever taken. */
#define MARGIN 2
/* Of the time that it has taken once, each refusal forgets this part. */
#define FORGOTTEN_PART 16

/* ---- Whether ------------------------------------------------------------ */

static uint64_t time_limit(const struct server *server)
{
    struct rdisk_target_options options;

    config_target_options(server->config, &options);
    return options.open_timeout_ms * RDISK_MSEC;
}

/* OPENs of one volume take turns, so that those of many clients, or one that
 * takes long, would be refused. */
static int check_time(const struct session *session, struct rdisk_error *err)
{
    struct volume *volume = session->work.volume;
    uint64_t waited = rdisk_now(session->server->env) - session->asked;
    uint64_t takes = volume->registering;

    if (waited + MARGIN * takes <= time_limit(session->server)) {
        return 0;
    }
    /* It is tried again, some day: perhaps this machine was only busy. */
    volume->registering -= takes / FORGOTTEN_PART;
    return rdisk_error_set(err, -ETIMEDOUT,
                           "to register its memory takes %.1f seconds, and the "
                           "client has waited for %.1f",
                           takes / RDISK_MSEC / 1000.0,
                           waited / RDISK_MSEC / 1000.0);
}

/* Sessions of all volumes need slots. */
static int check_locked(const struct session *session, uint64_t size,
                        struct rdisk_error *err)
{
    const struct server *server = session->server;
    uint64_t lockable = server->lockable;
    uint64_t kept = server->config->max_memory + server->registered;

    if (lockable == UINT64_MAX ||
        (kept <= lockable && size <= lockable - kept)) {
        return 0;
    }
    return rdisk_error_set(err, -ENOMEM,
                           "it has %" PRIu64 " bytes, and of RLIMIT_MEMLOCK, "
                           "%" PRIu64 " bytes, %" PRIu64 " are for slots "
                           "(max-memory) and the resident volumes of others",
                           size, lockable, kept);
}

/* ---- A job --------------------------------------------------------------- */

static void register_run(struct job *job)
{
    struct session *session = session_of_job(job);
    const struct backend *backend = session->work.volume->backend;
    uint64_t begun = rdisk_now(session->server->env);

    session->work.result = rdisk_target_session_register(session->target,
                                                         backend->resident,
                                                         session->registered,
                                                         &session->work.why);
    session->registering = rdisk_now(session->server->env) - begun;
}

static void report(const struct session *session, const struct rdisk_error *why)
{
    log_warning("volume '%s' is copied for client %s: %s",
                session->request.volume, session->holder.peer, why->text);
}

static void register_done(struct job *job)
{
    struct session *session = session_of_job(job);
    struct volume *volume = session->work.volume;

    if (session->registering > volume->registering) {
        volume->registering = session->registering;
    }
    if (session->work.result < 0) {
        report(session, &session->work.why);
        resident_forget(session);
    }
    /* It may have ended meanwhile: then close_event() comes by this. */
    rdisk_target_session_let_go(session->target);
    session->then(session);
}

/*
 * Its pages are looked up one by one, and pinned, so that a large one takes a
 * second: not in this thread. A failure is not the client's.
 */
void resident_register(struct session *session,
                       void (*then)(struct session *session))
{
    struct server *server = session->server;
    const struct backend *backend = session->work.volume->backend;
    uint64_t size = backend->geometry.size;
    struct rdisk_error err;

    assert_control_thread();
    if (!backend->resident) {
        then(session);
        return;
    }
    if (check_time(session, &err) < 0 ||
        check_locked(session, size, &err) < 0) {
        report(session, &err);
        then(session);
        return;
    }
    session->then = then;
    session->registered = size;
    server->registered += size;
    rdisk_target_session_hold(session->target);
    if (operation_run(&session->work.operation, backend, register_run,
                      register_done, &err) < 0) {
        rdisk_target_session_let_go(session->target);
        resident_forget(session);
        report(session, &err);
        then(session);
    }
}

void resident_forget(struct session *session)
{
    assert_control_thread();
    session->server->registered -= session->registered;
    session->registered = 0;
}
