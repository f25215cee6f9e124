/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vhost-user-blk/close_last.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int send_descriptor(int socket, int fd)
{
    union {
        struct cmsghdr header; /* for the alignment */
        char room[CMSG_SPACE(sizeof(fd))];
    } control = { .header = {
                      .cmsg_len = CMSG_LEN(sizeof(fd)),
                      .cmsg_level = SOL_SOCKET,
                      .cmsg_type = SCM_RIGHTS,
                  } };
    char byte = 0;
    struct iovec iov = { &byte, 1 };
    struct msghdr message = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control),
    };

    memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
    return sendmsg(socket, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/*
 * A message that is not received holds the file. Linux releases the files of a
 * process that ends one after the other, in an order of its own. When it
 * releases the socket it drops the message, whose file goes into a second list,
 * to be released after all of the first.
 */
int close_last(int fd)
{
    int ends[2];
    int ret;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        return -errno;
    }
    ret = send_descriptor(ends[0], fd);
    close(ends[0]);
    if (ret < 0) {
        close(ends[1]);
        return ret;
    }
    return ends[1];
}
