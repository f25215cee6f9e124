# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# What the faults share, on top of the end-to-end tests' lib.sh: a writer that
# knows every byte, and a network that can be hurt.
faults=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
# shellcheck source=tests/e2e/lib.sh
. "$faults/../e2e/lib.sh"
# shellcheck source=tests/e2e/disk.sh
. "$faults/../e2e/disk.sh"

# In a quick run, as in `make check`, each fault comes fewer times.
quick=${RDISK_FAULTS_QUICK:-}

# often QUICK WHOLE: how often, or for how long
often()
{
    if [ -n "$quick" ]; then echo "$1"; else echo "$2"; fi
}

# ---- The writer -------------------------------------------------------

# writer_start VOLUME [OPTION…]: qemu-nbd on the volume, with a client that
# writes and compares until writer_ends.  Options are writer's.
writer_start()
{
    local options=${writer_uri:-reconnect-delay=120&heartbeat=2}
    ${writer_under:-} qemu-nbd -t -f raw -k "$work/nbd.sock" \
        "$(uri "$1?$options")" 2>"$work/nbd.log" &
    nbd=$!
    end_later $nbd
    wait_until 30 nbd_settled || true
    accepts "$work/nbd.sock" ||
        fail "qemu-nbd does not start: $(tail -n 1 "$work/nbd.log")"
    mkfifo "$work/words"
    : >"$work/writer"
    "$faults/writer" run "$work/nbd.sock" "$work/state" "${@:2}" \
        <"$work/words" >>"$work/writer" 2>&1 &
    writer=$!
    end_later $writer
    exec {words}>"$work/words"
    rm "$work/words"
    wait_until 20 grep -q ' blocks$' "$work/writer" || {
        tail -n 5 "$work/nbd.log"
        fail "$(tail -n 1 "$work/writer")"
    }
    answer_is
    pauses=() returns=()
}

nbd_settled()
{
    accepts "$work/nbd.sock" || gone "$nbd"
}

# Is there a line more than before, or has the writer ended?
answered()
{
    [ "$(wc -l <"$work/writer")" -gt "$lines" ] || gone "$writer"
}

answer_is()
{
    lines=$(wc -l <"$work/writer")
    answer=$(tail -n 1 "$work/writer")
    ! grep -q '^writer: ' "$work/writer" || {
        tail -n 5 "$work/nbd.log" >&2
        fail "$(grep '^writer: ' "$work/writer")"
    }
}

# ask WORD SECONDS: sets `answer`
ask()
{
    answer_is
    echo "$1" >&"$words"
    wait_until "$2" answered ||
        fail "the writer did not go on within $(($2 * patience)) s:" \
            "$(tail -n 1 "$work/nbd.log")"
    answer_is
}

# The fault is over: how long until the next answer, and how long was the
# pause that it made?
healed()
{
    ask next 60
    returns+=("$answer")
    # What waited goes out together; let it.
    sleep 0.3
    ask pause 20
    pauses+=("$answer")
}

# again ROUNDS COMMAND…: a writer on a volume, and so often the command, which
# hurts and heals; it may use `round`.  again_server has options of rdiskd.
again_server=()
again()
{
    local round
    start_server "${again_server[@]}"
    volume v 32M
    writer_start v
    for ((round = 0; round < $1; round++)); do
        sleep 0.$((RANDOM % 8 + 2))
        "${@:2}"
        healed
    done
    writer_ends "$pool/v"
    report "$1 rounds"
}

replace_server()
{
    kill_server
    start_server
}

# doze NAME SECONDS: the process in the variable sleeps
doze()
{
    freeze "${!1}"
    sleep $(($2 * slow))
    kill -CONT "${!1}"
}

# The largest of some numbers.
largest()
{
    printf '%s\n' "$@" | sort -g | tail -n 1
}

# writer_ends FILE: compare everything the volume, and then the server's FILE,
# holds with what was written, and tell how it went.
writer_ends()
{
    local status=0
    ask stop 120
    wait_until 20 gone "$writer" || fail "the writer does not end"
    wait "$writer" || status=$?
    equal "status of the writer" $status 0
    exec {words}>&-
    kill -TERM "$nbd"
    wait_until 20 gone "$nbd" || fail "qemu-nbd does not end"
    rm -f "$work/nbd.sock"
    "$faults/writer" check "$work/state" "$1" || fail "$answer, but the" \
        "server's file is not what was written"
    report "back in $(largest "${returns[@]}") s," \
        "longest pause $(largest "${pauses[@]}") s; $answer"
}

