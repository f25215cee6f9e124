/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/volume/lease.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/thread.h"
#include "server/volume/volume.h"
#include <rdisk/env.h>

int lease_read(const struct lease_store *store, const uint8_t *identity,
               struct lease_record *record, struct rdisk_error *err)
{
    int result;

    memset(record, 0, sizeof(*record));
    if (!store) {
        return 0;
    }
    result = store->load(store->opaque, identity, record, err);
    if (result == -ENOENT) {
        memset(record, 0, sizeof(*record));
        return 0;
    }
    return result;
}

/* True if a server with @b only would decide otherwise. */
static bool differs(const struct lease_record *a, const struct lease_record *b)
{
    return memcmp(a->owner, b->owner, sizeof(a->owner)) ||
           a->epoch != b->epoch || a->generation != b->generation ||
           a->held != b->held || a->shared != b->shared ||
           (!a->shared && memcmp(a->client, b->client, sizeof(a->client)));
}

void lease_compare(struct lease *lease, const struct lease_record *record,
                   uint64_t since)
{
    bool same = record->generation == lease->record.generation &&
                !memcmp(record->owner, lease->record.owner,
                        sizeof(record->owner));

    /* An older record does not bring a generation back; and while writers of
     * this generation are connected, or the last one's release is still to be
     * saved, this server's copy is newer. */
    if (!lease->store || record->generation < lease->record.generation ||
        !differs(&lease->record, record) ||
        (same && (lease->writers || lease->unsaved))) {
        return;
    }
    lease->record = *record;
    lease->kept_until = record->held ? since + lease->lease_time : 0;
}

int lease_save(const struct lease *lease, const struct lease_record *record,
               struct rdisk_error *err)
{
    const struct lease_store *store = lease->store;

    return store ? store->save(store->opaque, lease->identity, &lease->record,
                               record, err)
                 : 0;
}

/* ---- Who may have it -------------------------------------------------- */

/* What is older than the record may be on its way still. */
static enum rdisk_status check_epoch(const struct lease *lease,
                                     const struct volume_holder *wanted,
                                     struct rdisk_error *err)
{
    const struct lease_record *record = &lease->record;

    if (!record->epoch || wanted->epoch > record->epoch ||
        memcmp(wanted->client, record->client, sizeof(record->client))) {
        return RDISK_STATUS_OK;
    }
    rdisk_error_set(err, -ESTALE,
                    "epoch %" PRIu64 " of this client is too old: it has "
                    "opened volume '%s' with its epoch %" PRIu64
                    " through this server or another one",
                    wanted->epoch, lease->name, record->epoch);
    return RDISK_STATUS_STALE;
}

enum rdisk_status lease_check_generation(const struct lease *lease,
                                         const struct volume_holder *wanted,
                                         struct rdisk_error *err)
{
    const struct lease_record *record = &lease->record;
    const char *volume = lease->name;

    if (check_epoch(lease, wanted, err) != RDISK_STATUS_OK) {
        return RDISK_STATUS_STALE;
    }
    if (!wanted->generation) {
        return RDISK_STATUS_OK;
    }
    if (wanted->generation > record->generation) {
        rdisk_error_set(err, -ESTALE,
                        "volume '%s' is not the one that this client had open: "
                        "it has been replaced, or the server's record of it "
                        "(this client had generation %" PRIu64
                        ", it has %" PRIu64 ")",
                        volume, wanted->generation, record->generation);
        return RDISK_STATUS_STALE;
    }
    if (wanted->generation < record->generation ||
        wanted->shared != record->shared ||
        (!record->shared &&
         memcmp(wanted->client, record->client, sizeof(record->client)))) {
        rdisk_error_set(err, -ESTALE,
                        "volume '%s' was given to another client while this "
                        "one was disconnected (it had generation %" PRIu64
                        ", now it is %" PRIu64 "): it may no longer write",
                        volume, wanted->generation, record->generation);
        return RDISK_STATUS_STALE;
    }
    return RDISK_STATUS_OK;
}

