#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# guest-memory: what a server can write to. First with the real server and
# QEMU: the data is right and copied only where it must be. Then with a server
# that writes where, or when, it should not (tests/adversary/server.c), and a
# client that watches its memory (victim.c).
# What the device refuses its kernel module tells; and that it can deregister a
# region only after its windows, when a victim ends with both.
# lab: --allow non-flush.error.status.=.10|rxe_dereg_mr:..returned.err.=.-22
# quick-lab: it has a boot of its own
# time-limit: 300
. "$(dirname "$0")/lib.sh"

# With a real server, through memory that is registered (-r).
check_direct_reads_without_a_copy()
{
    volume direct 4M
    io 'direct?guest-memory=direct' 'write -q -r -P 7 0 1M' \
        'read -q -r -P 7 0 1M'
    equal "copied bytes" "$(closed 'copied bytes')" 0
}

check_window_reads_without_a_copy()
{
    volume window 4M
    io 'window?guest-memory=window' 'write -q -r -P 7 0 1M' \
        'read -q -r -P 7 0 1M' 'read -q -r -P 7 512 8704'
    equal "copied bytes" "$(closed 'copied bytes')" 0
}

check_bounce_copies_what_is_read_and_nothing_else()
{
    volume bounce 4M
    io 'bounce?guest-memory=bounce' 'write -q -r -P 7 0 1M' \
        'read -q -r -P 7 4k 64k'
    equal "copied bytes" "$(closed 'copied bytes')" 65536
}

check_many_windowed_reads_at_a_time()
{
    volume many 32M
    bench 'many?guest-memory=window' -c 3000 -d 64 -s 4k
    bench 'many?guest-memory=window' -c 200 -d 16 -s 128k
    equal "copied bytes" "$(closed 'copied bytes')" 0
}

check_an_unknown_guest_memory_is_refused()
{
    volume unknown 1M
    refused 'direct, window or bounce|Parameter .guest-memory. does not accept' \
        20 qemu-io -f raw -c quit "$(uri 'unknown?guest-memory=open')"
}

# ---- A server that keeps no protocol -----------------------------------

# intrusion MODE HOW: what server and victim say, in $work/said
intrusion()
{
    local rogue_port=7999
    adversary-server "$addr" $rogue_port "$2" >"$work/rogue" 2>&1 &
    end_later $!
    wait_until 10 grep -q ready "$work/rogue" || fail "$(cat "$work/rogue")"
    within 60 adversary-victim \
        "rdma://$addr:$rogue_port/vol?guest-memory=$1&heartbeat=0" \
        >"$work/victim" 2>&1 || fail "$(tail -n 1 "$work/victim")"
    wait_until 20 grep -q 'device says' "$work/rogue" || true
    cat "$work/rogue" "$work/victim" | tee "$work/said"
}

check_direct_lets_a_late_write_through()
{
    intrusion direct late
    says "$work/said" 'device says: success'
    says "$work/said" 'page: changed after its read'
}

check_window_refuses_a_late_write_and_ends_the_session()
{
    intrusion window late
    says "$work/said" 'device says: remote access error'
    says "$work/said" 'second read: well'
    says "$work/said" 'page: as its read left it'
    says "$work/said" 'beside: untouched'
    says "$work/said" 'session: FAILED'
}

check_window_refuses_an_older_key()
{
    intrusion window old
    says "$work/said" 'device says: remote access error'
    says "$work/said" 'beside: untouched'
    says "$work/said" 'session: FAILED'
}

check_window_refuses_another_queue_pair()
{
    intrusion window stranger
    says "$work/said" 'device says: remote access error'
    says "$work/said" 'beside: untouched'
    says "$work/said" 'session: FAILED'
}

# Windows that this device holds to their bounds, whichever program binds them. Linux's
# Soft-RoCE (rxe_resp.c, check_rkey()) checks those of the region behind, but
# for the user-mode lab's, which has a patch.
window_bounds()
{
    local status=0
    within 60 adversary-window "$addr" 7998 >"$work/window" 2>&1 || status=$?
    cat "$work/window"
    [ $status -le 1 ] || fail "$(tail -n 1 "$work/window")"
    [ $status -eq 0 ] || [ "${RDISK_LAB_ENGINE:-}" = uml ] ||
        skip "this RDMA device checks the bounds of the region, not of the" \
            "window"
    equal "how many are not held" "$(grep -c 'not held' "$work/window")" 0
}

refuses_outside()
{
    window_bounds
    intrusion window "$1"
    says "$work/said" 'device says: remote access error'
    says "$work/said" 'beside: untouched'
    says "$work/said" 'session: FAILED'
}

check_window_refuses_a_write_before_it()
{
    refuses_outside before
}

check_window_refuses_a_write_behind_it()
{
    refuses_outside behind
}

check_window_refuses_a_write_across_its_end()
{
    refuses_outside across
}

check_bounce_keeps_a_late_write_from_the_guest()
{
    intrusion bounce late
    says "$work/said" 'second read: well'
    says "$work/said" 'page: as its read left it'
    says "$work/said" 'beside: untouched'
}

check_bounce_keeps_a_write_outside_from_the_guest()
{
    intrusion bounce behind
    says "$work/said" 'beside: untouched'
}

start_server
run_checks
