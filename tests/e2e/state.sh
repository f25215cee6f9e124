# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# The state of the lab: what a test file must leave as it was, and what is kept
# to find the cause of a failure.

# ---- What is kept -------------------------------------------------------

# keep_state NAME [FILE…]: in a folder of that name in the output folder; prints
# where a person finds it
keep_state()
{
    local name=${1//[^A-Za-z0-9._-]/-} dir device
    [ -n "${RDISK_LAB_OUTPUT:-}" ] || return 0
    dir=$RDISK_LAB_OUTPUT/state/$name
    mkdir -p "$dir"
    dmesg >"$dir/dmesg" 2>&1
    {
        rdma link
        rdma resource show
        # Queue pair 1 among them, of the connection manager.
        rdma resource show qp
        rdma resource show cm_id
        rdma resource show cq
        rdma statistic
    } >"$dir/rdma" 2>&1
    ip -d -s addr >"$dir/addresses" 2>&1
    ip route show table all >"$dir/routes" 2>&1
    ps -eLo pid,ppid,tid,stat,wchan:24,etimes,args >"$dir/processes" 2>&1
    for device in /sys/class/infiniband/*/ports/1; do
        grep -s . "$device"/{state,gids/[0-9],gid_attrs/ndevs/[0-9]}
    done >"$dir/ports" 2>&1
    [ $# -eq 1 ] || cp "${@:2}" "$dir"
    echo "${RDISK_E2E_KEPT:-$RDISK_LAB_OUTPUT}/state/$name"
}

# From now on a program that crashes leaves a core in a folder: catch_cores DIR
catch_cores()
{
    [ "$RDISK_LAB_ENGINE" = native ] ||
        echo "$1/core.%p.%E" >/proc/sys/kernel/core_pattern
}

# The programs that left one: crashed DIR
crashed()
{
    local core
    for core in "$1"/core.*; do
        [ ! -e "$core" ] || echo "${core##*!}"
    done | sort -u | paste -sd' '
}

# A user-mode kernel's cores have the signal frame's magic where gdb wants to read
# which registers are saved, and refuses all else; that is 8 bytes behind.
mend_core()
{
    python3 -Sc 'import re, sys
with open(sys.argv[1], "r+b") as core:
    notes = core.read(1 << 20)
    for magic in re.finditer(b"SXPF", notes):
        core.seek(magic.start())
        core.write(notes[magic.start() + 8:magic.start() + 16])' "$1"
}

# where_crashed DIR: their threads, as gdb sees them
where_crashed()
{
    local core program
    command -v gdb >/dev/null || return 0
    for core in "$1"/core.*; do
        [ -e "$core" ] || continue
        program=${core#*/core.*.}
        [ "$RDISK_LAB_ENGINE" != uml ] || mend_core "$core"
        echo "$core:"
        gdb -batch -ex 'thread apply all bt' "${program//!//}" "$core" 2>&1
    done
}

# ---- What a file must leave as it was -----------------------------------

# Processes of the file NAME, which has RDISK_E2E_FILE=NAME in its environment.
processes_of()
{
    grep -lzx "RDISK_E2E_FILE=$1" /proc/[0-9]*/environ 2>/dev/null |
        cut -d/ -f3
}

# no_process_left NAME: ends what is there, and fails with its command lines.
# Those that were killed need a moment.
no_process_left()
{
    local tries pid left=''
    for ((tries = 50; tries > 0; tries--)); do
        [ -n "$(processes_of "$1")" ] || return 0
        sleep 0.1
    done
    for pid in $(processes_of "$1"); do
        left+="$pid ($(tr '\0' ' ' <"/proc/$pid/cmdline" | cut -c1-60)) "
        kill -KILL "$pid"
    done
    echo "it leaves processes: $left"
    return 1
}

# Objects that programs have in the lab's RDMA devices.
objects_of_programs()
{
    { rdma resource show qp; rdma resource show cm_id; } 2>/dev/null |
        grep ' pid '
}

# On a machine that is its own lab other programs use the devices too.
no_object_left()
{
    local tries
    [ "$RDISK_LAB_ENGINE" != native ] || return 0
    for ((tries = 150; tries > 0; tries--)); do
        objects_of_programs >/dev/null || return 0
        sleep 0.1
    done
    echo "objects are left in an RDMA device:" \
        "$(objects_of_programs | head -n 1)"
    return 1
}

# Without queue pair 1 of its device no program connects.
connection_managers_work()
{
    local wrong
    wrong=$(rdma resource show qp 2>/dev/null | grep ' lqpn 1 type GSI ' |
        grep -v ' state RTS ')
    [ -n "$wrong" ] || return 0
    echo "the connection manager of a device is broken: $wrong"
    return 1
}

listens()
{
    rdma resource show cm_id 2>/dev/null | grep LISTEN | grep -q ":$1 "
}

# connects ADDRESS: two programs that know nothing of rdisk, once
connects_once()
{
    local port=7990 server tries status=0
    timeout -s KILL 40 rping -s -C 1 -a "$1" -p $port >/dev/null 2>&1 &
    server=$!
    for ((tries = 50; tries > 0; tries--)); do
        ! listens $port || break
        sleep 0.1
    done
    timeout -s KILL 15 rping -c -C 1 -a "$1" -p $port >/dev/null 2>&1 ||
        status=$?
    [ $status -eq 0 ] || kill -KILL $server 2>/dev/null
    wait $server 2>/dev/null || true
    return $status
}

connects()
{
    connects_once "$1" || connects_once "$1" || {
        echo "rping does not connect to itself at $1"
        return 1
    }
}

# Or prints what is wrong, and fails: then what comes later needs another boot.
state_is_good()
{
    local address
    [ -n "${RDISK_LAB_ADDR:-}" ] && command -v rdma rping >/dev/null || return 0
    no_object_left && connection_managers_work || return 1
    # shellcheck disable=SC2153 # the lab sets it
    for address in "$RDISK_LAB_ADDR" "$RDISK_LAB_ADDR2"; do
        connects "$address" || return 1
    done
}
