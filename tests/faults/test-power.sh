#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A disk with a volatile cache loses its power: what was flushed, or written
# with FUA, is still there, and what was not is lost, which shows that this disk
# does forget.
# shellcheck source=tests/faults/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

power_fails()
{
    kill_server
    kill -KILL "${client[a]}"
    echo 0 >"$disk_control/power"
    nullb_on
    start_server --volume "n=file:$disk"
}

begin()
{
    nullb 32 cache_size=16
    start_server --volume "n=file:$disk"
    # Without -t qemu-io would write with FUA.
    client a "$(uri n)" -t writeback --trace rdma_done
    say a 'write -P 1 0 1M'
    answers a 'wrote 1048576/1048576 bytes at offset 0' 20
    : >"$work/a.out"
}

finish()
{
    stop_server
    nullb_end
}

check_what_was_flushed_survives_the_power_of_the_disk()
{
    begin
    say a 'flush'
    answers a 'rdma_done .* ret 0' 20
    say a 'write -P 3 1M 1M'
    answers a 'wrote 1048576/1048576 bytes at offset 1048576' 20
    power_fails
    io n 'read -q -P 1 0 1M' 'read -q -P 0 1M 1M'
    finish
}

check_what_was_written_with_fua_survives_the_power_of_the_disk()
{
    begin
    say a 'write -f -P 2 1M 1M'
    answers a 'wrote 1048576/1048576 bytes at offset 1048576' 20
    power_fails
    io n 'read -q -P 2 1M 1M'
    finish
}

run_checks
