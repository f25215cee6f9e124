/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/vhost/frontend_internal.h"
#include "tests/vhost/message.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/vhost_types.h>
#include <linux/virtio_config.h>

#define RECONNECT_MS 20000 /* so long for a new daemon */

void frontend_die(const char *format, ...)
{
    va_list args;

    fprintf(stderr, "vhost-client: ");
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

/* ---- Messages ----------------------------------------------------------- */

static bool ask(struct frontend *frontend, struct message *message, int *fd)
{
    uint32_t request = message->request;

    if (!message_send(frontend->sock, message, -1) ||
        !message_receive(frontend->sock, message, fd)) {
        return false;
    }
    if (message->request != request) {
        frontend_die("request %u was answered by %u", request,
                     message->request);
    }
    return true;
}

static bool get_u64(struct frontend *frontend, uint32_t request,
                    uint64_t *value)
{
    struct message message = { .request = request, .flags = VERSION };

    if (!ask(frontend, &message, NULL)) {
        return false;
    }
    *value = message.u64;
    return true;
}

static bool set_u64(struct frontend *frontend, uint32_t request, uint64_t value,
                    int fd)
{
    struct message message = {
        .request = request,
        .flags = VERSION,
        .size = 8,
        .u64 = value,
    };

    return message_send(frontend->sock, &message, fd);
}

static bool set_state(struct frontend *frontend, uint32_t request, uint32_t num)
{
    struct message message = {
        .request = request,
        .flags = VERSION,
        .size = 8,
        .state = { .index = frontend->queue, .num = num },
    };

    return message_send(frontend->sock, &message, -1);
}

/* ---- Starting the device ------------------------------------------------- */

/* Where the device tells that the config space has changed. */
static bool give_backend_channel(struct frontend *frontend)
{
    int ends[2];
    bool sent;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        frontend_die("cannot create a socket: %s", strerror(errno));
    }
    if (frontend->backend >= 0) {
        close(frontend->backend);
    }
    frontend->backend = ends[0];
    sent = set_u64(frontend, SET_BACKEND_REQ_FD, 0, ends[1]);
    close(ends[1]);
    return sent;
}

static bool read_config(struct frontend *frontend)
{
    struct message message = {
        .request = GET_CONFIG,
        .flags = VERSION,
        .size = 12 + CONFIG_SIZE,
        .config = { .size = CONFIG_SIZE },
    };

    if (!ask(frontend, &message, NULL)) {
        return false;
    }
    memcpy(&frontend->config, message.config.bytes,
           sizeof(frontend->config) < CONFIG_SIZE ? sizeof(frontend->config)
                                                  : CONFIG_SIZE);
    return true;
}

static bool negotiate(struct frontend *frontend)
{
    uint64_t offered, protocol;

    if (!get_u64(frontend, GET_FEATURES, &offered) ||
        !get_u64(frontend, GET_PROTOCOL_FEATURES, &protocol)) {
        return false;
    }
    if (!(offered >> F_PROTOCOL_FEATURES & 1) || !(protocol >> P_CONFIG & 1) ||
        !(protocol >> P_INFLIGHT & 1) || !(offered >> F_LOG_ALL & 1) ||
        !(protocol >> P_LOG_SHMFD & 1)) {
        frontend_die(
            "features 0x%llx, protocol features 0x%llx: something is missing",
            (unsigned long long)offered, (unsigned long long)protocol);
    }
    protocol &= 1ull << P_CONFIG | 1ull << P_INFLIGHT | 1ull << P_REPLY_ACK |
                1ull << P_MEM_SLOTS | 1ull << P_LOG_SHMFD |
                1ull << P_BACKEND_REQ;
    frontend->offered = offered;
    if (!set_u64(frontend, SET_PROTOCOL_FEATURES, protocol, -1) ||
        !set_u64(frontend, SET_OWNER, 0, -1) ||
        !give_backend_channel(frontend) ||
        /* As QEMU, not when it connects again. */
        (frontend->config.capacity == 0 && !read_config(frontend))) {
        return false;
    }
    frontend->features =
        offered &
        (1ull << VIRTIO_F_VERSION_1 | 1ull << F_PROTOCOL_FEATURES |
         1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_RING_F_EVENT_IDX |
         1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_DISCARD |
         1ull << VIRTIO_BLK_F_WRITE_ZEROES | 1ull << VIRTIO_BLK_F_SEG_MAX |
         1ull << VIRTIO_BLK_F_BLK_SIZE | 1ull << VIRTIO_BLK_F_RO);
    return set_u64(frontend, SET_FEATURES, frontend->features, -1);
}

