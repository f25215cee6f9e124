/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/reactor.h"

#include <errno.h>
#include <limits.h>
#include <numa.h>
#include <poll.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

#include "server/log.h"
#include "server/poll_window.h"

/* Entries a turn can prepare before an extra system call is needed. */
#define SUBMISSIONS 512
/* Requests in flight are limited by slots, not by this: the kernel keeps what
 * does not fit. */
#define COMPLETIONS 4096
/* Volumes, and queues, of one reactor that get the fast path. */
#define FILES 1024
#define BUFFERS 4096
/* Rounds of all pollers between two looks at the clock. */
#define ROUNDS 16
/* A limit of io_uring for one registered buffer. */
#define BUFFER_SIZE_MAX (1ull << 30)

/* A sparse table of the ring and which of its places are taken. */
struct table {
    unsigned int size;          /* 0: the kernel has no such table */
    unsigned int hint;          /* where to look first */
    bool *used;
};

struct reactor {
    /* Written before the thread starts. */
    unsigned int index;
    int core;
    int node;
    pthread_t thread;
    struct mailbox mailbox;
    struct offload *offload;

    /* Its thread's own. */
    struct io_uring ring;
    bool sleeps_in_poll;        /* see reactor_wait() */
    struct table files;
    struct table buffers;
    struct reactor_op mail;
    struct message quit;
    bool quitting;
    bool buffers_warned;
    struct reactor_deferred *deferred;
    struct poll_window window;
    struct reactor_poller *pollers;
    bool restless;              /* some poller may have to rest */

    /* Written by its thread, read by any. */
    _Atomic uint64_t turns;
    _Atomic uint64_t completions;
    _Atomic uint64_t spins;

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

/* ---- Tables ----------------------------------------------------------- */

static void table_init(struct table *table, unsigned int size, int result)
{
    table->used = result < 0 ? NULL : calloc(size, sizeof(table->used[0]));
    table->size = table->used ? size : 0;
    table->hint = 0;
}

static int table_take(struct table *table)
{
    for (unsigned int i = 0; i < table->size; i++) {
        unsigned int index = (table->hint + i) % table->size;

        if (!table->used[index]) {
            table->used[index] = true;
            table->hint = index + 1;
            return index;
        }
    }
    return -1;
}

static void table_give(struct table *table, int index)
{
    table->used[index] = false;
    table->hint = index;
}

int reactor_file_add(struct reactor *reactor, int fd)
{
    int index = table_take(&reactor->files);

    if (index >= 0 &&
        io_uring_register_files_update(&reactor->ring, index, &fd, 1) != 1) {
        table_give(&reactor->files, index);
        return -1;
    }
    return index;
}

void reactor_file_remove(struct reactor *reactor, int index)
{
    int none = -1;

    if (index >= 0) {
        io_uring_register_files_update(&reactor->ring, index, &none, 1);
        table_give(&reactor->files, index);
    }
}

static int buffer_update(struct reactor *reactor, int index, void *address,
                         size_t length)
{
    struct iovec iov = { .iov_base = address, .iov_len = length };
    __u64 tag = 0;

    return io_uring_register_buffers_update_tag(&reactor->ring, index, &iov,
                                                &tag, 1);
}

int reactor_buffer_add(struct reactor *reactor, void *address, size_t length)
{
    int index, result;

    if (length > BUFFER_SIZE_MAX) {
        return -1;
    }
    index = table_take(&reactor->buffers);
    if (index < 0) {
        return -1;
    }
    result = buffer_update(reactor, index, address, length);
    if (result == 1) {
        return index;
    }
    table_give(&reactor->buffers, index);
    if (!reactor->buffers_warned) {
        reactor->buffers_warned = true;
        log_warning("cannot register %zu bytes of slots with io_uring (%s): "
                    "each request pins its pages; with a limit on locked "
                    "memory, raise it (LimitMEMLOCK=infinity, or ulimit -l "
                    "unlimited)", length, strerror(-result));
    }
    return -1;
}

void reactor_buffer_remove(struct reactor *reactor, int index)
{
    if (index >= 0) {
        buffer_update(reactor, index, NULL, 0);
        table_give(&reactor->buffers, index);
    }
}

/* ---- Submissions ------------------------------------------------------ */

static void reactor_submit(struct reactor *reactor)
{
    int result = io_uring_submit(&reactor->ring);

    if (result < 0 && result != -EINTR && result != -EAGAIN &&
        result != -EBUSY) {
        log_error("reactor %u cannot submit to its io_uring: %s",
                  reactor->index, strerror(-result));
        abort();
    }
}

struct io_uring_sqe *reactor_sqe(struct reactor *reactor)
{
    struct io_uring_sqe *sqe;

