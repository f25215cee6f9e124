/* SPDX-License-Identifier: BSD-3-Clause */
/* One run of so many sessions, or one for each mutation, in a process of its
 * own. */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/scale/scale.h"

/* Descriptors of a session, with those that the fake device has for both its
 * ends; and all others. */
#define DESCRIPTORS_EACH 18u
#define DESCRIPTORS      200u

static struct scale scale;

void scale_fail(const char *format, ...)
{
    va_list args;

    printf("  FAILED: ");
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
    _exit(1);
}

static bool enough_descriptors(unsigned int count)
{
    struct rlimit limit;
    rlim_t needed = DESCRIPTORS + (rlim_t)count * DESCRIPTORS_EACH;

    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max < needed) {
        /* Works for root. */
        limit.rlim_max = needed;
    }
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
        getrlimit(RLIMIT_NOFILE, &limit);
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_cur < needed) {
        fprintf(stderr,
                "%u sessions need %llu descriptors, the limit is %llu: see "
                "ulimit -n\n",
                count, (unsigned long long)needed,
                (unsigned long long)limit.rlim_cur);
    }
    return limit.rlim_cur >= needed;
}

/* True if it passes. */
static bool run(unsigned int count, enum scale_mutation mutation, bool verbose)
{
    int status;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        scale_run(&scale, count, mutation, verbose);
        exit(0);
    }
    if (pid < 0 || waitpid(pid, &status, 0) < 0) {
        perror("scale");
        exit(2);
    }
    return status == 0;
}

static int run_mutations(unsigned int count)
{
    unsigned int passed = 0, failed = 0;

    for (int i = SCALE_INTACT + 1; i < SCALE_MUTATION_COUNT; i++) {
        enum scale_mutation mutation = (enum scale_mutation)i;
        bool found;

        printf("%s: %s\n", scale_mutation_name(mutation),
               scale_mutation_what(mutation));
        found = !run(count, mutation, false);
        printf("%s %s\n", found ? "ok" : "NOT FOUND",
               scale_mutation_name(mutation));
        passed += found;
        failed += !found;
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed ? 1 : 0;
}

static enum scale_mutation find_mutation(const char *name)
{
    for (int i = SCALE_INTACT; i < SCALE_MUTATION_COUNT; i++) {
        if (!strcmp(name, scale_mutation_name((enum scale_mutation)i))) {
            return (enum scale_mutation)i;
        }
    }
    fprintf(stderr, "unknown mutation '%s'\n", name);
    exit(2);
}

int main(int argc, char **argv)
{
    static const char usage[] =
        "usage: %s [-n SESSIONS] [-m MUTATION] [-M] [-v]\n"
        "-M checks that each mutation is found.\n";
    enum scale_mutation mutation = SCALE_INTACT;
    bool mutations = false, verbose = false, passed;
    unsigned int count = 1000;
    struct timespec began, end;
    int option;

    while ((option = getopt(argc, argv, "n:m:Mv")) != -1) {
        switch (option) {
        case 'n':
            count = (unsigned int)strtoul(optarg, NULL, 0);
            break;
        case 'm':
            mutation = find_mutation(optarg);
            break;
        case 'M':
            mutations = true;
            break;
        case 'v':
            verbose = true;
            break;
        default:
            fprintf(stderr, usage, argv[0]);
            return 2;
        }
    }
    if (count < 20 || count > SCALE_SESSIONS || !enough_descriptors(count)) {
        fprintf(stderr, usage, argv[0]);
        return 2;
    }
    if (mutations) {
        return run_mutations(count);
    }
    printf("%u sessions of %u queues\n", count, SCALE_QUEUES);
    clock_gettime(CLOCK_MONOTONIC, &began);
    passed = run(count, mutation, verbose);
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%u passed, %u failed, in %.1f s\n", passed, !passed,
           (double)(end.tv_sec - began.tv_sec) +
               (double)(end.tv_nsec - began.tv_nsec) / 1e9);
    return !passed;
}
