/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/pump.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "common/container_of.h"

#define TICK_MS 100
#define PAGE    4096

static void fail(struct pump *pump, int result)
{
    if (pump->result == 0) {
        pump->result = result;
        pump->remote->error = pump->error;
    }
}

static void idle(struct pump *pump, struct pump_slot *slot)
{
    slot->next = pump->idle;
    pump->idle = slot;
}

static void submit(struct pump *pump, struct pump_slot *slot);

static void completed(struct rdisk_request *request, int result)
{
    struct pump_slot *slot = container_of(request, struct pump_slot, request);
    struct pump *pump = slot->pump;

    pump->in_flight--;
    if (result == -EOPNOTSUPP && request->op == RDISK_OP_ZEROES &&
        pump->no_zeroes) {
        pump->no_zeroes(pump);
        request->op = RDISK_OP_WRITE;
        submit(pump, slot);
        return;
    }
    if (result == 0) {
        result = pump->done(pump, slot);
    }
    if (result < 0) {
        fail(pump, result);
    }
    idle(pump, slot);
}

static void submit(struct pump *pump, struct pump_slot *slot)
{
    struct rdisk_queue *queue = rdisk_initiator_queue(pump->remote->session, 0);
    struct rdisk_request *request = &slot->request;
    bool payload = request->op == RDISK_OP_READ ||
                   request->op == RDISK_OP_WRITE;
    int result;

    slot->iov.iov_len = request->length;
    request->iov = payload ? &slot->iov : NULL;
    request->iovcnt = payload;
    request->complete = completed;
    slot->began = rdisk_now(&rdisk_env_system);
    result = rdisk_queue_submit(queue, request);
    if (result < 0) {
        fail(pump, result);
        idle(pump, slot);
        return;
    }
    pump->in_flight++;
}

static void fill(struct pump *pump, struct rdisk_queue *queue)
{
    while (pump->idle && !pump->exhausted && pump->result == 0) {
        struct pump_slot *slot = pump->idle;
        int result;

        slot->request = (struct rdisk_request) { 0 };
        result = pump->next(pump, slot);
        if (result < 0) {
            fail(pump, result);
        } else if (result == 0) {
            pump->exhausted = true;
        } else {
            pump->idle = slot->next;
            submit(pump, slot);
        }
    }
    rdisk_queue_kick(queue);
}

/* The library ends each request within its own time limits. */
static void wait_for_some(struct pump *pump, struct rdisk_queue *queue)
{
    struct rdisk_initiator *session = pump->remote->session;
    struct pollfd fds[] = {
        { .fd = rdisk_queue_fd(queue), .events = POLLIN },
        { .fd = rdisk_initiator_fd(session), .events = POLLIN },
    };

    if (rdisk_queue_process(queue)) {
        return;
    }
    poll(fds, 2, TICK_MS);
    rdisk_queue_process(queue);
    if (fds[1].revents) {
        rdisk_initiator_process(session);
    }
}

static void run(struct pump *pump)
{
    struct rdisk_queue *queue = rdisk_initiator_queue(pump->remote->session, 0);
    uint64_t tick = rdisk_now(&rdisk_env_system);

    for (;;) {
        uint64_t now;

        fill(pump, queue);
        if (!pump->in_flight) {
            return;
        }
        wait_for_some(pump, queue);
        now = rdisk_now(&rdisk_env_system);
        if (now < tick + TICK_MS * RDISK_MSEC) {
            continue;
        }
        tick = now;
        /* A queue that always has something to do must not keep the session
         * from its heartbeats. */
        rdisk_initiator_process(pump->remote->session);
        if (pump->tick) {
            pump->tick(pump);
        }
    }
}

static int prepare(struct pump *pump)
{
    size_t size = (size_t)pump->depth * pump->block;

    pump->slots = calloc(pump->depth, sizeof(*pump->slots));
    if (!pump->slots || posix_memalign((void **)&pump->memory, PAGE, size)) {
        free(pump->slots);
        return rdisk_error_set(&pump->remote->error, -ENOMEM,
                               "no memory for %u requests of %u bytes",
                               pump->depth, pump->block);
    }
    memset(pump->memory, 0, size);
    for (unsigned int i = 0; i < pump->depth; i++) {
        struct pump_slot *slot = &pump->slots[i];

        slot->pump = pump;
        slot->iov.iov_base = pump->memory + (size_t)i * pump->block;
        idle(pump, slot);
    }
    return 0;
}

int pump_run(struct pump *pump)
{
    struct rdisk_initiator *session = pump->remote->session;
    size_t size = (size_t)pump->depth * pump->block;
    struct rdisk_error err;
    bool registered;
    int result = prepare(pump);

    if (result < 0) {
        return result;
    }
    /* Without it requests are copied, and work all the same. */
    registered = rdisk_initiator_register(session, pump->memory, size, &err) ==
                 0;
    run(pump);
    if (registered) {
        rdisk_initiator_unregister(session, pump->memory, size);
    }
    free(pump->memory);
    free(pump->slots);
    return pump->result;
}

/* ---- One request ------------------------------------------------------- */

static int flush_once(struct pump *pump, struct pump_slot *slot)
{
    slot->request.op = RDISK_OP_FLUSH;
    pump->exhausted = true;
    return 1;
}

static int flushed(struct pump *pump, struct pump_slot *slot)
{
    return 0;
}

int pump_flush(struct remote *remote)
{
    struct pump pump = {
        .remote = remote,
        .depth = 1,
        .block = PAGE,
        .next = flush_once,
        .done = flushed,
    };

    return pump_run(&pump);
}
