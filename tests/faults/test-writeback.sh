#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A disk that fails when the server's page cache is written back: what was
# answered is gone, Linux says so once, and all clients hear of it until they
# have closed the volume.
# quick-lab: seconds are counted
# shellcheck source=tests/faults/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

# A file system in the pool's place, whose blocks are allocated already, on a
# disk that has no room for them: what the page cache holds cannot be written.
# The volume's size is odd, so that it goes through the page cache.
full_disk()
{
    disk=$(mktemp -d /dev/shm/rdisk-disk.XXXXXX)
    pool=$(mktemp -d /dev/shm/rdisk-odd.XXXXXX)
    mount -t tmpfs -o size=24M tmpfs "$disk"
    truncate -s 64M "$disk/image"
    mkfs.ext4 -q -b 4096 -O ^has_journal "$disk/image"
    loop=$(losetup -f --show -b 4096 "$disk/image")
    mount -o errors=continue "$loop" "$pool" || skip "this kernel has no ext4"
    fallocate -l 8389120 "$pool/v"
    sync "$pool/v"
    dd if=/dev/zero of="$disk/filler" bs=1M status=none 2>/dev/null || true
}

failed_requests()
{
    stat_server 'sum(x["counters"]["failed"] for x in s["sessions"])'
}

failed_since()
{
    [ "$(failed_requests)" -gt "$1" ]
}

# qemu-io does not tell of it.
flush_fails()
{
    local before
    before=$(failed_requests)
    say "$1" flush
    wait_until 20 failed_since "$before" ||
        fail "no flush of client $1 failed in 20 s"
}

# Two clients; one writes, and the disk refuses.
lose()
{
    full_disk
    start_server --state "$work/state"
    client one "$(uri 'v?shared=on')" -t writeback
    client two "$(uri 'v?shared=on')" -t writeback
    say two 'write 4M 4k'
    answers two 'wrote 4096/4096' 20
    say one 'write -P 1 1M 1M'
    answers one 'wrote 1048576/1048576' 20
}

check_every_flush_of_every_client_fails_after_a_failed_write_back()
{
    lose
    flush_fails one
    flush_fails one
    flush_fails two
    flush_fails two
    # Room again makes nothing come back.
    rm "$disk/filler"
    flush_fails one
    flush_fails two
    says "$server_log" "volume 'v': its storage failed to make answered data"
    # Opened again by all.
    say one quit
    wait_until 20 gone "${client[one]}"
    flush_fails two
    say two quit
    wait_until 20 gone "${client[two]}"
    io v 'write -P 2 1M 1M' flush 'read -P 2 1M 1M'
}

check_a_resize_does_not_take_the_error_of_a_flush()
{
    lose
    within 20 rdisk resize v 8390144 --control "$control" || true
    flush_fails one
    flush_fails two
}

check_a_FUA_write_does_not_take_the_error_of_a_flush()
{
    lose
    # The kernel writes back by itself, and fails.
    sync "$pool/v" || true
    say one 'write -f 0 4k'
    answers one 'Input/output error' 20
    flush_fails one
    flush_fails two
}

run_checks
