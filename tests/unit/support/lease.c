/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/support/lease.h"

int lease_load(struct lease *lease, uint64_t since, struct rdisk_error *err)
{
    struct lease_record record;
    int result = lease_read(lease->store, lease->identity, &record, err);

    if (result == 0) {
        lease_compare(lease, &record, since);
    }
    return result;
}

int lease_fence(struct lease *lease, struct rdisk_error *err)
{
    struct lease_record record;
    int result;

    lease_plan_fence(lease, &record);
    result = lease_save(lease, &record, err);
    if (result == 0) {
        lease_fenced(lease, &record);
    }
    return result;
}

static int take(struct lease *lease, struct volume_holder *holder,
                struct rdisk_error *err)
{
    struct lease_record record;
    int result = 0;

    if (lease_plan(lease, holder, &record)) {
        result = lease_save(lease, &record, err);
    }
    if (result == 0) {
        lease_grant(lease, holder, &record);
    }
    return result;
}

int volume_hold(struct volume *volume, struct volume_holder *holder,
                struct rdisk_error *err)
{
    int result = 0;

    if (holder->writer) {
        result = take(volume->lease, holder, err);
    } else {
        holder->generation = 0;
    }
    if (result == 0) {
        volume_enter(volume, holder);
    }
    return result;
}
