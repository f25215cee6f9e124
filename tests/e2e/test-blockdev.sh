#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A volume as a node of a running QEMU: added, reopened, plugged into a running
# guest, taken out again, and what QEMU tells of it.
# time-limit: 900
# quick-lab: a guest's disks come and go
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=tests/e2e/qemu.sh
. "$here/qemu.sh"

# empty NAME OPTION…: a QEMU without a machine
empty()
{
    local name=$1
    shift
    launched "$name" qemu-system-x86_64 -M none -nodefaults -display none \
        -qmp "unix:$work/$name.qmp,server=on,wait=off" "$@"
}

sessions()
{
    stat_server "sorted(s['volume'] + (' reads' if s['read_only'] else '')
        for s in s['sessions'])"
}

check_a_node_is_added_used_and_deleted()
{
    local i
    volume one 4M
    empty qemu
    for ((i = 1; i <= 20; i++)); do
        qmp qemu blockdev-add "$(node disk one)" >/dev/null
        vm_io qemu disk "write -P $i 0 64k" "read -P $i 0 64k"
        qmp qemu blockdev-del '{"node-name": "disk"}' >/dev/null
    done
    no_sessions || fail "sessions are left"
    quit qemu
}

check_a_node_that_cannot_be_opened_leaves_nothing()
{
    volume taken 4M
    client owner "$(uri taken)"
    empty qemu
    qmp_refused "is being written by $addr" qemu blockdev-add \
        "$(node disk taken)"
    qmp_refused "queues.*1.*64" qemu blockdev-add \
        "$(node disk taken '"queues": 65')"
    qmp_refused "no volume 'nobody'" qemu blockdev-add "$(node disk nobody)"
    qmp_refused "Parameter 'volume' is missing" qemu blockdev-add \
        '{"driver": "rdma", "node-name": "x",
          "server": {"host": "a", "port": "1"}}'
    equal sessions "$(stat_server 'len(s["sessions"])')" 1
    quit qemu
}

check_reopen_changes_between_reading_and_writing()
{
    volume both 4M
    empty qemu -blockdev "$(node disk both)"
    vm_io qemu disk "write -P 1 0 64k"
    qmp qemu blockdev-reopen \
        "{\"options\": [$(node disk both '"read-only": true')]}" >/dev/null
    equal sessions "$(sessions)" "['both reads']"
    # So now another client may write, and then this one may not.
    client owner "$(uri both)"
    qmp_refused "is being written by $addr" qemu blockdev-reopen \
        "{\"options\": [$(node disk both '"read-only": false')]}"
    vm_io qemu disk "read -P 1 0 64k"
    say owner quit
    wait_until 10 gone "${client[owner]}"
    qmp qemu blockdev-reopen \
        "{\"options\": [$(node disk both '"read-only": false')]}" >/dev/null
    vm_io qemu disk "write -P 2 0 64k" "read -P 2 0 64k"
    equal sessions "$(sessions)" "['both']"
    quit qemu
}

check_reopen_does_not_change_the_volume()
{
    volume here 4M
    volume elsewhere 4M
    empty qemu -blockdev "$(node disk here)"
    qmp_refused "Cannot change the option 'volume'" qemu blockdev-reopen \
        "{\"options\": [$(node disk elsewhere)]}"
    vm_io qemu disk "write -P 2 0 64k"
    quit qemu
    io here 'read -q -P 2 0 64k'
}

check_query_blockstats_counts_what_was_done()
{
    volume counted 4M
    empty qemu -blockdev "$(node disk counted '"discard": "unmap"')"
    vm_io qemu disk "write -P 1 0 64k" "write -z -u 64k 64k" "discard 1M 64k" \
        "read 0 128k" flush
    qmp qemu rdma >"$work/counters"
    cat "$work/counters"
    says "$work/counters" '^reads 1$'
    says "$work/counters" '^writes 1$'
    says "$work/counters" '^zeroes 1$'
    says "$work/counters" '^discards 1$'
    says "$work/counters" '^read-bytes 131072$'
    says "$work/counters" '^write-bytes 65536$'
    says "$work/counters" '^failed 0$'
    quit qemu
}

check_counters_survive_a_reopen()
{
    volume kept 4M
    empty qemu -blockdev "$(node disk kept)"
    vm_io qemu disk "write -P 1 0 64k"
    qmp qemu blockdev-reopen \
        "{\"options\": [$(node disk kept '"read-only": true')]}" >/dev/null
    vm_io qemu disk "read -P 1 0 64k"
    qmp qemu rdma >"$work/counters"
    says "$work/counters" '^writes 1$'
    says "$work/counters" '^reads 1$'
    quit qemu
}

