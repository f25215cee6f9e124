#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Ghost writes: the disk is slow, so that writes are still on their way to it
# when the connection is lost.  The client comes back, they are carried out
# again, and then written over.  What the old session's attempts bring must
# not come after that.
# shellcheck source=tests/faults/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

# 8 MB/s, and half of the requests on 16 blocks.
slow_disk()
{
    nullb 32 mbps=8
    start_server --volume "n=file:$disk"
    writer_uri='reconnect-delay=120&heartbeat=3&queues=2' \
        writer_start n --hot 16
    sleep 1
}

check_writes_of_a_session_that_was_cut_never_come_late()
{
    local round
    wire
    slow_disk
    for ((round = 0; round < $(often 2 8); round++)); do
        # The client misses its server after 3 s. The server's device gives up
        # answering it after about four, if it had an answer to send; else the
        # server misses its client after 6.
        net loss 100%
        sleep $((4 * slow))
        net restore
        healed
    done
    says "$server_log" 'fenced, its client|a data queue broke|no message received for [0-9]+ seconds'
    writer_ends "$disk"
    report "$(grep -c 'fenced, its client' "$server_log" || true) of $round" \
        "cut sessions were fenced"
    stop_server
    nullb_end
}

# It wakes up with the old session's requests in its completion queues, and with
# the client at its door.
check_writes_of_a_server_that_slept_never_come_late()
{
    local round
    slow_disk
    for ((round = 0; round < $(often 2 8); round++)); do
        sleep 0.$((RANDOM % 5 + 1))
        doze server 4
        healed
    done
    writer_ends "$disk"
    says "$server_log" 'fenced, its client'
    report "$(grep -c 'fenced, its client' "$server_log") sessions of $round" \
        "sleeps were fenced"
    stop_server
    nullb_end
}

check_writes_of_a_killed_server_never_come_late()
{
    local round
    slow_disk
    for ((round = 0; round < $(often 2 8); round++)); do
        sleep 0.5
        kill_server
        start_server --volume "n=file:$disk"
        healed
    done
    writer_ends "$disk"
    stop_server
    nullb_end
}

run_checks
