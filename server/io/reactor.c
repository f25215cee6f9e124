/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/io/reactor.h"

#include <errno.h>
#include <numa.h>
#include <poll.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/container_of.h"
#include "common/log.h"
#include "common/poll_window.h"
#include "common/thread.h"
#include "server/io/ring.h"
#include "server/io/ring_table.h"
#include <rdisk/env.h>
#include <rdisk/stopwatch.h>

/* Rounds of all pollers between two reads of the stopwatch. */
#define ROUNDS 16

struct reactor {
    /* Written before the thread starts. */
    unsigned int index;
    int core;
    int node;
    pthread_t thread;
    struct mailbox mailbox;
    struct offload *offload;

    /* Its thread's own. */
    struct ring rings[RING_KINDS];
    struct ring_table tables[RING_KINDS];
    bool has[RING_KINDS];
    bool cannot_poll;         /* it was tried */
    unsigned int own_workers; /* as many as the kernel had by itself */
    unsigned int volumes_workers;
    struct ring_op mail;
    struct message quit;
    bool quitting;
    struct reactor_deferred *deferred;
    struct poll_window window;
    struct reactor_poller *pollers;
    bool unarmed;   /* some poller may have to be armed */
    uint64_t idled; /* ns, until its last wait */

    /* Written by its thread, read by any. */
    _Atomic uint64_t turns;
    _Atomic uint64_t completions;
    _Atomic uint64_t polled;
    _Atomic uint64_t spins;
    _Atomic uint64_t idle; /* see idle_since() */
    atomic_uint workers;

    /* For reactor_create() to wait on. */
    sem_t ready;
    struct rdisk_error error;
};

static void count(_Atomic uint64_t *counter, uint64_t n)
{
    /* One writer, so no locked instruction. */
    uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);

    atomic_store_explicit(counter, value + n, memory_order_relaxed);
}

/* ---- The rings -------------------------------------------------------- */

static int add_ring(struct reactor *reactor, enum ring_kind kind)
{
    int result = ring_init(&reactor->rings[kind], kind, reactor->index);

    if (result == 0) {
        ring_table_init(&reactor->tables[kind], &reactor->rings[kind]);
        reactor->has[kind] = true;
    }
    return result;
}

bool reactor_polls(struct reactor *reactor)
{
    int result;

    assert_reactor_thread(reactor);
    if (!reactor->has[RING_POLLED] && !reactor->cannot_poll) {
        result = add_ring(reactor, RING_POLLED);
        if (result < 0) {
            reactor->cannot_poll = true;
            log_warning("reactor %u cannot set up an io_uring that polls: %s; "
                        "it waits for the disks' interrupts",
                        reactor->index, strerror(-result));
        }
    }
    return reactor->has[RING_POLLED];
}

static bool polled_outstanding(const struct reactor *reactor)
{
    return reactor->rings[RING_POLLED].outstanding != 0;
}

static void reap_rings(struct reactor *reactor)
{
    count(&reactor->completions, ring_reap(&reactor->rings[RING_ORDINARY]));
    if (polled_outstanding(reactor)) {
        unsigned int n = ring_reap(&reactor->rings[RING_POLLED]);

        count(&reactor->completions, n);
        count(&reactor->polled, n);
    }
}

static void free_rings(struct reactor *reactor)
{
    for (unsigned int kind = 0; kind < RING_KINDS; kind++) {
        if (reactor->has[kind]) {
            ring_exit(&reactor->rings[kind]);
            ring_table_free(&reactor->tables[kind]);
        }
    }
}

struct io_uring_sqe *reactor_sqe(struct reactor *reactor, enum ring_kind ring)
{
    assert_reactor_thread(reactor);
    return ring_sqe(&reactor->rings[ring]);
}

void reactor_sqe_set(struct io_uring_sqe *sqe, struct ring_op *op)
{
    io_uring_sqe_set_data(sqe, op);
}

int reactor_file_add(struct reactor *reactor, enum ring_kind ring, int fd)
{
    assert_reactor_thread(reactor);
    return ring_table_add_file(&reactor->tables[ring], fd);
}

