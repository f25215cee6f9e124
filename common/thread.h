/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Contracts about threads: to which one a function belongs.
 *
 * Each thread that is started sets its role first. The one that does not is the
 * control thread. What runs there is rare and slow, so its functions
 * check that in every build. Functions of reactors are on the path of requests:
 * they check where contracts are checked (RDISK_DEBUG_CONTRACTS: sanitized
 * builds).
 */
#ifndef RDISK_COMMON_THREAD_H
#define RDISK_COMMON_THREAD_H

#include <assert.h>

enum thread_role {
    THREAD_CONTROL,
    THREAD_REACTOR,
    THREAD_WORKER, /* storage that may block, the log: waits for others */
};

/* What this thread is, and of a reactor's, whose. */
extern _Thread_local enum thread_role thread_role;
extern _Thread_local const void *thread_reactor;

static inline void assert_control_thread(void)
{
    assert(thread_role == THREAD_CONTROL);
}

/* @reactor, or any if it is NULL. */
static inline void assert_reactor_thread(const void *reactor)
{
#ifdef RDISK_DEBUG_CONTRACTS
    assert(thread_role == THREAD_REACTOR);
    assert(!reactor || thread_reactor == reactor);
#else
    (void)reactor;
#endif
}

#endif
