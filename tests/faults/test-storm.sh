#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Many clients connect at once: each of them is open in the end, however long
# the server takes for all of them.
# shellcheck source=tests/faults/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

check_clients_that_start_at_once_are_all_open()
{
    local clients
    clients=$(often 32 256)
    start_server --max-sessions 1000 --max-memory 4G
    volume v 4M
    rdisk-storm "$clients" 8 "$(uri "v?queues=4&slots=8&slot-size=64k&bounce-size=256k&shared=on&open-timeout=120")" \
        >"$work/storm" 2>&1 || fail "$(tail -n 3 "$work/storm")"
    report "$(tr '\n' ' ' <"$work/storm")"
    # A client that is slow is not one that hangs.
    ! grep -E 'handshake timeout|no message received' "$server_log" ||
        fail "the server dropped a client that waited for it"
    wait_until 30 no_sessions || fail "sessions are left"
}

run_checks
