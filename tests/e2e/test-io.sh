#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Reads, writes and flushes of every shape through qemu-io.  Where it can, a
# check runs the same commands on a plain file, and the volume's backing file
# must end up the same, byte for byte.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

# same_as_model NAME SIZE < COMMANDS: run them on a volume and on a file
same_as_model()
{
    local commands command list=()
    volume "$1" "$2"
    mapfile -t commands
    rm -f "$work/model"
    truncate -s "$2" "$work/model"
    for command in "${commands[@]}"; do
        list+=(-c "$command")
    done
    within 90 qemu-io -f raw "${list[@]}" "$work/model" >"$work/io" 2>&1 ||
        fail "qemu-io on the model ended with $?"
    io "$1" "${commands[@]}"
    cmp "$work/model" "$pool/$1" || fail "the backing file differs"
}

check_every_size_at_every_offset_lands_exactly()
{
    local offset size pattern=1
    for size in 1 511 512 513 4095 4096 4097 65536 262144 262145 1048577; do
        for offset in 0 1 511 512 4095 4096 1048575; do
            pattern=$((pattern % 255 + 1))
            echo "write -q -P $pattern $((offset + 4096)) $size"
            echo "read -q -P $pattern $((offset + 4096)) $size"
        done
    done | same_as_model sizes 4M
}

check_random_overlapping_writes_land_exactly()
{
    local i
    RANDOM=7471
    for ((i = 0; i < 150; i++)); do
        local offset=$(((RANDOM * 32768 + RANDOM) % 4000000))
        local size=$((1 + RANDOM * RANDOM % 90000)) pattern=$((RANDOM % 256))
        echo "write -q -P $pattern $offset $size"
        echo "read -q -P $pattern $offset $size"
    done | same_as_model random 5M
}

# pieces COUNT SIZE: that many sizes around SIZE
pieces()
{
    local i
    for ((i = 0; i < $1; i++)); do
        echo -n "$(($2 + (i % 3) * 512)) "
    done
}

check_scattered_requests_of_up_to_1000_pieces_land_exactly()
{
    local count
    for count in 2 31 32 33 64 255 256 257 300 1000; do
        echo "writev -q -P $((count % 251 + 1)) 4096 $(pieces $count 512)"
        echo "readv -q -P $((count % 251 + 1)) 4096 $(pieces $count 512)"
        echo "writev -q -P $((count % 250 + 2)) 700000 $(pieces $count 3584)"
        echo "readv -q -P $((count % 250 + 2)) 700000 $(pieces $count 3584)"
        echo "writev -q -P $((count % 249 + 3)) 12345 $(pieces $count 333)"
        echo "readv -q -P $((count % 249 + 3)) 12345 $(pieces $count 333)"
    done | same_as_model scattered 8M
}

check_scattered_registered_memory_lands_exactly()
{
    volume registered 8M
    io registered "writev -r -q -P 9 4096 $(pieces 300 4096)" \
        "readv -r -q -P 9 4096 $(pieces 300 4096)"
    equal "copied bytes" "$(closed 'copied bytes')" 0
}

check_parallel_requests_do_not_mix()
{
    local i
    for ((i = 0; i < 200; i++)); do
        echo "aio_write -q -P $((i % 255 + 1)) $((i * 20480)) 20480"
    done >"$work/parallel"
    echo aio_flush >>"$work/parallel"
    for ((i = 0; i < 200; i++)); do
        echo "aio_read -q -P $((i % 255 + 1)) $((i * 20480)) 20480"
    done >>"$work/parallel"
    echo aio_flush >>"$work/parallel"
    same_as_model parallel 4M <"$work/parallel"
}

# Neighbours in one block: the block layer reads, changes and writes blocks.
check_parallel_unaligned_neighbours_do_not_lose_bytes()
{
    local i
    for ((i = 0; i < 120; i++)); do
        echo "aio_write -q -P $((i + 1)) $((i * 100)) 100"
    done >"$work/neighbours"
    echo aio_flush >>"$work/neighbours"
    same_as_model neighbours 64k <"$work/neighbours"
}

