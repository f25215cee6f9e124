/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files and block devices: how they are opened, and their sizes. Their requests
 * are in file_request.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/log.h"
#include "server/backends/file.h"
#include "server/volume/identity.h"
#include "server/volume/lock.h"

/* ---- Open ------------------------------------------------------------- */

/* True if O_DIRECT takes a request of @size bytes at that offset. */
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
 * no way to know, or it is not done for this file. */
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
        return stx.stx_dio_mem_align <= RDISK_BLOCK_SIZE_MAX
                   ? stx.stx_dio_offset_align
                   : 0;
    }
#endif
    /* Kernels before 6.1, and file systems that do not say, are tried. */
    if (direct_takes(fd, RDISK_BLOCK_SIZE_MIN)) {
        return RDISK_BLOCK_SIZE_MIN;
    }
    return direct_takes(fd, RDISK_BLOCK_SIZE_MAX) ? RDISK_BLOCK_SIZE_MAX : 0;
}

/*
 * True if the file is in memory and io_uring would use another thread for each
 * request. Only swapping can make such a file slow.
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

/*
 * True if a read may find half of a block that is being written. A disk ensures
 * that it does not, and with O_DIRECT block devices, ext4 and xfs pass each
 * request on to the disk as it is. The page cache copies without a lock; so may
 * what other file systems do, or the server that they are of.
 */
static bool may_tear(const struct file *file, const struct stat *st)
{
    struct statfs fs;

    if (file->direct && S_ISBLK(st->st_mode)) {
        return false;
    }
    return !file->direct || fstatfs(file->fd, &fs) < 0 ||
           (fs.f_type != EXT4_SUPER_MAGIC && fs.f_type != XFS_SUPER_MAGIC);
}

static void report_buffered(const char *volume, const char *why)
{
    static atomic_bool reported;

    if (!reported) {
        reported = true;
        log_info("volume '%s' is served through the page cache, because %s; "
                 "this is logged only once",
                 volume, why);
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
        why = "its size is not a multiple of its disk's block size";
    } else {
        if (alignment > RDISK_BLOCK_SIZE_MIN) {
            geometry->block_size = alignment;
        }
        file->direct = true;
        return;
    }
    fcntl(file->fd, F_SETFL, flags);
    report_buffered(file->volume, why);
}

static void find_identity(struct file *file, const struct backend_spec *spec,
                          const struct stat *st)
{
    struct backend *base = &file->base;
    struct identity_place place;

    if (spec->identity) {
        identity_of_text(spec->identity, base->identity);
        return;
    }
    if (!S_ISREG(st->st_mode)) {
        identity_of_file(file->fd, st, base->identity);
        return;
    }
    identity_look(file->fd, st, &place);
    base->moved = place.is_stored && !place.in_place;
    base->fresh = !place.is_stored;
    memcpy(base->place, place.here, sizeof(base->place));
    memcpy(base->identity, place.is_stored ? place.stored : place.here,
           sizeof(base->identity));
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
            return rdisk_error_set(
                err, -errno,
                "cannot determine the size of the device of volume '%s': %s",
                spec->volume, strerror(errno));
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
        return rdisk_error_set(err, -EINVAL,
                               "volume '%s' has %" PRIu64 " bytes, not %" PRIu64
                               " as configured",
                               spec->volume, geometry->size, spec->size);
    }
    file->device = S_ISBLK(st.st_mode);
    file->base.inline_io = S_ISREG(st.st_mode) && needs_inline(file->fd);
    geometry->rotational = file_disk_flag(&st, "rotational");
    /* Whether the file system can is found out when it is asked. */
    geometry->discard = true;
    geometry->zeroes = true;
    find_identity(file, spec, &st);
    identity_of_boot(file->base.cache);
    file->base.lasting = true;
    geometry->extents = true;
    geometry->copy = true;
    choose_direct(file, &st);
    file->takes_turns = may_tear(file, &st) ||
                        geometry->block_size > RDISK_BLOCK_SIZE_MIN;
    result = file_choose_polling(file, spec, &st, err);
    return result < 0 ? result : file_sync_open(file, spec, err);
}

/*
 * Two names of one file, or a second server, must not both write. Advisory: it
 * keeps away only those that ask for it.
 */
static int keep_others_away(int fd, const struct backend_spec *spec,
                            struct rdisk_error *err)
{
    int result = lock_file(fd, spec->read_only);

    if (result == -EBUSY) {
        return rdisk_error_set(err, -EBUSY,
                               "the file of volume '%s' is "
                               "locked: another server, or a volume of "
                               "another name, serves it",
                               spec->volume);
    }
    if (result < 0) {
        return rdisk_error_set(err, result,
                               "cannot lock the file of volume '%s', so other "
                               "programs can write to it: %s",
                               spec->volume, strerror(-result));
    }
    return 0;
}

