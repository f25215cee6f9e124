/* SPDX-License-Identifier: BSD-3-Clause */
/* The server around the real target: its sessions, queues, records and life. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

/* ---- Sessions ---------------------------------------------------------- */

bool sim_server_holds(const struct sim *sim, unsigned int client,
                      unsigned int serial)
{
    for (unsigned int i = 0; i < SIM_HOLDERS; i++) {
        const struct sim_holder *holder = &sim->server.holders[i];

        if (holder->session && holder->client == client &&
            holder->serial == serial) {
            return true;
        }
    }
    return false;
}

void sim_server_lose(struct sim *sim, unsigned int client)
{
    for (unsigned int i = 0; i < SIM_HOLDERS; i++) {
        struct sim_holder *holder = &sim->server.holders[i];

        if (holder->session && holder->client == client) {
            rdisk_target_session_fence(holder->session);
        }
    }
}

static enum rdisk_status owner_create(
    void *opaque, struct rdisk_target_session *session,
    const struct rdisk_create_request *request, void **user,
    struct rdisk_error *err)
{
    struct sim *sim = opaque;
    struct sim_holder *holder = sim_holder_find(sim);
    enum rdisk_status status = sim_visitor_create(sim, holder, session, request,
                                                  err);

    *user = holder->session ? holder : NULL;
    return status;
}

static enum rdisk_status owner_list(void *opaque,
                                    struct rdisk_target_session *session,
                                    const struct rdisk_list_request *request,
                                    struct rdisk_list_page *page, void **user,
                                    struct rdisk_error *err)
{
    struct sim *sim = opaque;
    struct sim_holder *holder = sim_holder_find(sim);
    enum rdisk_status status = sim_visitor_list(sim, holder, session, request,
                                                page, err);

    *user = holder->session ? holder : NULL;
    return status;
}

/* ---- Queues ------------------------------------------------------------ */

static struct rdisk_target_group *owner_queue_group(void *opaque, void *user)
{
    struct sim *sim = opaque;

    return sim->server.group;
}

static int owner_queue_new(void *opaque, void *user,
                           struct rdisk_target_queue *target, void **queue_user,
                           struct rdisk_error *err)
{
    struct sim *sim = opaque;
    struct sim_queue *queue = sim->server.queues;

    while (queue->queue) {
        if (++queue == sim->server.queues + SIM_QUEUES) {
            sim_violation("the server keeps dead queues");
        }
    }
    *queue = (struct sim_queue) {
        .sim = sim,
        .queue = target,
        .holder = user,
    };
    sim_turns_join(queue);
    queue->memory = rdisk_target_queue_base(target)->memory;
    queue->length = rdisk_target_queue_base(target)->length;
    /* A client checks its requests itself. */
    if (queue->holder->visitor && sim_mutated(sim, SIM_MUTATE_NO_RANGE_CHECK)) {
        queue->holder->session->reported_size = 1ull << 50;
        atomic_store(&queue->holder->session->size, 1ull << 50);
    }
    *queue_user = queue;
    return 0;
}

static void owner_queue_idle(void *queue_user,
                             struct rdisk_target_queue *target)
{
    struct sim_queue *queue = queue_user;

    if (queue->queue != target || queue->idle) {
        sim_violation("a queue of the server ends twice");
    }
    queue->idle = true;
    if (queue->holder->visitor &&
        queue->sim->visitor.goal != RDISK_TARGET_RELEASING) {
        /* Sessions that end, but cannot yet. */
        queue->release_at = sim_now(queue->sim) +
                            sim_random(queue->sim, 3000) * RDISK_MSEC;
    }
}

bool sim_server_queue_due(const struct sim_queue *queue)
{
    return queue->queue &&
           (sim_slots_due(queue) ||
            (!queue->started && !sim_ambush_holds(queue)) ||
            (queue->idle && sim_now(queue->sim) >= queue->release_at));
}

