/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which queues get the server's memory: with RDISK_FEATURE_SLOTS a queue begins
 * with a few small slots, and gets more while its requests wait for slots.
 * Control thread.
 *
 * A session may have as many bytes beyond its base as are left after that, so
 * that a part of the memory is always left for others. When a queue cannot get
 * what it wants, the session that has the most is asked to return some. A queue
 * without any beyond its base gets the first of what is there, so that a large
 * request is carried out however many sessions there are.
 */
#include <assert.h>
#include <errno.h>

#include "transport/base/least.h"
#include "transport/target/queue.h"
#include "transport/target/session.h"

/* Slots of a grant: at most, and if there is memory, at least. */
#define GRANT_MOST  8u
#define GRANT_LEAST 4u
/* A session that does not return what it is asked for is not waited for any
 * longer: another one is asked. Memory that the kernel has refused is requested
 * again after the same time. */
#define AGAIN_MS 1000u
/* Registering memory takes time: sessions' messages have their turn. */
#define GRANTS_PER_TURN 8u

/* ---- The base ---------------------------------------------------------- */

/* Payload bytes of a slot, at most. */
#define BASE_SLOT_MOST (24u << 10)

void rdisk_target_base(const struct rdisk_target_session *session,
                       unsigned int *slots, uint32_t *slot_size)
{
    uint32_t most = session->granted_slot_size;
    unsigned int each = session->target->options.base_memory /
                        session->granted_queues;
    unsigned int count = each / rdisk_target_stride(BASE_SLOT_MOST);
    uint32_t size;

    count = count < 1                      ? 1
            : count < RDISK_BASE_SLOTS_MAX ? count
                                           : RDISK_BASE_SLOTS_MAX;
    size = each / count < rdisk_target_stride(RDISK_SLOT_SIZE_MIN)
               ? RDISK_SLOT_SIZE_MIN
               : each / count - RDISK_HEADER_AREA;
    size -= size % RDISK_SLOT_SIZE_MIN;
    size = size < BASE_SLOT_MOST ? size : BASE_SLOT_MOST;
    *slots = count;
    *slot_size = size < most ? size : most;
}

/* ---- Lists ------------------------------------------------------------- */

static struct rdisk_target_queue *find_queue(
    const struct rdisk_target_session *session, unsigned int index)
{
    struct rdisk_target_queue *queue = session->queues;

    while (queue && queue->index != index) {
        queue = queue->next;
    }
    return queue;
}

static void stop_waiting(struct rdisk_target *target,
                         struct rdisk_target_queue *queue)
{
    struct rdisk_target_queue **link = &target->waiting;

    queue->wanted = 0;
    while (*link && *link != queue) {
        link = &(*link)->next_waiting;
    }
    if (*link) {
        *link = queue->next_waiting;
        queue->next_waiting = NULL;
    }
}

static void wait_for_slots(struct rdisk_target *target,
                           struct rdisk_target_queue *queue,
                           unsigned int wanted)
{
    struct rdisk_target_queue **link = &target->waiting;

    if (queue->wanted) {
        queue->wanted = wanted; /* and keeps its place */
        return;
    }
    while (*link) {
        link = &(*link)->next_waiting;
    }
    *link = queue;
    queue->wanted = wanted;
}

/* ---- Messages ---------------------------------------------------------- */

static enum rdisk_target_event send_slots(
    struct rdisk_target_queue *queue, enum rdisk_message_type type,
    const struct rdisk_target_slots *slots)
{
    struct rdisk_wire_slots wire = {
        .message.type = htole16(type),
        .queue = htole16((uint16_t)queue->index),
        .first = htole16((uint16_t)slots->first),
        .count = htole16((uint16_t)slots->count),
    };

    if (type == RDISK_MSG_SLOTS_GRANT) {
        wire.slot_size = htole32(slots->slot_size);
        wire.stride = htole32(rdisk_target_stride(slots->slot_size));
        wire.base = htole64((uintptr_t)slots->grant.memory);
        wire.rkey = htole32(slots->mr->rkey);
    }
    queue->session->slots_unacknowledged = true;
    return rdisk_target_session_reply(queue->session, &wire.message,
                                      sizeof(wire));
}

static enum rdisk_target_event acknowledge(struct rdisk_target_session *session,
                                           const struct rdisk_wire_message *to)
{
    struct rdisk_wire_message ack = {
        .type = htole16(RDISK_MSG_SLOTS_ACK),
        .sequence = to->sequence,
    };

    return rdisk_target_session_reply(session, &ack, sizeof(ack));
}

