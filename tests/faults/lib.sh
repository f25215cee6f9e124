# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# What the faults share, on top of the end-to-end tests' lib.sh: a writer that
# knows every byte, and a network that has faults.
faults=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
# shellcheck source=tests/e2e/lib.sh
. "$faults/../e2e/lib.sh"
# shellcheck source=tests/e2e/disk.sh
. "$faults/../e2e/disk.sh"

# In a quick run, as in `make check`, each fault comes fewer times; the rounds of a
# fault that takes turns can be chosen.
quick=${RDISK_FAULTS_QUICK:-}

# often QUICK WHOLE: how often, or for how long
often()
{
    if [ -n "$quick" ]; then echo "$1"; else echo "$2"; fi
}

# ---- The writer -------------------------------------------------------

# writer_start VOLUME [OPTION…]: qemu-nbd on the volume, with a client that
# writes and compares until writer_ends.  Options are writer's.
writer_start()
{
    local options=${writer_uri:-reconnect-delay=120&heartbeat=2}
    ${writer_under:-} qemu-nbd -t -f raw -k "$work/nbd.sock" \
        "$(uri "$1?$options")" 2>"$work/nbd.log" &
    nbd=$!
    end_later $nbd
    wait_until 30 nbd_settled || true
    accepts "$work/nbd.sock" ||
        fail "qemu-nbd does not start: $(tail -n 1 "$work/nbd.log")"
    mkfifo "$work/words"
    : >"$work/writer"
    "$faults/writer" run "$work/nbd.sock" "$work/state" "${@:2}" \
        <"$work/words" >>"$work/writer" 2>&1 &
    writer=$!
    end_later $writer
    exec {words}>"$work/words"
    rm "$work/words"
    wait_until 20 grep -q ' blocks$' "$work/writer" || {
        tail -n 5 "$work/nbd.log"
        fail "$(tail -n 1 "$work/writer")"
    }
    answer_is
    pauses=() returns=()
}

nbd_settled()
{
    accepts "$work/nbd.sock" || gone "$nbd"
}

# True if there is a line more than before, or the writer has ended.
answered()
{
    [ "$(wc -l <"$work/writer")" -gt "$lines" ] || gone "$writer"
}

answer_is()
{
    lines=$(wc -l <"$work/writer")
    answer=$(tail -n 1 "$work/writer")
    ! grep -q '^writer: ' "$work/writer" || {
        tail -n 5 "$work/nbd.log" >&2
        fail "$(grep '^writer: ' "$work/writer")"
    }
}

# ask WORD SECONDS: sets `answer`
ask()
{
    answer_is
    echo "$1" >&"$words"
    wait_until "$2" answered ||
        fail "the writer did not go on within $(($2 * patience)) s:" \
            "$(tail -n 1 "$work/nbd.log")"
    answer_is
}

# The fault is over: measure the time to the next answer, and the pause that the
# fault has caused.
healed()
{
    ask next 60
    returns+=("$answer")
    # What waited goes out together; let it.
    sleep 0.3
    ask pause 20
    pauses+=("$answer")
}

# again ROUNDS COMMAND…: a writer on a volume, and so often the command, which
# hurts and heals; it may use `round`.  again_server has options of rdiskd.
again_server=()
again()
{
    local round
    start_server "${again_server[@]}"
    volume v 32M
    writer_start v
    for ((round = 0; round < $1; round++)); do
        sleep 0.$((RANDOM % 8 + 2))
        "${@:2}"
        healed
    done
    writer_ends "$pool/v"
    report "$1 rounds"
}

replace_server()
{
    kill_server
    start_server
}

# doze NAME SECONDS: the process in the variable sleeps
doze()
{
    freeze "${!1}"
    sleep $(($2 * slow))
    kill -CONT "${!1}"
}

# The one in the middle of some numbers.
median()
{
    printf '%s\n' "$@" | sort -g | sed -n "$((($# + 1) / 2))p"
}

# The largest of some numbers.
largest()
{
    printf '%s\n' "$@" | sort -g | tail -n 1
}

# writer_ends FILE: compare everything the volume, and then the server's FILE,
# holds with what was written, and tell how it went.
writer_ends()
{
    local status=0
    ask stop 120
    wait_until 20 gone "$writer" || fail "the writer does not end"
    wait "$writer" || status=$?
    equal "status of the writer" $status 0
    exec {words}>&-
    kill -TERM "$nbd"
    wait_until 20 gone "$nbd" || fail "qemu-nbd does not end"
    rm -f "$work/nbd.sock"
    "$faults/writer" check "$work/state" "$1" || fail "$answer, but the" \
        "server's file is not what was written"
    report "back in $(largest "${returns[@]}") s," \
        "longest pause $(largest "${pauses[@]}") s; $answer"
}

# ---- The network ------------------------------------------------------

# Its faults are verbs of the lab, which also makes the wire that they act on.
far_address=10.9.2.2
far=("$top/tests/lab/net" at 2) # prefix for what runs at the far end

# net WORD…: skips the check on kernels that lack what it takes
net()
{
    local status=0
    "$top/tests/lab/net" "$@" >"$work/net" 2>&1 || status=$?
    cat "$work/net"
    [ $status -ne 77 ] || skip "$(tail -n 1 "$work/net")"
    [ $status -eq 0 ] || fail "$(tail -n 1 "$work/net")"
}

# From now on the server is at the far end.
wire()
{
    net wire
    addr=$far_address
    server_under="${far[*]}"
}
