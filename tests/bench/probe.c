/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Preloaded into a program that uses verbs, ours or not: counts what it does
 * and, if $PROBE_STAMPS says how many there may be, notes when.  The program
 * is the ordinary one, and has no hook for this.  A time is the processor's
 * counter, which costs no system call, not even where there is no vDSO, and is
 * the same for all processes of a machine.
 *
 * memcpy and memmove are counted from 1 KiB on, which no header is; what a
 * library copies within itself, or a compiler inlined, is not seen.
 */
#include "tests/bench/probe.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include <infiniband/verbs.h>

#define COPY_MIN 1024u

/* Of tests/e2e/allocations.c, which is linked with this. */
extern atomic_ullong *allocations;

static struct probe_page *page;
static struct ibv_context_ops real;

/* ---- Counting and noting ---------------------------------------------- */

static uint64_t ticks(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#else
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
#endif
}

static void compare_clocks(unsigned int which)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    page->ticks[which] = ticks();
    page->nanoseconds[which] = (uint64_t)now.tv_sec * 1000000000 +
                               (uint64_t)now.tv_nsec;
}

static void count(enum probe_counter counter, uint64_t n)
{
    if (page) {
        atomic_fetch_add_explicit(&page->counters[counter], n,
                                  memory_order_relaxed);
    }
}

/* Programs of the bench look for this name, and go without if it is not. */
void probe_stamp(char what);
void probe_stamp(char what)
{
    uint64_t i;

    if (!page || !page->capacity) {
        return;
    }
    i = atomic_fetch_add_explicit(&page->stamps, 1, memory_order_relaxed);
    if (i < page->capacity) {
        page->stamp[i].time = ticks();
        page->stamp[i].what = (unsigned char)what;
    }
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("PROBE"), *stamps = getenv("PROBE_STAMPS");
    uint64_t capacity = stamps ? strtoull(stamps, NULL, 10) : 0;
    size_t length = sizeof(*page) + capacity * sizeof(page->stamp[0]);
    struct probe_page *mapped;
    char name[4096];
    int fd;

    if (!path) {
        return;
    }
    snprintf(name, sizeof(name), "%s.%d", path, (int)getpid());
    fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || ftruncate(fd, (off_t)length) < 0) {
        perror(name);
        exit(1);
    }
    mapped = mmap(NULL, length, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_POPULATE, fd, 0);
    close(fd);
    if (mapped == MAP_FAILED) {
        perror(name);
        exit(1);
    }
    page = mapped;
    page->capacity = capacity;
    page->counters[PROBE_ALLOCATIONS] = *allocations;
    allocations = &page->counters[PROBE_ALLOCATIONS];
    compare_clocks(0);
}

__attribute__((destructor)) static void end(void)
{
    if (page) {
        compare_clocks(1);
    }
}

/* ---- Verbs ------------------------------------------------------------ */

static int post_send(struct ibv_qp *qp, struct ibv_send_wr *first,
                     struct ibv_send_wr **bad)
{
    int result;

    count(PROBE_DOORBELLS, 1);
    for (struct ibv_send_wr *wr = first; wr; wr = wr->next) {
        count(PROBE_SENDS, 1);
    }
    probe_stamp('p');
    result = real.post_send(qp, first, bad);
    probe_stamp('P');
    return result;
}

static int post_recv(struct ibv_qp *qp, struct ibv_recv_wr *first,
                     struct ibv_recv_wr **bad)
{
    count(PROBE_RECEIVE_CALLS, 1);
    for (struct ibv_recv_wr *wr = first; wr; wr = wr->next) {
        count(PROBE_RECEIVES, 1);
    }
    return real.post_recv(qp, first, bad);
}

static int poll_cq(struct ibv_cq *cq, int n, struct ibv_wc *wc)
{
    int found = real.poll_cq(cq, n, wc);

    count(PROBE_POLLS, 1);
    if (found > 0) {
        count(PROBE_COMPLETIONS, (uint64_t)found);
        probe_stamp('c');
    }
    return found;
}

