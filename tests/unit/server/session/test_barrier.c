/* SPDX-License-Identifier: BSD-3-Clause */
/* A barrier between a volume's queues and its storage, at two reactors. */
#include <poll.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/server.h"
#include "server/session/attachment.h"
#include "server/session/barrier.h"
#include "server/session/queue.h"
#include "tests/unit/support/unit.h"

#define WORKERS  2
#define REQUESTS 8

static struct server server;
static struct rdisk_error err;
static struct worker workers[WORKERS];
static struct attachment *attachments[WORKERS];
static struct barrier barrier;
static unsigned int helds, releases;

/* ---- A storage that completes when it is told to ------------------------- */

static struct backend_context contexts[WORKERS];
static struct backend storage;
/* Each by its own reactor, or while that waits for on_reactor(). */
static struct backend_io ios[WORKERS][REQUESTS];
static unsigned int order[WORKERS][REQUESTS], submitted[WORKERS];
static atomic_uint completed;

static struct backend_context *join(struct backend *backend,
                                    struct reactor *reactor,
                                    struct rdisk_error *why)
{
    unsigned int i = reactor == workers[1].reactor;

    contexts[i] = (struct backend_context) { backend, reactor, false };
    return &contexts[i];
}

static void leave(struct backend_context *context)
{
}

static void submit(struct backend_context *context, struct backend_io *io)
{
    unsigned int i = context == &contexts[1];

    order[i][submitted[i]++] = io - ios[i];
}

static const struct backend_class class = {
    .name = "slow",
    .join = join,
    .leave = leave,
    .submit = submit,
};

/* ---- In a reactor's thread ----------------------------------------------- */

struct errand {
    struct message message;
    void (*fn)(unsigned int worker, unsigned int n);
    unsigned int worker, n;
    sem_t done;
};

static void errand_run(struct message *message)
{
    struct errand *errand = (struct errand *)message;

    errand->fn(errand->worker, errand->n);
    sem_post(&errand->done);
}

static void on_reactor(unsigned int worker,
                       void (*fn)(unsigned int worker, unsigned int n),
                       unsigned int n)
{
    struct errand errand = {
        .message.run = errand_run,
        .fn = fn,
        .worker = worker,
        .n = n,
    };

    sem_init(&errand.done, 0, 0);
    reactor_send(workers[worker].reactor, &errand.message);
    while (sem_wait(&errand.done) < 0) {
        /* interrupted */
    }
    sem_destroy(&errand.done);
}

static void attach(unsigned int worker, unsigned int n)
{
    attachments[worker] = attachment_get(&workers[worker], &storage);
}

static void detach(unsigned int worker, unsigned int n)
{
    attachment_put(&workers[worker], attachments[worker]);
}

static void io_completed(struct backend_io *io, int result, void *opaque)
{
    completed++;
    attachment_completed(opaque);
}

static void request(unsigned int worker, unsigned int n)
{
    struct backend_io *io = &ios[worker][n];

    *io = (struct backend_io) { .op = RDISK_OP_WRITE };
    backend_io_push(io, io_completed, attachments[worker]);
    attachment_submit(attachments[worker], io);
}

static void nothing(unsigned int worker, unsigned int n)
{
}

static void complete(unsigned int worker, unsigned int n)
{
    backend_io_complete(&ios[worker][n], 0);
}

/* ---- Outside ------------------------------------------------------------- */

static void turn(int ms)
{
    struct pollfd pfd = { .fd = server.mailbox.fd, .events = POLLIN };

    poll(&pfd, 1, ms);
    mailbox_run(&server.mailbox);
    barriers_check_time(&server, rdisk_now(&rdisk_env_system));
}

static void until(unsigned int *count, unsigned int wanted)
{
    for (unsigned int i = 0; i < 1000 && *count < wanted; i++) {
        turn(20);
    }
    CHECK_EQUAL(*count, wanted);
}

/* All that the reactors have sent has come. */
static void nothing_more(void)
{
    for (unsigned int i = 0; i < WORKERS; i++) {
        on_reactor(i, nothing, 0);
    }
    turn(0);
}

static void held(struct barrier *of)
{
    CHECK(of == &barrier);
    helds++;
}

static void released(struct barrier *of)
{
    CHECK(of == &barrier);
    releases++;
}

static void hold(uint64_t limit)
{
    helds = releases = 0;
    barrier = (struct barrier) {
        .server = &server,
        .backend = &storage,
        .limit = limit,
        .held = held,
        .released = released,
    };
    REQUIRE(barrier_begin(&barrier, &err) == 0);
}

