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
