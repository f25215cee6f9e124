#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# QEMU with fewer rights than root: under a seccomp filter, as another user.
# quick-lab: guests boot
# A client that may not open the device does not see that the server was killed.
# lab: --allow non-flush.error.status.=.12
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=tests/e2e/qemu.sh
. "$here/qemu.sh"

# confined NAME OPTION…: a machine whose guest writes on a volume of that name
confined()
{
    local name=$1
    shift
    boot_volume "$name"
    chmod 777 "$work"
    machine "$name" "$@" \
        -blockdev "$(node disk "$name" '"reconnect-delay": 30')" \
        -device virtio-blk-pci,drive=disk
}

# As libvirt starts it
denied=on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny

check_a_guest_writes_under_the_sandbox()
{
    start_server
    confined boxed -sandbox "$denied"
    goes_on boxed
    quit boxed
    whole boxed
}

check_a_guest_under_the_sandbox_survives_a_restart_of_the_server()
{
    start_server
    confined again -sandbox "$denied"
    goes_on again
    kill_server
    start_server
    goes_on again
    quit again
    whole again
}

# That user may not look into the folder of this checkout, so a copy it is.
check_a_guest_of_qemu_started_as_another_user_writes()
{
    start_server
    boot_volume own
    chmod 777 "$work"
    : >"$work/own.serial"
    chmod 666 "$work/own.serial"
    mkdir -p "$work/bin" "$work/lib/qemu"
    cp "$top/build/bin/qemu-system-x86_64" "$work/bin/"
    cp "$top"/build/lib/qemu/*.so "$work/lib/qemu/"
    launched own setpriv --reuid 65534 --regid 65534 --clear-groups \
        "$work/bin/qemu-system-x86_64" -M pc -accel tcg -cpu qemu64,cx16=off \
        -m 32 -nodefaults -no-user-config -nic none -vga none -display none \
        -serial "file:$work/own.serial" \
        -qmp "unix:$work/own.qmp,server=on,wait=off" \
        -blockdev "$(node disk own '"reconnect-delay": 30')" \
        -device virtio-blk-pci,drive=disk
    goes_on own
    quit own
    whole own
}

# After each restart of the server it connects again, as the new user. Root may
# lock memory without limit, the new user may not.
check_a_guest_whose_qemu_changes_its_user_survives_restarts_of_the_server()
{
    ulimit -l unlimited
    start_server
    confined changed -run-with user=nobody
    equal "user of QEMU" "$(awk '/^Uid/ { print $3 }' \
        "/proc/${vm[changed]}/status")" 65534
    goes_on changed
    for _ in 1 2; do
        kill_server
        start_server
        goes_on changed
    done
    quit changed
    whole changed
}

check_a_user_that_may_not_open_the_device_is_named_as_the_cause()
{
    ulimit -l unlimited
    start_server
    chmod 600 /dev/infiniband/rdma_cm
    confined denied -run-with user=nobody
    goes_on denied
    wait_until 30 grep -q 'may not open /dev/infiniband/rdma_cm' \
        "$work/denied.log" || fail "$(tail -n 1 "$work/denied.log")"
    says "$work/denied.log" 'user 65534'
    kill_server
    start_server
    chmod 666 /dev/infiniband/rdma_cm
    goes_on denied
    quit denied
    whole denied
}

run_checks
