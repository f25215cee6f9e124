/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Clients: each a host with a program that opens sessions, uses them, and
 * opens another one when one has failed.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/sim.h"

#define REQUESTS (SIM_EVENTS + SIM_BLOCKS)

/* No cell is used twice in a run, so that whatever comes late is seen. */
static uint8_t arenas[SIM_CLIENTS][2][REQUESTS * SIM_CELL]
    __attribute__((aligned(4096)));

/* Bits of a request's "how". */
#define HOW_REGISTERED(how) ((how)&1)
#define HOW_PIECES(how)     (((how) >> 1 & 3) + 1)
#define HOW_FUA(how)        ((how) >> 3 & 1)
#define HOW_QUEUE(how)      ((how) >> 4 & 3)
#define HOW_KICK(how)       ((how) >> 6 & 1)
#define HOW_UNMAP(how)      ((how) >> 7 & 1)
#define HOW_JITTER(how)     ((how) >> 8 & 63)
#define HOW_REVERSED(how)   ((how) >> 15 & 1)

/* ---- Bytes ------------------------------------------------------------- */

void sim_block_fill(void *data, uint64_t word)
{
    for (unsigned int i = 0; i < SIM_BLOCK; i += sizeof(word)) {
        memcpy((uint8_t *)data + i, &word, sizeof(word));
    }
}

bool sim_block_read(const void *data, uint64_t *word)
{
    memcpy(word, data, sizeof(*word));
    return !memcmp(data, (const uint8_t *)data + sizeof(*word),
                   SIM_BLOCK - sizeof(*word));
}

/* Cut the cell into pieces, at any byte, in this order or the other. */
static unsigned int make_pieces(struct sim_request *request, unsigned int how)
{
    size_t length = (size_t)request->count * SIM_BLOCK;
    unsigned int n = HOW_PIECES(how);
    uint8_t *place = request->buffer;
    size_t ends[SIM_PIECES];

    for (unsigned int i = 0; i < n; i++) {
        ends[i] = i + 1 == n ? length : length * (i + 1) / n - HOW_JITTER(how);
    }
    for (unsigned int i = 0; i < n; i++) {
        unsigned int piece = HOW_REVERSED(how) ? n - 1 - i : i;
        size_t size = ends[piece] - (piece ? ends[piece - 1] : 0);

        request->iov[piece] = (struct iovec) {
            .iov_base = place,
            .iov_len = size,
        };
        place += size;
    }
    return n;
}

static void gather(const struct sim_request *request, uint8_t *flat)
{
    for (unsigned int i = 0; i < request->request.iovcnt; i++) {
        memcpy(flat, request->iov[i].iov_base, request->iov[i].iov_len);
        flat += request->iov[i].iov_len;
    }
}

static void scatter(const struct sim_request *request, const uint8_t *flat)
{
    for (unsigned int i = 0; i < request->request.iovcnt; i++) {
        memcpy(request->iov[i].iov_base, flat, request->iov[i].iov_len);
        flat += request->iov[i].iov_len;
    }
}

static void fill_payload(const struct sim_request *request)
{
    uint8_t flat[SIM_RUN * SIM_BLOCK];

    for (unsigned int i = 0; i < request->count; i++) {
        sim_block_fill(flat + (size_t)i * SIM_BLOCK,
                       sim_word(&request->client->sim->checker, request->write,
                                request->block + i));
    }
    scatter(request, flat);
}

static void poison(const struct sim_request *request)
{
    for (unsigned int i = 0; i < SIM_CELL; i += SIM_BLOCK) {
        sim_block_fill(request->buffer + i, SIM_POISON);
    }
}

/* ---- The end of a request ---------------------------------------------- */

/* Mutations of a flush that fails for no other reason than a lost cache. */
static bool keeps_quiet(const struct sim_request *request, int result)
{
    const struct sim *sim = request->client->sim;

    if (request->request.op != RDISK_OP_FLUSH || result != -EIO ||
        sim->server.errors || request->client->state != RDISK_INITIATOR_READY) {
        return false;
    }
    return (sim->mutation == SIM_MUTATE_ONE_QUEUE_REPORTS && request->queue) ||
           (sim->mutation == SIM_MUTATE_LATE_FLUSH_SUCCEEDS &&
            request->submitted < sim->checker.power_failed);
}

/* Is a write over when its sends are acknowledged, and not before? */
static bool awaits_acks(const struct sim_client *client)
{
    const struct sim_config *config = &client->sim->schedule->config;

    return config->write_acks ||
           config->guest_memory != RDISK_GUEST_MEMORY_DIRECT;
}

