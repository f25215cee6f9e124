#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What requests and sessions cost: allocations, wake-ups, and how the time that
# they take is shown.  The
# client is tests/bench/client.c, librdisk without QEMU.
# quick-lab: thousands of requests are counted
# time-limit: 450
. "$(dirname "$0")/lib.sh"

few=2000
many=12000
preload=$top/build/lib/count-allocations.so
probe=$top/build/lib/bench-probe.so

need_programs()
{
    [ -x "$top/build/bin/bench-client" ] && [ -e "$preload" ] ||
        skip "not built: make e2e-programs"
}

begin()
{
    start_server --volume disk=memory:64M
}

# client_allocations COUNT OPTION…
client_allocations()
{
    ALLOCATIONS=$work/count LD_PRELOAD=$preload within 60 bench-client \
        "$(uri disk)" -c "$1" "${@:2}" >"$work/io" || fail "bench-client"
    cat "$work/count"
}

# server_allocations COUNT OPTION…: of a server from start to end
server_allocations()
{
    server_under="env ALLOCATIONS=$work/count LD_PRELOAD=$preload" begin
    within 60 bench-client "$(uri disk)" -c "$1" "${@:2}" >"$work/io" ||
        fail "bench-client"
    wait_until 10 no_sessions
    stop_server >&2
    cat "$work/count"
}

# What runs by the clock may differ: heartbeats, looks at the statistics.
check_a_request_takes_no_allocation_of_the_client()
{
    local before
    need_programs
    begin
    before=$(client_allocations $few -d 32 -m 50)
    at_most "allocations for $((many - few)) requests more" \
        $(($(client_allocations $many -d 32 -m 50) - before)) 20
}

check_a_request_takes_no_allocation_of_the_server()
{
    local before
    need_programs
    before=$(server_allocations $few -d 32 -m 50)
    port=$((port + 1))
    at_most "allocations for $((many - few)) requests more" \
        $(($(server_allocations $many -d 32 -m 50) - before)) 200
}

# probed COUNT: work requests and copied bytes of client and server, as counted
# by the bench's probe between them and libibverbs
probed()
{
    server_under="env PROBE=$work/probe.server LD_PRELOAD=$probe" begin
    PROBE=$work/probe.client LD_PRELOAD=$probe within 60 bench-client \
        "$(uri 'disk?heartbeat=0')" -c "$1" -d 8 -m 50 >"$work/io" ||
        fail "bench-client"
    wait_until 10 no_sessions
    stop_server >&2
    python3 -BSc 'import sys
sys.path.insert(0, sys.argv[1])
import probe
for path in sys.argv[2:]:
    seen = probe.counters(path)
    print(seen["work_requests"], seen["copied_bytes"])' \
        "$top/tests/bench" "$work/probe.client" "$work/probe.server"
    rm "$work"/probe.*
}

