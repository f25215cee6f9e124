# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# QEMU under QMP: machines whose guest is bootdisk.S, and storage daemons.
# Each has a name; its socket is $work/NAME.qmp, what it says $work/NAME.log.

declare -A vm=()                # processes by name

# launched NAME PROGRAM OPTION…: it runs and answers
launched()
{
    local name=$1
    shift
    rm -f "$work/$name.qmp"
    "$@" >"$work/$name.log" 2>&1 </dev/null &
    vm[$name]=$!
    end_later $!
    wait_until 30 accepts "$work/$name.qmp" ||
        fail "${1##*/}: $(tail -n 1 "$work/$name.log")"
    qmp "$name" query-version >/dev/null
}

# machine NAME OPTION…: with 32 MiB of memory and the firmware's console off; of
# the program $qemu, if that is set
machine()
{
    local name=$1
    shift
    launched "$name" "${qemu:-qemu-system-x86_64}" -M pc -accel tcg -cpu qemu64,cx16=off \
        -m 32 -nodefaults -no-user-config -nic none -vga none -display none \
        -serial "file:$work/$name.serial" \
        -qmp "unix:$work/$name.qmp,server=on,wait=off" "$@"
}

# daemon NAME OPTION…
daemon()
{
    local name=$1
    shift
    launched "$name" qemu-storage-daemon \
        --chardev "socket,id=qmp,path=$work/$name.qmp,server=on,wait=off" \
        --monitor chardev=qmp "$@"
}

# qmp NAME COMMAND [ARGUMENTS]; what it says when it fails is in $work/qmp.err
qmp()
{
    "$here/qmp" "$work/$1.qmp" "${@:2}" 2>"$work/qmp.err" || {
        cat "$work/qmp.err"
        [ -n "${qmp_may_fail:-}" ] || fail "$(tail -n 1 "$work/qmp.err")"
        return 1
    }
}

# qmp_refused REGEX NAME COMMAND [ARGUMENTS]
qmp_refused()
{
    local regex=$1
    shift
    ! qmp_may_fail=1 qmp "$@" || fail "'$2' was not refused"
    says "$work/qmp.err" "$regex"
}

# Cleanly; its answer may be lost with the connection
quit()
{
    qmp_may_fail=1 qmp "$1" quit >/dev/null || true
    wait_until 20 gone "${vm[$1]}" || fail "$1 does not quit"
    wait "${vm[$1]}" || fail "$1 ended with $?: $(tail -n 1 "$work/$1.log")"
}

# vm_io NAME NODE COMMAND…: of qemu-io, which tells QEMU's log
vm_io()
{
    local name=$1 node=$2 command before
    shift 2
    before=$(stat -c %s "$work/$name.log")
    for command in "$@"; do
        qmp "$name" human-monitor-command \
            "{\"command-line\": \"qemu-io $node \\\"$command\\\"\"}" \
            >"$work/returned"
        grep -qx '""' "$work/returned" || fail "$(cat "$work/returned")"
    done
    ! tail -c +$((before + 1)) "$work/$name.log" | grep -aE 'failed|error' ||
        fail "qemu-io: $(tail -n 1 "$work/$name.log")"
}

# The options of a node: node NAME VOLUME [MEMBER…], in JSON
node()
{
    local name=$1 volume=$2 member
    shift 2
    printf '{"driver": "rdma", "node-name": "%s", "volume": "%s",' \
        "$name" "$volume"
    for member in "$@"; do
        printf ' %s,' "$member"
    done
    printf ' "server": {"host": "%s", "port": "%s"}}\n' "$addr" "$port"
}

# The same for the tools: image VOLUME [PREFIX], e.g. of PREFIX "file."
image()
{
    echo "${2:-}driver=rdma,${2:-}server.host=$addr,${2:-}server.port=$port,${2:-}volume=$1"
}

# from NAME COMMAND ARGUMENTS EXPRESSION: of Python, on what it returns, r
from()
{
    qmp "$@"
}

# capacity NAME NODE: the length that the node's users know
capacity()
{
    from "$1" query-named-block-nodes '{}' \
        "[n['image']['virtual-size'] for n in r if n['node-name'] == '$2'][0]"
}

has_capacity()
{
    [ "$(capacity "$1" "$2")" = "$3" ]
}

# copied NAME NODE: bytes that the driver has copied for a node
copied()
{
    from "$1" query-blockstats '{"query-nodes": true}' \
        "[n['driver-specific']['copied-bytes'] for n in r
          if n.get('node-name') == '$2'][0]"
}

no_job()
{
    [ "$(from "$1" query-jobs '{}' 'len(r)')" = 0 ]
}