/* Its memory is the application's again: nobody else may write to it. */
static void check_closed(const struct sim_request *request)
{
    const struct sim_client *client = request->client;

    if (awaits_acks(client) &&
        fake_host_sends(client->host, request->buffer, SIM_CELL)) {
        sim_violation("late DMA: request %u of client %u has ended, but its "
                      "memory may still be sent",
                      (unsigned int)(request - client->requests),
                      client->index);
    }
    if (client->sim->schedule->config.guest_memory !=
            RDISK_GUEST_MEMORY_DIRECT &&
        fake_host_exposes(client->host, request->buffer, SIM_CELL)) {
        sim_violation("late DMA: request %u of client %u has ended, but its "
                      "memory is still open to writes",
                      (unsigned int)(request - client->requests),
                      client->index);
    }
}

static void finish(struct sim_request *request, int result)
{
    struct sim_client *client = request->client;
    struct sim_checker *checker = &client->sim->checker;
    uint8_t flat[SIM_RUN * SIM_BLOCK];

    if (keeps_quiet(request, result)) {
        result = 0;
    }
    sim_log(client->sim, "client %u: request %u ends: %s", client->index,
            (unsigned int)(request - client->requests),
            result ? strerror(-result) : "well");
    request->pending = false;
    client->outstanding--;
    check_closed(request);
    if (request->write) {
        sim_check_write_end(checker, request->write, result == 0);
    } else if (request->request.op == RDISK_OP_FLUSH) {
        sim_check_flush_end(checker, request->submitted, client->index,
                            request->serial, result == 0);
    } else if (result == 0 && request->request.op == RDISK_OP_EXTENTS) {
        sim_check_extents(request);
    } else if (result == 0) {
        gather(request, flat);
        sim_check_read_end(checker, request->submitted, request->block,
                           request->count, flat);
    }
    if (client->sim->mutation != SIM_MUTATE_RESEND_FAILED || !result) {
        poison(request);
    }
}

static void complete(struct rdisk_request *opaque, int result)
{
    struct sim_request *request = (struct sim_request *)opaque;
    struct sim *sim = request->client->sim;

    if (request->given_up) {
        request->given_up = false;
        return;
    }
    if (!request->pending) {
        sim_violation("request %u of client %u is completed twice",
                      (unsigned int)(request - request->client->requests),
                      request->client->index);
    }
    finish(request, result);
    if (sim->mutation == SIM_MUTATE_DOUBLE_COMPLETION &&
        sim_random(sim, 16) == 0) {
        complete(opaque, result);
    }
}

/* ---- Submission -------------------------------------------------------- */

static unsigned int flags_of(enum rdisk_op op, unsigned int how)
{
    switch (op) {
    case RDISK_OP_WRITE:
    case RDISK_OP_COPY:
        return HOW_FUA(how) ? RDISK_REQUEST_FUA : 0;
    case RDISK_OP_ZEROES:
        return (HOW_FUA(how) ? RDISK_REQUEST_FUA : 0) |
               (HOW_UNMAP(how) ? RDISK_REQUEST_UNMAP : 0);
    default:
        return 0;
    }
}

/* Tell the checker, then the queue. */
static void announce(struct sim_request *request, unsigned int flags)
{
    struct sim_client *client = request->client;
    struct sim_checker *checker = &client->sim->checker;
    enum rdisk_op op = request->request.op;

    if (rdisk_op_has_segments(op) || op == RDISK_OP_FLUSH) {
        request->submitted = sim_check_submit(checker);
        return;
    }
    request->write = sim_check_write(checker, client->index, client->serial, op,
                                     request->block, request->count,
                                     flags & RDISK_REQUEST_FUA);
    if (op == RDISK_OP_WRITE) {
        fill_payload(request);
    }
}

