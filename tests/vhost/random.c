/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/vhost/vmm.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/virtio_blk.h>

#include "tests/vhost/frontend_internal.h"
#include "tests/vhost/message.h"

#define BLOCK        4096u
#define PAGE         4096u
#define MESSAGES_MAX 16u
#define CLOSED_MS    20000 /* so soon the daemon closes a connection */
#define FDS_MAX      8u

struct random {
    uint64_t state;
    struct frontend frontend;
    int files[5]; /* what a descriptor may be of */
};

/* Marsaglia's xorshift64*. */
static uint64_t next(struct random *random)
{
    random->state ^= random->state >> 12;
    random->state ^= random->state << 25;
    random->state ^= random->state >> 27;
    return random->state * 0x2545f4914f6cdd1dull;
}

static uint64_t below(struct random *random, uint64_t limit)
{
    return next(random) % limit;
}

/* Values at which something may change, and some of the guest's memory. */
static uint64_t value(struct random *random)
{
    const struct frontend *frontend = &random->frontend;
    const uint64_t values[] = {
        0,
        1,
        2,
        8,
        64,
        FRONTEND_RING,
        1024,
        PAGE,
        PAGE - 1,
        frontend->memory_size,
        frontend->memory_size - 1,
        (uintptr_t)frontend->memory,
        (uintptr_t)frontend->memory + PAGE,
        (uintptr_t)frontend->memory + frontend->memory_size,
        1ull << 32,
        1ull << 40,
        UINT32_MAX,
        UINT64_MAX,
        UINT64_MAX - PAGE + 1,
        1ull << F_PROTOCOL_FEATURES,
        frontend->features,
    };
    uint64_t which = below(random, sizeof(values) / sizeof(values[0]) + 2);

    return which < sizeof(values) / sizeof(values[0]) ? values[which]
                                                      : next(random);
}

/* A message as the VMM of @random->frontend sends it. */
static void fill_valid(struct random *random, struct message *message)
{
    struct frontend *frontend = &random->frontend;

    switch (message->request) {
    case SET_MEM_TABLE:
        message->memory.count = 1;
        message->memory.region.size = frontend->memory_size;
        message->memory.region.user = (uintptr_t)frontend->memory;
        break;
    case SET_VRING_ADDR:
        message->addr.desc = (uintptr_t)frontend->memory;
        message->addr.used = (uintptr_t)used(frontend);
        message->addr.avail = (uintptr_t)available(frontend);
        break;
    case SET_VRING_NUM:
        message->state.num = FRONTEND_RING;
        break;
    case SET_INFLIGHT_FD:
    case GET_INFLIGHT_FD:
        message->inflight.size = frontend->inflight_size;
        message->inflight.queues = 1;
        message->inflight.queue_size = FRONTEND_RING;
        break;
    case SET_FEATURES:
        message->u64 = frontend->features;
        break;
    case GET_CONFIG:
        message->config.size = CONFIG_SIZE;
        break;
    case ADD_MEM_REG:
    case REM_MEM_REG:
        message->slot.region.guest = MORE_AT;
        message->slot.region.size = PAGE;
        message->slot.region.user = (uintptr_t)frontend->memory;
        break;
    default:
        break;
    }
}

static uint32_t size_of(uint32_t request)
{
    switch (request) {
    case SET_MEM_TABLE:
    case SET_VRING_ADDR:
    case ADD_MEM_REG:
    case REM_MEM_REG:
        return 40;
    case SET_LOG_BASE:
        return 16;
    case GET_CONFIG:
        return 12 + CONFIG_SIZE;
    case GET_INFLIGHT_FD:
    case SET_INFLIGHT_FD:
        return 24;
    default:
        return 8;
    }
}

/* Mostly a valid message with one or two words changed. */
static void send_one(struct random *random)
{
    struct message message = { .flags = VERSION };
    int fds[FDS_MAX];
    unsigned int count = below(random, 4) ? below(random, 2)
                                          : below(random, FDS_MAX);
    uint64_t changes = below(random, 3);
    unsigned int length;

    message.request = (uint32_t)below(random, 45);
    message.size = size_of(message.request);
    fill_valid(random, &message);
    for (uint64_t i = 0; i < changes && message.size >= 8; i++) {
        uint64_t word = value(random);

        memcpy((char *)&message + HEADER_SIZE +
                   below(random, message.size / 4 - 1) * 4,
               &word, below(random, 2) ? 4 : 8);
    }
    if (below(random, 8) == 0) {
        message.size = (uint32_t)below(random, sizeof(message) - HEADER_SIZE);
    }
    if (below(random, 16) == 0) {
        message.flags = (uint32_t)value(random);
    } else if (below(random, 2)) {
        message.flags |= NEED_REPLY;
    }
    for (unsigned int i = 0; i < count; i++) {
        fds[i] = random->files[below(random, 5)];
    }
    length = HEADER_SIZE + message.size;
    if (below(random, 32) == 0) {
        length = 1 + (unsigned int)below(random, length);
    }
    message_send_part(random->frontend.sock, &message, length, fds, count);
}

/* The daemon has answered what it answers, and closed the connection. */
static bool is_closed(int socket)
{
    struct pollfd pollfd = { .fd = socket, .events = POLLIN };
    char bytes[PAGE];

    while (poll(&pollfd, 1, CLOSED_MS) > 0) {
        if (read(socket, bytes, sizeof(bytes)) <= 0) {
            return true;
        }
    }
    return false;
}

static bool one_connection(struct random *random, const char *path)
{
    struct frontend *frontend = &random->frontend;
    uint64_t count = 1 + below(random, MESSAGES_MAX);
    bool closed;

    frontend_start(frontend, path, BLOCK);
    random->files[0] = frontend->memory_fd;
    random->files[1] = frontend->kick_fd;
    random->files[2] = frontend->inflight_fd;
    for (uint64_t i = 0; i < count; i++) {
        if (below(random, 4) == 0) {
            frontend_submit(frontend, 0, VIRTIO_BLK_T_IN, 0, BLOCK);
            eventfd_write(frontend->kick_fd, 1);
        }
        send_one(random);
    }
    shutdown(frontend->sock, SHUT_WR);
    closed = is_closed(frontend->sock);
    frontend_abandon(frontend);
    frontend_stop(frontend);
    return closed;
}

int vmm_random(const char *path, unsigned long seed, unsigned long count)
{
    struct random random = { 0 };
    int ends[2];

    random.files[3] = memfd_create("page", MFD_CLOEXEC);
    if (random.files[3] < 0 || ftruncate(random.files[3], PAGE) < 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        frontend_die("cannot make a file or a socket");
    }
    random.files[4] = ends[0];
    for (unsigned long i = 0; i < count; i++) {
        /* Of each connection alone, so that it can be repeated. */
        random.state = (seed + i) * 0x9e3779b97f4a7c15ull | 1;
        if (!one_connection(&random, path)) {
            fprintf(stderr,
                    "vhost-client: the connection of seed %lu is not closed "
                    "within %d ms\n",
                    seed + i, CLOSED_MS);
            return 1;
        }
    }
    printf("%lu connections\n", count);
    return 0;
}
