/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs many schedules, in a process for each job; cuts one that fails down to
 * the shortest that still does; and checks that each mutation is found.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/sim.h"
#include "tests/sim/transitions.h"

#define PROCESSES_MAX   64u
#define FAILURES_MAX    5u    /* then it is not worth going on */
#define ATTEMPTS_MAX    1500u /* at a shorter schedule */
#define HUNG_AFTER      60u   /* seconds for one schedule */
#define MUTATION_BUDGET 2000u /* schedules within which each is found */
#define SHORT_RUN       2000u /* in so many each transition is taken */

/* What a process that runs schedules leaves for its parent. */
struct report {
    volatile uint64_t seed; /* being run, or the next */
    volatile uint64_t passed;
    char text[800];
};

static struct sim sim;
static struct report *reports; /* shared memory; one for each job */
static struct report *mine;

/* ---- Called by the rest ------------------------------------------------ */

void sim_violation(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(mine->text, sizeof(mine->text), format, args);
    va_end(args);
    if (sim.verbose) {
        printf("%12s VIOLATION: %s\n", "", mine->text);
        fflush(stdout);
    }
    _exit(1);
}

void sim_log(struct sim *world, const char *format, ...)
{
    va_list args;

    if (!world->verbose) {
        return;
    }
    printf("%12.6f ", (double)sim_now(world) / 1e9);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

/* ---- One schedule in a process of its own ------------------------------- */

static void how_it_ended(int status, struct report *report)
{
    if (report->text[0]) {
        return;
    }
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) {
        snprintf(report->text, sizeof(report->text),
                 "hung for %u seconds of real time", HUNG_AFTER);
    } else if (WIFSIGNALED(status)) {
        snprintf(report->text, sizeof(report->text), "died of signal %d",
                 WTERMSIG(status));
    } else {
        snprintf(report->text, sizeof(report->text),
                 "ended with status %d; see above", WEXITSTATUS(status));
    }
}

static bool fails(const struct sim_schedule *schedule,
                  enum sim_mutation mutation, bool verbose,
                  struct report *report)
{
    int status;
    pid_t pid;

    report->text[0] = '\0';
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        mine = report;
        alarm(HUNG_AFTER);
        sim_run(&sim, schedule, mutation, verbose);
        exit(0);
    }
    if (pid < 0 || waitpid(pid, &status, 0) < 0) {
        perror("sim");
        exit(2);
    }
    if (status == 0) {
        return false;
    }
    how_it_ended(status, report);
    return true;
}

/* ---- Shrinking --------------------------------------------------------- */

static void without(const struct sim_schedule *from, unsigned int first,
                    unsigned int count, struct sim_schedule *to)
{
    *to = *from;
    memmove(to->events + first, from->events + first + count,
            (from->count - first - count) * sizeof(from->events[0]));
    to->count -= count;
}

/* Leave out events, many at once at first, while it still fails. */
static void shrink(struct sim_schedule *schedule, enum sim_mutation mutation,
                   struct report *report)
{
    unsigned int attempts = 0;
    struct sim_schedule shorter;

    for (unsigned int chunk = schedule->count / 2; chunk; chunk /= 2) {
        unsigned int first = 0;

        while (first + chunk <= schedule->count && attempts++ < ATTEMPTS_MAX) {
            without(schedule, first, chunk, &shorter);
            if (fails(&shorter, mutation, false, report)) {
                *schedule = shorter;
            } else {
                first += chunk;
            }
        }
    }
    if (schedule->config.loss) {
        shorter = *schedule;
        shorter.config.loss = 0;
        if (fails(&shorter, mutation, false, report)) {
            *schedule = shorter;
        }
    }
}

static void tell_failure(uint64_t seed, enum sim_mutation mutation,
                         struct report *report, bool verbose)
{
    struct sim_schedule schedule;

