#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What opening a volume refuses, with which sentence and how soon.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

# open_fails REGEX SECONDS URI: it does so soon
open_fails()
{
    soon "$2" refused "$1" 60 qemu-io -f raw -c 'read 0 512' "$3"
}

check_an_unknown_volume_is_named()
{
    open_fails "no volume 'nobody'" 10 "$(uri nobody)"
}

check_a_volume_name_cannot_leave_the_pool()
{
    echo secret >"$work/secret"
    open_fails "volume" 10 "$(uri ../secret)"
    open_fails "volume" 10 "$(uri %2e%2e%2fsecret)"
    open_fails "volume" 10 "$(uri .hidden)"
    ln -s "$work/secret" "$pool/link"
    open_fails "volume 'link'" 10 "$(uri link)"
}

check_a_uri_without_a_volume_is_refused()
{
    open_fails 'volume' 10 "rdma://$addr:$port/"
    open_fails 'volume|URI|path' 10 "rdma://$addr:$port"
}

check_a_uri_without_a_host_is_refused()
{
    open_fails 'host|URI' 10 "rdma:///v"
}

check_a_bad_port_is_refused()
{
    open_fails 'port' 10 "rdma://$addr:0/v"
    open_fails 'port' 10 "rdma://$addr:65536/v"
    open_fails 'port' 10 "rdma://$addr:abc/v"
}

check_an_unknown_option_is_refused_with_the_known_ones()
{
    open_fails "unknown option 'speed'.*queues.*heartbeat" 10 \
        "$(uri 'v?speed=11')"
}

check_an_option_given_twice_is_refused()
{
    open_fails "'slots' is given twice" 10 "$(uri 'v?slots=4&slots=8')"
}

# Each end of each range, just beyond.
check_options_out_of_range_are_refused_with_the_range()
{
    local option
    for option in queues=0 queues=65 slots=0 slots=1025 slot-size=2048 \
        slot-size=8M slot-size=5000 open-timeout=0 open-timeout=3601 \
        request-timeout=3601 heartbeat=0.01 heartbeat=601; do
        open_fails "${option%%=*}" 10 "$(uri "v?$option")"
        says "$work/refused" "[0-9]"
    done
}

check_options_at_the_ends_of_their_ranges_work()
{
    io 'v?queues=1&slots=1&slot-size=4k&open-timeout=3600&heartbeat=600' \
        'write -q -P 3 0 20k' 'read -q -P 3 0 20k'
    io 'v?queues=8&slots=16&slot-size=4M&request-timeout=0&heartbeat=0&write-acks=on' \
        'write -q -P 4 0 20k' 'read -q -P 4 0 20k'
}

check_a_port_where_nobody_listens_is_told_at_once()
{
    open_fails "$addr:9999" 6 "rdma://$addr:9999/v"
}

check_a_host_that_is_not_there_is_bounded_by_open_timeout()
{
    open_fails '[0-9.]+:7471.*(open-timeout=1|no answer|reaches|route)' 5 \
        "rdma://${addr%.*}.99/v?open-timeout=1"
}

check_a_host_name_that_does_not_resolve_is_named()
{
    open_fails "no-such-host.invalid" 40 "rdma://no-such-host.invalid/v"
}

check_a_server_that_is_stopped_is_bounded_by_open_timeout()
{
    start_server
    volume v 1M
    kill -STOP "$server"
    open_fails 'open-timeout=2' 8 "$(uri 'v?open-timeout=2')"
}

check_a_stranger_on_the_port_is_bounded_by_open_timeout()
{
    command -v rping >/dev/null || skip "no rping"
    within 60 rping -s -P -a "$addr" -p 7499 &
    end_later $!
    wait_until 10 listens 7499 || fail "rping does not listen"
    open_fails ':7499' 8 "rdma://$addr:7499/v?open-timeout=2"
}

# Four in a row in each process: a process that has closed a volume can open it.
check_a_hundred_opens_leave_nothing_behind()
{
    local i
    for ((i = 0; i < 25; i++)); do
        within 60 qemu-io -f raw -c 'write -q -P 1 0 4k' -c close \
            -c "open -o driver=raw $(uri v)" -c 'read -q -P 1 0 4k' -c close \
            -c "open -o driver=raw $(uri v)" -c 'read -q -P 1 0 4k' -c close \
            -c "open -o driver=raw $(uri v)" -c 'read -q -P 1 0 4k' \
            "$(uri v)" >"$work/io" 2>&1 ||
            fail "round $i: $(tail -n 1 "$work/io")"
        ! grep -E "failed|error|can't" "$work/io" || fail "round $i"
    done
    wait_until 10 no_sessions || fail "sessions are left"
    equal "memory of slots" "$(stat_server 's["memory"]')" 0
}

check_ping_says_what_is_wrong()
{
    refused "no volume 'nobody'" 10 rdisk ping "$(uri nobody)"
}

start_server
volume v 1M
run_checks