check_requests_larger_than_a_slot_are_split_and_whole()
{
    volume large 72M
    io_options='-t none' io large 'write -q -P 77 512 64M' \
        'read -q -P 77 512 64M' 'read -q -P 0 0 512'
    equal "write bytes" "$(closed 'write bytes')" $((64 << 20))
    cmp -n 512 "$pool/large" /dev/zero
    tail -c +513 "$pool/large" | head -c $((64 << 20)) | tr -d M | wc -c |
        grep -qx 0 || fail "the backing file has other bytes"
}

check_small_slots_and_few_slots_carry_the_same_bytes()
{
    local i
    volume narrow 4M
    for ((i = 0; i < 30; i++)); do
        echo "aio_write -q -P $((i + 1)) $((i * 70000)) 70000"
    done >"$work/narrow"
    echo aio_flush >>"$work/narrow"
    for ((i = 0; i < 30; i++)); do
        echo "read -q -P $((i + 1)) $((i * 70000)) 70000"
    done >>"$work/narrow"
    io_script 'narrow?slots=2&slot-size=8k&bounce-size=64k' <"$work/narrow"
}

check_the_last_bytes_of_an_odd_volume_are_reachable()
{
    local size=$((1048576 + 512))
    volume odd $size
    io odd "write -q -P 5 $((size - 512)) 512" "write -q -P 6 $((size - 1)) 1" \
        "read -q -P 5 $((size - 512)) 511" "read -q -P 6 $((size - 1)) 1"
    equal "the backing file's size" "$(stat -c %s "$pool/odd")" $size
}

check_nothing_is_written_beyond_the_end()
{
    volume end 1M
    refused 'Input/output|Invalid|No space|beyond|out of' 20 \
        qemu-io -f raw -c 'write 1048064 1024' "$(uri end)"
    refused 'Input/output|Invalid|beyond|out of' 20 \
        qemu-io -f raw -c 'read 1048576 512' "$(uri end)"
    cmp -n 1048576 "$pool/end" /dev/zero
    equal "the backing file's size" "$(stat -c %s "$pool/end")" 1048576
}

# QEMU's block layer passes them on; qcow2 makes some.
check_requests_of_no_bytes_succeed_and_do_not_make_the_volume_grow()
{
    volume nothing 4k
    io nothing 'read 0 0' 'read 512 0' 'write 0 0' 'write 4k 0'
    equal "size" "$(stat -c %s "$pool/nothing")" 4096
}

check_a_volume_of_one_block_works()
{
    volume tiny 512
    io tiny 'write -q -P 1 0 512' 'read -q -P 1 0 512' 'write -q -P 2 511 1' \
        'read -q -P 2 511 1' 'read -q -P 1 0 511'
}

check_a_flush_reaches_the_server()
{
    volume flush 1M
    io flush 'write -q -P 1 0 4k' flush 'write -q -P 1 4k 4k' flush
    at_least_two=$(closed flushes)
    [ "$at_least_two" -ge 2 ] || fail "only $at_least_two flushes arrived"
}

check_a_forced_write_needs_no_flush()
{
    volume fua 1M
    # Closing flushes too, so read what this run counts beyond that.
    io fua 'write -q -P 1 0 4k'
    without=$(closed flushes)
    io fua 'write -q -f -P 2 0 4k' 'write -q -f -P 3 4k 8k'
    equal "flushes" "$(closed flushes)" "$without"
    equal "writes" "$(closed writes)" 2
    io fua 'read -q -P 2 0 4k' 'read -q -P 3 4k 8k'
}

check_zeroes_can_be_written()
{
    volume zeroes 4M
    io zeroes 'write -q -P 255 0 4M' 'write -q -z 513 1000000' \
        'read -q -P 255 0 513' 'read -q -P 0 513 1000000' \
        'read -q -P 255 1000513 1000'
}

check_benchmark_traffic_at_depth_64_completes()
{
    volume bench 32M
    bench bench -c 3000 -d 64 -s 4k -w
    bench bench -c 3000 -d 64 -s 4k
    bench bench -c 200 -d 8 -s 128k -w --flush-interval 50
}

start_server
run_checks