    printf("\nseed %llu: %s\n", (unsigned long long)seed, report->text);
    sim_schedule_make(&schedule, seed);
    shrink(&schedule, mutation, report);
    if (!fails(&schedule, mutation, false, report)) {
        printf("seed %llu fails only sometimes: a bug of the simulator\n",
               (unsigned long long)seed);
        return;
    }
    printf("shortest schedule that fails (%s):\n", report->text);
    sim_schedule_print(&schedule, stdout);
    if (verbose) {
        printf("and what happens in it:\n");
        fails(&schedule, mutation, true, report);
    }
    printf("again: make sim SEED=%llu%s%s\n", (unsigned long long)seed,
           mutation ? " MUTATE=" : "",
           mutation ? sim_mutation_name(mutation) : "");
    fflush(stdout);
}

/* ---- Many schedules ---------------------------------------------------- */

static void job(struct report *report, uint64_t end, unsigned int stride)
{
    mine = report;
    for (; report->seed < end; report->seed += stride) {
        struct sim_schedule schedule;

        alarm(HUNG_AFTER);
        sim_schedule_make(&schedule, report->seed);
        sim_run(&sim, &schedule, SIM_INTACT, false);
        report->passed++;
    }
    sim_transitions_add();
    exit(0);
}

static pid_t start_job(struct report *report, uint64_t end, unsigned int stride)
{
    pid_t pid;

    report->text[0] = '\0';
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        job(report, end, stride);
    }
    if (pid < 0) {
        perror("sim");
        exit(2);
    }
    return pid;
}

static uint64_t all_passed(unsigned int jobs)
{
    uint64_t sum = 0;

    for (unsigned int i = 0; i < jobs; i++) {
        sum += reports[i].passed;
    }
    return sum;
}

static void progress(uint64_t passed, uint64_t failed, uint64_t count)
{
    static time_t last;
    time_t now = time(NULL);

    if (last && now - last >= 10) {
        printf("%llu of %llu schedules, %llu failed\n",
               (unsigned long long)(passed + failed), (unsigned long long)count,
               (unsigned long long)failed);
        fflush(stdout);
        last = now;
    }
    last = last ? last : now;
}

/* Its seed failed: report, and continue with the next one. */
static pid_t job_failed(struct report *report, int status, uint64_t end,
                        unsigned int jobs, bool go_on)
{
    struct report *spare = &reports[PROCESSES_MAX];

    how_it_ended(status, report);
    memcpy(spare->text, report->text, sizeof(spare->text));
    tell_failure(report->seed, SIM_INTACT, spare, true);
    report->seed += jobs;
    return go_on && report->seed < end ? start_job(report, end, jobs) : 0;
}

static int run_many(uint64_t first, uint64_t count, unsigned int jobs,
                    bool list)
{
    pid_t pids[PROCESSES_MAX];
    unsigned int alive = jobs;
    uint64_t failed = 0, passed;

    for (unsigned int i = 0; i < jobs; i++) {
        reports[i].seed = first + i;
        pids[i] = start_job(&reports[i], first + count, jobs);
    }
    while (alive) {
        usleep(50000);
        progress(all_passed(jobs), failed, count);
        for (unsigned int i = 0; i < jobs; i++) {
            int status;

            if (!pids[i] || waitpid(pids[i], &status, WNOHANG) <= 0) {
                continue;
            }
            pids[i] = 0;
            if (status) {
                failed++;
                pids[i] = job_failed(&reports[i], status, first + count, jobs,
                                     failed < FAILURES_MAX);
            }
            alive -= !pids[i];
        }
    }
    if (failed >= FAILURES_MAX) {
        printf("stopped early: %llu failures\n", (unsigned long long)failed);
    }
    passed = all_passed(jobs);
    if (list || (!failed && passed >= SHORT_RUN)) {
        failed += sim_transitions_missing(list);
    }
    printf("%llu passed, %llu failed\n", (unsigned long long)passed,
           (unsigned long long)failed);
    return failed ? 1 : 0;
}

static int replay(uint64_t seed, enum sim_mutation mutation)
{
    struct sim_schedule schedule;
    bool failed;

    sim_schedule_make(&schedule, seed);
    sim_schedule_print(&schedule, stdout);
    failed = fails(&schedule, mutation, true, &reports[0]);
    if (failed) {
        tell_failure(seed, mutation, &reports[0], false);
    }
    printf("%d passed, %d failed\n", !failed, failed);
    return failed;
}

