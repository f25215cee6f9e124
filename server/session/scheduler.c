/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/session/scheduler.h"

#include <assert.h>
#include <stdlib.h>

/* Longer than most pauses between two requests of a program that waits for each
 * one, so that it counts as active all the time. */
#define PERIOD 10000000u /* ns */

enum verdict {
    MAY_START,
    MUST_FAIL,
    IS_FULL, /* its flow is */
    IS_OVER, /* a limit */
};

void scheduler_init(struct scheduler *scheduler)
{
    scheduler->ready_last = &scheduler->ready;
    scheduler->period = 1; /* no flow has been active in it */
    scheduler->wake = SCHEDULER_NEVER;
}

/* ---- Flows --------------------------------------------------------------- */

struct flow *scheduler_join(struct scheduler *scheduler,
                            const struct flow_terms *terms)
{
    struct flow *flow = scheduler->flows;

    while (flow && flow->terms != terms) {
        flow = flow->next;
    }
    if (!flow) {
        flow = calloc(1, sizeof(*flow));
        if (!flow) {
            return NULL;
        }
        flow->terms = terms;
        for (unsigned int i = 0; i < FLOW_CLASSES; i++) {
            flow->lanes[i].last = &flow->lanes[i].first;
        }
        flow->next = scheduler->flows;
        scheduler->flows = flow;
        scheduler->count++;
    }
    flow->users++;
    return flow;
}

static struct flow *pop_ready(struct scheduler *scheduler)
{
    struct flow *flow = scheduler->ready;

    scheduler->ready = flow->next_ready;
    if (!scheduler->ready) {
        scheduler->ready_last = &scheduler->ready;
    }
    scheduler->ready_count--;
    flow->ready = false;
    return flow;
}

static void make_ready(struct scheduler *scheduler, struct flow *flow)
{
    if (!flow->ready) {
        flow->ready = true;
        flow->next_ready = NULL;
        *scheduler->ready_last = flow;
        scheduler->ready_last = &flow->next_ready;
        scheduler->ready_count++;
    }
}

static void make_waiting(struct scheduler *scheduler, struct flow *flow,
                         uint64_t until)
{
    scheduler->wake = until < scheduler->wake ? until : scheduler->wake;
    if (!flow->waiting) {
        flow->waiting = true;
        flow->next_waiting = scheduler->waiting;
        scheduler->waiting = flow;
        scheduler->waiting_count++;
    }
}

void scheduler_wake(struct scheduler *scheduler)
{
    while (scheduler->waiting) {
        struct flow *flow = scheduler->waiting;

        scheduler->waiting = flow->next_waiting;
        flow->waiting = false;
        make_ready(scheduler, flow);
    }
    scheduler->waiting_count = 0;
    scheduler->wake = SCHEDULER_NEVER;
}

static void remove_ready(struct scheduler *scheduler, struct flow *flow)
{
    for (unsigned int n = scheduler->ready_count; n && flow->ready; n--) {
        struct flow *first = pop_ready(scheduler);

        if (first != flow) {
            make_ready(scheduler, first);
        }
    }
}

void scheduler_leave(struct scheduler *scheduler, struct flow *flow)
{
    struct flow **link = &scheduler->flows;

    if (--flow->users) {
        return;
    }
    assert(!flow->parked && !flow->started);
    if (flow->waiting) {
        scheduler_wake(scheduler);
    }
    remove_ready(scheduler, flow);
    while (*link != flow) {
        link = &(*link)->next;
    }
    *link = flow->next;
    scheduler->count--;
    free(flow);
}

/* ---- Who else is active -------------------------------------------------- */

static void pass_time(struct scheduler *scheduler, uint64_t now)
{
    uint64_t passed = now - scheduler->period_began;

    if (passed < PERIOD) {
        return;
    }
    scheduler->were_active = passed < 2 * PERIOD ? scheduler->active : 0;
    scheduler->active = 0;
    scheduler->period++;
    scheduler->period_began = now;
}

static void note_active(struct scheduler *scheduler, struct flow *flow,
                        uint64_t now)
{
    pass_time(scheduler, now);
    if (flow->period != scheduler->period) {
        flow->period = scheduler->period;
        scheduler->active++;
    }
}

static bool is_shared(const struct scheduler *scheduler)
{
    return scheduler->active > 1 || scheduler->were_active > 1;
}

/* ---- Limits -------------------------------------------------------------- */

static bool is_throttled(const struct flow *flow)
{
    return throttle_is_active(flow->terms->throttles[0]) ||
           throttle_is_active(flow->terms->throttles[1]);
}

/* When @request may be started for all that its limits say. */
static uint64_t allowed_at(struct flow *flow,
                           const struct flow_request *request, uint64_t now)
{
    uint64_t longest = 0;

    if (now - request->arrived >= SCHEDULER_PARKED_MAX ||
        atomic_load_explicit(&flow->terms->hurried, memory_order_relaxed)) {
        return now;
    }
    for (unsigned int i = 0; i < FLOW_THROTTLES; i++) {
        const struct throttle *throttle = flow->terms->throttles[i];
        uint64_t wait = throttle_is_active(throttle)
                            ? throttle_wait(throttle, request->class, now)
                            : 0;

        if (wait) {
            flow->blocked |= 1u << i;
            longest = wait > longest ? wait : longest;
        }
    }
    return now + longest;
}