bool sim_server_serve_queue(struct sim_queue *queue, bool readable)
{
    struct rdisk_target_queue *target = queue->queue;

    if (!target) {
        return false;
    }
    if (sim_slots_serve(queue)) {
        return true;
    }
    if (queue->idle) {
        /* The control thread takes its time. */
        if (!sim_server_queue_due(queue)) {
            return false;
        }
        if (sim_random(queue->sim, 4)) {
            return true;
        }
        queue->queue = NULL;
        sim_turns_leave(queue);
        queue->answers = false;
        queue->idle = false;
        if (!sim_mutated(queue->sim, SIM_MUTATE_LEAK) ||
            sim_random(queue->sim, 4)) {
            rdisk_target_queue_release(target);
        }
        return true;
    }
    if (!queue->started && sim_ambush_holds(queue)) {
        return false;
    }
    if (!queue->started) {
        queue->started = true;
        queue->removals = queue->sim->server.removals;
        rdisk_target_queue_start(target);
        return true;
    }
    if (readable ||
        (!queue->gone && rdisk_target_cq_more(rdisk_target_queue_cq(target)))) {
        /* And what others have there that share it. */
        rdisk_target_cq_process(rdisk_target_queue_cq(target));
        /* It may be back already: not for this queue. */
        queue->gone = queue->removals != queue->sim->server.removals;
    }
    return readable;
}

/* ---- Leases, on stable storage ----------------------------------------- */

static int record_load(void *opaque, const uint8_t *identity,
                       struct lease_record *record, struct rdisk_error *err)
{
    struct sim *sim = opaque;

    *record = sim->server.record;
    return record->generation ? 0 : -ENOENT;
}

/* What a killed server's objects still do has no effect. */
static int record_save(void *opaque, const uint8_t *identity,
                       const struct lease_record *before,
                       const struct lease_record *record,
                       struct rdisk_error *err)
{
    struct sim *sim = opaque;
    struct sim_server *server = &sim->server;
    bool fails = server->errors && sim_random(sim, server->errors) == 0;

    if (server->dead || (sim_mutated(sim, SIM_MUTATE_LEASE_NOT_SAVED) &&
                         server->record.generation)) {
        return 0;
    }
    if (server->record.generation > before->generation &&
        !sim_mutated(sim, SIM_MUTATE_LEASE_NOT_COMPARED)) {
        return rdisk_error_set(err, -EBUSY, "the record is another one");
    }
    if (!fails || sim_random(sim, 2)) {
        server->record = *record;
    }
    return fails ? rdisk_error_set(err, -EIO, "the record was not written") : 0;
}

/* ---- An older peer ------------------------------------------------------ */

uint64_t sim_withheld(struct sim *sim)
{
    uint64_t withheld = sim_pick(&sim->feature_state, 4) ? 0
                                                         : RDISK_FEATURE_BARE;

    withheld |= sim_pick(&sim->feature_state, 4) ? 0 : RDISK_FEATURE_VECTOR;
    /* Where memory is short, not every session can have all slots at once. */
    if (!sim_pick(&sim->feature_state, 4) && !sim->schedule->config.memory) {
        withheld |= RDISK_FEATURE_SLOTS;
    }
    return sim_mutates_bare(sim->mutation) ? withheld | RDISK_FEATURE_SLOTS
                                           : withheld;
}

/* ---- Who may connect ---------------------------------------------------- */

void sim_secret(struct rdisk_secret *secret)
{
    static const char text[] = "a secret of thirty-two bytes, or";

    memset(secret, 0, sizeof(*secret));
    secret->length = 32;
    memcpy(secret->bytes, text, secret->length);
}

static bool owner_secret(void *opaque, const char *user,
                         struct rdisk_secret *secret)
{
    bool known = !strcmp(user, SIM_USER);

    if (known) {
        sim_secret(secret);
    }
    return known;
}

/* ---- The program ------------------------------------------------------- */

/* The program that runs leaves its turn to the other one. */
static void turn_ends(struct sim *sim)
{
    struct sim_server *server = &sim->server;
    struct lease *known = &server->known[server->turn];

    *known = server->lease;
    known->writers = 0;
    known->kept_until = sim_now(sim) + known->lease_time;
    server->turn = !server->turn;
}

