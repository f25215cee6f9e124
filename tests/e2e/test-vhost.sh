#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# rdisk-vhost gives volumes to a stock QEMU as vhost-user-blk devices, without
# a copy, and may be killed and started again while guests run.  Its long form
# is tests/faults/test-vhost.sh.
# time-limit: 900
# quick-lab: guests boot on vhost-user devices
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=tests/e2e/vhost.sh
. "$here/vhost.sh"

check_a_disk_is_refused_that_is_not_described_whole()
{
    vhost_start
    disk_refused 'needs uri = ' a "socket=$work/a" queues=2
    disk_refused 'needs socket = ' a "uri=$(uri a)" queues=2
    disk_refused "invalid disk name '../a'" ../a "uri=$(uri a)" "socket=$work/a"
    disk_refused 'queues = 65 is not' a queues=65 serial=X
    disk_refused 'a disk has no option' a color=red serial=X
    within 20 rdisk list --json --control "$vhost_control" | tee "$work/list"
    ! grep -q '"name"' "$work/list" || fail "there is a disk"
}

# disk_refused REGEX NAME [KEY=VALUE…]
disk_refused()
{
    refused "$1" 20 rdisk add "${@:2}" --control "$vhost_control"
}

check_a_disk_waits_for_its_volume()
{
    vhost_start
    vhost_disk late "uri=$(uri late)" "socket=$work/late.sock" --timeout 0
    sleep 0.5
    [ ! -e "$work/late.sock" ] || fail "it listens before the volume is there"
    volume late 8M
    wait_until 20 accepts "$work/late.sock"
    equal "size" "$(vhost_stat size)" $((8 << 20))
    equal "state" "$(vhost_stat state)" idle
    not_in_use late
}

check_a_disk_is_there_when_add_ends_and_gone_when_remove_ends()
{
    volume there 8M
    vhost_start
    for _ in 1 2 3; do
        vhost_disk there "uri=$(uri there)" "socket=$work/there.sock"
        within 20 vhost-client "$work/there.sock" info
        within 20 rdisk remove there --control "$vhost_control"
    done
}

check_a_disk_without_a_volume_is_not_added()
{
    vhost_start
    refused "disk 'none' is not added: .*volume 'none'" 20 rdisk add none \
        "uri=$(uri none)" "socket=$work/none.sock" --control "$vhost_control"
    vhost_lacks none || fail "it is still there"
    # A server that does not answer may be on its way.
    refused "disk 'none' is not added: " 20 rdisk add none \
        "uri=rdma://$addr:9/none?open-timeout=1" "socket=$work/none.sock" \
        --timeout 3 --control "$vhost_control"
    vhost_lacks none || fail "it is still there"
}

check_a_slow_directory_of_users_makes_no_other_command_wait()
{
    local adding
    volume users 8M
    vhost_under="env LD_PRELOAD=$top/build/lib/slow-users.so"
    vhost_start
    within 30 rdisk add users "uri=$(uri users)" "socket=$work/users.sock" \
        owner=somebody --control "$vhost_control" >"$work/adding" 2>&1 &
    adding=$!
    sleep 0.5
    for _ in 1 2 3; do
        within 1 rdisk list --control "$vhost_control"
    done
    ! gone $adding || fail "the look-up was not slow"
    ! wait $adding || fail "there is a somebody"
    says "$work/adding" 'owner = somebody is neither a user'
}

check_a_guest_is_told_what_the_volume_is()
{
    volume told 8M
    vhost_start
    vhost_add told serial=ABC-123 queues=3
    within 20 vhost-client "$work/told.sock" info | tee "$work/info"
    says "$work/info" "^sectors 16384 block-size $(stat_block told) queues 3 read-only 0$"
    says "$work/info" '^serial ABC-123'
}

