/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/vhost/vmm.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/vhost/frontend_internal.h"
#include "tests/vhost/message.h"

#define BLOCK   4096u
#define SECTORS (BLOCK / 512u)
#define READS   16u
#define WAIT_MS 60000
#define FDS_MAX 8u
#define PAGE    4096u
#define REFUSED 10000 /* milliseconds: so soon the daemon disconnects */

static int read_block(struct frontend *frontend)
{
    frontend_submit(frontend, 0, VIRTIO_BLK_T_IN, 0, BLOCK);
    frontend_kick(frontend);
    if (frontend_wait(frontend, WAIT_MS) != 0 ||
        frontend_request(frontend, 0)->status != VIRTIO_BLK_S_OK) {
        fputs("vhost-client: a read has not succeeded\n", stderr);
        return 1;
    }
    return 0;
}

/* ---- Messages that are refused ------------------------------------------- */

struct attempt {
    const char *name;
    struct message message;
    unsigned int sent; /* bytes; 0: the whole message */
    unsigned int fds;  /* of a file with one page */
};

static const struct attempt attempts[] = {
    { .name = "number 0", .message = { .request = 0 } },
    { .name = "a kick in a message",
      .message = { .request = 35, .size = 8, .state = { .index = 0 } } },
    { .name = "an unknown number", .message = { .request = UINT32_MAX } },
    { .name = "half of its payload",
      .message = { .request = SET_VRING_NUM, .size = 8 },
      .sent = HEADER_SIZE + 4 },
    { .name = "a header without its payload",
      .message = { .request = SET_VRING_NUM, .size = 8 },
      .sent = HEADER_SIZE },
    { .name = "a size beyond all",
      .message = { .request = SET_FEATURES, .size = UINT32_MAX },
      .sent = HEADER_SIZE },
    { .name = "too short a payload",
      .message = { .request = SET_VRING_ADDR, .size = 8 } },
    { .name = "descriptors that it does not take",
      .message = { .request = GET_FEATURES },
      .fds = FDS_MAX },
    { .name = "two of one descriptor",
      .message = { .request = SET_VRING_CALL, .size = 8 },
      .fds = 2 },
    { .name = "memory beyond its file",
      .message = { .request = ADD_MEM_REG,
                   .size = 40,
                   .slot.region = { .guest = 1ull << 40, .size = 2 * PAGE } },
      .fds = 1 },
    { .name = "memory that begins beyond its file",
      .message = { .request = ADD_MEM_REG,
                   .size = 40,
                   .slot.region = { .guest = 1ull << 40,
                                    .size = PAGE,
                                    .offset = UINT64_MAX - PAGE + 1 } },
      .fds = 1 },
    { .name = "memory beyond the last address",
      .message = { .request = ADD_MEM_REG,
                   .size = 40,
                   .slot.region = { .guest = UINT64_MAX - 100, .size = PAGE } },
      .fds = 1 },
    { .name = "an in-flight table that is too small",
      .message = { .request = SET_INFLIGHT_FD,
                   .size = 24,
                   .inflight = { .size = PAGE,
                                 .queues = 1,
                                 .queue_size = 1024 } },
      .fds = 1 },
    { .name = "an in-flight table beyond its file",
      .message = { .request = SET_INFLIGHT_FD,
                   .size = 24,
                   .inflight = { .size = 16 * PAGE,
                                 .offset = PAGE,
                                 .queues = 1,
                                 .queue_size = 1024 } },
      .fds = 1 },
    { .name = "a log beyond its file",
      .message = { .request = SET_LOG_BASE,
                   .size = 16,
                   .log = { .size = 2 * PAGE } },
      .fds = 1 },
    { .name = "notifications in messages",
      .message = { .request = SET_PROTOCOL_FEATURES,
                   .size = 8,
                   .u64 = 1ull << 14 | 1ull << P_BACKEND_REQ |
                          1ull << P_REPLY_ACK } },
    { .name = "a used ring that is not aligned",
      .message = { .request = SET_VRING_ADDR, .size = 40, .addr.used = 1 } },
};

static bool is_refused(int socket)
{
    struct pollfd pollfd = { .fd = socket, .events = POLLIN };
    char byte;

    /* A reply may come before the end. */
    while (poll(&pollfd, 1, REFUSED) > 0) {
        if (read(socket, &byte, 1) <= 0) {
            return true;
        }
    }
    return false;
}

static int refused(struct frontend *frontend, const char *name)
{
    bool gone = is_refused(frontend->sock);

    frontend_abandon(frontend);
    frontend_stop(frontend);
    if (!gone) {
        fprintf(stderr, "vhost-client: %s was accepted\n", name);
    }
    return !gone;
}

static int try(const char *path, const struct attempt *attempt, int file)
{
    struct message message = attempt->message;
    int fds[FDS_MAX];
    struct frontend frontend;

    for (unsigned int i = 0; i < FDS_MAX; i++) {
        fds[i] = file;
    }
    frontend_start(&frontend, path, BLOCK);
    message.flags = VERSION;
    message_send_part(frontend.sock, &message,
                      attempt->sent ? attempt->sent
                                    : HEADER_SIZE + message.size,
                      fds, attempt->fds);
    return refused(&frontend, attempt->name);
}

