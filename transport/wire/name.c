/* SPDX-License-Identifier: BSD-3-Clause */
/* The names of volumes and clients. */
#include <errno.h>
#include <string.h>

#include <rdisk/error.h>
#include <rdisk/protocol.h>

static bool name_valid(const char *name, size_t length, size_t max)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+@,";

    if (length < 1 || length > max || name[0] == '.' || name[0] == '-') {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        if (!name[i] || !strchr(allowed, name[i])) {
            return false;
        }
    }
    return true;
}

bool rdisk_volume_name_valid(const char *name, size_t length)
{
    return name_valid(name, length, RDISK_VOLUME_NAME_MAX);
}

bool rdisk_user_name_valid(const char *name, size_t length)
{
    return name_valid(name, length, RDISK_USER_NAME_MAX);
}

static int name_check(const char *what, const char *name, size_t length,
                      size_t max, struct rdisk_error *err)
{
    if (name_valid(name, length, max)) {
        return 0;
    }
    return rdisk_error_set(err, -EINVAL,
                           "invalid %s name '%.140s': use 1-%zu of "
                           "[A-Za-z0-9._+@,-], not starting with '.' or '-'",
                           what, name, max);
}

int rdisk_volume_name_check(const char *name, size_t length,
                            struct rdisk_error *err)
{
    return name_check("volume", name, length, RDISK_VOLUME_NAME_MAX, err);
}

int rdisk_user_name_check(const char *name, size_t length,
                          struct rdisk_error *err)
{
    return name_check("client", name, length, RDISK_USER_NAME_MAX, err);
}
