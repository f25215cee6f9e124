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
    nullb 32 8
    start_server --volume "n=file:$disk"
    writer_uri='reconnect-delay=120&heartbeat=1&queues=2' \
        writer_start n --hot 16
    sleep 1
}

check_writes_of_a_session_that_was_cut_never_come_late()
{
    local round
    wire
    slow_disk
    for ((round = 0; round < $(often 2 8); round++)); do
        # The server hears nothing of the loss until the client is back.
        hurt loss 100%
        sleep $((2 * slow))
        heal
        healed
    done
    says "$server_log" 'fenced, its client has come back'
    writer_ends "$disk"
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
