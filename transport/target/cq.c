/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Completion queues of a server: the queues of one reactor share them, so that
 * however many have completions, it takes one event, one arming and one poll
 * to get all of them.
 *
 * A completion names its queue by a tag. A queue is entered when its reactor
 * starts it, before the first work request is posted, and taken out when the
 * last one has completed, so no completion finds another queue in its place.
 * The tag's generation is a second proof of that, which costs nothing.
 */
#include <errno.h>
#include <stdlib.h>

#include "transport/target/queue.h"
#include "transport/target/session.h"

/* The smallest queue takes more entries than this. */
#define ENTRIES_PER_QUEUE 512u
/* The tag: a place, and the low bits of how often it was given. */
#define PLACE_BITS  12
#define PLACES_MAX  (1u << PLACE_BITS)
#define GENERATIONS (RDISK_QP_TAGS >> PLACE_BITS)
/* Completions, and requests, after which a call takes no more, so that the
 * answers go out and the reactor serves its rings: peers may send new requests
 * without end. */
#define TURN 256u

struct place {
    struct rdisk_target_queue *queue; /* the reactor's */
    bool taken;                       /* this and the next: control thread */
    uint32_t generation;
};

struct rdisk_target_cq {
    struct rdisk_use use; /* by the reactor */

    /* Constant. */
    struct rdisk_target_group *group;
    struct ibv_context *context;
    unsigned int depth;
    unsigned int place_count;

    /* The control thread's. */
    struct rdisk_target_cq *next;
    unsigned int reserved; /* entries */
    unsigned int queues;
    unsigned int hint; /* the place to try first */

    /* The reactor's. */
    struct rdisk_cq cq;
    struct rdisk_target_queue *touched; /* to be kicked after the turn */
    bool more;                          /* the last turn has taken all it may */

    struct place places[];
};

struct rdisk_target_group {
    const struct rdisk_env *env;
    unsigned int depth;
    unsigned int vector;
    struct rdisk_target_cq *cqs;
};

/* ---- Control thread --------------------------------------------------- */

struct rdisk_target_group *rdisk_target_group_create(
    const struct rdisk_env *env, unsigned int depth, unsigned int vector)
{
    struct rdisk_target_group *group = calloc(1, sizeof(*group));

    if (group) {
        group->env = env;
        group->depth = depth;
        group->vector = vector;
    }
    return group;
}

void rdisk_target_group_destroy(struct rdisk_target_group *group)
{
    free(group);
}

static struct rdisk_target_cq *cq_create(struct rdisk_target_group *group,
                                         struct ibv_context *context,
                                         unsigned int depth,
                                         struct rdisk_error *err)
{
    unsigned int places = depth / ENTRIES_PER_QUEUE + 1;
    struct rdisk_target_cq *cq;
    int vector = context->num_comp_vectors > 0
                     ? (int)(group->vector %
                             (unsigned int)context->num_comp_vectors)
                     : 0;

    places = places < PLACES_MAX ? places : PLACES_MAX;
    cq = calloc(1, sizeof(*cq) + places * sizeof(cq->places[0]));
    if (!cq) {
        rdisk_error_set(err, -ENOMEM, "out of memory");
        return NULL;
    }
    cq->group = group;
    cq->context = context;
    cq->depth = depth;
    cq->place_count = places;
    if (rdisk_cq_create(&cq->cq, group->env, context, depth, vector, err) < 0) {
        free(cq);
        return NULL;
    }
    cq->cq.in_turns = true;
    cq->next = group->cqs;
    group->cqs = cq;
    return cq;
}

static struct rdisk_target_cq *find(struct rdisk_target_group *group,
                                    struct ibv_context *context,
                                    unsigned int entries)
{
    struct rdisk_target_cq *cq = group->cqs;

    while (cq && (cq->context != context || rdisk_cq_failed(&cq->cq) ||
                  cq->depth - cq->reserved < entries ||
                  cq->queues == cq->place_count)) {
        cq = cq->next;
    }
    return cq;
}

static uint32_t take_place(struct rdisk_target_cq *cq)
{
    struct place *place;

    while (cq->places[cq->hint].taken) {
        cq->hint = (cq->hint + 1) % cq->place_count;
    }
    place = &cq->places[cq->hint];
    place->taken = true;
    place->generation = (place->generation + 1) % GENERATIONS;
    return place->generation << PLACE_BITS | cq->hint;
}

static struct place *place_of(struct rdisk_target_cq *cq, uint32_t tag)
{
    uint32_t index = tag % PLACES_MAX;

    return index < cq->place_count ? &cq->places[index] : NULL;
}

struct rdisk_target_cq *rdisk_target_cq_join(
    struct rdisk_target_group *group, struct ibv_context *context,
    const struct rdisk_device_limits *limits, struct rdisk_qp_config *config,
    struct rdisk_error *err)
{
    /* In ERROR every send and receive completes, signalled or not. */
    unsigned int entries = config->send_depth + config->recv_depth;
    unsigned int depth = group->depth < limits->max_cqe ? group->depth
                                                        : limits->max_cqe;
    struct rdisk_target_cq *cq = find(group, context, entries);

