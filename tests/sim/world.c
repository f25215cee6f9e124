/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The world: who is served when, how time passes, and a run from beginning to
 * end. Everything is called as an event loop would: when a descriptor is
 * readable or a deadline has come, and never otherwise, so that a lost wake-up
 * is a request that never ends.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

/* More turns without time passing than any run needs: something spins. */
#define TURNS_MAX   30000u
#define SOURCES_MAX (1 + SIM_QUEUES + SIM_CLIENTS * (1 + RDISK_QUEUES_MAX))
/*
 * For everything to end once nothing is wrong any more, in virtual time: the
 * longest of the product's own bounds (open-timeout, heartbeat, 30 s for a
 * server to miss a client, 60 s for rdma_cm) one after the other.
 */
#define BOUND (400 * 1000 * RDISK_MSEC)

uint64_t sim_random(struct sim *sim, uint64_t bound)
{
    return sim_pick(&sim->random_state, bound);
}

uint64_t sim_now(struct sim *sim)
{
    return fake_fabric_now(sim->fabric);
}

uint64_t sim_least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* ---- Who is served ----------------------------------------------------- */

/* All descriptors of the world, polled with one system call. */
struct sources {
    struct pollfd fds[SOURCES_MAX]; /* those there are */
    unsigned int count;
    bool readable[SOURCES_MAX];      /* of those there could be */
    unsigned int place[SOURCES_MAX]; /* there, of each in fds */
    unsigned int places;
};

static void add_source(struct sources *sources, int fd)
{
    sources->readable[sources->places++] = false;
    if (fd >= 0) {
        sources->place[sources->count] = sources->places - 1;
        sources->fds[sources->count++] = (struct pollfd) {
            .fd = fd,
            .events = POLLIN,
        };
    }
}

static void collect(struct sim *sim, struct sources *sources)
{
    struct sim_server *server = &sim->server;

    sources->count = sources->places = 0;
    add_source(sources, server->target ? rdisk_target_fd(server->target) : -1);
    for (unsigned int i = 0; i < SIM_QUEUES; i++) {
        struct sim_queue *queue = &server->queues[i];

        add_source(sources,
                   queue->queue && queue->started && !queue->idle &&
                           !queue->gone
                       ? rdisk_target_cq_fd(rdisk_target_queue_cq(queue->queue))
                       : -1);
    }
    for (unsigned int i = 0; i < sim->schedule->config.clients; i++) {
        struct rdisk_initiator *session = sim->clients[i].session;
        struct rdisk_queue *queue;

        add_source(sources, session ? rdisk_initiator_fd(session) : -1);
        for (unsigned int q = 0; q < sim->schedule->config.queues; q++) {
            queue = session ? rdisk_initiator_queue(session, q) : NULL;
            add_source(sources, queue ? rdisk_queue_fd(queue) : -1);
        }
    }
    poll(sources->fds, sources->count, 0);
    for (unsigned int i = 0; i < sources->count; i++) {
        sources->readable[sources->place[i]] = sources->fds[i].revents;
    }
}

/* Now and then one is not served although it could be. */
static bool turn(struct sim *sim, bool ready)
{
    return ready && sim_random(sim, 8);
}

static bool serve_server(struct sim *sim, const bool *readable)
{
    struct sim_server *server = &sim->server;
    bool ready, moved;

    if (server->target && server->stalled_until > sim_now(sim)) {
        return false;
    }
    ready = server->target &&
            (readable[0] ||
             rdisk_target_deadline(server->target) <= sim_now(sim));
    moved = ready;
    if (turn(sim, ready)) {
        rdisk_target_process(server->target);
    }
    sim_slots_check(sim);
    for (unsigned int i = 0; i < SIM_QUEUES; i++) {
        moved |= readable[1 + i];
        if (server->queues[i].queue && sim_random(sim, 8)) {
            moved |= sim_server_serve_queue(&server->queues[i],
                                            readable[1 + i]);
        } else {
            moved |= sim_server_queue_due(&server->queues[i]);
        }
    }
    return sim_server_life(sim) || moved;
}

static bool serve_client(struct sim_client *client, const bool *readable)
{
    struct sim *sim = client->sim;
    bool moved = false;

    if (client->session && !sim_client_stalled(client, 0)) {
        bool ready = readable[0] ||
                     rdisk_initiator_deadline(client->session) <= sim_now(sim);

        moved |= ready;
        if (turn(sim, ready)) {
            rdisk_initiator_process(client->session);
        }
        if (sim_mutated(sim, SIM_MUTATE_RETURN_IN_USE)) {
            sim_slots_return_in_use(client);
        }
    }
    if (client->session && !sim_client_stalled(client, 1)) {
        for (unsigned int q = 0; q < sim->schedule->config.queues; q++) {
            moved |= readable[1 + q];
            if (turn(sim, readable[1 + q])) {
                rdisk_queue_process(rdisk_initiator_queue(client->session, q));
            }
        }
    }
    return sim_client_life(client) || moved;
}

