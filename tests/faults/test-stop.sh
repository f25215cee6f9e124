#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A server that falls silent for longer than the heartbeat, and wakes up with
# its old sessions and their requests still there.
# shellcheck source=tests/faults/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
writer_uri='reconnect-delay=120&heartbeat=1'

check_a_server_that_sleeps_longer_than_the_heartbeat()
{
    again "$(often 1 5)" doze server 3
    says "$work/nbd.log" 'no message received within heartbeat=1'
}

# Its device answers for it.
check_a_client_that_sleeps_longer_than_its_heartbeat()
{
    again "$(often 1 3)" doze nbd 4
    ! grep 'no message received' "$server_log" || fail "the client was disconnected"
}

check_a_client_that_sleeps_longer_than_it_may_be_silent()
{
    again_server=(--max-silence 2)
    again "$(often 1 3)" doze nbd 4
    says "$server_log" 'no message received for 2 seconds [(]max-silence'
}

run_checks
