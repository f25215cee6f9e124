/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The server's log: one line each to stderr, with a time stamp unless the
 * journal adds its own. Any thread.
 */
#ifndef RDISK_SERVER_LOG_H
#define RDISK_SERVER_LOG_H

#include <rdisk/env.h>

/* Lines above this level are dropped; RDISK_LOG_INFO until set. */
void log_set_level(enum rdisk_log_level level);
enum rdisk_log_level log_level(void);

void log_write(enum rdisk_log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#define log_error(...)   log_write(RDISK_LOG_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(RDISK_LOG_WARNING, __VA_ARGS__)
#define log_info(...)    log_write(RDISK_LOG_INFO, __VA_ARGS__)
#define log_debug(...)   log_write(RDISK_LOG_DEBUG, __VA_ARGS__)

/* "error", "warning", "info", "debug" */
const char *log_level_name(enum rdisk_log_level level);
/* 0, or -1 for a name that is none of them. */
int log_level_parse(const char *name, enum rdisk_log_level *level);

/* The system's verbs, clock and randomness, with this log. */
const struct rdisk_env *log_env_init(void);

#endif
