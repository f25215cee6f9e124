#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# An RDMA device that is removed under a writer, and comes back.  A boot of its
# own, since a kernel where that hangs is good for nothing afterwards.
# lab: --memory 6G
# shellcheck source=tests/faults/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

check_the_device_of_both_ends_is_removed_and_comes_back()
{
    local round
    start_server
    volume v 32M
    writer_start v
    for ((round = 0; round < $(often 1 3); round++)); do
        sleep 1
        unplug rxe0
        sleep 2
        rdma link add rxe0 type rxe netdev lab0
        healed
    done
    says "$work/nbd.log" 'RDMA device rxe0 was removed'
    writer_ends "$pool/v"
}

check_the_clients_device_is_removed_and_comes_back()
{
    local round
    wire
    start_server
    volume v 32M
    writer_start v
    for ((round = 0; round < $(often 1 3); round++)); do
        sleep 1
        unplug rxnear
        sleep 2
        wire_add_near
        healed
    done
    says "$work/nbd.log" 'RDMA device rxnear was removed'
    writer_ends "$pool/v"
}

check_the_servers_device_is_removed_and_comes_back()
{
    local round
    wire
    start_server
    volume v 32M
    writer_start v
    for ((round = 0; round < $(often 1 3); round++)); do
        sleep 1
        unplug rxfar "${far[@]}"
        sleep 2
        wire_add_far
        healed
    done
    says "$server_log" 'is gone'
    writer_ends "$pool/v"
}

run_checks
