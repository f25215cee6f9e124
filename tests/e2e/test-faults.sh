#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Clients and servers that die or stop answering: nothing hangs, nothing leaks,
# and what was acknowledged is on the disk.  Each check has a server of its
# own.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

# fresh_client QUERY [OPTION…]: a client with one write behind it, and a server
# with these options
fresh_client()
{
    start_server "${@:2}"
    volume v 8M
    client c "$(uri "v$1")"
    say c 'write -P 1 0 4k'
    answers c 'wrote 4096/4096' 20
}

check_a_killed_client_frees_everything_for_the_next()
{
    fresh_client ''
    kill -KILL "${client[c]}"
    wait_until 15 no_sessions || fail "the session of a dead client is left"
    equal "memory of slots" "$(stat_server 's["memory"]')" 0
    io v 'read -q -P 1 0 4k' 'write -q -P 2 0 4k' 'read -q -P 2 0 4k'
}

busy()
{
    [ "$(stat_server 'sum(x["counters"]["writes"] for x in s["sessions"])')" \
        -gt 50 ]
}

check_a_client_killed_under_load_frees_everything()
{
    start_server
    volume v 8M
    qemu-img bench -f raw -w -c 1000000 -d 32 -s 16k "$(uri v)" &
    end_later $!
    wait_until 20 busy || fail "there is no load"
    kill -KILL $!
    wait_until 15 no_sessions || fail "the session of a dead client is left"
    equal "memory of slots" "$(stat_server 's["memory"]')" 0
    io v 'write -q -P 2 0 4k' 'read -q -P 2 0 4k'
}

check_a_killed_server_ends_requests_with_an_error()
{
    fresh_client ''
    kill -KILL "$server"
    server=''
    say c 'write -P 2 0 4k'
    answers c '(failed|error)' 20
    say c 'read -P 2 0 4k'
    answers c 'read failed' 20
    says "$work/c.out" "volume 'v' on $addr: .*$addr:$port"
    # It lets go, too.
    say c quit
    wait_until 10 gone "${client[c]}" || fail "the client hangs"
}

# How many requests of the burst its client has sent
sent()
{
    grep -c rdma_submit "$work/burst" || true
}

sent_more()
{
    [ "$(sent)" -ge "$1" ]
}

# A client with 40 writes on their way to a server that sleeps.  Before them it
# waits at a gate, for the bytes of a write; there are none.
start_burst()
{
    local i before list=()
    start_server
    volume v 8M
    for ((i = 0; i < 40; i++)); do
        list+=(-c "aio_write -P $((i + 1)) $((i * 65536)) 65536")
    done
    : >"$work/burst"
    rm -f "$work/gate"
    mkfifo "$work/gate"
    # The first brings slots of its size, which stay for some seconds.
    stdbuf -oL qemu-io -f raw --trace rdma_submit -c 'write 7M 32k' \
        -c "write -s $work/gate 7M 512" "${list[@]}" \
        -c aio_flush "$(uri 'v?heartbeat=60')" >>"$work/burst" 2>&1 &
    burst=$!
    end_later $burst
    wait_until 20 grep -q '^wrote 32768' "$work/burst" || fail "no client"
    freeze "$server"
    before=$(sent)
    within 20 tee "$work/gate" </dev/null
    wait_until 20 sent_more $((before + 40)) || fail "$(sent) requests were sent"
    # They are in the server's memory as soon as its device has them.
    sleep $slow
    equal "answers of a server that sleeps" "$(ended)" 0
}

# How many of the burst have ended.
ended()
{
    grep -cE '^wrote 65536|aio_write failed' "$work/burst" || true
}

all_ended()
{
    [ "$(ended)" = 40 ]
}

check_a_server_killed_under_load_ends_every_request()
{
    start_burst
    kill -KILL "$server"
    server=''
    wait_until 20 all_ended || fail "$(ended) of 40 requests have ended"
    equal "failed requests" "$(grep -c 'aio_write failed' "$work/burst")" 40
    wait_until 10 gone "$burst" || fail "the client hangs"
}

check_a_silent_server_is_noticed_by_heartbeat()
{
    local began
    fresh_client '?heartbeat=1'
    freeze "$server"
    began=$SECONDS
    say c 'write -P 2 0 4k'
    answers c 'write failed' 10
    # The next to notice would be request-timeout, after a minute.
    at_most "seconds" $((SECONDS - began)) $((20 * slow))
    says "$work/c.out" 'no message received within heartbeat=1 second'
}

