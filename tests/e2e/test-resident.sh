#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Resident volumes: images in the server's memory, which clients read by RDMA
# READ.  The server counts each request that it gets: none.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

size=$((24 << 20))
head -c $size /dev/urandom >"$work/image"

# begin [LINE...]: a server with the image, and with these lines
begin()
{
    {
        printf '[volume image]\nbackend = resident\nread-only = on\n'
        printf 'path = %s\n' "$work/image"
        printf '%s\n' "$@"
    } >"$work/conf"
    start_server --config "$work/conf"
}

# Requests of image that the server has answered, of all its clients so far
requests()
{
    stat_server "sum(v['counters'][k] for v in s['volumes']
                     for k in ('reads', 'writes', 'flushes')
                     if v['name'] == 'image')"
}

# reads COUNT [OPTION...]
reads()
{
    within 60 bench-client "$(uri image)" -d 8 -c "$1" "${@:2}" \
        >"$work/io" 2>&1 || fail "bench-client: $(tail -n 1 "$work/io")"
}

check_an_image_is_read_whole()
{
    begin
    within 60 qemu-img convert -f raw -O raw "$(uri image)" "$work/back"
    cmp "$work/image" "$work/back"
    io_options=-r io image 'read 0 512' 'read 511 1025' 'read 1m 4m'
    within 60 rdisk info "$(uri image)" >"$work/info"
    says "$work/info" 'read_only'
}

check_reads_cost_the_server_no_request()
{
    begin
    reads 2000
    reads 200 -s 1048576
    reads 500 -u
    wait_until 10 no_sessions
    equal "requests" "$(requests)" 0
}

check_a_storm_of_64_clients_costs_the_server_no_request()
{
    local i clients=()
    begin
    for i in {1..64}; do
        bench-client "$(uri image)" -d 4 -c 200 >"$work/io.$i" 2>&1 &
        clients+=($!)
        end_later $!
    done
    for i in {1..64}; do
        wait_until 120 gone "${clients[i - 1]}" || fail "client $i hangs"
        grep -q '^seconds=' "$work/io.$i" ||
            fail "client $i: $(tail -n 1 "$work/io.$i")"
    done
    wait_until 20 no_sessions
    equal "requests of 64 clients" "$(requests)" 0
}

check_an_older_client_is_answered()
{
    begin
    reads 500 -o
    wait_until 10 no_sessions
    at_least "requests" "$(requests)" 500
}

# Five seconds, of which none passes without a part of it
check_a_large_image_takes_as_long_as_it_takes()
{
    server_under="env LD_PRELOAD=$top/build/lib/slow-reads.so" \
        begin '[server]' 'storage-timeout = 1'
    grep -q 'its storage does not answer' "$server_log" &&
        fail "$(tail -n 1 "$server_log")"
    reads 200
}

check_the_file_may_change()
{
    begin
    cp "$work/image" "$work/kept"
    : >"$work/image"
    within 60 qemu-img convert -f raw -O raw "$(uri image)" "$work/back"
    cmp "$work/kept" "$work/back"
    mv "$work/kept" "$work/image"
}

check_limits_make_reads_requests()
{
    begin '[throttle image]' 'iops = 100000'
    reads 300
    wait_until 10 no_sessions
    at_least "requests" "$(requests)" 300
}

check_a_limit_by_command_ends_reads_without_requests()
{
    begin
    client c "$(uri 'image?reconnect-delay=60')" -r
    say c 'read 0 64k'
    answers c 'read 65536/65536' 30
    equal "requests" "$(requests)" 0
    within 20 rdisk throttle --control "$control" image iops=50000 >&2
    say c 'read 1m 4k'
    answers c 'read 4096/4096' 60
    at_least "requests" "$(requests)" 1
}

check_a_client_reconnects_to_a_server_that_was_killed()
{
    begin
    client c "$(uri 'image?reconnect-delay=60')" -r
    say c 'read 0 64k'
    answers c 'read 65536/65536' 30
    kill_server
    begin
    say c 'read 1m 4m'
    answers c 'read 4194304/4194304' 60
    equal "requests" "$(requests)" 0
}

check_what_cannot_be_resident_is_refused()
{
    printf '[volume image]\nbackend = resident\npath = %s\n' "$work/image" \
        >"$work/conf"
    refused "is resident: it needs path= and read-only = on" 20 \
        rdiskd --config "$work/conf" --listen "$addr" --control "$control" \
        --authentication none
    truncate -s 8T "$work/large"
    printf '[volume image]\nbackend = resident\nread-only = on\npath = %s\n' \
        "$work/large" >"$work/conf"
    refused "memory that are available" 20 \
        rdiskd --config "$work/conf" --listen "$addr" --control "$control" \
        --authentication none
}

run_checks
