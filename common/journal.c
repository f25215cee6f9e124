/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/journal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FIELD_END  '\x1f'
#define ENTRY_SIZE 2048

/* ---- Lines -------------------------------------------------------------- */

/* A place for a newline is always left. */
struct line {
    char *text;
    size_t size, length;
};

static void add_char(struct line *line, char c)
{
    if (line->length + 1 < line->size) {
        line->text[line->length++] = c;
    }
}

static void add_text(struct line *line, const char *text)
{
    for (; *text; text++) {
        add_char(line, (unsigned char)*text < ' ' ? ' ' : *text);
    }
}

static void add_field(struct line *line, const char *name, const char *value)
{
    if (value && value[0]) {
        add_text(line, name);
        add_char(line, '=');
        add_text(line, value);
        add_char(line, FIELD_END);
    }
}

size_t journal_line(char *out, size_t size, int priority,
                    const struct log_subject *subject, const char *text)
{
    struct line line = { .text = out, .size = size };
    char number[24];

    snprintf(number, sizeof(number), "%d", priority);
    add_field(&line, "PRIORITY", number);
    add_field(&line, "SYSLOG_IDENTIFIER", program_invocation_short_name);
    if (subject) {
        add_field(&line, "VOLUME", subject->volume);
        add_field(&line, "PEER", subject->peer);
        add_field(&line, "USER", subject->user);
        snprintf(number, sizeof(number), "%" PRIu64, subject->session);
        add_field(&line, "SESSION", subject->session ? number : NULL);
    }
    /* The last, since it may be cut. */
    add_text(&line, "MESSAGE=");
    add_text(&line, text);
    line.text[line.length++] = '\n';
    return line.length;
}

/* ---- Sending ------------------------------------------------------------ */

int journal_connect(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd, result;

    if (strlen(path) >= sizeof(address.sun_path)) {
        return -ENAMETOOLONG;
    }
    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        result = -errno;
        close(fd);
        return result;
    }
    return fd;
}

/* @entry has a field a line, the message last. */
static void send_entry(int fd, const char *entry, size_t length)
{
    const char *message = memmem(entry, length, "MESSAGE=", 8);
    ssize_t n;

    do {
        n = send(fd, entry, length, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && message) {
        message += 8;
        fwrite(message, (size_t)(entry + length - message), 1, stderr);
    }
}

size_t journal_write(int fd, const char *bytes, size_t length)
{
    /* The queue's ring ends within an entry: its rest comes with the next
     * call. */
    static char entry[ENTRY_SIZE];
    static size_t used;

    for (size_t i = 0; i < length; i++) {
        bool last = bytes[i] == '\n';

        if (used < sizeof(entry)) {
            entry[used++] = bytes[i] == FIELD_END ? '\n' : bytes[i];
        }
        if (last) {
            send_entry(fd, entry, used);
            used = 0;
        }
    }
    return length;
}
