/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/schedule.h"

#include <string.h>

#include "tests/sim/disk.h"
#include "tests/sim/sim.h"
#include "transport/wire/wire.h"

#define VISITS   3u /* of a schedule */
#define AMBUSHES 5u /* of a schedule */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- Making ------------------------------------------------------------ */

static unsigned int pick(uint64_t *state, unsigned int bound)
{
    return (unsigned int)sim_pick(state, bound);
}

/* Each queue has one small slot, of the clients' sessions, of one that has not
 * ended, and of the visitor's; one large one is for all. */
static unsigned int least_memory(void)
{
    /* The server grants two at most; an ambush may bring another client. */
    unsigned int queues = (SIM_CLIENTS + 1) * 2 + 1;

    return queues * (RDISK_HEADER_AREA + RDISK_SLOT_SIZE_MIN) + SIM_SLOT;
}

static void make_config(struct sim_config *config, uint64_t *state)
{
    static const unsigned int delays[] = { 0, 2000, 20000, 3600000 };
    static const unsigned int heartbeats[] = { 1000, 4000, 10000 };
    static const unsigned int timeouts[] = { 0, 3000, 60000 };
    static const unsigned int leases[] = { 0, 0, 2000, 20000 };
    static const unsigned int silences[] = { 3000, 300000 };
    static const unsigned int speeds[] = { 0, 200, 200, 20000, 2000000 };
    uint64_t memory = *state ^ 0x3e3;

    *config = (struct sim_config) {
        .clients = 1 + pick(state, SIM_CLIENTS),
        .shared = pick(state, 3) > 0,
        .queues = 1 + pick(state, 3),
        .slots = 1 + pick(state, 6),
        .reconnect_delay_ms = delays[pick(state, COUNT(delays))],
        .heartbeat_ms = heartbeats[pick(state, COUNT(heartbeats))],
        .request_timeout_ms = timeouts[pick(state, COUNT(timeouts))],
        .open_timeout_ms = 1000 + pick(state, 9000),
        .slowest_us = speeds[pick(state, COUNT(speeds))],
        .loss = pick(state, 8) ? 0 : 20 + pick(state, 200),
        .guest_memory = pick(state, 3),
        .write_acks = pick(state, 2),
        .authenticate = pick(state, 2),
        .lease_time_ms = leases[pick(state, COUNT(leases))],
        .max_silence_ms = silences[pick(state, COUNT(silences))],
        .name = pick(state, SIM_NAME_COUNT),
    };
    if (pick(&memory, 2)) {
        config->memory = least_memory() + pick(&memory, 3) * SIM_SLOT;
    }
}

static enum rdisk_op make_op(uint64_t *state)
{
    switch (pick(state, 18)) {
    case 0 ... 5:
        return RDISK_OP_READ;
    case 6 ... 11:
        return RDISK_OP_WRITE;
    case 12 ... 13:
        return RDISK_OP_FLUSH;
    case 14:
        return RDISK_OP_ZEROES;
    case 15:
        return RDISK_OP_EXTENTS;
    case 16:
        return RDISK_OP_COPY;
    default:
        return RDISK_OP_DISCARD;
    }
}

/* a: client, b: operation, c: block, d: count, e: how. */
static void make_request(struct sim_event *event, uint64_t *state)
{
    event->b = make_op(state);
    /* Half of them fight for a few blocks. */
    event->c = pick(state, pick(state, 2) ? 6 : SIM_BLOCKS);
    event->d = 1 + pick(state, SIM_RUN);
    if (event->d > SIM_BLOCKS - event->c) {
        event->d = SIM_BLOCKS - event->c;
    }
    event->e = pick(state, 1u << 16);
    event->steps = pick(state, 3) ? pick(state, 40) : 0;
    event->wait_ms = pick(state, 6) ? 0 : pick(state, 300);
}

static void make_fault(struct sim_event *event, uint64_t *state)
{
    static const enum sim_event_kind kinds[] = {
        SIM_CUT,       SIM_CUT,     SIM_AWAY,   SIM_AWAY,
        SIM_MEND,      SIM_MEND,    SIM_DELAY,  SIM_LOSS,
        SIM_BREAK,     SIM_BREAK,   SIM_BREAK,  SIM_BREAK,
        SIM_CUT_QP,    SIM_CUT_QP,  SIM_KILL,   SIM_KILL,
        SIM_POWER,     SIM_POWER,   SIM_STOP,   SIM_DRAIN,
        SIM_RESUME,    SIM_START,   SIM_START,  SIM_START,
        SIM_REMOVE,    SIM_RESTORE, SIM_FAIL,   SIM_FAIL,
        SIM_FAIL,      SIM_STALL,   SIM_STALL,  SIM_STALL_SERVER,
        SIM_SLOW,      SIM_SLOW,    SIM_SLOW,   SIM_ERRORS,
        SIM_CANCEL,    SIM_CLOSE,   SIM_CLOSE,  SIM_CRASH,
        SIM_REPLAY,    SIM_REPLAY,  SIM_RESIZE, SIM_RESIZE,
        SIM_NO_LINK,   SIM_NO_LINK, SIM_LINK,   SIM_LOSE_ACKS,
        SIM_LOSE_ACKS, SIM_NAME,    SIM_NAME,
    };

    event->kind = kinds[pick(state, COUNT(kinds))];
    event->b = pick(state, 1u << 16);
    event->c = pick(state, 1u << 16);
    event->d = pick(state, 1u << 16);
    event->steps = pick(state, 60);
    event->wait_ms = pick(state, 2) ? 0
                                    : pick(state, pick(state, 4) ? 800 : 8000);
}

