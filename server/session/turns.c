/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/session/turns.h"

#include "common/container_of.h"
#include "common/thread.h"
#include "server/session/queue.h"
#include <rdisk/stopwatch.h>

/* What is left goes on after the reactor has polled again: it must not keep a
 * request waiting that has just arrived. */
static void serve(struct turns *turns)
{
    uint64_t now = rdisk_stopwatch_system(), pause;

    turns->more = scheduler_serve(&turns->scheduler, now);
    if (turns->more) {
        reactor_arm_later(turns->reactor);
    }
    pause = scheduler_pause(&turns->scheduler, now);
    if (pause != SCHEDULER_NEVER) {
        reactor_timer_set(&turns->timer, pause);
    }
}

static void timer_run(struct reactor_timer *timer)
{
    struct turns *turns = container_of(timer, struct turns, timer);

    scheduler_wake(&turns->scheduler);
    reactor_defer(turns->reactor, &turns->deferred);
}

static void deferred_run(struct reactor_deferred *deferred)
{
    struct turns *turns = container_of(deferred, struct turns, deferred);

    if (!turns->more) {
        serve(turns);
    }
}

static bool poller_poll(struct reactor_poller *poller)
{
    struct turns *turns = container_of(poller, struct turns, poller);

    if (!turns->more) {
        return false;
    }
    serve(turns);
    return true;
}

static void begin(struct turns *turns, struct reactor *reactor)
{
    turns->reactor = reactor;
    scheduler_init(&turns->scheduler);
    turns->scheduler.start = queue_request_start;
    turns->scheduler.fail = queue_request_fail;
    turns->scheduler.must_fail = queue_request_must_fail;
    turns->deferred.run = deferred_run;
    reactor_timer_init(&turns->timer, reactor, timer_run);
    turns->poller.poll = turns->poller.arm = poller_poll;
}

struct flow *turns_join(struct turns *turns, struct reactor *reactor,
                        const struct flow_terms *terms)
{
    struct flow *flow;

    assert_reactor_thread(reactor);
    if (!turns->reactor) {
        begin(turns, reactor);
    }
    if (!turns->scheduler.count) {
        reactor_poller_add(reactor, &turns->poller);
    }
    flow = scheduler_join(&turns->scheduler, terms);
    if (!turns->scheduler.count) {
        reactor_poller_remove(reactor, &turns->poller);
    }
    return flow;
}

void turns_leave(struct turns *turns, struct flow *flow)
{
    assert_reactor_thread(turns->reactor);
    if (!flow) {
        return;
    }
    scheduler_leave(&turns->scheduler, flow);
    if (!turns->scheduler.count) {
        turns->more = false;
        reactor_poller_remove(turns->reactor, &turns->poller);
    }
}
