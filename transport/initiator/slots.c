/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Slots beyond a queue's base, with RDISK_FEATURE_SLOTS: asked for while
 * requests wait for slots, taken when the server grants them, returned when
 * they are not used or the server recalls them.
 *
 * The home thread sends and takes the messages, the queue's thread uses the
 * slots; a grant goes back and forth between the two by its phase.
 */
#include <string.h>

#include "transport/initiator/session.h"

/* How often it is checked what is used. */
#define CHECK_MS 1000u

static bool agreed(const struct rdisk_initiator *session)
{
    return session->handshake.auth.chosen & RDISK_FEATURE_SLOTS;
}

static int phase_of(const struct rdisk_grant *grant)
{
    return atomic_load_explicit(&grant->phase, memory_order_acquire);
}

static void set_phase(struct rdisk_grant *grant, enum rdisk_grant_phase phase)
{
    atomic_store_explicit(&grant->phase, phase, memory_order_release);
}

/* The home thread has something to send. */
static void report(struct rdisk_queue *queue)
{
    atomic_store(&queue->session->slots.news, true);
    rdisk_initiator_ring_alarm(queue->session);
}

/* ---- Queue's thread ----------------------------------------------------- */

void rdisk_queue_want(struct rdisk_queue *queue)
{
    unsigned int most, wanted, asked;

    if (atomic_load_explicit(&queue->phase, memory_order_acquire) !=
        RDISK_QUEUE_ACTIVE) {
        return; /* the connection is the home thread's */
    }
    if (!queue->grants || !queue->waiting ||
        rdisk_resident_has(queue, queue->waiting) ||
        rdisk_queue_has_slot(queue, queue->waiting) ||
        (queue->needs_answer && atomic_load(&queue->in_slots))) {
        return; /* it waits for something else */
    }
    most = queue->grant_count - atomic_load(&queue->held);
    wanted = atomic_load_explicit(&queue->waiting_count, memory_order_relaxed);
    wanted = wanted < most ? wanted : most;
    asked = atomic_load(&queue->asked);
    /* Not each one by itself: the server has much to do as it is. */
    if (wanted <= asked || (asked && wanted < 2 * asked)) {
        return;
    }
    atomic_store(&queue->wanted, wanted);
    if (!atomic_exchange(&queue->want_due, true)) {
        report(queue);
    }
}

static void take_offered(struct rdisk_queue *queue, struct rdisk_grant *grant)
{
    for (unsigned int i = 0; i < grant->count; i++) {
        uint16_t slot = (uint16_t)(grant->first + grant->count - 1 - i);

        queue->places[slot] = (struct rdisk_place) {
            .payload = grant->base +
                       (uint64_t)(slot - grant->first) * grant->stride +
                       RDISK_HEADER_AREA,
            .rkey = grant->rkey,
            .grant = grant,
        };
        queue->free_large[queue->large_count++] = slot;
    }
    grant->used = 0;
    grant->closing = false;
    set_phase(grant, RDISK_GRANT_HELD);
}

void rdisk_queue_take_grants(struct rdisk_queue *queue)
{
    for (unsigned int i = 0; i < queue->grant_count; i++) {
        if (phase_of(&queue->grants[i]) == RDISK_GRANT_OFFERED) {
            take_offered(queue, &queue->grants[i]);
        }
    }
}

/* None of its slots is in use, or will be. */
static void end_grant(struct rdisk_queue *queue, struct rdisk_grant *grant)
{
    set_phase(grant, RDISK_GRANT_EMPTY);
    report(queue);
}

static void close_grant(struct rdisk_queue *queue, struct rdisk_grant *grant)
{
    unsigned int kept = 0;

    for (unsigned int i = 0; i < queue->large_count; i++) {
        uint16_t slot = queue->free_large[i];

        if (queue->places[slot].grant != grant) {
            queue->free_large[kept++] = slot;
        }
    }
    queue->large_count = kept;
    grant->closing = true;
    if (grant->used == 0) {
        end_grant(queue, grant);
    }
}

