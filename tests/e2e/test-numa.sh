#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A machine of two NUMA nodes with its NIC on the second one: the server's
# threads, the memory of its slots and its rings are there, and the slots lie in
# huge pages.  Soft-RoCE is on no
# node, so the server sees a copy of what sysfs tells of it, with a node.
# lab: --engine tcg --numa 2
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/e2e/qemu.sh
. "$here/qemu.sh"

begin()
{
    [ -d /sys/devices/system/node/node1 ] || skip "this machine has one node"
    [ -x "$top/build/bin/bench-client" ] ||
        skip "not built: make e2e-programs"
    cat >"$work/near" <<END
#!/bin/bash
# COMMAND…: in a mount namespace where each RDMA device is on node 1
set -eu
for device in /sys/class/infiniband/*; do
    mkdir -p $work/sysfs/\${device##*/}/device
    for entry in "\$device"/*; do
        [ "\${entry##*/}" = device ] ||
            ln -sfn "\$(realpath "\$entry")" $work/sysfs/\${device##*/}/
    done
    echo 1 >$work/sysfs/\${device##*/}/device/numa_node
done
mount --bind $work/sysfs /sys/class/infiniband
exec "\$@"
END
    chmod 755 "$work/near"
    server_under="unshare --mount $work/near" start_server \
        --volume disk=memory:64M
    # All its slots at once, for as long as it is there.
    bench-client "$(uri disk)?slots=64&slot-size=256k" -c 100 -i 60 -o \
        >"$work/client" 2>&1 &
    end_later $!
    wait_until 30 grep -q '^idle' "$work/client" ||
        fail "bench-client: $(tail -n 1 "$work/client")"
}

# pages REGEX NODE [PROCESS]: of the server's mappings that match, or those of
# another process, how many are there
pages()
{
    grep -E -- "$1" "/proc/${3:-$server}/numa_maps" | tr ' ' '\n' |
        awk -F= -v node="N$2" '$1 == node { sum += $2 }
                               END { print sum + 0 }'
}

check_stat_tells_the_devices_node_and_cores_of_it()
{
    begin
    equal "the device's node" "$(stat_server 's["node"]')" 1
    equal "the reactors' nodes" \
        "$(stat_server 'set(r["node"] for r in s["reactors"])')" '{1}'
}

check_reactors_run_on_the_devices_node()
{
    local task cores
    begin
    cores=$(cat /sys/devices/system/node/node1/cpulist)
    for task in /proc/"$server"/task/*; do
        case $(cat "$task/comm") in
        reactor-*)
            equal "the cores of $(cat "$task/comm")" \
                "$(awk '$1 == "Cpus_allowed_list:" { print $2 }' \
                       "$task/status")" "$cores"
            ;;
        esac
    done
}

# 64 slots of 256 KiB and 8 KiB are 4224 pages
check_slots_are_on_the_devices_node()
{
    begin
    equal "pages of slots on node 1" "$(pages 'anon=4224 ' 1)" 4224
    equal "pages of slots on node 0" "$(pages 'anon=4224 ' 0)" 0
}

check_rings_are_on_the_devices_node()
{
    local regex='io_uring'
    begin
    grep -E "$regex" "/proc/$server/numa_maps"
    [ "$(pages "$regex" 1)" -gt 0 ] || fail "no page of a ring is on node 1"
    equal "pages of rings on node 0" "$(pages "$regex" 0)" 0
}

# QEMU binds a block of memory after it has told of it, and the driver registers
# it after both.  (With this kernel and 32 MiB, registering it at once was no
# different.)
check_guest_memory_is_on_the_node_it_is_bound_to()
{
    local node
    [ -d /sys/devices/system/node/node1 ] || skip "this machine has one node"
    start_server
    volume v 4M
    for node in 0 1; do
        machine "on$node" -blockdev "$(node disk v)" \
            -device virtio-blk-pci,drive=disk -machine memory-backend=ram \
            -object "memory-backend-ram,id=ram,size=32M,policy=bind,host-nodes=$node"
        equal "pages on node $node" \
            "$(pages "bind:$node " $node "${vm[on$node]}")" 8192
        equal "pages on node $((1 - node))" \
            "$(pages "bind:$node " $((1 - node)) "${vm[on$node]}")" 0
        quit "on$node"
    done
}

thp_file=/sys/kernel/mm/transparent_hugepage/enabled

# thp MODE: of huge pages for programs, until the check ends
thp()
{
    local mode
    [ -e "$thp_file" ] || skip "this kernel has no huge pages for programs"
    mode=$(sed 's/.*\[\(.*\)\].*/\1/' "$thp_file")
    # shellcheck disable=SC2064 # as it is now
    trap "echo $mode >$thp_file" EXIT
    echo "$1" >"$thp_file"
}

# KiB of the slots' 16896 that lie in huge pages
huge()
{
    awk '$1 == "Size:" { slots = $2 == 16896 }
         slots && $1 == "AnonHugePages:" { sum += $2 }
         END { print sum + 0 }' "/proc/$server/smaps"
}

# Most of them: the two ends are left over, and a kernel may run short.
check_slots_lie_in_huge_pages_where_the_kernel_gives_them()
{
    thp madvise
    begin
    report "$(huge) of 16896 KiB"
    [ "$(huge)" -ge $((4 * 2048)) ] || fail "$(huge) KiB lie in huge pages"
}

check_without_huge_pages_slots_are_as_good()
{
    thp never
    begin
    equal "KiB in huge pages" "$(huge)" 0
    # Their mapping may have grown together with the next one.
    [ "$(pages 'anon=[0-9]{4,} ' 1)" -ge 4224 ] ||
        fail "$(pages 'anon=[0-9]{4,} ' 1) of 4224 pages are on node 1"
    equal "requests" \
        "$(stat_server 's["volumes"][0]["counters"]["reads"]')" 100
}

run_checks
