#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Volumes that QEMU creates, resizes, maps and copies, and what it makes of a
# volume that another client resizes.
# quick-lab: volumes grow under many programs
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=tests/e2e/qemu.sh
. "$here/qemu.sh"

size_of()
{
    stat -c %s "$pool/$1"
}

# map VOLUME: lines "START LENGTH data|zero", neighbours merged
map()
{
    within 30 qemu-img map -f raw --output json "$(uri "$1")" >"$work/map"
    python3 -Sc 'import json, sys
runs = []
for r in json.load(open(sys.argv[1])):
    kind = "zero" if r["zero"] else "data"
    if runs and runs[-1][2] == kind:
        runs[-1][1] += r["length"]
    else:
        runs.append([r["start"], r["length"], kind])
print("; ".join("%d %d %s" % tuple(r) for r in runs))' "$work/map"
}

# Of the server, for a volume that is open.
extents_asked()
{
    stat_server "[v['counters']['extents'] for v in s['volumes']
        if v['name'] == '$1'][0]"
}

check_a_sparse_volume_of_any_size_is_mapped_with_few_requests()
{
    volume vast 1P
    client keeper "$(uri vast)" -r
    equal map "$(map vast)" "0 1125899906842624 zero"
    at_most "requests for 1 PiB" "$(extents_asked vast)" 8
}

check_map_tells_data_from_holes()
{
    volume sparse 16M
    io sparse 'write -q -P 1 4M 1M' 'write -q -P 1 8M 64k'
    equal map "$(map sparse)" "0 4194304 zero; 4194304 1048576 data; \
5242880 3145728 zero; 8388608 65536 data; 8454144 8323072 zero"
}

check_discarded_space_is_a_hole()
{
    volume trimmed 4M
    io trimmed 'write -q -P 1 0 4M' 'discard 1M 1M' 'write -q -z -u 3M 64k'
    equal map "$(map trimmed)" "0 1048576 data; 1048576 1048576 zero; \
2097152 1048576 data; 3145728 65536 zero; 3211264 983040 data"
}

# A gigabyte of nothing is not sent.
check_convert_of_a_sparse_volume_reads_only_its_data()
{
    volume thin 1G
    io thin 'write -q -P 7 512M 1M'
    within 60 qemu-img -T rdma_close convert -f raw -O raw "$(uri thin)" \
        "$work/out" >"$work/io" 2>&1
    at_most "bytes read" "$(closed 'read bytes')" $((2 << 20))
    cmp "$pool/thin" "$work/out"
    rm "$work/out"
}

