/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The requests on their way to the backend: the server's real scheduler, with a
 * limit in some runs.
 */
#include <string.h>

#include "common/container_of.h"
#include "tests/sim/sim.h"

static struct sim_turn *turn_of(const struct flow_request *flow)
{
    return container_of(flow, struct sim_turn, flow);
}

static void release(struct sim_turn *turn)
{
    turn->request = NULL;
}

static void start(struct flow_request *flow)
{
    struct sim_turn *turn = turn_of(flow);

    sim_backend_start(turn->queue, turn->request, turn);
}

static void fail(struct flow_request *flow)
{
    struct sim_turn *turn = turn_of(flow);
    struct sim *sim = turn->queue->sim;

    if (sim_mutated(sim, SIM_MUTATE_PARKED_STARTS) && !sim->server.dead &&
        turn->request->op == RDISK_OP_WRITE) {
        sim_backend_ghost(turn->queue, turn->request);
    }
    rdisk_target_complete(turn->request, RDISK_STATUS_IO_ERROR);
    turn->queue->answers = true;
    release(turn);
}

static bool must_fail(const struct flow_request *flow)
{
    const struct sim_turn *turn = turn_of(flow);

    return turn->queue->sim->server.dead ||
           rdisk_target_queue_broken(turn->queue->queue);
}

void sim_turns_begin(struct sim *sim)
{
    struct sim_turns *turns = &sim->server.turns;
    struct throttle_values values = { 0 };

    turns->scheduler = (struct scheduler) {
        .start = start,
        .fail = fail,
        .must_fail = must_fail,
    };
    scheduler_init(&turns->scheduler);
    turns->wake_at = SIM_NEVER;
    if (sim_pick(&sim->limit_state, 4) == 0) {
        values.rates[THROTTLE_IOPS].avg = 20 + sim_pick(&sim->limit_state, 400);
    }
    throttle_set(&turns->throttle, &values);
}

void sim_turns_join(struct sim_queue *queue)
{
    struct sim_turns *turns = &queue->sim->server.turns;

    queue->holder->terms.throttles[0] = &turns->throttle;
    queue->flow = scheduler_join(&turns->scheduler, &queue->holder->terms);
}

void sim_turns_leave(struct sim_queue *queue)
{
    scheduler_leave(&queue->sim->server.turns.scheduler, queue->flow);
    queue->flow = NULL;
}

void sim_turns_arrive(struct sim_queue *queue,
                      struct rdisk_target_request *request)
{
    struct sim *sim = queue->sim;
    struct sim_turns *turns = &sim->server.turns;
    struct sim_turn *turn = turns->list;

    while (turn->request) {
        if (++turn == turns->list + SIM_OPS) {
            sim_violation("more requests than slots");
        }
    }
    *turn = (struct sim_turn) {
        .flow.class = rdisk_op_has_segments(request->op) ? FLOW_READS
                                                         : FLOW_WRITES,
        .queue = queue,
        .request = request,
    };
    if (scheduler_arrive(&turns->scheduler, queue->flow, &turn->flow,
                         sim_now(sim))) {
        turns->wake_at = sim_now(sim);
    }
}

void sim_turns_ended(struct sim *sim, struct sim_turn *turn)
{
    struct sim_turns *turns = &sim->server.turns;

    if (scheduler_ended(&turns->scheduler, turn->queue->flow, &turn->flow)) {
        turns->wake_at = sim_now(sim);
    }
    release(turn);
}

/* As server/session/turns.c does. */
bool sim_turns_life(struct sim *sim)
{
    struct sim_turns *turns = &sim->server.turns;
    uint64_t now = sim_now(sim), pause;

    if (now < turns->wake_at) {
        return false;
    }
    scheduler_wake(&turns->scheduler);
    if (scheduler_serve(&turns->scheduler, now)) {
        turns->wake_at = now;
        return true;
    }
    pause = scheduler_pause(&turns->scheduler, now);
    turns->wake_at = pause == SCHEDULER_NEVER ? SIM_NEVER : now + pause;
    return true;
}

void sim_turns_die(struct sim *sim)
{
    struct scheduler *scheduler = &sim->server.turns.scheduler;

    do {
        scheduler_wake(scheduler);
    } while (scheduler_serve(scheduler, sim_now(sim)));
}
