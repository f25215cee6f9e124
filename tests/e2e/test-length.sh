#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A volume that is made larger on the server while QEMU uses it: a node's
# length, its bitmaps and its guest follow at once, or when the job or export
# that relies on the length has ended.
# time-limit: 1200
# quick-lab: a Linux guest looks at its disk
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=tests/e2e/qemu.sh
. "$here/qemu.sh"

MiB=$((1 << 20))

# disk NAME [OPTION…]: a machine that does not run, with a disk on a new volume
# of that name, 4 MiB
disk()
{
    local name=$1
    shift
    volume "$name" 4M
    machine "$name" -S -blockdev "$(node disk "$name")" "$@" \
        -device virtio-blk-pci,drive="${front:-disk}",id=front
}

grow()
{
    within 20 rdisk resize "$1" "$2" --control "$control"
}

# becomes NAME NODE BYTES
becomes()
{
    wait_until 15 has_capacity "$@" ||
        fail "node $2 has $(capacity "$1" "$2") bytes, not $3"
}

# stays NAME NODE BYTES: though the volume is larger
stays()
{
    sleep 2
    equal "the length of node $2" "$(capacity "$1" "$2")" "$3"
}

# front NAME COMMAND: qemu-io on the guest's disk
front()
{
    qmp "$1" human-monitor-command "{\"command-line\":
        \"qemu-io -d /machine/peripheral/front/virtio-backend \\\"$2\\\"\"}" \
        >"$work/returned"
    grep -qx '""' "$work/returned" || fail "$(cat "$work/returned")"
    ! grep -a 'failed' "$work/$1.log" || fail "$(tail -n 1 "$work/$1.log")"
}

# dirty NAME NODE: bytes that the node's bitmap tells
dirty()
{
    from "$1" query-named-block-nodes '{}' "[n['dirty-bitmaps'][0]['count']
        for n in r if n['node-name'] == '$2'][0]"
}

check_a_bitmap_of_the_node_grows_with_the_volume()
{
    disk marked
    qmp marked block-dirty-bitmap-add '{"node": "disk", "name": "b"}' >/dev/null
    grow marked 16M
    becomes marked disk $((16 * MiB))
    front marked 'write 12M 64k'
    equal "dirty bytes" "$(dirty marked disk)" 65536
    quit marked
}

check_a_bitmap_of_a_filter_on_the_node_grows_too()
{
    front=top disk filtered -blockdev driver=raw,node-name=raw,file=disk \
        -object throttle-group,id=t \
        -blockdev driver=throttle,throttle-group=t,node-name=top,file=raw
    qmp filtered block-dirty-bitmap-add '{"node": "top", "name": "b"}' \
        >/dev/null
    qmp filtered block-dirty-bitmap-add '{"node": "raw", "name": "b"}' \
        >/dev/null
    grow filtered 16M
    becomes filtered top $((16 * MiB))
    front filtered 'write 12M 64k'
    equal "dirty bytes" "$(dirty filtered top)" 65536
    equal "dirty bytes" "$(dirty filtered raw)" 65536
    quit filtered
}

check_the_source_of_a_mirror_follows_when_the_job_ends()
{
    disk from
    volume to 4M
    qmp from blockdev-add "$(node copy to)" >/dev/null
    qmp from blockdev-mirror '{"job-id": "m", "device": "disk",
        "target": "copy", "sync": "full"}' >/dev/null
    wait_until 60 job_is from m ready || fail "mirror is not ready"
    grow from 16M
    stays from disk $((4 * MiB))
    qmp from block-job-cancel '{"device": "m", "force": true}' >/dev/null
    wait_until 30 no_job from || fail "mirror does not end"
    becomes from disk $((16 * MiB))
    front from 'write 12M 64k'
    quit from
}

check_the_target_of_a_mirror_follows_when_it_has_become_the_disk()
{
    disk old
    volume new 4M
    qmp old blockdev-add "$(node copy new)" >/dev/null
    qmp old blockdev-mirror '{"job-id": "m", "device": "disk",
        "target": "copy", "sync": "full"}' >/dev/null
    wait_until 60 job_is old m ready || fail "mirror is not ready"
    grow new 16M
    stays old copy $((4 * MiB))
    qmp old job-complete '{"id": "m"}' >/dev/null
    wait_until 30 no_job old || fail "mirror does not end"
    becomes old copy $((16 * MiB))
    front old 'write 12M 64k'
    quit old
}

check_a_base_follows_when_the_commit_into_it_has_ended()
{
    disk base
    within 30 qemu-img create -q -f qcow2 "$work/over" 4M
    qmp base blockdev-add "{\"driver\": \"qcow2\", \"node-name\": \"over\",
        \"file\": {\"driver\": \"file\", \"filename\": \"$work/over\"},
        \"backing\": null}" >/dev/null
    qmp base blockdev-snapshot '{"node": "disk", "overlay": "over"}' >/dev/null
    front base 'write -P 5 1M 1M'
    grow base 16M
    stays base disk $((4 * MiB))
    qmp base block-commit '{"job-id": "c", "device": "over",
        "base-node": "disk"}' >/dev/null
    wait_until 60 job_is base c ready || fail "commit is not ready"
    grow base 32M
    stays base disk $((4 * MiB))
    qmp base job-complete '{"id": "c"}' >/dev/null
    wait_until 30 no_job base || fail "commit does not end"
    becomes base disk $((32 * MiB))
    front base 'write 20M 64k'
    quit base
    io base 'read -q -P 5 1M 1M'
}