check_info_tells_the_allocated_size()
{
    local size
    volume lean 64M
    io lean 'write -q -P 7 1M 1M'
    size=$(within 20 qemu-img info -f raw --output json "$(uri lean)" |
        python3 -Sc 'import json, sys
print(json.load(sys.stdin)["actual-size"])')
    equal "allocated size" "$size" $(($(stat -c %b "$pool/lean") * 512))
}

check_create_makes_a_volume()
{
    within 20 qemu-img create -q -f raw "$(uri made)" 8M
    equal size "$(size_of made)" 8388608
    io made 'write -q -P 1 0 8M' 'read -q -P 1 0 8M'
}

check_create_replaces_a_volume_that_nobody_has_open()
{
    within 20 qemu-img create -q -f raw "$(uri again)" 8M
    io again 'write -q -P 1 0 8M'
    within 20 qemu-img create -q -f raw "$(uri again)" 4M
    equal size "$(size_of again)" 4194304
    io again 'read -q -P 0 0 4M'
    client holder "$(uri again)" -r
    refused "again" 20 qemu-img create -q -f raw "$(uri again)" 8M
    equal size "$(size_of again)" 4194304
}

check_blockdev_create_makes_a_volume()
{
    daemon qsd
    qmp qsd blockdev-create "{\"job-id\": \"c\", \"options\":
        {\"driver\": \"rdma\", \"size\": 8388608, \"location\":
        {\"volume\": \"job\", \"server\":
        {\"host\": \"$addr\", \"port\": \"$port\"}}}}" >/dev/null
    job_done qsd c 20
    equal size "$(size_of job)" 8388608
    quit qsd
}

check_convert_makes_its_target()
{
    head -c 5M /dev/urandom >"$work/random"
    within 60 qemu-img convert -f raw -O raw "$work/random" "$(uri target)"
    cmp "$work/random" "$pool/target"
}

check_a_qcow2_volume_grows_as_it_is_written()
{
    within 60 qemu-img create -q -f qcow2 "$(uri cow)" 1G
    at_most "size" "$(size_of cow)" $((1 << 20))
    within 60 qemu-io -f qcow2 -c 'write -q -P 3 100M 4M' \
        -c 'read -q -P 3 100M 4M' "$(uri cow)"
    within 30 qemu-img check -q -f qcow2 "$(uri cow)"
    [ "$(size_of cow)" -ge $((4 << 20)) ] || fail "it has not grown"
    at_most "size" "$(size_of cow)" $((6 << 20))
}

check_resize_grows_and_shrinks()
{
    volume supple 4M
    io supple 'write -q -P 1 0 4M'
    within 20 qemu-img resize -q -f raw "$(uri supple)" 8M
    equal size "$(size_of supple)" 8388608
    io supple 'read -q -P 1 0 4M' 'read -q -P 0 4M 4M'
    within 20 qemu-img resize -q --shrink -f raw "$(uri supple)" 2M
    equal size "$(size_of supple)" 2097152
    within 20 qemu-img resize -q -f raw "$(uri supple)" 4M
    io supple 'read -q -P 1 0 2M' 'read -q -P 0 2M 2M'
}

check_a_volume_that_others_read_does_not_shrink()
{
    volume held 4M
    client reader "$(uri held)" -r
    refused "open elsewhere" 20 \
        qemu-img resize -q --shrink -f raw "$(uri held)" 2M
    equal size "$(size_of held)" 4194304
}

check_block_resize_gives_a_guest_a_larger_disk()
{
    boot_volume roomy
    machine roomy -blockdev "$(node disk roomy)" \
        -device virtio-blk-pci,drive=disk
    goes_on roomy
    qmp roomy block_resize '{"node-name": "disk", "size": 16777216}' >/dev/null
    equal size "$(size_of roomy)" 16777216
    goes_on roomy
    quit roomy
    whole roomy
}

# Through a raw node too, which is as long as the volume.
check_a_volume_resized_on_the_server_is_a_larger_disk_at_once()
{
    boot_volume wide
    machine wide -blockdev "$(node file wide)" \
        -blockdev driver=raw,node-name=disk,file=file \
        -device virtio-blk-pci,drive=disk,id=front
    goes_on wide
    within 20 rdisk resize wide 16M --control "$control"
    wait_until 10 has_capacity wide file 16777216 ||
        fail "the volume's node has $(capacity wide file) bytes"
    wait_until 10 has_capacity wide disk 16777216 ||
        fail "the disk's node has $(capacity wide disk) bytes"
    goes_on wide
    quit wide
    whole wide
}

check_a_copy_within_a_volume_moves_no_data()
{
    volume both 16M
    io both 'write -q -P 5 0 4M'
    within 60 qemu-img -T rdma_close convert -n -C --image-opts \
        --target-image-opts \
        "driver=raw,offset=0,size=4M,$(image both file.),file.shared=on" \
        "driver=raw,offset=8M,size=4M,$(image both file.),file.shared=on" \
        >"$work/io" 2>&1
    cat "$work/io"
    cmp -n $((4 << 20)) "$pool/both" "$pool/both" 0 $((8 << 20))
    at_most "bytes written by the client" \
        "$(sed -n 's/.*rdma_close .* write bytes \([0-9]*\) .*/\1/p' \
            "$work/io" | sort -n | tail -n 1)" 0
}

check_a_server_may_deny_resizing()
{
    start_server --resize deny
    volume fixed 4M
    refused "does not let this client resize it" 20 \
        qemu-img resize -q -f raw "$(uri fixed)" 8M
    equal size "$(size_of fixed)" 4194304
}

start_server --create allow
run_checks
