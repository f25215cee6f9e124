/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copy a volume to standard output: cat rdma://HOST/VOLUME
 * Built with: cc cat.c $(pkg-config --cflags --libs librdisk)
 */
#include <err.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include <rdisk/initiator.h>
#include <rdisk/uri.h>

static char buffer[64 << 10]; /* not registered, so reads are copied */
static int result;            /* of the read; 1 until it has completed */

static void completed(struct rdisk_request *request, int ret)
{
    result = ret;
}

int main(int argc, char **argv)
{
    struct rdisk_error error = { .text = "usage: cat rdma://HOST/VOLUME" };
    struct rdisk_initiator_options options;
    struct rdisk_uri uri;

    rdisk_initiator_options_init(&options);
    if (argc != 2 || rdisk_uri_parse(argv[1], &uri, NULL, NULL, &error) < 0) {
        errx(1, "%s", error.text);
    }
    options.read_only = true;
    options.host = uri.host;
    options.servers = uri.servers;
    options.port = uri.port;
    options.volume = uri.volume;
    struct rdisk_initiator *session = rdisk_initiator_create(&rdisk_env_system,
                                                             &options, NULL,
                                                             NULL, &error);
    if (!session || rdisk_initiator_start(session, &error) < 0 ||
        rdisk_initiator_wait(session, &error) < 0) { /* until it is READY */
        errx(1, "%s", error.text);
    }

    /* This thread serves the session and its queue. */
    struct rdisk_queue *queue = rdisk_initiator_queue(session, 0);
    struct pollfd fds[] = { { rdisk_initiator_fd(session), POLLIN, 0 },
                            { rdisk_queue_fd(queue), POLLIN, 0 } };
    uint64_t size = rdisk_initiator_size(session), length;
    for (uint64_t at = 0; at < size; at += length) {
        length = size - at < sizeof(buffer) ? size - at : sizeof(buffer);
        struct iovec iov = { buffer, length };
        struct rdisk_request request = {
            RDISK_OP_READ, 0, at, length, &iov, 1, .complete = completed
        };
        int ret = rdisk_queue_submit(queue, &request);
        for (result = ret < 0 ? ret : 1; result > 0;) {
            rdisk_queue_kick(queue);
            poll(fds, 2, -1); /* request-timeout ends it at the latest */
            rdisk_initiator_process(session);
            rdisk_queue_process(queue);
        }
        if (result < 0 || fwrite(buffer, 1, length, stdout) != length) {
            errx(1, "cannot copy: %s", strerror(result < 0 ? -result : errno));
        }
    }
    rdisk_initiator_close(session);
    rdisk_initiator_wait(session, NULL);
    rdisk_initiator_destroy(session);
    return fflush(stdout) ? 1 : 0;
}
