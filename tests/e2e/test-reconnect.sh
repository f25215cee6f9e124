#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Sessions that survive: with reconnect-delay, requests wait for a server that
# went away, and none is lost or done twice when it is back.  Each check has a
# server of its own.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

# A client with one write behind it, then a server that dies.
bereaved_client()
{
    start_server
    volume v 8M
    client c "$(uri "v?$1")"
    say c 'write -P 1 0 4k'
    answers c 'wrote 4096/4096' 20
    kill_server
}

check_requests_wait_for_a_restarted_server()
{
    bereaved_client 'reconnect-delay=60'
    say c 'write -P 2 64k 4k'
    sleep 2
    ! said c '64k|65536|write failed' || fail "the write did not wait"
    start_server
    answers c 'wrote 4096/4096 bytes at offset 65536' 40
    says "$work/c.out" 'reconnected to .*, epoch'
    say c 'read -P 1 0 4k'
    answers c 'read 4096/4096 bytes at offset 0' 20
    say c 'read -P 2 64k 4k'
    answers c 'read 4096/4096 bytes at offset 65536' 20
}

check_after_the_delay_requests_fail_until_the_server_is_back()
{
    bereaved_client 'reconnect-delay=2'
    say c 'write -P 2 0 4k'
    answers c 'write failed' 20
    says "$work/c.out" 'not reconnected to .* within reconnect-delay=2 seconds'
    start_server
    wait_until 40 said c 'reconnected to .*, epoch' || fail "it did not reconnect"
    say c 'write -P 3 0 4k'
    answers c 'wrote 4096/4096' 20
}

check_why_attempts_fail_is_told_once()
{
    bereaved_client 'reconnect-delay=60'
    answers c 'cannot reconnect: ' 40
    sleep 4
    at_most "warnings" "$(grep -c 'cannot reconnect' "$work/c.out")" 2
    start_server
    answers c 'reconnected to .*, epoch' 40
}

check_a_server_that_stops_in_order_gets_its_clients_back()
{
    start_server
    volume v 8M
    client c "$(uri 'v?reconnect-delay=60')"
    stop_server
    say c 'write -P 5 0 4k'
    start_server
    answers c 'wrote 4096/4096' 40
}

# As many times as the writer takes; it must not notice.
check_no_write_is_lost_while_the_server_is_killed_again_and_again()
{
    local writer rounds=0 status=0
    start_server
    volume v 24M
    head -c 24M /dev/urandom >"$work/image"
    qemu-img convert -n -f raw -O raw -r 4M "$work/image" \
        "$(uri 'v?reconnect-delay=60')" &
    writer=$!
    end_later $writer
    while ! gone $writer && [ $rounds -lt 6 ]; do
        sleep 1.5
        kill_server
        start_server
        rounds=$((rounds + 1))
    done
    wait_until 90 gone $writer || fail "the writer hangs"
    wait $writer || status=$?
    equal "status of the writer" $status 0
    echo "# $rounds restarts"
    at_most "restarts needed" 2 $rounds
    cmp "$work/image" "$pool/v" || fail "the volume is not what was written"
}

# The old session is still alive at the server when the client comes back.
check_a_client_that_lost_its_connection_gets_in_again()
{
    start_server
    volume v 8M
    client c "$(uri 'v?reconnect-delay=60&heartbeat=1')"
    kill -STOP "$server"
    say c 'write -P 7 0 4k'
    sleep 4
    kill -CONT "$server"
    answers c 'wrote 4096/4096' 40
    wait_until 20 one_session || fail "the old session is left"
    say c 'read -P 7 0 4k'
    answers c 'read 4096/4096' 20
}

# The server is restarted where another device leads.
check_a_client_comes_back_through_another_device()
{
    local before
    [ -e /sys/class/net/lab1 ] || skip "there is one RDMA device only"
    before=$(unanswered)
    bereaved_client 'reconnect-delay=60'
    say c 'write -P 2 64k 4k'
    wait_until 20 freezes_between_attempts || fail "the client does not sleep between requests"
    move_address lab0 lab1
    trap move_back EXIT
    kill -CONT "${client[c]}"
    start_server
    answers c 'wrote 4096/4096 bytes at offset 65536' 40
    say c 'read -P 1 0 4k'
    answers c 'read 4096/4096 bytes at offset 0' 20
}

move_back()
{
    kill -CONT "${client[c]}"
    kill -KILL "${client[c]}"
    wait_until 10 gone "${client[c]}"
    wait_until 10 no_sessions || true
    stop_server
    move_address lab1 lab0
}

# Requests to connect that have no answer, through all devices
unanswered()
{
    local port sum=0
    for port in /sys/class/infiniband/*/ports/1; do
        sum=$((sum + $(cat "$port/cm_tx_msgs/req") -
            $(cat "$port/cm_rx_msgs/rej") - $(cat "$port/cm_rx_msgs/rep")))
    done
    echo $sum
}

freezes_between_attempts()
{
    freeze "${client[c]}"
    [ "$(unanswered)" -gt "$before" ] || return 0
    kill -CONT "${client[c]}"
    return 1
}

# Of all RDMA devices, the connection manager's too
sent_packets()
{
    cat /sys/class/infiniband/*/ports/1/hw_counters/sent_pkts
}

# move_address FROM TO, while no answer of the connection manager is awaited:
# with a message that is sent again from an address that is gone, Soft-RoCE loses
# queue pair 1 of the device, see docs/lab.md.
move_address()
{
    unchanged 1 sent_packets || fail "a peer sends without end"
    ip addr del "$addr/24" dev "$1"
    ip addr add "$addr/24" dev "$2"
}

one_session()
{
    [ "$(stat_server 'len(s["sessions"])')" = 1 ]
}

run_checks
