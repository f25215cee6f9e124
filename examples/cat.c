/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copy a volume to standard output: cat rdma://HOST/VOLUME
 * Built with: cc cat.c $(pkg-config --cflags --libs librdisk)
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include <rdisk/initiator.h>
#include <rdisk/uri.h>

static char buffer[64 << 10]; /* not registered, so reads are copied */
static int result;            /* of a request; 1 until it has completed */

static void completed(struct rdisk_request *request, int ret)
{
    result = ret;
}

/* One thread serves the session and its queue. 0 or a negative errno. */
static int copy(struct rdisk_initiator *session)
{
    struct rdisk_queue *queue = rdisk_initiator_queue(session, 0);
    struct pollfd fds[] = { { rdisk_initiator_fd(session), POLLIN, 0 },
                            { rdisk_queue_fd(queue), POLLIN, 0 } };
    uint64_t size = rdisk_initiator_size(session), length;

    for (uint64_t at = 0; result == 0 && at < size; at += length) {
        length = size - at < sizeof(buffer) ? size - at : sizeof(buffer);
        struct iovec iov = { buffer, length };
        struct rdisk_request request = {
            .op = RDISK_OP_READ,
            .offset = at,
            .length = (uint32_t)length,
            .iov = &iov,
            .iovcnt = 1,
            .complete = completed,
        };
        int ret = rdisk_queue_submit(queue, &request);

        for (result = ret < 0 ? ret : 1; result > 0;) {
            rdisk_queue_kick(queue);
            poll(fds, 2, -1); /* request-timeout ends it at the latest */
            rdisk_initiator_process(session);
            rdisk_queue_process(queue);
        }
        if (result == 0 && fwrite(buffer, 1, length, stdout) != length) {
            result = -EIO;
        }
    }
    return result == 0 && fflush(stdout) ? -EIO : result;
}

int main(int argc, char **argv)
{
    struct rdisk_initiator_options options;
    struct rdisk_initiator *session = NULL;
    struct rdisk_error err = { .text = "usage: cat rdma://HOST/VOLUME" };
    struct rdisk_uri uri;
    int ret = -1;

    rdisk_initiator_options_init(&options);
    options.read_only = true;
    if (argc == 2 && !rdisk_uri_parse(argv[1], &uri, NULL, NULL, &err)) {
        options.host = uri.host;
        options.port = uri.port;
        options.volume = uri.volume;
        session = rdisk_initiator_create(&rdisk_env_system, &options, NULL,
                                         NULL, &err);
    }
    if (session && rdisk_initiator_start(session, &err) == 0 &&
        rdisk_initiator_wait(session, &err) == 0) { /* it is READY */
        ret = copy(session);
        rdisk_error_set(&err, ret, "cannot copy: %s", strerror(-ret));
        rdisk_initiator_close(session);
        rdisk_initiator_wait(session, NULL);
    }
    if (session) {
        rdisk_initiator_destroy(session);
    }
    if (ret < 0) {
        fprintf(stderr, "cat: %s\n", err.text);
    }
    return ret < 0;
}
