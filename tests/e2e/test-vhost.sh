#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# rdisk-vhost gives volumes to a stock QEMU as vhost-user-blk devices, without
# a copy, and may be killed and started again while guests run.
# time-limit: 1600
# quick-lab: guests boot on vhost-user devices
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=tests/e2e/vhost.sh
. "$here/vhost.sh"

check_a_disk_is_refused_that_is_not_described_whole()
{
    start_server
    vhost_start
    refused 'needs uri = ' 20 "$here/vhost-call" "$vhost_control" \
        add name=a "socket=$work/a"
    refused 'needs socket = ' 20 "$here/vhost-call" "$vhost_control" \
        add name=a "uri=$(uri a)"
    refused "invalid disk name '../a'" 20 "$here/vhost-call" "$vhost_control" \
        add name=../a
    refused 'queues = 65 is not' 20 "$here/vhost-call" "$vhost_control" \
        add name=a queues=65
    refused 'a disk has no option' 20 "$here/vhost-call" "$vhost_control" \
        add name=a color=red
    equal "disks" "$(vhost_call list)" '{"disks": []}'
}

check_a_disk_waits_for_its_volume()
{
    start_server
    vhost_start
    vhost_call add name=late "uri=$(uri late)" "socket=$work/late.sock"
    sleep 0.5
    [ ! -e "$work/late.sock" ] || fail "it listens before the volume is there"
    volume late 8M
    wait_until 20 accepts "$work/late.sock"
    equal "size" "$(vhost_stat 'd["size"]')" $((8 << 20))
    equal "state" "$(vhost_stat 'd["state"]')" idle
    no_sessions
}

check_a_guest_is_told_what_the_volume_is()
{
    start_server
    volume told 8M
    vhost_start
    vhost_add told serial=ABC-123 queues=3
    within 20 vhost-client "$work/told.sock" info | tee "$work/info"
    says "$work/info" "^sectors 16384 block-size $(stat_block told) queues 3 read-only 0$"
    says "$work/info" '^serial ABC-123'
}

# stat_block VOLUME: its block size
stat_block()
{
    rdisk ping --count 1 "$(uri "$1")" | sed -n 's/.* in blocks of \([0-9]*\).*/\1/p'
}

check_no_byte_is_copied()
{
    start_server
    volume fast 64M
    vhost_start
    vhost_add fast
    within 60 vhost-client "$work/fast.sock" bench write 4096 16 2000
    within 60 vhost-client "$work/fast.sock" bench read 4096 16 2000
    within 60 vhost-client "$work/fast.sock" bench read 1048576 2 64
    equal "failed" "$(vhost_stat 'd["failed"]')" 0
    equal "requests" "$(vhost_stat 'd["requests"]')" 4064
    wait_until 20 vhost_is idle
    vhost_copied fast
}

# vhost_copied VOLUME: the same again, with the session's counters in view
vhost_copied()
{
    vhost_writes "$1" 16
    wait_until 20 vhost_has_read
    equal "copied bytes" "$(vhost_stat 'd["copied_bytes"]')" 0
    vhost_written "$1"
}

vhost_has_read()
{
    [ "$(vhost_stat 'd["reads"] > 100 and d["writes"] > 100')" = True ]
}

check_every_byte_is_right_though_the_daemon_is_killed_ten_times()
{
    local writer
    start_server
    volume killed 32M
    vhost_config=$work/vhost.conf
    cat >"$vhost_config" <<END
[disk killed]
uri = $(uri 'killed?reconnect-delay=60&heartbeat=60')
socket = $work/killed.sock
END
    vhost_start
    wait_until 20 accepts "$work/killed.sock"
    vhost_writes killed 32
    for _ in {1..10}; do
        wait_until 20 vhost_is open || fail "$(tail -n 1 "$work/check")"
        sleep 0.5
        kill -KILL "$vhost"
        wait_until 10 gone "$vhost"
        vhost_start
    done
    vhost_written killed
}

# With lease-time nobody else has the volume for so long; the next daemon has,
# since it comes back as the same client.
check_the_next_daemon_has_the_lease_that_is_kept()
{
    local began
    vhost_killed_disk kept --lease-time 600
    kill -KILL "$vhost"
    wait_until 10 gone "$vhost"
    refused 'is kept for|is being written' 20 qemu-io -f raw -c 'write 0 4k' \
        "$(uri kept)"
    began=$SECONDS
    vhost_start
    wait_until 20 vhost_is open || fail "$(tail -n 1 "$work/check")"
    # It waits for no lease to end.
    at_most "seconds" $((SECONDS - began)) $((60 * slow))
    vhost_written kept
}

check_a_guest_whose_volume_somebody_else_has_written_gets_errors()
{
    vhost_killed_disk taken
    kill -KILL "$vhost"
    wait_until 10 gone "$vhost"
    wait_until 20 io taken 'write -P 7 0 4k'
    vhost_start
    # The disk is idle again as soon as the guest, which got an error, has gone.
    wait_until 20 grep -q 'was given to another client' "$vhost_log" ||
        fail "the disk is $(vhost_stat 'd["state"]')"
    wait_until 20 gone "$writer" || fail "the guest goes on"
    ! wait "$writer" || fail "the guest saw no error"
    says "$work/check" 'ended with status 1'
    io taken 'read -P 7 0 4k'
}

