#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Volumes that are images of a Ceph pool, on a cluster in the lab.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

ceph=$top/tests/ceph/cluster

end_cluster()
{
    "$ceph" stop "$dir"
}

# serve NAME: a new image of 64 MiB, as volume NAME
serve()
{
    rbd create --size 64M "rbd/$1"
    start_server --volume "$1=rbd:rbd/$1" --ceph-config "$CEPH_CONF"
}

check_an_image_is_served_to_clients()
{
    serve disk
    io disk 'write -q -P 7 1M 300k' 'discard -q 8M 4M' flush
    io disk 'read -q -P 7 1M 300k' 'read -q -P 0 8M 4M'
    rbd export --no-progress rbd/disk - | head -c 1048577 | tail -c 1 |
        grep -q "$(printf '\007')" || fail "the image has other bytes"
}

check_a_resized_volume_is_a_resized_image()
{
    serve grows
    within 20 rdisk resize grows 96M --control "$control"
    rbd info rbd/grows | grep -q 'size 96 MiB' || fail "the image has another size"
    io grows 'write -q -P 9 95M 1M' 'read -q -P 9 95M 1M'
}

check_a_ceph_pool_is_the_pool()
{
    start_server --pool rbd --pool-backend rbd --ceph-config "$CEPH_CONF" \
        --state "$work/state"
    volume made 64M
    rbd info rbd/made | grep -q 'size 64 MiB' || fail "no image was made"
    refused 'already exists' 20 rdisk create made 64M --control "$control"
    io made 'write -q -P 5 1M 64k'
    within 20 rdisk resize made 96M --control "$control"
    within 20 rdisk list --control "$control" >"$work/list"
    says "$work/list" '^made +96M +rbd'
    rbd snap create --no-progress rbd/made@then
    io made 'write -q -P 6 1M 64k' 'read -q -P 6 1M 64k'
    io_options=-r io made@then 'read -q -P 5 1M 64k'
    refused 'it has 1 snapshots' 20 rdisk delete made --control "$control"
    rbd snap rm --no-progress rbd/made@then
    within 20 rdisk delete made --control "$control"
    ! rbd info rbd/made 2>/dev/null || fail "the image is still there"
    refused "there is no volume 'made'" 20 rdisk delete made \
        --control "$control"
}

# One by the control socket, the other by URI; while the volume is written.
check_a_volume_of_the_pool_has_snapshots_and_clones()
{
    start_server --pool rbd --pool-backend rbd --ceph-config "$CEPH_CONF" \
        --state "$work/state.shots" --create allow
    volume shot 64M
    io shot 'write -q -P 5 1M 64k'
    within 20 rdisk snapshot create shot@one --control "$control" >"$work/made"
    says "$work/made" '^shot@one: requests were held for at most [0-9.]+ ms'
    io shot 'write -q -P 6 1M 64k'
    within 20 rdisk snapshot create "$(uri shot@two)" >"$work/made"
    says "$work/made" '^shot@two: requests were held'
    io shot 'write -q -P 7 1M 64k'
    io_options=-r io shot@one 'read -q -P 5 1M 64k'
    io_options=-r io shot@two 'read -q -P 6 1M 64k'
    refused 'the volume is read-only on the server' 30 \
        qemu-io -f raw -c 'write 0 4k' "$(uri shot@two)"
    within 20 rdisk snapshot list shot --control "$control" >"$work/list"
    says "$work/list" '^shot@one +64M'
    says "$work/list" '^shot@two +64M'
    within 20 rdisk clone shot@one clone1 --control "$control"
    within 20 rdisk clone "$(uri shot)" clone2
    io clone1 'read -q -P 5 1M 64k' 'write -q -P 8 1M 64k'
    io clone2 'read -q -P 7 1M 64k'
    within 20 rdisk snapshot revert "$(uri shot@two)"
    io shot 'read -q -P 6 1M 64k'
    within 20 rdisk snapshot revert shot@one --control "$control"
    io shot 'read -q -P 5 1M 64k'
    io clone1 'read -q -P 8 1M 64k'
    refused 'it has 2 snapshots' 20 rdisk delete shot --control "$control"
    within 20 rdisk snapshot delete "$(uri shot@two)"
    within 20 rdisk delete clone1 --control "$control"
    within 20 rdisk delete clone2 --control "$control"
    within 20 rdisk delete shot --snapshots --control "$control"
    ! rbd info rbd/shot 2>/dev/null || fail "the image is still there"
}

