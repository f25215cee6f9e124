/* SPDX-License-Identifier: BSD-3-Clause */
/* The server's backend, which takes its time and may fail. */
#include <string.h>

#include "tests/sim/sim.h"

static void read_blocks(struct sim *sim, const struct sim_op *op)
{
    uint64_t *old = sim->server.old;

    for (unsigned int i = 0; i < op->count; i++) {
        unsigned int block = op->block + i;
        uint8_t *data = (uint8_t *)op->request->data + (size_t)i * SIM_BLOCK;

        sim_block_fill(data, sim_disk_read(&sim->disk, block));
        if (sim_mutated(sim, SIM_MUTATE_STALE_READ)) {
            if (old[block] && sim_random(sim, 2)) {
                sim_block_fill(data, old[block]);
            }
            sim_block_read(data, &old[block]);
        } else if (sim_mutated(sim, SIM_MUTATE_TORN_WRITE) && old[block]) {
            memcpy(data, &old[block], sizeof(old[block]));
        }
    }
}

static void write_block(struct sim *sim, const struct sim_op *op,
                        unsigned int i, uint64_t word)
{
    unsigned int block = op->block + i;

    if (sim_mutated(sim, SIM_MUTATE_TORN_WRITE)) {
        sim->server.old[block] = sim_random(sim, 8)
                                     ? 0
                                     : sim_disk_read(&sim->disk, block);
    }
    sim_disk_write(&sim->disk, block, word,
                   op->flags & RDISK_REQUEST_FUA &&
                       !sim_mutated(sim, SIM_MUTATE_NO_FUA));
}

/* A discarded block may keep its bytes, lose them, or become anything. */
static uint64_t discarded(struct sim *sim, unsigned int block)
{
    switch (sim_random(sim, 3)) {
    case 0:
        return 0;
    case 1:
        return SIM_RUBBISH;
    default:
        return sim_disk_read(&sim->disk, block);
    }
}

/* @part: only some of the blocks, for the power fails or the disk does. */
static void write_blocks(struct sim *sim, const struct sim_op *op, bool part)
{
    if (op->op != RDISK_OP_WRITE) {
        sim_check_range_carried_out(&sim->checker, op->client, op->serial,
                                    op->op, op->block, op->count);
    }
    for (unsigned int i = 0; i < op->count; i++) {
        uint64_t word = op->words[i];

        if (op->op == RDISK_OP_WRITE) {
            if (op->request && !sim_block_read((uint8_t *)op->request->data +
                                                   (size_t)i * SIM_BLOCK,
                                               &word)) {
                sim_violation("a payload for block %u arrived torn",
                              op->block + i);
            }
            sim_check_carried_out(&sim->checker, op->client, op->serial,
                                  op->block + i, word);
        } else {
            word = op->op == RDISK_OP_ZEROES ? 0
                   : op->op == RDISK_OP_COPY ? SIM_COPIED
                                             : discarded(sim, op->block + i);
        }
        if (!part || sim_random(sim, 2)) {
            write_block(sim, op, i, word);
        }
    }
}

static void carry_out(struct sim *sim, const struct sim_op *op, bool part)
{
    switch (op->op) {
    case RDISK_OP_READ:
        read_blocks(sim, op);
        break;
    case RDISK_OP_EXTENTS:
        sim_server_tell_extents(sim, op);
        break;
    case RDISK_OP_FLUSH:
        if (!part && !sim_mutated(sim, SIM_MUTATE_NO_FLUSH)) {
            sim_disk_flush(&sim->disk);
            sim_check_flushed(&sim->checker);
        }
        break;
    default:
        write_blocks(sim, op, part);
        break;
    }
}

/* The answer of a request that was carried out, or could not be. */
static void answer(struct sim_op *op, enum rdisk_status status)
{
    if (op->request) {
        rdisk_target_complete(op->request, status);
        op->queue->answers = true;
    }
    if (op->turn) {
        sim_turns_ended(op->queue->sim, op->turn);
    }
}

/* The end of the turn. */
static void send_answers(struct sim_server *server)
{
    for (unsigned int i = 0; i < SIM_QUEUES; i++) {
        if (server->queues[i].answers) {
            server->queues[i].answers = false;
            /* May end the queue. */
            rdisk_target_queue_kick(server->queues[i].queue);
        }
    }
}

static void take(struct sim_server *server, unsigned int index,
                 struct sim_op *op)
{
    *op = server->ops[index];
    server->ops[index] = server->ops[--server->op_count];
}