void rdisk_queue_close_grants(struct rdisk_queue *queue)
{
    for (unsigned int i = 0; i < queue->grant_count; i++) {
        struct rdisk_grant *grant = &queue->grants[i];

        if (phase_of(grant) == RDISK_GRANT_HELD && !grant->closing &&
            atomic_load(&grant->recalled)) {
            close_grant(queue, grant);
        }
    }
}

/* Out of line, as the next one: the path of small requests stays short. */
__attribute__((noinline)) uint16_t rdisk_queue_take_large(
    struct rdisk_queue *queue)
{
    unsigned int used = atomic_load_explicit(&queue->large_used,
                                             memory_order_relaxed) +
                        1;
    uint16_t slot = queue->free_large[--queue->large_count];

    queue->places[slot].grant->used++;
    atomic_store_explicit(&queue->large_used, used, memory_order_relaxed);
    if (used > atomic_load_explicit(&queue->large_peak, memory_order_relaxed)) {
        atomic_store_explicit(&queue->large_peak, used, memory_order_relaxed);
    }
    return slot;
}

__attribute__((noinline)) void rdisk_queue_release_large(
    struct rdisk_queue *queue, uint16_t slot)
{
    struct rdisk_grant *grant = queue->places[slot].grant;

    atomic_store_explicit(&queue->large_used,
                          atomic_load_explicit(&queue->large_used,
                                               memory_order_relaxed) -
                              1,
                          memory_order_relaxed);
    grant->used--;
    if (!grant->closing) {
        queue->free_large[queue->large_count++] = slot;
    } else if (grant->used == 0) {
        end_grant(queue, grant);
    }
}

/* ---- Home thread: what is sent ------------------------------------------- */

static void send_slots(struct rdisk_queue *queue, enum rdisk_message_type type,
                       unsigned int first, unsigned int count)
{
    struct rdisk_wire_slots wire = {
        .message.type = htole16(type),
        .queue = htole16((uint16_t)queue->link.queue),
        .first = htole16((uint16_t)first),
        .count = htole16((uint16_t)count),
    };

    queue->session->slots.unacknowledged = true;
    rdisk_initiator_send(queue->session, &wire.message, sizeof(wire));
}

static void begin_checks(struct rdisk_initiator *session)
{
    struct rdisk_timers *timers = &session->timers;

    if (timers->slots_check == RDISK_NEVER) {
        timers->slots_check = rdisk_now(session->env) + CHECK_MS * RDISK_MSEC;
    }
}

static bool send_return(struct rdisk_queue *queue)
{
    for (unsigned int i = 0; i < queue->grant_count; i++) {
        struct rdisk_grant *grant = &queue->grants[i];

        if (phase_of(grant) == RDISK_GRANT_EMPTY) {
            set_phase(grant, RDISK_GRANT_NONE);
            atomic_fetch_sub(&queue->held, grant->count);
            rdisk_counter_add(&queue->slot_returns, 1);
            send_slots(queue, RDISK_MSG_SLOTS_RETURN, grant->first,
                       grant->count);
            /* It may have waited for that to ask for more. */
            rdisk_queue_wake(queue);
            return true;
        }
    }
    return false;
}

static bool send_want(struct rdisk_queue *queue)
{
    unsigned int wanted;

    if (queue->want_none) {
        queue->want_none = false;
        atomic_store(&queue->asked, 0);
        send_slots(queue, RDISK_MSG_SLOTS_WANT, 0, 0);
        /* In case that it has begun to wait meanwhile. */
        rdisk_queue_wake(queue);
        return true;
    }
    if (!atomic_exchange(&queue->want_due, false)) {
        return false;
    }
    wanted = atomic_load(&queue->wanted);
    atomic_store(&queue->asked, wanted);
    rdisk_counter_add(&queue->slot_waits, 1);
    send_slots(queue, RDISK_MSG_SLOTS_WANT, 0, wanted);
    begin_checks(queue->session);
    return true;
}

