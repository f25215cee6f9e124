#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A server that dies and is started again, many times, under a writer.
# quick-lab: seconds are counted
# shellcheck source=tests/faults/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

check_a_server_killed_and_restarted_again_and_again()
{
    local round rounds
    rounds=$(often 6 60)
    start_server
    volume v 32M
    writer_start v
    for ((round = 0; round < rounds; round++)); do
        sleep 0.$((RANDOM % 5 + 1))
        kill_server
        start_server
        healed
    done
    writer_ends "$pool/v"
    report "$rounds rounds"
}

run_checks