static struct sim_event *add_event(struct sim_schedule *schedule,
                                   unsigned int client,
                                   enum sim_event_kind kind,
                                   unsigned int wait_ms, uint64_t *state)
{
    struct sim_event *event = &schedule->events[schedule->count++];

    if (kind == SIM_SUBMIT) {
        make_request(event, state);
        event->b = RDISK_OP_WRITE;
    } else {
        make_fault(event, state);
    }
    event->kind = kind;
    event->a = client;
    event->wait_ms = wait_ms;
    return event;
}

static void add_restart(struct sim_schedule *schedule, uint64_t *state)
{
    struct sim_event *event = add_event(schedule, 0, SIM_KILL, 0, state);

    event->b = 1; /* it starts again, */
    event->c = 1; /* after so many ms */
}

/*
 * The volume moves: a client is away with a write in flight, another one has
 * it and writes, and the server may be started again before the first is back.
 * If it was also started again before the other one wrote, it is now the
 * program to which the first one was the last writer.
 */
static void make_move(struct sim_schedule *schedule, uint64_t *state)
{
    unsigned int clients = schedule->config.clients;
    unsigned int first = pick(state, clients);
    /* Until another one may have the volume, and has it. */
    unsigned int in = schedule->config.lease_time_ms + 700;

    for (unsigned int i = 0; i < clients; i++) {
        add_event(schedule, i, SIM_SUBMIT, i ? 0 : 1000, state);
    }
    for (unsigned int i = 0; i < clients; i++) {
        /* Which client has it is known only then. */
        add_event(schedule, (first + i) % clients, SIM_AWAY,
                  i ? pick(state, 4000) : 0, state);
        if (pick(state, 2)) {
            add_restart(schedule, state);
        }
        for (unsigned int j = 0; j < clients; j++) {
            add_event(schedule, j, SIM_SUBMIT, j ? 0 : in, state);
        }
        if (pick(state, 2)) {
            add_restart(schedule, state);
        }
        add_event(schedule, (first + i) % clients, SIM_MEND, pick(state, 500),
                  state);
    }
}

/*
 * A visitor comes: to each state of the server, for each thing to happen there,
 * in turn, so that a short run has them all.
 */
static void make_visit(struct sim_schedule *schedule, unsigned int left,
                       uint64_t *state)
{
    struct sim_event *event = add_event(schedule, 0, SIM_VISIT, 0, state);
    uint64_t number = schedule->seed * VISITS + left;

    /* In each round at another place of a schedule. */
    number += number / (SIM_VISITOR_GOALS * SIM_VISITOR_ACTS);
    event->b = (unsigned int)(number % SIM_VISITOR_GOALS);
    event->c = (unsigned int)(number / SIM_VISITOR_GOALS % SIM_VISITOR_ACTS);
}

static unsigned int ambush_number(uint64_t seed, unsigned int left)
{
    return (unsigned int)seed * AMBUSHES + left;
}

/* To each state each thing, in turn. */
static void make_ambush(struct sim_schedule *schedule, unsigned int left,
                        uint64_t *state)
{
    struct sim_event *event = add_event(schedule,
                                        pick(state, schedule->config.clients),
                                        SIM_AMBUSH, pick(state, 1000), state);

    event->b = ambush_number(schedule->seed, left);
}

void sim_schedule_make(struct sim_schedule *schedule, uint64_t seed)
{
    uint64_t state = seed * 0x9e3779b97f4a7c15ull + 0x7471;
    unsigned int requests = 10 + pick(&state, 60);
    unsigned int faults = pick(&state, 14);
    unsigned int visits = VISITS;
    unsigned int ambushes = AMBUSHES;
    unsigned int moves;

    memset(schedule, 0, sizeof(*schedule));
    schedule->seed = seed;
    make_config(&schedule->config, &state);
    for (unsigned int i = 0; i < AMBUSHES; i++) {
        sim_ambush_suit(ambush_number(seed, i), &schedule->config);
    }
    moves = !schedule->config.shared && schedule->config.clients > 1;
    while (requests + faults) {
        struct sim_event *event;

        if (visits && pick(&state, 12) == 0) {
            make_visit(schedule, visits, &state);
            visits--;
        }
        if (ambushes && pick(&state, 10) == 0) {
            make_ambush(schedule, --ambushes, &state);
        }
        if (moves && pick(&state, 20) == 0) {
            make_move(schedule, &state);
            moves--;
        }
        event = &schedule->events[schedule->count++];
        event->a = pick(&state, schedule->config.clients);
        if (pick(&state, requests + faults) < requests) {
            event->kind = SIM_SUBMIT;
            make_request(event, &state);
            requests--;
        } else {
            make_fault(event, &state);
            faults--;
        }
    }
}

