#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# rdisk-vhost and a VMM that breaks the protocol, ends when it should not, or
# resets its device again and again: the daemon and its other guests go on.
#
# A disk whose VMM ends while the session is being opened drops it: the server may
# be accepting a queue pair that rdma_cm has put into the error state already.
# lab: --allow rxe_modify_qp:.returned.err.=.-22
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=tests/e2e/vhost.sh
. "$here/vhost.sh"

# Clock ticks of the daemon's threads.
vhost_ticks()
{
    awk '{ sum += $14 + $15 } END { print sum }' /proc/"$vhost"/task/*/stat
}

# It uses less than half of a CPU for two seconds.
vhost_is_calm()
{
    local before
    before=$(vhost_ticks)
    sleep 2
    at_most "clock ticks in two seconds" $(($(vhost_ticks) - before)) \
        "$(getconf CLK_TCK)"
}

vhost_descriptors()
{
    set -- /proc/"$vhost"/fd/*
    echo $#
}

# vhost_vmm VERB VOLUME: a client, $vmm, whose reads are in flight at the frozen
# server when it says WORD
vhost_vmm()
{
    [ -n "$server" ] || start_server    # of its own, which is hurt
    volume "$2" 8M
    vhost_start
    vhost_add "$2"
    # Words of an earlier client would be taken for those of this one.
    rm -f "$work/read" "$work/vmm"
    vhost-client "$work/$2.sock" "$1" "$work" >"$work/vmm" 2>&1 &
    vmm=$!
    end_later $vmm
    wait_until 20 grep -qx started "$work/vmm" || fail "$(cat "$work/vmm")"
    freeze "$server"
    touch "$work/read"
    wait_until 20 grep -qx "$3" "$work/vmm" || fail "$(cat "$work/vmm")"
}

check_messages_that_break_the_protocol_end_their_connection_only()
{
    start_server
    volume good 8M
    volume bad 8M
    vhost_start
    vhost_add good
    vhost_add bad
    vhost_writes good 16
    within 120 vhost-client "$work/bad.sock" messages
    ! gone "$vhost" || fail "the daemon has ended"
    within 20 vhost-client "$work/bad.sock" info
    vhost_written good
}

# RDISK_VMM_SEED and RDISK_VMM_COUNT repeat one, or make it many.
check_random_messages_end_their_connection_only()
{
    start_server
    volume good 8M
    volume bad 8M
    vhost_start
    vhost_add good
    vhost_add bad
    vhost_writes good 16
    within 600 vhost-client "$work/bad.sock" random "${RDISK_VMM_SEED:-1}" \
        "${RDISK_VMM_COUNT:-300}"
    ! gone "$vhost" || fail "the daemon has ended"
    within 20 vhost-client "$work/bad.sock" info
    vhost_written good
    vhost_is_calm
}

# A guest resets its disk as often as it likes; the descriptors are the daemon's.
check_a_device_that_is_reset_again_and_again_takes_no_more_descriptors()
{
    local client descriptors
    start_server
    volume reset 8M
    vhost_start
    vhost_add reset
    for count in 1 200; do
        rm -f "$work/end" "$work/resets"
        vhost-client "$work/reset.sock" resets $count "$work" >"$work/resets" 2>&1 &
        client=$!
        end_later $client
        wait_until 60 grep -qx reset "$work/resets" || fail "$(cat "$work/resets")"
        # A session that ends may still have some.
        [ $count = 1 ] || at_most "more descriptors" \
            $(($(vhost_descriptors) - descriptors)) 50
        descriptors=$(vhost_descriptors)
        touch "$work/end"
        wait_until 20 gone $client
        wait $client || fail "$(cat "$work/resets")"
        wait_until 20 vhost_is idle
    done
}

check_a_vmm_that_ends_during_a_reset_is_noticed()
{
    local vmm
    vhost_vmm leaves leaves gone
    vhost_is_calm
    kill -CONT "$server"
    wait_until 20 vhost_is idle
    within 20 vhost-client "$work/leaves.sock" info
}

# The library has no place for their answers; the next connection sends them again.
check_requests_of_a_connection_that_failed_are_answered_in_the_next_one()
{
    local vmm
    vhost_vmm breaks breaks broken
    sleep 1
    kill -CONT "$server"
    wait_until 40 gone $vmm || fail "the reads do not end"
    wait $vmm || fail "$(cat "$work/vmm")"
}

check_a_vmm_is_told_of_a_volume_that_grows_also_while_there_is_no_daemon()
{
    local vmm
    start_server
    volume grows 8M
    vhost_config=$work/vhost.conf
    printf '[disk grows]\nuri = %s\nsocket = %s\n' \
        "$(uri 'grows?reconnect-delay=60')" "$work/grows.sock" >"$vhost_config"
    vhost_start
    wait_until 20 accepts "$work/grows.sock"
    rm -f "$work/vmm"
    vhost-client "$work/grows.sock" grows $((32 << 11)) >"$work/vmm" 2>&1 &
    vmm=$!
    end_later $vmm
    wait_until 20 grep -qx started "$work/vmm" || fail "$(cat "$work/vmm")"
    within 20 rdisk resize grows 16M --control "$control"
    wait_until 20 grep -qx changed "$work/vmm" || fail "$(cat "$work/vmm")"
    vhost_stop KILL
    within 20 rdisk resize grows 32M --control "$control"
    vhost_start
    wait_until 40 gone $vmm || fail "it was not told"
    wait $vmm || fail "$(cat "$work/vmm")"
}

# The guest waits for its disk; the daemon says why, and tries again.
check_a_volume_that_was_replaced_by_a_smaller_one_is_waited_for()
{
    local vmm
    start_server
    volume small 16M
    vhost_start
    vhost_add small
    within 20 rdisk delete small --control "$control"
    volume small 8M
    vhost-client "$work/small.sock" info >"$work/vmm" 2>&1 &
    vmm=$!
    end_later $vmm
    wait_until 20 grep -q 'this device needs' "$vhost_log"
    vhost_is opening
    within 20 rdisk resize small 16M --control "$control"
    wait_until 30 gone $vmm || fail "it still waits"
    wait $vmm || fail "$(cat "$work/vmm")"
}

check_a_daemon_without_descriptors_does_not_spin()
{
    local vmm limit=0
    command -v prlimit >/dev/null || skip "no prlimit"
    start_server
    volume scarce 8M
    vhost_start
    vhost_add scarce
    # No descriptor is free below the limit.
    while [ -e /proc/"$vhost"/fd/$limit ]; do
        limit=$((limit + 1))
    done
    prlimit --pid "$vhost" --nofile=$limit:1024
    vhost-client "$work/scarce.sock" info >"$work/vmm" 2>&1 &
    vmm=$!
    end_later $vmm
    wait_until 20 grep -q 'cannot accept a VMM' "$vhost_log"
    vhost_is_calm
    prlimit --pid "$vhost" --nofile=1024:1024
    wait_until 20 gone $vmm || fail "it was not accepted"
    wait $vmm || fail "$(cat "$work/vmm")"
    equal "messages" "$(grep -c 'cannot accept a VMM' "$vhost_log")" 1
}

run_checks
