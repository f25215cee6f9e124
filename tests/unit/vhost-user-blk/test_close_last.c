/* SPDX-License-Identifier: BSD-3-Clause */
/* Which of a killed process's files is released last. */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/support/unit.h"
#include "vhost-user-blk/close_last.h"

#define PIPES 300u

static struct pollfd ends[PIPES]; /* that the test reads from */
static int writers[PIPES];        /* the process's */
static int sockets[2];            /* the test's, the process's */

static void open_pipe(unsigned int i)
{
    int both[2];

    CHECK(pipe(both) == 0);
    ends[i] = (struct pollfd) { .fd = both[0], .events = POLLIN };
    writers[i] = both[1];
}

/* A process that has pipes, then the socket, then pipes again. */
static pid_t start(void)
{
    pid_t pid;

    for (unsigned int i = 0; i < PIPES / 2; i++) {
        open_pipe(i);
    }
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
    for (unsigned int i = PIPES / 2; i < PIPES; i++) {
        open_pipe(i);
    }
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        char byte;

        close(sockets[0]);
        if (close_last(sockets[1]) < 0 || write(sockets[1], "", 1) != 1) {
            _exit(1);
        }
        while (read(sockets[1], &byte, 1) >= 0) {
        }
        _exit(1);
    }
    close(sockets[1]);
    for (unsigned int i = 0; i < PIPES; i++) {
        close(writers[i]);
    }
    return pid;
}

/* How many of its pipes are open when its socket is not any more. */
static unsigned int open_when_the_socket_ends(pid_t pid)
{
    struct pollfd socket = { .fd = sockets[0], .events = POLLIN };
    unsigned int open = 0;
    int status;
    char byte;

    CHECK_EQUAL(read(sockets[0], &byte, 1), 1); /* it is ready */
    CHECK(kill(pid, SIGKILL) == 0);
    CHECK(poll(&socket, 1, 10000) == 1 && (socket.revents & POLLHUP));
    CHECK(poll(ends, PIPES, 0) >= 0);
    for (unsigned int i = 0; i < PIPES; i++) {
        open += !(ends[i].revents & POLLHUP);
        close(ends[i].fd);
    }
    close(sockets[0]);
    CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
    return open;
}

static void it_is_released_after_all_others(void)
{
    for (unsigned int i = 0; i < 20; i++) {
        CHECK_EQUAL(open_when_the_socket_ends(start()), 0);
    }
}

static void it_ends_with_the_descriptor_that_keeps_it(void)
{
    int pair[2], keeper;
    char byte;

    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    keeper = close_last(pair[1]);
    CHECK(keeper >= 0);
    close(pair[1]);
    CHECK(recv(pair[0], &byte, 1, MSG_DONTWAIT) < 0);
    close(keeper);
    CHECK_EQUAL(recv(pair[0], &byte, 1, MSG_DONTWAIT), 0);
    close(pair[0]);
}

static void what_is_not_open_is_refused(void)
{
    CHECK(close_last(-1) < 0);
}

static const struct unit_test tests[] = {
    { "it is released after all others", it_is_released_after_all_others },
    { "it ends with the descriptor that keeps it",
      it_ends_with_the_descriptor_that_keeps_it },
    { "what is not open is refused", what_is_not_open_is_refused },
};

UNIT_SUITE("vhost-close-last", tests)