check_a_request_without_an_answer_is_ended_by_request_timeout()
{
    local began
    fresh_client '?heartbeat=0&request-timeout=2'
    freeze "$server"
    began=$SECONDS
    say c 'write -P 2 0 4k'
    answers c 'write failed' 12
    at_most "seconds" $((SECONDS - began)) $((25 * slow))
    says "$work/c.out" 'no answer within request-timeout=2 seconds'
}

check_a_pause_shorter_than_the_heartbeat_goes_unnoticed()
{
    fresh_client '?heartbeat=20'
    freeze "$server"
    say c 'write -P 2 0 64k'
    sleep 2
    kill -CONT "$server"
    answers c 'wrote 65536/65536' 20
    say c 'read -P 2 0 64k'
    answers c 'read 65536/65536' 20
}

# As QEMU is while it allocates memory: its main loop stands still.
check_a_client_that_is_busy_for_longer_than_its_heartbeat_keeps_its_session()
{
    fresh_client '?heartbeat=1'
    freeze "${client[c]}"
    sleep 5
    kill -CONT "${client[c]}"
    say c 'write -P 2 0 64k'
    answers c 'wrote 65536/65536' 20
    ! grep -q 'no message received' "$server_log" || fail "it was disconnected"
}

check_a_client_that_hangs_for_longer_than_max_silence_is_cut_off()
{
    fresh_client '?heartbeat=1' --max-silence 2
    freeze "${client[c]}"
    wait_until 20 no_sessions || fail "its session is still there"
    says "$server_log" 'no message received for 2 seconds [(]max-silence'
}

check_a_stopped_client_does_not_hinder_others()
{
    fresh_client ''
    volume w 4M
    kill -STOP "${client[c]}"
    io w 'write -q -P 9 0 4M' 'read -q -P 9 0 4M'
    kill -CONT "${client[c]}"
    say c 'read -P 1 0 4k'
    answers c 'read 4096/4096' 20
}

check_sigterm_lets_requests_on_their_way_reach_the_disk()
{
    local offset count=0 status=0 taken
    start_burst
    kill -TERM "$server"
    kill -CONT "$server"
    wait_until 20 gone "$server" || fail "the server is still there"
    wait "$server" || status=$?
    equal "status of the server" $status 0
    wait_until 20 all_ended || fail "$(ended) of 40 requests have ended"
    while read -r offset; do
        count=$((count + 1))
        dd if="$pool/v" bs=64k skip=$((offset / 65536)) count=1 status=none |
            tr -d "\\$(printf %03o $((offset / 65536 + 1)))" | wc -c |
            grep -qx 0 || fail "the acknowledged write at $offset is lost"
    done < <(sed -n 's/^wrote 65536\/65536 bytes at offset //p' "$work/burst")
    # Those that had slots had reached the server before the signal did: a
    # session has at least as many as these, and more follow the load.
    at_least "acknowledged writes" $count 4
    taken=$(cat "$work"/server*.log |
        sed -n "s/.*closes volume 'v': .* \([0-9]*\) writes.*/\1/p")
    # All but the one before the burst.
    equal "writes that the server took" "$taken" $((count + 1))
}

check_a_restarted_server_serves_the_same_bytes()
{
    start_server
    volume v 8M
    io v 'write -q -P 5 1M 2M' flush
    kill -KILL "$server"
    wait_until 5 gone "$server"
    server=''
    start_server
    io v 'read -q -P 5 1M 2M'
}

check_twenty_killed_clients_leave_nothing_behind()
{
    local i
    start_server
    volume v 4M
    for ((i = 0; i < 20; i++)); do
        timeout -s KILL 0.$((RANDOM % 9 + 1)) \
            qemu-img bench -f raw -w -c 100000 -d 16 "$(uri v)" \
            >/dev/null 2>&1 || true
    done
    wait_until 15 no_sessions || fail "sessions are left"
    equal "memory of slots" "$(stat_server 's["memory"]')" 0
    io v 'write -q -P 2 0 4k' 'read -q -P 2 0 4k'
}

run_checks
