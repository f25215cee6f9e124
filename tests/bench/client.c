/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client of librdisk without QEMU: what the transport and the server cost by
 * themselves, with a mix of reads and writes, quantiles, and the choice to
 * poll, none of which qemu-img bench has.
 *
 *   client URI [-w | -m PERCENT] [-s SIZE] [-d DEPTH] [-c COUNT] [-p] [-u]
 *
 * -w writes, -m reads PERCENT and writes the rest; -p polls instead of
 * sleeping; -u leaves the buffers unregistered. Prints a line, see result.h,
 * and another one of the queue's counters.
 */
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/result.h"
#include "transport/initiator.h"
#include "transport/uri.h"

#define DEPTH_MAX       1024u
#define SPIN_YIELD      256u    /* empty polls before the CPU is offered */
#define HEARTBEAT_NS    100000000u  /* how often a poller serves its session */

struct io {
    struct rdisk_request request;   /* first */
    struct iovec iov;
    uint64_t begun;
};

static struct {
    struct rdisk_initiator *session;
    struct rdisk_queue *queue;
    bool poll, unregistered;
    int read_percent;
    uint32_t size, depth;
    uint64_t count, started, ended, span, seed;
    uint8_t *memory;
    struct io io[DEPTH_MAX];
    struct result result;
} bench = {
    .read_percent = 100, .size = 4096, .depth = 1, .count = 1000,
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
    result = rdisk_queue_submit(bench.queue, &io->request);
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

static void serve_session(void)
{
    rdisk_initiator_process(bench.session);
    if (rdisk_initiator_state(bench.session) != RDISK_INITIATOR_READY) {
        die("the session ended", rdisk_initiator_error(bench.session)->text);
    }
}

static void wait_sleeping(void)
{
    struct pollfd fds[] = {
        { .fd = rdisk_queue_fd(bench.queue), .events = POLLIN },
        { .fd = rdisk_initiator_fd(bench.session), .events = POLLIN },
    };

    /* Well below any heartbeat: a bound behind every sleep. */
    if (poll(fds, 2, 100) == 0 || fds[1].revents) {
        serve_session();
    }
    rdisk_queue_process(bench.queue);
}

/* Never armed: nothing is to tell of what it looks for. */
static void wait_polling(void)
{
    static uint64_t served;
    unsigned int empty = 0;

    while (!rdisk_queue_poll(bench.queue)) {
        if (++empty % SPIN_YIELD == 0) {
            sched_yield();
            if (result_now() - served > HEARTBEAT_NS) {
                served = result_now();
                serve_session();
            }
        }
    }
}

static void run(void)
{
    for (uint32_t i = 0; i < bench.depth; i++) {
        struct io *io = &bench.io[i];

        io->iov.iov_base = bench.memory + (size_t)i * bench.size;
        io->iov.iov_len = bench.size;
        io->request.iov = &io->iov;
        io->request.iovcnt = 1;
        io->request.length = bench.size;
        io->request.complete = completed;
    }
    result_begin(&bench.result, bench.count);
    for (uint32_t i = 0; i < bench.depth && bench.started < bench.count;
         i++) {
        submit(&bench.io[i]);
    }
    rdisk_queue_kick(bench.queue);
    while (bench.ended < bench.count) {
        if (bench.poll) {
            wait_polling();
        } else {
            wait_sleeping();
        }
    }
    result_print(&bench.result);
}

static void print_counters(void)
{
    struct rdisk_queue_counters counters;

    rdisk_queue_counters(bench.queue, &counters);
    printf("copied_bytes=%" PRIu64 " waited=%" PRIu64 " work_requests=%" PRIu64
           " doorbells=%" PRIu64 " receives=%" PRIu64 " wakeups=%" PRIu64
           "\n", counters.copied_bytes, counters.waited,
           counters.work_requests, counters.doorbells, counters.receives,
           counters.wakeups);
}

static int set_option(void *opaque, const char *name, const char *value,
                      struct rdisk_error *err)
{
    return rdisk_initiator_option_set(opaque, name, value, err);
}

static void connect_to(const char *text)
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
    options.host = uri.host;
    options.port = uri.port;
    options.volume = uri.volume;
    bench.session = rdisk_initiator_create(&rdisk_env_system, &options,
                                           &events, NULL, &err);
    if (!bench.session || rdisk_initiator_start(bench.session, &err) < 0 ||
        rdisk_initiator_wait(bench.session, &err) < 0) {
        die(text, err.text);
    }
    bench.queue = rdisk_initiator_queue(bench.session, 0);
    bench.span = rdisk_initiator_info(bench.session)->size / bench.size *
                 bench.size;
    if (!bench.unregistered &&
        rdisk_initiator_register(bench.session, bench.memory,
                                 (size_t)bench.depth * bench.size,
                                 &err) < 0) {
        die("register", err.text);
    }
}

static void parse(int argc, char **argv)
{
    int option;

    while ((option = getopt(argc - 1, argv + 1, "wm:s:d:c:pu")) != -1) {
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
        default:
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    struct rdisk_error err = { 0 };
    size_t length;

    if (argc < 2) {
        fputs("usage: client URI [-w | -m PERCENT] [-s SIZE] [-d DEPTH] "
              "[-c COUNT] [-p] [-u]\n", stderr);
        return 2;
    }
    parse(argc, argv);
    length = (size_t)bench.depth * bench.size;
    if (posix_memalign((void **)&bench.memory, 4096, length)) {
        die("buffers", "no memory");
    }
    memset(bench.memory, 0x5a, length);
    connect_to(argv[1]);
    run();
    print_counters();
    if (!bench.unregistered) {
        rdisk_initiator_unregister(bench.session, bench.memory, length);
    }
    rdisk_initiator_close(bench.session);
    rdisk_initiator_wait(bench.session, &err);
    rdisk_initiator_destroy(bench.session);
    free(bench.memory);
    return 0;
}
