/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A daemon's log: one line each to stderr, with a time stamp, or, where
 * stderr is systemd's journal, an entry with fields (journal.h). Any thread.
 *
 * Until log_start() a line is written at once. From then on a thread writes
 * them (log_queue.h), so that no other thread waits for the reader.
 */
#ifndef RDISK_COMMON_LOG_H
#define RDISK_COMMON_LOG_H

#include <rdisk/env.h>

/* What lines are about: fields of the journal. NULL, "" or 0: not known. */
struct log_subject {
    const char *volume;
    const char *peer;
    const char *user;
    uint64_t session; /* 1… */
};

/*
 * The lines of this thread are about @subject, which stays where it is, until
 * another call; NULL: about nothing. Returns the one before.
 */
const struct log_subject *log_about(const struct log_subject *subject);

/* Lines above this level are dropped; RDISK_LOG_INFO until set. */
void log_set_level(enum rdisk_log_level level);

/* Start the thread. Without memory for it, lines are written at once. */
void log_start(void);
/* Wait for what it has to write, for a limited time. */
void log_flush(void);
/* The same, and end it; all other threads have ended. */
void log_stop(void);

void log_write(enum rdisk_log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#define log_error(...)   log_write(RDISK_LOG_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(RDISK_LOG_WARNING, __VA_ARGS__)
#define log_info(...)    log_write(RDISK_LOG_INFO, __VA_ARGS__)

/* An error that leaves no way to go on: log it and abort(3). */
void log_fatal(const char *format, ...)
    __attribute__((format(printf, 1, 2), noreturn));

/* "error", "warning", "info", "debug". 0, or -1 for another name. */
int log_level_parse(const char *name, enum rdisk_log_level *level);

/* The system's verbs, clock and randomness, with this log. */
const struct rdisk_env *log_env_init(void);

#endif