check_everything_a_disk_does_works_on_each_virtqueue()
{
    volume all 8M
    vhost_start --reactors 2
    vhost_add all queues=5
    within 60 vhost-client "$work/all.sock" features | tee "$work/features"
    says "$work/features" '^5 virtqueues, topology [03] 1 [0-9]*$'
}

check_memory_comes_and_goes_while_the_guest_uses_it()
{
    vhost_hotplug
}

check_memory_of_huge_pages_comes_and_goes()
{
    echo 4 >/proc/sys/vm/nr_hugepages || skip "this kernel has no huge pages"
    [ "$(cat /proc/sys/vm/nr_hugepages)" -gt 0 ] || skip "no huge page is free"
    vhost_hotplug huge
    echo 0 >/proc/sys/vm/nr_hugepages
}

check_a_read_only_disk_is_one_to_its_guest()
{
    volume ro 8M
    vhost_start
    vhost_disk ro "uri=$(uri ro)?read-only=on" "socket=$work/ro.sock"
    wait_until 20 accepts "$work/ro.sock"
    within 20 vhost-client "$work/ro.sock" info | tee "$work/info"
    says "$work/info" ' read-only 1$'
    within 20 vhost-client "$work/ro.sock" bench read 4096 4 10
    refused 'ended with status 1' 20 \
        vhost-client "$work/ro.sock" bench write 4096 1 1
}

# The payload is copied if the guest's memory is not to be opened for the server.
check_guest_memory_is_used_as_the_uri_says()
{
    local writer mode
    vhost_start
    for mode in direct window bounce; do
        volume $mode 8M
        vhost_disk $mode "uri=$(uri $mode)?guest-memory=$mode" \
            "socket=$work/$mode.sock"
        wait_until 20 accepts "$work/$mode.sock"
        vhost_writes $mode 16
        wait_until 20 vhost_has_read
        if [ $mode = bounce ]; then
            at_least "bytes copied" "$(vhost_stat copied_bytes)" 4096
        else
            equal "bytes copied" "$(vhost_stat copied_bytes)" 0
        fi
        vhost_written $mode
        within 20 rdisk remove $mode --control "$vhost_control"
        wait_until 20 vhost_lacks $mode
    done
}

# vhost_hotplug [huge]
vhost_hotplug()
{
    local plugger disk=plug${1:-}
    volume "$disk" 8M
    vhost_start
    vhost_add "$disk"
    vhost-client "$work/$disk.sock" hotplug "$work/plug.stop" "$@" \
        >"$work/hotplug" 2>&1 &
    plugger=$!
    end_later $plugger
    wait_until 60 grep -q 'memory came and went 3 times' "$work/hotplug" ||
        fail "$(tail -n 1 "$work/hotplug")"
    equal "copied bytes" "$(vhost_stat copied_bytes)" 0
    [ "$(vhost_stat reads)" -gt 8 ] || fail "too few reads"
    touch "$work/plug.stop"
    wait_until 10 gone $plugger
    wait $plugger
}

# stat_block VOLUME: its block size
stat_block()
{
    rdisk ping --count 1 "$(uri "$1")" | sed -n 's/.* in blocks of \([0-9]*\).*/\1/p'
}

check_no_byte_is_copied()
{
    volume fast 64M
    vhost_start
    vhost_add fast
    within 60 vhost-client "$work/fast.sock" bench write 4096 16 1000
    within 60 vhost-client "$work/fast.sock" bench read 4096 16 1000
    within 60 vhost-client "$work/fast.sock" bench read 1048576 2 64
    equal "failed" "$(vhost_stat failed)" 0
    equal "requests" "$(vhost_stat requests)" 2064
    wait_until 20 vhost_is idle
    vhost_copied fast
}

