#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Two servers of one Ceph pool, of which the one that serves the writer fails, again
# and again: it is killed; stopped, and then goes on, with requests that it has
# received before; cut off from its clients, or from the cluster; or drained.  And
# the OSD is killed, and another client wants the volume.  The writer sees no error,
# and no byte of an old attempt.
# quick-lab: seconds are counted
# time-limit: 3600
# shellcheck source=tests/faults/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=tests/faults/gateways.sh
. "$faults/gateways.sh"

check_a_gateway_killed_again_and_again()
{
    rounds kill_and_restart
}

check_a_gateway_stopped_for_longer_than_the_heartbeat()
{
    rounds stop_and_go_on
    grep -hq 'has blocklisted this server' "$work"/server.[12].log ||
        fail "no request of a stopped server was refused"
}

check_a_gateway_cut_off_from_its_clients()
{
    far_gateway
    rounds cut_from_clients
}

check_a_gateway_cut_off_from_the_cluster()
{
    far_gateway
    [ -n "$far_is_apart" ] || skip "Soft-RoCE in one network namespace only"
    rounds cut_from_cluster
}

check_a_gateway_drained_hands_its_client_over()
{
    fenced=0
    rounds hand_over
    report "$fenced fenced"
}

check_an_osd_killed_and_restarted()
{
    rounds kill_osd
}

check_another_client_is_refused_while_gateways_are_killed()
{
    refusals=0
    gateway_options+=(--lease-time 60)
    rounds kill_and_fight
    report "$refusals refused"
}

run_with_cluster
