#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The acknowledgements of a client's packets are lost, and nothing else: its
# device reads a write's memory and sends it again, although it is answered.
# What the program stores there when the write has completed must not reach the
# server, except with guest-memory=direct and write-acks=off.
# shellcheck source=tests/faults/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

# resent OPTIONS: a write of bytes aa, and bytes bb in its memory as soon as it
# has completed; sets `old` and `new`, the packets with these that arrived
resent()
{
    local counter
    wire
    start_server
    volume v 4M
    "${far[@]}" "$faults/count-packets" far0 aa bb >"$work/packets" 2>&1 &
    counter=$!
    end_later $counter
    wait_until 10 grep -q ready "$work/packets" ||
        skip "no packets can be read here: $(tail -n 1 "$work/packets")"
    adversary-victim "$(uri "v?heartbeat=0&$1")" write \
        "$top/tests/lab/net --end 2 drop ack" >"$work/victim" 2>&1 || {
        ! grep '^drop-packets: ' "$work/victim" ||
            skip "this kernel has no nf_tables"
        fail "$(tail -n 1 "$work/victim")"
    }
    cat "$work/victim"
    net restore
    kill -TERM $counter
    wait_until 10 grep -q '^bb' "$work/packets" || fail "no packet was recorded"
    old=$(awk '/^aa/ { print $2 }' "$work/packets")
    new=$(awk '/^bb/ { print $2 }' "$work/packets")
    report "packets with the old bytes: $old, with the new ones: $new"
    says "$work/victim" 'write: well'
}

check_direct_sends_what_is_stored_behind_a_write()
{
    resent guest-memory=direct
    at_least "packets with what was stored later" "$new" 1
}

# It was sent again, from the memory as it was.
nothing_later()
{
    resent "$1"
    at_least "packets of the write" "$old" 2
    equal "packets with what was stored later" "$new" 0
}

check_direct_with_write_acks_sends_nothing_later()
{
    nothing_later 'guest-memory=direct&write-acks=on'
}

check_window_sends_nothing_later()
{
    nothing_later guest-memory=window
}

check_bounce_sends_nothing_later()
{
    nothing_later guest-memory=bounce
}

run_checks
