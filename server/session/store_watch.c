/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/session/store_watch.h"

#include <errno.h>
#include <stdio.h>

#include "common/container_of.h"
#include "common/log.h"
#include "common/thread.h"
#include "server/session/session.h"

/* In the cut-off time: the pool is read so often, */
#define READS 8
/* and for this part of it its monitors have not answered, too. */
#define PING_PART 4
/* No record has this name. */
#define NO_RECORD "none"

static uint64_t cut_off_time(const struct server *server)
{
    return server->config->ceph_cut_off * RDISK_MSEC;
}

/* ---- The calls ---------------------------------------------------------- */

static struct store_probe *probe_of(struct job *job)
{
    return container_of(job, struct store_probe, job);
}

static void read_run(struct job *job)
{
    struct store_probe *probe = probe_of(job);
    const struct pool *pool = &probe->server->pool;
    char text[16];

    atomic_store(&probe->begun, true);
    probe->result = pool->images->pool->read(pool->place, NO_RECORD, text,
                                             sizeof(text));
}

static void ping_run(struct job *job)
{
    struct store_probe *probe = probe_of(job);
    const struct pool *pool = &probe->server->pool;

    atomic_store(&probe->begun, true);
    probe->result = pool->images->pool->ping(pool->place);
}

static void answered(struct server *server)
{
    struct store_watch *watch = &server->store_watch;

    watch->answered = rdisk_now(server->env);
    if (watch->cut) {
        watch->cut = false;
        log_info("the storage of pool '%s' answers again", server->pool.path);
    }
}

/* Any error is an answer, but that there was none. */
static void probe_done(struct job *job)
{
    struct store_probe *probe = probe_of(job);

    probe->running = false;
    if (probe->result != -ETIMEDOUT) {
        answered(probe->server);
    }
}

static void start(struct server *server, struct store_probe *probe,
                  void (*run)(struct job *job))
{
    struct rdisk_error err;

    probe->server = server;
    probe->job.what = "asking the storage of";
    probe->job.volume = server->pool.path;
    probe->job.store = probe;
    probe->job.run = run;
    probe->job.done = probe_done;
    probe->since = rdisk_now(server->env);
    atomic_store(&probe->begun, false);
    probe->running = jobs_submit(server->jobs, &probe->job, &err) == 0;
}

/* ---- Clients ------------------------------------------------------------ */

static bool may_move(const struct server *server, const struct session *session)
{
    return session->request.servers && !session->ended &&
           pool_is_shared(&server->pool, session->holder.volume);
}

static bool is_needed(const struct server *server)
{
    const struct pool *pool = &server->pool;
    const struct session *session = server->sessions;

    if (!pool->images || !pool->images->pool->ping || server->stopping) {
        return false;
    }
    while (session && !may_move(server, session)) {
        session = session->next;
    }
    return session || server->store_watch.cut;
}

/* Not SHUTTING_DOWN: the clients would wait for answers first. */
static void cut_off(struct server *server)
{
    struct session *session = server->sessions, *next;
    double seconds = server->config->ceph_cut_off / 1000.0;
    unsigned int count = 0;
    char text[128];

    server->store_watch.cut = true;
    snprintf(text, sizeof(text),
             "the storage has not answered this server for %g seconds",
             seconds);
    for (; session; session = next) {
        next = session->next;
        if (may_move(server, session)) {
            session_end(session, RDISK_STATUS_BUSY, text);
            count++;
        }
    }
    log_error("the storage of pool '%s' has not answered for %g seconds, and "
              "neither have its monitors: %u sessions of clients that have "
              "another server are ended",
              server->pool.path, seconds, count);
}

bool store_watch_is_cut(const struct server *server, const char *volume,
                        struct rdisk_error *err)
{
    const struct volume *open = pool_find(&server->pool, volume);

    assert_control_thread();
    if (!server->store_watch.cut || (open && open->configured)) {
        return false;
    }
    rdisk_error_set(err, -ESHUTDOWN,
                    "volume '%s' cannot be opened here: its storage does not "
                    "answer this server",
                    volume);
    return true;
}

/* ---- Time --------------------------------------------------------------- */

bool store_watch_is_busy(const struct server *server)
{
    return server->store_watch.read.running || server->store_watch.ping.running;
}

/* One for which there was no thread is tried again, but not at once. */
static uint64_t not_before(const struct server *server,
                           const struct store_probe *probe, uint64_t due)
{
    uint64_t again = probe->since + cut_off_time(server) / READS;

    return due > again ? due : again;
}

static uint64_t read_due(const struct server *server)
{
    const struct store_watch *watch = &server->store_watch;

    return watch->read.running
               ? RDISK_NEVER
               : not_before(server, &watch->read,
                            watch->answered + cut_off_time(server) / READS);
}

/* For the storage. */
static bool waits(const struct store_probe *probe)
{
    return probe->running && atomic_load(&probe->begun);
}

static uint64_t ping_due(const struct server *server)
{
    const struct store_watch *watch = &server->store_watch;

    return watch->ping.running || !waits(&watch->read)
               ? RDISK_NEVER
               : not_before(server, &watch->ping,
                            watch->answered + cut_off_time(server) / 2);
}

/* This server may have been away itself, or had no thread for them: both have
 * had some time, too. */
static uint64_t cut_due(const struct server *server)
{
    const struct store_watch *watch = &server->store_watch;
    uint64_t silence = watch->answered + cut_off_time(server);
    uint64_t ping = watch->ping.since + cut_off_time(server) / PING_PART;

    if (watch->cut || !waits(&watch->read) || !waits(&watch->ping)) {
        return RDISK_NEVER;
    }
    return silence > ping ? silence : ping;
}

uint64_t store_watch_deadline(const struct server *server)
{
    uint64_t due[] = { read_due(server), ping_due(server), cut_due(server) };
    uint64_t earliest = RDISK_NEVER;

    assert_control_thread();
    if (!is_needed(server)) {
        return RDISK_NEVER;
    }
    if (!server->store_watch.watching) {
        return 0;
    }
    for (size_t i = 0; i < sizeof(due) / sizeof(due[0]); i++) {
        earliest = due[i] < earliest ? due[i] : earliest;
    }
    return earliest;
}

void store_watch_check_time(struct server *server, uint64_t now)
{
    struct store_watch *watch = &server->store_watch;
    bool needed = is_needed(server);

    assert_control_thread();
    if (needed && !watch->watching) {
        watch->answered = now;
    }
    watch->watching = needed;
    if (!needed) {
        return;
    }
    if (now >= read_due(server)) {
        start(server, &watch->read, read_run);
    }
    if (now >= ping_due(server)) {
        start(server, &watch->ping, ping_run);
    }
    if (now >= cut_due(server)) {
        cut_off(server);
    }
}