/* The guest chooses the size of its ring, the VMM that of the table. SeaBIOS
 * has a ring of 256 with QEMU's table for 128, and uses the first few. */
static int try_small_table(const char *path)
{
    const unsigned int beyond = FRONTEND_RING / 2 / 3 + 1; /* a slot */
    struct frontend frontend;

    frontend_start_table(&frontend, path, BLOCK, FRONTEND_RING / 2);
    if (read_block(&frontend)) {
        return 1;
    }
    frontend_submit(&frontend, beyond, VIRTIO_BLK_T_IN, 0, BLOCK);
    frontend_kick(&frontend);
    return refused(&frontend, "a descriptor beyond the table");
}

int vmm_messages(const char *path)
{
    unsigned int count = sizeof(attempts) / sizeof(attempts[0]);
    int file = memfd_create("page", MFD_CLOEXEC);
    int status = 0;

    if (file < 0 || ftruncate(file, PAGE) < 0) {
        frontend_die("cannot make a file");
    }
    for (unsigned int i = 0; i < count; i++) {
        status |= try(path, &attempts[i], file);
    }
    close(file);
    status |= try_small_table(path);
    printf("%u messages\n", count + 1);
    return status;
}

static void say(const char *word)
{
    puts(word);
    fflush(stdout);
}

static void wait_for(const char *folder, const char *name)
{
    char path[200];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    for (unsigned int ms = 0; access(path, F_OK) < 0; ms += 10) {
        if (ms > WAIT_MS) {
            frontend_die("no %s within %d ms", path, WAIT_MS);
        }
        usleep(10000);
    }
}

/* ---- In one connection --------------------------------------------------- */

int vmm_resets(const char *path, unsigned long count, const char *folder)
{
    struct frontend frontend;
    int status;

    frontend_start(&frontend, path, BLOCK);
    for (unsigned long i = 0; i < count; i++) {
        frontend_reset(&frontend);
    }
    status = read_block(&frontend);
    say("reset");
    wait_for(folder, "end");
    frontend_stop(&frontend);
    return status;
}

/* ---- With requests in flight --------------------------------------------- */

/* READS of them. */
static void begin_reads(struct frontend *frontend, const char *path,
                        const char *folder)
{
    frontend_start(frontend, path, BLOCK);
    if (read_block(frontend)) {
        frontend_die("the volume is not open");
    }
    say("started");
    wait_for(folder, "read");
    for (unsigned int slot = 0; slot < READS; slot++) {
        frontend_submit(frontend, slot, VIRTIO_BLK_T_IN,
                        (uint64_t)slot * SECTORS, BLOCK);
        frontend_kick(frontend);
        frontend_wait_taken(frontend, slot);
    }
}

int vmm_leaves(const char *path, const char *folder)
{
    const struct message stop = {
        .request = GET_VRING_BASE,
        .flags = VERSION,
        .size = 8,
    };
    struct frontend frontend;

    begin_reads(&frontend, path, folder);
    message_send(frontend.sock, &stop, -1);
    /* The daemon has seen it. */
    usleep(500000);
    frontend_abandon(&frontend);
    frontend_stop(&frontend);
    say("gone");
    return 0;
}

int vmm_breaks(const char *path, const char *folder)
{
    const struct message bad = { .request = SET_LOG_BASE, .flags = VERSION };
    struct frontend frontend;
    unsigned int ended = 0;
    int slot;

    begin_reads(&frontend, path, folder);
    /* It is answered earlier than those before it, so that the next daemon
     * cannot find them by the indices of the rings. */
    frontend_submit(&frontend, READS, VIRTIO_BLK_T_GET_ID, 0, BLOCK);
    frontend_kick(&frontend);
    if (frontend_wait(&frontend, WAIT_MS) != READS) {
        frontend_die("no serial number");
    }
    message_send(frontend.sock, &bad, -1);
    say("broken");
    frontend.reconnect = true;
    while (ended != (1u << READS) - 1 &&
           (slot = frontend_wait(&frontend, WAIT_MS / 4)) >= 0) {
        if (slot >= (int)READS || ended >> slot & 1) {
            frontend_die("request %d has ended twice", slot);
        }
        ended |= 1u << slot;
    }
    if (ended != (1u << READS) - 1 || frontend.reconnects == 0) {
        fprintf(stderr, "vhost-client: of the reads 0x%x have ended\n", ended);
        return 1;
    }
    frontend_stop(&frontend);
    return 0;
}

/* ---- The config space ---------------------------------------------------- */

int vmm_grows(const char *path, unsigned long sectors)
{
    struct frontend frontend;

    frontend_start(&frontend, path, BLOCK);
    frontend.reconnect = true;
    if (read_block(&frontend)) {
        return 1;
    }
    say("started");
    for (unsigned int i = 0; frontend.config.capacity < sectors; i++) {
        if (i > WAIT_MS / 100) {
            fprintf(stderr, "vhost-client: the device has %llu sectors\n",
                    (unsigned long long)frontend.config.capacity);
            return 1;
        }
        if (frontend_config_changed(&frontend, 100)) {
            say("changed");
        }
    }
    frontend_stop(&frontend);
    return 0;
}