check_query_named_block_nodes_tells_a_name_that_opens_the_same()
{
    local name
    volume named 4M
    empty qemu -blockdev "$(node disk named '"shared": true' '"queues": 2')"
    name=$(from qemu query-named-block-nodes '{}' 'r[0]["image"]["filename"]')
    equal "file name" "$name" "rdma://$addr:$port/named?shared=on"
    within 30 qemu-io -f raw -c 'write -q -P 7 0 64k' "$name"
    vm_io qemu disk "read -P 7 0 64k"
    equal driver "$(from qemu query-named-block-nodes '{}' 'r[0]["drv"]')" rdma
    quit qemu
}

check_info_tells_a_name_that_opens_the_same()
{
    local name
    volume again 4M
    io again 'write -q -P 9 0 64k'
    name=$(within 30 qemu-img info --output json --image-opts \
        "driver=rdma,server.host=$addr,server.port=$port,volume=again" |
        python3 -Sc 'import json, sys; print(json.load(sys.stdin)["filename"])')
    within 30 qemu-io -f raw -c 'read -q -P 9 0 64k' "$name"
}

# specific NAME MEMBER: of what its only node tells of its volume
specific()
{
    from "$1" query-named-block-nodes '{}' \
        "r[0]['image']['format-specific']['data'].get('$2')"
}

check_query_named_block_nodes_tells_what_the_server_granted()
{
    local first
    volume granted 4M
    empty qemu -blockdev "$(node disk granted '"queues": 2' '"slots": 7')"
    equal state "$(specific qemu state)" ready
    equal queues "$(specific qemu queues)" 2
    equal slots "$(specific qemu slots)" 7
    equal "block size" "$(specific qemu block-size)" "$(stat_server \
        "[v for v in s['volumes'] if v['name'] == 'granted'][0]['block_size']")"
    specific qemu identity | grep -qxE '[0-9a-f]{32}' ||
        fail "the identity is $(specific qemu identity)"
    first=$(specific qemu generation)
    quit qemu
    # Each writer is told from those before it; who reads has no lease.
    empty qemu -blockdev "$(node disk granted)"
    equal generation "$(specific qemu generation)" $((first + 1))
    qmp qemu blockdev-reopen \
        "{\"options\": [$(node disk granted '"read-only": true')]}" >/dev/null
    equal generation "$(specific qemu generation)" None
    quit qemu
}

actual_size()
{
    sed -n 's/.*"actual-size": \([0-9]*\).*/\1/p' "$work/$1" | head -n 1
}

state_is()
{
    [ "$(specific "$1" state)" = "$2" ]
}

# Though requests wait, and what the volume takes up cannot be asked: it is what
# it was.
check_queries_are_answered_while_the_connection_is_lost()
{
    start_server
    volume lost 4M
    empty qemu -blockdev "$(node disk lost '"reconnect-delay": 600')"
    soon 5 qmp qemu query-named-block-nodes >"$work/before"
    kill_server
    wait_until 60 state_is qemu reconnecting ||
        fail "the state is '$(specific qemu state)'"
    soon 5 qmp qemu query-named-block-nodes >"$work/nodes"
    soon 5 qmp qemu query-blockstats '{"query-nodes": true}' >"$work/stats"
    equal "actual size" "$(actual_size nodes)" "$(actual_size before)"
    start_server
    wait_until 60 state_is qemu ready ||
        fail "the state is '$(specific qemu state)'"
    vm_io qemu disk "write -P 1 0 64k"
    quit qemu
}

# stands_still NAME: its guest does no round for a second
stands_still()
{
    local before
    before=$(rounds "$1")
    sleep "$slow"
    [ "$(rounds "$1")" = "$before" ]
}

# Its server is stopped, nothing has a timeout, and QEMU waits for the guest's
# requests to end: only a monitor with a thread of its own is served.
check_yank_ends_what_waits_for_a_server_that_hangs()
{
    local yanker stopper began
    start_server
    boot_volume hung
    machine qemu -blockdev "$(node disk hung '"reconnect-delay": 3600' \
        '"request-timeout": 0' '"heartbeat": 0')" \
        -device virtio-blk-pci,drive=disk \
        -qmp "unix:$work/side,server=on,wait=off"
    goes_on qemu
    equal "what can be yanked" "$(from qemu query-yank '{}' \
        "[i['node-name'] for i in r if i['type'] == 'block-node']")" "['disk']"
    "$here/qmp" --when "$work/now" "$work/side" yank '{"instances": [
        {"type": "block-node", "node-name": "disk"}]}' >/dev/null &
    yanker=$!
    freeze "$server"
    wait_until 20 stands_still qemu || fail "the guest goes on"
    "$here/qmp" "$work/qemu.qmp" stop >/dev/null &
    stopper=$!
    end_later $yanker
    end_later $stopper
    sleep 2
    ! gone $stopper || fail "QEMU does not wait"
    began=$SECONDS
    touch "$work/now"
    wait $yanker || fail "yank fails"
    wait $stopper || fail "QEMU still waits"
    # Nothing else ends it.
    at_most seconds $((SECONDS - began)) $((40 * slow))
    says "$work/qemu.log" 'was aborted by request'
    kill -CONT "$server"
    wait_until 60 state_is qemu ready ||
        fail "the state is '$(specific qemu state)'"
    vm_io qemu disk 'read 3M 64k'
    quit qemu
}

