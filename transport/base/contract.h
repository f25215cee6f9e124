/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Internal to the transport: contracts that are checked.
 *
 * assert() checks what is cheap, in every build. RDISK_CONTRACT()
 * checks what would cost a request instructions, or takes atomic accesses: with
 * RDISK_DEBUG_CONTRACTS, which sanitized builds and the simulator define.
 */
#ifndef RDISK_BASE_CONTRACT_H
#define RDISK_BASE_CONTRACT_H

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

#ifdef RDISK_DEBUG_CONTRACTS
#define RDISK_CONTRACT(condition) assert(condition)
#else
#define RDISK_CONTRACT(condition) ((void)0)
#endif

/*
 * Which thread uses an object that belongs to one thread at a time. Its owner
 * may hand it to another thread under a lock of its own (QEMU's BQL), so what
 * is held is that no two threads are in it at once, and that internal functions
 * run within a public one. The layout does not depend on the build.
 */
struct rdisk_use {
    _Atomic int thread; /* 0: none */
    unsigned int depth; /* a callback may call public functions */
};

static inline void rdisk_use_begin(struct rdisk_use *use)
{
#ifdef RDISK_DEBUG_CONTRACTS
    int none = 0, self = gettid();

    if (atomic_load(&use->thread) != self) {
        bool alone = atomic_compare_exchange_strong(&use->thread, &none, self);

        assert(alone && "two threads use the same session or queue at once");
    }
    use->depth++;
#else
    (void)use;
#endif
}

static inline void rdisk_use_end(struct rdisk_use *use)
{
#ifdef RDISK_DEBUG_CONTRACTS
    assert(atomic_load(&use->thread) == gettid() && use->depth);
    if (--use->depth == 0) {
        atomic_store(&use->thread, 0);
    }
#else
    (void)use;
#endif
}

static inline void rdisk_use_end_of(struct rdisk_use **use)
{
    rdisk_use_end(*use);
}

/* A declaration: this thread is within the object until the block ends. */
#define RDISK_USE(object) \
    __attribute__((cleanup(rdisk_use_end_of), \
                   unused)) struct rdisk_use *rdisk_using = \
        (rdisk_use_begin(&(object)->use), &(object)->use)

/* For RDISK_CONTRACT(): true if this thread is within the object. */
static inline bool rdisk_used_here(const struct rdisk_use *use)
{
    return atomic_load(&use->thread) == gettid();
}

#endif