static int req_notify_cq(struct ibv_cq *cq, int solicited)
{
    count(PROBE_ARMS, 1);
    return real.req_notify_cq(cq, solicited);
}

/* libibverbs' own; a program that opens it by dlopen() hides it from
 * RTLD_NEXT. */
static void *verb(const char *name)
{
    void *library = dlopen("libibverbs.so.1", RTLD_LAZY | RTLD_NOLOAD);
    void *its = library ? dlsym(library, name) : NULL;

    if (!its) {
        fprintf(stderr, "probe: no %s in libibverbs.so.1\n", name);
        abort();
    }
    return its;
}

/* A context is seen here before anything is posted or polled.  All of a
 * process are of one driver. */
struct ibv_cq *ibv_create_cq(struct ibv_context *context, int cqe,
                             void *cq_context, struct ibv_comp_channel *channel,
                             int vector)
{
    struct ibv_cq *(*create)(struct ibv_context *, int, void *,
                             struct ibv_comp_channel *, int);

    *(void **)&create = verb("ibv_create_cq");
    if (context->ops.poll_cq != poll_cq) {
        real = context->ops;
        context->ops.post_send = post_send;
        context->ops.post_recv = post_recv;
        context->ops.poll_cq = poll_cq;
        context->ops.req_notify_cq = req_notify_cq;
    }
    return create(context, cqe, cq_context, channel, vector);
}

int ibv_get_cq_event(struct ibv_comp_channel *channel, struct ibv_cq **cq,
                     void **cq_context)
{
    static int (*get)(struct ibv_comp_channel *, struct ibv_cq **, void **);
    int result;

    if (!get) {
        *(void **)&get = verb("ibv_get_cq_event");
    }
    probe_stamp('w');
    result = get(channel, cq, cq_context);
    if (result == 0) {
        count(PROBE_EVENTS, 1);
        probe_stamp('e');
    }
    return result;
}

/* ---- Files and memory ------------------------------------------------- */

static ssize_t transfer(const char *name, int fd, void *data, size_t length,
                        off_t offset)
{
    ssize_t (*call)(int, void *, size_t, off_t);
    ssize_t result;

    *(void **)&call = dlsym(RTLD_NEXT, name);
    probe_stamp('b');
    result = call(fd, data, length, offset);
    probe_stamp('B');
    return result;
}

ssize_t pread(int fd, void *data, size_t length, off_t offset)
{
    return transfer("pread", fd, data, length, offset);
}

ssize_t pread64(int fd, void *data, size_t length, off64_t offset)
{
    return transfer("pread", fd, data, length, offset);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset)
{
    return transfer("pwrite", fd, (void *)data, length, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset)
{
    return transfer("pwrite", fd, (void *)data, length, offset);
}

static void *copy(void *to, const void *from, size_t length, int backwards)
{
    volatile unsigned char *t = to;
    const unsigned char *f = from;

    if (length >= COPY_MIN) {
        count(PROBE_COPIED, length);
    }
    if (backwards) {
        while (length--) {
            t[length] = f[length];
        }
        return to;
    }
#if defined(__x86_64__)
    __asm__ volatile("rep movsb" : "+D"(t), "+S"(f), "+c"(length) : : "memory");
#else
    for (size_t i = 0; i < length; i++) {
        t[i] = f[i];
    }
#endif
    return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t length)
{
    return copy(to, from, length, 0);
}

void *memmove(void *to, const void *from, size_t length)
{
    return copy(to, from, length, (uintptr_t)to - (uintptr_t)from < length);
}

void *__memcpy_chk(void *restrict to, const void *restrict from, size_t length,
                   size_t room);
void *__memcpy_chk(void *restrict to, const void *restrict from, size_t length,
                   size_t room)
{
    if (length > room) {
        abort();
    }
    return copy(to, from, length, 0);
}