    /* A full ring: hand over early what would have gone at the end. */
    while (!(sqe = io_uring_get_sqe(&reactor->ring))) {
        reactor_submit(reactor);
    }
    return sqe;
}

void reactor_sqe_set(struct io_uring_sqe *sqe, struct reactor_op *op)
{
    io_uring_sqe_set_data(sqe, op);
}

void reactor_defer(struct reactor *reactor, struct reactor_deferred *deferred)
{
    if (!deferred->pending) {
        deferred->pending = true;
        deferred->next = reactor->deferred;
        reactor->deferred = deferred;
    }
}

void reactor_offload(struct reactor *reactor, struct offload_job *job)
{
    offload_submit(reactor->offload, job, &reactor->mailbox);
}

/* ---- Messages --------------------------------------------------------- */

static void mail_arm(struct reactor *reactor)
{
    struct io_uring_sqe *sqe = reactor_sqe(reactor);

    io_uring_prep_poll_multishot(sqe, reactor->mailbox.fd, POLLIN);
    reactor_sqe_set(sqe, &reactor->mail);
}

static void mail_done(struct reactor_op *op, int result, unsigned int flags)
{
    struct reactor *reactor =
        (struct reactor *)((char *)op - offsetof(struct reactor, mail));

    mailbox_run(&reactor->mailbox);
    if (!(flags & IORING_CQE_F_MORE)) {
        mail_arm(reactor);
    }
}

static void quit_run(struct message *message)
{
    struct reactor *reactor =
        (struct reactor *)((char *)message - offsetof(struct reactor, quit));

    reactor->quitting = true;
}

void reactor_send(struct reactor *reactor, struct message *message)
{
    mailbox_send(&reactor->mailbox, message);
}

/* ---- Spinning --------------------------------------------------------- */

void reactor_poller_add(struct reactor *reactor,
                        struct reactor_poller *poller)
{
    poller->next = reactor->pollers;
    reactor->pollers = poller;
}

void reactor_poller_remove(struct reactor *reactor,
                           struct reactor_poller *poller)
{
    struct reactor_poller **link = &reactor->pollers;

