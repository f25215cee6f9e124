/* SPDX-License-Identifier: BSD-3-Clause */
/* Slots that come back to the server, the limits of its memory, and what is
 * broken of that on purpose. */
#include "tests/sim/sim.h"
#include "transport/initiator/session.h"
#include "transport/target/queue.h"

/* ---- The server's owner -------------------------------------------------- */

static void push(struct rdisk_target_grant **list,
                 struct rdisk_target_grant *grant)
{
    grant->owner[0] = *list;
    *list = grant;
}

static struct rdisk_target_grant *pop(struct rdisk_target_grant **list)
{
    struct rdisk_target_grant *grant = *list;

    if (grant) {
        *list = grant->owner[0];
    }
    return grant;
}

void sim_slots_returned(void *queue_user, struct rdisk_target_grant *grant)
{
    struct sim_queue *queue = queue_user;

    push(&queue->returned, grant);
}

void sim_slots_idle(void *queue_user, struct rdisk_target_grant *grant)
{
    struct sim_queue *queue = queue_user;

    push(&queue->retired, grant);
}

static void release(struct sim_queue *queue, struct rdisk_target_grant *grant)
{
    const struct rdisk_target_slots *slots = (struct rdisk_target_slots *)grant;

    if (sim_mutated(queue->sim, SIM_MUTATE_NEVER_RETURNED)) {
        return;
    }
    if (fake_host_reads(queue->sim->server.host, slots->mr->lkey)) {
        sim_violation("slots are released that the device may send again");
    }
    rdisk_target_grant_release(queue->queue, grant);
}

bool sim_slots_due(const struct sim_queue *queue)
{
    return queue->retired || (queue->returned && !queue->idle);
}

/* The reactor's part, and the control thread's. */
bool sim_slots_serve(struct sim_queue *queue)
{
    struct rdisk_target_grant *grant = NULL;

    if (queue->started && !queue->idle) {
        grant = pop(&queue->returned);
        if (grant) {
            rdisk_target_grant_retire(queue->queue, grant);
            return true;
        }
    }
    grant = pop(&queue->retired);
    if (grant) {
        release(queue, grant);
    }
    return grant;
}

/* ---- Limits -------------------------------------------------------------- */

/* SIM_MUTATE_RECALL_TAKES */
static void take_recalled(struct sim *sim)
{
    for (unsigned int i = 0; i < SIM_QUEUES; i++) {
        struct sim_queue *queue = &sim->server.queues[i];
        struct rdisk_target_slots *slots = queue->queue ? queue->queue->grants
                                                        : NULL;

        while (slots && !slots->recalled) {
            slots = slots->next;
        }
        if (slots && !queue->idle) {
            rdisk_target_grant_release(queue->queue, &slots->grant);
        }
    }
}

void sim_slots_check(struct sim *sim)
{
    const struct rdisk_target *target = sim->server.target;

    if (!target) {
        return;
    }
    if (target->memory > sim->server.options.max_memory) {
        sim_violation("%llu bytes of slots, the limit is %llu",
                      (unsigned long long)target->memory,
                      (unsigned long long)sim->server.options.max_memory);
    }
    if (sim_mutated(sim, SIM_MUTATE_RECALL_TAKES)) {
        take_recalled(sim);
    }
}

bool sim_slots_all_returned(struct sim *sim)
{
    return sim->server.target && !sim->server.target->growth;
}

/* SIM_MUTATE_RETURN_IN_USE */
void sim_slots_return_in_use(struct sim_client *client)
{
    struct rdisk_queue *queue;

    for (unsigned int i = 0;
         (queue = rdisk_initiator_queue(client->session, i)); i++) {
        for (unsigned int j = 0; j < queue->grant_count; j++) {
            struct rdisk_grant *grant = &queue->grants[j];

            if (atomic_load(&grant->phase) == RDISK_GRANT_HELD && grant->used) {
                atomic_store(&grant->phase, RDISK_GRANT_EMPTY);
                atomic_store(&client->session->slots.news, true);
            }
        }
    }
}
