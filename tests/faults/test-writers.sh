#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Two clients want one volume: one of them has it at a time, and the other one
# does not write.
# shellcheck source=tests/faults/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

# fighter BYTE: tries until told to end, and whenever it gets in, writes all of
# the volume and must then find what it wrote, whole.
fighter()
{
    while [ ! -e "$work/enough" ]; do
        if timeout -k 2 $((60 * patience)) qemu-io -f raw -c "write -q -P $1 0 2M" \
                -c "read -q -P $1 0 2M" -c "write -q -P $1 512k 1M" \
                -c "read -q -P $1 0 2M" "$(uri v)" >"$work/fighter.$1" 2>&1
        then
            if grep -E 'failed|mismatch|Pattern' "$work/fighter.$1"; then
                echo "fighter $1: $(cat "$work/fighter.$1")" >>"$work/harm"
            fi
            echo "$1 $EPOCHREALTIME" >>"$work/won"
        elif grep -q 'is being written by' "$work/fighter.$1"; then
            echo "$1" >>"$work/lost"
        else
            echo "fighter $1: $(tail -n 1 "$work/fighter.$1")" >>"$work/harm"
        fi
    done
}

check_two_writers_fight_and_the_volume_is_one_ones()
{
    local one two byte
    start_server
    volume v 2M
    : >"$work/won"
    : >"$work/lost"
    fighter 17 &
    one=$!
    end_later $one
    fighter 34 &
    two=$!
    end_later $two
    sleep "$(often 8 30)"
    : >"$work/enough"
    wait_until 60 gone $one || fail "a writer hangs"
    wait_until 60 gone $two || fail "a writer hangs"
    [ ! -e "$work/harm" ] || fail "$(head -n 1 "$work/harm")"
    # Both have been in, and met the other.
    grep -q '^17 ' "$work/won" && grep -q '^34 ' "$work/won" ||
        fail "one of them never got the volume"
    [ -s "$work/lost" ] || fail "the two writers never overlapped"
    byte=$(od -An -tu1 -N1 "$pool/v" | tr -d ' ')
    head -c 2M /dev/zero | tr '\0' "\\$(printf %03o "$byte")" |
        cmp - "$pool/v" || fail "the volume has data of more than one writer"
    report "$(grep -c . "$work/won") times let in," \
        "$(grep -c . "$work/lost") times refused," \
        "done with one after the other within $(awk '
            NR > 1 && $2 - last > most { most = $2 - last }
            { last = $2 } END { printf "%.1f", most }' "$work/won") s"
}

run_checks
