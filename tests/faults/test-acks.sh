#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The acknowledgements of a client's packets are lost, and nothing else: its
# device reads a write's memory and sends it again, although it is answered.
# What the program, or a guest of QEMU, stores there when the write has completed
# must not reach the server, except with guest-memory=direct and write-acks=off.
# time-limit: 900
# shellcheck source=tests/faults/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

# A server at the far end, with the volume "v", and a count of the packets that
# arrive there with the bytes aa and bb.
count_packets()
{
    wire
    start_server
    volume v 4M
    "${far[@]}" "$faults/count-packets" far0 aa bb >"$work/packets" 2>&1 &
    counter=$!
    end_later $counter
    wait_until 10 grep -q ready "$work/packets" ||
        skip "no packets can be read here: $(tail -n 1 "$work/packets")"
}

# Acknowledgements arrive again. Sets `old` and `new`, the packets with aa and bb.
counted()
{
    net restore
    kill -TERM $counter
    wait_until 10 grep -q '^bb' "$work/packets" || fail "packets are not told"
    old=$(awk '/^aa/ { print $2 }' "$work/packets")
    new=$(awk '/^bb/ { print $2 }' "$work/packets")
    report "packets with the old bytes: $old, with the new ones: $new"
}

# resent OPTIONS: a write of bytes aa, and bytes bb in its memory as soon as it
# has completed
resent()
{
    count_packets
    adversary-victim "$(uri "v?heartbeat=0&$1")" write \
        "$top/tests/lab/net --end 2 drop ack" >"$work/victim" 2>&1 || {
        ! grep '^drop-packets: ' "$work/victim" ||
            skip "this kernel has no nf_tables"
        fail "$(tail -n 1 "$work/victim")"
    }
    cat "$work/victim"
    counted
    says "$work/victim" 'write: well'
}

check_direct_sends_what_is_stored_behind_a_write()
{
    resent guest-memory=direct
    at_least "packets with what was stored later" "$new" 1
}

# It was sent again, from the memory as it was.
nothing_later()
{
    resent "$1"
    at_least "packets of the write" "$old" 2
    equal "packets with what was stored later" "$new" 0
}

check_direct_with_write_acks_sends_nothing_later()
{
    nothing_later 'guest-memory=direct&write-acks=on'
}

check_window_sends_nothing_later()
{
    nothing_later guest-memory=window
}

check_bounce_sends_nothing_later()
{
    nothing_later guest-memory=bounce
}

# resent_by_guest OPTIONS: the same of a guest of QEMU's driver. dd(1) writes a
# block, and when that has completed reads the next one into the same memory,
# which it does not write, since that block never becomes whole.
resent_by_guest()
{
    local guest image
    image=$("$top/tests/lab/guest/build")
    count_packets
    mkfifo "$work/typed"
    "$top/tests/lab/guest/boot" --task shell -- \
        -drive "file=$image/root.ext4,format=raw,if=virtio,snapshot=on" \
        -drive "file=$(uri "v?heartbeat=0&reconnect-delay=60&$1")\
,format=raw,if=virtio,cache=none" <"$work/typed" >"$work/console" 2>&1 &
    guest=$!
    end_later $guest
    exec {typed}>"$work/typed"
    rm "$work/typed"
    wait_until 200 grep -aq 'RDISK-GUEST: BOOTED' "$work/console" ||
        fail "$(tail -n 1 "$work/console")"
    # The messages are not in the text that the terminal echoes.
    type_to_guest "$(bytes 252 131072) >/run/aa && $(bytes 273 126976) >/run/bb
        cat /dev/vdb >/dev/null; echo REA''DY"
    wait_until 60 grep -aq READY "$work/console" || fail "the guest has no shell"
    net --end 2 drop ack
    type_to_guest "{ cat /run/aa /run/bb; echo STO''RED >/dev/console
        sleep 999; } | dd of=/dev/vdb oflag=direct bs=128k iflag=fullblock"
    # A write that waits for acknowledgements ends with its connection.
    wait_until 60 grep -aq STORED "$work/console" ||
        fail "the write does not end: $(tail -n 1 "$work/console")"
    sleep 5
    counted
    kill -TERM "$guest"
    wait_until 20 gone "$guest"
    head -c 131072 "$pool/v" | cmp - <(head -c 131072 /dev/zero | tr '\0' '\252')
}

# bytes OCTAL N: a command of the guest's shell, so many bytes of this value
bytes()
{
    printf "head -c %d /dev/zero | busybox tr '\\\\0' '\\\\%s'" "$2" "$1"
}

type_to_guest()
{
    echo "$1" >&"$typed"
}

check_a_guest_of_qemu_with_direct_sends_what_it_stores_behind_a_write()
{
    resent_by_guest guest-memory=direct
    at_least "packets with what was stored later" "$new" 1
}

check_a_guest_of_qemu_with_write_acks_sends_nothing_later()
{
    resent_by_guest 'guest-memory=direct&write-acks=on'
    at_least "packets of the write" "$old" 33
    equal "packets with what was stored later" "$new" 0
}

run_checks
