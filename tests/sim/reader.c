/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client of a resident volume, most of whose reads the server's program does
 * not notice. The server's owner replaces that volume by another one, time
 * after time, in the same memory: after the sessions that have it have ended.
 * So a read that succeeds has to return the volume that its session has opened.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "tests/sim/sim.h"

#define READER_ADDRESS "10.0.0.201"
#define SIZE           (SIM_READER_BLOCKS * SIM_BLOCK)
#define RUN            4u /* blocks of a read, at most */

static uint8_t image[SIZE] __attribute__((aligned(4096)));
static uint8_t memory[SIM_READER_READS * RUN * SIM_BLOCK]
    __attribute__((aligned(4096)));

static uint64_t pick(struct sim_reader *reader, uint64_t bound)
{
    return sim_pick(&reader->random_state, bound);
}

static uint64_t in_ms(struct sim_reader *reader, unsigned int least,
                      unsigned int most)
{
    return sim_now(reader->sim) +
           (least + pick(reader, most - least)) * RDISK_MSEC;
}

/* ---- The volume ---------------------------------------------------------- */

static void replace(struct sim_reader *reader)
{
    reader->version++;
    reader->replacing = false;
    for (unsigned int i = 0; i < SIM_READER_BLOCKS; i++) {
        sim_block_fill(image + (size_t)i * SIM_BLOCK, reader->version);
    }
    sim_log(reader->sim, "server: the resident volume has version %llu",
            (unsigned long long)reader->version);
}

static bool has_sessions(const struct sim *sim)
{
    for (unsigned int i = 0; i < SIM_HOLDERS; i++) {
        if (sim->server.holders[i].reader && sim->server.holders[i].session) {
            return true;
        }
    }
    return false;
}

static void end_sessions(struct sim *sim)
{
    for (unsigned int i = 0; i < SIM_HOLDERS; i++) {
        struct sim_holder *holder = &sim->server.holders[i];

        if (holder->reader && holder->session) {
            rdisk_target_session_end(holder->session, RDISK_STATUS_BUSY,
                                     "the volume is replaced");
        }
    }
}

static bool owner_life(struct sim_reader *reader)
{
    struct sim *sim = reader->sim;
    uint64_t now = sim_now(sim);

    if (!sim->server.target || sim->server.stalled_until > now) {
        return false;
    }
    if (now >= reader->end_at) {
        reader->end_at = SIM_NEVER;
        end_sessions(sim);
        if (!has_sessions(sim) && reader->replacing) {
            replace(reader);
        }
        return true;
    }
    if (reader->calm || now < reader->replace_at) {
        return false;
    }
    reader->replace_at = in_ms(reader, 300, 3000);
    if (sim_mutated(sim, SIM_MUTATE_CHANGED_TOO_EARLY)) {
        replace(reader);
        reader->end_at = in_ms(reader, 200, 600);
    } else {
        reader->replacing = true;
        reader->end_at = now;
    }
    return true;
}

enum rdisk_status sim_reader_open(struct sim *sim, struct sim_holder *holder,
                                  struct rdisk_target_session *session,
                                  const struct rdisk_open_request *request,
                                  struct rdisk_open_grant *grant,
                                  struct rdisk_error *err)
{
    struct sim_reader *reader = &sim->reader;

    if (sim->server.drained || reader->replacing) {
        rdisk_error_set(err, -ESHUTDOWN, "the volume is being replaced");
        return RDISK_STATUS_SHUTTING_DOWN;
    }
    if (rdisk_target_session_reserve(session, err) < 0 ||
        (!session->resident &&
         rdisk_target_session_register(session, image, SIZE, err) < 0)) {
        return RDISK_STATUS_NO_RESOURCES;
    }
    holder->session = session;
    holder->reader = true;
    holder->client = SIM_CLIENTS;
    *grant = (struct rdisk_open_grant) {
        .size = SIZE,
        .block_size = SIM_BLOCK,
        .read_only = true,
        .one_sided = true,
    };
    memcpy(grant->identity, &reader->version, sizeof(reader->version));
    return RDISK_STATUS_OK;
}

void sim_reader_close(struct sim *sim, struct sim_holder *holder)
{
    memset(holder, 0, sizeof(*holder));
    if (sim->reader.replacing && !has_sessions(sim)) {
        replace(&sim->reader);
    }
}

