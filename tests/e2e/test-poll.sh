#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Disks that complete without interrupts: null_blk with a poll queue, which
# completes nothing that is not polled for, beside one without.
# quick-lab: thousands of requests
# time-limit: 1800
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=tests/e2e/disk.sh
. "$here/disk.sh"

# Writes of qemu-io are FUA but for this.
io_options='-t none'

# A server with two volumes: `polled`, and `plain`, whose disk has no such
# queue.  disks [KEY=VALUE]: for the section of `polled`
disks()
{
    nullb 64 poll_queues=0
    plain=$disk plain_control=$disk_control
    nullb 64 poll_queues=1
    polled=$disk polled_control=$disk_control
    trap give_back EXIT
    [ "$(cat "/sys/block/${polled##*/}/queue/io_poll")" = 1 ] ||
        skip "the poll queues of null_blk are not polled in this kernel"
    cat >"$work/conf" <<END
[volume polled]
backend = file
path = $polled
${1:-}
[volume plain]
backend = file
path = $plain
END
}

# The disks go when they are not open any more.
give_back()
{
    local disk_control
    [ -z "$server" ] || kill_server
    for disk_control in "$plain_control" "$polled_control"; do
        nullb_end
    done
}

# begin [OPTION…]: on one reactor, which has both volumes
begin()
{
    start_server --config "$work/conf" --cores 1 "$@"
}

# of VOLUME MEMBER
of()
{
    stat_server "[v['$2'] for v in s['volumes'] if v['name'] == '$1'][0]"
}

# patterns FIRST: 64 requests of 60 KiB, half of them flushed, and their bytes
patterns()
{
    local i
    for ((i = 0; i < 64; i++)); do
        echo "aio_write -q -P $(($1 + i)) $((i * 65536)) 61440"
        [ $i -ne 31 ] || echo aio_flush
    done
    echo aio_flush
    for ((i = 0; i < 64; i++)); do
        echo "aio_read -q -P $(($1 + i)) $((i * 65536)) 61440"
    done
    echo aio_flush
}

check_a_disk_with_poll_queues_is_polled()
{
    disks
    begin
    io polled 'write -q -P 1 0 1M' 'read -q -P 1 0 1M' flush
    wait_until 10 no_sessions
    equal "submission" "$(of polled submission)" polled
    equal "submission of the other" "$(of plain submission)" io_uring
    [ "$(of polled polled)" -ge 8 ] || fail "$(of polled polled) were polled"
    rdisk stat --control "$control" | grep -E 'reactor|volume'
    rdisk stat --control "$control" | grep -qE \
        '^volume polled: .* polled, .*, [0-9]+ requests polled for$' ||
        fail "rdisk stat does not say so"
}

# Every request of it, all bytes as written, and on the disk itself.
check_what_is_written_there_at_depth_32_with_flushes_is_read()
{
    local before
    disks io-poll=on
    begin
    before=$(of polled polled)
    bench polled -c 1000 -d 32 -s 4k -w --flush-interval=50
    bench polled -c 1000 -d 32 -s 4k
    wait_until 10 no_sessions
    equal "requests polled for" $(($(of polled polled) - before)) 2000
    io_script polled < <(patterns 1)
    for ((i = 0; i < 64; i += 21)); do
        dd if="$polled" bs=64k skip=$i count=1 iflag=direct status=none |
            head -c 61440 | tr -d "\\$(printf %o $((i + 1)))" | wc -c |
            grep -qx 0 || fail "block $i differs on the disk"
    done
}

check_fua_and_flush_and_zeroes_are_not_polled_for()
{
    disks
    begin
    io polled 'write -q -f -P 2 0 64k' 'write -q -f -P 3 64k 4k' \
        'write -q -z 4k 4k' flush
    wait_until 10 no_sessions
    equal "requests polled for" "$(of polled polled)" 0
    io polled 'read -q -P 2 0 4k' 'read -q -P 0 4k 4k' 'read -q -P 2 8k 56k'
    wait_until 10 no_sessions
    equal "requests polled for then" "$(of polled polled)" 3
}

check_another_volume_on_that_reactor_goes_on_beside_it()
{
    local other
    disks
    begin
    qemu-img bench -f raw -t none -d 32 -c 2000 -s 4k -w --flush-interval=100 \
        "$(uri polled)" >"$work/other" 2>&1 &
    other=$!
    end_later $other
    io_script plain < <(patterns 80)
    bench plain -c 500 -d 8 -s 4k -w --flush-interval=100
    wait $other || fail "the other client: $(tail -n 1 "$work/other")"
    wait_until 10 no_sessions
    equal "requests of it polled for" "$(of plain polled)" 0
    equal "requests of the other" "$(of polled polled)" 2000
    io polled 'read -q -P 0 0 4k'
    io plain 'read -q -P 143 4128768 60k'
}

check_the_server_stops_with_requests_there_and_starts_again()
{
    local client
    disks
    begin
    io_script polled < <(patterns 5)
    for _ in 1 2; do
        qemu-img bench -f raw -t none -d 32 -c 1000000 -s 4k \
            "$(uri polled)" >"$work/client" 2>&1 &
        client=$!
        end_later $client
        wait_until 20 busy || fail "no requests: $(tail -n 1 "$work/client")"
        stop_server >&2
        wait $client || true
        port=$((port + 1))
        begin
        io polled 'read -q -P 5 0 60k' 'read -q -P 68 4128768 60k'
    done
}

busy()
{
    [ "$(of polled polled)" -gt 500 ]
}

check_a_client_that_is_killed_there_leaves_nothing_behind()
{
    local client
    disks
    begin
    for _ in 1 2; do
        qemu-img bench -f raw -t none -d 32 -c 1000000 -s 4k -w \
            "$(uri polled)" >"$work/client" 2>&1 &
        client=$!
        end_later $client
        wait_until 20 busy || fail "no requests: $(tail -n 1 "$work/client")"
        kill -KILL $client
        wait_until 20 no_sessions || fail "its session is left"
    done
    io polled 'write -q -P 9 0 1M' 'read -q -P 9 0 1M'
}

check_a_reactor_that_has_nothing_to_ask_for_sleeps()
{
    disks
    begin
    reactors_sleep polled
}

check_io_poll_off_is_heeded()
{
    disks io-poll=off
    begin
    io polled 'write -q -P 4 0 1M' 'read -q -P 4 0 1M'
    wait_until 10 no_sessions
    equal "submission" "$(of polled submission)" io_uring
    equal "requests polled for" "$(of polled polled)" 0
}

check_io_poll_on_is_refused_where_the_disk_has_no_such_queue()
{
    disks
    echo io-poll=on >>"$work/conf"
    refused "'plain' has io-poll = on, but its disk has no queues without" 20 \
        rdiskd --config "$work/conf" --listen "$addr" --control '' \
        --authentication none
}

# System calls of the server per 100 reads: server_calls VOLUME DEPTH
server_calls()
{
    local count tracer totals=()
    for count in 50 250; do
        : >"$work/attached"
        strace -f -c -o "$work/calls" -p "$server" 2>"$work/attached" &
        tracer=$!
        end_later $tracer
        wait_until 10 grep -q attached "$work/attached" ||
            skip "strace cannot attach: $(tail -n 1 "$work/attached")"
        qemu-img bench -f raw -t none -s 4k -d "$2" -c $count "$(uri "$1")" \
            >"$work/io" 2>&1 || fail "$(tail -n 1 "$work/io")"
        kill -INT $tracer
        wait $tracer || true
        cat "$work/calls"
        totals+=("$(awk '$1 ~ /^[0-9.]+$/ && $NF != "total" &&
                         $NF != "clock_gettime" { sum += $4 }
                         END { print sum + 0 }' "$work/calls")")
    done
    echo "$volume depth $2: $(((totals[1] - totals[0]) / 2))" \
        "per 100" >>"$work/report"
    calls=$(((totals[1] - totals[0]) / 2))
}

check_polling_costs_no_more_system_calls_when_the_disk_is_quick()
{
    local volume depth
    command -v strace >/dev/null || skip "no strace here"
    disks
    begin --poll-time 0
    for depth in 1 32; do
        for volume in plain polled; do
            server_calls $volume $depth
        done
    done
    at_most "system calls per 100 polled reads at depth 32" "$calls" 100
}

run_checks