/* ---- Printing ---------------------------------------------------------- */

void sim_config_text(const struct sim_config *config, char *text, size_t size)
{
    static const char *const modes[] = { "direct", "window", "bounce" };
    static const char *const names[] = { "address", "name",
                                         "name with a dead address first",
                                         "name with a refusing one first" };

    snprintf(text, size,
             "%u clients%s, %u queues of %u slots, "
             "reconnect-delay %u, heartbeat %u, request-timeout %u, "
             "open-timeout %u ms, lease-time %u ms, max-silence %u ms, "
             "backend %u us, memory %u, "
             "loss 1/%u, guest-memory %s, by %s%s%s",
             config->clients, config->shared ? " sharing" : ", one at a time",
             config->queues, config->slots, config->reconnect_delay_ms,
             config->heartbeat_ms, config->request_timeout_ms,
             config->open_timeout_ms, config->lease_time_ms,
             config->max_silence_ms, config->slowest_us, config->memory,
             config->loss, modes[config->guest_memory], names[config->name],
             config->write_acks ? ", write-acks" : "",
             config->authenticate ? ", authenticated" : "");
}

static const char *op_name(unsigned int op)
{
    switch (op) {
    case RDISK_OP_READ:
        return "reads";
    case RDISK_OP_WRITE:
        return "writes";
    case RDISK_OP_ZEROES:
        return "zeroes";
    case RDISK_OP_DISCARD:
        return "discards";
    case RDISK_OP_EXTENTS:
        return "maps";
    case RDISK_OP_COPY:
        return "copies to";
    default:
        return "flushes";
    }
}

void sim_event_text(const struct sim_event *event, char *text, size_t size)
{
    static const char *const names[SIM_KINDS] = {
        [SIM_SUBMIT] = "request",
        [SIM_CUT] = "link is cut",
        [SIM_MEND] = "link is mended",
        [SIM_AWAY] = "link is cut, and the server knows",
        [SIM_NO_LINK] = "an end has no link",
        [SIM_LINK] = "it has one",
        [SIM_DELAY] = "link is slow",
        [SIM_LOSS] = "packets are lost",
        [SIM_BREAK] = "a queue pair breaks",
        [SIM_CUT_QP] = "a queue pair hears nothing",
        [SIM_LOSE_ACKS] = "acknowledgements for a queue pair are lost",
        [SIM_KILL] = "server is killed",
        [SIM_POWER] = "server's power fails",
        [SIM_STOP] = "server is told to stop",
        [SIM_DRAIN] = "server is drained",
        [SIM_RESUME] = "server resumes",
        [SIM_START] = "server starts",
        [SIM_REMOVE] = "device is removed",
        [SIM_RESTORE] = "device is back",
        [SIM_FAIL] = "a call will fail",
        [SIM_STALL] = "threads stall",
        [SIM_STALL_SERVER] = "server stalls",
        [SIM_SLOW] = "backend's speed changes",
        [SIM_ERRORS] = "backend's error rate changes",
        [SIM_CANCEL] = "cancels",
        [SIM_CLOSE] = "closes",
        [SIM_CRASH] = "crashes",
        [SIM_REPLAY] = "an old OPEN arrives",
        [SIM_NAME] = "resolver changes",
        [SIM_RESIZE] = "makes the volume larger",
        [SIM_VISIT] = "a visitor comes",
    };

    if (event->kind == SIM_AMBUSH) {
        char what[100];

        sim_ambush_text(event->b, what, sizeof(what));
        snprintf(text, size, "client %u: %s", event->a, what);
        return;
    }
    if (event->kind == SIM_SUBMIT) {
        snprintf(text, size, "client %u %s blocks %u…%u, how %#x", event->a,
                 op_name(event->b), event->c, event->c + event->d - 1,
                 event->e);
    } else {
        snprintf(text, size, "client %u: %s (%u %u %u)", event->a,
                 names[event->kind], event->b, event->c, event->d);
    }
}

void sim_schedule_print(const struct sim_schedule *schedule, FILE *file)
{
    char text[320];

    sim_config_text(&schedule->config, text, sizeof(text));
    fprintf(file, "seed %llu: %s\n", (unsigned long long)schedule->seed, text);
    for (unsigned int i = 0; i < schedule->count; i++) {
        const struct sim_event *event = &schedule->events[i];

        sim_event_text(event, text, sizeof(text));
        fprintf(file, "  %2u steps, %4u ms, then %s\n", event->steps,
                event->wait_ms, text);
    }
}