# vhost_copied VOLUME: the same again, with the session's counters in view
vhost_copied()
{
    vhost_writes "$1" 16
    wait_until 20 vhost_has_read
    equal "copied bytes" "$(vhost_stat copied_bytes)" 0
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

check_a_socket_has_the_owner_and_the_mode_that_were_given()
{
    volume mode 8M
    vhost_start
    vhost_add mode mode=640 owner=nobody
    equal "mode and owner" "$(stat -c '%a %U' "$work/mode.sock")" '640 nobody'
}

check_a_socket_that_cannot_be_given_away_says_what_to_do()
{
    volume given 8M
    command -v setpriv >/dev/null || skip "no setpriv"
    vhost_under='setpriv --bounding-set=-chown' vhost_start
    refused 'cannot give .* run rdisk-vhost as root, or leave owner' 20 rdisk add \
        given "uri=$(uri given)" "socket=$work/given.sock" owner=nobody \
        --control "$vhost_control"
    ! accepts "$work/given.sock" || fail "it listens"
}

check_memory_that_is_not_shared_is_refused_with_what_to_do()
{
    volume private 8M
    vhost_start
    vhost_add private
    refused 'cannot start the device' 20 vhost-client "$work/private.sock" private
    says "$vhost_log" 'must share all of the guest.s memory \(share=on\)'
    within 20 vhost-client "$work/private.sock" info
}

check_a_disk_whose_socket_cannot_be_made_says_why_and_tries_again()
{
    volume where 8M
    vhost_start
    vhost_disk where "uri=$(uri where)" "socket=$work/none/a.sock" --timeout 0
    wait_until 20 grep -q "cannot listen at '$work/none/a.sock'" "$vhost_log"
    mkdir "$work/none"
    wait_until 30 accepts "$work/none/a.sock"
    vhost_is idle
}

check_memory_that_may_not_be_locked_is_copied_with_one_message()
{
    volume locked 8M
    command -v setpriv prlimit >/dev/null || skip "no setpriv or prlimit"
    # Enough for the session's own memory, for none of a guest's.
    vhost_under="setpriv --bounding-set=-ipc_lock,-sys_resource
        prlimit --memlock=16777216:16777216" vhost_start
    vhost_add locked
    within 60 vhost-client "$work/locked.sock" bench write 1048576 2 20
    within 60 vhost-client "$work/locked.sock" bench read 1048576 2 20
    equal "failed" "$(vhost_stat failed)" 0
    equal "messages" "$(grep -c 'on guest memory will be copied' "$vhost_log")" 1
    says "$vhost_log" 'RLIMIT_MEMLOCK'
}

# The record of its client is a pipe without a reader: writing it never ends.
check_a_disk_that_is_slow_to_start_delays_no_other()
{
    local writer slow_writer
    volume slow 8M
    volume brisk 8M
    vhost_start
    vhost_add slow
    mkfifo "$work/slow.sock.client.new"
    vhost-client "$work/slow.sock" info >/dev/null 2>&1 &
    slow_writer=$!
    end_later $slow_writer
    wait_until 20 vhost_is opening
    vhost_add brisk
    vhost-client "$work/brisk.sock" check 3 16 >"$work/check" 2>&1 &
    writer=$!
    end_later $writer
    within 5 rdisk list --control "$vhost_control" | tee "$work/list"
    says "$work/list" '^slow .* opening'
    wait_until 30 gone $writer
    wait $writer || fail "$(tail -n 1 "$work/check")"
    within 5 rdisk remove brisk --control "$vhost_control"
    wait_until 20 vhost_lacks brisk
    ! gone $slow_writer || fail "the slow disk was not slow"
    # The end is bounded too, and the next daemon may have it all.
    vhost_stop TERM
    equal "exit status" $ended 1
}

# vhost_lacks NAME
vhost_lacks()
{
    ! rdisk list --control "$vhost_control" | grep -q "^$1 "
}

check_rdisk_has_the_same_words_for_the_daemon_as_for_a_server()
{
    volume words 8M
    vhost_start
    within 20 rdisk add words "uri=$(uri words)" "socket=$work/words.sock" \
        serial=X1 --control "$vhost_control"
    within 20 rdisk list --control "$vhost_control" | tee "$work/list"
    says "$work/list" '^words  *8M  *idle  *no  */.*/words.sock$'
    within 20 vhost-client "$work/words.sock" bench write 4096 4 10
    within 20 rdisk stat --control "$vhost_control" | tee "$work/stat"
    says "$work/stat" '^disk words: rdma://.*, 8M, '
    within 20 rdisk stat --json --control "$vhost_control" | python3 -Sc '
import json, sys
assert json.load(sys.stdin)["disks"][0]["name"] == "words"'
    refused "disk 'words' already exists" 20 rdisk add words "uri=$(uri words)" \
        "socket=$work/other.sock" --control "$vhost_control"
    refused "'color' is not OPTION=VALUE" 20 rdisk add a color "socket=$work/a" \
        --control "$vhost_control"
    within 20 rdisk drain words --control "$vhost_control" | tee "$work/drain"
    says "$work/drain" '^drained$'
    [ ! -e "$work/words.sock" ] || fail "a drained disk listens"
    vhost_is drained
    within 20 rdisk resume words --control "$vhost_control"
    wait_until 20 accepts "$work/words.sock"
    within 20 rdisk remove words --control "$vhost_control"
    vhost_lacks words || fail "it is still there"
    refused "there is no disk 'words'" 20 rdisk remove words \
        --control "$vhost_control"
    refused "there is no disk 'words'" 20 rdisk drain words \
        --control "$vhost_control"
}

# The upgrade: the next daemon starts while the drained one is still there.
check_a_drained_daemon_leaves_its_guests_to_the_next_one()
{
    local writer first
    vhost_writing upgraded
    within 40 rdisk drain --control "$vhost_control"
    not_in_use upgraded
    first=$vhost vhost_control=$work/next.control
    vhost_start
    wait_until 20 vhost_is open || fail "$(tail -n 1 "$work/check")"
    kill -TERM "$first"
    wait_until 10 gone "$first"
    wait "$first"
    vhost_written upgraded
}

# The server does not answer: the guest's requests are not failed, but left to the
# next daemon.
check_requests_that_cannot_end_are_left_to_the_next_daemon()
{
    local writer
    start_server                # of its own, which is hurt
    vhost_writing left
    freeze "$server"
    sleep 0.2
    vhost_stop KILL
    kill -CONT "$server"
    vhost_start
    wait_until 20 vhost_is open || fail "$(tail -n 1 "$work/check")"
    kill_server
    sleep 0.2
    # It gives the lost connection up after its grace of 10 seconds.
    within 40 rdisk drain --timeout 35 --control "$vhost_control"
    start_server
    within 20 rdisk resume --control "$vhost_control"
    vhost_written left
}

# For that time they wait; afterwards there are errors until the server is back.
check_requests_fail_when_the_server_is_gone_for_longer_than_reconnect_delay()
{
    local writer
    start_server                # of its own, which is killed
    volume gone 8M
    vhost_start
    vhost_disk gone "uri=$(uri gone)?reconnect-delay=2" "socket=$work/gone.sock"
    wait_until 20 accepts "$work/gone.sock"
    vhost_writes gone 16
    wait_until 20 vhost_has_read
    kill_server
    wait_until 30 gone $writer || fail "the writer still waits"
    ! wait $writer || fail "the writer saw no error"
    says "$work/check" 'ended with status 1'
    says "$vhost_log" 'within reconnect-delay=2'
    start_server
    within 20 vhost-client "$work/gone.sock" bench read 4096 4 10
}

# vhost_reset stopped|killed: a client, $guest, whose reads are in flight at the
# frozen server, and which waits for the end of the device
vhost_reset()
{
    start_server                # of its own, which is hurt
    volume "$1" 8M
    vhost_start
    vhost_add "$1"
    # Words of an earlier client would be taken for those of this one.
    rm -f "$work/read" "$work/end" "$work/reset"
    vhost-client "$work/$1.sock" reset "$1" "$work" >"$work/reset" 2>&1 &
    guest=$!
    end_later $guest
    wait_until 20 grep -qx started "$work/reset" || fail "$(cat "$work/reset")"
    freeze "$server"
    touch "$work/read"
    wait_until 20 grep -qx taken "$work/reset" || fail "$(cat "$work/reset")"
}

# Nothing was written into the memory since the client has it back.
vhost_was_reset()
{
    wait_until 20 grep -qx stopped "$work/reset" || fail "$(cat "$work/reset")"
    kill -CONT "$server"
    sleep 1
    touch "$work/end"
    wait_until 20 gone "$guest" || fail "the client does not end"
    wait "$guest" || fail "$(tail -n 1 "$work/reset")"
}

check_a_device_stops_when_its_reads_have_ended()
{
    local guest
    vhost_reset stopped
    sleep 1
    ! grep -qx stopped "$work/reset" || fail "it stopped with reads in flight"
    kill -CONT "$server"
    vhost_was_reset
}

check_the_server_writes_nothing_for_a_killed_daemon()
{
    local guest
    vhost_reset killed
    vhost_stop KILL
    vhost_was_reset
}

# The chain stays in flight: the device stays stopped, with one line in the
# log, until the guest resets it.
check_a_broken_request_that_comes_again_and_again_stops_its_own_device_only()
{
    local writer
    volume good 8M
    volume bad 8M
    vhost_start
    vhost_add good
    vhost_add bad
    vhost_writes good 16
    within 20 vhost-client "$work/bad.sock" broken 4 | tee "$work/broken"
    says "$work/broken" '^1 reconnects$'
    equal "lines" "$(grep -c 'violated the protocol' "$vhost_log")" 1
    equal "lines" "$(grep -c 'stays stopped until' "$vhost_log")" 1
    # A guest that begins has asked for a new table.
    within 20 vhost-client "$work/bad.sock" info
    vhost_written good
}

check_a_hostile_guest_harms_nobody_else()
{
    local writer
    volume kind 8M
    volume hostile 8M
    vhost_start
    vhost_add kind
    vhost_add hostile
    vhost_writes kind 16
    within 60 vhost-client "$work/hostile.sock" hostile
    vhost_written kind
    within 20 vhost-client "$work/hostile.sock" info
}

check_an_idle_daemon_sleeps()
{
    volume idle 8M
    vhost_start --poll-time 100
    vhost_add idle
    vhost_writes idle 1
    freeze "$writer"
    unchanged 3 vhost_wakeups || fail "an idle thread does not sleep"
}

# How often its reactors and disks have slept.
vhost_wakeups()
{
    local task name count sum=0
    for task in /proc/"$vhost"/task/*; do
        read -r name <"$task/comm"
        case $name in
        disk-* | reactor-*)
            count=$(sed -n 's/^voluntary_ctxt_switches:[[:space:]]*//p' \
                "$task/status")
            sum=$((sum + count))
            ;;
        esac
    done
    echo $sum
}

check_a_volume_that_grows_is_told_to_the_device()
{
    volume grows 8M
    vhost_start
    vhost_add grows
    vhost_writes grows 4
    within 20 rdisk resize grows 16M --control "$control"
    wait_until 10 vhost_size_is $((16 << 20))
    vhost_written grows
}

check_a_stock_qemu_boots_writes_reboots_and_verifies_without_a_copy()
{
    vhost_root
    vhost_start
    vhost_add root
    vhost_guest root
    wait_until 120 vhost_is open
    vhost_guest_done
    wait_until 20 vhost_is idle
    equal "failed requests" "$(vhost_stat failed)" 0
    [ "$(vhost_stat requests)" -gt 500 ] || fail "too few requests"
    wait_until 10 not_in_use root
    "$top/tests/lab/guest/check-image" "$pool/root"
    report "$(vhost_stat requests) requests"
}

start_server
run_checks
