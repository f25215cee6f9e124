/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client of librdisk that watches its memory while a server that keeps no
 * protocol serves it:
 *
 *   adversary-victim URI
 *   adversary-victim URI write COMMAND
 *
 * Two reads of 4096 bytes into a page between two others, then one into
 * another place, which need not be answered. Tells what has become of the page
 * after the second read, of those beside it, and of the session.
 *
 * Or, when COMMAND has run, a write of a page of bytes 0xaa, which become 0xbb
 * as soon as the write has completed. Tells how it ended.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rdisk/initiator.h>
#include <rdisk/uri.h>

#define PAGE    4096u
#define WAIT_MS 5000u

static struct rdisk_initiator *session;
static uint8_t *memory; /* three pages, and one for the last read */
static uint8_t snapshot[PAGE];
static bool done;
static int result;

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "adversary-victim: %s: %s\n", what, why);
    exit(2);
}

static void completed(struct rdisk_request *request, int code)
{
    memcpy(snapshot, memory + PAGE, PAGE);
    result = code;
    done = true;
}

/* Serve until @until, or the session has ended; false: time is over. */
static void serve(const bool *until)
{
    struct rdisk_queue *queue = rdisk_initiator_queue(session, 0);
    struct pollfd fds[] = {
        { .fd = rdisk_queue_fd(queue), .events = POLLIN },
        { .fd = rdisk_initiator_fd(session), .events = POLLIN },
    };
    time_t end = time(NULL) + WAIT_MS / 1000 + 1;

    while ((!until || !*until) && time(NULL) < end &&
           rdisk_initiator_state(session) == RDISK_INITIATOR_READY) {
        poll(fds, 2, 100);
        rdisk_initiator_process(session);
        rdisk_queue_process(queue);
    }
    /* What has ended leaves requests to be completed. */
    for (unsigned int i = 0;
         i < 50 && !rdisk_queue_idle(queue) &&
         rdisk_initiator_state(session) != RDISK_INITIATOR_READY;
         i++) {
        poll(fds, 2, 100);
        rdisk_initiator_process(session);
        rdisk_queue_process(queue);
    }
}

static void submit(struct rdisk_request *request, enum rdisk_op op,
                   struct iovec *iov, uint8_t *to)
{
    struct rdisk_queue *queue = rdisk_initiator_queue(session, 0);
    int ret;

    *iov = (struct iovec) { to, PAGE };
    *request = (struct rdisk_request) {
        .op = op,
        .length = PAGE,
        .iov = iov,
        .iovcnt = 1,
        .complete = completed,
    };
    done = false;
    ret = rdisk_queue_submit(queue, request);
    if (ret < 0) {
        fail("submit", strerror(-ret));
    }
    rdisk_queue_kick(queue);
}

static void read_page(uint8_t *to)
{
    struct rdisk_request request;
    struct iovec iov;

    submit(&request, RDISK_OP_READ, &iov, to);
    serve(&done);
    if (!done) {
        fail("a read", "has no end");
    }
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
    if (rdisk_uri_parse(text, &uri, set_option, &options, &err) < 0) {
        fail(text, err.text);
    }
    options.host = uri.host;
    options.port = uri.port;
    options.volume = uri.volume;
    session = rdisk_initiator_create(&rdisk_env_system, &options, &events, NULL,
                                     &err);
    if (!session || rdisk_initiator_start(session, &err) < 0 ||
        rdisk_initiator_wait(session, &err) < 0 ||
        rdisk_initiator_register(session, memory, 4 * PAGE, &err) < 0) {
        fail(text, err.text);
    }
}

static bool all_of(const uint8_t *page, uint8_t byte)
{
    for (unsigned int i = 0; i < PAGE; i++) {
        if (page[i] != byte) {
            return false;
        }
    }
    return true;
}

/* Its device may send the page again, with what is there then. */
static void write_page(const char *command)
{
    struct rdisk_request request;
    struct timespec from, to;
    struct iovec iov;

    memset(memory, 0xaa, PAGE);
    if (system(command)) {
        fail(command, "failed");
    }
    clock_gettime(CLOCK_MONOTONIC, &from);
    submit(&request, RDISK_OP_WRITE, &iov, memory);
    serve(&done);
    if (!done) {
        fail("a write", "has no end");
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    memset(memory, 0xbb, PAGE);
    serve(NULL);
    printf("write: %s after %ld ms\n", result ? strerror(-result) : "well",
           (to.tv_sec - from.tv_sec) * 1000 +
               (to.tv_nsec - from.tv_nsec) / 1000000);
}

int main(int argc, char **argv)
{
    bool write = argc == 4 && !strcmp(argv[2], "write");
    struct rdisk_request last;
    struct iovec iov;

    if ((argc != 2 && !write) ||
        posix_memalign((void **)&memory, PAGE, 4 * PAGE)) {
        fail("usage", "adversary-victim URI [write COMMAND]");
    }
    memset(memory, 0x11, 4 * PAGE);
    connect_to(argv[1]);
    if (write) {
        write_page(argv[3]);
        return 0;
    }
    read_page(memory + PAGE);
    read_page(memory + PAGE);
    printf("second read: %s\n", result ? strerror(-result) : "well");
    if (rdisk_initiator_state(session) == RDISK_INITIATOR_READY) {
        uint8_t kept[PAGE];

        memcpy(kept, snapshot, PAGE);
        submit(&last, RDISK_OP_READ, &iov, memory + 3 * PAGE);
        serve(NULL);
        memcpy(snapshot, kept, PAGE);
    }
    printf("page: %s\n", memcmp(memory + PAGE, snapshot, PAGE)
                             ? "changed after its read"
                             : "as its read left it");
    printf("beside: %s\n",
           all_of(memory, 0x11) && all_of(memory + 2 * PAGE, 0x11)
               ? "untouched"
               : "written to");
    printf("session: %s\n",
           rdisk_initiator_state_name(rdisk_initiator_state(session)));
    fflush(stdout);
    /* Its memory is the server's until the end: no orderly one. */
    _Exit(0);
}
