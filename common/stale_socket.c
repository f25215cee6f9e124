/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/stale_socket.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* 1: a process listens at @address; 0: none does; or a negative errno. */
static int served(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int result;

    if (fd < 0) {
        return -errno;
    }
    /* EAGAIN: the backlog of one that listens is full. */
    result = connect(fd, (const struct sockaddr *)address, sizeof(*address)) ==
                 0 ||
             errno == EAGAIN;
    close(fd);
    return result;
}

int stale_socket_remove(const struct sockaddr_un *address)
{
    int result = served(address);
    struct stat st;

    if (result) {
        return result < 0 ? result : -EADDRINUSE;
    }
    if (lstat(address->sun_path, &st) < 0) {
        return 0; /* none, or bind() fails and reports the reason */
    }
    if (!S_ISSOCK(st.st_mode)) {
        return -EEXIST;
    }
    unlink(address->sun_path);
    return 0;
}
