#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Several clients: on volumes of their own, and on one.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

# Commands of a client whose bytes are its own: busy BYTE
busy()
{
    local i
    for ((i = 0; i < 100; i++)); do
        echo "aio_write -q -P $(($1 + i)) $((i * 65536)) 65536"
    done
    echo aio_flush
    for ((i = 0; i < 100; i++)); do
        echo "read -q -P $(($1 + i)) $((i * 65536)) 65536"
    done
}

check_two_clients_on_two_volumes_do_not_meet()
{
    local name byte=1 pids=()
    for name in left right; do
        volume $name 8M
        busy $byte | within 90 qemu-io -f raw "$(uri $name)" \
            >"$work/$name.out" 2>&1 &
        pids+=($!)
        byte=$((byte + 100))
    done
    wait "${pids[0]}" || fail "left: $(tail -n 1 "$work/left.out")"
    wait "${pids[1]}" || fail "right: $(tail -n 1 "$work/right.out")"
    ! grep -E 'failed|error' "$work"/{left,right}.out || fail "an I/O failed"
}

check_a_second_writer_is_refused_with_the_first_ones_address()
{
    volume one 4M
    client first "$(uri one)"
    say first 'write -P 1 0 4k'
    answers first '^wrote 4096/4096' 20
    refused "is being written by $addr" 20 \
        qemu-io -f raw -c 'write -P 2 0 4k' "$(uri one)"
    # The first goes on as if nothing had been.
    say first 'read -P 1 0 4k'
    answers first '^read 4096/4096' 20
    say first quit
}

check_readers_are_welcome_beside_a_writer()
{
    volume shown 4M
    client writer "$(uri shown)"
    say writer 'write -P 4 0 64k'
    answers writer '^wrote 65536/65536' 20
    io_options=-r io shown 'read -q -P 4 0 64k'
    client reader "$(uri shown)" -r
    io_options=-r io shown 'read -q -P 4 0 64k'
    say writer 'write -P 5 0 64k'
    answers writer '^wrote 65536/65536 bytes at offset 0' 20
    say reader 'read -P 5 0 64k'
    answers reader '^read 65536/65536' 20
}

check_a_reader_cannot_write()
{
    volume mine 4M
    refused 'read-only|Operation not permitted|Bad file' 20 \
        qemu-io -r -f raw -c 'write 0 4k' "$(uri mine)"
    cmp -n 4096 "$pool/mine" /dev/zero
}

check_writers_that_both_ask_for_it_share()
{
    volume both 4M
    client first "$(uri 'both?shared=on')"
    say first 'write -P 1 0 4k'
    answers first '^wrote 4096/4096' 20
    io 'both?shared=on' 'read -q -P 1 0 4k' 'write -q -P 2 4k 4k'
    say first 'read -P 2 4k 4k'
    answers first '^read 4096/4096' 20
    refused 'is being written by' 20 \
        qemu-io -f raw -c 'read 0 4k' "$(uri both)"
}

check_the_next_writer_gets_in_when_the_first_has_closed()
{
    volume next 4M
    client first "$(uri next)"
    say first quit
    wait_until 10 gone "${client[first]}"
    io next 'write -q -P 6 0 4k' 'read -q -P 6 0 4k'
}

check_one_process_may_use_several_volumes()
{
    volume a 4M
    volume b 4M
    within 60 qemu-io -f raw -c 'write -q -P 1 0 4M' -c close \
        -c "open $(uri b)" -c 'read -q -P 0 0 4M' "$(uri a)"
    within 60 qemu-img convert -n -f raw -O raw "$(uri a)" "$(uri b)"
    cmp "$pool/a" "$pool/b"
}

check_eight_clients_at_once_are_all_served()
{
    local i pids=()
    for i in 1 2 3 4 5 6 7 8; do
        volume "many$i" 2M
        within 100 qemu-io -f raw -c "write -q -P $i 0 2M" \
            -c "read -q -P $i 0 2M" "$(uri "many$i")" &
        pids+=($!)
    done
    for i in "${pids[@]}"; do
        wait "$i" || fail "a client ended with $?"
    done
    wait_until 10 no_sessions || fail "sessions are left"
}

start_server
run_checks
