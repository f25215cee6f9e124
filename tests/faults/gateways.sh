# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# Two servers of one Ceph pool, and a writer that knows every byte, on top of
# lib.sh.  A server has a network to its clients and one to the cluster, which can
# be cut: the first server is then at the far end of both.
writer_uri='reconnect-delay=120&heartbeat=2'
ceph=$top/tests/ceph/cluster
gateways=('' '' '')             # processes, by number
gateway_options=()              # of rdiskd
[ -n "$quick" ] || gateway_options=(--log-level debug)
near=$addr
# The network of the cluster: the end where the cluster is, and the far one.
store_address=10.9.4.1 far_store_address=10.9.4.2

# The address of a server, by number.
address_of()
{
    if [ "$1" = 1 ] && [ -n "$server_under" ]; then
        echo $far_address
    else
        echo "$near"
    fi
}
server_under=''

uri()
{
    echo "rdma://$(address_of 1):7471,$(address_of 2):7472/$1"
}

start_gateway()
{
    local server_under=$server_under
    [ "$1" = 1 ] || server_under=''
    addr=$(address_of "$1")
    port=$((7470 + $1))
    control=$work/control.$1
    server_log=$work/server.$1.log
    server=''
    start_server --pool rbd --pool-backend rbd --ceph-config "$CEPH_CONF" \
        --state "$work/state.$1" "${gateway_options[@]}"
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

# The server at the far end has the writer again.
to_far()
{
    serving=1 other=2
    ! serves 1 || return 0
    within 30 rdisk drain v --control "$work/control.2"
    taken_over 1
    within 20 rdisk resume v --control "$work/control.2"
    # That was no fault.
    sleep 0.3
    ask pause 20
}

# The writer goes on at this server.  What had been answered before the fault may
# still come, so that an answer alone says nothing.
taken_over()
{
    wait_until 60 serves "$1" || fail "server $1 does not get the volume"
    ask next 60
    returns+=("$answer")
}

# True if the server that has lost the volume has no session of it any more.
lost_it()
{
    control=$work/control.$1
    wait_until 20 not_in_use v || fail "the server that has lost it keeps it"
}

# begin_rounds: servers, and a writer
begin_rounds()
{
    trap 'look_at_failure $?' EXIT
    # Of a check that has failed; its servers may still be seen as clients.
    ! rbd info rbd/v >/dev/null 2>&1 || rbd mv rbd/v "rbd/failed.$RANDOM"
    start_gateway 1
    start_gateway 2
    volume v 16M
    writer_start v
}

# What the volume holds is what was written.
end_rounds()
{
    mkfifo "$work/export"
    # It begins when the writer opens it, at its end.
    rbd export --no-progress rbd/v - >"$work/export" &
    end_later $!
    writer_ends "$work/export"
    rm "$work/export"
    within 20 rdisk delete v --control "$control"
}

# One fault, under the writer: round COMMAND
round()
{
    sleep 0.$((RANDOM % 8 + 2))
    find_serving
    "$1"
    sleep 0.3
    ask pause 20
    pauses+=("$answer")
    # Of many rounds, for a look before they have ended.
    echo "$1 $answer $(date +%T.%3N)" >>"${RDISK_LAB_OUTPUT:-$work}/pauses"
}

# rounds COMMAND: so often, by --rounds
rounds()
{
    local number=${RDISK_FAULTS_ROUNDS:-$(often 1 20)} i
    begin_rounds
    for ((i = 0; i < number; i++)); do
        round "$1"
    done
    [ -z "${RDISK_FAULTS_ROUNDS:-}" ] ||
        keep_state "$(basename "$0" .sh)-$1" "$work"/*.log || true
    end_rounds
    report "$number rounds, median $(median "${pauses[@]}") s"
}

# What is to be known of servers and cluster while they are as they failed.
look_at_failure()
{
    local i process
    [ "$1" -ne 0 ] && [ "$1" -ne 77 ] || return 0
    set +e
    for i in 1 2; do
        timeout 10 rdisk stat --json --control "$work/control.$i"
    done >"$work/gateways.log" 2>&1
    {
        timeout 10 ceph --admin-daemon "$dir"/osd.0.*.asok dump_ops_in_flight
        timeout 10 ceph status
        timeout 10 rbd status rbd/v
        timeout 10 rbd lock ls rbd/v
        timeout 10 ceph osd blocklist ls
        tail -n 1000 "$dir"/osd.0.log "$dir"/mon.a.log
    } >"$work/ceph.log" 2>&1
    for process in "${gateways[@]:1}" "$(cat "$dir/osd.0.pid")"; do
        timeout 60 gdb -batch -p "$process" -ex 'thread apply all bt'
    done >"$work/threads.log" 2>&1
    timeout 20 top -H -b -d 3 -n 2 -w 200 >"$work/top.log" 2>&1
    cp "$work/writer" "$work/writer.log"
    "$top/tests/lab/net" restore
    store_network whole
}

# ---- Networks -----------------------------------------------------------

# The cluster is at one end; the other one goes to where the first server is.
make_store_network()
{
    ip link del store0 2>/dev/null || true
    ip link add store0 type veth peer name store1 &&
        ip addr add $store_address/24 dev store0 && ip link set store0 up
}

# True if the first server can be cut off from the cluster, or from its clients.
make_networks()
{
    make_store_network || return 1
    CEPH_ADDRESS=$store_address
    "$top/tests/lab/net" wire >/dev/null 2>&1 || return 1
    far_is_apart=''
    if [ "$("${far[@]}" readlink /proc/self/ns/net)" != \
        "$(readlink /proc/self/ns/net)" ]; then
        far_is_apart=1
        ip link set store1 netns far
        "${far[@]}" ip addr add $far_store_address/24 dev store1
        "${far[@]}" ip link set store1 up
    fi
}

# From now on the first server is at the far end.
far_gateway()
{
    [ -n "$networks" ] || skip "this kernel has no wire between two ends"
    server_under="${far[*]}"
}

# store_network cut|whole
store_network()
{
    local change=(del dev store0 root)
    [ "$1" = whole ] || change=(add dev store0 root netem loss '100%')
    tc qdisc "${change[@]}"
    "${far[@]}" tc qdisc "${change[@]/store0/store1}"
}

# ---- The faults of `serving` -------------------------------------------

kill_and_restart()
{
    kill -KILL "${gateways[serving]}"
    taken_over "$other"
    wait_until 10 gone "${gateways[serving]}"
    start_gateway "$serving"
}

# It goes on when the other one has the writer: nothing of it may take effect.
stop_and_go_on()
{
    freeze "${gateways[serving]}"
    taken_over "$other"
    kill -CONT "${gateways[serving]}"
    lost_it "$serving"
}

cut_from_clients()
{
    to_far
    net loss 100%
    taken_over 2
    net restore
    lost_it 1
}

cut_from_cluster()
{
    to_far
    store_network cut
    taken_over 2
    store_network whole
    lost_it 1
}

# For maintenance: what was in flight is answered, and no server is fenced.
hand_over()
{
    local before
    before=$(fences)
    within 30 rdisk drain v --control "$work/control.$serving"
    taken_over "$other"
    within 20 rdisk resume v --control "$work/control.$serving"
    fenced=$((fenced + $(fences) - before))
}

fences()
{
    cat "$work"/server.[12].log | grep -c 'the lock of another server' || true
}

kill_osd()
{
    "$ceph" kill "$dir"
    sleep 1
    "$ceph" revive "$dir"
    ask next 120
    returns+=("$answer")
}

# The rival's write of one block through whichever server: refused, and never
# carried out.
rival_is_refused()
{
    local status=0
    timeout 60 qemu-io -f raw -c 'write -q -P 9 0 4k' \
        "$(uri 'v?open-timeout=2')" >"$work/rival" 2>&1 || status=$?
    [ $status -ne 0 ] || fail "another client wrote while the writer had it"
    says "$work/rival" "volume 'v' is (being written|kept)|another client"
    refusals=$((refusals + 1))
}

kill_and_fight()
{
    kill -KILL "${gateways[serving]}"
    rival_is_refused
    taken_over "$other"
    wait_until 10 gone "${gateways[serving]}"
    start_gateway "$serving"
    rival_is_refused
}

# ---- The file -----------------------------------------------------------

# Until the checks have run.
run_with_cluster()
{
    command -v ceph-mon >/dev/null && command -v ceph-osd >/dev/null &&
        command -v rbd >/dev/null && [ -e "$top/build/bin/backend-rbd.so" ] || {
        echo "skip - gateways (no Ceph here: packaging/setup ceph)"
        exit 0
    }
    networks='' far_is_apart=''
    ! make_networks || networks=1
    export CEPH_ADDRESS
    dir=$(mktemp -d /dev/shm/rdisk-ceph.XXXXXX)
    "$ceph" start "$dir" || fail "no cluster starts"
    export CEPH_CONF=$dir/ceph.conf
    trap '"$ceph" stop "$dir"' EXIT
    run_checks
}
