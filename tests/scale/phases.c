/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What happens, and what is held against it:
 *
 *   all sessions start at once; a quarter of them does not find room at first
 *   all want more memory than there is
 *   the server dies, is away for a while, and returns
 *   all sessions close
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "tests/scale/scale.h"

/* Of a session, what the server's calls cost: five queue pairs, five pieces of
 * memory; and as much again for calls that hang. */
#define EACH_MS 150u
/* The longest pause between two attempts, and what an attempt takes. */
#define PAUSE_MS 5000u
/* Half of the pauses are between one half and all of that: so many sessions
 * may come within a tenth of a second, and twice as many by chance. */
#define WINDOW_MS 100u
#define AWAY_MS   30000u
/* Places that a session may open after those that came later: a server that
 * waits for a message of one begins with the next. */
#define PLACES 12u

#define LOAD_MS 5000u
#define FAIR    0.9

#define MS(n) ((uint64_t)(n)*RDISK_MSEC)

static void say(const char *what, const struct scale *scale, uint64_t since)
{
    printf("  %s after %.2f s of virtual time\n", what,
           scale_seconds(scale_now((struct scale *)scale) - since));
    fflush(stdout);
}

static bool all_ready(const struct scale *scale)
{
    return scale_clients_in(scale, RDISK_INITIATOR_READY) == scale->count;
}

static bool first_ready(const struct scale *scale)
{
    return scale_clients_in(scale, RDISK_INITIATOR_READY) ==
           scale->server.options.max_sessions;
}

static void require_ready(struct scale *scale, uint64_t bound_ms,
                          bool (*done)(const struct scale *scale),
                          const char *what)
{
    uint64_t since = scale_now(scale);

    if (!scale_advance(scale, MS(bound_ms), done)) {
        scale_fail("%s: %u of %u sessions are open after %g s", what,
                   scale_clients_in(scale, RDISK_INITIATOR_READY), scale->count,
                   bound_ms / 1000.0);
    }
    if (scale->server.dropped) {
        scale_fail("%s: the server dropped %u handshakes of clients that "
                   "waited for it",
                   what, scale->server.dropped);
    }
    say(what, scale, since);
}

/* ---- In the order in which they came ------------------------------------ */

static void check_order(const struct scale *scale)
{
    const struct scale_server *server = &scale->server;
    unsigned int worst = 0;

    for (unsigned int i = 0; i < server->open_count; i++) {
        unsigned int before = 0;

        for (unsigned int j = 0; j < server->open_count; j++) {
            before += server->opened[j] < server->opened[i];
        }
        worst = i > before + worst ? i - before : worst;
    }
    printf("  at most %u sessions opened before one that came earlier\n",
           worst);
    if (worst > PLACES) {
        scale_fail("a session opened %u places after those that came later",
                   worst);
    }
}

/* ---- No herd ------------------------------------------------------------ */

