/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/log.h"

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

static const struct {
    const char *name;
    int priority; /* of syslog(3), for the journal */
} levels[] = {
    [RDISK_LOG_ERROR] = { "error", 3 },
    [RDISK_LOG_WARNING] = { "warning", 4 },
    [RDISK_LOG_INFO] = { "info", 6 },
    [RDISK_LOG_DEBUG] = { "debug", 7 },
};

static atomic_int maximum = RDISK_LOG_INFO;
static bool journal;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* systemd names the journal's stream by device and inode (systemd.exec(5)). */
static void find_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    uintmax_t device, inode;
    struct stat st;

    journal = stream && fstat(STDERR_FILENO, &st) == 0 &&
              sscanf(stream, "%" SCNuMAX ":%" SCNuMAX, &device, &inode) == 2 &&
              device == st.st_dev && inode == st.st_ino;
}

static void write_line(void *opaque, enum rdisk_log_level level,
                       const char *line)
{
    struct timespec now;
    struct tm tm;
    char stamp[32];

    if ((int)level > atomic_load_explicit(&maximum, memory_order_relaxed)) {
        return;
    }
    pthread_once(&once, find_journal);
    /* One call each, so that lines of several threads never mix. */
    if (journal) {
        fprintf(stderr, "<%d>%s\n", levels[level].priority, line);
        return;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &tm);
    strftime(stamp, sizeof(stamp), "%Y-%m-%d %H:%M:%S", &tm);
    fprintf(stderr, "%s.%03ld rdiskd: %s: %s\n", stamp, now.tv_nsec / 1000000,
            levels[level].name, line);
}

void log_set_level(enum rdisk_log_level level)
{
    atomic_store(&maximum, level);
}

enum rdisk_log_level log_level(void)
{
    return atomic_load(&maximum);
}

void log_write(enum rdisk_log_level level, const char *format, ...)
{
    char line[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    write_line(NULL, level, line);
}

const char *log_level_name(enum rdisk_log_level level)
{
    return levels[level].name;
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
    env.log = write_line;
    return &env;
}