/* Something that is due, in no order. */
static bool carry_out_one(struct sim *sim)
{
    struct sim_server *server = &sim->server;
    uint64_t now = sim_now(sim);
    unsigned int first;

    if (!server->op_count) {
        return false;
    }
    first = (unsigned int)sim_random(sim, server->op_count);
    for (unsigned int i = 0; i < server->op_count; i++) {
        unsigned int index = (first + i) % server->op_count;
        struct sim_op op;
        bool fails;

        if (server->ops[index].due > now) {
            continue;
        }
        take(server, index, &op);
        fails = server->errors && sim_random(sim, server->errors) == 0;
        carry_out(sim, &op, fails);
        answer(&op, fails ? RDISK_STATUS_IO_ERROR : RDISK_STATUS_OK);
        return true;
    }
    return false;
}

bool sim_backend_life(struct sim *sim)
{
    bool any = sim_turns_life(sim) || carry_out_one(sim);

    /* Often several requests are done in one turn. */
    while (sim_random(sim, 4) && carry_out_one(sim)) {
    }
    send_answers(&sim->server);
    return any;
}

void sim_backend_request(void *queue_user, struct rdisk_target_request *request)
{
    struct sim_queue *queue = queue_user;
    struct sim *sim = queue->sim;

    if (sim->server.dead) {
        rdisk_target_complete(request, RDISK_STATUS_IO_ERROR);
        return;
    }
    if (queue->holder->reader) {
        sim_reader_request(sim, request);
        return;
    }
    if (sim_mutated(sim, SIM_MUTATE_LOST_REQUEST) && sim_random(sim, 40) == 0) {
        return;
    }
    if (request->op == RDISK_OP_COPY &&
        request->source != SIM_BLOCKS * SIM_BLOCK) {
        sim_violation("a copy from byte %llu, which no client requested",
                      (unsigned long long)request->source);
    }
    if (request->offset + request->length >
        (queue->holder->visitor ? SIM_BLOCK : sim->size)) {
        sim_violation("a request for %llu bytes at %llu, beyond the volume's "
                      "end, reaches the backend",
                      (unsigned long long)request->length,
                      (unsigned long long)request->offset);
    }
    sim_turns_arrive(queue, request);
}

static void copy_words(const struct sim_op *op,
                       const struct rdisk_target_request *request,
                       uint64_t *words)
{
    for (unsigned int i = 0; i < op->count; i++) {
        sim_block_read((uint8_t *)request->data + (size_t)i * SIM_BLOCK,
                       &words[i]);
    }
}

static struct sim_op *add_op(struct sim_queue *queue,
                             struct rdisk_target_request *request)
{
    struct sim *sim = queue->sim;
    struct sim_server *server = &sim->server;
    struct sim_op *op = &server->ops[server->op_count];

    if (server->op_count == SIM_OPS) {
        sim_violation("more requests than slots");
    }
    *op = (struct sim_op) {
        .request = request,
        .queue = queue,
        .op = request->op,
        .client = queue->holder->client,
        .serial = queue->holder->serial,
        .flags = request->flags,
        .block = (unsigned int)(request->offset / SIM_BLOCK),
        .count = request->length / SIM_BLOCK,
        .due = sim_now(sim) + sim_random(sim, server->slowest + 1),
    };
    server->op_count++;
    return op;
}

void sim_backend_start(struct sim_queue *queue,
                       struct rdisk_target_request *request,
                       struct sim_turn *turn)
{
    struct sim_op *op = add_op(queue, request);

    op->turn = turn;
    if (sim_mutated(queue->sim, SIM_MUTATE_EARLY_ANSWER) &&
        op->op == RDISK_OP_WRITE) {
        copy_words(op, request, op->words);
        op->request = NULL;
        op->turn = NULL;
        rdisk_target_complete(request, RDISK_STATUS_OK);
        sim_turns_ended(queue->sim, turn);
    }
}

void sim_backend_ghost(struct sim_queue *queue,
                       struct rdisk_target_request *request)
{
    struct sim_op *op = add_op(queue, request);

    copy_words(op, request, op->words);
    op->request = NULL;
    op->due += 1000 * RDISK_MSEC;
}

/* What was in flight may have been carried out, in part, or not. */
void sim_backend_die(struct sim *sim)
{
    struct sim_server *server = &sim->server;

    while (server->op_count) {
        struct sim_op op;

        take(server, 0, &op);
        if (op.request && sim_random(sim, 2)) {
            carry_out(sim, &op, true);
        }
        answer(&op, RDISK_STATUS_IO_ERROR);
    }
    sim_turns_die(sim);
}
