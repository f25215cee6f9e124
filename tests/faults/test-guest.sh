#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A Linux guest on an rdma:// root disk, whose server is killed, put to sleep,
# and restarted in good order while the guest boots, writes with fsync and
# direct I/O, reboots and verifies.  It must see nothing but pauses.
# time-limit: 900
# shellcheck source=tests/faults/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=tests/e2e/guest.sh
. "$here/guest.sh"

hits=0

# Called about twice a second while the guest runs: something every 3 s.
hurt_server()
{
    [ $((SECONDS - last_hit)) -ge $((3 * slow)) ] || return 0
    case $((hits % 3)) in
    0)
        kill_server
        start_server
        ;;
    1)
        within 30 rdisk drain --control "$control" >/dev/null
        stop_server
        start_server
        ;;
    2)
        kill -STOP "$server"
        sleep $((3 * slow))
        kill -CONT "$server"
        ;;
    esac
    hits=$((hits + 1))
    last_hit=$SECONDS
}

check_a_guest_sees_pauses_and_no_error_while_its_server_comes_and_goes()
{
    local image last_hit=$SECONDS began=$SECONDS
    image=$("$top/tests/lab/guest/build")/root.ext4
    start_server
    volume root "$(stat -c %s "$image")"
    within 120 qemu-img convert -n -f raw -O raw "$image" "$(uri root)"
    guest_start "$work" \
        "$(uri 'root?reconnect-delay=300&heartbeat=2&open-timeout=20')" ||
        fail "$(tail -n 1 "$work/boot")"
    end_later "$guest_pid"
    guest_wait "$work" 600 hurt_server || {
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
    [ $hits -ge 3 ] || fail "only $hits faults came before it was done"
    "$top/tests/lab/guest/check-image" "$pool/root"
    report "$hits faults in $((SECONDS - began)) s"
}

run_checks
