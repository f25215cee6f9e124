/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/vhost/frontend_internal.h"

#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define TAKEN_MS 20000u

/* ---- Requests ------------------------------------------------------------ */

struct vring_desc *frontend_descriptors(struct frontend *frontend)
{
    return (struct vring_desc *)frontend->memory;
}

struct frontend_request *frontend_request(struct frontend *frontend,
                                          unsigned int slot)
{
    return (struct frontend_request *)(frontend->memory + REQUESTS_AT) + slot;
}

uint8_t *frontend_data(struct frontend *frontend, unsigned int slot)
{
    return frontend->memory + DATA_AT + slot * frontend->data_size;
}

uint64_t frontend_address(const struct frontend *frontend, const void *pointer)
{
    const uint8_t *p = pointer;

    if (frontend->more && p >= frontend->more &&
        p < frontend->more + frontend->more_size) {
        return MORE_AT + (uint64_t)(p - frontend->more);
    }
    return (uint64_t)(p - frontend->memory);
}

void frontend_submit_chain(struct frontend *frontend, uint16_t head)
{
    struct vring_avail *avail = available(frontend);

    avail->ring[frontend->avail % FRONTEND_RING] = head;
    __atomic_store_n(&avail->idx, ++frontend->avail, __ATOMIC_RELEASE);
}

/* Header, data and status at @desc, whose first one has index @head. */
static void describe(struct frontend *frontend, unsigned int slot,
                     struct vring_desc *desc, uint16_t head, uint32_t type,
                     uint64_t sector, uint8_t *data, uint32_t length)
{
    struct frontend_request *request = frontend_request(frontend, slot);
    uint16_t status = length ? 2 : 1;

    request->header = (struct virtio_blk_outhdr) {
        .type = type,
        .sector = sector,
    };
    request->status = 0xff;
    desc[0] = (struct vring_desc) {
        .addr = frontend_address(frontend, &request->header),
        .len = sizeof(request->header),
        .flags = VRING_DESC_F_NEXT,
        .next = (uint16_t)(head + 1),
    };
    desc[1] = (struct vring_desc) {
        .addr = frontend_address(frontend, data),
        .len = length,
        .next = (uint16_t)(head + 2),
        .flags = (uint16_t)(VRING_DESC_F_NEXT |
                            (type == VIRTIO_BLK_T_IN ||
                                     type == VIRTIO_BLK_T_GET_ID
                                 ? VRING_DESC_F_WRITE
                                 : 0)),
    };
    desc[status] = (struct vring_desc) {
        .addr = frontend_address(frontend, &request->status),
        .len = 1,
        .flags = VRING_DESC_F_WRITE,
    };
}

void frontend_submit_at(struct frontend *frontend, unsigned int slot,
                        uint32_t type, uint64_t sector, uint8_t *data,
                        uint32_t length)
{
    uint16_t head = (uint16_t)(slot * 3);

    describe(frontend, slot, frontend_descriptors(frontend) + head, head, type,
             sector, data, length);
    frontend_submit_chain(frontend, head);
}

void frontend_submit(struct frontend *frontend, unsigned int slot,
                     uint32_t type, uint64_t sector, uint32_t length)
{
    frontend_submit_at(frontend, slot, type, sector,
                       frontend_data(frontend, slot), length);
}

void frontend_submit_indirect(struct frontend *frontend, unsigned int slot,
                              uint32_t type, uint64_t sector, uint32_t length)
{
    struct vring_desc *table = (struct vring_desc *)(frontend->memory +
                                                     INDIRECT_AT) +
                               slot * 3;
    uint16_t head = (uint16_t)(slot * 3);

    describe(frontend, slot, table, 0, type, sector,
             frontend_data(frontend, slot), length);
    frontend_descriptors(frontend)[head] = (struct vring_desc) {
        .addr = frontend_address(frontend, table),
        .len = (length ? 3 : 2) * sizeof(*table),
        .flags = VRING_DESC_F_INDIRECT,
    };
    frontend_submit_chain(frontend, head);
}

void frontend_kick(struct frontend *frontend)
{
    uint16_t event;

    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    /* vring_avail_event() */
    memcpy(&event, &used(frontend)->ring[FRONTEND_RING], sizeof(event));
    if (vring_need_event(event, frontend->avail, frontend->kicked) ||
        frontend->reconnect) {
        eventfd_write(frontend->kick_fd, 1);
    }
    frontend->kicked = frontend->avail;
}

/* Ask for an interrupt with the next answer. */
static void ask_interrupt(struct frontend *frontend)
{
    /* vring_used_event() */
    available(frontend)->ring[FRONTEND_RING] = frontend->used_seen;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* The table begins with 16 bytes; an entry, of a chain's first descriptor,
 * begins with a byte that is 1 while the device has the chain. */
static bool in_flight(const struct frontend *frontend, unsigned int slot)
{
    uint8_t byte = 0;
    off_t at = (off_t)frontend->inflight_offset + 16 + (off_t)slot * 3 * 16;

    return pread(frontend->inflight_fd, &byte, 1, at) == 1 && byte == 1;
}

void frontend_wait_taken(struct frontend *frontend, unsigned int slot)
{
    uint16_t before = frontend->used_seen;

    for (unsigned int ms = 0;
         !in_flight(frontend, slot) &&
         __atomic_load_n(&used(frontend)->idx, __ATOMIC_ACQUIRE) == before;
         ms++) {
        if (ms > TAKEN_MS) {
            frontend_die("the device takes no request within %d ms", TAKEN_MS);
        }
        usleep(1000);
    }
}

int frontend_wait(struct frontend *frontend, int timeout_ms)
{
    struct vring_used *ring = used(frontend);

    while (__atomic_load_n(&ring->idx, __ATOMIC_ACQUIRE) ==
           frontend->used_seen) {
        struct pollfd fds[] = {
            { .fd = frontend->call_fd, .events = POLLIN },
            { .fd = frontend->sock, .events = POLLIN | POLLHUP },
        };
        eventfd_t count;

        ask_interrupt(frontend);
        if (__atomic_load_n(&ring->idx, __ATOMIC_ACQUIRE) !=
            frontend->used_seen) {
            break;
        }
        if (poll(fds, 2, timeout_ms) == 0) {
            return -1;
        }
        eventfd_read(frontend->call_fd, &count);
        if (fds[1].revents) {
            if (frontend->expendable) {
                return -1;
            }
            if (!frontend->reconnect) {
                frontend_die("the daemon has disconnected");
            }
            frontend_reconnect(frontend);
        }
    }
    return (int)(ring->ring[frontend->used_seen++ % FRONTEND_RING].id / 3);
}
