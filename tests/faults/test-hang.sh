#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Storage that does not answer: the volumes on it wait, and no others.
# quick-lab: seconds are counted
# shellcheck source=tests/faults/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

# file_system NAME: one of its own for a volume of that name
file_system()
{
    truncate -s 64M "$work/$1.image"
    mkfs.ext4 -q "$work/$1.image"
    mkdir "$work/$1"
    mount -o loop "$work/$1.image" "$work/$1" || skip "this kernel has no ext4"
    dd if=/dev/zero of="$work/$1/v" bs=1M count=16 status=none
    sync "$work/$1/v"
}

# A pool on a file system of its own, at $pool
pool_that_freezes()
{
    truncate -s 64M "$work/pool.image"
    mkfs.ext4 -q -F "$work/pool.image"
    pool=$work/frozen
    mkdir -p "$pool"
    mount -o loop "$work/pool.image" "$pool" || skip "this kernel has no ext4"
}

# freeze_pool: until the check ends, at the latest
freeze_pool()
{
    fsfreeze -f "$pool" || skip "this kernel freezes no file system"
    trap 'fsfreeze -u "$pool" 2>/dev/null || true' EXIT
}

check_a_file_system_that_hangs_stops_no_other_volume_of_its_reactor()
{
    local i
    file_system hung
    file_system good
    start_server --cores 1 --volume "hung=file:$work/hung/v" \
        --volume "good=file:$work/good/v"
    client hung "$(uri hung)" -t none
    fsfreeze -f "$work/hung" || skip "this kernel freezes no file system"
    trap 'fsfreeze -u "$work/hung" 2>/dev/null || true' EXIT
    # More than the kernel has workers by itself, and the volume's flush.
    for ((i = 0; i < 64; i++)); do
        say hung "aio_write $((i * 64))k 4k"
    done
    say hung aio_flush
    sleep 1
    io_limit=20
    io good 'write -P 7 0 64k' flush 'read -P 7 0 64k' 'discard 64k 64k' \
        'write -z 128k 64k' 'write -f -P 8 0 4k' flush
    ! said hung '^wrote' || fail "the file system does not hang"
    fsfreeze -u "$work/hung"
    say hung 'read 0 4k'
    answers hung '^read 4096/4096' 20
    say hung quit
    wait_until 20 gone "${client[hung]}" || fail "the client does not end"
    stop_server
    umount "$work/hung" "$work/good"
}

check_a_frozen_pool_stops_neither_heartbeats_nor_statistics_nor_signals()
{
    local began
    pool_that_freezes
    truncate -s 16M "$work/good.disk"
    start_server --volume "good=file:$work/good.disk" --stop-timeout 3 \
        --storage-timeout 4
    volume v 4M
    io v 'write -q -P 5 0 4M'
    client good "$(uri 'good?heartbeat=1')" -t none -r
    freeze_pool
    # Whoever wants to write it needs a record in the pool.
    qemu-io -f raw -c 'write 0 4k' "$(uri v)" >"$work/late" 2>&1 &
    end_later $!
    wait_until 20 grep -q "opening volume 'v' has not ended" "$server_log" ||
        fail "the log does not say what hangs"
    began=$SECONDS
    stat_server 'len(s["operations"])' | grep -qx '[1-9][0-9]*' ||
        fail "rdisk stat names nothing that waits"
    at_most "seconds for rdisk stat" $((SECONDS - began)) 5
    sleep 4
    equal "sessions on good" "$(stat_server \
        'sum(x["volume"] == "good" for x in s["sessions"])')" 1
    say good 'read 0 4k'
    answers good '^read 4096/4096' 20
    ! grep -E 'good.*(silent|lost|acknowledge)' "$server_log" ||
        fail "a session on good was ended"
    # The client of v reads why.
    wait_until 20 grep -q 'does not answer' "$work/late" ||
        fail "the client got no error: $(tail -n 1 "$work/late")"
    kill -TERM "$server"
    wait_until 20 grep -q "left: opening volume 'v'" "$server_log" ||
        fail "the server does not stop on SIGTERM: $(tail -n 1 "$server_log")"
    fsfreeze -u "$pool"
    wait_until 20 gone "$server" || fail "the server does not end"
    umount "$pool"
}

# begin NAME RDISK-COMMAND…: in the background, its output in $work/NAME
begin()
{
    local name=$1
    shift
    rdisk "$@" --control "$control" >"$work/$name" 2>&1 &
    end_later $!
    commands[$name]=$!
}

# fails_by_storage NAME: the command ends, and its error names the cause
fails_by_storage()
{
    local status=0
    wait_until 20 gone "${commands[$1]}" || fail "$1 does not end"
    wait "${commands[$1]}" || status=$?
    [ $status -ne 0 ] || fail "$1 succeeded: $(cat "$work/$1")"
    says "$work/$1" 'does not answer'
}

check_commands_that_a_frozen_pool_holds_up_delay_nobody_else()
{
    local began name
    declare -A commands
    pool_that_freezes
    truncate -s 16M "$work/good.disk"
    start_server --volume "good=file:$work/good.disk" --storage-timeout 4
    for name in grows goes fenced; do
        volume $name 4M
    done
    # Whoever has written it is whom the fence is for: a record in the pool.
    io fenced 'write -q 0 4k'
    client good "$(uri 'good?heartbeat=1')" -t none -r
    freeze_pool
    begin create create new 4M
    begin resize resize grows 8M
    begin delete delete goes
    begin fence fence fenced
    sleep 1
    began=$SECONDS
    at_least "operations in rdisk stat" \
        "$(stat_server 'len(s["operations"])')" 4
    at_most "seconds for rdisk stat" $((SECONDS - began)) 5
    for name in create resize delete fence; do
        fails_by_storage $name
    done
    say good 'read 0 4k'
    answers good '^read 4096/4096' 20
    ! grep -E 'good.*(silent|lost|acknowledge)' "$server_log" ||
        fail "a session on good was ended"
    # What had begun goes on, and nothing is left half done.
    fsfreeze -u "$pool"
    wait_until 20 nothing_waits || fail "operations are still waiting"
    within 20 rdisk list --control "$control" >"$work/list"
    says "$work/list" '^new '
    says "$work/list" '^grows  *8M '
    ! grep '^goes ' "$work/list" || fail "goes is still there"
    for name in new grows fenced; do
        io $name 'write -q -P 9 0 4k' flush 'read -q -P 9 0 4k'
    done
    say good quit
    wait_until 20 gone "${client[good]}" || fail "the client does not end"
    stop_server
    umount "$pool"
}

nothing_waits()
{
    [ "$(stat_server 'len(s["operations"])')" = 0 ]
}

run_checks