static void turn_begins(struct sim *sim)
{
    struct sim_server *server = &sim->server;
    const struct lease *known = &server->known[server->turn];
    struct lease_record record;
    struct rdisk_error err;

    if (known->name[0]) {
        server->lease = *known;
        return;
    }
    server->lease = (struct lease) {
        .name = "vol",
        .store = &server->store,
        .lease_time = sim->schedule->config.lease_time_ms * RDISK_MSEC,
    };
    if (lease_read(&server->store, server->lease.identity, &record, &err) ==
        0) {
        lease_compare(&server->lease, &record, sim_now(sim));
    }
}

static void server_starts(struct sim *sim)
{
    static const struct rdisk_target_events events = {
        .secret = owner_secret,
        .create = owner_create,
        .list = owner_list,
        .open = sim_server_open,
        .close = sim_server_close,
        .release = sim_server_release,
        .resize = sim_server_resize,
        .queue_group = owner_queue_group,
        .queue_new = owner_queue_new,
        .request = sim_backend_request,
        .queue_idle = owner_queue_idle,
        .slots_returned = sim_slots_returned,
        .slots_idle = sim_slots_idle,
    };
    struct sim_server *server = &sim->server;
    struct rdisk_error err = { 0 };

    turn_begins(sim);
    server->options.withheld_features = sim_withheld(sim);
    sim_turns_begin(sim);
    server->target = rdisk_target_create(&server->env, &server->options,
                                         &events, sim, &err);
    if (server->target) {
        server->group = rdisk_target_group_create(&server->env, SIM_ENTRIES, 0);
        if (!server->group) {
            abort();
        }
    }
    server->want_start = !server->target;
    server->start_at = sim_now(sim) + 500 * RDISK_MSEC;
    server->dead = server->stopping = server->drained = false;
    sim_log(sim, "server: %s", server->target ? "runs" : err.text);
}

void sim_server_kill(struct sim *sim, enum fake_death death)
{
    struct sim_server *server = &sim->server;

    if (!server->target || server->dead) {
        return;
    }
    sim_server_restore_device(sim);
    fake_host_link(server->host, true);
    fake_host_kill(server->host, death);
    server->dead = true;
    server->stalled_until = 0;
    sim_backend_die(sim);
    sim_check_all_settled(&sim->checker);
    turn_ends(sim);
    if (death == FAKE_POWER_FAILS) {
        memset(server->known, 0, sizeof(server->known));
        sim_disk_power_fails(&sim->disk, &sim->random_state);
        sim_check_power_fails(&sim->checker);
        server->cache++;
    } else if (sim_mutated(sim, SIM_MUTATE_KILL_LOSES_CACHE)) {
        sim_disk_power_fails(&sim->disk, &sim->random_state);
    }
    sim_jobs_hurry(sim);
    rdisk_target_stop(server->target, "dead");
}

void sim_server_stop(struct sim *sim)
{
    struct sim_server *server = &sim->server;

    if (server->target && !server->dead && !server->stopping) {
        server->stopping = true;
        rdisk_target_stop(server->target, "told to stop");
    }
}

void sim_server_drain(struct sim *sim, bool drained)
{
    struct sim_server *server = &sim->server;

    server->drained = drained && server->target && !server->dead;
    for (unsigned int i = 0; i < SIM_HOLDERS && server->drained; i++) {
        if (server->holders[i].session) {
            rdisk_target_session_end(server->holders[i].session,
                                     RDISK_STATUS_SHUTTING_DOWN, "drained");
        }
    }
}

void sim_server_remove_device(struct sim *sim)
{
    struct sim_server *server = &sim->server;

    if (server->target && !server->dead && !server->removed) {
        server->removed = true;
        server->removals++;
        fake_host_remove_device(server->host, sim_random(sim, 2));
    }
}

void sim_server_restore_device(struct sim *sim)
{
    if (sim->server.removed) {
        sim->server.removed = false;
        fake_host_restore_device(sim->server.host);
    }
}

