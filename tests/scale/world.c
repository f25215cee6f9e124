/* SPDX-License-Identifier: BSD-3-Clause */
/* The loop: everything is called when its descriptor is readable or its
 * deadline has passed, and never otherwise. */
#include <limits.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "tests/scale/scale.h"

#define EVENTS_PER_TURN 256

/* By descriptor. */
static struct source {
    enum scale_kind kind;
    void *what;
} * sources;
static int source_count;

uint64_t scale_now(struct scale *scale)
{
    return fake_fabric_now(scale->fabric);
}

double scale_seconds(uint64_t nanoseconds)
{
    return (double)nanoseconds / 1e9;
}

/* It is not the device that limits how many there can be. */
void scale_raise_limits(struct fake_host *host)
{
    struct fake_limits *limits = fake_host_limits(host);

    limits->max_qp = limits->max_mr = INT_MAX;
    limits->memlock = UINT64_MAX / 2;
}

void scale_watch(struct scale *scale, int fd, enum scale_kind kind, void *what)
{
    struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

    if (fd >= source_count) {
        int count = 2 * fd + 64;

        sources = realloc(sources, count * sizeof(sources[0]));
        if (!sources) {
            abort();
        }
        for (int i = source_count; i < count; i++) {
            sources[i].kind = SCALE_NOTHING;
        }
        source_count = count;
    }
    sources[fd] = (struct source) { kind, what };
    /* Several queues share a completion queue. */
    epoll_ctl(scale->poll_fd, EPOLL_CTL_ADD, fd, &event);
}

static void serve(struct scale *scale, const struct source *source)
{
    switch (source->kind) {
    case SCALE_TARGET:
        scale_server_process(scale);
        break;
    case SCALE_CQ:
        rdisk_target_cq_process(source->what);
        break;
    case SCALE_SESSION:
        scale_client_process(source->what);
        break;
    case SCALE_CLIENT_QUEUE:
        rdisk_queue_process(source->what);
        break;
    case SCALE_NOTHING:
        break;
    }
}

static bool serve_readable(struct scale *scale)
{
    struct epoll_event events[EVENTS_PER_TURN];
    int n = epoll_wait(scale->poll_fd, events, EVENTS_PER_TURN, 0);

    for (int i = 0; i < n; i++) {
        serve(scale, &sources[events[i].data.fd]);
    }
    return n > 0;
}

static bool serve_due(struct scale *scale)
{
    struct rdisk_target *target = scale->server.target;
    uint64_t now = scale_now(scale);
    bool moved = false;

    for (unsigned int i = 0; i < scale->count; i++) {
        struct scale_client *client = &scale->clients[i];

        if (client->session && client->deadline <= now) {
            scale_client_process(client);
            moved = true;
        }
    }
    if (target && rdisk_target_deadline(target) <= now) {
        scale_server_process(scale);
        moved = true;
    }
    return moved;
}

static void pump(struct scale *scale)
{
    bool moved;

    do {
        moved = fake_fabric_sweep(scale->fabric);
        moved |= serve_readable(scale);
        moved |= serve_due(scale);
        moved |= scale_server_life(scale);
    } while (moved);
}

static uint64_t next_due(struct scale *scale)
{
    uint64_t next = fake_fabric_next(scale->fabric);
    uint64_t held = scale_server_due(scale);

    next = held < next ? held : next;
    for (unsigned int i = 0; i < scale->count; i++) {
        if (scale->clients[i].session && scale->clients[i].deadline < next) {
            next = scale->clients[i].deadline;
        }
    }
    if (scale->server.target) {
        uint64_t due = rdisk_target_deadline(scale->server.target);

        next = due < next ? due : next;
    }
    return next;
}

bool scale_advance(struct scale *scale, uint64_t nanoseconds,
                   bool (*done)(const struct scale *scale))
{
    uint64_t end = scale_now(scale) + nanoseconds;

    for (;;) {
        uint64_t next;

        pump(scale);
        if (done && done(scale)) {
            return true;
        }
        next = next_due(scale);
        if (next > end || scale_now(scale) >= end) {
            break;
        }
        fake_fabric_set_now(scale->fabric, next);
    }
    fake_fabric_set_now(scale->fabric, end);
    return false;
}
