/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/gateways/gateways.h"

struct process processes[SERVERS];
struct link links[LINKS_MAX];
struct process *running;

static struct config config;
static struct rdisk_target target;

/*
 * What the server does to a session of the transport's, by the linker's --wrap:
 * there is no transport, and is_over() sees what has been done.
 */
void __wrap_rdisk_target_session_fence(struct rdisk_target_session *session);
void __wrap_rdisk_target_session_end(struct rdisk_target_session *session,
                                     enum rdisk_status status,
                                     const char *text);
bool __wrap_rdisk_target_session_move(struct rdisk_target_session *session,
                                      const char *host, uint16_t port);

static struct link *link_of(struct rdisk_target_session *session)
{
    return container_of(session, struct link, session);
}

void __wrap_rdisk_target_session_fence(struct rdisk_target_session *session)
{
}

void __wrap_rdisk_target_session_end(struct rdisk_target_session *session,
                                     enum rdisk_status status, const char *text)
{
    struct link *link = link_of(session);

    if (status == RDISK_STATUS_SHUTTING_DOWN && !link->leaving) {
        link->leaving = true;
        if (link->current) {
            client_leaves(link);
        }
    }
}

/* A server is known by its port. */
bool __wrap_rdisk_target_session_move(struct rdisk_target_session *session,
                                      const char *host, uint16_t port)
{
    link_of(session)->to = port - RDISK_DEFAULT_PORT;
    return true;
}

/* ---- Life ---------------------------------------------------------------- */

void process_start(struct process *process)
{
    struct process *before = running;
    struct rdisk_error err;

    memset(process, 0, sizeof(*process));
    process->server = (struct server) {
        .config = &config,
        .env = &rdisk_env_system,
    };
    operations_init(&process->server.operations, NULL);
    running = process;
    assert(pool_init_images(&process->server.pool, &store_class, NULL, "place",
                            0, &err) == 0);
    running = before;
    process->server.pool.lease_time = RDISK_NEVER / 4;
    process->up = true;
}

/* What it has in memory goes, and nothing of that reaches the store. */
void process_kill(struct process *process)
{
    struct process *before = running;

    say("server %d is killed", (int)(process - processes));
    store_killed(process);
    process->up = false;
    running = process;
    for (unsigned int i = 0; i < LINKS_MAX; i++) {
        struct link *link = &links[i];

        if (link->process != process) {
            continue;
        }
        if (link->user) {
            session_events.close(&process->server, link->user, false);
        }
        if (link->current) {
            client_lost(link);
        }
        link->process = NULL;
    }
    drain_end(&process->server.drain, "", NULL);
    pool_destroy(&process->server.pool);
    running = before;
}

void processes_begin(void)
{
    memset(links, 0, sizeof(links));
    assert(config_init(&config) == 0);
    config.authentication = ACCESS_METHOD_OPEN;
    target = (struct rdisk_target) {
        .env = &rdisk_env_system,
        .options = { .max_memory = UINT64_MAX / 2,
                     .max_queues = 1,
                     .max_slots = BLOCKS,
                     .max_slot_size = 4096 },
    };
    for (unsigned int i = 0; i < SERVERS; i++) {
        process_start(&processes[i]);
    }
}

void processes_end(void)
{
    for (unsigned int i = 0; i < SERVERS; i++) {
        process_kill(&processes[i]);
    }
    config_free(&config);
}

/* ---- A session ----------------------------------------------------------- */

static void ask(struct link *link)
{
    struct rdisk_open_grant grant = { 0 };
    struct rdisk_error err = { 0 };
    enum rdisk_status status;

    if (!link->session.target) {
        link->session = (struct rdisk_target_session) {
            .target = &target,
            .state = RDISK_TARGET_CLOSING,
            .requested = { .queues = htole16(1),
                           .slots = htole16(BLOCKS),
                           .slot_size = htole32(4096) },
        };
    }
    status = session_events.open(&link->process->server, &link->session,
                                 &link->open, &grant, &link->user, &err);
    if (status == RDISK_LATER) {
        return;
    }
    say("server %d: client %d epoch %u: status %d %s",
        (int)(link->process - processes), link->open.client[0],
        (unsigned int)link->open.epoch, (int)status, err.text);
    link->granted = status == RDISK_STATUS_OK;
    link->generation = grant.generation;
    link->reported = true;
    if (link->current) {
        client_answered(link, status);
    }
    if (!link->granted) {
        link->process = NULL;
    }
}

