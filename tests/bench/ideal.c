/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ideal program: what a remote disk of one round trip could reach on this
 * device if there were no disk. No block layer, no checks, no errors to
 * recover from. A write is one RDMA_WRITE_WITH_IMM into the server's buffer,
 * answered by a message of 64 bytes; a read is a message of 64 bytes, answered
 * by one RDMA_WRITE_WITH_IMM. Buffers are registered once, each side has one
 * completion queue, work requests are posted in chains, and only one send in
 * SIGNAL_EVERY asks for a completion. The server may pread and pwrite a file
 * on the way.
 *
 *   ideal server ADDRESS PORT [-f FILE] [-p]
 *   ideal client ADDRESS PORT [-w | -m PERCENT] [-s SIZE] [-d DEPTH]
 *                [-c COUNT] [-p]
 *
 * -w writes, -m reads PERCENT and writes the rest; -p polls, else completions
 * are slept for. The client prints a line; see result.h.
 */
#include "tests/bench/ideal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- Connection ------------------------------------------------------- */

static struct rdma_cm_event *wait_event(struct side *side,
                                        enum rdma_cm_event_type type,
                                        int milliseconds)
{
    struct pollfd fd = { .fd = side->events->fd, .events = POLLIN };
    struct rdma_cm_event *event;

    if (poll(&fd, 1, milliseconds) == 0) {
        die("no answer within %d ms", milliseconds);
    }
    if (rdma_get_cm_event(side->events, &event)) {
        die("no event: %s", strerror(errno));
    }
    if (event->event != type) {
        die("%s instead of %s (status %d)", rdma_event_str(event->event),
            rdma_event_str(type), event->status);
    }
    return event;
}

static struct rdma_conn_param parameters(const struct side *side,
                                         struct hello *hello)
{
    *hello = (struct hello) {
        .depth = side->depth,
        .size = side->size,
        .address = (uintptr_t)side->memory,
        .key = side->mr->rkey,
    };
    return (struct rdma_conn_param) {
        .private_data = hello,
        .private_data_len = sizeof(*hello),
        .retry_count = 7,
        .rnr_retry_count = 6,
    };
}

static void read_peer(struct side *side, const struct rdma_cm_event *event)
{
    if (event->param.conn.private_data_len < sizeof(side->peer)) {
        die("the peer is no program like this one");
    }
    memcpy(&side->peer, event->param.conn.private_data, sizeof(side->peer));
}

static struct sockaddr_in address_of(const char *host, const char *port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)parse_number("PORT", port, 1, 65535)),
    };

    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) {
        die("'%s' is no IPv4 address", host);
    }
    return address;
}

/* ---- Server ----------------------------------------------------------- */

static void file_io(struct side *side, uint32_t slot, bool write,
                    uint64_t offset)
{
    ssize_t done;

    if (side->file < 0) {
        return;
    }
    done = write ? pwrite(side->file, slot_data(side, slot), side->size,
                          (off_t)offset)
                 : pread(side->file, slot_data(side, slot), side->size,
                         (off_t)offset);
    if (done != (ssize_t)side->size) {
        die("%s of %u bytes at %" PRIu64 ": %s", write ? "write" : "read",
            side->size, offset, done < 0 ? strerror(errno) : "short");
    }
}

static void serve(struct side *side)
{
    uint64_t span = side->file_size ? side->file_size - side->size + 1 : 1;
    struct ibv_wc wc[BATCH];
    int n;

    while ((n = wait_completions(side, wc)) > 0) {
        for (int i = 0; i < n; i++) {
            uint64_t offset;
            bool data;
            int64_t slot = receive(side, &wc[i], &data, &offset);

            if (slot < 0) {
                continue;
            }
            if (data) {
                file_io(side, (uint32_t)slot, true,
                        side->written % span / side->size * side->size);
                side->written += side->size;
                send_message(side, (uint32_t)slot, true, 0);
            } else {
                file_io(side, (uint32_t)slot, false,
                        offset % span / side->size * side->size);
                send_data(side, (uint32_t)slot);
            }
        }
        post_receives(side);
        post_sends(side);
    }
}

static void run_server(struct side *side, struct sockaddr_in *address)
{
    struct rdma_cm_id *listener;

    if (rdma_create_id(side->events, &listener, NULL, RDMA_PS_TCP) ||
        rdma_bind_addr(listener, (struct sockaddr *)address) ||
        rdma_listen(listener, 4)) {
        die("cannot listen: %s", strerror(errno));
    }
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        struct rdma_conn_param param;
        struct rdma_cm_event *event;
        struct hello hello;

        event = wait_event(side, RDMA_CM_EVENT_CONNECT_REQUEST, -1);
        side->id = event->id;
        read_peer(side, event);
        rdma_ack_cm_event(event);
        side->depth = side->peer.depth;
        side->size = side->peer.size;
        if (side->depth > DEPTH_MAX || side->size > SIZE_MAX_IO) {
            die("a depth of %u and a size of %u", side->depth, side->size);
        }
        make_queue(side);
        param = parameters(side, &hello);
        if (rdma_accept(side->id, &param)) {
            die("cannot accept: %s", strerror(errno));
        }
        rdma_ack_cm_event(
            wait_event(side, RDMA_CM_EVENT_ESTABLISHED, CONNECT_MS));
        serve(side);
        rdma_ack_cm_event(
            wait_event(side, RDMA_CM_EVENT_DISCONNECTED, CONNECT_MS));
        rdma_disconnect(side->id);
        drop_queue(side);
    }
}

