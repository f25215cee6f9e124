#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# One volume, and queues on two reactors at once.
# lab: --cpus 2
# quick-lab: thousands of requests are counted
# time-limit: 300
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=tests/e2e/disk.sh
. "$here/disk.sh"

io_options='-t none'
few=500
many=4500

# The volume is a disk, so that a reactor's completions tell its requests.
begin()
{
    [ "$(nproc)" -ge 2 ] || skip "this machine has one core"
    [ -e "$top/build/lib/count-locks.so" ] ||
        skip "not built: make e2e-programs"
    # Of sectors that clients need not share a block for: that takes a lock.
    nullb 64 poll_queues=0 blocksize=512
    trap give_back EXIT
    printf '[volume v]\nbackend = file\npath = %s\n' "$disk" >"$work/conf"
    start_server --config "$work/conf" --cores 2
}

give_back()
{
    [ -z "$server" ] || kill_server
    nullb_end
}

# of MEMBER: of both reactors
of()
{
    stat_server "' '.join(str(r['$1']) for r in s['reactors'])"
}

# requests COUNT: of two sessions that share the volume
requests()
{
    within 120 bench-client "$(uri v)?shared=on" -S 2 -d 32 -m 50 -c "$1" \
        >"$work/io" 2>&1 || fail "bench-client: $(tail -n 1 "$work/io")"
}

check_two_reactors_carry_out_the_requests_of_one_volume()
{
    local before after i
    begin
    bench-client "$(uri v)?shared=on" -S 2 -d 32 -m 50 -c 4000 -i 60 \
        >"$work/client" 2>&1 &
    end_later $!
    read -ra before < <(of completions)
    wait_until 60 grep -q '^idle' "$work/client" ||
        fail "bench-client: $(tail -n 1 "$work/client")"
    equal "queues of each reactor" "$(of queues)" "1 1"
    equal "sessions of the volume" \
        "$(stat_server 's["volumes"][0]["sessions"]')" 2
    read -ra after < <(of completions)
    for i in 0 1; do
        report "reactor $i: $((after[i] - before[i])) completions"
        [ $((after[i] - before[i])) -ge 400 ] ||
            fail "reactor $i had $((after[i] - before[i])) of 4000 requests"
    done
    equal "requests" "$(stat_server "sum(s['volumes'][0]['counters'][name] \
        for name in ('reads', 'writes'))")" 4000
}

# Two clients, each on a reactor of its own, in turn.
check_what_one_writes_the_other_reads()
{
    local i
    begin
    client a "$(uri v)?shared=on" -t none
    client b "$(uri v)?shared=on" -t none
    equal "queues of each reactor" "$(of queues)" "1 1"
    for ((i = 1; i <= 20; i += 2)); do
        turn a b $i
        turn b a $((i + 1))
    done
}

# turn WRITER READER PATTERN
turn()
{
    : >"$work/$1.out"
    say "$1" "write -P $3 $((($3 - 1) * 65536)) 128k"
    answers "$1" '^wrote 131072/131072' 20
    : >"$work/$2.out"
    say "$2" "read -P $3 $((($3 - 1) * 65536)) 128k"
    answers "$2" '^read 131072/131072' 20
    ! grep -a 'failed' "$work/$2.out" || fail "$2 read something else"
}

# locks COUNT: that rdiskd takes by itself from start to end
locks()
{
    server_under="env LOCKS=$work/locks \
        LD_PRELOAD=$top/build/lib/count-locks.so" start_server \
        --config "$work/conf" --cores 2
    requests "$1"
    wait_until 10 no_sessions
    stop_server >&2
    cat "$work/locks"
}

# But when queues come and go.
check_no_request_takes_a_lock()
{
    local before after
    begin
    stop_server
    before=$(locks $few)
    port=$((port + 1))
    after=$(locks $many)
    report "$before for $few requests, $after for $many"
    [ "$before" -gt 0 ] || fail "no lock at all was counted"
    at_most "locks for $((many - few)) requests more" \
        $((after - before)) 40
}

run_checks
