#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Discard gives space back to the server's file system, and zeroes read as
# zeroes, with or without holes.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=tests/e2e/disk.sh
. "$here/disk.sh"

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
    at_most "discards" \
        "$(stat_server 's["sessions"][0]["counters"]["discards"]')" 4
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
    within 60 qemu-img convert -n -f raw -O raw "$work/sparse" "$(uri s)"
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

# slow_zeroes OPTIONS: 64 MiB of a disk that has no command for it and writes
# 8 MB/s, with a request-timeout of 3 s
slow_zeroes()
{
    nullb 512 memory_backed=0 mbps=8 discard=0
    start_server --volume "slow=file:$disk"
    within 60 qemu-io -f raw -c 'write -z 0 64M' \
        "$(uri "slow?request-timeout=3$1")" >"$work/zeroes" 2>&1 ||
        fail "$(tail -n 1 "$work/zeroes")"
    cat "$work/zeroes"
    says "$work/zeroes" 'wrote 67108864/67108864'
    ! grep request-timeout "$work/zeroes" || fail "a request timed out"
}

check_zeroes_that_take_longer_than_request_timeout_are_made()
{
    slow_zeroes ''
}

check_they_are_made_once_with_reconnect_delay()
{
    slow_zeroes '&reconnect-delay=30'
}

# One that is quick gets large requests soon.
check_a_gigabyte_of_zeroes_takes_few_requests()
{
    volume g 2G
    client g "$(uri g)"
    say g 'write -z -u 0 1G'
    answers g 'wrote 1073741824/1073741824' 20
    at_most "requests" \
        "$(stat_server 's["sessions"][0]["counters"]["zeroes"]')" 16
}

run_checks