/* ---- Mutations --------------------------------------------------------- */

static uint64_t found_after(enum sim_mutation mutation, uint64_t first)
{
    for (uint64_t i = 0; i < MUTATION_BUDGET; i++) {
        struct sim_schedule schedule;

        sim_schedule_make(&schedule, first + i);
        if (fails(&schedule, mutation, false, &reports[0])) {
            return i + 1;
        }
    }
    return 0;
}

/* @only: SIM_INTACT for all of them. */
static int run_mutations(uint64_t first, enum sim_mutation only)
{
    unsigned int passed = 0, failed = 0;

    for (int i = SIM_INTACT + 1; i < SIM_MUTATION_COUNT; i++) {
        enum sim_mutation mutation = (enum sim_mutation)i;
        uint64_t after;

        if (only && mutation != only) {
            continue;
        }
        after = found_after(mutation, first);
        passed += after > 0;
        failed += !after;
        if (after) {
            printf("ok   %-18s found after %4llu schedules: %.150s\n",
                   sim_mutation_name(mutation), (unsigned long long)after,
                   reports[0].text);
        } else {
            printf("FAIL %-18s not found in %u schedules (%s)\n",
                   sim_mutation_name(mutation), MUTATION_BUDGET,
                   sim_mutation_what(mutation));
        }
        fflush(stdout);
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed ? 1 : 0;
}

/* ---- Command line ------------------------------------------------------ */

static enum sim_mutation find_mutation(const char *name)
{
    for (int i = SIM_INTACT; i < SIM_MUTATION_COUNT; i++) {
        if (!strcmp(name, sim_mutation_name((enum sim_mutation)i))) {
            return (enum sim_mutation)i;
        }
    }
    fprintf(stderr, "unknown mutation '%s'; use one of:\n", name);
    for (int i = SIM_INTACT; i < SIM_MUTATION_COUNT; i++) {
        fprintf(stderr, "  %-18s %s\n", sim_mutation_name((enum sim_mutation)i),
                sim_mutation_what((enum sim_mutation)i));
    }
    exit(2);
}

static uint64_t number(const char *text)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 0);

    if (!*text || *end) {
        fprintf(stderr, "'%s' is not a number\n", text);
        exit(2);
    }
    return value;
}

int main(int argc, char **argv)
{
    static const char usage[] =
        "usage: %s [-s FIRST-SEED] [-n COUNT] [-j JOBS] [-m MUTATION] [-M]\n"
        "          [-t]\n"
        "A COUNT of 1 prints everything that happens; -M checks that each "
        "mutation is found,\nor the one of -m; -t prints how often each "
        "transition was taken.\n";
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t seed = 1, count = 1000;
    unsigned int jobs = processors > 0 ? (unsigned int)processors : 1;
    enum sim_mutation mutation = SIM_INTACT;
    bool mutations = false, transitions = false;
    int option;

    while ((option = getopt(argc, argv, "s:n:j:m:Mt")) != -1) {
        switch (option) {
        case 's':
            seed = number(optarg);
            break;
        case 'n':
            count = number(optarg);
            break;
        case 'j':
            jobs = (unsigned int)number(optarg);
            break;
        case 'm':
            mutation = find_mutation(optarg);
            break;
        case 'M':
            mutations = true;
            break;
        case 't':
            transitions = true;
            break;
        default:
            fprintf(stderr, usage, argv[0]);
            return 2;
        }
    }
    if (!jobs || jobs > PROCESSES_MAX) {
        jobs = PROCESSES_MAX;
    }
    reports = mmap(NULL, (PROCESSES_MAX + 1) * sizeof(*reports),
                   PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (reports == MAP_FAILED) {
        perror("sim");
        return 2;
    }
    sim_transitions_begin();
    if (mutations) {
        return run_mutations(seed, mutation);
    }
    return count == 1 || mutation ? replay(seed, mutation)
                                  : run_many(seed, count, jobs, transitions);
}