static void charge(const struct flow *flow, const struct flow_request *request,
                   uint64_t now)
{
    for (unsigned int i = 0; i < FLOW_THROTTLES; i++) {
        struct throttle *throttle = flow->terms->throttles[i];

        if (throttle_is_active(throttle)) {
            throttle_charge(throttle, request->class, request->bytes, now);
        }
        if (flow->blocked & 1u << i) {
            throttle_count(throttle, now - request->arrived);
        }
    }
}

/* ---- One request --------------------------------------------------------- */

static enum verdict judge(struct scheduler *scheduler, struct flow *flow,
                          const struct flow_request *request, uint64_t now)
{
    uint64_t at;

    if (scheduler->must_fail(request)) {
        return MUST_FAIL;
    }
    if (is_shared(scheduler) && (flow->started >= SCHEDULER_SHARE ||
                                 flow->bytes >= SCHEDULER_SHARE_BYTES)) {
        flow->full = true;
        return IS_FULL;
    }
    at = is_throttled(flow) ? allowed_at(flow, request, now) : now;
    if (at > now) {
        make_waiting(scheduler, flow, at);
        return IS_OVER;
    }
    return MAY_START;
}

static void start(const struct scheduler *scheduler, struct flow *flow,
                  struct flow_request *request, uint64_t now)
{
    if (is_throttled(flow) || flow->blocked) {
        charge(flow, request, now);
    }
    flow->started++;
    flow->bytes += request->bytes;
    scheduler->start(request);
}

static void park(struct flow *flow, struct flow_lane *lane,
                 struct flow_request *request)
{
    request->next = NULL;
    *lane->last = request;
    lane->last = &request->next;
    flow->parked++;
}

static struct flow_request *unpark(struct flow *flow, struct flow_lane *lane)
{
    struct flow_request *request = lane->first;

    lane->first = request->next;
    if (!lane->first) {
        lane->last = &lane->first;
    }
    flow->parked--;
    return request;
}

static void renew_quotas(struct flow *flow)
{
    for (unsigned int i = 0; i < FLOW_CLASSES; i++) {
        flow->lanes[i].quota = SCHEDULER_QUANTUM;
    }
}

static bool arrive_in_turn(struct scheduler *scheduler, struct flow *flow,
                           struct flow_request *request, uint64_t now)
{
    struct flow_lane *lane = &flow->lanes[request->class];
    enum verdict verdict = MUST_FAIL;

    note_active(scheduler, flow, now);
    if (flow->turn != now) {
        flow->turn = now;
        renew_quotas(flow);
    }
    if (!lane->first) {
        verdict = judge(scheduler, flow, request, now);
    }
    if (verdict == MAY_START && lane->quota) {
        lane->quota--;
        start(scheduler, flow, request, now);
        return false;
    }
    park(flow, lane, request);
    if (!flow->full && !flow->waiting) {
        make_ready(scheduler, flow);
    }
    return !flow->full;
}

bool scheduler_arrive(struct scheduler *scheduler, struct flow *flow,
                      struct flow_request *request, uint64_t now)
{
    request->arrived = now;
    if (scheduler->count == 1 && !flow->parked && !is_throttled(flow)) {
        start(scheduler, flow, request, now);
        return false;
    }
    return arrive_in_turn(scheduler, flow, request, now);
}

bool scheduler_ended(struct scheduler *scheduler, struct flow *flow,
                     const struct flow_request *request)
{
    flow->started--;
    flow->bytes -= request->bytes;
    if (!flow->full) {
        return false;
    }
    flow->full = false;
    make_ready(scheduler, flow);
    return true;
}

/* ---- A turn -------------------------------------------------------------- */

/* Of one lane, as much as it and the turn have left. True: nothing but these
 * stops it. */
static bool serve_lane(struct scheduler *scheduler, struct flow *flow,
                       struct flow_lane *lane, uint64_t now, unsigned int *left)
{
    while (lane->first && lane->quota && *left) {
        enum verdict verdict = judge(scheduler, flow, lane->first, now);

        if (verdict == IS_FULL || verdict == IS_OVER) {
            return false;
        }
        lane->quota--;
        (*left)--;
        if (verdict == MUST_FAIL) {
            scheduler->fail(unpark(flow, lane));
        } else {
            start(scheduler, flow, unpark(flow, lane), now);
        }
    }
    return lane->first != NULL;
}

static void serve(struct scheduler *scheduler, struct flow *flow, uint64_t now,
                  unsigned int *left)
{
    bool more = false;

    flow->turn = now;
    renew_quotas(flow);
    for (unsigned int i = 0; i < FLOW_CLASSES; i++) {
        more |= serve_lane(scheduler, flow, &flow->lanes[i], now, left);
    }
    if (!flow->parked) {
        flow->blocked = 0;
    }
    if (more) {
        make_ready(scheduler, flow);
    }
}

bool scheduler_serve(struct scheduler *scheduler, uint64_t now)
{
    unsigned int left = SCHEDULER_TURN;

    pass_time(scheduler, now);
    for (unsigned int n = scheduler->ready_count; n && left; n--) {
        serve(scheduler, pop_ready(scheduler), now, &left);
    }
    return scheduler->ready != NULL;
}

/* Later where many wait: each looks whether it is its turn. */
uint64_t scheduler_pause(const struct scheduler *scheduler, uint64_t now)
{
    uint64_t least = SCHEDULER_PAUSE + scheduler->waiting_count * 1000ull;
    uint64_t pause = scheduler->wake > now ? scheduler->wake - now : 0;

    if (!scheduler->waiting) {
        return SCHEDULER_NEVER;
    }
    pause = pause < SCHEDULER_CHECK ? pause : SCHEDULER_CHECK;
    return pause > least ? pause : least;
}
