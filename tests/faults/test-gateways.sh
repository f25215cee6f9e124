#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Two servers of one Ceph pool: the one that serves the writer fails in each way,
# once, and another client wants the volume.  The writer sees no error, and no byte
# of an old attempt; many rounds are in test-failovers.sh.
# quick-lab: seconds are counted
# shellcheck source=tests/faults/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=tests/faults/gateways.sh
. "$faults/gateways.sh"

check_a_gateway_fails_in_each_way()
{
    local fault
    refusals=0 fenced=0
    gateway_options+=(--lease-time 60)
    [ -z "$networks" ] || server_under="${far[*]}"
    begin_rounds
    for fault in kill_and_fight stop_and_go_on hand_over kill_osd; do
        round "$fault"
    done
    [ -z "$networks" ] || round cut_from_clients
    [ -z "$far_is_apart" ] || round cut_from_cluster
    end_rounds
    report "of each: ${pauses[*]}"
    grep -hq 'has blocklisted this server' "$work"/server.[12].log ||
        fail "no request of a stopped server was refused"
}

# The writer is away, and its server is killed: the other one fences both, as an
# administrator wants, and another client fills the volume.  Nothing that the
# writer has in flight takes effect when it goes on.
check_another_client_gets_the_volume_whole()
{
    begin_rounds
    sleep 1
    find_serving
    freeze "$nbd"
    kill -KILL "${gateways[serving]}"
    control=$work/control.$other
    within 40 rdisk fence v --control "$control"
    within 60 qemu-io -f raw -c 'write -q -P 9 0 16M' "$(uri v)"
    start_gateway "$serving"
    kill -CONT "$nbd"
    wait_until 60 gone "$writer" || fail "the writer goes on"
    grep -q '^writer: .* failed' "$work/writer" ||
        fail "the writer saw no error: $(tail -n 1 "$work/writer")"
    within 60 qemu-io -f raw -c 'read -q -P 9 0 16M' "$(uri v)"
    kill -TERM "$nbd"
    wait_until 20 gone "$nbd" || fail "qemu-nbd does not end"
    rm -f "$work/nbd.sock"
    within 20 rdisk delete v --control "$control"
}

run_with_cluster