# ---- A network that can be hurt ---------------------------------------

# The lab's devices answer themselves inside the driver, past every network
# device.  So: a cable, veth, with an RDMA device at either end, near and far,
# and the far one in a network namespace of its own, or, on kernels whose
# Soft-RoCE knows only one, with routes that lead through the cable.
near=10.9.2.1
far_address=10.9.2.2
far=()                          # prefix for what runs at the far end

wire()
{
    modprobe -aq veth sch_netem rdma_rxe 2>/dev/null || true
    # Another check's may be there, hurt.
    ip link del near0 2>/dev/null || true
    ip netns del far 2>/dev/null || true
    ip link add near0 mtu 9000 type veth peer name far0 mtu 9000 ||
        skip "this kernel has no veth"
    wire_namespace || wire_routes ||
        skip "no two RDMA devices of this kernel reach each other:" \
            "neither Soft-RoCE in a namespace nor policy routing"
    addr=$far_address
    server_under="${far[*]}"
}

wire_add_near()
{
    rdma link add rxnear type rxe netdev near0
}

wire_add_far()
{
    "${far[@]}" rdma link add rxfar type rxe netdev far0
}

wire_namespace()
{
    ip netns add far 2>/dev/null || return 1
    far=(ip netns exec far)
    ip link set far0 netns far
    ip addr add $near/24 dev near0
    "${far[@]}" ip addr add $far_address/24 dev far0
    ip link set near0 up
    "${far[@]}" ip link set lo up
    "${far[@]}" ip link set far0 up
    wire_add_near && wire_add_far && wait_until 10 wire_works && return
    "${far[@]}" rdma link del rxfar 2>/dev/null
    rdma link del rxnear 2>/dev/null
    "${far[@]}" ip link set far0 netns 1
    ip netns del far
    far=()
    return 1
}

wire_routes()
{
    local device
    ip addr flush dev near0
    for device in near0 far0; do
        echo 0 >/proc/sys/net/ipv4/conf/$device/rp_filter
        echo 1 >/proc/sys/net/ipv4/conf/$device/accept_local
    done
    echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter
    ip rule list >/dev/null 2>&1 || return 1
    if ip rule list | grep -q '^0:.*local'; then
        ip rule add pref 10 iif near0 lookup local
        ip rule add pref 11 iif far0 lookup local
        ip rule add pref 12 to 10.9.2.0/24 lookup main
        ip rule add pref 100 lookup local
        ip rule del pref 0
    fi
    # Not with "peer": RDMA would take the peer's address for its own.
    ip addr add $near/32 dev near0
    ip addr add $far_address/32 dev far0
    ip link set near0 up
    ip link set far0 up
    wire_leads
    wire_add_near && wire_add_far && wait_until 10 wire_works
}

# Routes are lost with a link, and only the kernel's own come back.
wire_leads()
{
    [ ${#far[@]} -eq 0 ] || return 0
    ip route replace $far_address dev near0 src $near
    ip route replace $near dev far0 src $far_address
}

# Does RDMA go through the cable?
wire_works()
{
    local before after
    read -r before </sys/class/net/near0/statistics/tx_packets
    local server
    timeout -s KILL 30 "${far[@]}" rping -s -C 3 -a $far_address -p 7999 &
    server=$!
    wait_until 3 listens 7999 || true
    timeout -s KILL 15 rping -c -C 3 -a $far_address -p 7999 || {
        kill -KILL $server
        return 1
    }
    wait $server || return 1
    read -r after </sys/class/net/near0/statistics/tx_packets
    [ "$after" -ge $((before + 6)) ]
}

# hurt OPTION…: netem's, in both directions; nothing else passes
hurt()
{
    tc qdisc replace dev near0 root netem "$@" 2>/dev/null ||
        skip "this kernel has no netem"
    "${far[@]}" tc qdisc replace dev far0 root netem "$@"
}

heal()
{
    tc qdisc del dev near0 root
    "${far[@]}" tc qdisc del dev far0 root
}
