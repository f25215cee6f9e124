# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# shellcheck disable=SC2034 # some variables are for the tests
#
# What the tests share.  A test file sources this, defines functions whose
# names begin with check_ and say what they prove, and ends with run_checks.
# Each check runs in a process of its own that ends with the first command
# that fails; what it leaves running is ended.  Every wait is bounded.
set -u
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
top=$(realpath "$here/../..")
export PATH=$top/build/bin:$PATH:/usr/sbin:/sbin
export LC_ALL=C
addr=${RDISK_LAB_ADDR:-}
[ -n "${RDISK_LAB:-}" ] || {
    echo "$0: this runs in the lab: tests/e2e/run $(basename "$0" .sh)" >&2
    exit 2
}
work=$(mktemp -d "/dev/shm/rdisk-e2e.XXXXXX")
pool=$work/pool                 # its files are the server's volumes
control=$work/control           # the server's control socket
server_log=$work/server.log
port=7471
# shellcheck source=tests/e2e/state.sh
. "$here/state.sh"
catch_cores "$work"
# Times that the product counts itself, as a pause that it has to notice, are for
# a machine at its own speed; an emulated one gets more.
slow=1
[ "${RDISK_LAB_ENGINE:-}" != tcg ] || slow=4
# Limits of what will come, or else hangs, may be generous: they make no test that
# passes longer.  This factor is for machines that do other things meanwhile.  What
# has to come soon is measured on top of that, see at_most.
patience=$((4 * slow))
server=''                       # process of the server
chmod 755 "$work"
mkdir "$pool"

# ---- Results ----------------------------------------------------------

fail()
{
    echo "$*" >"$work/why"
    exit 1
}

skip()
{
    echo "$*" >"$work/why"
    exit 77
}

# What a check has measured goes behind its name.
report()
{
    echo "$*" >>"$work/report"
}