static void submit(struct sim_client *client, enum rdisk_op op,
                   unsigned int block, unsigned int count, unsigned int how)
{
    unsigned int queues = rdisk_initiator_info(client->session)->queues;
    unsigned int number = client->request_count++;
    struct sim_request *request = &client->requests[number];
    bool range = op == RDISK_OP_FLUSH || rdisk_op_is_range(op);
    int ret;

    *request = (struct sim_request) {
        .client = client,
        .block = block,
        .count = count,
        .buffer = client->cells[HOW_REGISTERED(how)] +
                  (size_t)number * SIM_CELL,
        .serial = client->serial,
        .queue = HOW_QUEUE(how) % queues,
    };
    request->request = (struct rdisk_request) {
        .op = op,
        .flags = flags_of(op, how),
        .complete = complete,
        .source = op == RDISK_OP_COPY ? SIM_BLOCKS * SIM_BLOCK : 0,
        .extents = request->extents,
        .extent_count = 1 + how % SIM_RUN,
    };
    poison(request);
    if (!range) {
        request->request.iov = request->iov;
        request->request.iovcnt = make_pieces(request, how);
    }
    if (op != RDISK_OP_FLUSH) {
        request->request.offset = (uint64_t)block * SIM_BLOCK;
        request->request.length = count * SIM_BLOCK;
    }
    announce(request, request->request.flags);
    request->pending = true;
    client->outstanding++;
    ret = rdisk_queue_submit(rdisk_initiator_queue(client->session,
                                                   request->queue),
                             &request->request);
    sim_log(client->sim, "client %u: request %u%s%s%s", client->index, number,
            request->write ? " is a write" : "", ret ? " is refused: " : "",
            ret ? strerror(-ret) : "");
    if (ret < 0) {
        if (ret != -ENOTCONN) {
            sim_violation("a good request is refused: %s", strerror(-ret));
        }
        request->pending = false;
        client->outstanding--;
        if (request->write) {
            sim_check_refused(&client->sim->checker, request->write);
        }
    }
}

void sim_client_kick(struct sim_client *client)
{
    struct rdisk_queue *queue;

    for (unsigned int i = 0;
         client->session && client->opened &&
         (queue = rdisk_initiator_queue(client->session, i));
         i++) {
        rdisk_queue_kick(queue);
    }
}

void sim_client_submit(struct sim_client *client, enum rdisk_op op,
                       unsigned int block, unsigned int count, unsigned int how)
{
    if (!client->session || !client->opened || client->want_close ||
        client->crashed || client->state == RDISK_INITIATOR_CLOSING ||
        rdisk_initiator_state_ended(client->state) ||
        sim_client_stalled(client, 1)) {
        return;
    }
    submit(client, op, block, count, how);
    if (HOW_KICK(how)) {
        sim_client_kick(client);
    }
}

/* ---- A remote write into a client's memory ------------------------------ */

void sim_client_observe(struct sim_client *client,
                        const struct fake_write *write)
{
    for (unsigned int i = 0; i < 2; i++) {
        uintptr_t offset = (uintptr_t)write->address -
                           (uintptr_t)client->cells[i];
        const struct sim_request *request;

        if (offset >= REQUESTS * SIM_CELL) {
            continue;
        }
        request = &client->requests[offset / SIM_CELL];
        if (!i || offset / SIM_CELL >= client->request_count ||
            request->request.op != RDISK_OP_READ ||
            offset % SIM_CELL + write->length >
                (size_t)request->count * SIM_BLOCK) {
            sim_violation("%zu bytes arrive in memory of client %u that no "
                          "read has named",
                          write->length, client->index);
        }
        if (!request->pending) {
            sim_violation("late DMA: %zu bytes arrive for request %u of "
                          "client %u, which has ended",
                          write->length,
                          (unsigned int)(request - client->requests),
                          client->index);
        }
    }
}

/* ---- Memory that is sent again, and has changed since it was sent -------- */

/*
 * Headers may have: the server has the request, and discards them. They are
 * shorter than a block. Payload may have where it is the application's and
 * nothing else was asked for; bounce memory never.
 */
void sim_client_observe_resend(struct sim_client *client,
                               const struct fake_resend *resend)
{
    bool own = false;

    for (unsigned int i = 0; i < 2; i++) {
        own |= (uintptr_t)resend->address - (uintptr_t)client->cells[i] <
               REQUESTS * SIM_CELL;
    }
    if (own ? awaits_acks(client) : resend->length >= SIM_BLOCK) {
        sim_violation("late source: %zu bytes of %s memory of client %u are "
                      "sent again, and hold something else by now",
                      resend->length, own ? "the application's" : "bounce",
                      client->index);
    }
}

/* ---- Sessions ---------------------------------------------------------- */

/* Mutations of what happens when a connection breaks or is back. */
static void mutate_state(struct sim_client *client)
{
    enum sim_mutation mutation = client->sim->mutation;

    for (unsigned int i = 0; i < client->request_count; i++) {
        struct sim_request *request = &client->requests[i];

        if (mutation == SIM_MUTATE_LATE_DMA && request->pending &&
            (client->state == RDISK_INITIATOR_QUIESCING ||
             client->state == RDISK_INITIATOR_FAILED)) {
            finish(request, -EIO);
            request->given_up = true;
        }
    }
}