static bool give_inflight(struct frontend *frontend)
{
    struct message message = {
        .request = GET_INFLIGHT_FD,
        .flags = VERSION,
        .size = 24,
        .inflight = {
            .queues = (uint16_t)(frontend->queue + 1),
            .queue_size = frontend->table_size,
        },
    };

    if (frontend->inflight_fd < 0) {
        if (!ask(frontend, &message, &frontend->inflight_fd)) {
            return false;
        }
        frontend->inflight_size = message.inflight.size;
        frontend->inflight_offset = message.inflight.offset;
    }
    message = (struct message) {
        .request = SET_INFLIGHT_FD, .flags = VERSION, .size = 24,
        .inflight = {
            .size = frontend->inflight_size,
            .offset = frontend->inflight_offset,
            .queues = (uint16_t)(frontend->queue + 1),
            .queue_size = frontend->table_size,
        },
    };
    return message_send(frontend->sock, &message, frontend->inflight_fd);
}

/* @request: ADD_MEM_REG, or REM_MEM_REG without @fd. */
static bool change_memory(struct frontend *frontend, uint32_t request,
                          uint64_t guest, const uint8_t *user, uint64_t size,
                          int fd)
{
    struct message message = {
        .request = request, .flags = VERSION | NEED_REPLY, .size = 40,
        .slot.region = {
            .guest = guest, .size = size, .user = (uintptr_t)user,
        },
    };

    return message_send(frontend->sock, &message, fd) &&
           message_receive(frontend->sock, &message, NULL) && message.u64 == 0;
}

static bool plug(struct frontend *frontend)
{
    return change_memory(frontend, ADD_MEM_REG, MORE_AT, frontend->more,
                         frontend->more_size, frontend->more_fd);
}

static bool place_ring(struct frontend *frontend, uint32_t flags)
{
    struct message addr = {
        .request = SET_VRING_ADDR, .flags = VERSION, .size = 40,
        .addr = {
            .index = frontend->queue,
            .flags = flags,
            .desc = (uintptr_t)frontend->memory,
            .used = (uintptr_t)used(frontend),
            .avail = (uintptr_t)available(frontend),
            .log = frontend_address(frontend, used(frontend)),
        },
    };

    return message_send(frontend->sock, &addr, -1);
}

static bool start_ring(struct frontend *frontend)
{
    struct message table = {
        .request = SET_MEM_TABLE, .flags = VERSION | NEED_REPLY, .size = 40,
        .memory = {
            .count = 1,
            .region = {
                .guest = 0, .size = frontend->memory_size,
                .user = (uintptr_t)frontend->memory,
            },
        },
    };

    return give_inflight(frontend) &&
           message_send(frontend->sock, &table,
                        frontend->private ? -1 : frontend->memory_fd) &&
           message_receive(frontend->sock, &table, NULL) &&
           (!frontend->more || plug(frontend)) &&
           set_state(frontend, SET_VRING_NUM, FRONTEND_RING) &&
           set_state(frontend, SET_VRING_BASE, frontend->used_seen) &&
           place_ring(frontend, 0) &&
           set_u64(frontend, SET_VRING_KICK, frontend->queue,
                   frontend->kick_fd) &&
           set_u64(frontend, SET_VRING_CALL, frontend->queue,
                   frontend->call_fd) &&
           set_state(frontend, SET_VRING_ENABLE, 1);
}

static bool connect_once(struct frontend *frontend)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    frontend->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (frontend->sock < 0) {
        frontend_die("cannot create a socket: %s", strerror(errno));
    }
    strncpy(address.sun_path, frontend->path, sizeof(address.sun_path) - 1);
    if (connect(frontend->sock, (struct sockaddr *)&address, sizeof(address)) ==
            0 &&
        negotiate(frontend) && start_ring(frontend)) {
        return true;
    }
    close(frontend->sock);
    frontend->sock = -1;
    return false;
}

