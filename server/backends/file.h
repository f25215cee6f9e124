/* SPDX-License-Identifier: BSD-3-Clause */
/* Internal to the file backend: what its files share. */
#ifndef RDISK_SERVER_BACKENDS_FILE_H
#define RDISK_SERVER_BACKENDS_FILE_H

#include <stdatomic.h>
#include <sys/stat.h>

#include "server/backends/backend.h"

struct file {
    struct backend base;
    int fd;
    bool device;                /* a block device, not a file */
    bool direct;                /* past the page cache */
    atomic_bool no_clone;       /* its file system cannot share blocks */
    char *volume;               /* its name, for messages */
};

struct file_context {
    struct backend_context base;
    int fd;
    int index[RING_KINDS];      /* in the rings' tables of files, or -1 */
    uint64_t failures;
};

static inline struct file *file_of(struct backend *backend)
{
    return backend_of(backend, struct file, base);
}

/* Tell of a failure, unless it is one of too many. Reactor. */
void file_fail(struct file_context *context, struct backend_io *io,
               const char *why);
/* A flag of the queue of the disk that a file is on, or that it is. */
bool file_disk_flag(const struct stat *st, const char *name);
/* Settle whether reads and writes are polled for, when all else is. 0, or a
 * negative errno with @err filled if @spec wants what cannot be. */
int file_choose_polling(struct file *file, const struct backend_spec *spec,
                        const struct stat *st, struct rdisk_error *err);
/* Carry out EXTENTS or COPY, which io_uring does not have. Reactor. */
void file_offload(struct file_context *context, struct backend_io *io);

#endif
