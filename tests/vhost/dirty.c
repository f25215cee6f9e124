/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/vhost/dirty.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "tests/vhost/frontend.h"

#define PAGE    FRONTEND_LOG_PAGE
#define WAIT_MS 60000
/* Slots whose data lies in pages of its own. */
#define SLOT_PAGES 4u
#define DATA       0u
#define STATUS     2u
#define UNALIGNED  3u
#define USED_AT    8192u
#define FILL       0xa5

struct buffer {
    uint64_t at;   /* bytes, in the guest's memory */
    uint32_t size; /* bytes; 0: there is none */
};

struct attempt {
    const char *name;
    uint32_t type;
    uint64_t sector;
    struct buffer data[2];
    unsigned int changed; /* data buffers that the device writes */
    uint32_t size;        /* bytes of these that it writes; 0: all */
    uint8_t status;       /* that is expected */
    bool unlogged;        /* the log is off */
};

static uint64_t at(struct frontend *frontend, unsigned int slot)
{
    return frontend_address(frontend, frontend_data(frontend, slot));
}

static void expect(uint8_t *pages, uint64_t begin, uint32_t size)
{
    for (uint64_t page = begin / PAGE;
         size && page <= (begin + size - 1) / PAGE; page++) {
        pages[page / 8] |= (uint8_t)(1u << page % 8);
    }
}

static void submit(struct frontend *frontend, const struct attempt *attempt)
{
    struct vring_desc *desc = frontend_descriptors(frontend);
    struct frontend_request *request = frontend_request(frontend, 0);
    bool in = attempt->type == VIRTIO_BLK_T_IN ||
              attempt->type == VIRTIO_BLK_T_GET_ID;
    uint16_t n = 0;

    request->header = (struct virtio_blk_outhdr) {
        .type = attempt->type,
        .sector = attempt->sector,
    };
    desc[n++] = (struct vring_desc) {
        .addr = frontend_address(frontend, &request->header),
        .len = sizeof(request->header),
    };
    for (unsigned int i = 0; i < 2 && attempt->data[i].size; i++) {
        desc[n++] = (struct vring_desc) {
            .addr = attempt->data[i].at,
            .len = attempt->data[i].size,
            .flags = in ? VRING_DESC_F_WRITE : 0,
        };
    }
    desc[n++] = (struct vring_desc) {
        .addr = at(frontend, STATUS),
        .len = 1,
        .flags = VRING_DESC_F_WRITE,
    };
    for (uint16_t i = 0; i + 1 < n; i++) {
        desc[i].flags |= VRING_DESC_F_NEXT;
        desc[i].next = (uint16_t)(i + 1);
    }
    frontend_submit_chain(frontend, 0);
    frontend_kick(frontend);
}

static int try(struct frontend *frontend, const struct attempt *attempt)
{
    uint8_t expected[64] = { 0 };
    uint8_t *status = frontend_data(frontend, STATUS);

    if (frontend->log_size > sizeof(expected)) {
        fprintf(stderr, "vhost-client: the log has %llu bytes\n",
                (unsigned long long)frontend->log_size);
        return 1;
    }
    memset(frontend->log, 0, frontend->log_size);
    *status = 0xff;
    submit(frontend, attempt);
    if (frontend_wait(frontend, WAIT_MS) < 0 || *status != attempt->status) {
        fprintf(stderr, "vhost-client: %s: status %u, not %u\n", attempt->name,
                *status, attempt->status);
        return 1;
    }
    if (!attempt->unlogged) {
        for (unsigned int i = 0; i < attempt->changed; i++) {
            expect(expected, attempt->data[i].at,
                   attempt->size ? attempt->size : attempt->data[i].size);
        }
        expect(expected, at(frontend, STATUS), 1);
        expect(expected, USED_AT, 1);
    }
    for (uint64_t i = 0; i < frontend->log_size; i++) {
        if (frontend->log[i] != expected[i]) {
            fprintf(
                stderr,
                "vhost-client: %s: the log of pages %llu to %llu is 0x%02x, "
                "not 0x%02x\n",
                attempt->name, (unsigned long long)i * 8,
                (unsigned long long)i * 8 + 7, frontend->log[i], expected[i]);
            return 1;
        }
    }
    return 0;
}

static int try_all(struct frontend *frontend)
{
    const uint64_t data = at(frontend, DATA);
    const struct attempt attempts[] = {
        { .name = "a write",
          .type = VIRTIO_BLK_T_OUT,
          .data = { { data, 4 * PAGE } } },
        { .name = "a read",
          .type = VIRTIO_BLK_T_IN,
          .data = { { data, 4 * PAGE } },
          .changed = 1 },
        { .name = "a read in two pieces",
          .type = VIRTIO_BLK_T_IN,
          .data = { { data, PAGE }, { data + 2 * PAGE, 2 * PAGE } },
          .changed = 2 },
        { .name = "a read across pages",
          .type = VIRTIO_BLK_T_IN,
          .data = { { at(frontend, UNALIGNED) + PAGE - 512, PAGE } },
          .changed = 1 },
        { .name = "a flush", .type = VIRTIO_BLK_T_FLUSH },
        { .name = "the serial number",
          .type = VIRTIO_BLK_T_GET_ID,
          .data = { { data, 2 * PAGE } },
          .changed = 1,
          .size = VIRTIO_BLK_ID_BYTES },
        { .name = "a read beyond the end",
          .type = VIRTIO_BLK_T_IN,
          .sector = frontend->config.capacity,
          .data = { { data, PAGE } },
          .status = VIRTIO_BLK_S_IOERR },
        { .name = "a serial number without its room",
          .type = VIRTIO_BLK_T_GET_ID,
          .data = { { data, 1 } },
          .status = VIRTIO_BLK_S_IOERR },
        { .name = "an unknown type",
          .type = 77,
          .status = VIRTIO_BLK_S_UNSUPP },
    };
    unsigned int count = sizeof(attempts) / sizeof(attempts[0]);
    int status = 0;

    for (unsigned int i = 0; i < count && status == 0; i++) {
        status = try(frontend, &attempts[i]);
    }
    if (status == 0) {
        printf("%u kinds of requests log what they change\n", count);
    }
    return status;
}

static int try_without_log(struct frontend *frontend)
{
    const struct attempt after = {
        .name = "a read after the end of the log",
        .type = VIRTIO_BLK_T_IN,
        .data = { { at(frontend, DATA), PAGE } },
        .unlogged = true,
    };

    return try(frontend, &after);
}

int dirty(const char *path)
{
    struct frontend frontend;
    int status;

    frontend_start(&frontend, path, SLOT_PAGES * PAGE);
    memset(frontend_data(&frontend, DATA), FILL, SLOT_PAGES * PAGE);
    frontend_log(&frontend, true);
    status = try_all(&frontend);
    frontend_log(&frontend, false);
    if (status == 0) {
        status = try_without_log(&frontend);
    }
    frontend_stop(&frontend);
    return status;
}