uint64_t lease_seconds_kept(const struct lease *lease, uint64_t now)
{
    uint64_t second = 1000 * RDISK_MSEC;

    return lease->record.held && lease->kept_until > now
               ? (lease->kept_until - now + second - 1) / second
               : 0;
}

enum rdisk_status lease_check_kept(const struct lease *lease,
                                   const struct volume_holder *wanted,
                                   uint64_t now, struct rdisk_error *err)
{
    uint64_t seconds = lease_seconds_kept(lease, now);

    assert_control_thread();
    if (!seconds || wanted->generation ||
        (wanted->shared && lease->record.shared) ||
        !memcmp(wanted->client, lease->record.client, sizeof(wanted->client))) {
        return RDISK_STATUS_OK;
    }
    rdisk_error_set(err, -EBUSY,
                    "volume '%s' is kept for %" PRIu64
                    " more seconds for %s, which has lost its connection; "
                    "wait, or end that with 'rdisk fence %s'",
                    lease->name, seconds, lease->record.peer, lease->name);
    return RDISK_STATUS_BUSY;
}

bool lease_is_elsewhere(const struct lease *lease)
{
    const uint8_t *owner = lease->store ? lease->store->owner : NULL;

    return owner && lease->record.generation &&
           memcmp(lease->record.owner, owner, sizeof(lease->record.owner));
}

bool lease_moves(const struct lease *lease, const struct volume_holder *wanted)
{
    const struct lease_record *record = &lease->record;

    return record->held && lease_is_elsewhere(lease) &&
           (record->shared
                ? wanted->shared && wanted->generation == record->generation
                : !memcmp(wanted->client, record->client,
                          sizeof(record->client)));
}

/* ---- Taking and giving ------------------------------------------------ */

static void sign(const struct lease *lease, struct lease_record *record,
                 uint64_t epoch)
{
    if (lease->store && lease->store->owner) {
        memcpy(record->owner, lease->store->owner, sizeof(record->owner));
        record->epoch = record->shared ? 0 : epoch;
    }
}

bool lease_plan(const struct lease *lease, const struct volume_holder *holder,
                struct lease_record *record)
{
    bool joins = lease->record.generation && lease->record.shared &&
                 holder->shared;

    assert_control_thread();
    *record = lease->record;
    if (!holder->generation && !joins) {
        record->generation++;
    }
    snprintf(record->volume, sizeof(record->volume), "%s", lease->name);
    record->held = true;
    record->shared = holder->shared;
    if (!joins || !holder->generation) {
        memcpy(record->client, holder->client, sizeof(record->client));
        snprintf(record->peer, sizeof(record->peer), "%s", holder->peer);
    }
    sign(lease, record, holder->epoch);
    return differs(&lease->record, record);
}

void lease_grant(struct lease *lease, struct volume_holder *holder,
                 const struct lease_record *record)
{
    assert_control_thread();
    lease->record = *record;
    lease->unsaved = false;
    holder->generation = record->generation;
    lease->writers++;
    if (!holder->shared) {
        lease->kept_until = 0;
    }
}

bool lease_release(struct lease *lease, const struct volume_holder *holder,
                   bool orderly, uint64_t now)
{
    assert_control_thread();
    lease->writers--;
    if (holder->generation != lease->record.generation) {
        return false; /* fenced by hand */
    }
    if (!orderly) {
        lease->kept_until = now + lease->lease_time;
    } else if (!holder->shared) {
        lease->kept_until = 0;
    }
    if (lease->writers) {
        return false;
    }
    if (orderly && lease->kept_until <= now) {
        lease->record.held = false;
    }
    lease->unsaved = true;
    return true;
}

void lease_settled(struct lease *lease)
{
    lease->unsaved = false;
}

void lease_plan_fence(const struct lease *lease, struct lease_record *record)
{
    *record = lease->record;
    record->generation++;
    record->held = false;
    memset(record->client, 0, sizeof(record->client));
    snprintf(record->peer, sizeof(record->peer), "-");
    sign(lease, record, 0);
}

void lease_fenced(struct lease *lease, const struct lease_record *record)
{
    lease->record = *record;
    lease->unsaved = false;
    lease->kept_until = 0;
}
