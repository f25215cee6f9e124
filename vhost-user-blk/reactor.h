/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A reactor: a thread that serves queues. A queue of a reactor is *active*
 * while it has work, and for its poll window after that: then it is polled in
 * every turn, with its notifications off. Otherwise it is armed and waits for
 * one of its descriptors. The window adapts to how long the queue waits for
 * work (common/poll_window.h). A reactor without an active queue sleeps in
 * epoll_wait(2).
 *
 * Other threads reach a reactor through reactor_call() only, so queues need no
 * lock.
 */
#ifndef VHOST_USER_BLK_REACTOR_H
#define VHOST_USER_BLK_REACTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "common/poll_window.h"
#include <rdisk/env.h>
#include <rdisk/error.h>

struct reactor;

/* Embedded in what the reactor serves. */
struct reactor_queue {
    /* One bounded turn: serve what has arrived. True if anything had. */
    bool (*turn)(struct reactor_queue *queue);
    /* Let the descriptors report the next work. True: some has come
     * meanwhile, and the queue stays active. */
    bool (*arm)(struct reactor_queue *queue);
    /* The opposite: the queue becomes active. */
    void (*disarm)(struct reactor_queue *queue);

    /* The reactor's. */
    struct reactor_queue *next; /* on the list of active queues */
    bool active;
    bool waited;        /* the last turn found no work */
    uint64_t last_work; /* stopwatch time */
    struct poll_window window;
};

struct reactor_counters {
    uint64_t turns;  /* of the reactor */
    uint64_t sleeps; /* epoll_wait() calls that could sleep */
};

/* @poll_time in nanoseconds: the longest poll window; 0: do not poll before
 * sleeping. */
struct reactor *reactor_create(const struct rdisk_env *env, unsigned int index,
                               uint64_t poll_time, struct rdisk_error *err);
/* Every queue has been removed. */
void reactor_destroy(struct reactor *reactor);

/*
 * Any other thread: run @function in the reactor's thread and wait for its end.
 * A turn of the reactor is bounded, at most one call is made in each, and a
 * thread makes one at a time: so this is bounded too.
 */
void reactor_call(struct reactor *reactor, void (*function)(void *argument),
                  void *argument);

/* The rest in the reactor's thread only. */

/* When @fd is readable, @queue becomes active. 0 or a negative errno. */
int reactor_watch(struct reactor *reactor, int fd, struct reactor_queue *queue);
void reactor_unwatch(struct reactor *reactor, int fd);
/* Poll it in the next turn. */
void reactor_activate(struct reactor *reactor, struct reactor_queue *queue);
/* Remove it; its descriptors are unwatched already. */
void reactor_remove(struct reactor *reactor, struct reactor_queue *queue);

/* Any thread. */
void reactor_count(const struct reactor *reactor,
                   struct reactor_counters *counters);

#endif
