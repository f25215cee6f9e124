/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whether the reads and writes of a file backend are polled for
 * (IORING_SETUP_IOPOLL): that takes O_DIRECT, a disk whose driver has queues
 * without interrupts, and a file system that passes the question on. The
 * kernel reports the first two; the last one is tried.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "server/backends/file.h"

static dev_t disk_of(const struct stat *st)
{
    return S_ISBLK(st->st_mode) ? st->st_rdev : st->st_dev;
}

bool file_disk_flag(const struct stat *st, const char *name)
{
    dev_t disk = disk_of(st);
    /* A partition has no queue of its own; its disk is the folder above. */
    const char *const places[] = { "queue", "../queue" };
    bool flag = false;

    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        char path[128];
        FILE *file;

        snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s/%s", major(disk),
                 minor(disk), places[i], name);
        file = fopen(path, "re");
        if (file) {
            flag = fgetc(file) == '1';
            fclose(file);
            break;
        }
    }
    return flag;
}

/* Read the first block as a reactor would. -EOPNOTSUPP: it cannot be polled
 * for; what else may be wrong with the block is not asked here. */
static int try_polling(int fd, uint32_t block_size)
{
    struct io_uring_cqe *cqe;
    struct io_uring ring;
    void *block;
    int result;

    if (posix_memalign(&block, RDISK_BLOCK_SIZE_MAX, block_size)) {
        return -ENOMEM;
    }
    result = io_uring_queue_init(1, &ring, IORING_SETUP_IOPOLL);
    if (result < 0) {
        free(block);
        return result;
    }
    io_uring_prep_read(io_uring_get_sqe(&ring), fd, block, block_size, 0);
    do {
        result = io_uring_submit_and_wait(&ring, 1);
    } while (result == -EINTR || result == -EAGAIN);
    if (result >= 0) {
        do {
            result = io_uring_wait_cqe(&ring, &cqe);
        } while (result == -EINTR || result == -EAGAIN);
        if (result == 0 && cqe->res == -EOPNOTSUPP) {
            result = cqe->res;
        }
    }
    io_uring_queue_exit(&ring);
    free(block);
    return result < 0 ? result : 0;
}

int file_choose_polling(struct file *file, const struct backend_spec *spec,
                        const struct stat *st, struct rdisk_error *err)
{
    char why[160];
    int result;

    if (spec->polling == BACKEND_POLL_OFF) {
        return 0;
    }
    if (file->base.inline_io) {
        return backend_not_polled(spec, "its file is in memory", err);
    }
    if (!file->direct) {
        return backend_not_polled(spec, "it is served through the page cache",
                                  err);
    }
    if (!file_disk_flag(st, "io_poll")) {
        snprintf(why, sizeof(why),
                 "its disk has no queues without interrupts "
                 "(/sys/dev/block/%u:%u): give its driver some, e.g. "
                 "nvme.poll_queues=2",
                 major(disk_of(st)), minor(disk_of(st)));
        return backend_not_polled(spec, why, err);
    }
    if (spec->polling == BACKEND_POLL_AUTO && file->base.geometry.rotational) {
        return 0;
    }
    result = try_polling(file->fd, file->base.geometry.block_size);
    if (result < 0) {
        snprintf(why, sizeof(why), "io_uring cannot poll for it: %s",
                 strerror(-result));
        return backend_not_polled(spec, why, err);
    }
    file->base.polled = true;
    return 0;
}