void reactor_file_remove(struct reactor *reactor, enum ring_kind ring,
                         int index)
{
    assert_reactor_thread(reactor);
    ring_table_remove_file(&reactor->tables[ring], index);
}

int reactor_buffer_add(struct reactor *reactor, enum ring_kind ring,
                       void *address, size_t length)
{
    assert_reactor_thread(reactor);
    return ring_table_add_buffer(&reactor->tables[ring], address, length);
}

void reactor_buffer_remove(struct reactor *reactor, enum ring_kind ring,
                           int index)
{
    assert_reactor_thread(reactor);
    ring_table_remove_buffer(&reactor->tables[ring], index);
}

void reactor_defer(struct reactor *reactor, struct reactor_deferred *deferred)
{
    assert_reactor_thread(reactor);
    if (!deferred->pending) {
        deferred->pending = true;
        deferred->next = reactor->deferred;
        reactor->deferred = deferred;
    }
}

void reactor_offload(struct reactor *reactor, struct offload_lane *lane,
                     struct offload_job *job)
{
    assert_reactor_thread(reactor);
    offload_submit(reactor->offload, lane, job, &reactor->mailbox);
}

void reactor_workers(struct reactor *reactor, int change)
{
    unsigned int workers;

    assert_reactor_thread(reactor);
    reactor->volumes_workers += change;
    workers = reactor->own_workers + reactor->volumes_workers;
    if (ring_set_workers(&reactor->rings[RING_ORDINARY], workers) == 0) {
        atomic_store_explicit(&reactor->workers, workers, memory_order_relaxed);
    }
}

/* ---- Messages --------------------------------------------------------- */

static void mail_arm(struct reactor *reactor)
{
    struct io_uring_sqe *sqe = reactor_sqe(reactor, RING_ORDINARY);

    io_uring_prep_poll_multishot(sqe, reactor->mailbox.fd, POLLIN);
    reactor_sqe_set(sqe, &reactor->mail);
}

static void mail_done(struct ring_op *op, int result, unsigned int flags)
{
    struct reactor *reactor = container_of(op, struct reactor, mail);

    mailbox_run(&reactor->mailbox);
    if (!(flags & IORING_CQE_F_MORE)) {
        mail_arm(reactor);
    }
}

static void quit_run(struct message *message)
{
    struct reactor *reactor = container_of(message, struct reactor, quit);

    reactor->quitting = true;
}

void reactor_send(struct reactor *reactor, struct message *message)
{
    mailbox_send(&reactor->mailbox, message);
}

/* ---- Spinning --------------------------------------------------------- */

void reactor_poller_add(struct reactor *reactor, struct reactor_poller *poller)
{
    assert_reactor_thread(reactor);
    poller->next = reactor->pollers;
    reactor->pollers = poller;
}

void reactor_poller_remove(struct reactor *reactor,
                           struct reactor_poller *poller)
{
    struct reactor_poller **link = &reactor->pollers;

    assert_reactor_thread(reactor);
    while (*link != poller) {
        link = &(*link)->next;
    }
    *link = poller->next;
}

bool reactor_spins(struct reactor *reactor)
{
    assert_reactor_thread(reactor);
    if (reactor->window.length || polled_outstanding(reactor)) {
        reactor->unarmed = true;
    }
    return reactor->unarmed;
}

void reactor_arm_later(struct reactor *reactor)
{
    assert_reactor_thread(reactor);
    reactor->unarmed = true;
}

static bool poll_all(struct reactor *reactor)
{
    bool found = false;

    for (struct reactor_poller *poller = reactor->pollers; poller;
         poller = poller->next) {
        found |= poller->poll(poller);
    }
    /* It need not be a request: a queue may have ended. */
    return found || reactor->deferred;
}

/* One round. The rings are polled even if the pollers have found something, so
 * that messages arrive under constant load, too. */
static bool poll_round(struct reactor *reactor)
{
    /* First, as it submits, too. */
    bool found = polled_outstanding(reactor) &&
                 ring_ready(&reactor->rings[RING_POLLED]);

    if (poll_all(reactor)) {
        count(&reactor->spins, 1);
        found = true;
    }
    return ring_ready(&reactor->rings[RING_ORDINARY]) || found;
}