/* One message at a time: the server may have no receive for another one. */
void rdisk_initiator_send_slots(struct rdisk_initiator *session)
{
    struct rdisk_slots *slots = &session->slots;

    if (!agreed(session) || slots->unacknowledged ||
        rdisk_initiator_state(session) != RDISK_INITIATOR_READY ||
        !(atomic_exchange(&slots->news, false) || slots->more)) {
        return;
    }
    slots->more = true; /* until nothing is found */
    for (unsigned int i = 0; i < session->queues.count; i++) {
        struct rdisk_queue *queue = &session->queues.list[i];

        if (send_return(queue) || send_want(queue)) {
            return;
        }
    }
    slots->more = false;
}

void rdisk_initiator_reset_slots(struct rdisk_initiator *session)
{
    session->slots.unacknowledged = session->slots.more = false;
    session->timers.slots_check = RDISK_NEVER;
}

/* ---- Home thread: what is taken ------------------------------------------ */

static struct rdisk_queue *queue_of(struct rdisk_initiator *session,
                                    const struct rdisk_wire_slots *wire)
{
    unsigned int index = le16toh(wire->queue);

    return agreed(session) && index <= session->queues.count
               ? &session->queues.list[index - 1]
               : NULL;
}

static void acknowledge(struct rdisk_initiator *session,
                        const struct rdisk_wire_message *message)
{
    struct rdisk_wire_message ack = {
        .type = htole16(RDISK_MSG_SLOTS_ACK),
        .sequence = message->sequence,
    };

    rdisk_initiator_send(session, &ack, sizeof(ack));
}

/* True if these are numbers of the queue, beyond its base and not granted. */
static bool is_new(const struct rdisk_queue *queue,
                   const struct rdisk_wire_slots *wire)
{
    unsigned int first = le16toh(wire->first), count = le16toh(wire->count);

    if (first < queue->base_slots || first + count > queue->slots ||
        le32toh(wire->slot_size) != queue->session->info.max_transfer) {
        return false;
    }
    for (unsigned int i = 0; i < queue->grant_count; i++) {
        const struct rdisk_grant *grant = &queue->grants[i];

        if (phase_of(grant) != RDISK_GRANT_NONE &&
            first < grant->first + grant->count &&
            grant->first < first + count) {
            return false;
        }
    }
    return true;
}

/* Let it see what has changed; none needs to be there to do so. */
static void show(struct rdisk_queue *queue)
{
    atomic_store(&queue->grants_changed, true);
    rdisk_queue_wake(queue);
}

/* A queue that no thread serves has nothing in flight. True if it is one; what
 * was offered to it is taken, and what is recalled is closed. */
static bool close_unserved(struct rdisk_queue *queue)
{
    int joined = RDISK_QUEUE_JOINED;

    if (!atomic_compare_exchange_strong(&queue->phase, &joined,
                                        RDISK_QUEUE_QUIESCED)) {
        return false;
    }
    rdisk_queue_take_grants(queue);
    rdisk_queue_close_grants(queue);
    atomic_store(&queue->phase, RDISK_QUEUE_JOINED);
    return true;
}

static void keep(struct rdisk_queue *queue, const struct rdisk_wire_slots *wire)
{
    unsigned int count = le16toh(wire->count);
    unsigned int asked = atomic_load(&queue->asked);
    struct rdisk_grant *grant =
        &queue->grants[le16toh(wire->first) - queue->base_slots];

    grant->first = le16toh(wire->first);
    grant->count = (uint16_t)count;
    grant->base = le64toh(wire->base);
    grant->stride = le32toh(wire->stride);
    grant->rkey = le32toh(wire->rkey);
    atomic_store(&grant->recalled, false);
    set_phase(grant, RDISK_GRANT_OFFERED);
    atomic_fetch_add(&queue->held, count);
    atomic_store(&queue->asked, asked > count ? asked - count : 0);
    /* They count as used for a while. */
    for (unsigned int i = 0; i < RDISK_SLOT_CHECKS; i++) {
        queue->peaks[i] = queue->grant_count;
    }
    rdisk_counter_add(&queue->slot_grants, 1);
}

void rdisk_initiator_take_grant(struct rdisk_initiator *session,
                                const struct rdisk_wire_message *message)
{
    const struct rdisk_wire_slots *wire = (const struct rdisk_wire_slots *)
        message;
    struct rdisk_queue *queue = queue_of(session, wire);

    if (rdisk_initiator_state(session) != RDISK_INITIATOR_READY) {
        return; /* it ends */
    }
    if (!queue || !is_new(queue, wire)) {
        rdisk_initiator_bad_message(session, "SLOTS_GRANT of slots that "
                                             "are not its to grant");
        return;
    }
    keep(queue, wire);
    acknowledge(session, message);
    begin_checks(session);
    show(queue);
}