static enum rdisk_target_event violated(struct rdisk_target_session *session,
                                        const char *text)
{
    return rdisk_target_session_violated(session, RDISK_STATUS_BAD_MESSAGE,
                                         text);
}

static bool agreed(const struct rdisk_target_session *session)
{
    return session->features & RDISK_FEATURE_SLOTS;
}

/* Slots beyond its base that it does not have. */
static unsigned int ungranted(const struct rdisk_target_queue *queue)
{
    return queue->slots - queue->base->count - queue->granted;
}

enum rdisk_target_event rdisk_target_session_wants(
    struct rdisk_target_session *session, const void *message)
{
    const struct rdisk_wire_slots *wire = message;
    struct rdisk_target_queue *queue = find_queue(session,
                                                  le16toh(wire->queue));
    unsigned int wanted = le16toh(wire->count);

    if (!agreed(session) || !queue) {
        return violated(session, "SLOTS_WANT that was not agreed on, or of a "
                                 "queue that has not joined");
    }
    if (wanted) {
        if (!queue->wanted) {
            session->slot_counters.waits++;
            session->target->totals.slots.waits++;
        }
        wait_for_slots(session->target, queue, wanted);
    } else {
        stop_waiting(session->target, queue);
    }
    session->target->share_due = true;
    return acknowledge(session, &wire->message);
}

enum rdisk_target_event rdisk_target_session_acknowledged(
    struct rdisk_target_session *session, const void *message)
{
    if (!session->slots_unacknowledged) {
        return violated(session, "SLOTS_ACK without SLOTS_GRANT or "
                                 "SLOTS_RECALL");
    }
    session->slots_unacknowledged = false;
    session->target->share_due = true;
    return RDISK_TARGET_NO_EVENT;
}

static struct rdisk_target_slots *find_slots(
    const struct rdisk_target_queue *queue, const struct rdisk_wire_slots *wire)
{
    struct rdisk_target_slots *slots = queue ? queue->grants : NULL;

    while (slots && (slots->first != le16toh(wire->first) ||
                     slots->count != le16toh(wire->count))) {
        slots = slots->next;
    }
    return slots;
}

/* A recall is answered, or will not be. */
static void end_recall(struct rdisk_target *target,
                       struct rdisk_target_slots *slots)
{
    if (slots->recalled) {
        slots->recalled = false;
        target->recalls--;
    }
}

/* The reactor checks them before they are given back. */
enum rdisk_target_event rdisk_target_session_returned(
    struct rdisk_target_session *session, const void *message)
{
    const struct rdisk_wire_slots *wire = message;
    struct rdisk_target_queue *queue = find_queue(session,
                                                  le16toh(wire->queue));
    struct rdisk_target_slots *slots = find_slots(queue, wire);

    if (!slots || slots->returned) {
        return violated(session, "SLOTS_RETURN of slots that were not granted");
    }
    end_recall(session->target, slots);
    slots->returned = true;
    session->slot_counters.returns++;
    session->target->totals.slots.returns++;
    session->target->events->slots_returned(queue->user, &slots->grant);
    return acknowledge(session, &wire->message);
}

/* ---- Memory ------------------------------------------------------------ */

static void count_memory(struct rdisk_target_session *session, int64_t bytes)
{
    session->memory += (uint64_t)bytes;
    session->growth += (uint64_t)bytes;
    session->target->memory += (uint64_t)bytes;
    session->target->growth += (uint64_t)bytes;
}

static void remove_grant(struct rdisk_target_queue *queue,
                         struct rdisk_target_slots *slots)
{
    struct rdisk_target *target = queue->session->target;
    struct rdisk_target_slots **link = &queue->grants;

    while (*link != slots) {
        link = &(*link)->next;
    }
    *link = slots->next;
    queue->granted -= slots->count;
    end_recall(target, slots);
    count_memory(queue->session, -(int64_t)slots->grant.length);
    rdisk_target_slots_destroy(queue, slots);
    target->share_due = true;
}

void rdisk_target_share_leave(struct rdisk_target_queue *queue)
{
    stop_waiting(queue->session->target, queue);
    while (queue->grants) {
        remove_grant(queue, queue->grants);
    }
}

void rdisk_target_grant_release(struct rdisk_target_queue *queue,
                                struct rdisk_target_grant *grant)
{
    struct rdisk_target *target = queue->session->target;
    RDISK_USE(target);

