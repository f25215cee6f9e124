#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A server that falls silent for longer than the heartbeat, and wakes up with
# its old sessions and their requests still there.
# shellcheck source=tests/faults/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

check_a_server_that_sleeps_longer_than_the_heartbeat()
{
    local round
    start_server
    volume v 32M
    writer_uri='reconnect-delay=120&heartbeat=1' writer_start v
    for ((round = 0; round < $(often 1 5); round++)); do
        sleep 1
        kill -STOP "$server"
        sleep $((3 * slow))
        kill -CONT "$server"
        healed
    done
    says "$work/nbd.log" 'silent for longer than heartbeat=1'
    writer_ends "$pool/v"
}

check_a_client_that_sleeps_longer_than_its_heartbeat()
{
    local round
    start_server
    volume v 32M
    writer_uri='reconnect-delay=120&heartbeat=1' writer_start v
    for ((round = 0; round < $(often 1 3); round++)); do
        sleep 1
        kill -STOP "$nbd"
        sleep $((4 * slow))
        kill -CONT "$nbd"
        healed
    done
    says "$server_log" 'silent for longer than twice its heartbeat'
    writer_ends "$pool/v"
}

run_checks
