#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Discard gives space back to the server's file system, and zeroes read as
# zeroes, with or without holes.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

start_server

# KiB that a volume's file takes.
taken()
{
    du -k "$pool/$1" | cut -f 1
}

check_discard_gives_space_back()
{
    volume d 8M
    io d 'write -q -P 1 0 8M'
    at_most "KiB before, at least" 8192 "$(taken d)"
    client c "$(uri d)"
    say c 'discard 1M 6M'
    answers c 'discard 6291456/6291456' 20
    equal "discards" "$(stat_server 's["sessions"][0]["counters"]["discards"]')" 1
    say c quit
    wait_until 20 gone "${client[c]}"
    at_most "KiB after" "$(taken d)" 2100
    io d 'read -q -P 1 0 1M' 'read -q -P 1 7M 1M'
}

check_zeroes_with_unmap_make_holes()
{
    volume z 8M
    io z 'write -q -P 1 0 8M' 'write -q -z -u 0 4M'
    at_most "KiB after" "$(taken z)" 4200
    io z 'read -q -P 0 0 4M' 'read -q -P 1 4M 4M'
}

# tmpfs cannot zero in place: the block layer then writes zeroes.
check_zeroes_without_unmap_keep_the_space()
{
    volume k 4M
    io k 'write -q -P 1 0 4M' 'write -q -z 1000 2M' 'write -q -z -f 3M 64k'
    at_most "KiB, at least" 4096 "$(taken k)"
    io k 'read -q -P 1 0 1000' 'read -q -P 0 1000 2M' 'read -q -P 0 3M 64k' \
        'read -q -P 1 3211264 64k'
}

# Where they are quick they are made, otherwise nothing is.
check_zeroes_that_must_be_quick_are_never_written_as_data()
{
    volume q 4M
    io q 'write -q -P 1 0 4M'
    io q 'write -q -z -u -n 0 1M'
    equal "bytes written" "$(closed 'write bytes')" 0
    refused 'not supported' 20 qemu-io -f raw -c 'write -z -n 1M 1M' "$(uri q)"
    io q 'read -q -P 0 0 1M' 'read -q -P 1 1M 3M'
}

check_forced_zeroes_need_no_flush()
{
    local without
    volume f 4M
    # Closing flushes too, so look at what comes on top.
    io f 'write -q -z -u 0 64k'
    without=$(closed flushes)
    io f 'write -q -z -u -f 0 64k' 'write -q -z -u -f 1M 64k'
    equal flushes "$(closed flushes)" "$without"
}

check_a_sparse_image_stays_sparse()
{
    volume s 16M
    truncate -s 16M "$work/sparse"
    head -c 1M /dev/urandom | dd of="$work/sparse" bs=1M seek=5 conv=notrunc \
        status=none
    timeout 60 qemu-img convert -n -f raw -O raw "$work/sparse" "$(uri s)"
    cmp "$work/sparse" "$pool/s" || fail "the volume is not the image"
    at_most "KiB" "$(taken s)" 1100
    rm "$work/sparse"
}

check_a_read_only_volume_refuses_both()
{
    volume r 4M
    refused 'read-only|not permitted|Permission' 20 qemu-io -f raw -r \
        -c 'discard 0 1M' "$(uri r)"
}

run_checks