void sim_reader_request(struct sim *sim, struct rdisk_target_request *request)
{
    if (request->op == RDISK_OP_READ) {
        rdisk_target_stored(request, image + request->offset);
    }
    rdisk_target_complete(request, RDISK_STATUS_OK);
}

/* ---- Reads ------------------------------------------------------------- */

static void check(const struct sim_read *read)
{
    const struct rdisk_volume_info *info = rdisk_initiator_info(
        read->reader->session);
    uint64_t version, word;

    memcpy(&version, info->identity, sizeof(version));
    for (size_t at = 0; at < read->request.length; at += SIM_BLOCK) {
        if (!sim_block_read(read->data + at, &word) || word != version) {
            sim_violation("the reader of version %llu of the resident volume "
                          "gets version %llu at %llu",
                          (unsigned long long)version, (unsigned long long)word,
                          (unsigned long long)(read->request.offset + at));
        }
    }
}

static void completed(struct rdisk_request *request, int result)
{
    struct sim_read *read = (struct sim_read *)request;

    if (!read->pending) {
        sim_violation("a read of the resident volume is completed twice");
    }
    read->pending = false;
    if (result == 0) {
        check(read);
    }
}

static void submit(struct sim_reader *reader, struct sim_read *read)
{
    unsigned int count = 1 + (unsigned int)pick(reader, RUN);
    unsigned int block = (unsigned int)pick(reader,
                                            SIM_READER_BLOCKS - count + 1);

    memset(read->data, 0xaa, RUN * SIM_BLOCK);
    read->iov = (struct iovec) { read->data, count * SIM_BLOCK };
    read->request = (struct rdisk_request) {
        .op = RDISK_OP_READ,
        .offset = (uint64_t)block * SIM_BLOCK,
        .length = count * SIM_BLOCK,
        .iov = &read->iov,
        .iovcnt = 1,
        .complete = completed,
    };
    read->pending = true;
    if (rdisk_queue_submit(rdisk_initiator_queue(reader->session, 0),
                           &read->request) < 0) {
        read->pending = false;
    }
}

static bool is_pending(const struct sim_reader *reader)
{
    for (unsigned int i = 0; i < SIM_READER_READS; i++) {
        if (reader->reads[i].pending) {
            return true;
        }
    }
    return false;
}

void sim_reader_observe(struct sim_reader *reader,
                        const struct fake_write *write)
{
    for (unsigned int i = 0;
         write->host == reader->host && i < SIM_READER_READS; i++) {
        const struct sim_read *read = &reader->reads[i];

        if ((uintptr_t)write->address - (uintptr_t)read->data <
                RUN * SIM_BLOCK &&
            !read->pending) {
            sim_violation("what is read arrives after its request has ended");
        }
    }
}

/* ---- The session ------------------------------------------------------- */

static void state_changed(void *opaque, enum rdisk_initiator_state state)
{
    struct sim_reader *reader = opaque;

    reader->state = state;
}

static void start(struct sim_reader *reader)
{
    static const struct rdisk_initiator_events events = {
        .state = state_changed,
    };
    struct sim *sim = reader->sim;
    struct rdisk_initiator_options options;
    struct rdisk_secret secret;
    struct rdisk_error err;

    rdisk_initiator_options_init(&options);
    if (sim->schedule->config.authenticate) {
        sim_secret(&secret);
        options.user = SIM_USER;
        options.secret = &secret;
    }
    options.host = "10.0.0.1";
    options.port = SIM_PORT;
    options.volume = SIM_READER_VOLUME;
    options.read_only = true;
    options.slots = 2;
    options.slot_size = RUN * SIM_BLOCK;
    options.bounce_size = 64 << 10;
    options.guest_memory = sim->schedule->config.guest_memory;
    options.reconnect_delay_ms = 5000;
    options.open_timeout_ms = 2000;
    options.withheld_features = pick(reader, 4) ? 0 : RDISK_FEATURE_RESIDENT;
    reader->state = RDISK_INITIATOR_IDLE;
    reader->registered = reader->closing = false;
    reader->session = rdisk_initiator_create(&reader->env, &options, &events,
                                             reader, &err);
    if (!reader->session) {
        sim_violation("no session: %s", err.text);
    }
    rdisk_initiator_start(reader->session, &err);
}

static void drop(struct sim_reader *reader)
{
    if (reader->registered) {
        rdisk_initiator_unregister(reader->session, memory, sizeof(memory));
    }
    rdisk_initiator_destroy(reader->session);
    reader->session = NULL;
    reader->open_at = in_ms(reader, 50, 500);
}

