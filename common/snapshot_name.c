/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/snapshot_name.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

bool snapshot_is_name(const char *name)
{
    return strchr(name, '@') != NULL;
}

size_t snapshot_volume_length(const char *name)
{
    return strcspn(name, "@");
}

char *snapshot_volume(const char *name, char volume[RDISK_VOLUME_NAME_MAX + 1])
{
    snprintf(volume, RDISK_VOLUME_NAME_MAX + 1, "%.*s",
             (int)snapshot_volume_length(name), name);
    return volume;
}

int snapshot_name_check(const char *name, struct rdisk_error *err)
{
    size_t length = snapshot_volume_length(name);
    const char *snapshot = name + length + 1;

    if (name[length] == '@' && rdisk_volume_name_valid(name, strlen(name)) &&
        rdisk_volume_name_valid(snapshot, strlen(snapshot)) &&
        !strchr(snapshot, '@')) {
        return 0;
    }
    return rdisk_error_set(err, -EINVAL,
                           "invalid snapshot name '%.140s': use "
                           "VOLUME@SNAPSHOT, each of [A-Za-z0-9._+,-], not "
                           "starting with '.' or '-', %d bytes together",
                           name, RDISK_VOLUME_NAME_MAX);
}
