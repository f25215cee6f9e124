#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A failover as its client sees it: each completion of a writer is recorded, and
# so is when a fault began and ended.  No request fails, and the pause ends soon
# after the fault.  What is recorded is left in failover.csv and latency.csv,
# of which `make failover` draws the pictures of docs/performance.md.
# quick-lab: seconds are counted
# lab: --memory 6G
# shellcheck source=tests/faults/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

around=4                        # seconds of load before and after a fault

# mark WORDS…: now this happens
mark()
{
    echo "$EPOCHREALTIME $*" >>"$work/events"
}

# timeline NAME LIMIT COMMAND…: what a writer sees of a fault, which ends with the
# command; from then on it takes at most LIMIT seconds until the next completion
timeline()
{
    : >"$work/events"
    start_server
    volume v 32M
    writer_start v --record "$work/record"
    sleep $((around * slow))
    "${@:3}"
    healed
    sleep $((around * slow))
    writer_ends "$pool/v"
    "$faults/timeline" "$1" "$work/record" "$work/events" \
        --limit $(($2 * slow)) --add "${RDISK_LAB_OUTPUT:-$work}" \
        >"$work/summary" 2>&1 || fail "$(tail -n 1 "$work/summary")"
}

kill_and_restart()
{
    mark killed
    kill_server
    sleep $((1 * slow))
    start_server
    mark "started again"
}

drain_and_restart()
{
    mark drained
    within 30 rdisk drain --control "$control"
    stop_server
    start_server
    mark "started again"
}

lose_the_link()
{
    mark "link down"
    net flap $((3 * slow))s
    mark "link up"
}

lose_packets()
{
    mark "5 % of the packets lost"
    net loss 5%
    sleep $((3 * slow))
    net restore
    mark "none lost"
}

check_a_killed_server_is_a_pause()
{
    timeline kill 4 kill_and_restart
}

check_a_drained_server_is_a_pause()
{
    timeline drain 4 drain_and_restart
}

check_a_link_that_is_down_is_a_pause()
{
    wire
    timeline link 8 lose_the_link
}

check_lost_packets_are_slow_requests()
{
    wire
    timeline loss 4 lose_packets
}

run_checks