/* ---- Client ----------------------------------------------------------- */

static void request(struct side *side, uint32_t slot)
{
    bool read = side->read_percent == 100;

    if (!read && side->read_percent) {
        /* xorshift64 (Marsaglia 2003) */
        side->seed ^= side->seed << 13;
        side->seed ^= side->seed >> 7;
        side->seed ^= side->seed << 17;
        read = side->seed % 100 < (unsigned int)side->read_percent;
    }
    side->begun[slot] = result_now();
    result_stamp('s');
    if (read) {
        send_message(side, slot, false, side->started * side->size);
    } else {
        send_data(side, slot);
    }
    side->started++;
}

static void run_requests(struct side *side)
{
    struct ibv_wc wc[BATCH];

    result_begin(&side->result, side->count);
    for (uint32_t i = 0; i < side->depth && side->started < side->count; i++) {
        request(side, i);
    }
    post_sends(side);
    while (side->ended < side->count) {
        int n = wait_completions(side, wc);
        uint64_t now = result_now();

        if (n == 0) {
            die("the server has gone");
        }
        for (int i = 0; i < n; i++) {
            uint64_t offset;
            bool data;
            int64_t slot = receive(side, &wc[i], &data, &offset);

            if (slot < 0) {
                continue;
            }
            result_add(&side->result, now - side->begun[slot]);
            side->ended++;
            if (side->started < side->count) {
                request(side, (uint32_t)slot);
            }
        }
        /* Receives first: an answer must never find none. */
        post_receives(side);
        post_sends(side);
    }
    result_print(&side->result);
}

static void run_client(struct side *side, struct sockaddr_in *address)
{
    struct rdma_conn_param param;
    struct rdma_cm_event *event;
    struct hello hello;

    if (rdma_create_id(side->events, &side->id, NULL, RDMA_PS_TCP) ||
        rdma_resolve_addr(side->id, NULL, (struct sockaddr *)address,
                          CONNECT_MS)) {
        die("cannot resolve the address: %s", strerror(errno));
    }
    rdma_ack_cm_event(
        wait_event(side, RDMA_CM_EVENT_ADDR_RESOLVED, CONNECT_MS));
    if (rdma_resolve_route(side->id, CONNECT_MS)) {
        die("cannot resolve the route: %s", strerror(errno));
    }
    rdma_ack_cm_event(
        wait_event(side, RDMA_CM_EVENT_ROUTE_RESOLVED, CONNECT_MS));
    make_queue(side);
    param = parameters(side, &hello);
    if (rdma_connect(side->id, &param)) {
        die("cannot connect: %s", strerror(errno));
    }
    event = wait_event(side, RDMA_CM_EVENT_ESTABLISHED, CONNECT_MS);
    read_peer(side, event);
    rdma_ack_cm_event(event);
    run_requests(side);
    rdma_disconnect(side->id);
    rdma_ack_cm_event(wait_event(side, RDMA_CM_EVENT_DISCONNECTED, CONNECT_MS));
    drop_queue(side);
}

/* ---- Options ---------------------------------------------------------- */

static void open_file(struct side *side, const char *path)
{
    off_t size;

    side->file = open(path, O_RDWR | O_CLOEXEC);
    size = side->file < 0 ? -1 : lseek(side->file, 0, SEEK_END);
    if (size < (off_t)SIZE_MAX_IO) {
        die("%s: %s", path, size < 0 ? strerror(errno) : "too small");
    }
    side->file_size = (uint64_t)size;
}

static void usage(void)
{
    fputs("usage: ideal server ADDRESS PORT [-f FILE] [-p]\n"
          "       ideal client ADDRESS PORT [-w | -m PERCENT] [-s SIZE] "
          "[-d DEPTH] [-c COUNT] [-p]\n",
          stderr);
    exit(2);
}

int main(int argc, char **argv)
{
    static struct side side = {
        .depth = 1,
        .size = 4096,
        .file = -1,
        .count = 1000,
        .read_percent = 100,
        .seed = 88172645463325252ull,
    };
    struct sockaddr_in address;
    int option;

    if (argc < 4) {
        usage();
    }
    while ((option = getopt(argc - 3, argv + 3, "f:pwm:s:d:c:")) != -1) {
        switch (option) {
        case 'f':
            open_file(&side, optarg);
            break;
        case 'p':
            side.poll = true;
            break;
        case 'w':
            side.read_percent = 0;
            break;
        case 'm':
            side.read_percent = (int)parse_number("-m", optarg, 0, 100);
            break;
        case 's':
            side.size = (uint32_t)parse_number("-s", optarg, MESSAGE,
                                               SIZE_MAX_IO);
            break;
        case 'd':
            side.depth = (uint32_t)parse_number("-d", optarg, 1, DEPTH_MAX);
            break;
        case 'c':
            side.count = parse_number("-c", optarg, 1, 1u << 28);
            break;
        default:
            usage();
        }
    }
    address = address_of(argv[2], argv[3]);
    side.events = rdma_create_event_channel();
    if (!side.events) {
        die("no RDMA here: %s", strerror(errno));
    }
    if (strcmp(argv[1], "server") == 0) {
        run_server(&side, &address);
    } else if (strcmp(argv[1], "client") == 0) {
        run_client(&side, &address);
    } else {
        usage();
    }
    return 0;
}
