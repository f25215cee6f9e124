/* SPDX-License-Identifier: BSD-3-Clause */
/* What a status means: words for a person, an errno for a block layer. */
#include <errno.h>

#include "transport/wire/wire.h"

static const struct {
    const char *text;
    int code;
} statuses[RDISK_STATUS_COUNT] = {
    [RDISK_STATUS_OK] = { "success", 0 },
    [RDISK_STATUS_IO_ERROR] = { "the server's storage failed", EIO },
    [RDISK_STATUS_OUT_OF_RANGE] = { "beyond the end of the volume", EINVAL },
    [RDISK_STATUS_MISALIGNED] = { "not aligned to the block size", EINVAL },
    [RDISK_STATUS_NO_SPACE] = { "the server's storage is full", ENOSPC },
    [RDISK_STATUS_READ_ONLY] = { "the volume is read-only", EROFS },
    [RDISK_STATUS_UNSUPPORTED] = { "not supported by the peer", ENOTSUP },
    [RDISK_STATUS_BAD_VERSION] = { "no common protocol version", EPROTO },
    [RDISK_STATUS_BAD_MESSAGE] = { "malformed message", EPROTO },
    [RDISK_STATUS_NO_VOLUME] = { "no such volume", ENOENT },
    [RDISK_STATUS_BUSY] = { "the volume is in use", EBUSY },
    [RDISK_STATUS_NO_RESOURCES] = { "a limit of the server is reached",
                                    ENOBUFS },
    [RDISK_STATUS_STALE] = { "replaced by a newer session", ESTALE },
    [RDISK_STATUS_DENIED] = { "not allowed", EACCES },
    [RDISK_STATUS_SHUTTING_DOWN] = { "the server is shutting down", ESHUTDOWN },
    [RDISK_STATUS_EXISTS] = { "the volume already exists", EEXIST },
};

const char *rdisk_status_text(unsigned int status)
{
    return status < RDISK_STATUS_COUNT ? statuses[status].text
                                       : "unknown status";
}

int rdisk_status_to_errno(unsigned int status)
{
    return status < RDISK_STATUS_COUNT ? -statuses[status].code : -EIO;
}

enum rdisk_status rdisk_status_from_errno(int code)
{
    switch (code) {
    case 0:
        return RDISK_STATUS_OK;
    case -ENOSPC:
    case -EFBIG:
    case -EDQUOT:
        return RDISK_STATUS_NO_SPACE;
    case -EROFS:
        return RDISK_STATUS_READ_ONLY;
    case -ENOTSUP:
        return RDISK_STATUS_UNSUPPORTED;
    case -ENOENT:
        return RDISK_STATUS_NO_VOLUME;
    case -EBUSY:
        return RDISK_STATUS_BUSY;
    case -EEXIST:
        return RDISK_STATUS_EXISTS;
    case -ESHUTDOWN:
        return RDISK_STATUS_SHUTTING_DOWN;
    case -EACCES:
    case -EPERM:
        return RDISK_STATUS_DENIED;
    case -ENOMEM:
    case -ENOBUFS:
        return RDISK_STATUS_NO_RESOURCES;
    default:
        return RDISK_STATUS_IO_ERROR;
    }
}
