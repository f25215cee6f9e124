/* SPDX-License-Identifier: BSD-3-Clause */
/* Clients' requests: their buffers, their submission and their end. */
#include <errno.h>
#include <string.h>

#include "tests/sim/sim.h"

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

/* True if a write ends only when its sends are acknowledged. */
static bool awaits_acks(const struct sim_client *client)
{
    const struct sim_config *config = &client->sim->schedule->config;

    return config->write_acks ||
           config->guest_memory != RDISK_GUEST_MEMORY_DIRECT;
}

/* Its memory is the application's again: no device may write to it. */
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

void sim_request_end(struct sim_request *request, int result)
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
    sim_request_end(request, result);
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

/* Call the checker, then the queue. */
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

        if (offset >= SIM_CELLS) {
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
               SIM_CELLS;
    }
    if (own ? awaits_acks(client) : resend->length >= SIM_BLOCK) {
        sim_violation("late source: %zu bytes of %s memory of client %u are "
                      "sent again, and hold something else by now",
                      resend->length, own ? "the application's" : "bounce",
                      client->index);
    }
}
