/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files and block devices, through the reactor's io_uring.
 *
 * Requests go from and to the slot as it lies, past the page cache (O_DIRECT)
 * where the file system can; the descriptor and the slots are registered with
 * the ring, so that a request costs neither a look-up nor the pinning of pages.
 *
 * A file system in memory that takes no request with RWF_NOWAIT (tmpfs does
 * not) would have io_uring give every one to a worker thread, only for a copy.
 * There the reactor makes the system call itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "server/backends/file.h"
#include "server/volume/identity.h"
#include "server/log.h"

/* ---- Open ------------------------------------------------------------- */

/* Does O_DIRECT take a request of @size bytes at that offset? */
static bool direct_takes(int fd, uint32_t size)
{
    void *buffer;
    ssize_t n;

    if (posix_memalign(&buffer, RDISK_BLOCK_SIZE_MAX, size)) {
        return false;
    }
    do {
        n = pread(fd, buffer, size, size);
    } while (n < 0 && errno == EINTR);
    free(buffer);
    return n >= 0;
}

/* What offsets and lengths must be a multiple of with O_DIRECT; 0: there is
 * no telling, or it is not done for this file. */
static uint32_t direct_alignment(int fd, const struct stat *st)
{
    int sector;

    if (S_ISBLK(st->st_mode) && ioctl(fd, BLKSSZGET, &sector) == 0) {
        return sector;
    }
#ifdef STATX_DIOALIGN
    struct statx stx;

    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) == 0 &&
        (stx.stx_mask & STATX_DIOALIGN)) {
        return stx.stx_dio_mem_align <= RDISK_BLOCK_SIZE_MAX ?
               stx.stx_dio_offset_align : 0;
    }
#endif
    /* Kernels before 6.1, and file systems that do not say, are tried. */
    if (direct_takes(fd, RDISK_BLOCK_SIZE_MIN)) {
        return RDISK_BLOCK_SIZE_MIN;
    }
    return direct_takes(fd, RDISK_BLOCK_SIZE_MAX) ? RDISK_BLOCK_SIZE_MAX : 0;
}

/*
 * Is it memory, and does io_uring have to wait for it in another thread? Only
 * swapping can make such a file slow; one on a device is never asked for here.
 */
static bool needs_inline(int fd)
{
    struct statfs fs;
    char byte;
    struct iovec iov = { .iov_base = &byte, .iov_len = 1 };

    return fstatfs(fd, &fs) == 0 &&
           (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC) &&
           preadv2(fd, &iov, 1, 0, RWF_NOWAIT) < 0 && errno == EOPNOTSUPP;
}

static void say_buffered(const char *volume, const char *why)
{
    static bool said;           /* control thread */

    if (!said) {
        said = true;
        log_info("volume '%s' is served through the page cache, because %s; "
                 "other such volumes will be too, without a word", volume,
                 why);
    }
}

/* Settle O_DIRECT and the block size. */
static void choose_direct(struct file *file, const struct stat *st)
{
    struct backend_geometry *geometry = &file->base.geometry;
    int flags = fcntl(file->fd, F_GETFL);
    uint32_t alignment = 0;
    const char *why;

    geometry->block_size = RDISK_BLOCK_SIZE_MIN;
    if (fcntl(file->fd, F_SETFL, flags | O_DIRECT) == 0) {
        alignment = direct_alignment(file->fd, st);
    }
    if (alignment == 0 || alignment > RDISK_BLOCK_SIZE_MAX) {
        why = "its file system has no O_DIRECT";
    } else if (geometry->size % alignment) {
        why = "its size is no multiple of its disk's block size";
    } else {
        if (alignment > RDISK_BLOCK_SIZE_MIN) {
            geometry->block_size = alignment;
        }
        file->direct = true;
        return;
    }
    fcntl(file->fd, F_SETFL, flags);
    say_buffered(file->volume, why);
}

static int find_geometry(struct file *file, const struct backend_spec *spec,
                         struct rdisk_error *err)
{
    struct backend_geometry *geometry = &file->base.geometry;
    unsigned int optimal = 0;
    struct stat st;
    int result;