    if (!cq) {
        cq = cq_create(group, context, depth > entries ? depth : entries, err);
    }
    if (cq) {
        cq->reserved += entries;
        cq->queues++;
        config->cq = &cq->cq;
        config->tag = take_place(cq);
    }
    return cq;
}

void rdisk_target_cq_leave(struct rdisk_target_cq *cq,
                           const struct rdisk_qp_config *config)
{
    struct rdisk_target_cq **link = &cq->group->cqs;

    place_of(cq, config->tag)->taken = false;
    cq->reserved -= config->send_depth + config->recv_depth;
    if (--cq->queues) {
        return;
    }
    while (*link != cq) {
        link = &(*link)->next;
    }
    *link = cq->next;
    rdisk_cq_destroy(&cq->cq);
    free(cq);
}

/* ---- Reactor thread --------------------------------------------------- */

void rdisk_target_cq_enter(struct rdisk_target_cq *cq,
                           struct rdisk_target_queue *queue)
{
    place_of(cq, queue->qp.config.tag)->queue = queue;
}

void rdisk_target_cq_forget(struct rdisk_target_cq *cq,
                            struct rdisk_target_queue *queue)
{
    struct rdisk_target_queue **link = &cq->touched;

    place_of(cq, queue->qp.config.tag)->queue = NULL;
    while (queue->touched && *link != queue) {
        link = &(*link)->touched_next;
    }
    if (queue->touched) {
        *link = queue->touched_next;
        queue->touched = false;
    }
}

static struct rdisk_target_queue *queue_of(struct rdisk_target_cq *cq,
                                           const struct ibv_wc *wc)
{
    uint32_t tag = rdisk_qp_tag(wc);
    struct place *place = place_of(cq, tag);

    return place && place->queue && place->queue->qp.config.tag == tag
               ? place->queue
               : NULL;
}

static void touch(struct rdisk_target_cq *cq, struct rdisk_target_queue *queue)
{
    if (!queue->touched) {
        queue->touched = true;
        queue->touched_next = cq->touched;
        cq->touched = queue;
    }
}

/* One chain of receives, one doorbell for each. It may end queues. */
static void kick_touched(struct rdisk_target_cq *cq)
{
    while (cq->touched) {
        struct rdisk_target_queue *queue = cq->touched;

        cq->touched = queue->touched_next;
        queue->touched = false;
        rdisk_target_queue_kick(queue);
    }
}

/* Without it none of them can go on. */
static void break_all(struct rdisk_target_cq *cq)
{
    for (unsigned int i = 0; i < cq->place_count; i++) {
        if (cq->places[i].queue) {
            rdisk_qp_drain_events(&cq->places[i].queue->qp);
            touch(cq, cq->places[i].queue);
        }
    }
    kick_touched(cq);
}

static unsigned int poll_cq(struct rdisk_target_cq *cq, bool woken)
{
    unsigned int requests = 0, taken = 0;
    const struct ibv_wc *wc;
    uint64_t now = 0;

    while (taken < TURN && (wc = rdisk_cq_next(&cq->cq))) {
        struct rdisk_target_queue *queue = queue_of(cq, wc);
        unsigned int n;

        taken++;
        if (!queue) {
            continue;
        }
        if (!now) {
            now = rdisk_stopwatch(cq->group->env);
        }
        touch(cq, queue);
        n = rdisk_target_queue_take(queue, wc, now);
        requests += n;
        taken += n > 1 ? n - 1 : 0; /* of one completion */
        if (woken) {
            /* It is counted where it was worth it first. */
            rdisk_counter_add(&queue->qp_counters.wakeups, 1);
            woken = false;
        }
    }
    cq->more = taken >= TURN;
    kick_touched(cq);
    if (rdisk_cq_failed(&cq->cq)) {
        break_all(cq);
    }
    return requests;
}

int rdisk_target_cq_fd(const struct rdisk_target_cq *cq)
{
    return rdisk_cq_fd(&cq->cq);
}

void rdisk_target_cq_arm(struct rdisk_target_cq *cq)
{
    rdisk_cq_arm(&cq->cq);
}

bool rdisk_target_cq_more(const struct rdisk_target_cq *cq)
{
    return cq->more;
}

unsigned int rdisk_target_cq_poll(struct rdisk_target_cq *cq)
{
    RDISK_USE(cq);

    return poll_cq(cq, false);
}

unsigned int rdisk_target_cq_process(struct rdisk_target_cq *cq)
{
    RDISK_USE(cq);
    bool woken = rdisk_cq_take_event(&cq->cq);
    unsigned int requests = poll_cq(cq, woken);

    if (cq->more) {
        return requests;
    }
    /* To arm is a system call with some devices: what waits went first. What
     * came in between has no event. */
    rdisk_cq_arm(&cq->cq);
    if (rdisk_cq_pending(&cq->cq) || rdisk_cq_failed(&cq->cq)) {
        requests += poll_cq(cq, false);
    }
    return requests;
}
