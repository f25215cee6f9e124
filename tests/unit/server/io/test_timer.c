/* SPDX-License-Identifier: BSD-3-Clause */
/* A reactor's timer, in real time: it is late at times, but never early. */
#include <semaphore.h>
#include <unistd.h>

#include "common/container_of.h"
#include "server/io/timer.h"
#include "tests/unit/support/rig.h"
#include "tests/unit/support/unit.h"
#include <rdisk/stopwatch.h>

#define MS 1000000ull

static struct reactor *reactor;
static struct reactor_timer timer;
static struct rdisk_error err;
static uint64_t fired;
static unsigned int runs;
static sem_t ran;

static void expired(struct reactor_timer *of)
{
    CHECK(of == &timer);
    fired = rdisk_stopwatch_system();
    runs++;
    sem_post(&ran);
}

/* Spans to be set one after the other, in the reactor's thread. */
struct setting {
    struct message message;
    uint64_t spans[2];
    sem_t done;
};

static void set_run(struct message *message)
{
    struct setting *setting = container_of(message, struct setting, message);

    for (unsigned int i = 0; i < 2; i++) {
        if (setting->spans[i]) {
            reactor_timer_set(&timer, setting->spans[i]);
        }
    }
    sem_post(&setting->done);
}

static void wait_for(sem_t *semaphore)
{
    while (sem_wait(semaphore) < 0) {
        /* interrupted */
    }
}

static void set(uint64_t first, uint64_t second)
{
    struct setting setting = {
        .message.run = set_run,
        .spans = { first, second },
    };

    sem_init(&setting.done, 0, 0);
    reactor_send(reactor, &setting.message);
    wait_for(&setting.done);
}

static void begin(void)
{
    reactor = reactor_create(0, -1, 0, &err);
    REQUIRE(reactor != NULL);
    reactor_timer_init(&timer, reactor, expired);
    sem_init(&ran, 0, 0);
    runs = 0;
}

static void expires_once(void)
{
    uint64_t began;

    begin();
    began = rdisk_stopwatch_system();
    set(20 * MS, 0);
    wait_for(&ran);
    /* The two clocks agree to a few percent. */
    CHECK(fired - began >= 18 * MS);
    rig_check_idle(reactor);
    CHECK_EQUAL(runs, 1);
    set(MS, 0);
    wait_for(&ran);
    CHECK_EQUAL(runs, 2);
    reactor_destroy(reactor);
}

static void the_earlier_time_counts(void)
{
    begin();
    set(3600 * 1000 * MS, MS);
    wait_for(&ran);
    CHECK_EQUAL(runs, 1);
    set(MS, 3600 * 1000 * MS);
    wait_for(&ran);
    CHECK_EQUAL(runs, 2);
    reactor_destroy(reactor);
}

static void ends_with_its_reactor(void)
{
    begin();
    set(3600 * 1000 * MS, 0);
    reactor_destroy(reactor);
    CHECK_EQUAL(runs, 0);
}

static const struct unit_test tests[] = {
    { "a timer expires once, and not before its time", expires_once },
    { "of two times the earlier one counts", the_earlier_time_counts },
    { "a timer that is set does not keep its reactor", ends_with_its_reactor },
};

UNIT_SUITE("server-timer", tests)
