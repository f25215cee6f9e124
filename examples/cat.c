/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copy a volume to standard output: cat rdma://HOST/VOLUME
 * Built with: cc cat.c $(pkg-config --cflags --libs librdisk)
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include <rdisk/initiator.h>
#include <rdisk/uri.h>

static char buffer[64 << 10] __attribute__((aligned(4096)));
static int result; /* of the request; 1 until it has completed */

static void completed(struct rdisk_request *request, int ret)
{
    result = ret;
}

/* One thread serves the session and its queue. */
static int read_at(struct rdisk_initiator *session, uint64_t offset,
                   uint32_t length)
{
    struct rdisk_queue *queue = rdisk_initiator_queue(session, 0);
    struct iovec iov = { .iov_base = buffer, .iov_len = length };
    struct rdisk_request request = { .op = RDISK_OP_READ,
                                     .offset = offset,
                                     .length = length,
                                     .iov = &iov,
                                     .iovcnt = 1,
                                     .complete = completed };
    struct pollfd fds[] = { { .fd = rdisk_initiator_fd(session),
                              .events = POLLIN },
                            { .fd = rdisk_queue_fd(queue), .events = POLLIN } };
    int ret = rdisk_queue_submit(queue, &request);

    rdisk_queue_kick(queue);
    for (result = 1; ret == 0 && result > 0;) {
        poll(fds, 2, -1); /* request-timeout ends it at the latest */
        rdisk_initiator_process(session);
        rdisk_queue_process(queue);
    }
    return ret < 0 ? ret : result;
}

static int copy(struct rdisk_initiator *session, struct rdisk_error *err)
{
    uint64_t size = rdisk_initiator_size(session), length;
    int ret = 0;

    /* If this fails, requests work, with a copy */
    rdisk_initiator_register(session, buffer, sizeof(buffer), NULL);
    for (uint64_t at = 0; ret == 0 && at < size; at += length) {
        length = size - at < sizeof(buffer) ? size - at : sizeof(buffer);
        ret = read_at(session, at, (uint32_t)length);
        if (ret < 0) {
            rdisk_error_set(err, ret, "reading at byte %llu: %s",
                            (unsigned long long)at, strerror(-ret));
        } else if (fwrite(buffer, 1, length, stdout) != length) {
            ret = rdisk_error_set(err, -5, "cannot write to standard output");
        }
    }
    rdisk_initiator_unregister(session, buffer, sizeof(buffer));
    return ret;
}

int main(int argc, char **argv)
{
    struct rdisk_initiator_options options;
    struct rdisk_error err = { 0 };
    struct rdisk_initiator *session = NULL;
    struct rdisk_uri uri;
    int ret;

    rdisk_initiator_options_init(&options);
    ret = rdisk_uri_parse(argc == 2 ? argv[1] : "", &uri, NULL, NULL, &err);
    if (ret == 0) {
        options.host = uri.host;
        options.port = uri.port;
        options.volume = uri.volume;
        options.read_only = true;
        session = rdisk_initiator_create(&rdisk_env_system, &options, NULL,
                                         NULL, &err);
        ret = session ? rdisk_initiator_start(session, &err) : err.code;
    }
    if (ret == 0) {
        ret = rdisk_initiator_wait(session, &err); /* until it is READY */
    }
    if (ret == 0) {
        ret = copy(session, &err);
        rdisk_initiator_close(session);
        ret = rdisk_initiator_wait(session, ret == 0 ? &err : NULL) < 0 ? -1
                                                                        : ret;
    }
    if (ret < 0) {
        fprintf(stderr, "cat: %s\n", err.text);
    }
    if (session) {
        rdisk_initiator_destroy(session);
    }
    return ret < 0;
}