/*
 * Poll for work until the window, which began at @began, has passed, and while
 * requests are in flight at a polled disk.
 */
static bool reactor_spin(struct reactor *reactor, uint64_t began)
{
    struct ring *ring = &reactor->rings[RING_ORDINARY];

    if (io_uring_sq_ready(&ring->uring)) {
        ring_submit(ring);
    }
    do {
        for (unsigned int i = 0; i < ROUNDS; i++) {
            if (poll_round(reactor)) {
                return true;
            }
        }
        /* What we wait for may need this core: the device's own threads, if
         * it is a software one, or the client. */
        sched_yield();
    } while (
        polled_outstanding(reactor) ||
        poll_window_is_open(&reactor->window, began, rdisk_stopwatch_system()));
    return false;
}

/* Let everything be armed. True: something has arrived in between. */
static bool reactor_arm(struct reactor *reactor)
{
    bool found = false;

    if (reactor->unarmed) {
        reactor->unarmed = false;
        for (struct reactor_poller *poller = reactor->pollers; poller;
             poller = poller->next) {
            found |= poller->arm(poller);
        }
    }
    return found || reactor->deferred;
}

/* ---- The thread ------------------------------------------------------- */

/*
 * A sleep may last for days, so what is read meanwhile includes it: the counter
 * then has, with this bit, the time at which a reactor that never worked would
 * have begun. One word, so that no reader ever sees the sleep twice, or not at
 * all.
 */
#define IDLE_SINCE (UINT64_C(1) << 63)

static void idle_since(struct reactor *reactor, uint64_t began)
{
    atomic_store_explicit(&reactor->idle, (began - reactor->idled) | IDLE_SINCE,
                          memory_order_relaxed);
}

static void idle_until_now(struct reactor *reactor, uint64_t waited)
{
    reactor->idled += waited;
    atomic_store_explicit(&reactor->idle, reactor->idled, memory_order_relaxed);
}

static uint64_t idle_time(const struct reactor *reactor)
{
    uint64_t idle = atomic_load_explicit(&reactor->idle, memory_order_relaxed);

    return idle & IDLE_SINCE ? (rdisk_stopwatch_system() - idle) & ~IDLE_SINCE
                             : idle;
}

static void reactor_wait(struct reactor *reactor)
{
    struct poll_window *window = &reactor->window;
    struct ring *ring = &reactor->rings[RING_ORDINARY];
    bool measured = poll_window_measures(window);
    uint64_t began = rdisk_stopwatch_system(), waited;

    if ((window->length || polled_outstanding(reactor)) &&
        reactor_spin(reactor, began)) {
        /* It has polled everything. */
    } else if (reactor_arm(reactor)) {
        /* Pollers may go on finding something: the rings have their turn. */
        if (io_uring_sq_ready(&ring->uring)) {
            ring_submit(ring);
        }
        ring_ready(ring);
    } else {
        idle_since(reactor, began);
        ring_sleep(ring);
    }
    /* Wraps around if the counter has gone back: as a long wait. */
    waited = rdisk_stopwatch_system() - began;
    if (measured) {
        poll_window_adapt(window, waited);
    }
    idle_until_now(reactor, (int64_t)waited > 0 ? waited : 0);
}

static void reactor_run_deferred(struct reactor *reactor)
{
    while (reactor->deferred) {
        struct reactor_deferred *deferred = reactor->deferred;

        reactor->deferred = deferred->next;
        deferred->pending = false;
        deferred->run(deferred);
    }
}

static int reactor_set_up(struct reactor *reactor)
{
    int result = add_ring(reactor, RING_ORDINARY);

    if (result < 0) {
        return rdisk_error_set(
            &reactor->error, result, "cannot set up an io_uring: %s%s",
            strerror(-result),
            result == -EPERM
                ? " (is it allowed here? see sysctl "
                  "kernel.io_uring_disabled and the seccomp filter)"
            : result == -ENOSYS ? " (this kernel has none)"
            : result == -ENOMEM ? " (raise the limit on locked memory, ulimit "
                                  "-l)"
                                : "");
    }
    reactor->own_workers = ring_workers(&reactor->rings[RING_ORDINARY]);
    mail_arm(reactor);
    return 0;
}

