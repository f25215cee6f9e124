#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# fsx for a long time in a guest, on ext4 and then on xfs, on an rdma:// volume.
# tests/workloads/run --fsx MINUTES runs this in the lab: so long for each.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/../e2e/lib.sh"

minutes=${1:?how long?}
guest=${2:?which guest?}
console=$work/console

check_fsx_finds_every_byte_as_it_was_written()
{
    local limit=$(((2 * minutes * 60 + 600) * slow))
    volume root "$(stat -c %s "$guest/root.ext4")"
    volume data 400M
    within 300 qemu-img convert -n -f raw -O raw "$guest/root.ext4" \
        "$(uri root)"
    "$top/tests/lab/guest/boot" --guest "$guest" --memory 512M --task fsx \
        --minutes "$minutes" --time-limit $limit --log "$console" -- \
        -drive "file=$(uri 'root?heartbeat=60'),format=raw,if=virtio" \
        -drive "file=$(uri 'data?heartbeat=60'),format=raw,if=virtio,\
discard=unmap" >/dev/null 2>"$work/boot" || {
        tail -n 30 "$console"
        fail "$(tail -n 1 "$work/boot")"
    }
    grep -a 'RDISK-GUEST: STEP' "$console"
    grep -aq 'STEP ext4-fsck ok' "$console" || fail "no ext4"
    grep -aq 'STEP xfs-fsck ok' "$console" || fail "no xfs"
    report "$(sed -n 's/.*STEP \([a-z0-9]*\)-fsx ok (\([0-9]*\) s): \([0-9]*\) .*/\1: \3 operations in \2 s/p' \
        "$console" | paste -sd,)"
}

start_server
run_checks