void frontend_reconnect(struct frontend *frontend)
{
    close(frontend->sock);
    for (unsigned int i = 0; i < RECONNECT_MS / 50; i++) {
        if (connect_once(frontend)) {
            frontend->reconnects++;
            frontend_kick(frontend);
            return;
        }
        usleep(50000);
    }
    frontend_die("no daemon at %s within %d ms", frontend->path, RECONNECT_MS);
}

static void start(struct frontend *frontend, const char *path,
                  uint64_t data_size, unsigned int queue, uint16_t index,
                  uint16_t table_size, bool private)
{
    *frontend = (struct frontend) {
        .path = path,
        .queue = queue,
        .private = private,
        .more_fd = -1,
        .sock = -1,
        .inflight_fd = -1,
        .backend = -1,
        .table_size = table_size,
        .data_size = data_size,
        .memory_size = DATA_AT + FRONTEND_DEPTH_MAX * data_size,
        .kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
        .call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
        .memory_fd = memfd_create("guest", MFD_CLOEXEC),
    };
    if (frontend->kick_fd < 0 || frontend->call_fd < 0 ||
        frontend->memory_fd < 0 ||
        ftruncate(frontend->memory_fd, (off_t)frontend->memory_size) < 0) {
        frontend_die("cannot make the guest's memory: %s", strerror(errno));
    }
    frontend->memory = mmap(NULL, frontend->memory_size, PROT_READ | PROT_WRITE,
                            MAP_SHARED, frontend->memory_fd, 0);
    if (frontend->memory == MAP_FAILED) {
        frontend_die("cannot map the guest's memory: %s", strerror(errno));
    }
    frontend->used_seen = frontend->avail = index;
    used(frontend)->idx = available(frontend)->idx = index;
    if (!connect_once(frontend)) {
        frontend_die("cannot start the device at %s", path);
    }
}

void frontend_start(struct frontend *frontend, const char *path,
                    uint64_t data_size)
{
    start(frontend, path, data_size, 0, 0, FRONTEND_RING, false);
}

void frontend_start_queue(struct frontend *frontend, const char *path,
                          uint64_t data_size, unsigned int queue)
{
    start(frontend, path, data_size, queue, 0, FRONTEND_RING, false);
}

void frontend_start_at(struct frontend *frontend, const char *path,
                       uint64_t data_size, uint16_t index)
{
    start(frontend, path, data_size, 0, index, FRONTEND_RING, false);
}

void frontend_start_table(struct frontend *frontend, const char *path,
                          uint64_t data_size, uint16_t table_size)
{
    start(frontend, path, data_size, 0, 0, table_size, false);
}

void frontend_start_private(const char *path)
{
    struct frontend frontend;
    uint64_t ignored;

    start(&frontend, path, 4096, 0, 0, FRONTEND_RING, true);
    /* The library answers even what it does not handle, before it
     * disconnects. */
    if (!get_u64(&frontend, GET_FEATURES, &ignored)) {
        frontend_die("cannot start the device at %s", path);
    }
    frontend_die("the daemon has accepted memory that is not shared");
}

bool frontend_stop_ring(struct frontend *frontend)
{
    struct message message = {
        .request = GET_VRING_BASE,
        .flags = VERSION,
        .size = 8,
        .state = { .index = frontend->queue },
    };

    return ask(frontend, &message, NULL);
}

void frontend_reset(struct frontend *frontend)
{
    bool stopped = frontend_stop_ring(frontend);

    close(frontend->inflight_fd);
    frontend->inflight_fd = -1;
    frontend->avail = frontend->used_seen = frontend->kicked = 0;
    used(frontend)->idx = available(frontend)->idx = 0;
    if (!stopped || !start_ring(frontend)) {
        frontend_die("the daemon has gone");
    }
}

bool frontend_config_changed(struct frontend *frontend, int timeout_ms)
{
    struct pollfd fds[] = {
        { .fd = frontend->backend, .events = POLLIN },
        { .fd = frontend->sock, .events = POLLIN },
    };
    struct message message;

    if (poll(fds, 2, timeout_ms) == 0) {
        return false;
    }
    if (fds[1].revents) {
        frontend_reconnect(frontend);
        return false;
    }
    if (!message_receive(frontend->backend, &message, NULL)) {
        /* The daemon goes, and closes this first. */
        close(frontend->backend);
        frontend->backend = -1;
        return false;
    }
    return message.request == BACKEND_CONFIG_CHANGE && read_config(frontend);
}

