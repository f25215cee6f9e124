#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# rdiskd on a real RDMA device, promise by promise.  Run it in the lab:
#
#   tests/lab/lab -- tests/e2e/server.sh
#
# Each promise prints "ok - …" or "not ok - …"; exits with 1 if any failed.
# The client is qemu-io, so every byte went the way a guest's would.
set -eu
cd "$(dirname "$(realpath "$0")")/../.."
bin=$PWD/${RDISK_BUILD:-build}/bin
address=${RDISK_LAB_ADDR:?run this in the lab: tests/lab/lab -- $0}
work=$(mktemp -d)
control=$work/control.sock
server='' failed=0
ulimit -l unlimited

finish()
{
    [ -z "$server" ] || kill -KILL "$server" 2>/dev/null || true
    jobs -p | xargs -r kill 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

# check SENTENCE COMMAND…
check()
{
    local sentence=$1
    shift
    if "$@" >"$work/last" 2>&1; then
        echo "ok - $sentence"
    else
        echo "not ok - $sentence"
        sed 's/^/#   /' "$work/last"
        failed=$((failed + 1))
    fi
}

# start OPTION…: returns when the server listens.
start()
{
    "$bin/rdiskd" --config '' --listen "$address" --control "$control" "$@" \
        >"$work/out" 2>"$work/log" &
    server=$!
    for _ in $(seq 100); do
        ! grep -q serving "$work/out" || return 0
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
    done
    cat "$work/log"
    return 1
}

# stop SIGNAL: the server's exit status, 124 if it does not end.
stop()
{
    local status=0
    kill "-$1" "$server"
    timeout 30 tail --pid "$server" -f /dev/null || return 124
    wait "$server" || status=$?
    server=''
    return $status
}

rdisk()
{
    "$bin/rdisk" "$@" --control "$control"
}

sessions()
{
    rdisk stat | grep -c '^session' || true
}

# wait_sessions N: until that many are open.
wait_sessions()
{
    for _ in $(seq 100); do
        [ "$(sessions)" != "$1" ] || return 0
        sleep 0.1
    done
    echo "$(sessions) sessions instead of $1"
    return 1
}

uri()
{
    echo "rdma://$address/$1"
}

# io VOLUME COMMAND…: exit status of qemu-io with these commands.
io()
{
    local volume=$1 arguments=()
    shift
    for command in "$@"; do
        arguments+=(-c "$command")
    done
    timeout 60 "$bin/qemu-io" -f raw "${arguments[@]}" "$(uri "$volume")"
}

# Nothing but a failing command with these words in what it prints.
refuses()
{
    local words=$1 status=0
    shift
    "$@" >"$work/refused" 2>&1 || status=$?
    cat "$work/refused"
    [ "$status" -ne 0 ] && [ "$status" -ne 124 ] &&
        grep -qF -- "$words" "$work/refused"
}

# ---- Start -----------------------------------------------------------------

mkdir "$work/pool"
cat >"$work/wrong.conf" <<END
[server]
port = 70000
END
check "a wrong configuration names file, line, value and range" \
    refuses "wrong.conf:2: port = 70000 is out of range (port, 1…65535" \
    "$bin/rdiskd" --config "$work/wrong.conf"
check "an address without RDMA device is refused with a sentence" \
    refuses "no RDMA device has that address" \
    "$bin/rdiskd" --config '' --control '' --listen 192.0.2.1 --volume m=memory:1M
check "it starts, and says when it listens" \
    start --pool "$work/pool" --volume mem=memory:64M --volume null=null:1T
check "the ready line names address and port" \
    grep -qx "rdiskd: serving 2 volumes on $address:7471" "$work/out"
check "a second server leaves the first one's control socket alone" \
    refuses "another server answers" "$bin/rdiskd" --config '' \
    --listen "$address" --port 7472 --control "$control" --volume m=memory:1M

# ---- Volumes ---------------------------------------------------------------

check "a volume is created while the server runs" rdisk create disk 64M
check "and is listed" sh -c "'$bin/rdisk' list --control '$control' |
    grep -q '^disk  *64M  file'"
check "a second one of its name is refused" \
    refuses "there is a volume 'disk' already" rdisk create disk 1M
check "no name leads out of the pool" \
    refuses "no name for a volume" rdisk create ../disk 1M
check "a file's bytes come back, through the device" io disk \
    "write -P 0x5a 0 1M" "write -P 0xa5 1M 4k" "read -P 0x5a 0 1M" \
    "read -P 0xa5 1M 4k" "read -P 0 2M 1M" "flush"
check "and lie in the backing file" cmp -n 1052672 "$work/pool/disk" \
    <(head -c 1048576 /dev/zero | tr '\0' '\132'
      head -c 4096 /dev/zero | tr '\0' '\245')
check "memory's bytes come back" io mem "write -P 7 0 4M" "read -P 7 0 4M"
check "memory keeps them from session to session" io mem "read -P 7 0 4M"
check "null reads as zeroes" io null "write -P 7 512G 1M" "read -P 0 512G 1M"
check "FUA writes are taken" io disk "write -f -P 9 8M 64k" "read -P 9 8M 64k"
head -c 16M /dev/urandom >"$work/random"
check "random data converted onto a volume compares equal" sh -c "
    '$bin/qemu-img' convert -n -f raw -O raw '$work/random' '$(uri disk)' &&
    cmp -n 16777216 '$work/random' '$work/pool/disk'"
truncate -s 1000 "$work/pool/odd"
check "a file of odd size is refused with a sentence" \
    refuses "1000 bytes, is no multiple of 512" "$bin/rdisk" ping "$(uri odd)"
check "an unknown volume is refused with a sentence" \
    refuses "there is no volume 'nothing'" "$bin/rdisk" ping "$(uri nothing)"
check "ping tells each step" sh -c "
    '$bin/rdisk' ping --count 3 --interval 0 '$(uri disk)' >'$work/ping' &&
    for step in name address route connect hello open queues '3: message'; do
        grep -q \"^ *\$step\" '$work/ping' || exit 1
    done"

# A block device with a file system that has O_DIRECT.
if truncate -s 256M "$work/store" &&
    loop=$(losetup --find --show "$work/store" 2>"$work/last"); then
    trap 'losetup -d "$loop"; finish' EXIT
    stop TERM || true
    start --pool "$work/pool" --volume "device=file:$loop" \
        --volume mem=memory:64M
    check "a block device is a volume" io device "write -P 3 255M 1M" flush \
        "read -P 3 255M 1M"
    check "and its bytes lie on it" cmp -n 4096 -i 267386880:0 "$loop" \
        <(head -c 4096 /dev/zero | tr '\0' '\003')
else
    echo "ok - a block device is a volume # SKIP no loop device here"
fi

# ---- Several at once -------------------------------------------------------

"$bin/qemu-io" -f raw -c "sleep 20000" "$(uri disk)" >/dev/null 2>&1 &
holder=$!
wait_sessions 1
check "a second writer is told who writes" \
    refuses "volume 'disk' is being written by $address:" \
    io disk "write 0 4k"
check "a reader is let in beside the writer" \
    "$bin/rdisk" ping --count 1 "$(uri disk)"
check "a volume in use is not deleted, and its holder is named" \
    refuses "it is open at $address:" rdisk delete disk
check "nor resized" refuses "it is open at $address:" rdisk resize disk 128M
kill "$holder"
wait "$holder" 2>/dev/null || true
check "a killed client's session ends" wait_sessions 0

load()
{
    timeout 120 "$bin/qemu-img" bench -f raw -w -c "$3" -d 16 -s 16k \
        --pattern "$2" "$(uri "$1")"
}
two_clients()
{
    local a b
    load disk 17 2000 >"$work/a" 2>&1 &
    a=$!
    load mem 34 2000 >"$work/b" 2>&1 &
    b=$!
    wait $a && wait $b && io disk "read -P 17 0 30M" &&
        io mem "read -P 34 0 30M"
}
check "two clients write to two volumes at once" two_clients

turns()
{
    rdisk stat | sed -n 's/^reactor.* \([0-9]*\) turns.*/\1/p' | xargs
}
idle()
{
    local before after client
    "$bin/qemu-io" -f raw -c "read 0 4k" -c "sleep 60000" "$(uri disk)" \
        >/dev/null 2>&1 &
    client=$!
    wait_sessions 1
    # What opening the volume reads comes to an end.
    sleep 3
    before=$(turns)
    sleep 4
    after=$(turns)
    kill $client
    wait $client || true
    echo "turns before $before, after $after"
    [ "$before" = "$after" ]
}
check "reactors with an idle session do not wake up" idle

# ---- Stop ------------------------------------------------------------------

stop_under_load()
{
    local client writes status=0
    load disk 51 1000000 >"$work/load" 2>&1 &
    client=$!
    for _ in $(seq 100); do
        writes=$(rdisk stat | sed -n 's/.*, \([0-9]*\) writes.*/\1/p' |
            sort -n | tail -n 1)
        [ "${writes:-0}" -lt 50 ] || break
        sleep 0.1
    done
    stop TERM || status=$?
    cat "$work/log"
    # The client is told, and does not hang.
    timeout 30 tail --pid "$client" -f /dev/null
    ! wait "$client" || return 1
    return $status
}
check "SIGTERM with requests in flight finishes them and exits 0" \
    stop_under_load
check "its control socket is gone" test ! -e "$control"
check "after a restart the bytes are there" start --pool "$work/pool"
check "and a written block is whole" io disk "read -P 51 0 64k"
check "SIGINT stops it too" stop INT

[ "$failed" -eq 0 ]