# One by the control socket, the other by URI.
check_a_clone_is_flattened_and_its_parent_deleted()
{
    start_server --pool rbd --pool-backend rbd --ceph-config "$CEPH_CONF" \
        --state "$work/state.flat" --create allow
    volume base 64M
    io base 'write -q -P 5 1M 64k' 'write -q -P 6 40M 64k'
    within 20 rdisk snapshot create base@gold --control "$control"
    within 20 rdisk clone base@gold copy1 --control "$control"
    within 20 rdisk clone base copy2 --control "$control"
    within 20 rdisk info copy1 --control "$control" >"$work/info"
    says "$work/info" '^ +0 allocated$'
    says "$work/info" 'needs the data of base@gold, until it is flattened'
    within 20 rdisk info copy2 --json --control "$control" >"$work/info"
    says "$work/info" '"parent": *"base"'
    refused 'cannot delete volume .base.: it has 1 snapshots' 20 \
        rdisk delete base --control "$control"
    client writer "$(uri copy1)"
    say writer 'write -P 7 8M 64k'
    answers writer 'wrote 65536/65536' 20
    within 60 rdisk flatten copy1 --control "$control" >"$work/flat"
    says "$work/flat" '^copy1: flattened: it needs no other volume'
    within 60 rdisk flatten "$(uri copy2)" --json >"$work/flat"
    says "$work/flat" '"flattened": *true'
    within 20 rdisk flatten copy1 --control "$control" >"$work/flat"
    says "$work/flat" 'there is nothing to do'
    within 20 rdisk flatten "$(uri copy2)" >"$work/flat"
    says "$work/flat" 'there is nothing to do'
    say writer 'read -P 5 1M 64k'
    answers writer 'read 65536/65536' 20
    within 20 rdisk delete base --snapshots --control "$control"
    io copy2 'read -q -P 5 1M 64k' 'read -q -P 6 40M 64k'
    io_options=-r io copy1 'read -q -P 6 40M 64k' 'read -q -P 7 8M 64k'
    within 20 rdisk info copy2 --control "$control" >"$work/info"
    says "$work/info" '^ +8M allocated$'
    within 20 rdisk info "$(uri copy2)" --json >"$work/info"
    says "$work/info" '"allocated": *8388608'
}

# The record of who may write is in the pool: the other one knows the generation.
check_another_server_serves_the_pool_when_this_one_has_ended()
{
    local options=(--pool rbd --pool-backend rbd --ceph-config "$CEPH_CONF")
    start_server "${options[@]}" --state "$work/state.one"
    volume moves 64M
    io moves 'write -q -P 5 1M 64k'
    stop_server
    start_server "${options[@]}" --state "$work/state.two"
    io moves 'read -q -P 5 1M 64k' 'write -q -P 6 1M 64k'
    within 20 rdisk stat --json --control "$control" >"$work/stat"
    says "$work/stat" '"generation": *2'
}

# has_moved CONTROL: that server has the client
has_moved()
{
    ! control=$1 not_in_use moved
}