static int open_failed(const struct backend_spec *spec, int code,
                       struct rdisk_error *err)
{
    if (code == -EBUSY) {
        return rdisk_error_set(
            err, code,
            "the device of volume '%s', '%s', is in use on this machine: "
            "mounted, part of another device, or open in another server; with "
            "read-only = on it can be served",
            spec->volume, spec->path);
    }
    return rdisk_error_set(err, code, "cannot open volume '%s'%s: %s",
                           spec->volume, spec->read_only ? "" : " to write",
                           strerror(-code));
}

static int open_file(const struct backend_spec *spec, struct rdisk_error *err)
{
    bool strict = spec->directory != AT_FDCWD;
    int flags = O_CLOEXEC | (spec->read_only ? O_RDONLY : O_RDWR) |
                (strict ? O_NOFOLLOW : 0);
    struct stat st;
    int fd, result;

    /* Looked at before it is opened: opening a FIFO may block indefinitely. */
    if (fstatat(spec->directory, spec->path, &st,
                strict ? AT_SYMLINK_NOFOLLOW : 0) < 0) {
        if (errno == ENOENT && strict) {
            return rdisk_error_set(err, -ENOENT, "there is no volume '%s'",
                                   spec->volume);
        }
        return rdisk_error_set(err, -errno,
                               "cannot find '%s' of volume "
                               "'%s': %s",
                               spec->path, spec->volume, strerror(errno));
    }
    if (!S_ISREG(st.st_mode) && (strict || !S_ISBLK(st.st_mode))) {
        return rdisk_error_set(err, -EINVAL, "volume '%s' is not a file%s",
                               spec->volume,
                               strict ? "" : " or a block device");
    }
    /* What the kernel has taken for itself, it refuses to give then. */
    if (S_ISBLK(st.st_mode) && !spec->read_only) {
        flags |= O_EXCL;
    }
    fd = openat(spec->directory, spec->path, flags);
    if (fd < 0) {
        return open_failed(spec, -errno, err);
    }
    result = keep_others_away(fd, spec, err);
    if (result < 0) {
        close(fd);
        return result;
    }
    return fd;
}

static void file_close(struct backend *backend)
{
    struct file *file = file_of(backend);

    file_sync_close(file);
    range_lock_destroy(&file->ranges);
    if (file->fd >= 0) {
        close(file->fd);
    }
    free(file->volume);
    free(file);
}

static struct backend *file_open(const struct backend_spec *spec,
                                 struct rdisk_error *err)
{
    struct file *file;

    if (!spec->path) {
        rdisk_error_set(err, -EINVAL,
                        "volume '%s' needs path=, its file or "
                        "block device",
                        spec->volume);
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
    file->sync.fd = -1;
    file->range_time = FILE_RANGE_MS * RDISK_MSEC;
    range_lock_init(&file->ranges);
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
        return rdisk_error_set(err, -ENOTSUP,
                               "volume '%s' is a block device: "
                               "resize that",
                               file->volume);
    }
    if (size % backend->geometry.block_size) {
        return rdisk_error_set(err, -EINVAL,
                               "the new size of volume '%s', "
                               "%" PRIu64 " bytes, is not a multiple of its "
                               "block size, %u",
                               file->volume, size,
                               backend->geometry.block_size);
    }
    /* A write that a shrinking overtook may have left something there. */
    if ((size > backend->geometry.size &&
         (uint64_t)st.st_size > backend->geometry.size &&
         ftruncate(file->fd, backend->geometry.size) < 0) ||
        ftruncate(file->fd, size) < 0) {
        return rdisk_error_set(err, -errno, "cannot resize volume '%s': %s",
                               file->volume, strerror(errno));
    }
    if (fsync(file->fd) < 0) {
        int result = -errno;

        file_sync_fail(file, result);
        return rdisk_error_set(err, result, "cannot resize volume '%s': %s",
                               file->volume, strerror(-result));
    }
    return 0;
}

static int file_identify(struct backend *backend)
{
    if (backend->geometry.read_only) {
        return -EROFS;
    }
    return identity_store(file_of(backend)->fd, backend->identity,
                          backend->place);
}

static int file_identified(struct backend *backend, struct rdisk_error *err)
{
    return file_sync_identified(file_of(backend), err);
}

static uint64_t file_changed(struct backend *backend)
{
    struct stat st;

    if (fstat(file_of(backend)->fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        return 0;
    }
    return st.st_mtim.tv_sec * 1000000000ull + st.st_mtim.tv_nsec;
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

const struct backend_class backend_file = {
    .name = "file",
    .has_path = true,
    .open = file_open,
    .close = file_close,
    .resize = file_resize,
    .identify = file_identify,
    .identified = file_identified,
    .changed = file_changed,
    .sync = file_sync_now,
    .share = file_share,
    .copy = file_copy,
    .allocated = file_allocated,
    .join = file_join,
    .leave = file_leave,
    .submit = file_submit,
};
