/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client of librdisk without QEMU: what the transport and the server cost by
 * themselves, with a mix of reads and writes, quantiles, and the choice to
 * poll, none of which qemu-img bench has.
 *
 *   client URI [-w | -m PERCENT] [-s SIZE] [-d DEPTH] [-c COUNT] [-p] [-u]
 *          [-f PIECES] [-S SESSIONS] [-i SECONDS]
 *
 * -w writes, -m reads PERCENT and writes the rest; -p polls instead of
 * sleeping; -u leaves the buffers unregistered; -f scatters each in so many
 * pieces, with as much between them; -S shares the depth among
 * sessions. Prints a line, see result.h, and another one of the queues'
 * counters. With -i it says "idle" then, and stays so long without a request.
 */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "tests/bench/result.h"
#include "transport/wire/wire.h"
#include <rdisk/initiator.h>
#include <rdisk/uri.h>

#define DEPTH_MAX    1024u
#define SESSIONS_MAX 256u
#define PIECES_MAX   128u
#define SPIN_YIELD   256u /* empty polls before the CPU is offered */
/* How often sessions are served, if busy: well below any heartbeat. */
#define SERVE_NS 10000000u

struct lane {
    struct rdisk_initiator *session;
    struct rdisk_queue *queue;
};

struct io {
    struct rdisk_request request; /* first */
    struct lane *lane;
    struct iovec iov[PIECES_MAX];
    uint64_t begun;
};

static struct {
    struct lane lanes[SESSIONS_MAX];
    unsigned int sessions;
    int epoll;
    bool poll, unregistered;
    uint64_t idle; /* seconds */
    bool older;    /* its slots do not come and go */
    int read_percent;
    uint32_t size, depth, pieces;
    uint64_t count, started, ended, span, seed;
    uint8_t *memory;
    struct io io[DEPTH_MAX];
    struct result result;
} bench = {
    .sessions = 1,
    .read_percent = 100,
    .size = 4096,
    .depth = 1,
    .count = 1000,
    .pieces = 1,
    .seed = 88172645463325252ull,
};

static void die(const char *what, const char *why)
{
    fprintf(stderr, "client: %s: %s\n", what, why);
    exit(1);
}

static void submit(struct io *io)
{
    bool read = bench.read_percent == 100;
    int result;

    if (!read && bench.read_percent) {
        /* xorshift64 (Marsaglia 2003) */
        bench.seed ^= bench.seed << 13;
        bench.seed ^= bench.seed >> 7;
        bench.seed ^= bench.seed << 17;
        read = bench.seed % 100 < (unsigned int)bench.read_percent;
    }
    io->request.op = read ? RDISK_OP_READ : RDISK_OP_WRITE;
    io->request.offset = bench.started++ * bench.size % bench.span;
    io->begun = result_now();
    result_stamp('s');
    result = rdisk_queue_submit(io->lane->queue, &io->request);
    if (result < 0) {
        die("submit", strerror(-result));
    }
}

static void completed(struct rdisk_request *request, int result)
{
    struct io *io = (struct io *)request;

    if (result < 0) {
        die("a request failed", strerror(-result));
    }
    result_add(&bench.result, result_now() - io->begun);
    bench.ended++;
    if (bench.started < bench.count) {
        submit(io);
    }
}

static void serve_session(struct rdisk_initiator *session)
{
    rdisk_initiator_process(session);
    if (rdisk_initiator_state(session) != RDISK_INITIATOR_READY) {
        die("the session ended", rdisk_initiator_error(session)->text);
    }
}

static void serve_sessions(void)
{
    for (unsigned int i = 0; i < bench.sessions; i++) {
        serve_session(bench.lanes[i].session);
    }
}

/*
 * However busy the queues are, the sessions have their heartbeats. A session
 * that sleeps is woken for them as for everything else; one that polls has to
 * look.
 */
static void serve_sessions_in_time(void)
{
    static uint64_t served;
    uint64_t now = rdisk_stopwatch(&rdisk_env_system);

    if (rdisk_took(served, now) > SERVE_NS) {
        served = now;
        serve_sessions();
    }
}