    if (fstat(file->fd, &st) < 0) {
        return rdisk_error_set(err, -errno, "cannot stat volume '%s': %s",
                               spec->volume, strerror(errno));
    }
    if (S_ISBLK(st.st_mode)) {
        if (ioctl(file->fd, BLKGETSIZE64, &geometry->size) < 0) {
            return rdisk_error_set(err, -errno, "cannot tell the size of the "
                                   "device of volume '%s': %s", spec->volume,
                                   strerror(errno));
        }
        ioctl(file->fd, BLKIOOPT, &optimal);
    } else {
        geometry->size = st.st_size;
        optimal = st.st_blksize;
    }
    geometry->optimal_size = optimal;
    result = backend_check_size(spec->volume, geometry->size, err);
    if (result < 0) {
        return result;
    }
    if (spec->size && spec->size != geometry->size) {
        return rdisk_error_set(err, -EINVAL, "volume '%s' has %" PRIu64
                               " bytes, not %" PRIu64 " as configured",
                               spec->volume, geometry->size, spec->size);
    }
    file->device = S_ISBLK(st.st_mode);
    file->base.inline_io = S_ISREG(st.st_mode) && needs_inline(file->fd);
    geometry->rotational = file_disk_flag(&st, "rotational");
    /* Whether the file system can is found out when it is asked. */
    geometry->discard = true;
    geometry->zeroes = true;
    identity_of_file(file->fd, &st, file->base.identity);
    identity_of_boot(file->base.cache);
    file->base.lasting = true;
    geometry->extents = true;
    geometry->copy = true;
    choose_direct(file, &st);
    return file_choose_polling(file, spec, &st, err);
}

/*
 * Two names of one file, or a second server, must not both write. Advisory:
 * it keeps away those who ask.
 */
