#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# rdisk-vhost gives volumes to a stock QEMU as vhost-user-blk devices, without
# a copy, and may be killed and started again while guests run.  Its long form
# is tests/faults/test-vhost.sh.
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
    within 60 vhost-client "$work/fast.sock" bench write 4096 16 1000
    within 60 vhost-client "$work/fast.sock" bench read 4096 16 1000
    within 60 vhost-client "$work/fast.sock" bench read 1048576 2 64
    equal "failed" "$(vhost_stat 'd["failed"]')" 0
    equal "requests" "$(vhost_stat 'd["requests"]')" 2064
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

check_every_byte_is_right_though_the_daemon_is_killed()
{
    local writer
    vhost_writing killed
    vhost_replace KILL
    vhost_written killed
}

check_an_orderly_restart_loses_nothing()
{
    local writer
    vhost_writing restarted
    vhost_replace TERM
    equal "exit status" $ended 0
    vhost_written restarted
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

run_checks