/* It may have been returned at the same time. */
void rdisk_initiator_take_recall(struct rdisk_initiator *session,
                                 const struct rdisk_wire_message *message)
{
    const struct rdisk_wire_slots *wire = (const struct rdisk_wire_slots *)
        message;
    struct rdisk_queue *queue = queue_of(session, wire);

    if (rdisk_initiator_state(session) != RDISK_INITIATOR_READY) {
        return; /* it ends */
    }
    if (!queue) {
        rdisk_initiator_bad_message(session, "SLOTS_RECALL that was not "
                                             "agreed on");
        return;
    }
    for (unsigned int i = 0; i < queue->grant_count; i++) {
        struct rdisk_grant *grant = &queue->grants[i];

        if (phase_of(grant) != RDISK_GRANT_NONE &&
            grant->first == le16toh(wire->first)) {
            atomic_store(&grant->recalled, true);
        }
    }
    close_unserved(queue);
    acknowledge(session, message);
    show(queue);
}

void rdisk_initiator_take_slots_ack(struct rdisk_initiator *session,
                                    const struct rdisk_wire_message *message)
{
    if (!session->slots.unacknowledged) {
        rdisk_initiator_bad_message(session, "SLOTS_ACK without SLOTS_WANT "
                                             "or SLOTS_RETURN");
        return;
    }
    session->slots.unacknowledged = false;
}

/* ---- Home thread: what is not used --------------------------------------- */

/* The most slots beyond its base that it has used for some seconds. */
static unsigned int used_lately(struct rdisk_queue *queue)
{
    unsigned int now = atomic_load(&queue->large_used);
    unsigned int most = atomic_exchange(&queue->large_peak, now);

    most = now > most ? now : most;
    queue->peaks[queue->check++ % RDISK_SLOT_CHECKS] = most;
    for (unsigned int i = 0; i < RDISK_SLOT_CHECKS; i++) {
        most = queue->peaks[i] > most ? queue->peaks[i] : most;
    }
    return most;
}

/* Slots beyond its base that it may use. */
static unsigned int open_slots(const struct rdisk_queue *queue)
{
    unsigned int count = 0;

    for (unsigned int i = 0; i < queue->grant_count; i++) {
        const struct rdisk_grant *grant = &queue->grants[i];

        if (phase_of(grant) != RDISK_GRANT_NONE &&
            !atomic_load(&grant->recalled)) {
            count += grant->count;
        }
    }
    return count;
}

/* True if it is to be checked again. */
static bool check(struct rdisk_queue *queue)
{
    /* What was offered or recalled since its thread left. */
    bool any = close_unserved(queue);
    unsigned int open = open_slots(queue), used = used_lately(queue);
    unsigned int unused = open > used ? open - used : 0;

    for (unsigned int i = queue->grant_count; i-- > 0;) {
        struct rdisk_grant *grant = &queue->grants[i];

        if (phase_of(grant) == RDISK_GRANT_HELD &&
            !atomic_load(&grant->recalled) && grant->count <= unused) {
            unused -= grant->count;
            atomic_store(&grant->recalled, true);
            any = true;
        }
    }
    if (atomic_load(&queue->asked) && !atomic_load(&queue->waiting_count)) {
        queue->want_none = true;
        atomic_store(&queue->session->slots.news, true);
    }
    if (any) {
        close_unserved(queue);
        show(queue);
    }
    return atomic_load(&queue->held) || atomic_load(&queue->asked);
}

void rdisk_initiator_check_slots(struct rdisk_initiator *session)
{
    bool again = false;

    session->timers.slots_check = RDISK_NEVER;
    for (unsigned int i = 0; i < session->queues.count; i++) {
        if (session->queues.list[i].grants) {
            again = check(&session->queues.list[i]) || again;
        }
    }
    if (again) {
        begin_checks(session);
    }
}
