/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/session/slots.h"

#include <stdlib.h>

#include "common/thread.h"

struct slots *slots_register(struct queue *queue,
                             struct rdisk_target_grant *grant)
{
    struct reactor *reactor = queue->worker->reactor;
    struct slots *slots = calloc(1, sizeof(*slots));

    assert_reactor_thread(NULL);
    if (!slots) {
        return NULL;
    }
    slots->buffer[RING_ORDINARY] = reactor_buffer_add(reactor, RING_ORDINARY,
                                                      grant->memory,
                                                      grant->length);
    slots->buffer[RING_POLLED] = queue_polls(queue)
                                     ? reactor_buffer_add(reactor, RING_POLLED,
                                                          grant->memory,
                                                          grant->length)
                                     : -1;
    slots->grant = grant;
    slots->next = queue->registered;
    queue->registered = slots;
    grant->user = slots;
    return slots;
}

static void unregister(struct queue *queue, struct slots *slots)
{
    for (unsigned int ring = 0; ring < RING_KINDS; ring++) {
        reactor_buffer_remove(queue->worker->reactor, ring,
                              slots->buffer[ring]);
    }
    slots->grant->user = NULL;
    free(slots);
}

void slots_unregister_all(struct queue *queue)
{
    assert_reactor_thread(NULL);
    while (queue->registered) {
        struct slots *slots = queue->registered;

        queue->registered = slots->next;
        unregister(queue, slots);
    }
}
