#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# An RDMA device that is removed under a writer, and comes back.
#
# Soft-RoCE cannot take a device from those who have it open: it waits for
# them. They hear of it where RDMA is built as modules, as in Debian's kernels;
# built in, as in the user-mode kernel, libibverbs' side waits before the
# connection manager's side has reported it. Hence this engine.
# lab: --engine tcg --memory 6G
# time-limit: 900
# shellcheck source=tests/faults/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

# replug WORD…: words of net, with PLUG for unplug, and then for replug
replug()
{
    "$top/tests/lab/net" "${@/PLUG/unplug}" || {
        who_waits
        fail "the device is not removed while it is in use"
    }
    sleep 2
    net "${@/PLUG/replug}"
}

# Where the kernel waits, and who has devices open.
who_waits()
{
    cat /proc/"$(pgrep -nx rdma)"/stack
    find /proc/[0-9]*/fd -lname '*uverbs*' -printf '%p -> %l\n'
}

check_the_device_of_both_ends_is_removed_and_comes_back()
{
    again "$(often 1 3)" replug PLUG rxe0
    says "$work/nbd.log" 'RDMA device rxe0 was removed'
    says "$server_log" 'was removed: no client can connect until it is back'
}

check_the_clients_device_is_removed_and_comes_back()
{
    wire
    again "$(often 1 3)" replug --end 1 PLUG
    says "$work/nbd.log" 'RDMA device rxnear was removed'
}

check_the_servers_device_is_removed_and_comes_back()
{
    wire
    again "$(often 1 3)" replug --end 2 PLUG
    says "$server_log" 'was removed: no client can connect until it is back'
}

# While no client is connected that could report it.
check_a_device_is_removed_while_its_client_waits_for_the_server()
{
    again "$(often 1 2)" bereave_and_replug
}

bereave_and_replug()
{
    kill_server
    sleep 1
    replug PLUG rxe0
    start_server
}

run_checks
