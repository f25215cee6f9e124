#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A hundred clients come and go, cleanly and not: nothing of them is left
# in the server or the device, and the kernel has nothing to say.
# shellcheck source=tests/faults/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

# Objects of the RDMA device: "qp 3 cq 4 …".
objects()
{
    rdma resource show rxe0 | tr -s ' ' | cut -d' ' -f3-
}

as_before()
{
    [ "$(objects)" = "$before" ]
}

check_a_hundred_connects_and_disconnects_leave_nothing_behind()
{
    local i rounds messages limit began
    rounds=$(often 20 100)
    start_server
    volume v 4M
    volume load 4M
    io v 'write -q -P 5 0 1M' flush
    wait_until 15 no_sessions || fail "a session is left"
    before=$(objects)
    messages=$(dmesg | wc -l)
    for ((i = 0; i < rounds; i++)); do
        case $((i % 5)) in
        # Killed: while it connects, or under load.
        0)
            limit=0.0$((RANDOM % 90 + 10))
            timeout -s KILL $limit rdisk ping --count 9 --interval 0.01 \
                "$(uri v)" >/dev/null 2>&1 || true
            ;;
        1)
            timeout -s KILL 0.$((RANDOM % 4 + 3)) qemu-img bench -f raw -w \
                -c 100000 -d 16 "$(uri load)" >/dev/null 2>&1 || true
            ;;
        *)
            within 20 rdisk ping --count 1 --interval 0 "$(uri v)" >/dev/null
            ;;
        esac
    done
    began=${EPOCHREALTIME/./}
    wait_until 15 no_sessions || fail "sessions are left"
    equal "memory of slots" "$(stat_server 's["memory"]')" 0
    wait_until 15 as_before || fail "the device has $(objects), not $before"
    began=$(((${EPOCHREALTIME/./} - began) / 1000))
    # Registrations that were killed half-way are told, and nothing else.
    dmesg | tail -n +$((messages + 1)) | grep -v 'returned err = -4' |
        grep -iE 'rxe|rdma|infiniband|uverbs|bug|warn|error' &&
        fail "the kernel logged an error"
    io v 'read -q -P 5 0 1M'
    report "$rounds clients, nothing left after $began ms"
}

run_checks