bool sim_server_life(struct sim *sim)
{
    struct sim_server *server = &sim->server;

    if (!server->target) {
        if (!server->want_start || sim_now(sim) < server->start_at) {
            return false;
        }
        server_starts(sim);
        return true;
    }
    if ((server->dead || server->stopping) &&
        !rdisk_target_sessions(server->target) && !server->operations.count) {
        fake_host_link(server->host, true);
        rdisk_target_destroy(server->target);
        server->target = NULL;
        rdisk_target_group_destroy(server->group);
        if (server->dead) {
            fake_host_start(server->host);
        } else {
            turn_ends(sim);
        }
        sim_check_all_settled(&sim->checker);
        sim_log(sim, "server: has ended");
        return true;
    }
    return sim_jobs_life(sim) || sim_backend_life(sim);
}

uint64_t sim_server_due(const struct sim *sim)
{
    const struct sim_server *server = &sim->server;
    uint64_t due = SIM_NEVER;

    if (!server->target) {
        return server->want_start ? server->start_at : SIM_NEVER;
    }
    if (server->stalled_until > sim_now((struct sim *)sim)) {
        return server->stalled_until;
    }
    for (unsigned int i = 0; i < SIM_QUEUES; i++) {
        const struct sim_queue *queue = &server->queues[i];

        if (queue->queue && queue->idle) {
            due = sim_least(due, queue->release_at);
        }
    }
    for (unsigned int i = 0; i < server->op_count; i++) {
        due = sim_least(due, server->ops[i].due);
    }
    due = sim_least(due, sim_jobs_due(sim));
    due = sim_least(due, server->turns.wake_at);
    return sim_least(due, rdisk_target_deadline(server->target));
}

/* ---- Beginning --------------------------------------------------------- */

static uint64_t env_now(void *opaque)
{
    return sim_now(opaque);
}

static void env_random(void *opaque, void *buf, size_t size)
{
    struct sim *sim = opaque;

    sim->server.fake.random(sim->server.fake.opaque, buf, size);
}

static void env_log(void *opaque, enum rdisk_log_level level, const char *line)
{
    struct sim *sim = opaque;

    sim_log(sim, "server: %s", line);
    if (strstr(line, "violates the protocol") &&
        strncmp(line, SIM_VISITOR_ADDRESS, strlen(SIM_VISITOR_ADDRESS))) {
        sim_violation("the server finds of a client: %s", line);
    }
}

void sim_server_begin(struct sim *sim)
{
    static const struct backend_class class = { .name = "sim" };
    static struct backend backend = { .class = &class };
    struct sim_server *server = &sim->server;

    server->host = fake_host_add(sim->fabric, "10.0.0.1");
    fake_host_env(server->host, &server->fake);
    server->verbs = *server->fake.verbs;
    sim_mutate_server_verbs(&server->verbs, sim->mutation);
    sim_mutate_bare_server(&server->verbs, sim->mutation,
                           sim->schedule->config.slots);
    sim_mutate_vector_server(&server->verbs, sim->mutation);
    sim_mutate_slots_server(&server->verbs, sim->mutation);
    sim_ambush_server_verbs(&server->verbs);
    server->env = (struct rdisk_env) {
        .verbs = &server->verbs,
        .now = env_now,
        .stopwatch = env_now,
        .random = env_random,
        .log = env_log,
        .opaque = sim,
    };
    rdisk_target_options_init(&server->options);
    server->options.port = SIM_PORT;
    server->options.max_queues = 2;
    if (sim->schedule->config.memory) {
        server->options.base_memory = 0;
        server->options.max_memory = sim->schedule->config.memory;
    }
    server->options.call_timeout_ms = 6000;
    server->options.authenticate = sim->schedule->config.authenticate;
    server->options.max_silence_ms = sim->schedule->config.max_silence_ms;
    server->slowest = sim->schedule->config.slowest_us * 1000ull;
    snprintf(server->volume.name, sizeof(server->volume.name), "vol");
    server->volume.backend = &backend;
    server->volume.lease = &server->lease;
    server->store = (struct lease_store) {
        .load = record_load,
        .save = record_save,
        .opaque = sim,
    };
    operations_init(&server->operations, sim_jobs(sim));
    server->want_start = true;
}
