/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/backends/range_lock.h"

#include <assert.h>
#include <stddef.h>

static void ranges_init(struct ranges *ranges)
{
    ranges->first = NULL;
    ranges->last = &ranges->first;
}

static void append(struct ranges *ranges, struct range *range)
{
    range->next = NULL;
    range->link = ranges->last;
    *ranges->last = range;
    ranges->last = &range->next;
}

static void take_out(struct ranges *ranges, struct range *range)
{
    *range->link = range->next;
    if (range->next) {
        range->next->link = range->link;
    } else {
        ranges->last = range->link;
    }
}

void range_lock_init(struct range_lock *lock)
{
    pthread_mutex_init(&lock->lock, NULL);
    ranges_init(&lock->held);
    ranges_init(&lock->waiting);
}

void range_lock_destroy(struct range_lock *lock)
{
    assert(!lock->held.first && !lock->waiting.first);
    pthread_mutex_destroy(&lock->lock);
}

static bool meet(uint64_t begin, uint64_t end, uint64_t other,
                 uint64_t other_end)
{
    return begin < other_end && other < end;
}

/* Only one that writes has a source. */
static bool conflict(const struct range *a, const struct range *b)
{
    return ((a->writes || b->writes) &&
            meet(a->begin, a->end, b->begin, b->end)) ||
           (b->writes && meet(a->source, a->source_end, b->begin, b->end)) ||
           (a->writes && meet(b->source, b->source_end, a->begin, a->end));
}

/* Up to @until; NULL: all of them. */
static bool any_conflict(const struct ranges *ranges, const struct range *until,
                         const struct range *range)
{
    const struct range *other = ranges->first;

    while (other != until && !conflict(other, range)) {
        other = other->next;
    }
    return other != until;
}

bool range_lock_acquire(struct range_lock *lock, struct range *range)
{
    bool held;

    pthread_mutex_lock(&lock->lock);
    /* None overtakes one that waits, which might otherwise wait without end. */
    held = !any_conflict(&lock->held, NULL, range) &&
           !any_conflict(&lock->waiting, NULL, range);
    append(held ? &lock->held : &lock->waiting, range);
    pthread_mutex_unlock(&lock->lock);
    return held;
}

static struct range *grant(struct range_lock *lock)
{
    struct range *granted = NULL, **end = &granted;
    struct range *range = lock->waiting.first;

    while (range) {
        struct range *next = range->next;

        if (!any_conflict(&lock->held, NULL, range) &&
            !any_conflict(&lock->waiting, range, range)) {
            take_out(&lock->waiting, range);
            append(&lock->held, range);
            range->granted = NULL;
            *end = range;
            end = &range->granted;
        }
        range = next;
    }
    return granted;
}

struct range *range_lock_release(struct range_lock *lock, struct range *range)
{
    struct range *granted;

    pthread_mutex_lock(&lock->lock);
    take_out(&lock->held, range);
    granted = lock->waiting.first ? grant(lock) : NULL;
    pthread_mutex_unlock(&lock->lock);
    return granted;
}