static bool serve_all(struct sim *sim)
{
    static struct sources sources;
    const bool *readable = sources.readable;
    bool moved;

    collect(sim, &sources);
    moved = serve_server(sim, readable);
    readable += 1 + SIM_QUEUES;
    for (unsigned int i = 0; i < sim->schedule->config.clients; i++) {
        moved |= serve_client(&sim->clients[i], readable);
        readable += 1 + sim->schedule->config.queues;
    }
    moved |= sim_visitor_life(sim);
    return sim_reader_life(sim) || moved;
}

void sim_steps(struct sim *sim, unsigned int steps)
{
    while (steps--) {
        bool moved = fake_fabric_step(sim->fabric);

        if (!moved || sim_random(sim, 4) == 0) {
            moved |= serve_all(sim);
        }
        if (!moved) {
            return;
        }
    }
}

/* What happens in which order between fabric and programs is the seed's. */
void sim_pump(struct sim *sim)
{
    unsigned int turns = 0;
    bool moved;

    do {
        moved = false;
        while (fake_fabric_step(sim->fabric)) {
            moved = true;
            if (sim_random(sim, 4) == 0) {
                serve_all(sim);
            }
            if (turns++ > TURNS_MAX) {
                break;
            }
        }
        moved |= serve_all(sim);
        if (turns++ > TURNS_MAX) {
            sim_violation("the world does not come to rest: something spins");
        }
    } while (moved);
}

/* ---- Time -------------------------------------------------------------- */

static uint64_t next_due(struct sim *sim)
{
    uint64_t next = sim_least(fake_fabric_next(sim->fabric),
                              sim_server_due(sim));

    for (unsigned int i = 0; i < sim->schedule->config.clients; i++) {
        next = sim_least(next, sim_client_due(&sim->clients[i]));
    }
    next = sim_least(next, sim_reader_due(sim));
    return sim_least(next, sim_visitor_due(sim));
}

bool sim_advance(struct sim *sim, uint64_t nanoseconds,
                 bool (*done)(struct sim *sim))
{
    uint64_t end = sim_now(sim) + nanoseconds;

    for (;;) {
        uint64_t next;

        sim_pump(sim);
        if (done && done(sim)) {
            return true;
        }
        next = next_due(sim);
        if (next > end) {
            break;
        }
        fake_fabric_set_now(sim->fabric, next);
    }
    fake_fabric_set_now(sim->fabric, end);
    sim_pump(sim);
    return !done;
}

/* ---- The end ----------------------------------------------------------- */

static bool requests_ended(struct sim *sim)
{
    for (unsigned int i = 0; i < sim->schedule->config.clients; i++) {
        if (sim->clients[i].outstanding) {
            return false;
        }
    }
    return true;
}

/* All that may be there at once. */
static bool clients_ready(struct sim *sim)
{
    unsigned int wanted = 0, ready = 0;

    for (unsigned int i = 0; i < sim->schedule->config.clients; i++) {
        wanted += !sim->clients[i].stay_away;
        ready += sim->clients[i].session &&
                 sim->clients[i].state == RDISK_INITIATOR_READY;
    }
    return ready >= (sim->schedule->config.shared ? wanted : 1);
}

static bool sessions_gone(struct sim *sim)
{
    for (unsigned int i = 0; i < sim->schedule->config.clients; i++) {
        if (sim->clients[i].session) {
            return false;
        }
    }
    return sim_reader_gone(sim);
}

static bool server_idle(struct sim *sim)
{
    return sim->server.target && !sim->server.op_count &&
           !rdisk_target_sessions(sim->server.target);
}

static bool server_gone(struct sim *sim)
{
    return !sim->server.target;
}

static void within_bound(struct sim *sim, bool (*done)(struct sim *sim),
                         const char *what)
{
    char text[512];
    size_t used = 0;

    if (sim_advance(sim, BOUND, done)) {
        return;
    }
    for (unsigned int i = 0; i < sim->schedule->config.clients; i++) {
        const struct sim_client *client = &sim->clients[i];

        used += (size_t)snprintf(
            text + used, sizeof(text) - used,
            "; client %u: %u outstanding, %s%.60s", i, client->outstanding,
            client->session ? "state " : "no session",
            client->session ? rdisk_initiator_error(client->session)->text
                            : "");
        if (fake_host_deaf(client->host)) {
            used += (size_t)snprintf(text + used, sizeof(text) - used,
                                     ", deaf");
        }
    }
    sim_violation("%s within %llu s after the last fault%s; server: %u "
                  "sessions, %u requests",
                  what, BOUND / RDISK_MSEC / 1000, text,
                  sim->server.target ? rdisk_target_sessions(sim->server.target)
                                     : 0,
                  sim->server.op_count);
}

/* Both sides have a receive for whatever the other may send. */
static void not_ready(struct sim *sim, struct fake_host *host)
{
    uint64_t count = fake_not_ready(host);

    if (count) {
        sim_violation("%llu messages to %s found no receive",
                      (unsigned long long)count, fake_host_address(host));
    }
}

static void close_all(struct sim *sim)
{
    for (unsigned int i = 0; i < sim->schedule->config.clients; i++) {
        sim->clients[i].want_close = true;
        sim->clients[i].stay_away = true;
    }
    within_bound(sim, sessions_gone, "the sessions did not close");
}

