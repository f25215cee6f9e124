/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lines for a descriptor that may block for any time: a pipe that is not read,
 * a file on storage that hangs. A thread writes them; adding one never waits,
 * and lines for which there is no room are counted instead.
 */
#ifndef RDISK_COMMON_LOG_QUEUE_H
#define RDISK_COMMON_LOG_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOG_QUEUE_SIZE (256u << 10) /* bytes that wait */

struct log_queue;

/* Writes some of the bytes and returns how many: all, if they are lost. Waits
 * for as long as it takes. */
typedef size_t log_queue_write_fn(int fd, const char *bytes, size_t length);

/* For log_queue_create(): to a descriptor as it is. */
log_queue_write_fn log_queue_write;

/*
 * Start the thread. It calls @write with the text to write, and @report for the
 * line with the number of dropped ones, which is written in their place. NULL:
 * no memory, or no thread.
 */
struct log_queue *log_queue_create(int fd, log_queue_write_fn *write,
                                   size_t (*report)(char *line, size_t size,
                                                    uint64_t dropped));
/* A line with its newline. Any thread. */
void log_queue_add(struct log_queue *queue, const char *line, size_t length);
/* Wait until everything that was added is written, @ms at most. */
bool log_queue_flush(struct log_queue *queue, unsigned int ms);
/* The same, and end the thread; one that waits for the descriptor ends when
 * it no longer does. No lines may be added any more. */
void log_queue_destroy(struct log_queue *queue, unsigned int ms);

#endif