    while (*link != poller) {
        link = &(*link)->next;
    }
    *link = poller->next;
}

bool reactor_spins(struct reactor *reactor)
{
    if (reactor->window.length) {
        reactor->restless = true;
    }
    return reactor->restless;
}

static uint64_t clock_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Something on the ring, or work of the kernel's that will put it there? */
static bool ring_ready(struct reactor *reactor)
{
    if (IO_URING_READ_ONCE(*reactor->ring.sq.kflags) & IORING_SQ_TASKRUN) {
        io_uring_get_events(&reactor->ring);
    }
    return io_uring_cq_ready(&reactor->ring) != 0;
}

static bool poll_all(struct reactor *reactor)
{
    bool found = false;

    for (struct reactor_poller *poller = reactor->pollers; poller;
         poller = poller->next) {
        found |= poller->poll(poller);
    }
    /* What was found need be no request: a queue that has ended, say. */
    return found || reactor->deferred;
}

/* Look for work until the window, which began at @began, has passed. */
static bool reactor_spin(struct reactor *reactor, uint64_t began)
{
    if (io_uring_sq_ready(&reactor->ring)) {
        reactor_submit(reactor);
    }
    do {
        for (unsigned int i = 0; i < ROUNDS; i++) {
            if (poll_all(reactor)) {
                count(&reactor->spins, 1);
                return true;
            }
            if (ring_ready(reactor)) {
                return true;
            }
        }
        /* What we wait for may need this core: the device's own threads, if
         * it is a software one, or the client. */
        sched_yield();
    } while (clock_now() - began < reactor->window.length);
    return false;
}

/* Let everything be armed. True: there was something meanwhile. */
static bool reactor_rest(struct reactor *reactor)
{
    bool found = false;

    if (reactor->restless) {
        reactor->restless = false;
        for (struct reactor_poller *poller = reactor->pollers; poller;
             poller = poller->next) {
            found |= poller->rest(poller);
        }
    }
    return found || reactor->deferred;
}

/* ---- The thread ------------------------------------------------------- */

/* Submit, and sleep until something completes. */
static void reactor_sleep(struct reactor *reactor)
{
    int result;

    if (reactor->sleeps_in_poll) {
        /* To valgrind, io_uring_enter(2) is a call that never blocks: all
         * other threads would stand still for as long as it does. */
        struct pollfd ring = { .fd = reactor->ring.ring_fd, .events = POLLIN };

        result = io_uring_submit(&reactor->ring);
        poll(&ring, 1, -1);
    } else {
        result = io_uring_submit_and_wait(&reactor->ring, 1);
    }
    if (result < 0 && result != -EINTR && result != -EAGAIN &&
        result != -EBUSY) {
        log_error("reactor %u cannot wait on its io_uring: %s",
                  reactor->index, strerror(-result));
        abort();
    }
}

static void reactor_wait(struct reactor *reactor)
{
    struct poll_window *window = &reactor->window;
    bool measured = poll_window_measures(window);
    uint64_t began = measured ? clock_now() : 0;

    if (!(window->length && reactor_spin(reactor, began)) &&
        !reactor_rest(reactor)) {
        reactor_sleep(reactor);
    }
    if (measured) {
        poll_window_adapt(window, clock_now() - began);
    }
}

static void reactor_reap(struct reactor *reactor)
{
    struct io_uring_cqe *cqe;
    unsigned int n = 0;

    /* The first question keeps the second one from entering the kernel. */
    while (io_uring_cq_ready(&reactor->ring) &&
           io_uring_peek_cqe(&reactor->ring, &cqe) == 0) {
        struct reactor_op *op = io_uring_cqe_get_data(cqe);
        int result = cqe->res;
        unsigned int flags = cqe->flags;

        /* Before done(), which may free what it needs to stay in step. */
        io_uring_cqe_seen(&reactor->ring, cqe);
        n++;
        if (op) {
            op->done(op, result, flags);
        }
    }
    count(&reactor->completions, n);
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

static int ring_init(struct reactor *reactor)
{
    /* From the newest kernels' best to what every io_uring takes. */
    static const unsigned int flags[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
            IORING_SETUP_TASKRUN_FLAG,
        IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        0,
    };
    const size_t last = sizeof(flags) / sizeof(flags[0]) - 1;
    int result = -EINVAL;

    /* A ring that defers its work shows nothing to poll(2) by itself. */
    reactor->sleeps_in_poll = RUNNING_ON_VALGRIND;
    for (size_t i = reactor->sleeps_in_poll ? last : 0; i <= last; i++) {
        struct io_uring_params params = {
            .flags = flags[i] | IORING_SETUP_CQSIZE,
            .cq_entries = COMPLETIONS,
        };

        result = io_uring_queue_init_params(SUBMISSIONS, &reactor->ring,
                                            &params);
        if (result != -EINVAL) {
            break;
        }
    }
    return result;
}

static int reactor_set_up(struct reactor *reactor)
{
    int result = ring_init(reactor);

    if (result < 0) {
        return rdisk_error_set(&reactor->error, result,
            "cannot set up an io_uring: %s%s", strerror(-result),
            result == -EPERM ? " (is it allowed here? see sysctl "
            "kernel.io_uring_disabled and the seccomp filter)" :
            result == -ENOSYS ? " (this kernel has none)" :
            result == -ENOMEM ? " (raise the limit on locked memory, ulimit "
            "-l)" : "");
    }
    table_init(&reactor->files, FILES,
               io_uring_register_files_sparse(&reactor->ring, FILES));
    table_init(&reactor->buffers, BUFFERS,
               io_uring_register_buffers_sparse(&reactor->ring, BUFFERS));
    mail_arm(reactor);
    return 0;
}

static void *reactor_main(void *opaque)
{
    struct reactor *reactor = opaque;
    int result;

    if (reactor->core >= 0) {
        /* Its own memory comes from the core's node by the default policy. */
        cpu_set_t set;

        CPU_ZERO(&set);
        CPU_SET(reactor->core, &set);
        result = pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
        if (result) {
            log_warning("cannot bind reactor %u to core %d: %s",
                        reactor->index, reactor->core, strerror(result));
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
        reactor_reap(reactor);
        reactor_run_deferred(reactor);
    }
    io_uring_queue_exit(&reactor->ring);
    free(reactor->files.used);
    free(reactor->buffers.used);
    return NULL;
}

static void reactor_free(struct reactor *reactor)
{
    offload_destroy(reactor->offload);
    mailbox_destroy(&reactor->mailbox);
    sem_destroy(&reactor->ready);
    free(reactor);
}

struct reactor *reactor_create(unsigned int index, int core,
                               uint64_t poll_time, struct rdisk_error *err)
{
    struct reactor *reactor = calloc(1, sizeof(*reactor));
    char name[16];
    int result;

    if (!reactor) {
        rdisk_error_set(err, -ENOMEM, "no memory for a reactor");
        return NULL;
    }
    reactor->index = index;
    reactor->core = core;
    reactor->window.max = poll_time;
    reactor->node = core >= 0 && numa_available() >= 0 ?
                    numa_node_of_cpu(core) : -1;
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
    if (reactor) {
        reactor_send(reactor, &reactor->quit);
        pthread_join(reactor->thread, NULL);
        reactor_free(reactor);
    }
}

void reactor_info(const struct reactor *reactor, struct reactor_info *info)
{
    info->index = reactor->index;
    info->core = reactor->core;
    info->node = reactor->node;
    info->turns = atomic_load_explicit(&reactor->turns, memory_order_relaxed);
    info->completions = atomic_load_explicit(&reactor->completions,
                                             memory_order_relaxed);
    info->spins = atomic_load_explicit(&reactor->spins, memory_order_relaxed);
}
