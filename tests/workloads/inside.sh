#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Real work in a guest, on rdma:// volumes: a Debian whose root is one makes
# file systems on a second one, and has a database when the power fails (QEMU
# is killed).  It boots again, from the same root, and nothing that was
# committed is lost.  Then disks and memory come and go while it works.
# tests/workloads/run runs this in the lab.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/../e2e/lib.sh"
# shellcheck source=tests/e2e/qemu.sh
. "$here/qemu.sh"

guest=${1:?which guest?}
console=$work/console
again=$work/again               # of the second boot
committed=40                    # transactions before the power fails

# boot_guest TASK LOG: in the background, as the process $booter
boot_guest()
{
    : >"$2"
    rm -f "$work/qemu.pid"
    "$top/tests/lab/guest/boot" --guest "$guest" \
        --memory 512M,slots=1,maxmem=1G --task "$1" \
        --time-limit $((1500 * slow)) --log "$2" -- \
        -drive "file=$(uri 'root?heartbeat=60'),format=raw,if=virtio" \
        -drive "file=$(uri 'data?heartbeat=60'),format=raw,if=virtio,\
discard=unmap" -pidfile "$work/qemu.pid" \
        -device pcie-root-port,id=bay,chassis=1 -device virtio-balloon-pci \
        -qmp "unix:$work/guest.qmp,server=on,wait=off" \
        >/dev/null 2>"$work/boot" &
    booter=$!
    wait_until 60 test -s "$work/qemu.pid" || fail "$(tail -n 1 "$work/boot")"
}

# The guest has said it, or cannot any more.
guest_says()
{
    grep -aqE "RDISK-GUEST: ($1|FAILED)" "$2" ||
        gone "$(cat "$work/qemu.pid")"
}

# await SECONDS LOG REGEX
await()
{
    wait_until "$1" guest_says "$3" "$2" || true
    grep -aqE "RDISK-GUEST: $3" "$2" || {
        tail -n 30 "$2"
        fail "$(grep -a 'RDISK-GUEST: FAILED' "$2" || tail -n 1 "$work/boot")"
    }
}

# step NAME SECONDS: of the guest that was started by the first check
step()
{
    await "$2" "$console" "STEP $1 ok"
    grep -aE "RDISK-GUEST: STEP ${1%-*}" "$console"
}

last_committed()
{
    sed -n 's/.*RDISK-GUEST: COMMITTED \([0-9]*\).*/\1/p' "$console" |
        tail -n 1
}

check_a_debian_boots_from_a_volume()
{
    volume root "$(stat -c %s "$guest/root.ext4")"
    volume data 400M
    within 300 qemu-img convert -n -f raw -O raw "$guest/root.ext4" \
        "$(uri root)"
    boot_guest work "$console"
    await 500 "$console" 'BOOTED Debian'
    step units 60
    grep -a 'BOOTED' "$console"
}

check_ext4_is_made_exercised_trimmed_and_clean()
{
    step ext4-fsck 600
}

check_xfs_is_made_exercised_trimmed_and_clean()
{
    step xfs-fsck 600
}

check_fio_verifies_what_it_wrote()
{
    step fio 600
}

check_a_database_commits_until_the_power_fails()
{
    await 300 "$console" "COMMITTED ${committed}[^0-9]*\$"
    kill -KILL "$(cat "$work/qemu.pid")"
    wait_until 30 no_sessions
    [ "$(last_committed)" -ge $committed ] || fail "too few transactions"
}

check_after_the_power_failure_nothing_committed_is_lost()
{
    local recovered
    boot_guest recover "$again"
    await 500 "$again" 'AWAIT disk 1'
    grep -a 'RDISK-GUEST:' "$again"
    says "$again" 'STEP integrity ok'
    says "$again" 'STEP whole ok'
    says "$again" 'STEP packages ok'
    recovered=$(sed -n 's/.*RECOVERED \([0-9]*\) .*/\1/p' "$again")
    [ "$recovered" -ge "$(last_committed)" ] ||
        fail "$recovered transactions, of $(last_committed) committed"
    echo "# $(last_committed) were told, $recovered are there"
}

