#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A take-over as its client sees it: of two servers of one Ceph pool, the one that
# serves the writer is killed, or drained, and the other one takes the volume. No
# request fails, and the pause is short. See events.sh.
# quick-lab: seconds are counted
# lab: --memory 6G
# shellcheck source=tests/faults/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=tests/faults/gateways.sh
. "$faults/gateways.sh"
# shellcheck source=tests/faults/events.sh
. "$faults/events.sh"

# timeline NAME LIMIT COMMAND
timeline()
{
    start_gateway 1
    start_gateway 2
    volume v 32M
    recorded "$3"
    serves "$other" || fail "the other server does not have the volume"
    mkfifo "$work/export"
    # It begins when the writer opens it, at its end.
    rbd export --no-progress rbd/v - >"$work/export" &
    end_later $!
    writer_ends "$work/export"
    rm "$work/export"
    summary "$1" "$2"
    within 20 rdisk delete v --control "$control"
}

# It is not started again: the pause lasts until the other one serves.
kill_the_serving()
{
    find_serving
    mark killed
    kill -KILL "${gateways[serving]}"
}

drain_the_serving()
{
    find_serving
    mark drained
    within 30 rdisk drain v --control "$work/control.$serving"
}

check_the_other_server_takes_over_from_a_killed_one()
{
    timeline takeover 5 kill_the_serving
}

check_the_other_server_takes_over_from_a_drained_one()
{
    timeline handover 5 drain_the_serving
}

run_with_cluster