static void state_changed(void *opaque, enum rdisk_initiator_state state)
{
    struct sim_client *client = opaque;

    sim_log(client->sim, "client %u: session %u is %s", client->index,
            client->serial, rdisk_initiator_state_name(state));
    if (rdisk_initiator_state_ended(client->state)) {
        sim_violation("an ended session of client %u goes on", client->index);
    }
    client->state = state;
    if (state == RDISK_INITIATOR_READY) {
        client->opened = true;
        /* The server has fenced and drained what was before. */
        sim_check_settled(&client->sim->checker, client->index, client->serial);
    }
    mutate_state(client);
}

static void start(struct sim_client *client)
{
    static const struct rdisk_initiator_events events = {
        .state = state_changed,
        .volume_changed = sim_client_told,
    };
    const struct sim_config *config = &client->sim->schedule->config;
    struct rdisk_initiator_options options;
    struct rdisk_error err = { 0 };
    struct rdisk_secret secret;

    rdisk_initiator_options_init(&options);
    if (config->authenticate) {
        sim_secret(&secret);
        options.user = SIM_USER;
        options.secret = &secret;
    }
    options.host = config->name ? SIM_HOST : "10.0.0.1";
    options.port = SIM_PORT;
    options.volume = client->creates ? "new" : "vol";
    options.shared = config->shared;
    options.queues = config->queues;
    options.slots = config->slots;
    options.slot_size = SIM_RUN * SIM_BLOCK;
    options.bounce_size = 64 << 10;
    options.guest_memory = config->guest_memory;
    options.write_acks = config->write_acks;
    options.reconnect_delay_ms = config->reconnect_delay_ms;
    options.heartbeat_ms = config->heartbeat_ms;
    options.request_timeout_ms = config->request_timeout_ms;
    options.open_timeout_ms = config->open_timeout_ms;
    options.withheld_features = sim_withheld(client->sim);
    client->serial++;
    client->state = RDISK_INITIATOR_IDLE;
    client->opened = client->register_tried = client->registered = false;
    client->session = rdisk_initiator_create(&client->env, &options, &events,
                                             client, &err);
    if (!client->session) {
        sim_violation("no session: %s", err.text);
    }
    if (client->creates) {
        rdisk_initiator_make(client->session, SIM_BLOCK, 0);
        client->creates = false;
    }
    rdisk_initiator_start(client->session, &err);
}

static void drop(struct sim_client *client)
{
    struct sim *sim = client->sim;

    if (client->state == RDISK_INITIATOR_FAILED) {
        sim_log(sim, "client %u: session %u has failed: %s", client->index,
                client->serial, rdisk_initiator_error(client->session)->text);
    }
    if (client->registered) {
        rdisk_initiator_unregister(client->session, client->cells[1],
                                   REQUESTS * SIM_CELL);
    }
    /* The end of a program tells the other side, whatever that does to a
     * device without a link. */
    fake_host_link(client->host, true);
    rdisk_initiator_destroy(client->session);
    client->session = NULL;
    client->want_close = client->closing = false;
    client->reopen_at = sim_now(sim) + (50 + sim_random(sim, 500)) * RDISK_MSEC;
    if (!sim_server_holds(sim, client->index, client->serial)) {
        sim_check_settled(&sim->checker, client->index, client->serial);
    }
    if (client->crashed) {
        fake_host_start(client->host);
        client->crashed = false;
    }
}

void sim_client_crash(struct sim_client *client, enum fake_death death)
{
    if (!client->session || client->crashed || client->removed) {
        return;
    }
    fake_host_link(client->host, true);
    fake_host_kill(client->host, death);
    client->crashed = true;
    client->stalled_until[0] = client->stalled_until[1] = 0;
}

/* A write that has failed goes out again: a mutation. */
static bool resend(struct sim_client *client)
{
    for (unsigned int i = 0; i < client->request_count; i++) {
        struct sim_request *request = &client->requests[i];
        const struct sim_write *write =
            &client->sim->checker.writes[request->write];

        if (request->write && !request->pending && !request->given_up &&
            request->serial == client->serial && !write->succeeded &&
            write->op == RDISK_OP_WRITE && write->answered != SIM_NEVER &&
            rdisk_queue_submit(rdisk_initiator_queue(client->session, 0),
                               &request->request) == 0) {
            request->given_up = true;
            request->write = 0;
            return true;
        }
    }
    return false;
}

