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
};

void scheduler_init(struct scheduler *scheduler)
{
    scheduler->ready_last = &scheduler->ready;
    scheduler->period = 1; /* no flow has been active in it */
}

/* ---- Flows --------------------------------------------------------------- */

struct flow *scheduler_join(struct scheduler *scheduler, const void *owner)
{
    struct flow *flow = scheduler->flows;

    while (flow && flow->owner != owner) {
        flow = flow->next;
    }
    if (!flow) {
        flow = calloc(1, sizeof(*flow));
        if (!flow) {
            return NULL;
        }
        flow->owner = owner;
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

/* ---- One request --------------------------------------------------------- */

static enum verdict judge(const struct scheduler *scheduler,
                          const struct flow *flow,
                          const struct flow_request *request)
{
    if (scheduler->must_fail(request)) {
        return MUST_FAIL;
    }
    if (is_shared(scheduler) && (flow->started >= SCHEDULER_SHARE ||
                                 flow->bytes >= SCHEDULER_SHARE_BYTES)) {
        return IS_FULL;
    }
    return MAY_START;
}

static void start(const struct scheduler *scheduler, struct flow *flow,
                  struct flow_request *request)
{
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

static bool arrive_beside_others(struct scheduler *scheduler, struct flow *flow,
                                 struct flow_request *request, uint64_t now)
{
    struct flow_lane *lane = &flow->lanes[request->class];
    enum verdict verdict;

    note_active(scheduler, flow, now);
    if (flow->turn != now) {
        flow->turn = now;
        renew_quotas(flow);
    }
    verdict = judge(scheduler, flow, request);
    if (verdict == MAY_START && !lane->first && lane->quota) {
        lane->quota--;
        start(scheduler, flow, request);
        return false;
    }
    park(flow, lane, request);
    if (verdict == IS_FULL) {
        flow->full = true;
        return false;
    }
    make_ready(scheduler, flow);
    return true;
}

bool scheduler_arrive(struct scheduler *scheduler, struct flow *flow,
                      struct flow_request *request, uint64_t now)
{
    request->arrived = now;
    if (scheduler->count == 1 && !flow->parked) {
        start(scheduler, flow, request);
        return false;
    }
    return arrive_beside_others(scheduler, flow, request, now);
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

/* Of one lane, as much as it and the turn have left. */
static void serve_lane(struct scheduler *scheduler, struct flow *flow,
                       struct flow_lane *lane, unsigned int *left)
{
    while (lane->first && lane->quota && *left) {
        enum verdict verdict = judge(scheduler, flow, lane->first);

        if (verdict == IS_FULL) {
            flow->full = true;
            return;
        }
        lane->quota--;
        (*left)--;
        if (verdict == MUST_FAIL) {
            scheduler->fail(unpark(flow, lane));
        } else {
            start(scheduler, flow, unpark(flow, lane));
        }
    }
}

bool scheduler_serve(struct scheduler *scheduler, uint64_t now)
{
    unsigned int left = SCHEDULER_TURN;

    pass_time(scheduler, now);
    for (unsigned int n = scheduler->ready_count; n && left; n--) {
        struct flow *flow = pop_ready(scheduler);

        flow->turn = now;
        renew_quotas(flow);
        for (unsigned int i = 0; i < FLOW_CLASSES; i++) {
            serve_lane(scheduler, flow, &flow->lanes[i], &left);
        }
        if (flow->parked && !flow->full) {
            make_ready(scheduler, flow);
        }
    }
    return scheduler->ready != NULL;
}