# Not by our own counters: half read and half written.
check_from_outside_a_request_is_one_work_request_and_no_copy()
{
    local before after side
    [ -e "$probe" ] || skip "not built: make bench-programs"
    mapfile -t before < <(probed $few)
    port=$((port + 1))
    mapfile -t after < <(probed $many)
    for side in 0 1; do
        report "${after[$side]%% *} work requests"
        at_most "work requests for $((many - few)) requests more" \
            $((${after[$side]% *} - ${before[$side]% *})) $((many - few + 20))
        equal "bytes copied for them" \
            $((${after[$side]#* } - ${before[$side]#* })) 0
    done
}

# Of all devices of this machine; both sides are here.
sent_packets()
{
    cat /sys/class/infiniband/*/ports/1/hw_counters/sent_pkts 2>/dev/null |
        awk '{ sum += $1 } END { print NR ? sum : "none" }'
}

# packets OPTION…: per 100 requests of 4 KiB, as the slope between two counts, so
# that connecting and ending cost nothing
packets()
{
    local count before sent=()
    for count in $few $many; do
        before=$(sent_packets)
        within 120 bench-client "$(uri 'disk?heartbeat=0')" -s 4096 \
            -c "$count" "$@" >"$work/io" || fail "bench-client $*"
        wait_until 10 no_sessions
        sent+=($(($(sent_packets) - before)))
    done
    echo $(((sent[1] - sent[0]) * 100 / (many - few)))
}

# Request, acknowledgement, answer, acknowledgement: a write is its payload only,
# which fills a packet.
check_a_4_KiB_request_takes_four_packets()
{
    local way per
    need_programs
    [ "$(sent_packets)" != none ] || skip "the device does not count packets"
    begin
    for way in -w -m100; do
        per=$(packets -d 1 $way)
        # What is lost is sent again.
        at_most "packets per 100 requests, $way" "$per" 402
        [ "$per" -ge 398 ] || fail "$per packets per 100 requests, $way"
    done
}

# What one turn produces goes in one message: payload and acknowledgement, and a
# share of a message of requests or answers.
check_at_depth_32_a_4_KiB_request_takes_at_most_2_and_a_half_packets()
{
    local way per
    need_programs
    [ "$(sent_packets)" != none ] || skip "the device does not count packets"
    begin
    for way in -w -m100; do
        per=$(packets -d 32 $way)
        report "$per packets per 100 requests, $way"
        at_most "packets per 100 requests, $way" "$per" 250
    done
}

# How often this machine's device had to say, or to hear, that no receive was
# posted; both sides are here.
not_ready()
{
    cat /sys/class/infiniband/*/ports/1/hw_counters/*rnr* 2>/dev/null |
        awk '{ sum += $1 } END { print NR ? sum : "none" }'
}

check_under_load_each_message_finds_a_receive()
{
    local before options
    need_programs
    before=$(not_ready)
    [ "$before" != none ] || skip "the device does not count it"
    begin
    for options in "-d 128 -s 4096" "-d 128 -s 16384 -f 4" "-d 64 -w"; do
        # shellcheck disable=SC2086 # options are words
        within 120 bench-client "$(uri 'disk?slots=128')" -c $many $options \
            >"$work/io" || fail "bench-client $options"
        equal "messages without a receive after $options" "$(not_ready)" \
            "$before"
    done
}

# All threads' voluntary context switches, which waking up for work ends in
switches()
{
    cat /proc/"$server"/task/*/status |
        awk '$1 == "voluntary_ctxt_switches:" { sum += $2 }
             END { print sum }'
}

sessions_there()
{
    [ "$(stat_server 'len(s["sessions"])')" = "$1" ]
}

check_64_idle_sessions_wake_nobody()
{
    local client
    need_programs
    begin
    bench-client "$(uri disk)?shared=on&slots=8&slot-size=64k&heartbeat=0" \
        -S 64 -d 64 -c 640 -i 120 >"$work/idle" 2>&1 &
    client=$!
    end_later $client
    wait_until 60 grep -q '^idle' "$work/idle" ||
        fail "bench-client: $(tail -n 1 "$work/idle")"
    sessions_there 64 || fail "there are not 64 sessions"
    unchanged 5 switches || fail "idle sessions wake the server"
    # So many sessions take their time, and the next check wants the port.
    kill -KILL $client
    wait_until 20 no_sessions || fail "sessions of a dead client are left"
    stop_server >&2
}

read_something()
{
    [ "$(stat_server "s['volumes'][0]['counters']['reads']")" -gt 0 ]
}

# Columns of rdisk top: name, reads/s, writes/s, …, p50 and p99 of reads
check_top_shows_what_a_volume_does()
{
    need_programs
    begin
    bench-client "$(uri disk)" -d 8 -c 1000000 >/dev/null 2>&1 &
    end_later $!
    wait_until 20 read_something || fail "nothing is read"
    within 30 rdisk top --control "$control" --interval 1 --count 2 \
        >"$work/top"
    cat "$work/top"
    awk '$1 == "disk" && $2 > 0 && $3 == 0 && $5 > 0 && $7 > 0 && $8 >= $7 {
             lines++
         }
         END { exit lines != 2 }' "$work/top" || fail "rdisk top shows a wrong value"
}

check_stat_tells_percentiles_of_each_operation()
{
    need_programs
    begin
    within 60 bench-client "$(uri disk)" -d 8 -c 500 -m 50 >/dev/null
    within 20 rdisk stat --control "$control" >"$work/stat.text"
    says "$work/stat.text" \
        'read [0-9]+/[0-9]+/[0-9]+, write [0-9]+/[0-9]+/[0-9]+ us'
    equal "requests counted" "$(stat_server "sum(sum(o['buckets'].values())
        for o in s['volumes'][0]['latency'].values())")" 500
}

run_checks