static bool end_session(struct sim_client *client)
{
    switch (client->state) {
    case RDISK_INITIATOR_CLOSED:
        sim_check_given_back(client->sim, client->index, client->serial,
                             rdisk_initiator_info(client->session)->generation);
        drop(client);
        return true;
    case RDISK_INITIATOR_FAILED:
        drop(client);
        return true;
    case RDISK_INITIATOR_CLOSING:
        return false;
    case RDISK_INITIATOR_READY:
        if (client->want_close) {
            client->closing = true;
            rdisk_initiator_close(client->session);
        }
        return client->want_close;
    default:
        if (client->want_close && !client->closing) {
            drop(client);
            return true;
        }
        return false;
    }
}

bool sim_client_life(struct sim_client *client)
{
    if (client->sim->mutation == SIM_MUTATE_LATE_DMA && sim_mutate_catch_up()) {
        return true;
    }
    if (sim_ambush_life(client)) {
        return true;
    }
    if (!client->session) {
        if (client->stay_away || sim_now(client->sim) < client->reopen_at) {
            return false;
        }
        start(client);
        return true;
    }
    if (client->crashed) {
        if (client->outstanding) {
            rdisk_initiator_cancel(client->session);
            return false;
        }
        drop(client);
        return true;
    }
    if (sim_client_stalled(client, 0)) {
        return false;
    }
    if (client->state == RDISK_INITIATOR_READY && !client->register_tried) {
        client->register_tried = true;
        client->registered = rdisk_initiator_register(client->session,
                                                      client->cells[1],
                                                      REQUESTS * SIM_CELL,
                                                      NULL) == 0;
    }
    if (client->sim->mutation == SIM_MUTATE_RESEND_FAILED &&
        client->state == RDISK_INITIATOR_READY && resend(client)) {
        return true;
    }
    return !client->outstanding && end_session(client);
}

uint64_t sim_client_due(const struct sim_client *client)
{
    uint64_t now = sim_now(client->sim);
    uint64_t due = SIM_NEVER;

    due = sim_ambush_due(client);
    if (!client->session) {
        return client->stay_away ? due : sim_least(due, client->reopen_at);
    }
    for (unsigned int i = 0; i < 2; i++) {
        if (client->stalled_until[i] > now) {
            due = sim_least(due, client->stalled_until[i]);
        }
    }
    return client->stalled_until[0] > now
               ? due
               : sim_least(due, rdisk_initiator_deadline(client->session));
}

bool sim_client_stalled(const struct sim_client *client, unsigned int who)
{
    return client->stalled_until[who] > sim_now(client->sim);
}

/* ---- Beginning --------------------------------------------------------- */

static uint64_t env_now(void *opaque)
{
    struct sim_client *client = opaque;

    return sim_now(client->sim);
}

/* 16 bytes are a session's client id: the server's owner reads from them
 * whose it is. */
static void env_random(void *opaque, void *buf, size_t size)
{
    struct sim_client *client = opaque;

    client->fake.random(client->fake.opaque, buf, size);
    if (size == 16) {
        unsigned int id[2] = { client->index, client->serial };

        memcpy(buf, id, sizeof(id));
    }
}

static void env_log(void *opaque, enum rdisk_log_level level, const char *line)
{
    struct sim_client *client = opaque;

    sim_log(client->sim, "client %u: %s", client->index, line);
    /* Control messages are corrupted on purpose; answers are not. */
    if (strstr(line, "matches no request")) {
        sim_violation("client %u: %s", client->index, line);
    }
}

void sim_clients_begin(struct sim *sim)
{
    for (unsigned int i = 0; i < sim->schedule->config.clients; i++) {
        struct sim_client *client = &sim->clients[i];
        char address[32];

        snprintf(address, sizeof(address), "10.0.0.%u", 2 + i);
        client->sim = sim;
        client->index = i;
        client->cells[0] = arenas[i][0];
        client->cells[1] = arenas[i][1];
        client->host = fake_host_add(sim->fabric, address);
        fake_host_env(client->host, &client->fake);
        client->verbs = *client->fake.verbs;
        sim_mutate_client_verbs(&client->verbs, sim->mutation);
        sim_mutate_bare_client(&client->verbs, sim->mutation,
                               sim->schedule->config.slots);
        client->env = (struct rdisk_env) {
            .verbs = &client->verbs,
            .now = env_now,
            .stopwatch = env_now,
            .random = env_random,
            .log = env_log,
            .opaque = client,
        };
    }
}