static void *reactor_main(void *opaque)
{
    struct reactor *reactor = opaque;
    int result;

    thread_role = THREAD_REACTOR;
    thread_reactor = reactor;
    if (reactor->core >= 0) {
        /* Its own memory comes from the core's node by the default policy. */
        cpu_set_t set;

        CPU_ZERO(&set);
        CPU_SET(reactor->core, &set);
        result = pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
        if (result) {
            log_warning("cannot bind reactor %u to core %d: %s", reactor->index,
                        reactor->core, strerror(result));
        }
    }
    result = reactor_set_up(reactor);
    sem_post(&reactor->ready);
    if (result < 0) {
        return NULL;
    }
    while (!reactor->quitting) {
        reactor_wait(reactor);
        count(&reactor->turns, 1);
        reap_rings(reactor);
        reactor_run_deferred(reactor);
    }
    free_rings(reactor);
    return NULL;
}

static void reactor_free(struct reactor *reactor)
{
    offload_destroy(reactor->offload);
    mailbox_destroy(&reactor->mailbox);
    sem_destroy(&reactor->ready);
    free(reactor);
}

struct reactor *reactor_create(unsigned int index, int core, uint64_t poll_time,
                               struct rdisk_error *err)
{
    struct reactor *reactor = calloc(1, sizeof(*reactor));
    char name[16];
    int result;

    assert_control_thread();
    if (!reactor) {
        rdisk_error_set(err, -ENOMEM, "no memory for a reactor");
        return NULL;
    }
    reactor->index = index;
    reactor->core = core;
    reactor->window.max = poll_time;
    reactor->node = core >= 0 && numa_available() >= 0 ? numa_node_of_cpu(core)
                                                       : -1;
    reactor->mail.done = mail_done;
    reactor->quit.run = quit_run;
    result = mailbox_init(&reactor->mailbox);
    if (result < 0) {
        rdisk_error_set(err, result, "cannot create an eventfd: %s",
                        strerror(-result));
        free(reactor);
        return NULL;
    }
    sem_init(&reactor->ready, 0, 0);
    /* From here, so that it is not bound to the reactor's own core. */
    reactor->offload = offload_create(err);
    if (!reactor->offload) {
        reactor_free(reactor);
        return NULL;
    }
    result = pthread_create(&reactor->thread, NULL, reactor_main, reactor);
    if (result) {
        rdisk_error_set(err, -result, "cannot start a reactor's thread: %s",
                        strerror(result));
        reactor_free(reactor);
        return NULL;
    }
    snprintf(name, sizeof(name), "reactor-%u", index % 1000);
    pthread_setname_np(reactor->thread, name);
    while (sem_wait(&reactor->ready) < 0) {
        /* interrupted */
    }
    if (reactor->error.code) {
        if (err) {
            *err = reactor->error;
        }
        pthread_join(reactor->thread, NULL);
        reactor_free(reactor);
        return NULL;
    }
    return reactor;
}

void reactor_destroy(struct reactor *reactor)
{
    assert_control_thread();
    if (reactor) {
        reactor_send(reactor, &reactor->quit);
        pthread_join(reactor->thread, NULL);
        reactor_free(reactor);
    }
}

static uint64_t cpu_time(pthread_t thread)
{
    struct timespec used = { 0 };
    clockid_t clock;

    if (pthread_getcpuclockid(thread, &clock) == 0) {
        clock_gettime(clock, &used);
    }
    return (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec;
}

void reactor_info(const struct reactor *reactor, struct reactor_info *info)
{
    info->index = reactor->index;
    info->core = reactor->core;
    info->node = reactor->node;
    info->turns = atomic_load_explicit(&reactor->turns, memory_order_relaxed);
    info->completions = atomic_load_explicit(&reactor->completions,
                                             memory_order_relaxed);
    info->polled = atomic_load_explicit(&reactor->polled, memory_order_relaxed);
    info->workers = atomic_load_explicit(&reactor->workers,
                                         memory_order_relaxed);
    info->spins = atomic_load_explicit(&reactor->spins, memory_order_relaxed);
    info->idle = idle_time(reactor);
    info->cpu = cpu_time(reactor->thread);
}
