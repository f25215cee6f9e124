#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Two servers of one Ceph pool, and a writer that knows every byte: the one that
# serves it is killed, or stopped and then goes on, with requests that it has
# received before.  The writer sees no error, and no byte of an old attempt.
# quick-lab: seconds are counted
# shellcheck source=tests/faults/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
writer_uri='reconnect-delay=120&heartbeat=2'
ceph=$top/tests/ceph/cluster
gateways=('' '' '')             # processes, by number

uri()
{
    echo "rdma://$addr:7471,$addr:7472/$1"
}

start_gateway()
{
    port=$((7470 + $1))
    control=$work/control.$1
    server_log=$work/server.$1.log
    server=''
    start_server --pool rbd --pool-backend rbd --ceph-config "$CEPH_CONF" \
        --state "$work/state.$1"
    gateways[$1]=$server
}

serves()
{
    control=$work/control.$1
    ! not_in_use v
}

# Sets `serving`, the number of the one that has the writer, and `other`.
find_serving()
{
    serving=1
    serves 1 || serving=2
    other=$((3 - serving))
}

kill_and_restart()
{
    kill -KILL "${gateways[serving]}"
    ask next 60
    returns+=("$answer")
    wait_until 10 gone "${gateways[serving]}"
    start_gateway "$serving"
}

# It goes on when the other one has the writer: nothing of it may take effect.
stop_and_go_on()
{
    freeze "${gateways[serving]}"
    ask next 60
    returns+=("$answer")
    serves "$other" || fail "no server has the volume"
    kill -CONT "${gateways[serving]}"
    control=$work/control.$serving
    wait_until 20 not_in_use v || fail "the server that has lost it keeps it"
}

# By hand, for maintenance: what was in flight is answered, and nobody fenced.
hand_over()
{
    local before
    before=$(cat "$work"/server.[12].log | grep -c 'the lock of another server' || true)
    within 30 rdisk drain v --control "$work/control.$serving"
    ask next 60
    returns+=("$answer")
    serves "$other" || fail "the other server does not have the volume"
    within 20 rdisk resume v --control "$work/control.$serving"
    handed=$((handed + 1))
    fenced=$((fenced + $(cat "$work"/server.[12].log |
        grep -c 'the lock of another server' || true) - before))
}

# rounds NUMBER COMMAND
rounds()
{
    local round
    start_gateway 1
    start_gateway 2
    volume v 32M
    writer_start v
    for ((round = 0; round < $1; round++)); do
        sleep 0.$((RANDOM % 8 + 2))
        find_serving
        "$2"
        sleep 0.3
        ask pause 20
        pauses+=("$answer")
    done
    mkfifo "$work/export"
    # It begins when the writer opens it, at its end.
    rbd export --no-progress rbd/v - >"$work/export" &
    end_later $!
    writer_ends "$work/export"
    report "$1 rounds"
    rm "$work/export"
    within 20 rdisk delete v --control "$control"
}

check_a_gateway_killed_again_and_again()
{
    rounds "$(often 3 200)" kill_and_restart
}

check_a_gateway_stopped_for_longer_than_the_heartbeat()
{
    rounds "$(often 3 200)" stop_and_go_on
    grep -hq 'has blocklisted this server' "$work"/server.[12].log ||
        fail "no request of a stopped server was refused"
}

check_a_gateway_drained_hands_its_client_over()
{
    handed=0 fenced=0
    rounds "$(often 4 100)" hand_over
    report "$handed handed over, $fenced of them fenced"
}

command -v ceph-mon >/dev/null && command -v ceph-osd >/dev/null &&
    command -v rbd >/dev/null && [ -e "$top/build/bin/backend-rbd.so" ] || {
    echo "skip - gateways (no Ceph here: packaging/setup ceph)"
    exit 0
}
dir=$(mktemp -d /dev/shm/rdisk-ceph.XXXXXX)
"$ceph" start "$dir" || fail "no cluster starts"
export CEPH_CONF=$dir/ceph.conf
trap '"$ceph" stop "$dir"' EXIT
run_checks