static int by_number(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

/* The most attempts within a window, of those from @since on. */
static unsigned int densest(struct scale *scale, uint64_t since)
{
    unsigned int most = 0, first = 0;

    qsort(scale->attempts, scale->attempt_count, sizeof(uint64_t), by_number);
    for (unsigned int i = 0; i < scale->attempt_count; i++) {
        while (scale->attempts[i] - scale->attempts[first] > MS(WINDOW_MS)) {
            first++;
        }
        if (scale->attempts[i] >= since && i - first + 1 > most) {
            most = i - first + 1;
        }
    }
    return most;
}

static void check_herd(struct scale *scale, uint64_t since)
{
    unsigned int most = densest(scale, since);
    /* Attempts are at least half a pause apart. */
    unsigned int mean = scale->count * WINDOW_MS / (PAUSE_MS / 2);

    printf("  at most %u attempts in %u ms while the server was away\n", most,
           WINDOW_MS);
    if (most > 4 * mean + 8) {
        scale_fail("%u sessions have tried within %u ms, %u would do", most,
                   WINDOW_MS, mean);
    }
}

/* ---- The phases --------------------------------------------------------- */

static void open_all(struct scale *scale)
{
    struct rdisk_target_options options;
    struct rdisk_error err;

    scale->server.options.max_sessions = scale->count - scale->count / 4;
    scale_server_start(scale);
    for (unsigned int i = 0; i < scale->count; i++) {
        scale_client_start(scale, i);
    }
    require_ready(scale, scale->count * EACH_MS + PAUSE_MS, first_ready,
                  "all that find room are open");
    check_order(scale);
    options = scale->server.options;
    options.max_sessions = SCALE_SESSIONS;
    if (rdisk_target_set_limits(scale->server.target, &options, &err) < 0) {
        scale_fail("%s", err.text);
    }
    require_ready(scale, scale->count * EACH_MS / 4 + 2 * PAUSE_MS, all_ready,
                  "the others are open");
    scale->server.options.max_sessions = SCALE_SESSIONS;
}

/* Each wants all its slots, and there is memory for half of them. */
static bool nothing_outstanding(const struct scale *scale)
{
    for (unsigned int i = 0; i < scale->count; i++) {
        if (scale->clients[i].outstanding) {
            return false;
        }
    }
    return true;
}

static void load_all(struct scale *scale)
{
    double fairness;

    scale->loaded = true;
    for (unsigned int i = 0; i < scale->count; i++) {
        scale_client_load(&scale->clients[i]);
    }
    scale_advance(scale, MS(LOAD_MS + scale->count * EACH_MS), NULL);
    fairness = scale_server_fairness(scale);
    printf("  Jain's index of their memory %.3f, %.0f %% of the limit used\n",
           fairness, 100.0 * scale->server.most_memory / scale->server.limit);
    if (fairness < FAIR) {
        scale_fail("memory is not shared fairly: %.3f, not %.1f", fairness,
                   FAIR);
    }
    scale->loaded = false;
    if (!scale_advance(scale, MS(60000 + scale->count * EACH_MS),
                       nothing_outstanding)) {
        scale_fail("requests are not answered");
    }
}

static void server_returns(struct scale *scale)
{
    scale_server_kill(scale);
    scale->attempt_count = 0;
    scale_advance(scale, MS(AWAY_MS), NULL);
    check_herd(scale, scale_now(scale) - MS(AWAY_MS / 2));
    if (scale->server.target) {
        scale_fail("the server's objects do not end");
    }
    scale_server_start(scale);
    require_ready(scale, scale->count * EACH_MS + 2 * PAUSE_MS, all_ready,
                  "all are back");
    check_order(scale);
}

static bool all_closed(const struct scale *scale)
{
    return scale_clients_in(scale, RDISK_INITIATOR_CLOSED) == scale->count;
}

static bool server_empty(const struct scale *scale)
{
    return !rdisk_target_sessions(scale->server.target);
}

static bool server_gone(const struct scale *scale)
{
    return !scale->server.target;
}

static void close_all(struct scale *scale)
{
    for (unsigned int i = 0; i < scale->count; i++) {
        rdisk_initiator_close(scale->clients[i].session);
        scale_client_process(&scale->clients[i]);
    }
    require_ready(scale, 60000, all_closed, "all are closed");
    for (unsigned int i = 0; i < scale->count; i++) {
        scale_client_end(&scale->clients[i]);
    }
    if (!scale_advance(scale, MS(60000), server_empty)) {
        scale_fail("%u sessions are left at the server",
                   rdisk_target_sessions(scale->server.target));
    }
    if (scale->server.target->memory) {
        scale_fail("%llu bytes of memory are left at the server",
                   (unsigned long long)scale->server.target->memory);
    }
    scale_server_kill(scale);
    if (!scale_advance(scale, MS(60000), server_gone)) {
        scale_fail("the server does not end");
    }
}

void scale_run(struct scale *scale, unsigned int count,
               enum scale_mutation mutation, bool verbose)
{
    char address[32];
    unsigned int left;

    memset(scale, 0, sizeof(*scale));
    scale->mutation = mutation;
    scale->verbose = verbose;
    scale->count = count;
    scale->poll_fd = epoll_create1(EPOLL_CLOEXEC);
    scale->fabric = fake_fabric_new(count);
    scale_server_begin(scale);
    for (unsigned int i = 0; i < SCALE_HOSTS; i++) {
        snprintf(address, sizeof(address), "10.0.1.%u", i + 1);
        scale->hosts[i] = fake_host_add(scale->fabric, address);
        scale_raise_limits(scale->hosts[i]);
    }
    open_all(scale);
    load_all(scale);
    server_returns(scale);
    close_all(scale);
    printf("  at most %.1f MiB of the server's memory, %.0f KiB a session\n",
           scale->server.most_memory / 1048576.0,
           scale->server.most_memory / 1024.0 / count);
    left = fake_fabric_free(scale->fabric);
    if (left) {
        scale_fail("%u objects are left", left);
    }
    close(scale->poll_fd);
    free(scale->attempts);
}
