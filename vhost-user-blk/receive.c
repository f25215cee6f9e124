/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One message of the VMM. libvhost-user's own function waits for the rest of a
 * message without limit, and asserts on the length that the VMM has given.
 */
#include "vhost-user-blk/device_internal.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* How long the payload of a message may come later than its header. */
#define PAYLOAD_MS 1000

/* The descriptors of @header, whose room allows no more than @message has. */
static void take_descriptors(struct msghdr *header, VhostUserMsg *message)
{
    const struct cmsghdr *control = CMSG_FIRSTHDR(header);
    size_t size;

    message->fd_num = 0;
    if (!control || control->cmsg_level != SOL_SOCKET ||
        control->cmsg_type != SCM_RIGHTS) {
        return;
    }
    size = control->cmsg_len - CMSG_LEN(0);
    assert(size <= sizeof(message->fds));
    memcpy(message->fds, CMSG_DATA(control), size);
    message->fd_num = (int)(size / sizeof(message->fds[0]));
}

/* Number of bytes, or a negative errno. */
static ssize_t receive_header(int socket, VhostUserMsg *message)
{
    union {
        struct cmsghdr header; /* for the alignment */
        char room[CMSG_SPACE(sizeof(message->fds))];
    } control;
    struct iovec iov = { message, VHOST_USER_HDR_SIZE };
    struct msghdr header = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control),
    };
    ssize_t n = recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    if (n < 0) {
        return -errno;
    }
    take_descriptors(&header, message);
    return n;
}

static ssize_t receive_payload(int socket, VhostUserMsg *message)
{
    struct pollfd pollfd = { .fd = socket, .events = POLLIN };
    ssize_t n;

    if (message->size == 0) {
        return 0;
    }
    if (poll(&pollfd, 1, PAYLOAD_MS) == 0) {
        return -ETIMEDOUT;
    }
    n = recv(socket, &message->payload, message->size, MSG_DONTWAIT);
    return n < 0 ? -errno : n;
}

bool message_receive(VuDev *vu, int socket, VhostUserMsg *message)
{
    ssize_t n = receive_header(socket, message);

    if (n == (ssize_t)VHOST_USER_HDR_SIZE &&
        message->size <= sizeof(message->payload)) {
        n = receive_payload(socket, message);
        if (n == (ssize_t)message->size) {
            return true;
        }
    }
    message_close_fds(message);
    vu->broken = true;
    connection_panic(vu, "a message is not complete, or too long");
    return false;
}
