#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# qemu-storage-daemon gives a volume to programs that know nothing of rdisk:
# as an NBD export, as a file (FUSE), and to a stock QEMU (vhost-user-blk).
# Each check has a server of its own.
# time-limit: 1600
# quick-lab: guests boot on exports
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

size=$((24 << 20))
head -c $size /dev/urandom >"$work/random"
nbd="nbd+unix:///disk?socket=$work/nbd"
# shellcheck disable=SC2054 # commas are QEMU's
nbd_export=(--nbd-server "addr.type=unix,addr.path=$work/nbd"
    --export type=nbd,id=nbd,node-name=disk,name=disk,writable=on)

# daemon VOLUME SIZE OPTION…: with a new volume as the node "disk"
daemon()
{
    start_server
    volume "$1" "$2"
    rm -f "$work/daemon.pid"
    qemu-storage-daemon --pidfile "$work/daemon.pid" --blockdev \
        "driver=rdma,node-name=disk,discard=unmap,server.host=$addr,\
server.port=$port,volume=$1,reconnect-delay=60" "${@:3}" &
    daemon=$!
    end_later $daemon
    wait_until 30 test -s "$work/daemon.pid" || fail "the daemon does not start"
}

# Cleanly, which closes the session.
end_daemon()
{
    kill -TERM "$daemon"
    wait "$daemon" || fail "the daemon ended with status $?"
    wait_until 10 no_sessions
}

check_an_nbd_export_takes_an_image_and_gives_it_back()
{
    daemon image 24M "${nbd_export[@]}"
    within 60 qemu-img convert -n -f raw -O raw "$work/random" "$nbd"
    cmp "$work/random" "$pool/image"
    within 60 qemu-img convert -f raw -O raw "$nbd" "$work/back"
    cmp "$work/random" "$work/back"
    end_daemon
}

check_a_discard_by_nbd_frees_space_on_the_server()
{
    local before after
    daemon sparse 24M "${nbd_export[@]}"
    within 30 qemu-io -f raw -c 'write -q -P 1 0 24M' "$nbd"
    before=$(stat -c %b "$pool/sparse")
    within 30 qemu-io -d unmap -f raw -c 'discard -q 4M 16M' "$nbd"
    after=$(stat -c %b "$pool/sparse")
    at_most "blocks of 512 bytes in use" "$after" $((before / 2))
    within 30 qemu-io -f raw -c 'read -q -P 1 0 4M' \
        -c 'read -q -P 1 20M 4M' "$nbd"
    end_daemon
}

check_a_flush_by_nbd_reaches_the_server()
{
    local before
    daemon flushed 8M "${nbd_export[@]}"
    before=$(stat_server 's["sessions"][0]["counters"]["flushes"]')
    within 30 qemu-io -f raw -t none -c 'write -q 0 4k' -c flush "$nbd"
    [ "$(stat_server 's["sessions"][0]["counters"]["flushes"]')" -gt \
        "$before" ] || fail "the server saw no flush"
    end_daemon
}

check_nbd_clients_outlast_a_restart_of_the_server()
{
    local writer
    daemon lasting 24M "${nbd_export[@]}"
    within 120 qemu-img bench -w -f raw -t none -c 15000 -s 4096 -d 4 \
        --pattern=7 "$nbd" >"$work/bench" 2>&1 &
    writer=$!
    end_later $writer
    wait_until 20 has_written 100
    kill -KILL "$server"
    wait_until 10 gone "$server"
    server=''
    ! gone $writer || fail "the NBD client had ended before"
    start_server
    wait $writer || fail "the NBD client failed: $(tail -n 1 "$work/bench")"
    within 30 qemu-io -f raw -c "read -q -P 7 0 23M" "$nbd"
    end_daemon
}

has_written()
{
    [ "$(stat_server 's["sessions"][0]["counters"]["writes"]')" -ge "$1" ]
}