static int lock_file(int fd, const struct backend_spec *spec,
                     struct rdisk_error *err)
{
    if (flock(fd, (spec->read_only ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0 ||
        errno != EWOULDBLOCK) {
        return 0;
    }
    return rdisk_error_set(err, -EBUSY, "the file of volume '%s' is locked: "
                           "another server, or a volume of another name, "
                           "serves it", spec->volume);
}

static int open_file(const struct backend_spec *spec, struct rdisk_error *err)
{
    bool strict = spec->directory != AT_FDCWD;
    int flags = O_CLOEXEC | (spec->read_only ? O_RDONLY : O_RDWR) |
                (strict ? O_NOFOLLOW : 0);
    struct stat st;
    int fd, result;

    /* Looked at before it is opened: opening a FIFO may wait for ever. */
    if (fstatat(spec->directory, spec->path, &st,
                strict ? AT_SYMLINK_NOFOLLOW : 0) < 0) {
        if (errno == ENOENT && strict) {
            return rdisk_error_set(err, -ENOENT, "there is no volume '%s'",
                                   spec->volume);
        }
        return rdisk_error_set(err, -errno, "cannot find '%s' of volume "
                               "'%s': %s", spec->path, spec->volume,
                               strerror(errno));
    }
    if (!S_ISREG(st.st_mode) && (strict || !S_ISBLK(st.st_mode))) {
        return rdisk_error_set(err, -EINVAL, "volume '%s' is not a file%s",
                               spec->volume,
                               strict ? "" : " or a block device");
    }
    fd = openat(spec->directory, spec->path, flags);
    if (fd < 0) {
        return rdisk_error_set(err, -errno, "cannot open volume '%s'%s: %s",
                               spec->volume,
                               spec->read_only ? "" : " to write",
                               strerror(errno));
    }
    result = lock_file(fd, spec, err);
    if (result < 0) {
        close(fd);
        return result;
    }
    return fd;
}

static void file_close(struct backend *backend)
{
    struct file *file = file_of(backend);

    if (file->fd >= 0) {
        close(file->fd);
    }
    free(file->volume);
    free(file);
}

static struct backend *file_open(const struct backend_spec *spec,
                                 struct backend *next, struct rdisk_error *err)
{
    struct file *file;

    if (!spec->path) {
        rdisk_error_set(err, -EINVAL, "volume '%s' needs path=, its file or "
                        "block device", spec->volume);
        return NULL;
    }
    file = calloc(1, sizeof(*file));
    if (!file || !(file->volume = strdup(spec->volume))) {
        rdisk_error_set(err, -ENOMEM, "no memory for volume '%s'",
                        spec->volume);
        free(file);
        return NULL;
    }
    file->base.class = &backend_file;
    file->base.geometry.read_only = spec->read_only;
    file->fd = open_file(spec, err);
    if (file->fd < 0 || find_geometry(file, spec, err) < 0) {
        file_close(&file->base);
        return NULL;
    }
    return &file->base;
}

static int file_resize(struct backend *backend, uint64_t size,
                       struct rdisk_error *err)
{
    struct file *file = file_of(backend);
    struct stat st;

    if (fstat(file->fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        return rdisk_error_set(err, -ENOTSUP, "volume '%s' is a block device: "
                               "resize that", file->volume);
    }
    if (size % backend->geometry.block_size) {
        return rdisk_error_set(err, -EINVAL, "the new size of volume '%s', "
                               "%" PRIu64 " bytes, is no multiple of its "
                               "block size, %u", file->volume, size,
                               backend->geometry.block_size);
    }
    /* A write that a shrinking overtook may have left something there. */
    if ((size > backend->geometry.size &&
         (uint64_t)st.st_size > backend->geometry.size &&
         ftruncate(file->fd, backend->geometry.size) < 0) ||
        ftruncate(file->fd, size) < 0 || fsync(file->fd) < 0) {
        return rdisk_error_set(err, -errno, "cannot resize volume '%s': %s",
                               file->volume, strerror(errno));
    }
    backend->geometry.size = size;
    return 0;
}

static int file_allocated(struct backend *backend, uint64_t *bytes)
{
    struct file *file = file_of(backend);
    struct stat st;

    *bytes = backend->geometry.size;
    if (file->device) {
        return 0;
    }
    if (fstat(file->fd, &st) < 0) {
        return -errno;
    }
    *bytes = (uint64_t)st.st_blocks * 512;
    return 0;
}

/* ---- Requests --------------------------------------------------------- */

static struct backend_context *file_join(struct backend *backend,
                                         struct reactor *reactor,
                                         struct rdisk_error *err)
{
    struct file_context *context = calloc(1, sizeof(*context));

    if (!context) {
        rdisk_error_set(err, -ENOMEM, "no memory for volume '%s'",
                        file_of(backend)->volume);
        return NULL;
    }
    context->base.backend = backend;
    context->base.reactor = reactor;
    context->base.polled = backend->polled && reactor_polls(reactor);
    context->fd = file_of(backend)->fd;
    context->index[RING_ORDINARY] = reactor_file_add(reactor, RING_ORDINARY,
                                                     context->fd);
    context->index[RING_POLLED] = context->base.polled ?
        reactor_file_add(reactor, RING_POLLED, context->fd) : -1;
    return &context->base;
}

static void file_leave(struct backend_context *base)
{
    struct file_context *context =
        backend_of(base, struct file_context, base);

    for (unsigned int ring = 0; ring < RING_KINDS; ring++) {
        reactor_file_remove(base->reactor, ring, context->index[ring]);
    }
    free(context);
}

static const char *op_name(enum rdisk_op op)
{
    static const char *const names[] = {
        [RDISK_OP_READ] = "read",
        [RDISK_OP_WRITE] = "write",
        [RDISK_OP_FLUSH] = "flush",
        [RDISK_OP_DISCARD] = "discard",
        [RDISK_OP_ZEROES] = "zeroes",
        [RDISK_OP_EXTENTS] = "extents",
        [RDISK_OP_COPY] = "copy",
    };

    return names[op];
}

void file_fail(struct file_context *context, struct backend_io *io,
               const char *why)
{
    uint64_t n = ++context->failures;

    /* A dying disk fails every request: tell of the 1st, 2nd, 4th, 8th… */
    if ((n & (n - 1)) == 0) {
        log_error("volume '%s': %s of %u bytes at %" PRIu64 " failed: %s "
                  "(failure %" PRIu64 ")",
                  file_of(context->base.backend)->volume, op_name(io->op),
                  io->length, io->offset, why, n);
    }
}

/* How to give space back, or to zero without doing so. */
static int fallocate_mode(const struct backend_io *io)
{
    bool unmap = io->op == RDISK_OP_DISCARD ||
                 (io->flags & RDISK_REQUEST_UNMAP);

    return FALLOC_FL_KEEP_SIZE | (unmap ? FALLOC_FL_PUNCH_HOLE
                                        : FALLOC_FL_ZERO_RANGE);
}

/* Only what a disk does by one command: FUA may take a flush of the kernel's
 * beside it, and all else is not asked for where it completes. */
static enum ring_kind ring_for(const struct file_context *context,
                               const struct backend_io *io)
{
    bool plain = io->op == RDISK_OP_READ ||
                 (io->op == RDISK_OP_WRITE &&
                  !(io->flags & RDISK_REQUEST_FUA));

    return context->base.polled && plain ? RING_POLLED : RING_ORDINARY;
}

/* Put what is left of @io on a ring. */
static void file_queue(struct file_context *context, struct backend_io *io)
{
    enum ring_kind ring = ring_for(context, io);
    struct io_uring_sqe *sqe = reactor_sqe(context->base.reactor, ring);
    bool registered = context->index[ring] >= 0;
    int fd = registered ? context->index[ring] : context->fd;
    int buffer = io->buffer[ring];
    char *data = (char *)io->data + io->done;
    uint32_t length = io->length - io->done;
    uint64_t offset = io->offset + io->done;

    switch (io->op) {
    case RDISK_OP_READ:
        if (buffer >= 0) {
            io_uring_prep_read_fixed(sqe, fd, data, length, offset, buffer);
        } else {
            io_uring_prep_read(sqe, fd, data, length, offset);
        }
        break;
    case RDISK_OP_WRITE:
        if (buffer >= 0) {
            io_uring_prep_write_fixed(sqe, fd, data, length, offset, buffer);
        } else {
            io_uring_prep_write(sqe, fd, data, length, offset);
        }
        if (io->flags & RDISK_REQUEST_FUA) {
            sqe->rw_flags = RWF_DSYNC;
        }
        break;
    case RDISK_OP_FLUSH:
        io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
        break;
    case RDISK_OP_DISCARD:
    case RDISK_OP_ZEROES:
        if (io->done) {
            /* There are its zeroes, and it asked for FUA. */
            io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
        } else {
            io_uring_prep_fallocate(sqe, fd, fallocate_mode(io), io->offset,
                                    io->length);
        }
        break;
    case RDISK_OP_EXTENTS:
    case RDISK_OP_COPY:
        break;                  /* not the ring's: file_offload.c */
    }
    if (registered) {
        sqe->flags |= IOSQE_FIXED_FILE;
    }
    io->polled = ring == RING_POLLED;
    reactor_sqe_set(sqe, &io->ring);
}

/* As the ring would, but now. What is in memory is as stable as it gets, so
 * FUA adds nothing. */
static int file_do(struct file_context *context, const struct backend_io *io)
{
    char *data = (char *)io->data + io->done;
    uint32_t length = io->length - io->done;
    uint64_t offset = io->offset + io->done;
    ssize_t n = io->op == RDISK_OP_READ ?
                pread(context->fd, data, length, offset) :
                io->op == RDISK_OP_WRITE ?
                pwrite(context->fd, data, length, offset) :
                fdatasync(context->fd);

    return n < 0 ? -errno : (int)n;
}

static void file_done(struct ring_op *op, int result, unsigned int flags);

static void file_start(struct file_context *context, struct backend_io *io)
{
    /* Giving back a large range takes long even in memory. */
    if (context->base.backend->inline_io && !rdisk_op_is_range(io->op)) {
        file_done(&io->ring, file_do(context, io), 0);
    } else {
        file_queue(context, io);
    }
}

/* It could when it was opened; that disk, or its driver, has been changed. */
static void file_stop_polling(struct file_context *context)
{
    if (context->base.polled) {
        context->base.polled = false;
        log_warning("volume '%s' cannot be polled for any more: its requests "
                    "wait for the disk's interrupts",
                    file_of(context->base.backend)->volume);
    }
}

static void file_done(struct ring_op *op, int result, unsigned int flags)
{
    struct backend_io *io = backend_of(op, struct backend_io, ring);
    struct file_context *context =
        backend_of(io->context, struct file_context, base);
    uint32_t block_size = io->context->backend->geometry.block_size;
    uint32_t done;

    if (result == -EINTR || result == -EAGAIN) {
        file_start(context, io);
        return;
    }
    if (result == -EOPNOTSUPP && io->polled) {
        file_stop_polling(context);
        file_start(context, io);
        return;
    }
    if (result < 0) {
        /* That a file system cannot do it is no failure. */
        if (result != -ENOTSUP || !rdisk_op_is_range(io->op)) {
            file_fail(context, io, strerror(-result));
        }
        backend_io_complete(io, result);
        return;
    }
    if (rdisk_op_is_range(io->op) && !io->done &&
        (io->flags & RDISK_REQUEST_FUA)) {
        io->done = io->length;
        file_start(context, io);
        return;
    }
    if (io->op == RDISK_OP_FLUSH || rdisk_op_is_range(io->op)) {
        backend_io_complete(io, 0);
        return;
    }
    /* A short transfer goes on at the last whole block. */
    done = (io->done + result) / block_size * block_size;
    if (done == io->length) {
        backend_io_complete(io, 0);
    } else if (done > io->done) {
        io->done = done;
        file_start(context, io);
    } else {
        file_fail(context, io, "the file ends before the volume does; was it "
                  "truncated?");
        backend_io_complete(io, -EIO);
    }
}

static void file_submit(struct backend_context *base, struct backend_io *io)
{
    struct file_context *context =
        backend_of(base, struct file_context, base);

    if (io->op == RDISK_OP_ZEROES && (io->flags & RDISK_REQUEST_FAST) &&
        !(io->flags & RDISK_REQUEST_UNMAP) &&
        file_of(base->backend)->device) {
        /* The kernel would write them if the device has no command for it. */
        backend_io_complete(io, -ENOTSUP);
        return;
    }
    io->context = base;
    io->done = 0;
    if (io->op == RDISK_OP_EXTENTS || io->op == RDISK_OP_COPY) {
        file_offload(context, io);
        return;
    }
    io->ring.done = file_done;
    file_start(context, io);
}

const struct backend_class backend_file = {
    .name = "file",
    .open = file_open,
    .close = file_close,
    .resize = file_resize,
    .allocated = file_allocated,
    .join = file_join,
    .leave = file_leave,
    .submit = file_submit,
};
