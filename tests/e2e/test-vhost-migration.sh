#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Live migration between the rdisk-vhosts of two hosts: the guest's memory goes
# along with what RDMA wrote into it, at each moment one daemon may write, and
# a failure leaves the guest with one of them.
# time-limit: 900
# quick-lab: guests boot and move
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=tests/e2e/qemu.sh
. "$here/qemu.sh"
# shellcheck source=tests/e2e/vhost.sh
. "$here/vhost.sh"

# guest NAME [OPTION…]: a machine on the disk of the host of that name
guest()
{
    machine "$1" -object memory-backend-memfd,id=memory,size=32M,share=on \
        -machine memory-backend=memory \
        -chardev "socket,id=vhost,path=$work/$1.vhost,reconnect=1" \
        -device vhost-user-blk-pci,chardev=vhost,num-queues=1,bootindex=0 \
        "${@:2}"
}

twin()
{
    guest "$1" -incoming "unix:$work/$1.socket"
}

# Each of the guest's buffers has been filled by RDMA.
buffers_are_full()
{
    wait_until 150 has_rounds "$1" 45 || fail "the guest of $1 stands still"
    sound "$1" || fail "the guest of $1: $(tail -c 60 "$work/$1.serial")"
}

# moving VOLUME: a guest on host left, and room for it on host right
moving()
{
    [ -x $stock ] || skip "$stock is not installed"
    qemu=${qemu:-$stock}
    boot_volume "$1"
    vhost_host left "$1"
    vhost_host right "$1"
    guest left
    buffers_are_full left
    twin right
}

check_what_the_device_writes_is_in_the_log_of_dirty_pages()
{
    volume logged 8M
    vhost_start
    vhost_add logged
    within 60 vhost-client "$work/logged.sock" dirty
}

# The table of requests in flight is new then, and the ring is not.
check_a_guest_that_has_just_come_outlasts_a_kill_of_the_daemon()
{
    local client
    volume moved 8M
    vhost_host left moved
    vhost_control=$work/left.control vhost_config=$work/left.conf
    vhost-client "$work/left.vhost" moved "$work/now" >"$work/client" 2>&1 &
    client=$!
    end_later $client
    wait_until 20 vhost_is open || fail "$(tail -n 1 "$work/client")"
    freeze "$server"
    touch "$work/now"
    sleep 0.5
    kill -KILL "${vhost_of[left]}"
    wait_until 10 gone "${vhost_of[left]}"
    kill -CONT "$server"
    vhost_start
    wait_until 60 gone "$client" || fail "its first request does not end"
    wait "$client" || fail "$(tail -n 1 "$work/client")"
    says "$work/client" 'after 1 reconnects'
}

check_a_guest_of_a_stock_qemu_moves_to_another_host_and_back()
{
    moving there
    vhost_on right vhost_is idle || fail "right has the volume open before the move"
    nobody_else_may_write there
    migrate left right
    goes_on right 20
    wait_until 20 vhost_on left vhost_is idle || fail "left still has the volume"
    vhost_on right vhost_is open || fail "right does not have the volume open"
    equal "bytes copied by right" "$(vhost_on right vhost_stat 'd["copied_bytes"]')" 0
    nobody_else_may_write there
    quit left
    twin left
    migrate right left
    goes_on left 20
    quit right
    quit left
    wait_until 20 no_sessions
    whole there
}

start_server
run_checks
