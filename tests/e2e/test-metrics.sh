#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Metrics for Prometheus count what was done: known traffic, and the numbers of
# it.  promtool, where it is installed, finds nothing wrong with them.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=tests/e2e/vhost.sh
. "$here/vhost.sh"

# scrape [SOCKET]: the metrics, in $work/metrics
scrape()
{
    within 20 rdisk stat --prometheus --control "${1:-$control}" \
        >"$work/metrics"
}

# value SERIES: of one line of them
value()
{
    awk -v series="$1" 'index($0, series " ") == 1 { print $NF; n++ }
        END { exit n != 1 }' "$work/metrics" || fail "no single series $1"
}

# valid: nothing is wrong with them
valid()
{
    command -v promtool >/dev/null || {
        report "promtool is not installed: their form is not checked"
        return 0
    }
    promtool check metrics <"$work/metrics" >"$work/promtool" 2>&1 ||
        fail "promtool: $(head -n 1 "$work/promtool")"
    [ ! -s "$work/promtool" ] || fail "promtool: $(head -n 1 "$work/promtool")"
}

check_metrics_count_known_traffic()
{
    start_server
    volume known 8M
    io known 'write -P 1 0 64k' 'write -P 2 64k 64k' 'read -P 1 0 64k' \
        'read 0 4k' 'read 4k 4k' flush
    wait_until 10 no_sessions
    scrape
    valid
    # A volume that is not open has no counters, the server has.
    equal "volumes with counters" \
        "$(grep -c '^rdisk_volume_requests_total' "$work/metrics")" 0
    at_least "sessions opened" "$(value rdisk_server_sessions_opened_total)" 1
    equal "sessions closed" "$(value rdisk_server_sessions_closed_total)" \
        "$(value rdisk_server_sessions_opened_total)"
    equal "sessions lost" "$(value rdisk_server_sessions_lost_total)" 0
    equal "size" "$(value 'rdisk_volume_size_bytes{volume="known"}')" \
        $((8 << 20))
    at_least "space of the volume" \
        "$(value 'rdisk_volume_allocated_bytes{volume="known"}')" $((128 << 10))
    at_least "size of the file system" "$(value rdisk_pool_capacity_bytes)" 1
    equal "sizes together" "$(value rdisk_pool_provisioned_bytes)" $((8 << 20))
}

# While a volume stays open, as one with a section does.
check_an_open_volume_has_counters_and_a_histogram_of_latency()
{
    local of=rdisk_volume_request_duration_seconds count
    printf '[volume open]\nbackend = memory\nsize = 8M\n' >"$work/conf"
    start_server --config "$work/conf"
    io open 'write -P 1 0 64k' 'write -P 2 64k 64k' 'read -P 1 0 64k' \
        'read 0 4k' 'read 4k 4k'
    wait_until 10 no_sessions
    scrape
    valid
    equal "writes" \
        "$(value 'rdisk_volume_requests_total{volume="open",op="write"}')" 2
    equal "bytes written" \
        "$(value 'rdisk_volume_bytes_total{volume="open",op="write"}')" \
        $((128 << 10))
    count=$(value 'rdisk_volume_requests_total{volume="open",op="read"}')
    at_least "reads" "$count" 3
    equal "reads in the histogram" \
        "$(value "${of}_count{volume=\"open\",op=\"read\"}")" "$count"
    equal "reads of any length" \
        "$(value "${of}_bucket{volume=\"open\",op=\"read\",le=\"+Inf\"}")" \
        "$count"
    awk -v sum="$(value "${of}_sum{volume=\"open\",op=\"read\"}")" \
        'BEGIN { exit !(sum > 0 && sum < 60) }' || fail "the sum is not a time"
    equal "requests in flight" \
        "$(value 'rdisk_volume_requests_in_flight{volume="open"}')" 0
    awk -v idle="$(value 'rdisk_reactor_idle_seconds_total{reactor="0"}')" \
        -v up="$(value rdisk_server_uptime_seconds)" \
        'BEGIN { exit !(idle > 0 && idle < up + 1) }' ||
        fail "a reactor was idle for longer than it ran, or never"
}

check_disks_of_rdisk_vhost_have_metrics()
{
    start_server
    volume disk 8M
    vhost_start
    vhost_add disk
    scrape "$vhost_control"
    valid
    equal "size" "$(value 'rdisk_vhost_disk_size_bytes{disk="disk"}')" \
        $((8 << 20))
    equal "VMMs" "$(value 'rdisk_vhost_disk_vmm_connected{disk="disk"}')" 0
}

# scrape_http ADDRESS:PORT: the same over HTTP, in $work/http
scrape_http()
{
    within 20 python3 -Sc 'import sys, urllib.request
with urllib.request.urlopen("http://%s/metrics" % sys.argv[1]) as reply:
    sys.stdout.buffer.write(reply.read())' "$1" >"$work/http"
}

# Whether the same lines are there; values of time and CPU differ.
same_series()
{
    diff <(sed 's/ [^ ]*$//' "$work/metrics") <(sed 's/ [^ ]*$//' "$work/http")
}

check_the_same_metrics_are_served_over_http()
{
    start_server --metrics 127.0.0.1:9105
    volume web 8M
    io web 'write 0 4k'
    wait_until 10 no_sessions
    scrape
    scrape_http 127.0.0.1:9105
    same_series || fail "not the metrics of rdisk stat --prometheus"
    vhost_start --metrics '[::1]:9106'
    vhost_add web
    scrape "$vhost_control"
    scrape_http '[::1]:9106'
    same_series || fail "not the metrics of rdisk-vhost"
    refused 'cannot listen at metrics = 127.0.0.1:9105: Address already' 20 \
        rdiskd --config '' --volume v=memory:1M --listen "$addr" --port 7999 \
        --control '' --authentication none --metrics 127.0.0.1:9105
    refused "'9105' is not ADDRESS:PORT" 20 rdiskd --config '' --metrics 9105
}

check_scrapers_that_send_nothing_delay_neither_others_nor_the_end()
{
    start_server --metrics 127.0.0.1:9105
    python3 -Sc 'import socket, time
held = [socket.create_connection(("127.0.0.1", 9105)) for _ in range(20)]
time.sleep(60)' &
    end_later $!
    sleep 0.5
    volume busy 8M
    io busy 'write 0 4k'
    soon 5 rdisk stat --control "$control" >/dev/null
    stop_server
}

check_a_session_that_is_lost_is_counted()
{
    start_server
    volume lost 8M
    qemu-io -f raw -c 'write 0 4k' -c 'sleep 60000' "$(uri lost)" >/dev/null &
    client=$!
    end_later $client
    wait_until 10 one_session
    kill -KILL $client
    wait_until 20 no_sessions
    scrape
    equal "sessions lost" "$(value rdisk_server_sessions_lost_total)" 1
}

check_sessions_that_the_server_ends_are_not_lost()
{
    start_server
    volume v 8M
    client c "$(uri v)?reconnect-delay=60"
    rdisk drain --control "$control" v >/dev/null
    rdisk resume --control "$control" v
    wait_until 20 one_session
    say c 'read 0 4k'
    answers c 'read 4096' 20
    rdisk fence --control "$control" v >/dev/null
    wait_until 20 no_sessions
    scrape
    equal "sessions ended" "$(value rdisk_server_sessions_ended_total)" 2
    equal "sessions lost" "$(value rdisk_server_sessions_lost_total)" 0
    equal "queues broken" "$(value rdisk_server_broken_queues_total)" 0
}

one_session()
{
    [ "$(stat_server 'len(s["sessions"])')" = 1 ]
}

run_checks