    remove_grant(queue, (struct rdisk_target_slots *)grant);
    if (!target->processing) {
        rdisk_target_share(target);
    }
}

/* The numbers of up to @count slots side by side that are not granted; @count
 * gets how many. */
static unsigned int find_numbers(const struct rdisk_target_queue *queue,
                                 unsigned int *count)
{
    unsigned int first = queue->base->count, length = 0;

    for (unsigned int i = first; i < queue->slots && length < *count; i++) {
        const struct rdisk_target_slots *slots = queue->grants;

        while (slots &&
               (i < slots->first || i >= slots->first + slots->count)) {
            slots = slots->next;
        }
        if (!slots) {
            length++;
        } else if (length) {
            break;
        } else {
            i = slots->first + slots->count - 1;
            first = i + 1;
        }
    }
    *count = length;
    return first;
}

/* Bytes of the server's memory that no session has. */
static uint64_t left_of(const struct rdisk_target *target)
{
    uint64_t most = target->options.max_memory;

    return most > target->memory ? most - target->memory : 0;
}

/* Bytes beyond the bases that the sessions of its client have. */
static uint64_t growth_of_client(const struct rdisk_target_session *session)
{
    uint64_t sum = 0;

    for (const struct rdisk_target_session *other = session->target->sessions;
         other; other = other->next) {
        sum += rdisk_target_same_user(other, session) ? other->growth : 0;
    }
    return sum;
}

/*
 * Bytes that this queue may get now; *@own if it is its client that has no
 * more. Where no queue has any beyond its base, the first that waits gets one
 * slot, even if that exceeds a limit, which bases and sessions without
 * RDISK_FEATURE_SLOTS may have used up: its request could not be carried out.
 */
static uint64_t allowed(const struct rdisk_target_queue *queue, bool *own)
{
    const struct rdisk_target_session *session = queue->session;
    uint64_t left = left_of(session->target);
    uint64_t one = rdisk_target_stride(session->granted_slot_size);
    uint64_t bytes = left > session->growth ? (left - session->growth) / 2 : 0;
    uint64_t quota = rdisk_target_quota_left(session);

    if (!queue->granted && bytes < one &&
        (left >= one || !session->target->growth)) {
        bytes = one;
    }
    if (!queue->granted && quota < one && !growth_of_client(session)) {
        quota = one;
    }
    *own = quota < one;
    return quota < bytes ? quota : bytes;
}

/* True if it has got some. */
static bool grant(struct rdisk_target_queue *queue, bool *own)
{
    struct rdisk_target_session *session = queue->session;
    uint32_t size = session->granted_slot_size;
    uint64_t most = allowed(queue, own) / rdisk_target_stride(size);
    unsigned int count = queue->wanted > GRANT_LEAST ? queue->wanted
                                                     : GRANT_LEAST;
    struct rdisk_target_slots *slots;
    struct rdisk_error err;
    unsigned int first, rest;

    count = count < GRANT_MOST ? count : GRANT_MOST;
    count = most < count ? (unsigned int)most : count;
    if (!count) {
        return false;
    }
    first = find_numbers(queue, &count);
    assert(count);
    slots = rdisk_target_slots_create(queue, first, count, size, &err);
    if (!slots) {
        rdisk_log(session->target->env, RDISK_LOG_WARNING,
                  "%s: queue %u gets no more slots: %s", session->request.peer,
                  queue->index, err.text);
        session->target->memory_again = rdisk_now(session->target->env) +
                                        AGAIN_MS * RDISK_MSEC;
        return false;
    }
    slots->next = queue->grants;
    queue->grants = slots;
    queue->granted += count;
    count_memory(session, (int64_t)slots->grant.length);
    session->slot_counters.grants++;
    session->target->totals.slots.grants++;
    /* The others' turn first. */
    rest = queue->wanted > count ? queue->wanted - count : 0;
    stop_waiting(session->target, queue);
    if (rest) {
        wait_for_slots(session->target, queue, rest);
    }
    rdisk_target_session_step(session,
                              send_slots(queue, RDISK_MSG_SLOTS_GRANT, slots));
    return true;
}

/* ---- Recalls ----------------------------------------------------------- */

static bool serves(const struct rdisk_target_session *session)
{
    return rdisk_target_session_joinable(session) &&
           !session->slots_unacknowledged;
}