# A job has ended well, and is forgotten: job_done NAME JOB SECONDS
job_done()
{
    local name=$1 job=$2
    wait_until "$3" job_is "$name" "$job" concluded ||
        fail "job $job is not done after $3 s: $(qmp "$name" query-jobs)"
    equal "the error of job $job" "$(from "$name" query-jobs '{}' \
        "[j.get('error') for j in r if j['id'] == '$job'][0]")" None
    qmp "$name" job-dismiss "{\"id\": \"$job\"}" >/dev/null
}

job_is()
{
    [ "$(from "$1" query-jobs '{}' \
        "[j['status'] for j in r if j['id'] == '$2'][0]")" = "$3" ]
}

# ---- Migration -------------------------------------------------------

# start_migration FROM TO: of machines
start_migration()
{
    qmp "$1" migrate "{\"uri\": \"unix:$work/$2.socket\"}" >/dev/null
}

# migration_is NAME REGEX: its status
migration_is()
{
    from "$1" query-migrate '{}' 'r.get("status")' >"$work/status"
    grep -qxE "$2" "$work/status"
}

# migration_ends NAME STATUS
migration_ends()
{
    wait_until 120 migration_is "$1" 'completed|failed|cancelled' ||
        fail "migration is $(cat "$work/status") after 120 s"
    equal "the migration" "$(cat "$work/status")" "$2"
}

status_is()
{
    from "$1" query-status '{}' 'r["status"]' >"$work/status"
    grep -qxE "$2" "$work/status"
}

migrate()
{
    start_migration "$1" "$2"
    migration_ends "$1" completed
    # A guest that was about to end may be off already.
    wait_until 20 status_is "$2" 'running|shutdown' || fail "$2 does not run"
}

# With "pause-before-switchover" there is a moment to let things fail in.
pause_before_switchover()
{
    qmp "$1" migrate-set-capabilities '{"capabilities": [
        {"capability": "pause-before-switchover", "state": true}]}' >/dev/null
}

nobody_else_may_write()
{
    refused "is being written by" 20 \
        qemu-io -f raw -c 'write 3M 4k' "$(uri "$1")"
}

gave_it_up()
{
    [ "$(stat_server "sum(1 for s in s['sessions']
        if not s['read_only'])")" = 0 ]
}

# ---- The guest of one sector ------------------------------------------

# boot_program NAME: $work/NAME.bin, which the firmware boots, of NAME.S
boot_program()
{
    [ ! -e "$work/$1.bin" ] || return 0
    as --32 -o "$work/$1.o" "$here/$1.S"
    objcopy -O binary -j .text "$work/$1.o" "$work/$1.bin"
}

# boot_volume NAME [PROGRAM]: a new volume with the guest on it
boot_volume()
{
    local program=${2:-bootdisk}
    boot_program "$program"
    volume "$1" 4M
    io "$1" "write -q -s $work/$program.bin 0 $(
        stat -c %s "$work/$program.bin")"
}

# How often a guest has told that it goes on
rounds()
{
    tr -cd . <"$work/$1.serial" | wc -c
}

has_rounds()
{
    [ "$(rounds "$1")" -ge "$2" ] || ! sound "$1"
}

sound()
{
    ! grep -aq '[EX]' "$work/$1.serial"
}

# goes_on NAME [N]: its guest does I/O, without an error, N times more
goes_on()
{
    local before
    before=$(rounds "$1")
    wait_until 150 has_rounds "$1" $((before + ${2:-3})) ||
        fail "the guest of $1 makes no progress: $(tail -c 60 "$work/$1.serial")"
    sound "$1" || fail "the guest of $1: $(tail -c 60 "$work/$1.serial")"
}

# whole VOLUME [UNIT]: the file of a stopped guest's volume holds what its last
# rounds wrote.  UNIT is what the controller writes in one request, in bytes: a
# guest that is stopped in the midst of its last round has written a part of it.
whole()
{
    python3 -S - "$pool/$1" "${2:-4096}" <<'END' || fail "volume '$1' is not whole"
import struct
import sys

BLOCKS, SIZE, FIRST = 512, 4096, 64 * 512
data = open(sys.argv[1], "rb").read()
unit = int(sys.argv[2])
found = []
for n in range(BLOCKS):
    at = FIRST + n * SIZE
    found.append(struct.unpack(f"<{SIZE // 4}I", data[at:at + SIZE]))
last = max(map(max, found))
for n, words in enumerate(found):
    value = max(last - (last - n) % BLOCKS, 0)
    done = SIZE // 4
    if value == last:
        done = words.count(last)
        if done * 4 % unit:
            sys.exit(f"{done * 4} bytes of round {last} are not whole requests")
    wanted = (value,) * done + (max(last - BLOCKS, 0),) * (SIZE // 4 - done)
    if words != wanted:
        sys.exit(f"block {n} of round {value}, the last is {last}, holds "
                 f"{sorted(set(words))[:4]}")
print(f"# {last} rounds are whole")
END
}