# plug NODE: as the guest's next disk
plug()
{
    qmp guest blockdev-add "$(node "$1" extra '"heartbeat": 60')" >/dev/null
    qmp guest device_add "{\"driver\": \"virtio-blk-pci\", \"bus\": \"bay\",
        \"id\": \"plugged\", \"drive\": \"$1\"}" >/dev/null
}

unplugged()
{
    ! qmp_may_fail=1 qmp guest qom-list \
        '{"path": "/machine/peripheral/plugged"}' >/dev/null
}

check_a_disk_is_unplugged_while_it_is_written()
{
    local n writes
    volume extra 16M
    for n in 1 2; do
        await 120 "$again" "AWAIT disk $n"
        plug "disk$n"
        await 120 "$again" "WRITING $n"
        writes=$(writes_of extra)
        wait_until 60 has_written "$((writes + 20))" ||
            fail "the guest does not write"
        qmp guest device_del '{"id": "plugged"}' >/dev/null
        wait_until 60 unplugged || fail "the disk is still there"
        qmp guest blockdev-del "{\"node-name\": \"disk$n\"}" >/dev/null
        await 120 "$again" "STEP unplug-$n ok"
        [ -z "$(writes_of extra)" ] || fail "its session is still there"
    done
}

writes_of()
{
    stat_server "''.join(str(s['counters']['writes']) for s in s['sessions']
        if s['volume'] == '$1')"
}

has_written()
{
    [ "$(writes_of extra)" -ge "$1" ]
}

copied_bytes()
{
    from guest query-blockstats '{"query-nodes": true}' \
        "sum(n['driver-specific']['copied-bytes'] for n in r
            if n.get('driver-specific', {}).get('driver') == 'rdma')"
}

# The device reads into memory that was not there when the disk was opened.
check_memory_that_is_plugged_in_is_registered()
{
    local copied
    await 120 "$again" 'AWAIT memory'
    copied=$(copied_bytes)
    qmp guest object-add '{"qom-type": "memory-backend-ram", "id": "more",
        "size": 268435456}' >/dev/null
    qmp guest device_add '{"driver": "pc-dimm", "id": "dimm",
        "memdev": "more"}' >/dev/null
    await 300 "$again" 'IN-NEW-MEMORY'
    grep -a 'IN-NEW-MEMORY' "$again"
    [ "$(sed -n 's/.*IN-NEW-MEMORY \([0-9]*\).*/\1/p' "$again")" -ge 64 ] ||
        fail "the guest does not use it"
    at_most "copied bytes" $(($(copied_bytes) - copied)) 1000000
    same_sums
}

# same_sums: what the guest has read so far is what there is
same_sums()
{
    local wanted
    wanted=$(head -c $((128 << 20)) "$pool/data" | md5sum | cut -c 1-32)
    equal "what the guest reads" \
        "$(sed -n 's/.*RDISK-GUEST: SUM [0-9]* //p' "$again" | tr -d '\r' |
            sort -u)" "$wanted"
}

balloon_is()
{
    [ "$(from guest query-balloon '{}' 'r["actual"] >> 20')" = "$1" ]
}

# balloon MIB: and the guest reads twice with what it has then
balloon()
{
    local sums
    qmp guest balloon "{\"value\": $(($1 << 20))}" >/dev/null
    wait_until 120 balloon_is "$1" ||
        fail "the guest has $(from guest query-balloon '{}' 'r["actual"]')"
    sums=$(grep -ac 'RDISK-GUEST: SUM' "$again")
    await 300 "$again" "SUM $((sums + 1)) "
}

# QEMU does not throw away what the balloon takes from the guest: the device
# would go on with those pages.
check_a_balloon_leaves_the_memory_to_the_device()
{
    balloon 400
    balloon 768
    plug enough
    await 300 "$again" 'STEP told ok'
    same_sums
}

check_the_guest_ends_in_good_order()
{
    await 120 "$again" poweroff
    wait_until 60 gone "$(cat "$work/qemu.pid")" || fail "QEMU does not end"
    wait_until 30 no_sessions
}

check_the_roots_file_system_is_clean_on_the_server()
{
    e2fsck -fn "$pool/root"
}

start_server
run_checks
