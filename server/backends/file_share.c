/* SPDX-License-Identifier: BSD-3-Clause */
/* Another file gets a volume's data without a copy: file systems with reflinks
 * (XFS, btrfs) do that by one call, whatever the size. A job's thread. */
#include <errno.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "server/backends/file.h"

int file_sync_now(struct backend *backend, struct rdisk_error *err)
{
    struct file *file = file_of(backend);
    int result = file_sync_failed(file) ? -EIO : 0;

    if (result == 0 && fsync(file->fd) < 0) {
        result = -errno;
    }
    if (result == 0) {
        return 0;
    }
    if (!backend->geometry.read_only) {
        file_sync_fail(file, result);
    }
    return rdisk_error_set(err, result, "cannot flush volume '%s': %s",
                           file->volume, strerror(-result));
}

/* For people: why it has no reflinks. */
static const char *describe(int fd)
{
    struct statfs fs;

    switch (fstatfs(fd, &fs) == 0 ? fs.f_type : 0) {
    case EXT4_SUPER_MAGIC:
        return "ext4";
    case TMPFS_MAGIC:
        return "tmpfs";
    case XFS_SUPER_MAGIC:
        return "XFS made without reflink=1";
    case NFS_SUPER_MAGIC:
        return "NFS";
    default:
        return "of this kind";
    }
}

static int cannot_share(const struct file *file, struct rdisk_error *err)
{
    if (file->device) {
        return rdisk_error_set(err, -ENOTSUP,
                               "volume '%s' is a block device, which shares no "
                               "blocks with a file",
                               file->volume);
    }
    return rdisk_error_set(err, -ENOTSUP,
                           "the file system of volume '%s', %s, cannot share "
                           "blocks between files: use XFS or btrfs for the "
                           "pool directory, or --copy",
                           file->volume, describe(file->fd));
}

int file_share(struct backend *backend, int fd, struct rdisk_error *err)
{
    struct file *file = file_of(backend);
    int result;

    if (file->device) {
        return cannot_share(file, err);
    }
    if (ioctl(fd, FICLONE, file->fd) < 0) {
        result = -errno;
        if (result == -EOPNOTSUPP || result == -ENOTTY || result == -EXDEV ||
            result == -EINVAL) {
            return cannot_share(file, err);
        }
        return rdisk_error_set(err, result,
                               "cannot share the blocks of volume '%s': %s",
                               file->volume, strerror(-result));
    }
    /* A file may be longer than its volume. */
    return ftruncate(fd, (off_t)backend->geometry.size) < 0
               ? rdisk_error_set(err, -errno,
                                 "cannot share the blocks of volume '%s': %s",
                                 file->volume, strerror(errno))
               : 0;
}

/* ---- Copy --------------------------------------------------------------- */

/* Of one call: a part of a second on any disk. */
#define CALL_BYTES  (32u << 20)
#define PIECE_BYTES (1u << 20)

/* @length bytes at @offset, which are data. */
static int copy_data(struct file *file, int fd, void *buffer, uint64_t offset,
                     uint64_t length)
{
    while (length) {
        size_t piece = length < PIECE_BYTES ? length : PIECE_BYTES;
        ssize_t n = pread(file->fd, buffer, piece, (off_t)offset);

        if (n > 0) {
            n = pwrite(fd, buffer, n, (off_t)offset);
        }
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? -errno : -EIO;
        }
        offset += n;
        length -= n;
    }
    return 0;
}

/* What lies between *@done and @size: its next data, at most @limit bytes of
 * it. *@done is behind that then. Bytes copied, or a negative errno. */
static int64_t copy_run(struct file *file, int fd, void *buffer, uint64_t *done,
                        uint64_t size, uint64_t limit)
{
    off_t data = lseek(file->fd, (off_t)*done, SEEK_DATA), hole;
    uint64_t end;
    int result;

    if (data < 0 && errno != ENXIO) {
        return -errno;
    }
    if (data < 0 || (uint64_t)data >= size) {
        *done = size;
        return 0;
    }
    hole = lseek(file->fd, data, SEEK_HOLE);
    if (hole < 0) {
        return -errno;
    }
    /* Whole blocks, as O_DIRECT wants. */
    data -= data % RDISK_BLOCK_SIZE_MAX;
    end = (uint64_t)hole + RDISK_BLOCK_SIZE_MAX - 1;
    end -= end % RDISK_BLOCK_SIZE_MAX;
    end = end < size ? end : size;
    end = end - data < limit ? end : data + limit;
    result = copy_data(file, fd, buffer, data, end - data);
    if (result < 0) {
        return result;
    }
    *done = end;
    return (int64_t)(end - data);
}

int file_copy(struct backend *backend, int fd, uint64_t *done, uint64_t size,
              struct rdisk_error *err)
{
    struct file *file = file_of(backend);
    uint64_t left = CALL_BYTES;
    void *buffer = NULL;
    int64_t n = 0;

    if (posix_memalign(&buffer, RDISK_BLOCK_SIZE_MAX, PIECE_BYTES)) {
        n = -ENOMEM;
    } else if (*done == 0 && ftruncate(fd, (off_t)size) < 0) {
        n = -errno;
    }
    while (n >= 0 && *done < size && left) {
        n = copy_run(file, fd, buffer, done, size, left);
        left -= n > 0 ? (uint64_t)n : 0;
    }
    free(buffer);
    return n < 0 ? rdisk_error_set(err, (int)n,
                                   "cannot copy the data of volume '%s': %s",
                                   file->volume, strerror((int)-n))
                 : 0;
}
