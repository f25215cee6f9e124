/* SPDX-License-Identifier: BSD-3-Clause */
/* Another file gets a volume's data without a copy: file systems with reflinks
 * (XFS, btrfs) do that by one call, whatever the size. A job's thread. */
#include <errno.h>
#include <linux/fs.h>
#include <linux/magic.h>
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
                           "pool directory",
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