static bool has_taken(const struct link *link)
{
    for (unsigned int i = 0; i < BLOCKS; i++) {
        if (link->requests[i].link && link->requests[i].taken) {
            return true;
        }
    }
    return false;
}

/* Its queues are drained. */
static void end(struct link *link)
{
    void *user = link->user;
    struct server *server = &link->process->server;
    bool current = link->current;

    say("server %d: the session of epoch %u ends",
        (int)(link->process - processes), (unsigned int)link->open.epoch);
    link->user = NULL;
    if (user) {
        session_events.close(server, user, false);
    }
    if (current) {
        client_lost(link);
    }
    link->process = NULL;
}

/* The transport's part of a session that is fenced, or ended. */
static bool is_over(const struct link *link)
{
    const struct session *session = link->user;

    return link->broken ||
           (session && link->granted &&
            (session->holder.fenced || (session->ended && !link->leaving)));
}

/* What was received is not taken any more. */
static void drop_received(struct link *link)
{
    for (unsigned int i = 0; i < BLOCKS; i++) {
        if (!link->requests[i].taken) {
            link->requests[i].link = NULL;
        }
    }
}

static void take_one(struct link *link)
{
    struct session *session = link->user;
    unsigned int first = pick(BLOCKS);

    for (unsigned int i = 0; i < BLOCKS; i++) {
        struct request *request = &link->requests[(first + i) % BLOCKS];

        if (request->link && !request->taken) {
            request->taken = true;
            store_submit(container_of(session->holder.volume->backend,
                                      struct image, base),
                         request);
            return;
        }
    }
}

void process_step(struct process *process)
{
    struct process *before = running;
    struct link *link = &links[pick(LINKS_MAX)];

    if (link->process != process || !process->up || process->busy ||
        process->stopped) {
        return;
    }
    running = process;
    process->busy = true;
    if (!link->granted) {
        if (link->current || pick(2)) {
            ask(link);
        } else if (!link->user) {
            link->process = NULL; /* the connection is gone before its turn */
        }
    } else if (is_over(link)) {
        link->broken = true;
        drop_received(link);
        if (!has_taken(link)) {
            end(link);
        }
    } else if (!link->current && (link->leaving || pick(8) == 0)) {
        link->broken = true; /* it detects that the client is gone */
    } else {
        take_one(link);
    }
    process->busy = false;
    running = before;
}

/* ---- Drain --------------------------------------------------------------- */

void process_drain(struct process *process)
{
    unsigned int number = (unsigned int)(process - processes);
    struct process *before = running;
    struct rdisk_error err;

    say("server %u is drained", number);
    assert(drain_begin(&process->server.drain, "v", &err) == 0);
    session_drain(&process->server, "server",
                  (uint16_t)(RDISK_DEFAULT_PORT + (number + 1) % SERVERS));
    running = process;
    process->busy = true;
    for (unsigned int i = 0; i < LINKS_MAX && mutation == MUTATE_LEFT_EARLY;
         i++) {
        if (links[i].process == process && links[i].leaving) {
            end(&links[i]);
        }
    }
    process->busy = false;
    running = before;
}

void process_resume(struct process *process)
{
    say("server %d is resumed", (int)(process - processes));
    drain_end(&process->server.drain, "", NULL);
}

/* ---- Answers: server/session/queue.c ------------------------------------- */

void process_done(struct request *request, int result, uint32_t value)
{
    struct link *link = request->link;
    struct session *session = link->user;
    struct backend *backend = session->holder.volume->backend;

    if (result == -ESHUTDOWN) {
        atomic_store(&backend->fenced, true);
    }
    request->link = NULL;
    request->taken = false;
    if (backend_is_fenced(backend) && mutation != MUTATE_ANSWER) {
        link->broken = true;
    }
    if (!link->broken && link->current) {
        client_completed(request, result, value);
    }
}
