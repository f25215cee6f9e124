/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/volume/drain.h"

#include "common/thread.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The link to the volume's entry, or to the end of the list. */
static struct drain_volume **find(struct drain *drain, const char *volume)
{
    struct drain_volume **link = &drain->volumes;

    while (*link && strcmp((*link)->name, volume) != 0) {
        link = &(*link)->next;
    }
    return link;
}

static void remove_volume(struct drain_volume **link)
{
    struct drain_volume *entry = *link;

    *link = entry->next;
    free(entry);
}

int drain_begin(struct drain *drain, const char *volume,
                struct rdisk_error *err)
{
    struct drain_volume **link = find(drain, volume);

    assert_control_thread();
    if (!volume[0]) {
        drain->all = true;
        return 0;
    }
    if (*link) {
        return 0;
    }
    *link = calloc(1, sizeof(**link));
    if (!*link) {
        return rdisk_error_set(err, -ENOMEM,
                               "no memory to note that volume "
                               "'%s' is drained",
                               volume);
    }
    snprintf((*link)->name, sizeof((*link)->name), "%s", volume);
    return 0;
}

int drain_end(struct drain *drain, const char *volume, struct rdisk_error *err)
{
    struct drain_volume **link = find(drain, volume);

    assert_control_thread();
    if (!volume[0]) {
        drain->all = false;
        while (drain->volumes) {
            remove_volume(&drain->volumes);
        }
        return 0;
    }
    if (drain->all) {
        return rdisk_error_set(err, -EINVAL,
                               "the whole server is drained; "
                               "'rdisk resume' without a volume ends that");
    }
    if (!*link) {
        return rdisk_error_set(err, -EINVAL, "volume '%s' is not drained",
                               volume);
    }
    remove_volume(link);
    return 0;
}

bool drain_covers(const struct drain *drain, const char *volume)
{
    const struct drain_volume *entry = drain->volumes;

    assert_control_thread();
    while (entry && strcmp(entry->name, volume) != 0) {
        entry = entry->next;
    }
    return drain->all || entry;
}
