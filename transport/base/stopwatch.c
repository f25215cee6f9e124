/* SPDX-License-Identifier: BSD-3-Clause */
#include <rdisk/stopwatch.h>

#include <pthread.h>
#include <stdbool.h>
#include <time.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define COMPARE_NS 5000000 /* so long the two are compared */
#define READINGS   5u      /* the best one of so many counts */
#define FRACTION   32      /* bits of a tick's length behind the point */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static uint64_t tick; /* its length in ns << FRACTION; 0: no counter */

static uint64_t clock_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

#if defined(__x86_64__)

/* Advanced power management, EDX: the TSC is invariant. */
#define LEAF_POWER    0x80000007
#define INVARIANT_TSC (1u << 8)

static bool has_counter(void)
{
    unsigned int eax, ebx, ecx, edx;

    return __get_cpuid(LEAF_POWER, &eax, &ebx, &ecx, &edx) &&
           (edx & INVARIANT_TSC);
}

static uint64_t counter(void)
{
    return __builtin_ia32_rdtsc();
}

#elif defined(__aarch64__)

static bool has_counter(void)
{
    return true;
}

static uint64_t counter(void)
{
    uint64_t ticks;

    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
}

#else

static bool has_counter(void)
{
    return false;
}

static uint64_t counter(void)
{
    return 0;
}

#endif

struct reading {
    uint64_t clock, ticks;
};

/* Both at almost the same time: no other thread had the core in between. */
static struct reading read_both(void)
{
    struct reading best = { 0 };
    uint64_t least = UINT64_MAX;

    for (unsigned int i = 0; i < READINGS; i++) {
        uint64_t before = clock_now(), ticks = counter();
        uint64_t took = clock_now() - before;

        if (took < least) {
            least = took;
            best = (struct reading) { before + took / 2, ticks };
        }
    }
    return best;
}

static void compare(void)
{
    struct timespec wait = { .tv_nsec = COMPARE_NS };
    struct reading first, last;

    if (!has_counter()) {
        return;
    }
    first = read_both();
    nanosleep(&wait, NULL);
    last = read_both();
    if (last.ticks > first.ticks && last.clock > first.clock) {
        tick = ((last.clock - first.clock) << FRACTION) /
               (last.ticks - first.ticks);
    }
}

uint64_t rdisk_stopwatch_system(void)
{
    pthread_once(&once, compare);
    return tick ? (uint64_t)((unsigned __int128)counter() * tick >> FRACTION)
                : clock_now();
}
