#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# rdiskd itself: how it starts, what its volumes are, how it idles and stops.
# time-limit: 400
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

rdiskd_fails()
{
    local regex=$1
    shift
    refused "$regex" 20 rdiskd "$@"
}

control_fails()
{
    refused "$1" 20 rdisk "${@:2}" --control "$control"
}

sessions_are()
{
    [ "$(stat_server 'len(s["sessions"])')" = "$1" ]
}

# hold VOLUME: a client has it open; its process is $holder
hold()
{
    qemu-io -f raw -c 'sleep 60000' "$(uri "$1")" >"$work/holder" 2>&1 &
    holder=$!
    end_later "$holder"
    wait_until 20 sessions_are 1
}

# begin_server OPTION…: at $port, without waiting for it
begin_server()
{
    : >"$work/ready"
    rdiskd --config '' --listen "$addr" --port "$port" --control "$control" \
        --authentication none "$@" >"$work/ready" 2>>"$server_log" \
        </dev/null &
    server=$!
    end_later $server
}

# begin_another OPTION…: the same, at a port of its own
begin_another()
{
    port=$((port + 1))
    control=$work/control.$port
    server_log=$work/server.$port.log
    begin_server --volume m=memory:1M "$@"
}

serves()
{
    wait_until 30 server_settled || true
    grep -q '^rdiskd: serving' "$work/ready" ||
        fail "it does not start: $(tail -n 1 "$server_log")"
}

# First, since others start servers of their own.
check_the_ready_line_names_volumes_and_address()
{
    grep -qx "rdiskd: serving 2 volumes on $addr:$port" "$work/ready"
}

check_a_wrong_configuration_names_file_line_value_and_range()
{
    printf '[server]\nport = 70000\n' >"$work/wrong.conf"
    rdiskd_fails 'wrong.conf:2: port = 70000 is out of range .port, 1…65535' \
        --config "$work/wrong.conf"
}

check_an_address_without_a_device_is_refused_with_a_sentence()
{
    rdiskd_fails 'no RDMA device has that address' --config '' --control '' \
        --listen-timeout 0 --listen 192.0.2.1 --volume m=memory:1M --authentication none
}

check_a_server_waits_for_its_address()
{
    local interface here=10.9.0.99
    interface=$(ip -o -4 addr | awk -v a="$addr" '$4 ~ a"/" { print $2 }')
    addr=$here
    begin_another --listen-timeout 60
    wait_until 20 grep -q 'no RDMA device has that address; waiting up to 60' \
        "$server_log"
    ip addr add $here/24 dev "$interface"
    serves
    ip addr del $here/24 dev "$interface"
}

check_a_server_that_waits_can_be_stopped()
{
    addr=192.0.2.1
    begin_another --listen-timeout 600
    wait_until 20 grep -q 'waiting up to 600 seconds' "$server_log"
    kill -TERM "$server"
    wait_until 10 gone "$server" || fail "it does not stop"
    wait "$server" || fail "it ends with status $?"
    says "$server_log" 'stopped before it was ready'
}

check_a_server_starts_right_after_one_was_killed()
{
    start_server
    volume v 1M
    io v 'write -q -P 5 0 1M'
    hold v
    kill -KILL "$server"
    begin_server --pool "$pool"
    serves
    kill -KILL "$holder"
    io v 'read -q -P 5 0 1M'
}

check_a_port_in_use_is_told()
{
    rdiskd_fails "port $port: another server uses that port" --config '' \
        --control '' --listen-timeout 0 --listen "$addr" --port "$port" \
        --volume m=memory:1M --authentication none
    rdiskd_fails "any address, port $port: another server uses that port" \
        --config '' --control '' --listen-timeout 0 --port "$port" \
        --volume m=memory:1M --authentication none
}

check_a_second_server_leaves_the_control_socket_alone()
{
    rdiskd_fails 'another server answers' --config '' --listen "$addr" \
        --port 7999 --control "$control" --volume m=memory:1M \
        --authentication none
    within 20 rdisk list --control "$control"
}

check_volumes_come_and_go_while_it_runs()
{
    volume new 1M
    control_fails "volume 'new' already exists" create new 1M
    rdisk resize new 2M --control "$control"
    control_fails 'has 2097152 bytes already' resize new 1M
    rdisk list --control "$control" | grep -qE '^new +2M +0 +file +0$'
    io new 'write -P 5 0 2M' 'read -P 5 0 2M'
    rdisk create new 1M --replace --control "$control"
    io new 'read -P 0 0 1M'
    rdisk delete new --control "$control"
    control_fails "there is no volume 'new'" delete new
    [ ! -e "$pool/new" ]
}

check_options_that_would_be_ignored_are_refused()
{
    refused '--user is for a URI' 10 \
        rdisk create new 1M --user alice --control "$control"
    refused "--control is for volumes of this machine's server" 10 \
        rdisk create "$(uri new)" 1M --control "$control"
    refused 'create does not take --shrink' 10 \
        rdisk create new 1M --shrink --control "$control"
}

check_commands_cannot_leave_the_pool()
{
    control_fails 'invalid volume name' create ../out 1M
    control_fails 'invalid volume name' delete ../control
}

check_a_volume_in_memory_outlives_its_sessions()
{
    io mem 'write -P 7 0 4M'
    io mem 'read -P 7 0 4M'
}

check_null_reads_as_zeroes()
{
    io null 'write -P 7 512G 1M' 'read -P 0 512G 1M'
}

