/* SPDX-License-Identifier: BSD-3-Clause */
/* A reactor: how it sleeps, and when it spins instead. */
#include <stdatomic.h>
#include <unistd.h>

#include "server/io/reactor.h"
#include "tests/unit/support/rig.h"
#include "tests/unit/support/unit.h"

#define TRIES 5000

/* Takes what @given brings; a poller of the reactor that @join ran in. */
struct taker {
    struct message join, leave;
    struct reactor *reactor;
    struct reactor_poller poller;
    struct reactor_deferred deferred;
    atomic_bool greedy; /* there is always something */
    atomic_bool more;   /* rest() has more than it may do in a turn */
    atomic_uint given, taken, polls, rests, put_off, done;
};

#define taker_of(pointer, member) container_of(pointer, struct taker, member)

static bool take(struct reactor_poller *poller)
{
    struct taker *taker = taker_of(poller, poller);

    taker->polls++;
    /* As a queue would that is not armed: rest() must come. */
    reactor_spins(taker->reactor);
    if (taker->greedy) {
        return true;
    }
    if (taker->taken == taker->given) {
        return false;
    }
    taker->taken = taker->given;
    return true;
}

static bool rest(struct reactor_poller *poller)
{
    struct taker *taker = taker_of(poller, poller);

    taker->rests++;
    if (taker->put_off) {
        taker->put_off--;
        reactor_defer(taker->reactor, &taker->deferred);
    }
    if (taker->more) {
        reactor_arm_later(taker->reactor);
    }
    return taker->more;
}

static void deferred_run(struct reactor_deferred *deferred)
{
    taker_of(deferred, deferred)->done++;
}

static void join_run(struct message *message)
{
    struct taker *taker = taker_of(message, join);

    reactor_poller_add(taker->reactor, &taker->poller);
}

static void leave_run(struct message *message)
{
    struct taker *taker = taker_of(message, leave);

    reactor_poller_remove(taker->reactor, &taker->poller);
}

static atomic_uint nudges;

static void nudge_run(struct message *message)
{
    nudges++;
}

/* Wake the reactor, and wait until it has. */
static void nudge(struct reactor *reactor)
{
    struct message message = { .run = nudge_run };
    unsigned int before = nudges;

    reactor_send(reactor, &message);
    while (nudges == before) {
        usleep(10);
    }
}

static void begin(struct taker *taker, uint64_t poll_time)
{
    struct rdisk_error err;

    *taker = (struct taker) {
        .join.run = join_run,
        .leave.run = leave_run,
        .poller = { .poll = take, .arm = rest },
        .deferred.run = deferred_run,
        .reactor = reactor_create(0, -1, poll_time, &err),
    };
    REQUIRE(taker->reactor != NULL);
    reactor_send(taker->reactor, &taker->join);
}

static void end(struct taker *taker)
{
    reactor_send(taker->reactor, &taker->leave);
    reactor_destroy(taker->reactor);
}

static void test_idle_sleeps(void)
{
    struct taker taker;

    begin(&taker, 0);
    rig_check_idle(taker.reactor);
    CHECK_EQUAL(taker.polls, 0);
    end(&taker);
}

/* Not only when it ends: it may last for days. */
static void test_sleep_is_idle(void)
{
    static const struct timespec pause = { .tv_nsec = 20000000 };
    struct reactor_info before, after;
    struct taker taker;

    begin(&taker, 0);
    rig_check_idle(taker.reactor);
    reactor_info(taker.reactor, &before);
    nanosleep(&pause, NULL);
    reactor_info(taker.reactor, &after);
    CHECK_EQUAL(after.turns, before.turns);
    CHECK(after.idle - before.idle >= 20000000);
    end(&taker);
}

/* Woken often enough it spins, and then finds what no event tells of. */
static void test_spins(void)
{
    struct taker taker;
    unsigned int polls;

    begin(&taker, 10000000);
    for (unsigned int i = 0; i < TRIES && taker.taken == 0; i++) {
        nudge(taker.reactor);
        taker.given = 1;
    }
    CHECK_EQUAL(taker.taken, 1);
    rig_check_idle(taker.reactor);
    CHECK(taker.rests > 0);
    polls = taker.polls;
    usleep(50000);
    CHECK_EQUAL(taker.polls, polls);
    end(&taker);
}

