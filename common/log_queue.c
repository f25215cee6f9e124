/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/log_queue.h"

#include "common/thread.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct log_queue {
    int fd;
    log_queue_write_fn *write;
    size_t (*report)(char *line, size_t size, uint64_t dropped);
    pthread_t thread;
    pthread_mutex_t lock;   /* of all below */
    pthread_cond_t added;   /* there is something to write, or the queue ends */
    pthread_cond_t written; /* all is written, or was given up */
    uint64_t head, tail;    /* bytes ever added, and ever written */
    uint64_t dropped;       /* lines, not reported yet */
    bool quitting;
    bool abandoned;             /* the thread is not joined */
    char bytes[LOG_QUEUE_SIZE]; /* from @tail to @head, the thread's */
};

static size_t room(const struct log_queue *queue)
{
    return LOG_QUEUE_SIZE - (size_t)(queue->head - queue->tail);
}

/* There is room. Under the lock. */
static void append(struct log_queue *queue, const char *line, size_t length)
{
    size_t at = queue->head % LOG_QUEUE_SIZE;
    size_t first = length < LOG_QUEUE_SIZE - at ? length : LOG_QUEUE_SIZE - at;

    memcpy(queue->bytes + at, line, first);
    memcpy(queue->bytes, line + first, length - first);
    queue->head += length;
}

/* Where the dropped lines would have been. Under the lock. */
static void append_report(struct log_queue *queue)
{
    char line[200];
    size_t length;

    if (queue->dropped && room(queue) >= sizeof(line)) {
        length = queue->report(line, sizeof(line), queue->dropped);
        queue->dropped = 0;
        append(queue, line, length);
    }
}

size_t log_queue_write(int fd, const char *bytes, size_t length)
{
    struct pollfd ready = { .fd = fd, .events = POLLOUT };
    ssize_t n;

    while ((n = write(fd, bytes, length)) < 0) {
        if (errno == EAGAIN) {
            poll(&ready, 1, -1);
        } else if (errno != EINTR) {
            return length;
        }
    }
    return (size_t)n;
}

static void free_queue(struct log_queue *queue)
{
    pthread_cond_destroy(&queue->added);
    pthread_cond_destroy(&queue->written);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

static void *log_queue_main(void *opaque)
{
    struct log_queue *queue = opaque;
    bool abandoned;

    thread_role = THREAD_WORKER;
    pthread_mutex_lock(&queue->lock);
    while (queue->head != queue->tail || !queue->quitting) {
        size_t at = queue->tail % LOG_QUEUE_SIZE;
        size_t length = (size_t)(queue->head - queue->tail);

        if (length == 0) {
            pthread_cond_wait(&queue->added, &queue->lock);
            continue;
        }
        if (length > LOG_QUEUE_SIZE - at) {
            length = LOG_QUEUE_SIZE - at;
        }
        pthread_mutex_unlock(&queue->lock);
        length = queue->write(queue->fd, queue->bytes + at, length);
        pthread_mutex_lock(&queue->lock);
        queue->tail += length;
        append_report(queue);
        if (queue->head == queue->tail) {
            pthread_cond_broadcast(&queue->written);
        }
    }
    abandoned = queue->abandoned;
    pthread_mutex_unlock(&queue->lock);
    if (abandoned) {
        free_queue(queue);
    }
    return NULL;
}

struct log_queue *log_queue_create(int fd, log_queue_write_fn *write,
                                   size_t (*report)(char *line, size_t size,
                                                    uint64_t dropped))
{
    struct log_queue *queue = calloc(1, sizeof(*queue));
    pthread_condattr_t clock;

    if (!queue) {
        return NULL;
    }
    queue->fd = fd;
    queue->write = write;
    queue->report = report;
    pthread_mutex_init(&queue->lock, NULL);
    pthread_cond_init(&queue->added, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&queue->written, &clock);
    pthread_condattr_destroy(&clock);
    if (pthread_create(&queue->thread, NULL, log_queue_main, queue)) {
        free(queue);
        return NULL;
    }
    pthread_setname_np(queue->thread, "log");
    return queue;
}

void log_queue_add(struct log_queue *queue, const char *line, size_t length)
{
    pthread_mutex_lock(&queue->lock);
    if (queue->dropped || room(queue) < length) {
        /* Also what would fit, so that the report is in its place. */
        queue->dropped++;
    } else {
        append(queue, line, length);
        pthread_cond_signal(&queue->added);
    }
    pthread_mutex_unlock(&queue->lock);
}

/* Under the lock. */
static bool flush(struct log_queue *queue, unsigned int ms)
{
    struct timespec until;
    int result = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    while (queue->head != queue->tail && result == 0) {
        result = pthread_cond_timedwait(&queue->written, &queue->lock, &until);
    }
    return queue->head == queue->tail;
}

bool log_queue_flush(struct log_queue *queue, unsigned int ms)
{
    bool done;

    pthread_mutex_lock(&queue->lock);
    done = flush(queue, ms);
    pthread_mutex_unlock(&queue->lock);
    return done;
}

void log_queue_destroy(struct log_queue *queue, unsigned int ms)
{
    pthread_t thread = queue->thread;
    bool done;

    pthread_mutex_lock(&queue->lock);
    done = flush(queue, ms);
    queue->quitting = true;
    queue->abandoned = !done;
    pthread_cond_signal(&queue->added);
    pthread_mutex_unlock(&queue->lock);
    if (done) {
        pthread_join(thread, NULL);
        free_queue(queue);
    } else {
        pthread_detach(thread);
    }
}
