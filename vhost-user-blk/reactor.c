/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vhost-user-blk/reactor.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/thread.h"
#include "transport/base/counter.h"

/* Events taken at once, and turns of active queues between two polls of the
 * descriptors of the others. */
#define EVENTS         32
#define TURNS_PER_LOOK 16

struct reactor {
    const struct rdisk_env *env;
    uint64_t poll_time;
    pthread_t thread;
    int epoll_fd, call_fd;
    struct reactor_queue *active; /* a list */
    bool stopping;                /* reactor's thread */

    /* reactor_call(), from any number of threads. */
    pthread_mutex_t lock;
    pthread_cond_t done; /* a call is */
    struct call *calls;  /* that wait, the oldest first; under the lock */
    struct call **last;

    rdisk_counter turns, sleeps;
};

/* On the stack of its caller. */
struct call {
    void (*function)(void *argument);
    void *argument;
    bool done;
    struct call *next;
};

static void assert_own_thread(const struct reactor *reactor)
{
    assert(pthread_equal(pthread_self(), reactor->thread));
}

/* ---- Queues ------------------------------------------------------------ */

int reactor_watch(struct reactor *reactor, int fd, struct reactor_queue *queue)
{
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = queue };

    assert_own_thread(reactor);
    return epoll_ctl(reactor->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno
                                                                       : 0;
}

void reactor_unwatch(struct reactor *reactor, int fd)
{
    assert_own_thread(reactor);
    epoll_ctl(reactor->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

void reactor_activate(struct reactor *reactor, struct reactor_queue *queue)
{
    assert_own_thread(reactor);
    if (!queue->active) {
        queue->window.max = reactor->poll_time;
        queue->active = true;
        queue->next = reactor->active;
        reactor->active = queue;
        queue->disarm(queue);
    }
}

void reactor_remove(struct reactor *reactor, struct reactor_queue *queue)
{
    struct reactor_queue **link = &reactor->active;

    assert_own_thread(reactor);
    if (queue->active) {
        while (*link != queue) {
            link = &(*link)->next;
        }
        *link = queue->next;
        queue->active = false;
    }
}

/* ---- The thread --------------------------------------------------------- */

/* One; as long as more wait the descriptor stays readable. */
static void take_call(struct reactor *reactor)
{
    struct call *call;
    uint64_t one;

    /* A semaphore: it counts the calls. */
    if (read(reactor->call_fd, &one, sizeof(one)) < 0) {
        return;
    }
    pthread_mutex_lock(&reactor->lock);
    call = reactor->calls;
    reactor->calls = call->next;
    if (!reactor->calls) {
        reactor->last = &reactor->calls;
    }
    pthread_mutex_unlock(&reactor->lock);
    call->function(call->argument);
    pthread_mutex_lock(&reactor->lock);
    call->done = true;
    pthread_cond_broadcast(&reactor->done);
    pthread_mutex_unlock(&reactor->lock);
}

/* Returns with the events taken; sleeps only if @sleep. */
static void take_events(struct reactor *reactor, bool sleep)
{
    struct epoll_event events[EVENTS];
    int count = epoll_wait(reactor->epoll_fd, events, EVENTS, sleep ? -1 : 0);
    bool called = false;

    if (sleep) {
        rdisk_counter_add(&reactor->sleeps, 1);
    }
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr) {
            reactor_activate(reactor, events[i].data.ptr);
        } else {
            called = true;
        }
    }
    /* Last: a call may remove queues of which events were taken. */
    if (called) {
        take_call(reactor);
    }
}

/* There is work: account for how long the queue has waited for it. */
static void found_work(struct reactor *reactor, struct reactor_queue *queue)
{
    uint64_t now = rdisk_stopwatch(reactor->env);

    if (queue->waited && queue->last_work) {
        poll_window_adapt(&queue->window, rdisk_took(queue->last_work, now));
    }
    queue->waited = false;
    queue->last_work = now;
}

static bool window_is_open(struct reactor *reactor, struct reactor_queue *queue)
{
    queue->waited = true;
    return queue->window.length &&
           rdisk_took(queue->last_work, rdisk_stopwatch(reactor->env)) <
               queue->window.length;
}