# The checks of this file, in their order.
run_checks()
{
    local check name status began failed=0
    # shellcheck disable=SC2013 # names of functions are words
    for check in $(sed -n 's/^\(check_[A-Za-z0-9_]*\)()$/\1/p' "$0"); do
        name=${check#check_}
        name=${name//_/ }
        [[ $name =~ ${RDISK_E2E_CHECKS:-} ]] || {
            echo "skip - $name: RDISK_E2E_CHECKS does not name it"
            continue
        }
        : >"$work/log"
        rm -f "$work/why" "$work/report"
        : >"$work/pids"
        rm -f "$work"/pool.*/* "$work"/core.*
        # Without a server of the whole file, each check begins with no volume.
        [ -n "$server" ] || rm -f "$pool"/* "$work"/server*.log
        began=$SECONDS
        # In the background, so that "set -e" holds in there.
        (
            set -eE
            trap 'echo "line $LINENO: $BASH_COMMAND" >>"$work/trace"' ERR
            rm -f "$work/trace"
            "$check"
        ) >"$work/log" 2>&1 &
        status=0
        wait $! || status=$?
        end_processes
        [ $status -ne 0 ] || [ -z "$(crashed "$work")" ] || {
            echo "$(crashed "$work") crashed" >"$work/why"
            status=1
        }
        tell "$name" $status || failed=1
        [ $((SECONDS - began)) -lt 10 ] || echo "#   $((SECONDS - began)) s"
    done
    stop_server || failed=1
    rm -rf "$work"
    exit $failed
}

# Returns 1 if the check failed.
tell()
{
    local why log logs
    case $2 in
    0)
        why=$(paste -sd';' "$work/report" 2>/dev/null) || true
        echo "ok - $1${why:+ ($why)}"
        return 0
        ;;
    77)
        echo "skip - $1: $(cat "$work/why")"
        return 0
        ;;
    esac
    why=$(cat "$work/why" 2>/dev/null || head -n 1 "$work/trace" 2>/dev/null)
    echo "not ok - $1: ${why:-status $2}"
    tail -n 30 "$work/log" | sed 's/^/#   /'
    log=$(compgen -G "$work/server*.log" | xargs -r ls -t | head -n 1)
    [ ! -s "$log" ] || {
        echo "#   the server's last words:"
        tail -n 12 "$log" | sed 's/^/#   /'
    }
    where_crashed "$work" >"$work/crashed"
    grep -a -A 12 '^#0 ' "$work/crashed" | head -n 20 | sed 's/^/#   /'
    mapfile -t logs < <(compgen -G "$work/*.log")
    log=$(keep_state "$(basename "$0" .sh)-$1" "$work/crashed" "${logs[@]}")
    echo "#   what was seen of the machine is kept in $log"
    return 1
}

# Note a process to be ended after the check.
end_later()
{
    echo "$1" >>"$work/pids"
}

end_processes()
{
    local pid
    while read -r pid; do
        end_process "$pid"
    done <"$work/pids"
}

# With what it runs, which would go on without it: timeout(1)'s command, say.
end_process()
{
    local child
    kill -CONT "$1" 2>/dev/null || return 0
    for child in $(pgrep -P "$1"); do
        end_process "$child"
    done
    kill -KILL "$1" 2>/dev/null
}

# ---- Waiting and comparing --------------------------------------------

# within SECONDS COMMAND…: it ends, or is ended
within()
{
    timeout -k 2 $(($1 * patience)) "${@:2}"
}

# wait_until SECONDS COMMAND…: until it succeeds
wait_until()
{
    local end=$((SECONDS + $1 * patience + 1))
    shift
    until "$@"; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.1
    done
}

gone()
{
    ! kill -0 "$1" 2>/dev/null
}

# Somebody listens at this socket of a file system; it is there a little earlier.
accepts()
{
    grep -q "^[^ ]* [^ ]* [^ ]* 00010000 .* $1\$" /proc/net/unix
}

# The text of a file has a match: says FILE REGEX.  A server's log is written by
# a thread of its own, some time after what it tells of.
says()
{
    wait_until 2 grep -qE -- "$2" "$1" || fail "'$(tail -n 1 "$1")' does not say '$2'"
}

equal()
{
    [ "$2" = "$3" ] || fail "$1 is $2, not $3"
}

at_most()
{
    [ "$2" -le "$3" ] || fail "$1 is $2, more than $3"
}

at_least()
{
    [ "$2" -ge "$3" ] || fail "$1 is $2, less than $3"
}

# refused REGEX SECONDS COMMAND…: it fails, in these words
refused()
{
    local regex=$1 limit=$(($2 * patience)) status=0 began=$SECONDS
    shift 2
    timeout -k 2 "$limit" "$@" >"$work/refused" 2>&1 || status=$?
    cat "$work/refused"
    [ $status -ne 124 ] && [ $status -ne 137 ] ||
        fail "'$*' was still running after $limit s"
    [ $status -ne 0 ] || fail "'$*' was not refused"
    [ $status -lt 128 ] || fail "'$*' died of signal $((status - 128))"
    says "$work/refused" "$regex"
    echo "# refused after $((SECONDS - began)) s"
}

# soon SECONDS COMMAND…: it takes no longer, at least once in three times: what has
# to wait for something does so each time, what is only kept from running does not
soon()
{
    local began tries spent
    for tries in 1 2 3; do
        began=$SECONDS
        "${@:2}"
        spent=$((SECONDS - began))
        [ $spent -gt $(($1 * slow)) ] || return 0
    done
    fail "'${*:2}' took $spent s, and more than $1 s each time"
}

# ---- Server and volumes -----------------------------------------------

# start_server [OPTION…]: with the pool, ready when this returns.  When there
# is one already, this is a second one, with a port and a pool of its own.
start_server()
{
    if [ -n "$server" ]; then
        port=$((port + 1))
        pool=$work/pool.$port
        control=$work/control.$port
        server_log=$work/server.$port.log
        mkdir -p "$pool"
    fi
    : >"$work/ready"
    ${server_under:-} rdiskd --config '' --pool "$pool" --listen "$addr" \
        --port "$port" --control "$control" --authentication none "$@" \
        >"$work/ready" 2>>"$server_log" </dev/null &
    server=$!
    end_later $server
    wait_until "${server_start_limit:-30}" server_settled || true
    grep -q '^rdiskd: serving' "$work/ready" ||
        fail "rdiskd does not start: $(tail -n 1 "$server_log")"
}

server_settled()
{
    grep -q '^rdiskd: serving' "$work/ready" || gone "$server"
}

# Cleanly, with status 0.
stop_server()
{
    local status=0
    [ -n "$server" ] || return 0
    kill -TERM "$server" 2>/dev/null || true
    wait_until "${server_stop_limit:-20}" gone "$server" || {
        kill -KILL "$server"
        echo "not ok - the server stops on SIGTERM: still there"
        return 1
    }
    wait "$server" || status=$?
    server=''
    [ $status -eq 0 ] || {
        echo "not ok - the server stops on SIGTERM: status $status"
        tail -n 5 "$server_log" | sed 's/^/#   /'
        return 1
    }
}

kill_server()
{
    kill -KILL "$server"
    wait_until 10 gone "$server" || fail "the server did not exit"
    server=''
}

# volume NAME SIZE: a new one
volume()
{
    within 20 rdisk create "$1" "$2" --control "$control"
}

uri()
{
    echo "rdma://$addr:$port/$1"
}

# stat_server EXPRESSION: a Python expression on the server's statistics, s
stat_server()
{
    within 20 rdisk stat --json --control "$control" >"$work/stat"
    python3 -Sc 'import json, sys
s = json.load(open(sys.argv[1]))
print(eval(sys.argv[2]))' "$work/stat" "$1"
}

no_sessions()
{
    local stat
    stat=$(within 20 rdisk stat --json --control "$control") &&
        [[ ${stat//[[:space:]]/} == *'"sessions":[]'* ]]
}

# not_in_use VOLUME
not_in_use()
{
    local stat
    stat=$(within 20 rdisk stat --json --control "$control") &&
        [[ ${stat//[[:space:]]/} != *"\"volume\":\"$1\""* ]]
}

# ---- QEMU's tools -----------------------------------------------------

# io VOLUME COMMAND…: commands of qemu-io on a volume
io()
{
    local volume=$1 command list=()
    shift
    for command in "$@"; do
        list+=(-c "$command")
    done
    within ${io_limit:-90} qemu-io -f raw --trace rdma_close \
        ${io_options:-} "${list[@]}" "$(uri "$volume")" >"$work/io" 2>&1 || {
        tail -n 5 "$work/io"
        fail "qemu-io: $(grep -v rdma_close "$work/io" | tail -n 1)"
    }
    ! grep -E 'failed|error' "$work/io" ||
        fail "qemu-io: $(grep -E 'failed|error' "$work/io" | head -n 1)"
}

# io_script VOLUME < COMMANDS, one a line.  As options, since qemu-io reads
# lines of 1 KiB only.
io_script()
{
    local commands
    mapfile -t commands
    io "$1" "${commands[@]}"
}

# A counter that the driver told when it last closed: closed NAME
closed()
{
    sed -n "s/.*rdma_close .* $1 \([0-9]*\).*/\1/p" "$work/io" | tail -n 1
}

# bench VOLUME OPTION…: qemu-img bench, whose memory is registered
bench()
{
    local volume=$1
    shift
    within 120 qemu-img -T rdma_close bench -f raw -t none "$@" \
        "$(uri "$volume")" >"$work/io" 2>&1 ||
        fail "qemu-img bench: $(tail -n 1 "$work/io")"
}

# An open client: client NAME URI [OPTION…], then say NAME COMMAND, and its
# answers in $work/NAME.out; the process is in ${client[NAME]}.
declare -A client=() client_in=()
client()
{
    local name=$1 fd
    mkfifo "$work/$name.in"
    : >"$work/$name.out"
    qemu-io -f raw "${@:3}" "$2" <"$work/$name.in" >>"$work/$name.out" 2>&1 &
    client[$name]=$!
    end_later $!
    exec {fd}>"$work/$name.in"
    client_in[$name]=$fd
    rm "$work/$name.in"
    say "$name" "length"
    answers "$name" '[KMGTPE]iB|[0-9]+ bytes' 20
    : >"$work/$name.out"
}

# One at a time, with the answer in between: qemu-io reads ahead.
say()
{
    echo "$2" >&"${client_in[$1]}"
}

# What a client has said, without its prompts.
said()
{
    sed 's/qemu-io> //g' "$work/$1.out" | grep -aqE -- "$2"
}

# Stop a process; SIGSTOP has its effect some time after kill(1) returns.
freeze()
{
    kill -STOP "$1"
    wait_until 10 frozen "$1" || fail "process $1 does not stop"
}

frozen()
{
    ! grep -LE '^State:[[:space:]]+T' /proc/"$1"/task/*/status | grep -q .
}

# answers NAME REGEX SECONDS
answers()
{
    wait_until "$3" said "$1" "$2" ||
        fail "client $1 did not say '$2': $(tail -n 1 "$work/$1.out")"
}

# unchanged SECONDS COMMAND…: what the command prints is the same at both ends of some
# such time, of three in a row.  What is on its way yet comes in the first; what
# comes again and again comes in each.
unchanged()
{
    local before after tries
    for tries in 1 2 3; do
        before=$("${@:2}")
        sleep "$1"
        after=$("${@:2}")
        [ "$before" != "$after" ] || return 0
    done
    echo "'${*:2}' said $before, and $1 s later $after"
    return 1
}

reactor_turns()
{
    stat_server 'sum(r["turns"] for r in s["reactors"])'
}

# reactors_sleep VOLUME: no reactor of the server does anything while a client
# that has read has nothing more to ask for
reactors_sleep()
{
    client idle "$(uri "$1")"
    say idle 'read 0 64k'
    answers idle '^read 65536/65536' 20
    unchanged 3 reactor_turns || fail "idle reactors do not sleep"
}
