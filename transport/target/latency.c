/* SPDX-License-Identifier: BSD-3-Clause */
/* How long a server's queue takes for its requests. */
#include "transport/target/queue.h"
#include "transport/target/session.h"

void rdisk_target_queue_answered(struct rdisk_target_queue *queue,
                                 const struct rdisk_target_slot *slot)
{
    unsigned int i;

    if ((unsigned int)slot->request.op >= RDISK_OPS) {
        return; /* refused because there is no such thing */
    }
    if (queue->answered_count == RDISK_ANSWERED_MAX) {
        rdisk_target_queue_posted(queue);
    }
    i = queue->answered_count++;
    queue->answered[i].received = slot->request.received;
    queue->answered[i].op = slot->request.op;
}

void rdisk_target_queue_posted(struct rdisk_target_queue *queue)
{
    uint64_t now;

    if (queue->answered_count == 0) {
        return;
    }
    now = rdisk_stopwatch(queue->session->target->env);
    for (unsigned int i = 0; i < queue->answered_count; i++) {
        rdisk_histogram_add(&queue->latency[queue->answered[i].op],
                            rdisk_took(queue->answered[i].received, now));
    }
    queue->answered_count = 0;
}
