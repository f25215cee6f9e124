/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A hostile guest of rdisk-vhost: the input is the guest's memory, with a ring
 * of 16 descriptors at its beginning, the available ring behind them, and
 * whatever they point to. Nothing may reach beyond that memory, and every
 * request ends.
 */
#include <stdlib.h>

#include "fuzz.h"
#include <libvhost-user.h>
#include "tests/unit/support/unit.h"
#include "vhost-user-blk/request.h"

#define MEMORY    8192u
#define RING      16u
#define AVAILABLE 256u /* offsets in the memory */
#define USED      512u
#define LOG_SIZE  1u /* bytes: pages below 8 are noted */
#define TURNS     64u

static _Alignas(4096) uint8_t memory[MEMORY];
static uint8_t log_table[LOG_SIZE + 4096];

static void panicked(VuDev *dev, const char *text)
{
}

static void set_watch(VuDev *dev, int fd, int condition, vu_watch_cb callback,
                      void *data)
{
}

static void remove_watch(VuDev *dev, int fd)
{
}

static void inside(const struct iovec *iov, unsigned int count)
{
    for (unsigned int i = 0; i < count; i++) {
        const uint8_t *p = iov[i].iov_base;

        CHECK(iov[i].iov_len == 0 ||
              (p >= memory && iov[i].iov_len <= MEMORY &&
               p - memory <= (ptrdiff_t)(MEMORY - iov[i].iov_len)));
    }
}

static void take(VuDev *dev, VuVirtq *vq, VuVirtqElement *element)
{
    struct blk_limits limits = {
        .size = 1 << 20,
        .block_size = 512,
        .discard = true,
        .zeroes = true,
    };
    struct blk_command command;
    uint8_t status;

    inside(element->out_sg, element->out_num);
    inside(element->in_sg, element->in_num);
    status = blk_command_parse(&command, element->out_sg, element->out_num,
                               element->in_sg, element->in_num, &limits);
    if (command.status) {
        CHECK(command.status >= memory && command.status < memory + MEMORY);
        if (status == 0) {
            inside(command.data, command.data_count);
            CHECK(command.offset <= limits.size &&
                  command.length <= limits.size - command.offset);
        }
        *command.status = status;
        vu_queue_push(dev, vq, element, command.length + 1);
    }
    free(element);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const VuDevIface iface;
    struct fuzz_input input = { data, size };
    uint8_t flags = fuzz_byte(&input);
    VuVirtqElement *element;
    VuVirtq *vq;
    VuDev dev;

    memset(memory, 0, sizeof(memory));
    memcpy(memory, input.data, input.size < MEMORY ? input.size : MEMORY);
    REQUIRE(
        vu_init(&dev, 1, 0, panicked, NULL, set_watch, remove_watch, &iface));
    dev.regions[0] = (VuDevRegion) {
        .size = MEMORY,
        .mmap_addr = (uintptr_t)memory,
    };
    dev.nregions = 1;
    dev.features = 1ull << VIRTIO_F_VERSION_1 |
                   (flags & 1 ? 1ull << VIRTIO_RING_F_EVENT_IDX : 0) |
                   (flags & 2 ? 1ull << VIRTIO_RING_F_INDIRECT_DESC : 0) |
                   (flags & 4 ? 1ull << VHOST_F_LOG_ALL : 0);
    dev.log_table = log_table;
    dev.log_size = LOG_SIZE;
    vq = vu_get_queue(&dev, 0);
    vq->vring = (VuRing) {
        .num = RING,
        .desc = (void *)memory,
        .avail = (void *)(memory + AVAILABLE),
        .used = (void *)(memory + USED),
    };
    vq->enable = vq->started = 1;
    for (unsigned int i = 0;
         i < TURNS && !dev.broken &&
         (element = vu_queue_pop(&dev, vq, sizeof(*element)));
         i++) {
        take(&dev, vq, element);
    }
    /* Its memory and its log are ours, and 0 is not its socket. */
    dev.log_table = NULL;
    dev.nregions = 0;
    dev.sock = -1;
    vu_deinit(&dev);
    return 0;
}
