#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# OpenStack Cinder's driver and os-brick's connector, of packaging/cinder, with
# Debian's cinder and os-brick, a real server and a real rdisk-vhost: volumes are
# created, extended, attached to a VMM's front end, detached and deleted; and
# snapshots, where the kernel has a file system that shares blocks.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=tests/e2e/vhost.sh
. "$here/vhost.sh"

# The pool is on XFS, in a file; fails without one.
pool_shares_blocks()
{
    command -v mkfs.xfs >/dev/null && grep -qw xfs /proc/filesystems ||
        modprobe -q xfs 2>/dev/null || return 1
    truncate -s 1G "$work/xfs"
    mkfs.xfs -q -m reflink=1 "$work/xfs" &&
        mount -o loop "$work/xfs" "$pool"
}

check_cinder_manages_volumes_and_os_brick_attaches_them()
{
    local options=()
    /usr/bin/python3 -c 'import cinder, os_brick' 2>/dev/null ||
        skip "no python3-cinder and python3-os-brick here"
    if pool_shares_blocks; then
        options=(--snapshots)
        report "with snapshots, on XFS"
    else
        report "without snapshots: this kernel has no XFS"
    fi
    start_server
    vhost_start
    mkdir "$work/sockets"
    within 200 "$top/tests/cinder/volumes" "$control" "$addr:$port" \
        "$vhost_control" "$work/sockets" "${options[@]}" \
        >"$work/cinder" 2>"$work/cinder.log" || {
        tail -n 20 "$work/cinder.log" >&2
        fail "after '$(tail -n 1 "$work/cinder")': $(tail -n 1 "$work/cinder.log")"
    }
    cat "$work/cinder"
    [ ${#options[@]} -eq 0 ] || says "$work/cinder" '^delete snapshot and clones'
    stop_server
    mountpoint -q "$pool" && umount "$pool"
    true
}

run_checks
