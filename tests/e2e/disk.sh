# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# Disks of the tests' own, in memory, which behave as they are told: null_blk.

# A block device in memory with faults of its own: nullb SIZE-IN-MIB
# [ATTRIBUTE=VALUE…]; sets `disk`, a path, and `disk_control`, its folder of
# attributes.
nullb()
{
    local name attribute
    nullbs=$((${nullbs:-0} + 1))
    name=rdisk${BASHPID}n$nullbs
    modprobe -q null_blk nr_devices=0 2>/dev/null || true
    mountpoint -q /sys/kernel/config ||
        mount -t configfs configfs /sys/kernel/config 2>/dev/null || true
    disk_control=/sys/kernel/config/nullb/$name
    mkdir "$disk_control" 2>/dev/null || skip "this kernel has no null_blk"
    for attribute in size="$1" blocksize=4096 memory_backed=1 "${@:2}"; do
        [ -e "$disk_control/${attribute%%=*}" ] ||
            skip "the null_blk of this kernel has no ${attribute%%=*}"
        echo "${attribute#*=}" >"$disk_control/${attribute%%=*}"
    done
    nullb_on
}

nullb_on()
{
    local index
    echo 1 >"$disk_control/power"
    read -r index <"$disk_control/index"
    for disk in "/dev/${disk_control##*/}" "/dev/nullb$index"; do
        [ ! -b "$disk" ] || return 0
    done
    fail "null_blk made no device: $(echo /dev/nullb*)"
}

nullb_end()
{
    echo 0 >"$disk_control/power"
    rmdir "$disk_control"
}
