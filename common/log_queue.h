/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lines on their way to a descriptor that may take none for as long as it
 * likes: a pipe that nobody reads, a file on storage that hangs. A thread
 * writes them; who adds one never waits, and what there is no room for is
 * counted instead.
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
 * Start the thread. It calls @write for what there is to be written, and @report for the line that says how many were
 * dropped, which it puts in their place. NULL: no memory, or no thread.
 */
struct log_queue *log_queue_create(int fd, log_queue_write_fn *write,
                                   size_t (*report)(char *line, size_t size,
                                                    uint64_t dropped));
/* A line with its newline. Any thread. */
void log_queue_add(struct log_queue *queue, const char *line, size_t length);
/* Wait until everything that was added is written, @ms at most. */
bool log_queue_flush(struct log_queue *queue, unsigned int ms);
/* The same, and end the thread; if it waits for the descriptor, that is when it
 * no longer does. Nobody adds lines any more. */
void log_queue_destroy(struct log_queue *queue, unsigned int ms);

#endif