static void begin(void)
{
    storage = (struct backend) { .class = &class };
    memset(workers, 0, sizeof(workers));
    memset(submitted, 0, sizeof(submitted));
    completed = 0;
    server = (struct server) {
        .env = &rdisk_env_system,
        .workers = workers,
        .placement.cores = WORKERS,
    };
    REQUIRE(mailbox_init(&server.mailbox) == 0);
    for (unsigned int i = 0; i < WORKERS; i++) {
        workers[i].reactor = reactor_create(i, -1, 0, &err);
        REQUIRE(workers[i].reactor != NULL);
        on_reactor(i, attach, 0);
    }
}

static void end(void)
{
    for (unsigned int i = 0; i < WORKERS; i++) {
        on_reactor(i, detach, 0);
        CHECK(workers[i].attachments == NULL);
        CHECK(workers[i].holds == NULL);
        reactor_destroy(workers[i].reactor);
    }
    CHECK(server.barriers == NULL);
    mailbox_destroy(&server.mailbox);
}

/* ---- Tests --------------------------------------------------------------- */

static void test_waits_for_storage(void)
{
    begin();
    on_reactor(0, request, 0);
    on_reactor(1, request, 0);
    hold(RDISK_NEVER / 2);
    on_reactor(0, complete, 0);
    turn(20);
    CHECK_EQUAL(helds, 0);
    on_reactor(1, complete, 0);
    until(&helds, 1);
    barrier_release(&barrier);
    until(&releases, 1);
    CHECK(!barrier.expired);
    end();
}

static void test_keeps_in_order(void)
{
    begin();
    hold(RDISK_NEVER / 2);
    until(&helds, 1);
    for (unsigned int i = 0; i < REQUESTS; i++) {
        on_reactor(1, request, i);
    }
    CHECK_EQUAL(submitted[1], 0);
    usleep(20000);
    barrier_release(&barrier);
    until(&releases, 1);
    CHECK_EQUAL(submitted[1], REQUESTS);
    for (unsigned int i = 0; i < REQUESTS; i++) {
        CHECK_EQUAL(order[1][i], i);
        on_reactor(1, complete, i);
    }
    CHECK_EQUAL(completed, REQUESTS);
    CHECK(barrier.pause >= 20 * RDISK_MSEC);
    end();
}

static void test_again(void)
{
    begin();
    for (unsigned int i = 0; i < 50; i++) {
        on_reactor(i % 2, request, 0);
        hold(RDISK_NEVER / 2);
        on_reactor(i % 2, request, 1);
        on_reactor(i % 2, complete, 0);
        until(&helds, 1);
        CHECK_EQUAL(submitted[i % 2], 1);
        barrier_release(&barrier);
        until(&releases, 1);
        on_reactor(i % 2, complete, 1);
        submitted[i % 2] = 0;
    }
    end();
}

static void test_limit(void)
{
    begin();
    on_reactor(0, request, 0);
    hold(20 * RDISK_MSEC);
    on_reactor(0, request, 1);
    CHECK(barriers_deadline(&server) != RDISK_NEVER);
    until(&releases, 1);
    CHECK(barrier.expired);
    CHECK_EQUAL(barriers_deadline(&server), RDISK_NEVER);
    CHECK_EQUAL(submitted[0], 2);
    /* What was outstanding all the time is no news any more. */
    on_reactor(0, complete, 0);
    on_reactor(0, complete, 1);
    nothing_more();
    CHECK_EQUAL(helds, 0);
    CHECK_EQUAL(releases, 1);
    end();
}

static void test_limit_while_held(void)
{
    begin();
    hold(20 * RDISK_MSEC);
    until(&helds, 1);
    until(&releases, 1);
    CHECK(barrier.expired);
    barrier_release(&barrier);
    nothing_more();
    CHECK_EQUAL(releases, 1);
    end();
}

static void test_newcomer(void)
{
    begin();
    on_reactor(0, detach, 0);
    hold(RDISK_NEVER / 2);
    until(&helds, 1);
    on_reactor(0, attach, 0);
    on_reactor(0, request, 0);
    CHECK_EQUAL(submitted[0], 0);
    barrier_release(&barrier);
    until(&releases, 1);
    CHECK_EQUAL(submitted[0], 1);
    on_reactor(0, complete, 0);
    end();
}

static const struct unit_test tests[] = {
    { "a barrier is held when no request is at the storage",
      test_waits_for_storage },
    { "requests that come meanwhile are kept, and carried out in their order",
      test_keeps_in_order },
    { "a barrier can follow another one", test_again },
    { "a barrier whose requests do not end is released by its limit, and never "
      "held",
      test_limit },
    { "a barrier that is held for too long is released by its limit, once",
      test_limit_while_held },
    { "a queue that joins during a barrier is held, too", test_newcomer },
};
UNIT_SUITE("server-barrier", tests)
