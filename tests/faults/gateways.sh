# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# Two servers of one Ceph pool, and a writer that knows every byte, on top of
# lib.sh.
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

# Until the checks have run.
run_with_cluster()
{
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
}