# Three servers: the next one of the client's list is not the one that is named.
check_a_client_is_handed_over_to_the_server_that_is_named_and_back()
{
    local options=(--pool rbd --pool-backend rbd --ceph-config "$CEPH_CONF")
    local number controls=() logs=()
    for number in 1 2 3; do
        start_server "${options[@]}" --state "$work/state.to$number"
        controls[number]=$control
        logs[number]=$server_log
    done
    volume moved 64M
    client c \
        "rdma://$addr:7471,$addr:7472,$addr:7473/moved?reconnect-delay=60"
    say c 'write -P 1 0 4k'
    answers c 'wrote 4096/4096' 20
    has_moved "${controls[1]}" || fail "the first server has no session"
    within 30 rdisk drain moved --to "$addr:7473" --control "${controls[1]}" \
        >"$work/drain"
    says "$work/drain" "^1 of 1 sessions handed over to $addr:7473"
    says "$work/drain" '^drained$'
    say c 'write -P 2 64k 4k'
    answers c 'wrote 4096/4096 bytes at offset 65536' 20
    has_moved "${controls[3]}" || fail "the named server has no session"
    ! grep -q 'moved' "${logs[2]}" || fail "the client was at the second server"
    # Back, while the first one takes sessions again.
    within 20 rdisk resume moved --control "${controls[1]}"
    within 30 rdisk drain moved --to "$addr" --control "${controls[3]}"
    say c 'write -P 3 128k 4k'
    answers c 'wrote 4096/4096 bytes at offset 131072' 20
    has_moved "${controls[1]}" || fail "the client is not back"
    # And all of a server.
    within 30 rdisk drain --to "$addr:7472" --control "${controls[1]}"
    say c 'read -P 1 0 4k'
    answers c 'read 4096/4096 bytes at offset 0' 20
    has_moved "${controls[2]}" || fail "the second server has no session"
    say c 'read -P 2 64k 4k'
    answers c 'read 4096/4096 bytes at offset 65536' 20
    # One that is not of the client's list: the next one of that.
    within 20 rdisk resume --control "${controls[1]}"
    within 20 rdisk resume moved --control "${controls[3]}"
    within 30 rdisk drain --to nowhere --control "${controls[2]}"
    say c 'read -P 3 128k 4k'
    answers c 'read 4096/4096 bytes at offset 131072' 20
    has_moved "${controls[3]}" || fail "the third server has no session"
    says "$work/c.out" "'nowhere', port 7471, which is not one of this client's"
}

# The first one of the list has been killed.
check_servers_are_a_list_of_qemus_options()
{
    local options=(--pool rbd --pool-backend rbd --ceph-config "$CEPH_CONF")
    local servers="servers.0.host=$addr,servers.0.port=7472,"
    servers+="servers.1.host=$addr,servers.1.port=7471"
    local node="driver=rdma,volume=listed,$servers"
    start_server "${options[@]}" --state "$work/state.list1"
    volume listed 64M
    start_server "${options[@]}" --state "$work/state.list2"
    within 20 qemu-io --image-opts -c 'write -q -P 5 0 4k' "$node"
    says "$server_log" "opened listed"
    within 20 qemu-img info --image-opts "$node" >"$work/info"
    says "$work/info" "image: rdma://$addr:7472,$addr:7471/listed"
    kill_server
    within 30 qemu-io --image-opts -c 'read -q -P 5 0 4k' \
        -c 'write -q -P 6 0 4k' "$node"
    within 30 qemu-io -f raw -c 'read -q -P 6 0 4k' \
        "rdma://$addr:7472,$addr:7471/listed"
    refused 'either server or servers, a list, must be given' 10 \
        qemu-io --image-opts "$node,server.host=$addr,server.port=7471"
    refused 'either server or servers, a list, must be given' 10 \
        qemu-io --image-opts driver=rdma,volume=listed
    refused 'is not one server: several are a list' 10 qemu-io --image-opts \
        "driver=rdma,volume=listed,server.host=a,,b,server.port=7471"
    refused "'0' is not a port number" 10 qemu-io --image-opts \
        "driver=rdma,volume=listed,servers.0.host=a,servers.0.port=0"
}

# The lock of the one that was killed would keep others away for half a minute,
# and a server that cannot open its volume for storage-timeout, 20 s, does not
# start.
check_the_successor_of_a_killed_server_serves_at_once()
{
    local began
    serve killed
    io killed 'write -q -P 7 1M 300k'
    kill_server
    began=$SECONDS
    start_server --volume killed=rbd:rbd/killed --ceph-config "$CEPH_CONF"
    report "ready after $((SECONDS - began)) s"
    says "$server_log" "the lock of this server's last process"
    io killed 'read -q -P 7 1M 300k'
}

command -v ceph-mon >/dev/null && command -v ceph-osd >/dev/null &&
    command -v rbd >/dev/null && [ -e "$top/build/bin/backend-rbd.so" ] || {
    echo "skip - ceph (no Ceph here: packaging/setup ceph)"
    exit 0
}
dir=$(mktemp -d /dev/shm/rdisk-ceph.XXXXXX)
"$ceph" start "$dir" || fail "no cluster starts"
export CEPH_CONF=$dir/ceph.conf
trap end_cluster EXIT
run_checks
