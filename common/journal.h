/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lines of the log as entries of systemd's journal, with fields
 * (systemd.journal-fields(7)). An entry waits in the log's queue as one line,
 * in which FIELD_END parts the fields; the queue's thread sends it as one
 * datagram.
 */
#ifndef RDISK_COMMON_JOURNAL_H
#define RDISK_COMMON_JOURNAL_H

#include <stddef.h>

#include "common/log.h"

#define JOURNAL_SOCKET "/run/systemd/journal/socket"

/*
 * Put an entry into @out and return its length, with a newline; what is too
 * long for @size bytes is cut. Control characters become blanks: no text makes
 * a field. @subject may be NULL.
 */
size_t journal_line(char *out, size_t size, int priority,
                    const struct log_subject *subject, const char *text);

/* A socket connected to the journal at @path, or a negative errno. */
int journal_connect(const char *path);
/*
 * For log_queue_create(): send the entries that are complete with @bytes.
 * Returns @length. One thread, one queue. What the journal does not take goes
 * to stderr, without its fields.
 */
size_t journal_write(int fd, const char *bytes, size_t length);

#endif
