#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# rdisk-vhost killed under load and started again, again and again: a guest sees
# pauses and no error, and every byte is right; and the same of a guest that moves
# between two hosts. With guests only in the long form.
# time-limit: 7200
# quick-lab: guests boot, and seconds are counted
# shellcheck source=tests/faults/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=tests/e2e/vhost.sh
. "$here/vhost.sh"
# shellcheck source=tests/e2e/qemu.sh
. "$here/qemu.sh"

# killed_disk NAME: a disk of the volume of that name in the configuration file,
# so that each daemon knows it
killed_disk()
{
    vhost_config=$work/vhost.conf
    cat >"$vhost_config" <<END
[disk $1]
uri = $(uri "$1?reconnect-delay=120&heartbeat=60")
socket = $work/$1.sock
queues = 2
END
    vhost_start
    wait_until 20 accepts "$work/$1.sock"
}

# kill_daemon PROCESS: and start another, until it has the volume open, unless the
# process ends before. How long that took is one of `backs`, in milliseconds.
backs=()
kill_daemon()
{
    local began=${EPOCHREALTIME/./} opened
    opened=$(times_open)
    kill -KILL "$vhost"
    wait "$vhost" || true
    rdisk-vhost --control "$vhost_control" --config "$vhost_config" \
        2>>"$vhost_log" &
    vhost=$!
    end_later $vhost
    wait_until 60 open_again "$opened" "$1" ||
        fail "the volume is not open again: $(tail -n 1 "$vhost_log")"
    backs+=($(((${EPOCHREALTIME/./} - began) / 1000)))
}

times_open()
{
    grep -c 'volume open' "$vhost_log" || true
}

open_again()
{
    [ "$(times_open)" -gt "$1" ] || gone "$2"
}

check_a_daemon_killed_again_and_again_under_a_client_that_knows_every_byte()
{
    local writer round rounds
    rounds=$(often 3 200)
    start_server
    volume v 32M
    killed_disk v
    vhost-client "$work/v.sock" check 3000 32 "$work/v.stop" \
        >"$work/check" 2>&1 &
    writer=$!
    end_later $writer
    wait_until 20 vhost_is open || fail "$(tail -n 1 "$work/check")"
    for ((round = 0; round < rounds; round++)); do
        sleep 0.$((RANDOM % 8 + 2))
        kill_daemon "$writer"
        ! gone "$writer" || fail "$(tail -n 1 "$work/check")"
    done
    vhost_written v
    report "$rounds kills, back in $(largest "${backs[@]}") ms"
}

guest_endures()
{
    grep -aq 'RDISK-GUEST: ENDURES' "$work/console"
}

guest_ends()
{
    grep -aqE 'RDISK-GUEST: (ENDURED|FAILED)|Kernel panic' "$work/console" ||
        gone "$guest"
}

# killed_under_a_guest QEMU KILLS: while the guest writes, reads back and compares,
# so often; then its disk grows, by which it knows that it may end
killed_under_a_guest()
{
    local qemu=$1 guest
    [ -z "$quick" ] || skip "it takes a quarter of an hour: make faults" \
        "FAULTS=vhost-kills"
    start_server
    vhost_root
    killed_disk root
    vhost_guest root --task endure --minutes 100 --time-limit 7000
    wait_until 200 guest_endures || fail "$(tail -n 1 "$work/boot")"
    until [ ${#backs[@]} -ge "$2" ] || guest_ends; do
        sleep 0.$((RANDOM % 8 + 2))
        kill_daemon "$guest"
    done
    within 20 rdisk resize root 161M --control "$control"
    wait_until 60 gone "$guest" || {
        tail -n 20 "$work/console"
        fail "the guest does not power off"
    }
    wait "$guest" || {
        tail -n 20 "$work/console"
        fail "$(tail -n 1 "$work/boot")"
    }
    ! grep -aE 'I/O error|blk_update|EXT4-fs error' "$work/console" ||
        fail "the guest saw an I/O error"
    e2fsck -fn "$pool/root" || fail "the guest's file system is damaged"
    report "${#backs[@]} kills, back in $(largest "${backs[@]}") ms;" \
        "$(sed -n 's/.*RDISK-GUEST: ENDURED //p' "$work/console" | tr -d '\r')"
    at_least kills ${#backs[@]} "$2"
}

check_a_daemon_killed_again_and_again_under_a_guest_of_a_stock_qemu()
{
    killed_under_a_guest "$stock" 200
}

check_a_daemon_killed_again_and_again_under_a_guest_of_our_qemu()
{
    killed_under_a_guest "$top/build/bin/qemu-system-x86_64" 200
}

# endures NAME [OPTION…]: the guest, on the disk of the host of that name
endures()
{
    : >"$work/$1.console"
    "$top/tests/lab/guest/boot" --qemu $stock --task endure --minutes 2 \
        --programs memory --time-limit 1200 --log "$work/$1.console" -- \
        -object memory-backend-memfd,id=memory,size=256M,share=on \
        -machine memory-backend=memory \
        -chardev "socket,id=vhost,path=$work/$1.vhost,reconnect=1" \
        -device vhost-user-blk-pci,chardev=vhost,num-queues=2 \
        -qmp "unix:$work/$1.qmp,server=on,wait=off" \
        -action shutdown=pause "${@:2}" >/dev/null 2>"$work/$1.log" &
    vm[$1]=$!
    end_later $!
    wait_until 60 accepts "$work/$1.qmp" || fail "$(tail -n 1 "$work/$1.log")"
    qmp "$1" query-version >/dev/null
}

endured()
{
    grep -aqE 'RDISK-GUEST: (ENDURED|FAILED)' "$work"/*.console
}

check_a_guest_that_moves_again_and_again_has_every_byte()
{
    local from=left to=right moves=0
    [ -z "$quick" ] || skip "it takes 3 minutes: make faults FAULTS=vhost-kills"
    [ -x $stock ] || skip "$stock is not installed"
    start_server
    vhost_root
    vhost_host left root
    vhost_host right root
    endures left
    wait_until 200 grep -aq 'RDISK-GUEST: ENDURES' "$work/left.console" ||
        fail "$(tail -n 1 "$work/left.log")"
    until endured; do
        sleep 2
        endures $to -incoming "unix:$work/$to.socket"
        migrate $from $to
        qmp_may_fail=1 qmp $from quit >/dev/null || true
        wait_until 20 gone "${vm[$from]}" || fail "$from does not end"
        moves=$((moves + 1))
        from=$to to=$([ $to = left ] && echo right || echo left)
        ! grep -aE 'FAILED|I/O error' "$work"/*.console ||
            fail "the guest failed after $moves moves"
        # It may have ended where it was before, after the last look.
        endured || : >"$work/$to.console"
    done
    wait_until 60 status_is $from shutdown || fail "it is not off"
    qmp $from quit >/dev/null
    wait_until 20 no_sessions
    e2fsck -fn "$pool/root" || fail "the guest's file system is damaged"
    report "$moves moves;" \
        "$(sed -n 's/.*RDISK-GUEST: ENDURED //p' "$work"/*.console | tr -d '\r')"
    grep -aq 'RDISK-GUEST: ENDURED' "$work"/*.console || fail "it failed"
    [ $moves -ge 2 ] || fail "only $moves moves"
}

run_checks
