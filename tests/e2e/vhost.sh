# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # shared with lib.sh and the tests
#
# rdisk-vhost in a test: a daemon, its disks, and a stock QEMU on one.

vhost_control=$work/vhost.control
vhost_log=''                    # of each check; shown when it fails
stock=/usr/bin/qemu-system-x86_64

# vhost_start [OPTION…]: the daemon; ready when it answers
vhost_start()
{
    command -v rdisk-vhost >/dev/null || skip "no rdisk-vhost; run: make vhost"
    [ -n "$vhost_log" ] || vhost_log=$work/server.vhost.$BASHPID.log
    # shellcheck disable=SC2086 # a prefix is words
    ${vhost_under:-} rdisk-vhost --control "$vhost_control" --log-level debug \
        ${vhost_config:+--config "$vhost_config"} "$@" 2>>"$vhost_log" &
    vhost=$!
    end_later $vhost
    wait_until 20 vhost_settled
    ! gone "$vhost" || fail "rdisk-vhost: $(tail -n 1 "$vhost_log")"
}

vhost_settled()
{
    rdisk list --control "$vhost_control" >/dev/null 2>&1 || gone "$vhost"
}

# vhost_stat MEMBER…: of the first disk in the daemon's statistics, one a line.
# Without a script's interpreter: it is called again and again.
vhost_stat()
{
    local stat member value
    stat=$(within 20 rdisk stat --json --control "$vhost_control")
    for member in "$@"; do
        value=${stat#*"\"$member\":"}
        [ "$value" != "$stat" ] || return 1
        value=${value%%$'\n'*}
        value=${value%,}
        value=${value#\"}
        echo "${value%\"}"
    done
}

vhost_is()
{
    [ "$(vhost_stat state)" = "$1" ]
}

# vhost_disk NAME KEY=VALUE…: a disk of the daemon
vhost_disk()
{
    within 20 rdisk add "$@" --control "$vhost_control"
}

# vhost_add NAME [KEY=VALUE…]: a disk of the volume of that name, listening
vhost_add()
{
    vhost_disk "$1" "uri=$(uri "$1")?reconnect-delay=60&heartbeat=60" \
        "socket=$work/$1.sock" "${@:2}"
}

# vhost_writes NAME DEPTH: a client, $writer, that writes and compares, until
# vhost_written NAME
vhost_writes()
{
    rm -f "$work/$1.stop"
    vhost-client "$work/$1.sock" check 900 "$2" "$work/$1.stop" \
        >"$work/check" 2>&1 &
    writer=$!
    end_later $writer
    wait_until 20 vhost_is open || fail "$(tail -n 1 "$work/check")"
}

# All that it wrote was there.
vhost_written()
{
    touch "$work/$1.stop"
    wait "$writer" || fail "$(tail -n 1 "$work/check")"
    report "$(cat "$work/check")"
}

vhost_has_read()
{
    local count
    for count in $(vhost_stat reads writes); do
        [ "$count" -gt 100 ] || return 1
    done
}

vhost_size_is()
{
    [ "$(vhost_stat size)" = "$1" ]
}

# vhost_writing VOLUME [SERVER-OPTION…]: a server, unless there is one, a daemon
# that has the disk in its configuration file, so that the next one knows it, and
# a writer on it
vhost_writing()
{
    [ -n "$server" ] || start_server "${@:2}"
    volume "$1" 16M
    vhost_config=$work/vhost.conf
    cat >"$vhost_config" <<END
[disk $1]
uri = $(uri "$1?reconnect-delay=60&heartbeat=60")
socket = $work/$1.sock
END
    vhost_start
    wait_until 20 accepts "$work/$1.sock"
    vhost_writes "$1" 32
    wait_until 20 vhost_has_read
}

# vhost_stop SIGNAL: the daemon ends, with status $ended
vhost_stop()
{
    ended=0
    kill "-$1" "$vhost"
    wait_until 20 gone "$vhost"
    wait "$vhost" || ended=$?
}

# vhost_replace SIGNAL: another daemon follows; the writer's requests go on
vhost_replace()
{
    vhost_stop "$1"
    vhost_start
    wait_until 20 vhost_is open || fail "$(tail -n 1 "$work/check")"
}

# vhost_guest NAME [BOOT-OPTION…]: a stock QEMU, or the program $qemu, boots the
# test guest on a disk, in the background as $guest; its console is in
# $work/console. $qemu_options are QEMU's.
qemu_options=()
vhost_guest()
{
    local program=${qemu:-$stock}
    [ -x "$program" ] || skip "$program is not installed"
    : >"$work/console"
    "$top/tests/lab/guest/boot" --qemu "$program" --task auto \
        --programs memory --time-limit $((900 * slow)) --log "$work/console" "${@:2}" -- \
        -object memory-backend-memfd,id=memory,size=256M,share=on \
        -machine memory-backend=memory \
        -chardev "socket,id=vhost,path=$work/$1.sock,reconnect=1" \
        -device vhost-user-blk-pci,chardev=vhost,num-queues=2 \
        -qmp "unix:$work/qmp,server=on,wait=off" "${qemu_options[@]}" \
        >/dev/null 2>"$work/boot" &
    guest=$!
    end_later $guest
}

# The volume "root" with the test guest's file system.
vhost_root()
{
    image=$("$top/tests/lab/guest/build")/root.ext4
    volume root "$(stat -c %s "$image")"
    within 120 qemu-img convert -n -f raw -O raw "$image" "$(uri root)"
}

# vhost_guest_done [FILES]
vhost_guest_done()
{
    wait "$guest" || {
        tail -n 20 "$work/console"
        fail "$(tail -n 1 "$work/boot")"
    }
    grep -a RDISK-GUEST "$work/console"
    says "$work/console" "RDISK-GUEST: VERIFIED ${1:-12} files"
}

# vhost_guest_says REGEX SECONDS [N]: so often, by then
vhost_guest_says()
{
    wait_until "$2" has_said "$1" "${3:-1}" || fail "the guest does not say" \
        "'$1', but '$(grep -a RDISK-GUEST "$work/console" | tail -n 1)'"
}

has_said()
{
    [ "$(grep -acE "RDISK-GUEST: $1" "$work/console")" -ge "$2" ] ||
        gone "$guest"
}

# ---- Several hosts ------------------------------------------------------

declare -A vhost_of=()          # processes by host

# vhost_host NAME VOLUME: a host's daemon, with the volume as its disk, whose
# socket is $work/NAME.vhost
vhost_host()
{
    local vhost_control=$work/$1.control vhost_config=$work/$1.conf
    cat >"$vhost_config" <<END
[disk $2]
uri = $(uri "$2?reconnect-delay=60&heartbeat=60")
socket = $work/$1.vhost
queues = 2
END
    vhost_start
    vhost_of[$1]=$vhost
    wait_until 20 accepts "$work/$1.vhost"
}

# vhost_on NAME COMMAND…: with the control socket of that host's daemon
vhost_on()
{
    local vhost_control=$work/$1.control
    "${@:2}"
}

# With qemu.sh: guests of one sector on these.

# vhost_machine NAME [OPTION…]: a machine on the disk of the host of that name
vhost_machine()
{
    machine "$1" -object memory-backend-memfd,id=memory,size=32M,share=on \
        -machine memory-backend=memory \
        -chardev "socket,id=vhost,path=$work/$1.vhost,reconnect=1" \
        -device vhost-user-blk-pci,chardev=vhost,num-queues=1,bootindex=0 \
        "${@:2}"
}

vhost_twin()
{
    vhost_machine "$1" -incoming "unix:$work/$1.socket"
}

# Each of the guest's buffers has been filled by RDMA.
buffers_are_full()
{
    wait_until 150 has_rounds "$1" 45 || fail "the guest of $1 makes no progress"
    sound "$1" || fail "the guest of $1: $(tail -c 60 "$work/$1.serial")"
}

# vhost_moving VOLUME: a guest on host left, and room for it on host right
vhost_moving()
{
    [ -x $stock ] || skip "$stock is not installed"
    qemu=${qemu:-$stock}
    boot_volume "$1"
    vhost_host left "$1"
    vhost_host right "$1"
    vhost_machine left
    buffers_are_full left
    vhost_twin right
}