# vhost_killed_disk VOLUME [SERVER-OPTION…]: a disk with a writer, $writer
vhost_killed_disk()
{
    start_server "${@:2}"
    volume "$1" 32M
    vhost_config=$work/vhost.conf
    cat >"$vhost_config" <<END
[disk $1]
uri = $(uri "$1?reconnect-delay=60&heartbeat=60")
socket = $work/$1.sock
END
    vhost_start
    wait_until 20 accepts "$work/$1.sock"
    vhost_writes "$1" 32
    wait_until 20 vhost_has_read
}

check_an_orderly_restart_loses_nothing()
{
    local writer status=0
    start_server
    volume restarted 32M
    vhost_config=$work/vhost.conf
    cat >"$vhost_config" <<END
[disk restarted]
uri = $(uri 'restarted?reconnect-delay=60&heartbeat=60')
socket = $work/restarted.sock
END
    vhost_start
    wait_until 20 accepts "$work/restarted.sock"
    vhost_writes restarted 32
    for _ in {1..3}; do
        wait_until 20 vhost_is open
        sleep 0.5
        kill -TERM "$vhost"
        wait "$vhost" || status=$?
        equal "exit status" $status 0
        vhost_start
    done
    vhost_written restarted
}

check_a_restart_of_the_server_is_a_pause()
{
    local writer
    start_server
    volume pause 32M
    vhost_start
    vhost_add pause
    vhost_writes pause 16
    sleep 1
    kill_server
    sleep 1
    start_server
    wait_until 20 vhost_is open
    vhost_written pause
}

check_a_hostile_guest_harms_nobody_else()
{
    local writer
    start_server
    volume good 32M
    volume bad 8M
    vhost_start
    vhost_add good
    vhost_add bad
    vhost_writes good 16
    within 60 vhost-client "$work/bad.sock" hostile
    vhost_written good
    within 20 vhost-client "$work/bad.sock" info
}

check_an_idle_daemon_sleeps()
{
    start_server
    volume idle 8M
    vhost_start --poll-time 100
    vhost_add idle
    vhost_writes idle 1
    freeze "$writer"
    unchanged 3 vhost_turns || fail "an idle reactor does not sleep"
}

vhost_turns()
{
    vhost_call stat | python3 -Sc 'import json, sys
print(json.load(sys.stdin)["reactors"][0]["turns"])'
}

check_a_volume_that_grows_is_told_to_the_device()
{
    start_server
    volume grows 8M
    vhost_start
    vhost_add grows
    vhost_writes grows 4
    within 20 rdisk resize grows 16M --control "$control"
    wait_until 10 vhost_size_is $((16 << 20))
    vhost_written grows
}

vhost_size_is()
{
    [ "$(vhost_stat 'd["size"]')" = "$1" ]
}

check_a_stock_qemu_boots_writes_reboots_and_verifies_without_a_copy()
{
    start_server
    vhost_root
    vhost_start
    vhost_add root
    vhost_guest root
    wait_until 120 vhost_is open
    vhost_guest_done
    wait_until 20 vhost_is idle
    equal "failed requests" "$(vhost_stat 'd["failed"]')" 0
    [ "$(vhost_stat 'd["requests"]')" -gt 500 ] || fail "too few requests"
    wait_until 10 no_sessions
    "$top/tests/lab/guest/check-image" "$pool/root"
    report "$(vhost_stat 'd["requests"]') requests"
}

# With a configuration file, so that the next daemon knows the disk.
check_a_guest_outlasts_kills_of_the_daemon_without_an_error()
{
    local kills=0
    start_server
    vhost_root
    vhost_config=$work/vhost.conf
    cat >"$vhost_config" <<END
[daemon]
reactors = 1

[disk root]
uri = $(uri 'root?reconnect-delay=60&heartbeat=60')
socket = $work/root.sock
queues = 2
END
    vhost_start
    wait_until 20 accepts "$work/root.sock"
    vhost_guest root --files 24
    wait_until 120 vhost_is open
    while kill -0 "$guest" 2>/dev/null && [ $kills -lt 8 ]; do
        sleep 2
        kill -KILL "$vhost"
        wait_until 10 gone "$vhost"
        vhost_start
        wait_until 60 vhost_settled_disk
        kills=$((kills + 1))
    done
    wait "$guest" || {
        tail -n 20 "$work/console"
        fail "$(tail -n 1 "$work/boot")"
    }
    says "$work/console" 'RDISK-GUEST: VERIFIED 24 files'
    ! grep -aE 'I/O error|blk_update' "$work/console" || fail "an I/O error"
    "$top/tests/lab/guest/check-image" "$pool/root"
    report "$kills kills"
}

# The VMM is back, or has ended.
vhost_settled_disk()
{
    vhost_is open || ! kill -0 "$guest" 2>/dev/null
}

run_checks
