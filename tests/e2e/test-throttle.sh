#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Limits of requests and bytes a second, in the configuration and by command.
# What is over a limit waits: times have a least here, and no most but that of a
# limit that does not count any more.
# quick-lab: requests wait for limits, in seconds
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

# begin [LINE...]: a server with volume v, and with these lines
begin()
{
    printf '[volume v]\nbackend = memory\nsize = 16M\n' >"$work/conf"
    printf '%s\n' "$@" >>"$work/conf"
    start_server --config "$work/conf"
}

throttle()
{
    within 20 rdisk throttle --control "$control" "$@" | tee "$work/throttle"
}

# reads COUNT [OPTION...]: milliseconds that so many reads take
reads()
{
    local count=$1 began
    shift
    began=$(date +%s%N)
    within 60 bench-client "$(uri "${volume:-v}")" -d 16 -c "$count" "$@" \
        >"$work/io" 2>&1 || fail "bench-client: $(tail -n 1 "$work/io")"
    echo $((($(date +%s%N) - began) / 1000000))
}

waited()
{
    stat_server "s['volumes'][0]['throttle']['requests']"
}

check_a_configured_limit_holds_and_is_reported()
{
    begin '[throttle v*]' 'iops = 100'
    # A tenth of a second of them may come at once.
    at_least "milliseconds for 60 reads" "$(reads 60)" 490
    at_least "requests that waited" "$(waited)" 30
    within 20 rdisk stat --control "$control" >"$work/stat"
    says "$work/stat" 'limits: iops=100; [0-9]+ requests waited for them'
    within 20 rdisk stat --prometheus --control "$control" >"$work/metrics"
    says "$work/metrics" '^rdisk_volume_throttled_requests_total\{.*"v".*\} [1-9]'
}

check_a_command_changes_a_limit_for_what_waits_already()
{
    local client
    begin '[throttle v]' 'iops = 5'
    bench-client "$(uri v)" -d 16 -c 200 >"$work/io" 2>&1 &
    client=$!
    end_later $client
    wait_until 20 test_waits || fail "nothing waits"
    throttle v iops=100000
    says "$work/throttle" 'volume v: limits: iops=100000 \(until the next reload\)'
    wait_until 15 gone $client || fail "the requests still wait"
    grep -q '^seconds=' "$work/io" || fail "$(tail -n 1 "$work/io")"
    throttle v configured
    says "$work/throttle" 'limits: iops=5;'
    refused "iops = 0.5 of volume 'v' is not between 1 and" 5 \
        rdisk throttle v iops=0.5 --control "$control"
}

test_waits()
{
    [ "$(waited)" -ge 1 ]
}

check_a_reload_applies_limits()
{
    begin
    throttle v
    says "$work/throttle" 'limits: off; 0 requests'
    reads 60 >&2
    equal "requests that waited" "$(waited)" 0
    printf '[throttle v]\nbps = 1M\n' >>"$work/conf"
    within 20 rdisk reload --control "$control" >&2
    # 1 MiB, of which a tenth may come at once.
    at_least "milliseconds for 64 reads of 16 KiB" "$(reads 64 -s 16384)" 850
}

check_what_waits_for_a_limit_delays_no_drain_and_no_reconnect()
{
    local began i
    begin '[throttle v]' 'iops = 1'
    client c "$(uri 'v?reconnect-delay=60')"
    for ((i = 0; i < 12; i++)); do
        say c "aio_read $((i * 4096)) 4k"
    done
    sleep 1
    began=$(date +%s%N)
    within 30 rdisk drain --control "$control" >&2
    at_most "milliseconds of the drain" \
        $((($(date +%s%N) - began) / 1000000)) 10000
    throttle v off >&2
    within 20 rdisk resume --control "$control" >&2
    say c 'write -P 4 0 4k'
    answers c 'wrote 4096/4096' 30
    ! said c 'failed' || fail "a request failed"
}

run_checks
