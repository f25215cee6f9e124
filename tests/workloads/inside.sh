#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Real work in a guest, on rdma:// volumes: a Debian whose root is one makes
# file systems on a second one, and has a database when the power fails (QEMU
# is killed).  It boots again, from the same root, and nothing that was
# committed is lost.  tests/workloads/run runs this in the lab.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/../e2e/lib.sh"

guest=${1:?which guest?}
console=$work/console
committed=40                    # transactions before the power fails

# boot_guest TASK LOG: in the background, as the process $booter
boot_guest()
{
    : >"$2"
    rm -f "$work/qemu.pid"
    "$top/tests/lab/guest/boot" --guest "$guest" --memory 512M --task "$1" \
        --time-limit $((1500 * slow)) --log "$2" -- \
        -drive "file=$(uri 'root?heartbeat=60'),format=raw,if=virtio" \
        -drive "file=$(uri 'data?heartbeat=60'),format=raw,if=virtio,\
discard=unmap" -pidfile "$work/qemu.pid" >/dev/null 2>"$work/boot" &
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
    local again=$work/again recovered
    boot_guest recover "$again"
    end_later $booter
    await 500 "$again" 'poweroff'
    wait $booter || fail "$(tail -n 1 "$work/boot")"
    grep -a 'RDISK-GUEST:' "$again"
    says "$again" 'STEP integrity ok'
    says "$again" 'STEP whole ok'
    says "$again" 'STEP packages ok'
    recovered=$(sed -n 's/.*RECOVERED \([0-9]*\) .*/\1/p' "$again")
    [ "$recovered" -ge "$(last_committed)" ] ||
        fail "$recovered transactions, of $(last_committed) committed"
    echo "# $(last_committed) were told, $recovered are there"
}

check_the_roots_file_system_is_clean_on_the_server()
{
    e2fsck -fn "$pool/root"
}

start_server
run_checks