void frontend_abandon(struct frontend *frontend)
{
    close(frontend->sock);
    frontend->sock = -1;
}

void frontend_stop(struct frontend *frontend)
{
    if (frontend->sock >= 0) {
        frontend_stop_ring(frontend);
        close(frontend->sock);
    }
    if (frontend->backend >= 0) {
        close(frontend->backend);
    }
    if (frontend->more) {
        munmap(frontend->more, frontend->more_size);
        close(frontend->more_fd);
    }
    if (frontend->log) {
        munmap(frontend->log, frontend->log_size);
    }
    munmap(frontend->memory, frontend->memory_size);
    close(frontend->memory_fd);
    close(frontend->kick_fd);
    close(frontend->call_fd);
    if (frontend->inflight_fd >= 0) {
        close(frontend->inflight_fd);
    }
}

/* ---- Memory that comes and goes ------------------------------------------ */

void frontend_plug(struct frontend *frontend, uint64_t size, bool huge)
{
    frontend->more_size = size;
    frontend->more_fd = memfd_create("more",
                                     MFD_CLOEXEC | (huge ? MFD_HUGETLB : 0));
    if (frontend->more_fd < 0 ||
        ftruncate(frontend->more_fd, (off_t)size) < 0) {
        frontend_die("cannot make more memory: %s", strerror(errno));
    }
    frontend->more = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED,
                          frontend->more_fd, 0);
    if (frontend->more == MAP_FAILED) {
        frontend_die("cannot map more memory: %s", strerror(errno));
    }
    if (!plug(frontend)) {
        frontend_die("the daemon refused more memory");
    }
}

void frontend_unplug(struct frontend *frontend)
{
    if (!change_memory(frontend, REM_MEM_REG, MORE_AT, frontend->more,
                       frontend->more_size, -1)) {
        frontend_die("the daemon refused to remove memory");
    }
    munmap(frontend->more, frontend->more_size);
    close(frontend->more_fd);
    frontend->more = NULL;
}

void frontend_withdraw_ring(struct frontend *frontend)
{
    if (!change_memory(frontend, REM_MEM_REG, 0, frontend->memory,
                       frontend->memory_size, -1)) {
        frontend_die("the daemon refused to remove the ring's memory");
    }
}

void frontend_return_ring(struct frontend *frontend)
{
    if (!change_memory(frontend, ADD_MEM_REG, 0, frontend->memory,
                       frontend->memory_size, frontend->memory_fd)) {
        frontend_die("the daemon refused to add the ring's memory again");
    }
}

/* ---- Migration ----------------------------------------------------------- */

static bool give_log(struct frontend *frontend)
{
    struct message message = {
        .request = SET_LOG_BASE,
        .flags = VERSION,
        .size = 16,
    };
    int fd = memfd_create("log", MFD_CLOEXEC);

    frontend->log_size = frontend->memory_size / FRONTEND_LOG_PAGE / 8 + 1;
    message.log.size = frontend->log_size;
    if (fd < 0 || ftruncate(fd, (off_t)frontend->log_size) < 0) {
        frontend_die("cannot make a log of dirty pages: %s", strerror(errno));
    }
    frontend->log = mmap(NULL, frontend->log_size, PROT_READ | PROT_WRITE,
                         MAP_SHARED, fd, 0);
    if (frontend->log == MAP_FAILED) {
        frontend_die("cannot map the log of dirty pages: %s", strerror(errno));
    }
    if (!message_send(frontend->sock, &message, fd) ||
        !message_receive(frontend->sock, &message, NULL)) {
        return false;
    }
    close(fd);
    return message.request == SET_LOG_BASE;
}

void frontend_log(struct frontend *frontend, bool on)
{
    uint64_t log = (uint64_t)on << F_LOG_ALL, ignored;

    /* As QEMU does: the table first, then what is logged. */
    if ((on && !give_log(frontend)) ||
        !set_u64(frontend, SET_FEATURES, frontend->features | log, -1) ||
        !place_ring(frontend, on ? 1u << VHOST_VRING_F_LOG : 0) ||
        /* Answered when the messages before it have been handled. */
        !get_u64(frontend, GET_FEATURES, &ignored)) {
        frontend_die("the daemon has gone");
    }
}
