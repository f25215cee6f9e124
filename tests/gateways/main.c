/* SPDX-License-Identifier: BSD-3-Clause */
/*
 *   rdisk-sim-gateways [-s FIRST-SEED] [-n COUNT] [-m MUTATION] [-M]
 *
 * A COUNT of 1 prints everything that happens; -M checks that each mutation is
 * found within COUNT schedules.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "tests/gateways/gateways.h"
#include "tests/unit/support/quiet.h"

#define STEPS 6000u

static const char *const mutations[] = {
    [MUTATE_NOTHING] = "nothing",
    [MUTATE_OTHER_CLIENT] = "other-connection-breaks",
    [MUTATE_NO_WAIT] = "map-not-awaited",
    [MUTATE_NO_BLOCKLIST] = "owner-not-blocklisted",
    [MUTATE_ANSWER] = "fenced-answers",
    [MUTATE_NOT_SWAPPED] = "record-not-swapped",
    [MUTATE_LEFT_EARLY] = "left-early",
};

enum mutation mutation;
bool verbose;
static uint64_t random_state;
static char violated[200]; /* "": not */

unsigned int pick(unsigned int bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned int)((random_state >> 16) % bound);
}

void say(const char *format, ...)
{
    va_list args;

    if (verbose) {
        va_start(args, format);
        vprintf(format, args);
        va_end(args);
        putchar('\n');
    }
}

void violation(const char *format, ...)
{
    va_list args;

    if (!violated[0]) {
        va_start(args, format);
        vsnprintf(violated, sizeof(violated), format, args);
        va_end(args);
        say("VIOLATION: %s", violated);
    }
}

/* ---- What happens -------------------------------------------------------- */

/* A server that was killed comes back, one that is stopped goes on. */
static void fault(void)
{
    struct process *process = &processes[pick(SERVERS)];

    if (process->busy) {
        return;
    }
    if (process->stopped) {
        say("server %d goes on", (int)(process - processes));
        process->stopped = false;
    } else if (!process->up) {
        process_start(process);
    } else if (process->server.drain.volumes) {
        process_resume(process);
    } else if (pick(2)) {
        process_drain(process);
    } else if (pick(4) == 0) {
        process_kill(process);
    } else if (pick(4) == 0) {
        say("the writer is put on the blocklist by hand");
        store_blocklist_writer();
    } else {
        say("server %d is stopped", (int)(process - processes));
        process->stopped = true;
    }
}

static void repair(void)
{
    for (unsigned int i = 0; i < SERVERS; i++) {
        processes[i].stopped = false;
        if (!processes[i].up) {
            process_start(&processes[i]);
        }
        process_resume(&processes[i]);
    }
}

static void step(void)
{
    switch (pick(8)) {
    case 0:
    case 1:
        client_step();
        break;
    case 2:
    case 3:
        store_step();
        break;
    default:
        process_step(&processes[pick(SERVERS)]);
        break;
    }
}

void world_wait(void)
{
    if (running) {
        for (unsigned int steps = pick(12); steps; steps--) {
            step();
        }
    }
}

static bool run(uint64_t seed)
{
    random_state = seed * 0x9e3779b97f4a7c15ull + 1;
    violated[0] = '\0';
    store_begin();
    client_begin();
    processes_begin();
    for (unsigned int i = 0; i < STEPS && !violated[0]; i++) {
        if (pick(150) == 0) {
            fault();
        }
        step();
    }
    repair();
    client_finish();
    while (!violated[0] && !client_finished()) {
        step();
    }
    processes_end();
    store_end();
    return !violated[0];
}

/* ---- The program -------------------------------------------------------- */

static int usage(void)
{
    fprintf(stderr, "usage: rdisk-sim-gateways [-s FIRST-SEED] [-n COUNT] "
                    "[-m MUTATION] [-M]\n");
    return 2;
}

static bool choose(const char *name)
{
    for (unsigned int i = 0; i < MUTATE_COUNT; i++) {
        if (strcmp(mutations[i], name) == 0) {
            mutation = i;
            return true;
        }
    }
    return false;
}

/* How many schedules failed; with a mutation the first one ends it. */
static unsigned int run_all(uint64_t seed, unsigned int count)
{
    unsigned int failed = 0;

    for (unsigned int i = 0; i < count && !(failed && mutation); i++) {
        if (!run(seed + i)) {
            printf("%s: seed %llu: %s\n", mutations[mutation],
                   (unsigned long long)(seed + i), violated);
            failed++;
        }
    }
    return failed;
}

static int check_mutations(uint64_t seed, unsigned int count)
{
    unsigned int missed = 0;

    for (unsigned int i = 1; i < MUTATE_COUNT; i++) {
        mutation = i;
        if (!run_all(seed, count)) {
            printf("FAIL %s was not found in %u schedules\n", mutations[i],
                   count);
            missed++;
        }
    }
    printf("%u found, %u not found\n", MUTATE_COUNT - 1 - missed, missed);
    return missed != 0;
}

int main(int argc, char **argv)
{
    unsigned int count = 2000, failed;
    uint64_t seed = 1;
    bool all = false;
    int option;

    while ((option = getopt(argc, argv, "s:n:m:M")) != -1) {
        if (option == 's') {
            seed = strtoull(optarg, NULL, 10);
        } else if (option == 'n') {
            count = (unsigned int)strtoul(optarg, NULL, 10);
        } else if (option == 'M') {
            all = true;
        } else if (option != 'm' || !choose(optarg)) {
            return usage();
        }
    }
    log_set_level(QUIET);
    verbose = count == 1;
    if (all) {
        return check_mutations(seed, count);
    }
    failed = run_all(seed, count);
    printf("%u passed, %u failed\n", count - failed, failed);
    return failed != 0;
}
