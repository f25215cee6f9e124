/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/volume/volume.h"

#include "common/thread.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct volume *volume_new(const char *name, struct backend *backend,
                          struct rdisk_error *err)
{
    struct volume *volume = calloc(1, sizeof(*volume));

    if (!volume) {
        rdisk_error_set(err, -ENOMEM, "no memory for volume '%s'", name);
        return NULL;
    }
    snprintf(volume->name, sizeof(volume->name), "%s", name);
    volume->backend = backend;
    return volume;
}

void volume_free(struct volume *volume)
{
    if (volume->backend) {
        volume->backend->class->close(volume->backend);
    }
    free(volume);
}

/*
 * True if this writer has lost the volume to another one. Its requests may
 * still be in flight, which matters to others that share the volume, too.
 */
static bool has_lost(const struct volume *volume,
                     const struct volume_holder *writer)
{
    return writer->fenced || lease_is_elsewhere(volume->lease) ||
           writer->generation != volume->lease->record.generation;
}

static enum rdisk_status find_older(const struct volume *volume,
                                    const struct volume_holder *wanted,
                                    struct volume_holder **older,
                                    struct rdisk_error *err)
{
    *older = NULL;
    for (struct volume_holder *holder = volume->holders; holder;
         holder = holder->next) {
        /* No client reconnects under another one's name. */
        if (memcmp(holder->client, wanted->client, sizeof(wanted->client)) !=
                0 ||
            strcmp(holder->user, wanted->user) != 0) {
            continue;
        }
        if (holder->epoch >= wanted->epoch) {
            rdisk_error_set(err, -ESTALE,
                            "epoch %" PRIu64
                            " of this client is too old: volume '%s' was "
                            "opened with its epoch %" PRIu64,
                            wanted->epoch, volume->name, holder->epoch);
            return RDISK_STATUS_STALE;
        }
        *older = holder;
    }
    return RDISK_STATUS_OK;
}

enum rdisk_status volume_check(const struct volume *volume,
                               const struct volume_holder *wanted, uint64_t now,
                               struct volume_holder **older,
                               struct rdisk_error *err)
{
    enum rdisk_status status = find_older(volume, wanted, older, err);

    assert_control_thread();
    if (status == RDISK_STATUS_OK && wanted->writer) {
        status = lease_check_generation(volume->lease, wanted, err);
    }
    if (status != RDISK_STATUS_OK || *older) {
        return status;
    }
    if (!wanted->writer) {
        return RDISK_STATUS_OK; /* readers do not conflict */
    }
    if (volume->copies) {
        rdisk_error_set(err, -EBUSY,
                        "volume '%s' is being copied: it can be opened to "
                        "write when that has ended",
                        volume->name);
        return RDISK_STATUS_BUSY;
    }
    for (struct volume_holder *holder = volume->holders; holder;
         holder = holder->next) {
        if (!holder->writer) {
            continue;
        }
        if (has_lost(volume, holder)) {
            *older = holder;
            return RDISK_STATUS_OK;
        }
        if (!holder->shared || !wanted->shared) {
            rdisk_error_set(err, -EBUSY,
                            "volume '%s' is being written by %s; close it "
                            "there, open it read-only, or set shared on both",
                            volume->name, holder->peer);
            return RDISK_STATUS_BUSY;
        }
    }
    return lease_check_kept(volume->lease, wanted, now, err);
}

void volume_enter(struct volume *volume, struct volume_holder *holder)
{
    assert_control_thread();
    holder->volume = volume;
    holder->next = volume->holders;
    volume->holders = holder;
}

bool volume_release(struct volume_holder *holder, bool orderly, uint64_t now)
{
    struct volume_holder **link = &holder->volume->holders;
    bool last = holder->writer &&
                lease_release(holder->volume->lease, holder, orderly, now);

    assert_control_thread();
    while (*link != holder) {
        link = &(*link)->next;
    }
    *link = holder->next;
    holder->volume = NULL;
    return last;
}

int volume_settle(struct volume *volume, struct lease *lease,
                  struct rdisk_error *err)
{
    lease->record.changed = volume->backend->class->changed
                                ? volume->backend->class->changed(
                                      volume->backend)
                                : 0;
    return lease_save(lease, &lease->record, err);
}

int volume_check_size(const struct volume *volume, uint64_t size, bool shrink,
                      struct rdisk_error *err)
{
    uint64_t now = volume->backend->geometry.size;

    if (size < now && !shrink) {
        return rdisk_error_set(
            err, -EINVAL,
            "volume '%s' has %" PRIu64
            " bytes already: a smaller size requires --shrink",
            volume->name, now);
    }
    return 0;
}

char *volume_peers(const struct volume *volume, char *text, size_t size)
{
    size_t length = 0;

    assert_control_thread();
    text[0] = '\0';
    for (const struct volume_holder *holder = volume->holders;
         holder && length < size; holder = holder->next) {
        length += snprintf(text + length, size - length, "%s%s",
                           length ? " and " : "", holder->peer);
    }
    return text;
}

int volume_check_free(const struct volume *volume, const char *what,
                      struct rdisk_error *err)
{
    char peers[200];

    if (volume->copies) {
        return rdisk_error_set(err, -EBUSY,
                               "cannot %s volume '%s': it is being copied",
                               what, volume->name);
    }
    if (volume->flattens) {
        return rdisk_error_set(err, -EBUSY,
                               "cannot %s volume '%s': it is being flattened",
                               what, volume->name);
    }
    return volume->holders
               ? rdisk_error_set(err, -EBUSY,
                                 "cannot %s volume '%s': it is open at %s",
                                 what, volume->name,
                                 volume_peers(volume, peers, sizeof(peers)))
               : 0;
}
