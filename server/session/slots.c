/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/session/slots.h"

#include "common/container_of.h"
#include "common/thread.h"

static struct rdisk_target_grant *grant_of(struct slots *slots)
{
    return container_of(slots, struct rdisk_target_grant, owner);
}

/* ---- Registration ----------------------------------------------------- */

void slots_register(struct queue *queue, struct rdisk_target_grant *grant)
{
    struct reactor *reactor = queue->worker->reactor;
    struct slots *slots = slots_of(grant);

    assert_reactor_thread(NULL);
    slots->buffer[RING_ORDINARY] = reactor_buffer_add(reactor, RING_ORDINARY,
                                                      grant->memory,
                                                      grant->length);
    slots->buffer[RING_POLLED] = queue_polls(queue)
                                     ? reactor_buffer_add(reactor, RING_POLLED,
                                                          grant->memory,
                                                          grant->length)
                                     : -1;
    slots->registered = true;
    slots->next = queue->registered;
    queue->registered = slots;
}

/* It is not on the list any more. */
static void unregister(struct queue *queue, struct slots *slots)
{
    for (unsigned int ring = 0; ring < RING_KINDS; ring++) {
        reactor_buffer_remove(queue->worker->reactor, ring,
                              slots->buffer[ring]);
    }
    slots->registered = false;
}

/* ---- Slots that come back ---------------------------------------------- */

/* Control thread: the reactor has done with them, or its queue has left. */
static void release_run(struct message *message)
{
    struct slots *slots = container_of(message, struct slots, message);
    struct queue *queue = slots->queue;

    assert_control_thread();
    queue->returning--;
    if (!slots->dropped) {
        rdisk_target_grant_release(queue->target, grant_of(slots));
    }
    if (queue->gone && !queue->returning) {
        queue->left(queue);
    }
}

static void send_home(struct slots *slots, bool dropped)
{
    slots->dropped = dropped;
    slots->message.run = release_run;
    mailbox_send(slots->queue->home, &slots->message);
}

static void retire_run(struct message *message)
{
    struct slots *slots = container_of(message, struct slots, message);
    struct queue *queue = slots->queue;

    assert_reactor_thread(NULL);
    if (queue->state != QUEUE_RUNNING) {
        send_home(slots, true);
        return;
    }
    slots->next_retiring = queue->retiring;
    queue->retiring = slots;
    rdisk_target_grant_retire(queue->target, grant_of(slots));
}

void slots_returned_event(void *queue_user, struct rdisk_target_grant *grant)
{
    struct queue *queue = queue_user;
    struct slots *slots = slots_of(grant);

    assert_control_thread();
    queue->returning++;
    slots->queue = queue;
    slots->message.run = retire_run;
    reactor_send(queue->worker->reactor, &slots->message);
}

static void remove_registered(struct queue *queue, struct slots *slots)
{
    struct slots **link = &queue->registered;

    while (*link != slots) {
        link = &(*link)->next;
    }
    *link = slots->next;
    unregister(queue, slots);
}

void slots_idle_event(void *queue_user, struct rdisk_target_grant *grant)
{
    struct queue *queue = queue_user;
    struct slots *slots = slots_of(grant), **link = &queue->retiring;

    assert_reactor_thread(NULL);
    if (slots->registered) {
        remove_registered(queue, slots);
    }
    while (*link != slots) {
        link = &(*link)->next_retiring;
    }
    *link = slots->next_retiring;
    send_home(slots, false);
}

void slots_leave(struct queue *queue)
{
    assert_reactor_thread(NULL);
    while (queue->registered) {
        struct slots *slots = queue->registered;

        queue->registered = slots->next;
        unregister(queue, slots);
    }
    while (queue->retiring) {
        struct slots *slots = queue->retiring;

        queue->retiring = slots->next_retiring;
        send_home(slots, true);
    }
}