static bool has_ended(const struct sim_reader *reader)
{
    return !is_pending(reader) && (reader->state == RDISK_INITIATOR_CLOSED ||
                                   reader->state == RDISK_INITIATOR_FAILED);
}

static bool is_readable(int fd)
{
    struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

    return poll(&poll_fd, 1, 0) > 0;
}

static bool serve(struct sim_reader *reader)
{
    struct rdisk_queue *queue;
    bool moved = false;

    if (is_readable(rdisk_initiator_fd(reader->session)) ||
        rdisk_initiator_deadline(reader->session) <= sim_now(reader->sim)) {
        rdisk_initiator_process(reader->session);
        moved = true;
    }
    queue = rdisk_initiator_queue(reader->session, 0);
    if (queue && is_readable(rdisk_queue_fd(queue))) {
        rdisk_queue_process(queue);
        moved = true;
    }
    return moved;
}

static bool act(struct sim_reader *reader)
{
    if (reader->state != RDISK_INITIATOR_READY) {
        return false;
    }
    if (reader->calm) {
        if (reader->closing || is_pending(reader)) {
            return false;
        }
        reader->closing = true;
        rdisk_initiator_close(reader->session);
        return true;
    }
    if (sim_now(reader->sim) < reader->read_at) {
        return false;
    }
    reader->read_at = in_ms(reader, 20, 300);
    if (!reader->registered && pick(reader, 2)) {
        reader->registered = rdisk_initiator_register(reader->session, memory,
                                                      sizeof(memory),
                                                      NULL) == 0;
    }
    for (unsigned int i = 0; i < SIM_READER_READS; i++) {
        if (!reader->reads[i].pending) {
            submit(reader, &reader->reads[i]);
        }
    }
    rdisk_queue_kick(rdisk_initiator_queue(reader->session, 0));
    return true;
}

bool sim_reader_life(struct sim *sim)
{
    struct sim_reader *reader = &sim->reader;
    bool moved;

    if (!reader->active) {
        return false;
    }
    moved = owner_life(reader);
    if (!reader->session) {
        if (reader->calm || sim_now(sim) < reader->open_at) {
            return moved;
        }
        start(reader);
        return true;
    }
    if (has_ended(reader)) {
        drop(reader);
        return true;
    }
    moved |= serve(reader);
    return act(reader) || moved;
}

uint64_t sim_reader_due(const struct sim *sim)
{
    const struct sim_reader *reader = &sim->reader;
    uint64_t due = SIM_NEVER;

    if (!reader->active) {
        return SIM_NEVER;
    }
    if (sim->server.target &&
        sim->server.stalled_until <= sim_now((struct sim *)sim)) {
        due = sim_least(reader->calm ? SIM_NEVER : reader->replace_at,
                        reader->end_at);
    }
    if (!reader->session) {
        return reader->calm ? due : sim_least(due, reader->open_at);
    }
    if (reader->state == RDISK_INITIATOR_READY && !reader->calm) {
        due = sim_least(due, reader->read_at);
    }
    return sim_least(due, rdisk_initiator_deadline(reader->session));
}

void sim_reader_calm(struct sim *sim)
{
    sim->reader.calm = true;
    if (sim->reader.active) {
        fake_link_cut(sim->reader.host, sim->server.host, false);
    }
}

bool sim_reader_gone(const struct sim *sim)
{
    return !sim->reader.session;
}

/* Where memory is short it would take what others wait for. */
void sim_reader_begin(struct sim *sim)
{
    struct sim_reader *reader = &sim->reader;

    *reader = (struct sim_reader) {
        .sim = sim,
        .active = !sim->schedule->config.memory && sim->schedule->seed % 4 == 1,
        .random_state = sim->schedule->seed ^ 0x4ead,
        .end_at = SIM_NEVER,
    };
    if (!reader->active) {
        return;
    }
    reader->host = fake_host_add(sim->fabric, READER_ADDRESS);
    fake_host_env(reader->host, &reader->env);
    for (unsigned int i = 0; i < SIM_READER_READS; i++) {
        reader->reads[i].reader = reader;
        reader->reads[i].data = memory + (size_t)i * RUN * SIM_BLOCK;
    }
    reader->replace_at = in_ms(reader, 300, 3000);
    replace(reader);
}
