#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Block jobs to and from volumes while the guest writes: mirror, backup,
# snapshot, commit, stream; what they leave is whole.
# time-limit: 1200
# quick-lab: block jobs move whole disks
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=tests/e2e/qemu.sh
. "$here/qemu.sh"

# running NAME: a guest that writes the volume of that name, as node "disk"
running()
{
    boot_volume "$1"
    machine "$1" -blockdev "$(node disk "$1")" \
        -device virtio-blk-pci,drive=disk,id=front
    goes_on "$1" 70
}

# add NAME NODE VOLUME
add()
{
    qmp "$1" blockdev-add "$(node "$2" "$3")" >/dev/null
}

# overlay NAME NODE VOLUME: an empty qcow2 over "disk", with the node's options
overlay()
{
    volume "$3" 16M
    within 30 qemu-img create -q -f qcow2 "$(uri "$3")" 4M
    add "$1" "$2-file" "$3"
    qmp "$1" blockdev-add "{\"driver\": \"qcow2\", \"node-name\": \"$2\",
        \"file\": \"$2-file\", \"backing\": null}" >/dev/null
}

# And then its memory is read and written in place, as if it had begun there.
check_mirror_moves_a_running_guest_to_another_volume()
{
    local before
    volume target 4M
    running source
    add source copy target
    qmp source blockdev-mirror '{"job-id": "m", "device": "disk",
        "target": "copy", "sync": "full"}' >/dev/null
    wait_until 60 job_is source m ready || fail "mirror is not ready"
    goes_on source 3
    qmp source job-complete '{"id": "m"}' >/dev/null
    wait_until 30 no_job source || fail "mirror does not end"
    before=$(copied source copy)
    goes_on source 70
    equal "copied bytes since then" "$(copied source copy)" "$before"
    qmp source blockdev-del '{"node-name": "disk"}' >/dev/null
    quit source
    whole target
}

# A backup is of one moment, though the guest goes on.
check_backup_of_a_running_guest_is_whole()
{
    volume saved 4M
    running busy
    add busy copy saved
    qmp busy blockdev-backup '{"job-id": "b", "device": "disk",
        "target": "copy", "sync": "full", "auto-dismiss": false}' >/dev/null
    goes_on busy 3
    job_done busy b 60
    goes_on busy 3
    quit busy
    whole saved
    whole busy
}

check_a_snapshot_puts_the_guest_on_an_overlay_volume()
{
    running base
    overlay base over top
    qmp base blockdev-snapshot '{"node": "disk", "overlay": "over"}' \
        >/dev/null
    cp "$pool/base" "$work/frozen"
    goes_on base 70
    quit base
    cmp "$work/frozen" "$pool/base"
    within 30 qemu-img check -q -f qcow2 "$(uri top)"
    within 60 qemu-img convert -O raw --image-opts \
        "driver=qcow2,$(image top file.),backing.driver=raw,$(image base backing.file.)" \
        "$pool/out"
    whole out
}

check_commit_brings_the_overlay_back_into_the_base()
{
    running back
    overlay back over layer
    qmp back blockdev-snapshot '{"node": "disk", "overlay": "over"}' >/dev/null
    goes_on back 3
    qmp back block-commit '{"job-id": "c", "device": "over",
        "base-node": "disk"}' >/dev/null
    wait_until 60 job_is back c ready || fail "commit is not ready"
    goes_on back 3
    qmp back job-complete '{"id": "c"}' >/dev/null
    wait_until 30 no_job back || fail "commit does not end"
    goes_on back 70
    quit back
    whole back
}

check_stream_makes_the_overlay_independent()
{
    running under
    overlay under over alone
    qmp under blockdev-snapshot '{"node": "disk", "overlay": "over"}' \
        >/dev/null
    goes_on under 3
    qmp under block-stream '{"job-id": "s", "device": "over",
        "auto-dismiss": false}' >/dev/null
    goes_on under 3
    job_done under s 60
    qmp under blockdev-del '{"node-name": "disk"}' >/dev/null
    goes_on under 70
    quit under
    within 60 qemu-img convert -f qcow2 -O raw "$(uri alone)" "$pool/out"
    whole out
}

# Its requests would wait for ten minutes, and the guest would too.
check_a_job_to_a_lost_volume_is_cancelled_at_once()
{
    local began home=$pool
    running near
    start_server
    volume far 4M
    qmp near blockdev-add "$(node copy far '"reconnect-delay": 600')" >/dev/null
    qmp near blockdev-mirror '{"job-id": "m", "device": "disk",
        "target": "copy", "sync": "full"}' >/dev/null
    wait_until 60 job_is near m ready || fail "mirror is not ready"
    kill_server
    wait_until 60 copy_is_lost || fail "the target is not lost"
    goes_on near 3
    began=$SECONDS
    qmp near job-cancel '{"id": "m"}' >/dev/null
    wait_until 60 no_job near || fail "the job is still there"
    at_most seconds $((SECONDS - began)) $((30 * slow))
    goes_on near 70
    quit near
    pool=$home
    whole near
}

copy_is_lost()
{
    [ "$(from near query-named-block-nodes '{}' \
        "[n['image']['format-specific']['data']['state'] for n in r
            if n['node-name'] == 'copy'][0]")" = reconnecting ]
}

start_server
run_checks
