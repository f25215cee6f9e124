/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A wait for the newest map of the OSDs that ends, whether or not a monitor
 * answers.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "server/backends/rbd/cluster.h"

/* The thread's, and the caller's until one of them has freed it. */
struct map_wait {
    rados_t cluster;
    pthread_mutex_t lock; /* of the rest */
    pthread_cond_t changed;
    bool ended; /* the thread does not use it any more */
    bool left;  /* nor does the caller: the connection is to be shut down */
    int result;
};

static void wait_free(struct map_wait *wait)
{
    pthread_cond_destroy(&wait->changed);
    pthread_mutex_destroy(&wait->lock);
    free(wait);
}

static void *wait_main(void *opaque)
{
    struct map_wait *wait = opaque;
    int result = rados_wait_for_latest_osdmap(wait->cluster);
    bool left;

    pthread_mutex_lock(&wait->lock);
    wait->result = result;
    wait->ended = true;
    left = wait->left;
    pthread_cond_signal(&wait->changed);
    pthread_mutex_unlock(&wait->lock);
    if (left) {
        rados_shutdown(wait->cluster);
        wait_free(wait);
    }
    return NULL;
}

/* NULL: no memory, or no thread. */
static struct map_wait *wait_start(rados_t cluster)
{
    struct map_wait *wait = calloc(1, sizeof(*wait));
    pthread_condattr_t monotonic;
    pthread_t thread;

    if (!wait) {
        return NULL;
    }
    wait->cluster = cluster;
    pthread_mutex_init(&wait->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&wait->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (pthread_create(&thread, NULL, wait_main, wait)) {
        wait_free(wait);
        return NULL;
    }
    pthread_detach(thread);
    return wait;
}

/* True if it has ended by @deadline. */
static bool wait_until(struct map_wait *wait, const struct timespec *deadline)
{
    bool ended;

    pthread_mutex_lock(&wait->lock);
    while (!wait->ended && pthread_cond_timedwait(&wait->changed, &wait->lock,
                                                  deadline) != ETIMEDOUT) {
    }
    ended = wait->ended;
    pthread_mutex_unlock(&wait->lock);
    return ended;
}

/* An earlier one may have asked for the map before what it is to have now. */
int cluster_wait_for_map(rados_t cluster, struct map_wait **waiting,
                         unsigned int seconds)
{
    struct timespec deadline;
    int result;

    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += seconds;
    if (*waiting) {
        if (!wait_until(*waiting, &deadline)) {
            return -ETIMEDOUT;
        }
        wait_free(*waiting);
    }
    *waiting = wait_start(cluster);
    if (!*waiting) {
        return -ENOMEM;
    }
    if (!wait_until(*waiting, &deadline)) {
        return -ETIMEDOUT;
    }
    result = (*waiting)->result;
    wait_free(*waiting);
    *waiting = NULL;
    return result;
}

void cluster_shut_down(rados_t cluster, struct map_wait *waiting)
{
    bool ended = true;

    if (waiting) {
        pthread_mutex_lock(&waiting->lock);
        ended = waiting->ended;
        waiting->left = true;
        pthread_mutex_unlock(&waiting->lock);
    }
    if (!ended) {
        return;
    }
    rados_shutdown(cluster);
    if (waiting) {
        wait_free(waiting);
    }
}