/* The oldest grant of the queue that has the most. */
static struct rdisk_target_slots *largest_of(
    const struct rdisk_target_session *session)
{
    struct rdisk_target_slots *found = NULL;
    unsigned int most = 0;

    for (struct rdisk_target_queue *queue = session->queues; queue;
         queue = queue->next) {
        for (struct rdisk_target_slots *slots = queue->grants; slots;
             slots = slots->next) {
            if (slots->recalled) {
                return NULL; /* it has not returned what was recalled */
            }
            if (queue->granted >= most && !slots->recalled &&
                !slots->returned) {
                most = queue->granted;
                found = slots;
            }
        }
    }
    return found;
}

/* True if it is fairer that @queue has what @other has in @slots: the sum of
 * the squares of what they have falls by that, so nothing goes back and forth.
 */
static bool fairer(const struct rdisk_target_queue *queue,
                   const struct rdisk_target_session *other,
                   const struct rdisk_target_slots *slots)
{
    return !queue->granted ||
           (other != queue->session &&
            other->growth > queue->session->growth + slots->grant.length);
}

/* Ask the session that has the most to return some of it. */
static void recall(struct rdisk_target_queue *queue, bool own)
{
    struct rdisk_target *target = queue->session->target;
    struct rdisk_target_slots *found = NULL;
    uint64_t most = 0;

    if (target->recalls && target->share_again != RDISK_NEVER) {
        return;
    }
    for (struct rdisk_target_session *session = target->sessions; session;
         session = session->next) {
        struct rdisk_target_slots *slots;

        if (session->growth < most || !serves(session) ||
            (own && !rdisk_target_same_user(session, queue->session))) {
            continue;
        }
        slots = largest_of(session);
        if (slots && fairer(queue, session, slots) &&
            (session->growth > most || slots->serial < found->serial)) {
            found = slots;
            most = session->growth;
        }
    }
    if (!found) {
        return;
    }
    found->recalled = true;
    target->recalls++;
    target->share_again = rdisk_now(target->env) + AGAIN_MS * RDISK_MSEC;
    found->queue->session->slot_counters.recalls++;
    target->totals.slots.recalls++;
    rdisk_target_session_step(found->queue->session,
                              send_slots(found->queue, RDISK_MSG_SLOTS_RECALL,
                                         found));
}

/* ---- Sharing ----------------------------------------------------------- */

/* True if @queue is worse off than @other. */
static bool needs_more(const struct rdisk_target_queue *queue,
                       const struct rdisk_target_queue *other)
{
    if (!other || !queue->granted != !other->granted) {
        return !other || !queue->granted;
    }
    return queue->session->growth < other->session->growth;
}

/* Each that waits gets one grant, in the order of their requests. If it is not
 * enough for all, something is recalled for the one that has least. */
void rdisk_target_share(struct rdisk_target *target)
{
    struct rdisk_target_queue *queue = target->waiting, *next;
    struct rdisk_target_queue *needy = NULL;
    unsigned int granted = 0;
    bool own = false, its_own = false;

    target->share_due = false;
    if (rdisk_now(target->env) >= target->share_again) {
        target->share_again = RDISK_NEVER;
    }
    if (rdisk_now(target->env) >= target->memory_again) {
        target->memory_again = RDISK_NEVER;
    }
    for (; queue && granted < GRANTS_PER_TURN; queue = next) {
        next = queue->next_waiting;
        if (!rdisk_target_session_joinable(queue->session) ||
            atomic_load(&queue->qp.broken) || !ungranted(queue)) {
            continue;
        }
        own = false;
        if (serves(queue->session) && target->memory_again == RDISK_NEVER &&
            grant(queue, &own)) {
            granted++;
        } else if (queue->wanted && !queue->session->slots_unacknowledged &&
                   needs_more(queue, needy)) {
            needy = queue;
            its_own = own;
        }
    }
    target->share_due = target->share_due || queue;
    if (needy && needy->wanted) {
        recall(needy, its_own);
    }
}

void rdisk_target_session_slots(const struct rdisk_target_session *session,
                                struct rdisk_target_slot_counters *counters)
{
    *counters = session->slot_counters;
    counters->memory = session->memory;
    for (const struct rdisk_target_queue *queue = session->queues; queue;
         queue = queue->next) {
        counters->slots += queue->base->count + queue->granted;
        counters->wanted += queue->wanted;
    }
}

uint64_t rdisk_target_share_deadline(const struct rdisk_target *target)
{
    return target->share_due ? 0
           : target->waiting
               ? rdisk_least(target->share_again, target->memory_again)
               : RDISK_NEVER;
}