/* Queues are known by even numbers, sessions by odd ones. */
static void watch(int fd, uint64_t number)
{
    struct epoll_event event = { .events = EPOLLIN, .data.u64 = number };

    if (epoll_ctl(bench.epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
        die("cannot watch a descriptor", strerror(errno));
    }
}

/* Returns whether anything happened. @limit is in milliseconds. */
static bool wait_sleeping(int limit)
{
    struct epoll_event events[64];
    int n = epoll_wait(bench.epoll, events, 64, limit);

    for (int i = 0; i < n; i++) {
        struct lane *lane = &bench.lanes[events[i].data.u64 / 2];

        if (events[i].data.u64 % 2) {
            serve_session(lane->session);
        } else {
            rdisk_queue_process(lane->queue);
        }
    }
    return n > 0;
}

/* Never armed: nothing is to tell of what it looks for. */
static void wait_polling(void)
{
    unsigned int found = 0, empty = 0;

    while (!found) {
        for (unsigned int i = 0; i < bench.sessions; i++) {
            if (rdisk_queue_pending(bench.lanes[i].queue)) {
                found += rdisk_queue_poll(bench.lanes[i].queue);
            }
        }
        if (++empty % SPIN_YIELD == 0) {
            sched_yield();
            serve_sessions_in_time();
        }
    }
    serve_sessions_in_time();
}

/* As much of it lies between the pieces as in them. */
static size_t buffer_stride(void)
{
    return bench.pieces == 1 ? bench.size : 2 * (size_t)bench.size;
}

static void scatter(struct io *io, uint8_t *memory)
{
    uint32_t length = bench.size / bench.pieces;

    for (uint32_t i = 0; i < bench.pieces; i++) {
        io->iov[i].iov_base = memory + 2 * (size_t)i * length;
        io->iov[i].iov_len = length;
    }
    io->request.iov = io->iov;
    io->request.iovcnt = bench.pieces;
}

static void run(void)
{
    for (uint32_t i = 0; i < bench.depth; i++) {
        struct io *io = &bench.io[i];

        io->lane = &bench.lanes[i % bench.sessions];
        scatter(io, bench.memory + i * buffer_stride());
        io->request.length = bench.size;
        io->request.complete = completed;
    }
    result_begin(&bench.result, bench.count);
    for (uint32_t i = 0; i < bench.depth && bench.started < bench.count; i++) {
        submit(&bench.io[i]);
    }
    for (unsigned int i = 0; i < bench.sessions; i++) {
        rdisk_queue_kick(bench.lanes[i].queue);
    }
    while (bench.ended < bench.count) {
        if (bench.poll) {
            wait_polling();
        } else if (!wait_sleeping(100)) {
            /* Well below any heartbeat, so that every sleep is bounded. */
            serve_sessions();
        }
    }
    result_print(&bench.result);
}

static void be_idle(void)
{
    uint64_t end = result_now() + bench.idle * 1000000000, now;

    puts("idle");
    fflush(stdout);
    while ((now = result_now()) < end) {
        wait_sleeping((int)((end - now) / 1000000 + 1));
    }
}

static void print_counters(void)
{
    struct rdisk_queue_counters counters = { 0 };

    for (unsigned int i = 0; i < bench.sessions; i++) {
        rdisk_queue_counters(bench.lanes[i].queue, &counters);
    }
    printf("copied_bytes=%" PRIu64 " waited=%" PRIu64 " work_requests=%" PRIu64
           " doorbells=%" PRIu64 " receives=%" PRIu64 " wakeups=%" PRIu64 "\n",
           counters.copied_bytes, counters.waited, counters.work_requests,
           counters.doorbells, counters.receives, counters.wakeups);
}

static int set_option(void *opaque, const char *name, const char *value,
                      struct rdisk_error *err)
{
    return rdisk_initiator_option_set(opaque, name, value, err);
}

static void connect_lane(struct lane *lane, const char *text)
{
    static const struct rdisk_initiator_events events = { 0 };
    struct rdisk_initiator_options options;
    struct rdisk_error err = { 0 };
    struct rdisk_uri uri;

    rdisk_initiator_options_init(&options);
    options.slot_size = 1u << 20;
    options.slots = 32;
    if (rdisk_uri_parse(text, &uri, set_option, &options, &err) < 0) {
        die(text, err.text);
    }
    options.withheld_features = bench.older ? RDISK_FEATURE_SLOTS |
                                                  RDISK_FEATURE_RESIDENT
                                            : 0;
    options.host = uri.host;
    options.servers = uri.servers;
    options.port = uri.port;
    options.volume = uri.volume;
    lane->session = rdisk_initiator_create(&rdisk_env_system, &options, &events,
                                           NULL, &err);
    if (!lane->session || rdisk_initiator_start(lane->session, &err) < 0 ||
        rdisk_initiator_wait(lane->session, &err) < 0) {
        die(text, err.text);
    }
    lane->queue = rdisk_initiator_queue(lane->session, 0);
    bench.span = rdisk_initiator_info(lane->session)->size / bench.size *
                 bench.size;
    watch(rdisk_queue_fd(lane->queue), 2 * (uint64_t)(lane - bench.lanes));
    watch(rdisk_initiator_fd(lane->session),
          2 * (uint64_t)(lane - bench.lanes) + 1);
    if (!bench.unregistered &&
        rdisk_initiator_register(lane->session, bench.memory,
                                 bench.depth * buffer_stride(), &err) < 0) {
        die("register", err.text);
    }
}

static void disconnect_lane(struct lane *lane)
{
    struct rdisk_error err = { 0 };

    if (!bench.unregistered) {
        rdisk_initiator_unregister(lane->session, bench.memory,
                                   bench.depth * buffer_stride());
    }
    rdisk_initiator_close(lane->session);
    rdisk_initiator_wait(lane->session, &err);
    rdisk_initiator_destroy(lane->session);
}

static void parse(int argc, char **argv)
{
    int option;

    while ((option = getopt(argc - 1, argv + 1, "wm:s:d:c:puf:S:i:o")) != -1) {
        switch (option) {
        case 'w':
            bench.read_percent = 0;
            break;
        case 'm':
            bench.read_percent = (int)parse_number("-m", optarg, 0, 100);
            break;
        case 's':
            bench.size = (uint32_t)parse_number("-s", optarg, 512, 1u << 24);
            break;
        case 'd':
            bench.depth = (uint32_t)parse_number("-d", optarg, 1, DEPTH_MAX);
            break;
        case 'c':
            bench.count = parse_number("-c", optarg, 1, 1u << 28);
            break;
        case 'p':
            bench.poll = true;
            break;
        case 'u':
            bench.unregistered = true;
            break;
        case 'f':
            bench.pieces = (uint32_t)parse_number("-f", optarg, 1, PIECES_MAX);
            break;
        case 'S':
            bench.sessions = (unsigned int)parse_number("-S", optarg, 1,
                                                        SESSIONS_MAX);
            break;
        case 'o':
            bench.older = true;
            break;
        case 'i':
            bench.idle = parse_number("-i", optarg, 1, 3600);
            break;
        default:
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    size_t length;

    if (argc < 2) {
        fputs("usage: client URI [-w | -m PERCENT] [-s SIZE] [-d DEPTH] "
              "[-c COUNT] [-p] [-u] [-f PIECES] [-S SESSIONS] "
              "[-i SECONDS] [-o]\n",
              stderr);
        return 2;
    }
    parse(argc, argv);
    if (bench.size % bench.pieces) {
        die("-f", "the pieces would not be alike");
    }
    length = bench.depth * buffer_stride();
    if (posix_memalign((void **)&bench.memory, 4096, length)) {
        die("buffers", "no memory");
    }
    memset(bench.memory, 0x5a, length);
    bench.epoll = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned int i = 0; i < bench.sessions; i++) {
        connect_lane(&bench.lanes[i], argv[1]);
    }
    run();
    print_counters();
    if (bench.idle) {
        be_idle();
    }
    for (unsigned int i = 0; i < bench.sessions; i++) {
        disconnect_lane(&bench.lanes[i]);
    }
    free(bench.memory);
    return 0;
}
