/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/log.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/journal.h"
#include "common/log_queue.h"

static const struct {
    const char *name;
    int priority; /* of syslog(3), for the journal */
} levels[] = {
    [RDISK_LOG_ERROR] = { "error", 3 },
    [RDISK_LOG_WARNING] = { "warning", 4 },
    [RDISK_LOG_INFO] = { "info", 6 },
    [RDISK_LOG_DEBUG] = { "debug", 7 },
};

/* Of a line, with its newline; longer ones are cut. */
#define LINE_SIZE 1536
#define TEXT_SIZE 1100
#define FLUSH_MS  1000

static _Atomic(struct log_queue *) queue; /* NULL: not started */
static atomic_int maximum = RDISK_LOG_INFO;
static int journal = -1; /* where stderr is the journal: its socket */
static _Thread_local const struct log_subject *about;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* systemd names the journal's stream by device and inode (systemd.exec(5)). */
static void find_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    uintmax_t device, inode;
    struct stat st;

    if (stream && fstat(STDERR_FILENO, &st) == 0 &&
        sscanf(stream, "%" SCNuMAX ":%" SCNuMAX, &device, &inode) == 2 &&
        device == st.st_dev && inode == st.st_ino) {
        journal = journal_connect(JOURNAL_SOCKET);
    }
}

static size_t stamped_line(char *out, size_t size, enum rdisk_log_level level,
                           const char *text)
{
    struct timespec now;
    struct tm tm;
    size_t length;

    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &tm);
    length = strftime(out, size, "%Y-%m-%d %H:%M:%S", &tm);
    length += (size_t)snprintf(out + length, size - length, ".%03ld %s: %s: %s",
                               now.tv_nsec / 1000000,
                               program_invocation_short_name,
                               levels[level].name, text);
    if (length > size - 1) {
        length = size - 1;
    }
    out[length++] = '\n';
    return length;
}

/* Returns its length, with a newline. */
static size_t vformat_line(char *out, size_t size, enum rdisk_log_level level,
                           const char *format, va_list args)
{
    char text[TEXT_SIZE];

    pthread_once(&once, find_journal);
    vsnprintf(text, sizeof(text), format, args);
    return journal >= 0
               ? journal_line(out, size, levels[level].priority, about, text)
               : stamped_line(out, size, level, text);
}

static size_t format_line(char *out, size_t size, enum rdisk_log_level level,
                          const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static size_t format_line(char *out, size_t size, enum rdisk_log_level level,
                          const char *format, ...)
{
    va_list args;
    size_t length;

    va_start(args, format);
    length = vformat_line(out, size, level, format, args);
    va_end(args);
    return length;
}

static size_t report_dropped(char *line, size_t size, uint64_t dropped)
{
    return format_line(line, size, RDISK_LOG_WARNING,
                       "%" PRIu64
                       " lines are missing here: stderr was not read in time",
                       dropped);
}

/* One call for each, so that lines of several threads never mix. */
static void put_line(const char *line, size_t length)
{
    struct log_queue *to = atomic_load(&queue);

    if (to) {
        log_queue_add(to, line, length);
    } else if (journal >= 0) {
        journal_write(journal, line, length);
    } else {
        fwrite(line, length, 1, stderr);
    }
}

static bool is_shown(enum rdisk_log_level level)
{
    return (int)level <= atomic_load_explicit(&maximum, memory_order_relaxed);
}

static void log_env(void *opaque, enum rdisk_log_level level, const char *text)
{
    char line[LINE_SIZE];

    if (is_shown(level)) {
        put_line(line, format_line(line, sizeof(line), level, "%s", text));
    }
}

void log_write(enum rdisk_log_level level, const char *format, ...)
{
    char line[LINE_SIZE];
    va_list args;

    if (is_shown(level)) {
        va_start(args, format);
        put_line(line, vformat_line(line, sizeof(line), level, format, args));
        va_end(args);
    }
}

void log_fatal(const char *format, ...)
{
    char line[LINE_SIZE];
    va_list args;

    va_start(args, format);
    put_line(line,
             vformat_line(line, sizeof(line), RDISK_LOG_ERROR, format, args));
    va_end(args);
    log_flush();
    abort();
}

const struct log_subject *log_about(const struct log_subject *subject)
{
    const struct log_subject *before = about;

    about = subject;
    return before;
}

void log_set_level(enum rdisk_log_level level)
{
    atomic_store(&maximum, level);
}

void log_start(void)
{
    pthread_once(&once, find_journal);
    atomic_store(&queue,
                 journal >= 0
                     ? log_queue_create(journal, journal_write, report_dropped)
                     : log_queue_create(STDERR_FILENO, log_queue_write,
                                        report_dropped));
}

void log_flush(void)
{
    struct log_queue *now = atomic_load(&queue);

    if (now) {
        log_queue_flush(now, FLUSH_MS);
    }
}

void log_stop(void)
{
    struct log_queue *from = atomic_exchange(&queue, NULL);

    if (from) {
        log_queue_destroy(from, FLUSH_MS);
    }
}

int log_level_parse(const char *name, enum rdisk_log_level *level)
{
    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        if (strcmp(levels[i].name, name) == 0) {
            *level = i;
            return 0;
        }
    }
    return -1;
}

const struct rdisk_env *log_env_init(void)
{
    static struct rdisk_env env;

    env = rdisk_env_system;
    env.log = log_env;
    return &env;
}
