#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Without KVM, QEMU does not see that a vhost-user device has written to memory
# whose code it has translated: the guest executes what was there before, whichever
# program serves the device (docs/vhost-user.md). The bytes in memory are right.
# time-limit: 300
# quick-lab: guests boot on vhost-user devices
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=tests/e2e/qemu.sh
. "$here/qemu.sh"
# shellcheck source=tests/e2e/vhost.sh
. "$here/vhost.sh"

start_server

# programs_read NAME: the guest of codedisk.S has read its program 64 times, and
# the bytes were right each time. How often another program than that was executed
# is in `old`.
programs_read()
{
    wait_until 60 grep -aq '[DEX]' "$work/$1.serial" ||
        fail "the guest of $1 makes no progress: $(cat "$work/$1.serial")"
    grep -aqxE 'B[.S]{64}D' "$work/$1.serial" ||
        fail "the guest of $1: $(cat "$work/$1.serial")"
    old=$(tr -cd S <"$work/$1.serial" | wc -c)
    quit "$1"
}

# If none were, guests of vhost-user devices would not need `--programs memory`.
check_what_rdisk_vhost_reads_is_right_where_an_emulated_guest_executes_old_code()
{
    local old
    [ -x $stock ] || skip "$stock is not installed"
    boot_volume code codedisk
    vhost_host here code
    for qemu in $stock "$top/build/bin/qemu-system-x86_64"; do
        vhost_machine here
        programs_read here
        at_least "executions of old code" "$old" 1
    done
}

check_an_emulated_guest_executes_old_code_with_qemus_own_daemon_too()
{
    local old
    boot_program codedisk
    truncate -s 1M "$work/codedisk.bin"
    daemon own --blockdev \
        "driver=file,node-name=code,filename=$work/codedisk.bin" \
        --export "type=vhost-user-blk,id=code,node-name=code,addr.type=unix,\
addr.path=$work/own.vhost"
    qemu=$top/build/bin/qemu-system-x86_64
    vhost_machine own
    programs_read own
    at_least "executions of old code" "$old" 1
}

check_an_emulated_guest_executes_what_qemus_driver_reads()
{
    local old
    boot_volume driver codedisk
    machine driver -blockdev "$(node disk driver)" \
        -device virtio-blk-pci,drive=disk
    programs_read driver
    equal "executions of old code" "$old" 0
}

run_checks
