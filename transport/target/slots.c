/* SPDX-License-Identifier: BSD-3-Clause */
/* The memory of slots: allocated, registered, and in their queue's table. */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "transport/target/queue.h"
#include "transport/target/session.h"
#include "transport/verbs/mr.h"

static void *allocate(size_t length)
{
    void *memory = mmap(NULL, length, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED) {
        return NULL;
    }
    /* May fail. Huge pages are pinned, by the device and by io_uring, in a
     * fraction of the time, during which the reactor's other queues wait. */
    madvise(memory, length, MADV_HUGEPAGE);
    /* Clients' data does not belong in a core dump. */
    madvise(memory, length, MADV_DONTDUMP);
    return memory;
}

static void enter(struct rdisk_target_queue *queue,
                  struct rdisk_target_slots *slots)
{
    uint8_t *payload = (uint8_t *)slots->grant.memory + RDISK_HEADER_AREA;

    for (unsigned int i = 0; i < slots->count; i++) {
        struct rdisk_target_slot *slot = &queue->slot[slots->first + i];

        slot->request.data = payload;
        slot->request.grant = &slots->grant;
        atomic_store_explicit(&slot->slots, slots, memory_order_release);
        payload += rdisk_target_stride(slots->slot_size);
    }
}

struct rdisk_target_slots *rdisk_target_slots_create(
    struct rdisk_target_queue *queue, unsigned int first, unsigned int count,
    uint32_t slot_size, struct rdisk_error *err)
{
    struct rdisk_target_session *session = queue->session;
    struct rdisk_target_slots *slots = calloc(1, sizeof(*slots));
    size_t length = rdisk_target_slots_size(count, slot_size);

    if (!slots || !(slots->grant.memory = allocate(length))) {
        rdisk_error_set(err, -ENOMEM, "no memory for %zu bytes of slots",
                        length);
        free(slots);
        return NULL;
    }
    slots->queue = queue;
    slots->serial = session->target->grants++;
    slots->grant.length = length;
    slots->first = first;
    slots->count = count;
    slots->slot_size = slot_size;
    slots->mr = rdisk_mr_register(session->target->env->verbs, session->pd,
                                  slots->grant.memory, length,
                                  IBV_ACCESS_REMOTE_WRITE, err);
    if (!slots->mr) {
        munmap(slots->grant.memory, length);
        free(slots);
        return NULL;
    }
    enter(queue, slots);
    return slots;
}

/* ---- The end ----------------------------------------------------------- */

/* True if one of them is in use, against what the client has stated. */
static bool in_use(struct rdisk_target_queue *queue,
                   const struct rdisk_target_slots *slots,
                   struct rdisk_error *err)
{
    for (unsigned int i = 0; i < slots->count; i++) {
        if (queue->slot[slots->first + i].busy) {
            rdisk_error_set(err, -EPROTO,
                            "%u slots from %u were returned with a request in "
                            "slot %u that is not answered",
                            slots->count, slots->first, slots->first + i);
            return true;
        }
    }
    return false;
}

void rdisk_target_grant_retire(struct rdisk_target_queue *queue,
                               struct rdisk_target_grant *grant)
{
    struct rdisk_target_slots *slots = (struct rdisk_target_slots *)grant;
    struct rdisk_target_slots **link = &queue->retiring;
    struct rdisk_error err;

    if (in_use(queue, slots, &err)) {
        rdisk_target_queue_violated(queue, &err);
    } else {
        for (unsigned int i = 0; i < slots->count; i++) {
            atomic_store(&queue->slot[slots->first + i].slots, NULL);
        }
        while (*link) {
            link = &(*link)->next_retiring;
        }
        *link = slots;
    }
    rdisk_target_queue_kick(queue);
}

/*
 * The client has the answers that were read from the slots, but its
 * acknowledgement may be lost, and the device send them again, until a later
 * send is known to have completed.
 */
void rdisk_target_slots_fence(struct rdisk_target_queue *queue)
{
    struct rdisk_target_slots *slots = queue->retiring;

    for (; slots && rdisk_qp_room(&queue->qp); slots = slots->next_retiring) {
        struct ibv_send_wr *wr;

        if (slots->fenced) {
            continue;
        }
        wr = rdisk_qp_stage(&queue->qp);
        wr->opcode = IBV_WR_RDMA_WRITE;
        wr->send_flags = IBV_SEND_SIGNALED;
        /* A write of nothing: no key is needed. */
        wr->wr.rdma.remote_addr = 0;
        wr->wr.rdma.rkey = 0;
        slots->fence = rdisk_qp_staged(&queue->qp);
        slots->fenced = true;
    }
}

void rdisk_target_slots_end(struct rdisk_target_queue *queue)
{
    while (queue->retiring && queue->retiring->fenced &&
           rdisk_qp_sent(&queue->qp, queue->retiring->fence)) {
        struct rdisk_target_slots *slots = queue->retiring;

        queue->retiring = slots->next_retiring;
        queue->session->target->events->slots_idle(queue->user, &slots->grant);
    }
}

void rdisk_target_slots_destroy(struct rdisk_target_queue *queue,
                                struct rdisk_target_slots *slots)
{
    if (!slots) {
        return;
    }
    rdisk_mr_deregister(queue->session->target->env->verbs, slots->mr);
    munmap(slots->grant.memory, slots->grant.length);
    free(slots);
}
