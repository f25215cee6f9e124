#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What a 4 KiB request costs, in figures that do not depend on the clock: work
# requests, doorbells, completions, wake-ups, copied bytes, and system calls.
# A sleeper at depth 1 needs four calls on the client (post, arm, sleep, take
# the event) and five on the server (its sleep, its backend, and the same
# three), which it also needs where the backend is a file in memory, as here,
# that io_uring would give to a worker thread; all else is ours to explain.  A
# look at the clock would be one more where the kernel has no vDSO.
# time-limit: 400
. "$(dirname "$0")/lib.sh"

few=50
many=250

# requests DEPTH COUNT [OPTION…]
requests()
{
    qemu-img bench -f raw -t none -s 4096 -d "$1" -c "$2" "${@:3}" \
        "$(uri disk)" >"$work/io" 2>&1 || fail "$(tail -n 1 "$work/io")"
}

# The calls in a table of strace -c
calls()
{
    awk '$1 ~ /^[0-9.]+$/ && $NF != "total" { sum += $4 }
         END { print sum + 0 }' "$1"
}

# System calls per 100 requests, as the slope between two counts, so that
# starting and ending cost nothing: client_calls DEPTH [OPTION…]
client_calls()
{
    local count totals=()
    for count in $few $many; do
        within 120 strace -f -c -o "$work/calls" qemu-img bench -f raw \
            -t none -s 4096 -d "$1" -c $count "${@:2}" "$(uri disk)" \
            >"$work/io" 2>&1 || fail "$(tail -n 1 "$work/io")"
        totals+=("$(calls "$work/calls")")
    done
    echo $(((totals[1] - totals[0]) * 100 / (many - few)))
}

server_calls()
{
    local count tracer totals=()
    for count in $few $many; do
        : >"$work/attached"
        strace -f -c -o "$work/calls" -p "$server" 2>"$work/attached" &
        tracer=$!
        end_later $tracer
        wait_until 10 grep -q attached "$work/attached" ||
            skip "strace cannot attach: $(tail -n 1 "$work/attached")"
        requests "$1" $count "${@:2}"
        kill -INT $tracer
        wait $tracer || true
        totals+=("$(calls "$work/calls")")
    done
    echo $(((totals[1] - totals[0]) * 100 / (many - few)))
}

counter()
{
    stat_server "s['volumes'][0]['counters']['$1']"
}

# begin [OPTION…]: reactors do not spin, so that each wait is one call
begin()
{
    printf '[volume disk]\nbackend = file\npath = %s\n' "$work/disk" \
        >"$work/conf"
    truncate -s 64M "$work/disk"
    start_server --config "$work/conf" --poll-time 0 "$@"
}

need_strace()
{
    command -v strace >/dev/null || skip "no strace here"
}

# count_work FLUSHES OPTION…: a request by itself is one message each way, and so
# is each flush on closing
count_work()
{
    local flushes=$1 name before=() after=() names=(receives work_requests)
    for name in "${names[@]}"; do
        before+=("$(counter "$name")")
    done
    bench disk -s 4096 -d 1 -c $many "${@:2}"
    equal "copied bytes" "$(closed 'copied bytes')" 0
    equal "work requests of the client" "$(closed 'work requests')" \
        $((many + flushes))
    wait_until 10 no_sessions
    for name in "${names[@]}"; do
        after+=("$(counter "$name")")
    done
    equal "receives of the server" $((after[0] - before[0])) \
        $((many + flushes))
    equal "work requests of the server" $((after[1] - before[1])) \
        $((many + flushes))
}

check_a_read_is_one_work_request_each_way_and_no_copy()
{
    begin
    count_work 0
}

check_a_write_is_one_work_request_each_way_and_no_copy()
{
    begin
    count_work 1 -w
}

check_answers_under_load_share_doorbells_and_wake_ups()
{
    local doorbells wakes
    begin
    doorbells=$(counter doorbells)
    wakes_for 32 $many
    at_most "doorbells of the server for $many requests" \
        $(($(counter doorbells) - doorbells)) $((many / 2))
    at_most "wake-ups of the server for $many requests" \
        $wakes $((many / 2))
}

check_a_lone_request_takes_four_system_calls_of_the_client()
{
    need_strace
    begin
    at_most "system calls per 100 reads" "$(client_calls 1)" 430
    at_most "system calls per 100 writes" "$(client_calls 1 -w)" 430
}

check_a_lone_request_takes_five_system_calls_of_the_server()
{
    need_strace
    begin
    at_most "system calls per 100 reads" "$(server_calls 1)" 540
    at_most "system calls per 100 writes" "$(server_calls 1 -w)" 540
}

# But for the one of a file in memory: its read.  How many share the rest depends
# on how often strace lets the server run.
check_a_request_under_load_takes_less_than_one_system_call_a_side()
{
    need_strace
    begin
    at_most "client's system calls per 100 reads" "$(client_calls 32)" 100
    at_most "server's system calls per 100 reads" "$(server_calls 32)" 200
}

# wakes_for DEPTH COUNT: how often the server is woken for these requests
wakes_for()
{
    local before
    before=$(counter wakeups)
    requests "$@"
    wait_until 10 no_sessions
    wakes=$(($(counter wakeups) - before))
}

# The two ends sleep longer than 10 ms at the start and the end only, unless both
# are kept from running, which does not happen in each of three times.
check_a_busy_server_that_polls_is_not_woken_for_each_request()
{
    [ "${RDISK_LAB_ENGINE:-}" != tcg ] ||
        skip "an emulated machine is slower than poll-time"
    local tries wakes
    begin --poll-time 10000
    for tries in 1 2 3; do
        wakes_for 1 1000
        [ $wakes -gt 300 ] || break
    done
    at_most "wake-ups of the server for 1000 requests, in the best of $tries" \
        $wakes 300
}

check_an_idle_server_that_polls_sleeps()
{
    begin --poll-time 10000
    reactors_sleep disk
}

run_checks
