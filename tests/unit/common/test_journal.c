/* SPDX-License-Identifier: BSD-3-Clause */
/* Entries of the journal. */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/journal.h"
#include "common/log_queue.h"
#include "tests/unit/support/unit.h"

static int ends[2]; /* ours, the journal's */

static void begin(void)
{
    REQUIRE(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) == 0);
}

static void end(void)
{
    close(ends[0]);
    close(ends[1]);
}

/* The next entry, "" if there is none. */
static const char *received(void)
{
    static char entry[4096];
    ssize_t length = recv(ends[1], entry, sizeof(entry) - 1, MSG_DONTWAIT);

    entry[length < 0 ? 0 : length] = '\0';
    return entry;
}

static void entry_has_the_fields_of_its_subject(void)
{
    const struct log_subject subject = {
        .volume = "v",
        .peer = "10.9.0.1:7",
        .user = "alice",
        .session = 5,
    };
    char line[512], wanted[512];

    begin();
    journal_write(ends[0], line,
                  journal_line(line, sizeof(line), 4, &subject, "a b"));
    snprintf(wanted, sizeof(wanted),
             "PRIORITY=4\nSYSLOG_IDENTIFIER=%s\nVOLUME=v\nPEER=10.9.0.1:7\n"
             "USER=alice\nSESSION=5\nMESSAGE=a b\n",
             program_invocation_short_name);
    CHECK(strcmp(received(), wanted) == 0);
    end();
}

static void what_is_not_known_is_no_field(void)
{
    const struct log_subject subject = { .volume = "v", .user = "" };
    char line[512];
    const char *entry;

    begin();
    journal_write(ends[0], line,
                  journal_line(line, sizeof(line), 6, &subject, "x"));
    entry = received();
    CHECK(strstr(entry, "VOLUME=v\n") != NULL);
    CHECK(strstr(entry, "USER=") == NULL);
    CHECK(strstr(entry, "PEER=") == NULL);
    CHECK(strstr(entry, "SESSION=") == NULL);
    end();
}

/* A peer's text is part of messages. */
static void text_makes_no_field(void)
{
    char line[512];

    begin();
    journal_write(ends[0], line,
                  journal_line(line, sizeof(line), 6, NULL,
                               "x\nUSER=root\x1fPEER=y"));
    CHECK(strstr(received(), "MESSAGE=x USER=root PEER=y\n") != NULL);
    end();
}

static void long_entry_is_cut(void)
{
    char line[200], text[1000];

    begin();
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    CHECK_EQUAL(journal_line(line, sizeof(line), 6, NULL, text), sizeof(line));
    CHECK_EQUAL(line[sizeof(line) - 1], '\n');
    end();
}

/* The end of the queue's ring. */
static void entry_in_two_pieces_is_one(void)
{
    char line[512];
    size_t length = journal_line(line, sizeof(line), 6, NULL, "hello");

    begin();
    journal_write(ends[0], line, 10);
    CHECK_EQUAL(received()[0], 0);
    journal_write(ends[0], line + 10, length - 10);
    CHECK(strstr(received(), "PRIORITY=6\n") != NULL);
    CHECK_EQUAL(received()[0], 0);
    end();
}

static size_t report(char *line, size_t size, uint64_t dropped)
{
    return journal_line(line, size, 4, NULL, "dropped");
}

static void the_log_queue_sends_entries(void)
{
    struct log_queue *queue;
    char line[512];

    begin();
    queue = log_queue_create(ends[0], journal_write, report);
    REQUIRE(queue != NULL);
    for (unsigned int i = 0; i < 3; i++) {
        log_queue_add(queue, line,
                      journal_line(line, sizeof(line), 6, NULL, "hello"));
    }
    CHECK(log_queue_flush(queue, 10000));
    log_queue_destroy(queue, 10000);
    for (unsigned int i = 0; i < 3; i++) {
        CHECK(strstr(received(), "MESSAGE=hello\n") != NULL);
    }
    CHECK_EQUAL(received()[0], 0);
    end();
}

static const struct unit_test tests[] = {
    { "an entry has the fields of its subject",
      entry_has_the_fields_of_its_subject },
    { "what is not known is not a field", what_is_not_known_is_no_field },
    { "a text cannot make a field", text_makes_no_field },
    { "a long entry is cut", long_entry_is_cut },
    { "an entry that comes in two pieces is one", entry_in_two_pieces_is_one },
    { "the log's queue sends entries", the_log_queue_sends_entries },
};

UNIT_SUITE("journal", tests)
