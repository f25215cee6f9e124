#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# QEMU with fewer rights than root: under a seccomp filter, as another user.
# quick-lab: guests boot
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

run_checks
