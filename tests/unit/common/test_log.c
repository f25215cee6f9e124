/* SPDX-License-Identifier: BSD-3-Clause */
/* The log, when its lines are not read. */
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "common/log_queue.h"
#include "tests/unit/support/unit.h"

#define LINE  100u   /* bytes of each */
#define LINES 20000u /* more than pipe and queue hold */

static int ends[2];
static struct log_queue *queue;

static size_t report(char *line, size_t size, uint64_t dropped)
{
    return (size_t)snprintf(line, size, "dropped %llu\n",
                            (unsigned long long)dropped);
}

static void begin(void)
{
    signal(SIGPIPE, SIG_IGN);
    REQUIRE(pipe(ends) == 0);
    queue = log_queue_create(ends[1], log_queue_write, report);
    REQUIRE(queue != NULL);
}

static void add(unsigned int number)
{
    char line[LINE + 1];

    snprintf(line, sizeof(line), "%-*u\n", (int)LINE - 1, number);
    log_queue_add(queue, line, LINE);
}

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Everything that comes until the other end is closed. */
static FILE *reader(void)
{
    FILE *file = fdopen(ends[0], "r");

    REQUIRE(file != NULL);
    return file;
}

static void test_in_order(void)
{
    char line[2 * LINE];
    unsigned int count = 0;
    FILE *file;

    begin();
    for (unsigned int i = 0; i < 500; i++) {
        add(i);
    }
    CHECK(log_queue_flush(queue, 10000));
    log_queue_destroy(queue, 10000);
    close(ends[1]);
    file = reader();
    while (fgets(line, sizeof(line), file)) {
        CHECK_EQUAL(atoi(line), count);
        CHECK_EQUAL(strlen(line), LINE);
        count++;
    }
    CHECK_EQUAL(count, 500);
    fclose(file);
}

static void test_no_reader(void)
{
    unsigned long long dropped = 0, more;
    unsigned int count = 0;
    char line[2 * LINE];
    FILE *file;

    begin();
    for (unsigned int i = 0; i < LINES; i++) {
        add(i);
    }
    /* That it gets here is the test; now the lines are read. */
    CHECK(!log_queue_flush(queue, 10));
    file = reader();
    while (count + dropped < LINES && fgets(line, sizeof(line), file)) {
        if (sscanf(line, "dropped %llu", &more) == 1) {
            dropped += more;
        } else {
            CHECK_EQUAL((unsigned long long)atoi(line), count + dropped);
            count++;
        }
    }
    CHECK_EQUAL(count + dropped, LINES);
    CHECK(dropped > 0 && count * LINE > LOG_QUEUE_SIZE / 2);
    /* And it goes on. */
    add(LINES);
    REQUIRE(fgets(line, sizeof(line), file) != NULL);
    CHECK_EQUAL(atoi(line), LINES);
    log_queue_destroy(queue, 10000);
    close(ends[1]);
    fclose(file);
}

static void test_end_is_bounded(void)
{
    uint64_t began;

    begin();
    for (unsigned int i = 0; i < LINES; i++) {
        add(i);
    }
    began = now_ms();
    log_queue_destroy(queue, 50);
    CHECK(now_ms() - began < 5000);
    /* The thread was left behind; let it end. */
    close(ends[0]);
}

static void test_reader_is_gone(void)
{
    begin();
    close(ends[0]);
    for (unsigned int i = 0; i < 100; i++) {
        add(i);
    }
    CHECK(log_queue_flush(queue, 10000));
    log_queue_destroy(queue, 10000);
    close(ends[1]);
}

static const struct unit_test tests[] = {
    { "lines come out as they went in", test_in_order },
    { "a thread that logs does not wait for the reader, which learns what "
      "is missing",
      test_no_reader },
    { "the end does not wait for the reader", test_end_is_bounded },
    { "a reader that is gone stops nothing", test_reader_is_gone },
};

UNIT_SUITE("log", tests)