# What is behind the end of its backing file reads as zeroes.
check_an_overlay_does_not_see_what_its_backing_volume_has_grown_by()
{
    volume under 4M
    within 30 qemu-img create -q -f qcow2 "$work/above" 16M
    machine under -S -blockdev "{\"driver\": \"qcow2\", \"node-name\": \"disk\",
        \"file\": {\"driver\": \"file\", \"filename\": \"$work/above\"},
        \"backing\": $(node back under '"read-only": true')}" \
        -device virtio-blk-pci,drive=disk,id=front
    grow under 16M
    io under 'write -q -P 7 8M 64k'
    stays under back $((4 * MiB))
    front under 'read -P 0 8M 64k'
    ! grep -a 'Pattern verification' "$work/under.log" ||
        fail "the overlay sees what another client wrote"
    quit under
}

check_an_nbd_export_keeps_its_length_until_it_is_removed()
{
    volume shown 4M
    daemon shown --blockdev "$(node disk shown)" \
        --nbd-server "addr.type=unix,addr.path=$work/nbd"
    qmp shown block-export-add '{"type": "nbd", "id": "e", "node-name": "disk",
        "name": "disk", "writable": true}' >/dev/null
    grow shown 16M
    stays shown disk $((4 * MiB))
    within 20 qemu-img info -f raw --output json \
        "nbd+unix:///disk?socket=$work/nbd" | grep -q '"virtual-size": 4194304'
    qmp shown block-export-del '{"id": "e"}' >/dev/null
    becomes shown disk $((16 * MiB))
    quit shown
}

# Such an export shares resizing.
check_a_fuse_export_is_as_long_as_the_volume_at_once()
{
    [ -w /dev/fuse ] || skip "there is no /dev/fuse"
    volume file 4M
    : >"$work/file"
    daemon file --blockdev "$(node disk file)"
    qmp file block-export-add "{\"type\": \"fuse\", \"id\": \"e\",
        \"node-name\": \"disk\", \"writable\": true,
        \"mountpoint\": \"$work/file\"}" >/dev/null
    grow file 16M
    becomes file disk $((16 * MiB))
    equal "the file's size" "$(stat -c %s "$work/file")" $((16 * MiB))
    printf x | dd of="$work/file" bs=1M seek=12 conv=notrunc status=none
    qmp file block-export-del '{"id": "e"}' >/dev/null
    quit file
    io file 'read -q -P 0x78 12M 1'
}

# ---- What the guest sees ----------------------------------------------

# watcher NAME: a Linux guest that tells the size of its second disk, a volume
# of that name
watcher()
{
    local guest
    guest=$("$top/tests/lab/guest/build")
    mkfifo "$work/$1.in"
    sleep 1000 >"$work/$1.in" &
    end_later $!
    "$top/tests/lab/guest/boot" --task shell -- \
        -drive "file=$guest/root.ext4,format=raw,if=none,id=root,snapshot=on" \
        -device virtio-blk-pci,drive=root \
        -blockdev "$(node disk "$1")" -device virtio-blk-pci,drive=disk \
        -qmp "unix:$work/$1.qmp,server=on,wait=off" \
        <"$work/$1.in" >"$work/$1.console" 2>&1 &
    vm[$1]=$!
    end_later $!
    wait_until 30 accepts "$work/$1.qmp" ||
        fail "no guest: $(tail -n 2 "$work/$1.console")"
    # Typed again until there is a shell that reads it.
    wait_until 120 told_size "$1" || {
        tail -n 5 "$work/$1.console"
        fail "the guest does not report the size of its disk"
    }
}

told_size()
{
    # shellcheck disable=SC2016 # the guest's shell expands it
    echo 'while :; do echo SIZE $(cat /sys/block/vdb/size); sleep 1; done' \
        >"$work/$1.in"
    sleep 3
    grep -aq '^SIZE [0-9]' "$work/$1.console"
}

# sees NAME BYTES
sees()
{
    [ "$(grep -a '^SIZE [0-9]' "$work/$1.console" | tail -n 1 | tr -d '\r')" = \
        "SIZE $(($2 / 512))" ]
}

check_a_guest_sees_a_larger_disk_at_once_and_when_a_backup_has_ended()
{
    volume seen 64M
    volume saved 128M
    watcher seen
    grow seen 128M
    wait_until 20 sees seen $((128 * MiB)) ||
        fail "the guest's disk: $(tail -n 1 "$work/seen.console")"
    qmp seen blockdev-add "$(node copy saved)" >/dev/null
    qmp seen blockdev-backup '{"job-id": "k", "device": "disk",
        "target": "copy", "sync": "none"}' >/dev/null
    grow seen 256M
    stays seen disk $((128 * MiB))
    sees seen $((128 * MiB)) || fail "the guest's disk has changed"
    qmp seen job-cancel '{"id": "k"}' >/dev/null
    wait_until 20 sees seen $((256 * MiB)) ||
        fail "the guest's disk: $(tail -n 1 "$work/seen.console")"
}

start_server
run_checks
