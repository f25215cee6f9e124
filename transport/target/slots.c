/* SPDX-License-Identifier: BSD-3-Clause */
/* The memory of slots: allocated, registered, and in their queue's table. */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

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
        slot->slots = slots;
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
