/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Internal to the transport: a table of registered memory. A device has one
 * with all that is registered there, and each session on it one with a part of
 * that: what its owner has registered. A session uses only its own, since
 * another one may remove its ranges at any time, with requests in flight or
 * not.
 *
 * Ranges are added and removed rarely (a guest's RAM blocks) and looked up on
 * every request. Writers take a mutex; readers take no lock: a sequence count
 * shows when a writer was in between, and they read again.
 */
#ifndef RDISK_INITIATOR_MEMORY_H
#define RDISK_INITIATOR_MEMORY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rdisk/error.h>
#include "transport/verbs/verbs.h"

struct rdisk_memory_table;

struct rdisk_memory {
    struct rdisk_memory *whole; /* NULL, or what this is a part of; then
                                       the next three are not used */
    const struct rdisk_verbs *verbs;
    struct ibv_pd *pd;    /* borrowed from the device */
    int access;           /* IBV_ACCESS_…, in addition to local use */
    pthread_mutex_t lock; /* writers; covers all but the atomics */
    atomic_uint sequence; /* odd while a writer is at work */
    struct rdisk_memory_table *_Atomic table;
    struct rdisk_memory_table *old; /* outgrown tables, readers may hold them */
};

struct rdisk_memory_keys {
    uint32_t lkey;
    uint32_t rkey;
    struct ibv_mr *mr; /* to bind windows to; as long as the range
                                   stays registered */
};

int rdisk_memory_init(struct rdisk_memory *memory,
                      const struct rdisk_verbs *verbs, struct ibv_pd *pd,
                      int access);
/* A part of @whole, which exists longer: each range that is added is registered
 * there, or counted as used once more. */
int rdisk_memory_init_part(struct rdisk_memory *memory,
                           struct rdisk_memory *whole);
/* Deregisters what is left. No reader may be active. */
void rdisk_memory_destroy(struct rdisk_memory *memory);

/*
 * Register a range with the table's access, or count one more user of exactly
 * this range. Takes as long as the kernel needs to pin the pages.
 * Returns 0 or a negative errno with a sentence.
 */
int rdisk_memory_add(struct rdisk_memory *memory, void *address, size_t length,
                     struct rdisk_error *err);
void rdisk_memory_remove(struct rdisk_memory *memory, void *address,
                         size_t length);

/* Where a thread found its last range: the next request is often in it. Zeroed
 * at first. */
struct rdisk_memory_hint {
    const struct rdisk_memory *memory; /* NULL: nothing */
    unsigned int sequence;             /* of it at that time */
    uintptr_t start, end;
    struct rdisk_memory_keys keys;
};

/* Keys of a range that holds [address, address + length), from the table; @hint
 * is one thread's. Any thread. */
bool rdisk_memory_search(struct rdisk_memory *memory, const void *address,
                         size_t length, struct rdisk_memory_hint *hint);

/* The same; NULL: there is none. Valid until the next call with @hint. */
static inline const struct rdisk_memory_keys *rdisk_memory_lookup(
    struct rdisk_memory *memory, const void *address, size_t length,
    struct rdisk_memory_hint *hint)
{
    uintptr_t start = (uintptr_t)address;

    if ((hint->memory == memory && hint->start <= start &&
         hint->end - start >= length && hint->end >= start &&
         atomic_load_explicit(&memory->sequence, memory_order_acquire) ==
             hint->sequence) ||
        rdisk_memory_search(memory, address, length, hint)) {
        return &hint->keys;
    }
    return NULL;
}

#endif
