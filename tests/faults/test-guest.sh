#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A Linux guest on an rdma:// root disk, whose server is killed, put to sleep,
# and restarted cleanly, and whose network loses packets or all of them,
# while the guest boots, writes with fsync and direct I/O, reboots and verifies.
# It must see nothing but pauses.
# time-limit: 900
# shellcheck source=tests/faults/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=tests/e2e/guest.sh
. "$here/guest.sh"

hits=0
backs=()

# Called about twice a second while the guest runs: something every 2 s.
hurt_something()
{
    local began
    [ $((SECONDS - last_hit)) -ge $((2 * slow)) ] || return 0
    case $((hits % 5)) in
    0)
        replace_server
        ;;
    1)
        net loss 100%
        sleep $((5 * slow))
        net restore
        ;;
    2)
        within 30 rdisk drain --control "$control" >/dev/null
        stop_server
        start_server
        ;;
    3)
        doze server 3
        ;;
    4)
        net delay 1ms reorder 25% 50% loss 5%
        sleep $((3 * slow))
        net restore
        ;;
    esac
    began=${EPOCHREALTIME/./}
    wait_until 30 answers_guest || fail "the guest's session does not come back"
    backs+=($(((${EPOCHREALTIME/./} - began) / 1000)))
    hits=$((hits + 1))
    last_hit=$SECONDS
}

# One session, which has been asked something.
answers_guest()
{
    [ "$(stat_server '[x["epoch"] for x in s["sessions"]
        if not x["fenced"] and x["counters"]["reads"] +
        x["counters"]["writes"] + x["counters"]["flushes"]] != []')" = True ] ||
        gone "$guest_pid"
}

check_a_guest_sees_pauses_and_no_error_while_its_server_comes_and_goes()
{
    local image last_hit=$SECONDS began=$SECONDS
    image=$("$top/tests/lab/guest/build")/root.ext4
    wire
    start_server
    volume root "$(stat -c %s "$image")"
    within 120 qemu-img convert -n -f raw -O raw "$image" "$(uri root)"
    guest_start "$work" \
        "$(uri 'root?reconnect-delay=300&heartbeat=2&open-timeout=20')" ||
        fail "$(tail -n 1 "$work/boot")"
    end_later "$guest_pid"
    guest_wait "$work" 600 hurt_something || {
        tail -n 20 "$work/console"
        fail "$(tail -n 1 "$work/boot")"
    }
    guest_end "$work" || fail "$(tail -n 1 "$work/boot")"
    grep -a RDISK-GUEST "$work/console"
    equal "boots" "$(grep -ac 'RDISK-GUEST: BOOTED' "$work/console")" 2
    says "$work/console" 'RDISK-GUEST: VERIFIED 12 files'
    ! grep -aE 'I/O error|EXT4-fs error|Remounting filesystem' \
        "$work/console" || fail "the guest saw an I/O error"
    equal "failed requests" "$(guest_counter "$work" failed)" 0
    [ "$(guest_counter "$work" reconnects 2>/dev/null || true)" != 0 ] ||
        fail "it never reconnected"
    [ $hits -ge 4 ] || fail "only $hits faults were injected before it was done"
    "$top/tests/lab/guest/check-image" "$pool/root"
    report "$hits faults in $((SECONDS - began)) s," \
        "back in $(largest "${backs[@]}") ms"
}

run_checks