# A relative backing file lies on the same server.
check_a_relative_backing_file_is_a_volume_beside()
{
    volume below 4M
    io below 'write -q -P 5 0 64k'
    volume above 16M
    within 30 qemu-img create -q -f qcow2 -F raw -u -b below "$(uri above)" 4M
    within 30 qemu-io -f qcow2 -c 'read -q -P 5 0 64k' "$(uri above)"
}

# The server's block size is the physical one; sectors stay as they were.
check_a_disk_has_sectors_of_512_bytes()
{
    boot_volume sectors
    machine qemu -blockdev "$(node disk sectors)" \
        -device virtio-blk-pci,drive=disk,id=front
    goes_on qemu
    equal "sector size" "$(from qemu qom-get '{"path":
        "/machine/peripheral/front", "property": "logical_block_size"}' r)" 512
    equal "physical size" "$(from qemu qom-get '{"path":
        "/machine/peripheral/front", "property": "physical_block_size"}' r)" \
        "$(stat_server "[v for v in s['volumes']
            if v['name'] == 'sectors'][0]['block_size']")"
    quit qemu
}

# Beside a guest that writes; the firmware knows nothing of the second disk, so
# it goes as it came.
check_disks_come_and_go_while_a_guest_writes()
{
    local i
    boot_volume first
    volume second 4M
    machine qemu -blockdev "$(node disk first)" \
        -object iothread,id=t0 -device virtio-scsi-pci,id=bus,iothread=t0 \
        -device virtio-blk-pci,drive=disk,bootindex=0
    goes_on qemu
    for ((i = 0; i < 5; i++)); do
        qmp qemu blockdev-add "$(node more second)" >/dev/null
        qmp qemu device_add '{"driver": "scsi-hd", "id": "extra",
            "drive": "more", "bus": "bus.0"}' >/dev/null
        vm_io qemu more "read 0 64k"
        goes_on qemu 1
        qmp qemu device_del '{"id": "extra"}' >/dev/null
        wait_until 20 unplugged qemu extra || fail "the disk is still there"
        qmp qemu blockdev-del '{"node-name": "more"}' >/dev/null
        equal sessions "$(sessions)" "['first']"
    done
    goes_on qemu
    quit qemu
    whole first
}

# virtio-mem takes memory away from the guest that the device has pinned.
check_virtio_mem_and_a_volume_exclude_each_other()
{
    volume pinned 4M
    machine qemu -m 32M,maxmem=1G -blockdev "$(node disk pinned)" \
        -object memory-backend-ram,id=m0,size=128M
    qmp_refused 'Discarding RAM is disabled' qemu device_add \
        '{"driver": "virtio-mem-pci", "id": "mem", "memdev": "m0"}'
    qmp qemu blockdev-del '{"node-name": "disk"}' >/dev/null
    qmp qemu device_add '{"driver": "virtio-mem-pci", "id": "mem",
        "memdev": "m0"}' >/dev/null
    qmp_refused 'RDMA pins memory' qemu blockdev-add \
        "$(node disk pinned)"
    no_sessions || fail "a session is left"
    quit qemu
}

# As it is when it was there at first
check_memory_that_is_plugged_in_is_registered_beside_a_guest_that_writes()
{
    boot_volume growing
    machine qemu -m 32M,slots=1,maxmem=1G -trace rdma_register \
        -blockdev "$(node disk growing)" -device virtio-blk-pci,drive=disk
    goes_on qemu
    qmp qemu object-add '{"qom-type": "memory-backend-ram", "id": "m0",
        "size": 134217728}' >/dev/null
    qmp qemu device_add '{"driver": "pc-dimm", "id": "dimm",
        "memdev": "m0"}' >/dev/null
    says "$work/qemu.log" 'rdma_register .* size 134217728 ret 0'
    goes_on qemu
    quit qemu
    whole growing
}

unplugged()
{
    ! qmp_may_fail=1 qmp "$1" qom-list \
        "{\"path\": \"/machine/peripheral/$2\"}" >/dev/null
}

start_server
run_checks