check_a_fuse_export_is_a_file_with_the_bytes_of_the_volume()
{
    [ -w /dev/fuse ] || skip "there is no /dev/fuse"
    : >"$work/file"
    daemon file 24M --export "type=fuse,id=fuse,node-name=disk,\
mountpoint=$work/file,writable=on,allow-other=off"
    equal "the file's size" "$(stat -c %s "$work/file")" $size
    within 60 dd if="$work/random" of="$work/file" bs=1M conv=notrunc,fsync \
        status=none
    cmp "$work/random" "$pool/file"
    within 60 cmp "$work/random" "$work/file"
    end_daemon
}

check_two_exports_show_the_same_bytes()
{
    [ -w /dev/fuse ] || skip "there is no /dev/fuse"
    : >"$work/file"
    daemon both 8M "${nbd_export[@]}" --export "type=fuse,id=fuse,\
node-name=disk,mountpoint=$work/file,writable=off,allow-other=off"
    within 30 qemu-io -f raw -c 'write -q -P 9 1M 64k' "$nbd"
    within 30 qemu-io -r -f raw -c 'read -q -P 9 1M 64k' "$work/file"
    end_daemon
}

check_a_volume_is_plugged_into_a_running_daemon_and_out_again()
{
    start_server
    volume plugged 8M
    qemu-storage-daemon --pidfile "$work/qmp.pid" \
        --chardev "socket,path=$work/qmp,server=on,wait=off,id=qmp" \
        --monitor chardev=qmp \
        --nbd-server "addr.type=unix,addr.path=$work/nbd" &
    daemon=$!
    end_later $daemon
    wait_until 30 test -s "$work/qmp.pid"
    ask blockdev-add '{"driver": "rdma", "node-name": "disk", "volume":
        "plugged", "server": {"host": "'"$addr"'", "port": "'"$port"'"}}'
    ask block-export-add '{"type": "nbd", "id": "e", "node-name": "disk",
        "name": "disk", "writable": true}'
    within 30 qemu-io -f raw -c 'write -q -P 5 0 64k' "$nbd"
    ask block-export-del '{"id": "e"}'
    wait_until 10 ask blockdev-del '{"node-name": "disk"}'
    wait_until 10 no_sessions
    within 30 qemu-io -f raw -c 'read -q -P 5 0 64k' "$(uri plugged)"
    end_daemon
}

ask()
{
    within 20 "$here/qmp" "$work/qmp" "$@"
}

copied_bytes()
{
    ask rdma | sed -n 's/^copied-bytes //p'
}

# Debian's own QEMU, which has no driver for rdma.
check_a_stock_qemu_boots_from_a_vhost_user_export_without_a_copy()
{
    local stock=/usr/bin/qemu-system-x86_64 image copied
    [ -x $stock ] || skip "$stock is not installed"
    $stock --version | head -n 1
    image=$("$top/tests/lab/guest/build")/root.ext4
    daemon root "$(stat -c %s "$image")" --export "type=vhost-user-blk,id=vhost,node-name=disk,\
addr.type=unix,addr.path=$work/vhost,writable=on,register-memory=on" \
        "${nbd_export[@]}" --chardev \
        "socket,id=qmp,path=$work/qmp,server=on,wait=off" --monitor chardev=qmp
    within 120 qemu-img convert -n -f raw -O raw "$image" "$nbd"
    copied=$(copied_bytes)
    [ "$copied" -gt 0 ] || fail "the NBD export is not counted"
    "$top/tests/lab/guest/boot" --qemu $stock --task auto \
        --programs memory --time-limit $((600 * slow)) --log "$work/console" -- \
        -object memory-backend-memfd,id=memory,size=256M,share=on \
        -machine memory-backend=memory \
        -chardev "socket,id=vhost,path=$work/vhost" \
        -device vhost-user-blk-pci,chardev=vhost >/dev/null 2>"$work/boot" ||
        fail "$(tail -n 1 "$work/boot")"
    grep -a RDISK-GUEST "$work/console"
    says "$work/console" 'RDISK-GUEST: VERIFIED 12 files'
    equal "bytes copied for the guest" $(($(copied_bytes) - copied)) 0
    end_daemon
    "$top/tests/lab/guest/check-image" "$pool/root"
}

run_checks
