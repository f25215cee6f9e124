/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/vhost/message.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/vhost/frontend_internal.h"

#define FDS_MAX  8u
#define REPLY_MS 60000 /* so long for an answer */

bool message_send_part(int socket, const struct message *message,
                       unsigned int length, const int *fds, unsigned int count)
{
    struct iovec iov = { (void *)message, length };
    union {
        char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
        struct cmsghdr header;
    } c;
    struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1 };

    if (count) {
        memset(&c, 0, sizeof(c));
        header.msg_control = &c;
        header.msg_controllen = CMSG_SPACE(count * sizeof(int));
        c.header.cmsg_len = CMSG_LEN(count * sizeof(int));
        c.header.cmsg_level = SOL_SOCKET;
        c.header.cmsg_type = SCM_RIGHTS;
        memcpy(CMSG_DATA(&c.header), fds, count * sizeof(int));
    }
    return sendmsg(socket, &header, MSG_NOSIGNAL) == (ssize_t)iov.iov_len;
}

bool message_send(int socket, const struct message *message, int fd)
{
    return message_send_part(socket, message, HEADER_SIZE + message->size, &fd,
                             fd >= 0);
}

bool message_receive(int socket, struct message *reply, int *fd)
{
    struct pollfd pfd = { .fd = socket, .events = POLLIN };
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr header;
    } c;
    struct iovec iov = { reply, HEADER_SIZE };
    struct msghdr header = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = &c,
        .msg_controllen = sizeof(c),
    };

    memset(reply, 0, sizeof(*reply));
    if (poll(&pfd, 1, REPLY_MS) == 0) {
        frontend_die("no reply within %d ms", REPLY_MS);
    }
    if (recvmsg(socket, &header, MSG_WAITALL) != HEADER_SIZE) {
        return false;
    }
    if (fd) {
        *fd = -1;
        if (CMSG_FIRSTHDR(&header)) {
            memcpy(fd, CMSG_DATA(CMSG_FIRSTHDR(&header)), sizeof(*fd));
        }
    }
    if (reply->size > sizeof(*reply) - HEADER_SIZE) {
        frontend_die("a reply has %u bytes", reply->size);
    }
    return reply->size == 0 ||
           recv(socket, (char *)reply + HEADER_SIZE, reply->size,
                MSG_WAITALL) == (ssize_t)reply->size;
}