check_a_file_of_odd_size_is_refused_with_a_sentence()
{
    truncate -s 1000 "$pool/odd"
    refused '1000 bytes, is not a multiple of 512' 20 rdisk ping "$(uri odd)"
}

check_a_held_volume_is_left_alone_and_its_holder_named()
{
    volume held 1M
    hold held
    control_fails "open at $addr:" delete held
    control_fails "open at $addr:" resize held 512k --shrink
    rdisk resize held 2M --control "$control"
    kill -KILL "$holder"
    wait_until 20 sessions_are 0
    rdisk delete held --control "$control"
}

check_ping_tells_each_step()
{
    local step
    within 30 rdisk ping --count 3 --interval 0 "$(uri mem)" >"$work/ping"
    for step in name address route connect hello open queues '3: message'; do
        says "$work/ping" "^ *$step"
    done
}

check_reactors_with_an_idle_session_do_not_wake_up()
{
    hold mem
    unchanged 4 reactor_turns || fail "idle reactors wake up"
}

check_each_reactor_tells_its_core_and_node()
{
    equal "the cores" "$(stat_server '[r["core"] for r in s["reactors"]]')" \
        "$([ "$(nproc)" -gt 1 ] && echo '[0, 1]' || echo '[0]')"
    # A kernel without NUMA has no nodes to tell.
    equal "each has a node" \
        "$(stat_server 'all(r["node"] >= 0 for r in s["reactors"])')" \
        "$([ -d /sys/devices/system/node/node0 ] && echo True || echo False)"
}

check_a_block_device_is_a_volume()
{
    local loop
    modprobe loop 2>/dev/null || true
    truncate -s 64M "$work/store"
    loop=$(losetup --find --show "$work/store") || skip "no loop device here"
    start_server --volume "device=file:$loop"
    io device 'write -P 3 63M 1M' flush 'read -P 3 63M 1M'
    cmp -n 4096 -i 66060288:0 "$loop" \
        <(head -c 4096 /dev/zero | tr '\0' '\003')
    stop_server
    losetup -d "$loop"
}

busy()
{
    [ "$(stat_server 'sum(x["counters"]["writes"] for x in s["sessions"])')" \
        -gt 50 ]
}

# A server of its own, with a client that writes without end.
check_sigterm_finishes_requests_in_flight_and_exits_with_0()
{
    local writer
    start_server
    volume load 64M
    timeout 120 qemu-img bench -f raw -w -c 1000000 -d 16 -s 16k --pattern 51 \
        "$(uri load)" >"$work/load" 2>&1 &
    writer=$!
    end_later "$writer"
    wait_until 60 busy
    stop_server
    says "$server_log" 'rdiskd: info: stopped$'
    [ ! -e "$control" ]
    # The client is told, and does not hang.
    wait_until 30 gone "$writer"
    if wait "$writer"; then
        fail "the client got no error"
    fi
    start_server
    io load 'read -P 51 0 64k'
    stop_server
}

# Each has 128 KiB from the beginning, and shares the rest.
check_little_memory_is_shared_and_then_refused()
{
    start_server --max-memory 1M
    volume v 16M
    volume w 16M
    hold v
    io w 'write -q -P 5 0 16M' 'read -q -P 5 0 16M'
    volume x 4M
    refused 'bytes of slots requested, and memory for one of 1048576 bytes' 20 \
        qemu-io -f raw -c 'read 0 4k' "$(uri 'x?slot-size=1M')"
    kill -TERM "$holder"
    wait_until 20 no_sessions || fail "a session is left"
    equal "memory of slots" "$(stat_server 's["memory"]')" 0
}

# session KEY: of the only session
session()
{
    stat_server "s['sessions'][0]['$1']"
}

# It has 64 and those that it begins with.
all_slots()
{
    [ "$(session slots)" -ge 64 ]
}

few_bytes()
{
    [ "$(session memory)" -le 1048576 ]
}

check_slots_follow_the_load()
{
    [ -x "$top/build/bin/bench-client" ] ||
        skip "not built: make e2e-programs"
    start_server --volume disk=memory:64M
    bench-client "$(uri disk)?slots=64&slot-size=256k" -d 64 -s 4096 \
        -c 60000 -i 60 >"$work/client" 2>&1 &
    end_later $!
    wait_until 30 all_slots || fail "it has $(session slots) slots"
    wait_until 60 grep -q '^idle' "$work/client" ||
        fail "bench-client: $(tail -n 1 "$work/client")"
    wait_until 20 few_bytes || fail "it has $(session memory) bytes"
    [ "$(session slot_grants)" -ge 4 ] || fail "$(session slot_grants) grants"
    equal returns "$(session slot_returns)" "$(session slot_grants)"
    equal recalls "$(session slot_recalls)" 0
    report "$(session slot_grants) grants, $(session memory) bytes when idle"
}

check_a_hangup_does_not_end_it()
{
    start_server
    volume v 1M
    kill -HUP "$server"
    wait_until 5 grep -q 'configuration reloaded: 0 clients' "$server_log"
    io v 'write -q -P 5 0 1M' 'read -q -P 5 0 1M'
}

check_a_second_signal_ends_it_at_once()
{
    start_server
    volume v 1M
    hold v
    kill -STOP "$holder"
    kill -TERM "$server"
    wait_until 10 grep -q 'SIGTERM: stopping' "$server_log"
    kill -TERM "$server"
    wait_until 10 gone "$server" || fail "it does not end"
    says "$server_log" 'SIGTERM again: exiting now, 1 sessions'
}

start_server --volume mem=memory:64M --volume null=null:1T
run_checks