/* Everything wrong is over: all that was promised for later is now due. */
static void settle(struct sim *sim)
{
    struct sim_client *reader = &sim->clients[0];
    char text[200];

    sim_log(sim, "every fault is over");
    sim_heal(sim);
    if (sim->schedule->config.shared) {
        within_bound(sim, requests_ended, "requests did not end");
        within_bound(sim, clients_ready, "clients did not come back");
        within_bound(sim, sim_sizes_known,
                     "clients did not hear of the volume's size");
    }
    if (sim->schedule->config.shared) {
        within_bound(sim, sim_slots_all_returned,
                     "slots that are not used were not returned");
    }
    /* Otherwise the client that has the volume must leave it, or the others
     * could not finish. */
    close_all(sim);
    within_bound(sim, server_idle, "the server kept sessions");
    reader->stay_away = false;
    within_bound(sim, clients_ready, "the last reader was not let in");
    for (unsigned int i = 0; i < SIM_BLOCKS; i += SIM_RUN) {
        sim_client_submit(reader, RDISK_OP_READ, i, SIM_RUN, 0);
    }
    sim_client_kick(reader);
    within_bound(sim, requests_ended, "the last reads did not end");
    close_all(sim);
    sim->server.want_start = false;
    sim_server_stop(sim);
    within_bound(sim, server_gone, "the server did not stop");
    sim_visitor_leave(sim);
    not_ready(sim, sim->server.host);
    for (unsigned int i = 0; i < sim->schedule->config.clients; i++) {
        not_ready(sim, sim->clients[i].host);
    }
    if (fake_fabric_live(sim->fabric, text, sizeof(text))) {
        sim_violation("left behind: %s", text);
    }
}

/* ---- The whole --------------------------------------------------------- */

static void observe(void *opaque, const struct fake_write *write)
{
    struct sim *sim = opaque;

    sim_reader_observe(&sim->reader, write);
    for (unsigned int i = 0; i < sim->schedule->config.clients; i++) {
        if (write->host == sim->clients[i].host) {
            sim_client_observe(&sim->clients[i], write);
        }
    }
    for (unsigned int i = 0; write->host == sim->server.host && i < SIM_QUEUES;
         i++) {
        const struct sim_queue *queue = &sim->server.queues[i];

        if (queue->idle &&
            (uintptr_t)write->address - (uintptr_t)queue->memory <
                queue->length) {
            sim_violation("a slot is written to after its queue was drained");
        }
    }
}

static void observe_resend(void *opaque, const struct fake_resend *resend)
{
    struct sim *sim = opaque;

    for (unsigned int i = 0; i < sim->schedule->config.clients; i++) {
        if (resend->host == sim->clients[i].host && resend->changed) {
            sim_client_observe_resend(&sim->clients[i], resend);
        }
    }
}

static void misuse(void *opaque, const char *sentence)
{
    sim_violation("the device is misused: %s", sentence);
}

void sim_run(struct sim *sim, const struct sim_schedule *schedule,
             enum sim_mutation mutation, bool verbose)
{
    memset(sim, 0, sizeof(*sim));
    sim->schedule = schedule;
    sim->mutation = mutation;
    sim->verbose = verbose;
    sim->random_state = schedule->seed ^ 0x51a7e;
    sim->feature_state = schedule->seed ^ 0xfea7;
    sim->limit_state = schedule->seed ^ 0x11317;
    sim->fabric = fake_fabric_new(schedule->seed);
    fake_fabric_observe(sim->fabric, observe, sim);
    fake_fabric_observe_resends(sim->fabric, observe_resend, sim);
    fake_fabric_on_misuse(sim->fabric, misuse, sim);
    fake_fabric_loss(sim->fabric, schedule->config.loss);
    sim_disk_begin(&sim->disk);
    sim->size = (SIM_BLOCKS + SIM_RUN) * SIM_BLOCK;
    sim_check_begin(&sim->checker);
    sim_server_begin(sim);
    sim_clients_begin(sim);
    /* Some runs begin with an address that the server does not have yet. */
    sim_resolver(sim,
                 schedule->seed % 16 == 5 ? SIM_RESOLVER_WRONG
                                          : SIM_RESOLVER_RIGHT,
                 (unsigned int)sim_random(sim, 50));
    sim_visitor_begin(sim);
    sim_reader_begin(sim);
    sim_advance(sim, 100 * RDISK_MSEC, clients_ready);
    for (unsigned int i = 0; i < schedule->count; i++) {
        const struct sim_event *event = &schedule->events[i];
        char text[200];

        sim_steps(sim, event->steps);
        if (event->wait_ms) {
            sim_advance(sim, event->wait_ms * RDISK_MSEC, NULL);
        }
        if (verbose) {
            sim_event_text(event, text, sizeof(text));
            sim_log(sim, "* %s", text);
        }
        sim_event(sim, event);
    }
    sim_advance(sim, sim_ambush_left(sim), NULL);
    settle(sim);
    fake_fabric_free(sim->fabric);
}
