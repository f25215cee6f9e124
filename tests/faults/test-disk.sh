#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The server's disk fills up, or fails: the writer gets errors, nothing else is
# hurt, and when the disk is well again so is everything.
# quick-lab: seconds are counted
# shellcheck source=tests/faults/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

# Until the writer has seen an error.
failed_writes()
{
    [ "$(stat_server 'sum(x["counters"]["failed"] for x in s["sessions"])')" \
        -gt 0 ]
}

check_a_full_file_system_that_gets_room_again()
{
    # Unmounted when the lab ends.
    pool=$(mktemp -d /dev/shm/rdisk-full.XXXXXX)
    mount -t tmpfs -o size=12M tmpfs "$pool"
    start_server
    volume v 32M
    writer_start v --errors
    wait_until 30 failed_writes || fail "no write failed"
    sleep 1
    ask pause 20
    mount -o remount,size=64M "$pool"
    healed
    sleep 1
    writer_ends "$pool/v"
    says "$server_log" "volume 'v': write .*No space left on device"
    says "$work/writer" '[1-9][0-9]* failed'
}

check_a_disk_with_blocks_that_fail_and_are_well_again()
{
    local first
    nullb 32
    start_server --volume "n=file:$disk"
    writer_start n --errors
    sleep 1
    first=$((RANDOM % 128 * 8))
    echo "+$first-$((first + 8191))" >"$disk_control/badblocks"
    wait_until 30 failed_writes || fail "no request failed"
    sleep 2
    ask pause 20
    echo "-$first-$((first + 8191))" >"$disk_control/badblocks"
    healed
    sleep 1
    writer_ends "$disk"
    says "$server_log" "volume 'n': .*Input/output error"
    says "$work/writer" '[1-9][0-9]* failed'
    stop_server
    nullb_end
}

run_checks
