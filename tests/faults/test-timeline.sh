#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A failover as its client sees it: no request fails, and the pause ends soon after
# the fault.  `make failover` draws the pictures of docs/performance.md of what is
# recorded, see events.sh.
# quick-lab: seconds are counted
# lab: --memory 6G
# shellcheck source=tests/faults/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=tests/faults/events.sh
. "$faults/events.sh"

# timeline NAME LIMIT COMMAND
timeline()
{
    start_server
    volume v 32M
    recorded "$3"
    writer_ends "$pool/v"
    summary "$1" "$2"
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