/* One turn of each active queue; those whose window is over are armed. */
static void run_queues(struct reactor *reactor)
{
    struct reactor_queue **link = &reactor->active, *queue;

    rdisk_counter_add(&reactor->turns, 1);
    while ((queue = *link)) {
        if (queue->turn(queue)) {
            found_work(reactor, queue);
            link = &queue->next;
            continue;
        }
        if (window_is_open(reactor, queue) || queue->arm(queue)) {
            link = &queue->next;
            continue;
        }
        *link = queue->next;
        queue->active = false;
    }
}

static void *run(void *argument)
{
    struct reactor *reactor = argument;
    unsigned int turns = 0;

    thread_role = THREAD_REACTOR;
    thread_reactor = reactor;
    while (!reactor->stopping) {
        if (!reactor->active || ++turns % TURNS_PER_LOOK == 0) {
            take_events(reactor, !reactor->active);
        }
        run_queues(reactor);
        if (reactor->active && reactor->poll_time) {
            /* A software RDMA device needs the same core. */
            sched_yield();
        }
    }
    return NULL;
}

/* ---- Other threads ------------------------------------------------------ */

void reactor_call(struct reactor *reactor, void (*function)(void *argument),
                  void *argument)
{
    struct call call = { .function = function, .argument = argument };
    uint64_t one = 1;

    assert(!pthread_equal(pthread_self(), reactor->thread));
    pthread_mutex_lock(&reactor->lock);
    *reactor->last = &call;
    reactor->last = &call.next;
    if (write(reactor->call_fd, &one, sizeof(one)) < 0) {
        /* An eventfd takes 2^64 - 2 of these. */
        abort();
    }
    while (!call.done) {
        pthread_cond_wait(&reactor->done, &reactor->lock);
    }
    pthread_mutex_unlock(&reactor->lock);
}

static void stop(void *argument)
{
    struct reactor *reactor = argument;

    reactor->stopping = true;
}

static int start(struct reactor *reactor, unsigned int index,
                 struct rdisk_error *err)
{
    struct epoll_event event = { .events = EPOLLIN };
    sigset_t all, before;
    char name[16];
    int ret;

    reactor->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    reactor->call_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC | EFD_SEMAPHORE);
    if (reactor->epoll_fd < 0 || reactor->call_fd < 0 ||
        epoll_ctl(reactor->epoll_fd, EPOLL_CTL_ADD, reactor->call_fd, &event) <
            0) {
        return rdisk_error_set(err, -errno,
                               "cannot create the descriptors of "
                               "reactor %u: %s",
                               index, strerror(errno));
    }
    /* Signals are the daemon's main thread's. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    ret = pthread_create(&reactor->thread, NULL, run, reactor);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (ret) {
        return rdisk_error_set(err, -ret,
                               "cannot start the thread of reactor "
                               "%u: %s",
                               index, strerror(ret));
    }
    snprintf(name, sizeof(name), "reactor-%u", index);
    pthread_setname_np(reactor->thread, name);
    return 0;
}

static void release(struct reactor *reactor)
{
    if (reactor->epoll_fd >= 0) {
        close(reactor->epoll_fd);
    }
    if (reactor->call_fd >= 0) {
        close(reactor->call_fd);
    }
    pthread_mutex_destroy(&reactor->lock);
    pthread_cond_destroy(&reactor->done);
    free(reactor);
}

struct reactor *reactor_create(const struct rdisk_env *env, unsigned int index,
                               uint64_t poll_time, struct rdisk_error *err)
{
    struct reactor *reactor = calloc(1, sizeof(*reactor));

    if (!reactor) {
        rdisk_error_set(err, -ENOMEM, "no memory for reactor %u", index);
        return NULL;
    }
    reactor->env = env;
    reactor->poll_time = poll_time;
    reactor->epoll_fd = reactor->call_fd = -1;
    reactor->last = &reactor->calls;
    pthread_mutex_init(&reactor->lock, NULL);
    pthread_cond_init(&reactor->done, NULL);
    if (start(reactor, index, err) < 0) {
        release(reactor);
        return NULL;
    }
    return reactor;
}

void reactor_destroy(struct reactor *reactor)
{
    reactor_call(reactor, stop, reactor);
    pthread_join(reactor->thread, NULL);
    assert(!reactor->active);
    release(reactor);
}

void reactor_count(const struct reactor *reactor,
                   struct reactor_counters *counters)
{
    *counters = (struct reactor_counters) {
        .turns = rdisk_counter_read(&reactor->turns),
        .sleeps = rdisk_counter_read(&reactor->sleeps),
    };
}
