#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Two servers of one Ceph pool: the one that serves the writer is killed, or stopped
# and then goes on, with requests that it has received before.  The writer sees no
# error, and no byte of an old attempt.
# quick-lab: seconds are counted
# shellcheck source=tests/faults/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=tests/faults/gateways.sh
. "$faults/gateways.sh"

kill_and_restart()
{
    kill -KILL "${gateways[serving]}"
    ask next 60
    returns+=("$answer")
    wait_until 10 gone "${gateways[serving]}"
    start_gateway "$serving"
}

# It goes on when the other one has the writer: nothing of it may take effect.
stop_and_go_on()
{
    freeze "${gateways[serving]}"
    ask next 60
    returns+=("$answer")
    serves "$other" || fail "no server has the volume"
    kill -CONT "${gateways[serving]}"
    control=$work/control.$serving
    wait_until 20 not_in_use v || fail "the server that has lost it keeps it"
}

check_a_gateway_killed_again_and_again()
{
    rounds "$(often 3 200)" kill_and_restart
}

check_a_gateway_stopped_for_longer_than_the_heartbeat()
{
    rounds "$(often 3 200)" stop_and_go_on
    grep -hq 'has blocklisted this server' "$work"/server.[12].log ||
        fail "no request of a stopped server was refused"
}

run_with_cluster