/* A message that remembers after how many looks it came. */
struct note {
    struct message message;
    struct taker *taker;
    unsigned int polls;
    atomic_bool came;
};

static void note_run(struct message *message)
{
    struct note *note = (struct note *)message;

    note->polls = note->taker->polls;
    note->came = true;
}

/* What finds something in each look must not keep everything else away. */
static void test_messages_between(void)
{
    struct taker taker;
    unsigned int sent, late = 0;

    begin(&taker, 10000000);
    taker.greedy = true;
    for (unsigned int i = 0, seen = 0; i < TRIES && seen < 10; i++) {
        struct note note = { .message.run = note_run, .taker = &taker };

        seen += taker.polls >= 1000;
        reactor_send(taker.reactor, &note.message);
        sent = taker.polls;
        while (!note.came) {
            usleep(10);
        }
        late += note.polls > sent + 10;
    }
    CHECK(taker.polls >= 1000);
    CHECK_EQUAL(late, 0);
    taker.greedy = false;
    end(&taker);
}

/* Nothing will wake it for that. */
static void test_deferred_by_poller(void)
{
    struct taker taker;

    begin(&taker, 10000000);
    taker.put_off = 1;
    for (unsigned int i = 0; i < TRIES && taker.polls == 0; i++) {
        nudge(taker.reactor);
    }
    for (unsigned int i = 0; i < 1000 && taker.done == 0; i++) {
        usleep(10000);
    }
    CHECK_EQUAL(taker.put_off, 0);
    CHECK_EQUAL(taker.done, 1);
    end(&taker);
}

static void test_never_spins(void)
{
    struct taker taker;

    begin(&taker, 0);
    for (unsigned int i = 0; i < 200; i++) {
        nudge(taker.reactor);
    }
    CHECK_EQUAL(taker.polls, 0);
    CHECK_EQUAL(taker.rests, 0);
    end(&taker);
}

/* A message that asks for rest(), and prepares something for the ring. */
struct start {
    struct message message;
    struct taker *taker;
    struct ring_op op;
    atomic_bool done;
};

static void start_done(struct ring_op *op, int result, unsigned int flags)
{
    struct start *start = (struct start *)((char *)op -
                                           offsetof(struct start, op));

    start->done = true;
}

static void start_run(struct message *message)
{
    struct start *start = (struct start *)message;
    struct io_uring_sqe *sqe = reactor_sqe(start->taker->reactor,
                                           RING_ORDINARY);

    io_uring_prep_nop(sqe);
    reactor_sqe_set(sqe, &start->op);
    reactor_arm_later(start->taker->reactor);
}

/* Without poll-time, too: nothing else says that there is more. */
static void test_rest_goes_on(void)
{
    struct taker taker;
    struct start start = {
        .message.run = start_run,
        .taker = &taker,
        .op.done = start_done,
    };

    begin(&taker, 0);
    taker.more = true;
    reactor_send(taker.reactor, &start.message);
    for (unsigned int i = 0; i < TRIES && (taker.rests < 100 || !start.done);
         i++) {
        nudge(taker.reactor);
    }
    CHECK(taker.rests >= 100);
    CHECK(start.done);
    taker.more = false;
    rig_check_idle(taker.reactor);
    end(&taker);
}

static const struct unit_test tests[] = {
    { "an idle reactor does not wake up", test_idle_sleeps },
    { "a sleep counts as idle while it lasts", test_sleep_is_idle },
    { "a busy reactor looks before it sleeps, and then sleeps", test_spins },
    { "a message comes through while each look finds something",
      test_messages_between },
    { "what is put off while it looks is done before it sleeps",
      test_deferred_by_poller },
    { "without poll-time a reactor never looks", test_never_spins },
    { "a poller with more than a turn's work keeps nothing else away",
      test_rest_goes_on },
};

UNIT_SUITE("server-reactor", tests)
