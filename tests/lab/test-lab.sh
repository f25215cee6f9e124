#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck disable=SC2016 # the lab's shell expands, not this one
#
# Tests of the lab itself: each check is one line, "ok - name" or
# "not ok - name", and the exit status tells whether all passed.
#
#   tests/lab/test-lab.sh [ENGINE]
set -u
here=$(dirname "$(realpath "$0")")
engine=${1:-$("$here/lab" --no-rdma --print-engine)} || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
cd "$work" || exit 1
# What it says once per boot of this machine.
"$here/lab" --engine "$engine" --print-engine >/dev/null

# Run the lab: its status in `status`, its output in files out and err.
lab()
{
    status=0
    "$here/lab" --engine "$engine" --time-limit 180 --log "$work/log" "$@" \
        >"$work/out" 2>"$work/err" </dev/null || status=$?
}

# check NAME COMMAND…: the command succeeds
check()
{
    local name=$1
    shift
    if "$@"; then
        echo "ok - $name"
        return
    fi
    echo "not ok - $name"
    echo "# $* (status $status); stdout and stderr of the lab:"
    head -n 20 "$work/out" "$work/err" | sed 's/^/# /'
    failed=1
}

is() { [ "$1" = "$2" ]; }
says() { grep -q -- "$2" "$work/$1"; }

# One run for all that a healthy lab does.
huge=(--hugepages 16)
[ "$engine" != uml ] || huge=()
mkdir "$work/out folder"
echo precious >"$work/precious"
export RDISK_TEST_WORD='two  words $HOME'
secret=no lab --output "$work/out folder" --env SET='a "b"' "${huge[@]}" -- \
    bash -c '
    echo "to stdout"
    echo "to stderr" >&2
    echo "word=$RDISK_TEST_WORD set=$SET secret=${secret:-none}"
    echo "folder=$PWD lab=$RDISK_LAB"
    echo "output" >"$RDISK_LAB_OUTPUT/file"
    echo spoilt >"'"$work"'/precious"
    rdma link | sed "s/^link /device /"
    grep -s HugePages_Total /proc/meminfo | tr -d " "
    echo "memlock=$(ulimit -l)"
    [ -w /tmp ] && [ -w /dev/shm ] && [ -c /dev/loop-control ] && echo writable
    . '"$here"'/../e2e/state.sh
    connects "$RDISK_LAB_ADDR" && echo "ping 1"
    connects "$RDISK_LAB_ADDR2" && echo "ping 2"
    sleep 1000 &
    exit 37'
check "the command's exit status comes back" is "$status" 37
check "stdout comes back" says out '^to stdout$'
check "stderr comes back apart" says err '^to stderr$'
check "nothing else is in stderr" is "$(wc -l <"$work/err")" 1
check "RDISK_ variables are passed as they are" \
    says out '^word=two  words \$HOME '
check "--env sets a variable" says out ' set=a "b" '
check "other variables stay out" says out 'secret=none'
check "the command runs in the caller's folder" says out "^folder=$work lab=1"
check "what it writes in the output folder comes back" \
    is "$(cat "$work/out folder/file")" output
check "what it writes elsewhere does not" is "$(cat "$work/precious")" precious
check "there are two RDMA devices" \
    is "$(grep -c '^device rxe.*ACTIVE' "$work/out")" 2
check "the first address answers over RDMA" says out '^ping 1$'
check "the second address answers over RDMA" says out '^ping 2$'
check "locked memory is unlimited" says out '^memlock=unlimited$'
check "/tmp, /dev/shm and loop devices are usable" says out '^writable$'
check "the kernel's log is kept where asked" says log 'Linux version'
if [ "$engine" != uml ]; then
    check "huge pages are set aside" says out '^HugePages_Total:16$'
fi

# Its pages are not adjacent: each is a mapping of the host's, which by default
# allows 65530.
lab --no-rdma -- python3 -Sc '
import mmap, random
pages = list(range(80000))
random.seed(1)
random.shuffle(pages)
memory = mmap.mmap(-1, len(pages) << 12)
for page in pages:
    memory[page << 12] = 1
print("touched")'
check "a program may have many pages anywhere" says out '^touched$'

lab --no-rdma -- bash -c 'ls /sys/class/infiniband 2>/dev/null | wc -l
    echo "address=${RDISK_LAB_ADDR:-none}"; kill -9 $$'
check "--no-rdma: no RDMA device" says out '^0$'
check "--no-rdma: no address" says out '^address=none$'
check "a killed command is status 128 + signal" is "$status" 137

lab --time-limit 25 -- bash -c 'echo begun; sleep 1000'
check "the time limit ends a run with 124" is "$status" 124
check "the time limit keeps the output" says out '^begun$'
check "the time limit is explained" says err 'not finished after 25 s'

lab -- bash -c 'echo "BUG: soft lockup - made up" >/dev/kmsg; echo done'
check "a soft lockup fails a run that succeeded" is "$status" 125
check "the kernel's complaint is shown" says err 'soft lockup - made up'
check "the command's output is not lost" says out '^done$'

# The init calls busybox to power off: this one never does, and says what a
# user-mode kernel says that hangs in its shutdown.
idle='bad: scheduling from the idle thread!'
lingering='printf "%s\n" "#!/bin/sh" "echo \"<3>$1\" >/dev/kmsg" "sleep 1000" \
        >/run/busybox
    chmod +x /run/busybox
    mount --bind /run/busybox "$(command -v busybox)"
    echo kept >"$RDISK_LAB_OUTPUT/kept"
    echo done; exit 7'
began=$SECONDS
lab --output "$work/out folder" -- bash -c "$lingering" - "$idle"
check "a machine that does not power off leaves the command's status" \
    is "$status" 7
check "it is ended long before the time limit" \
    test $((SECONDS - began)) -lt 120
check "nothing that it wrote is lost" \
    is "$(cat "$work/out" "$work/out folder/kept" | paste -sd' ')" "done kept"
check "what it said in its shutdown is no complaint, but logged" says log "$idle"
check "nothing is said of it" is "$(wc -l <"$work/err")" 0

lab -- bash -c 'echo "<3>$1" >/dev/kmsg; echo done' - "$idle"
check "the same said before fails a run that succeeded" is "$status" 125

lab --allow 'made up' -- \
    bash -c 'echo "BUG: soft lockup - made up" >/dev/kmsg; exit 3'
check "--allow lets a complaint pass" is "$status" 3

lab -- bash -c 'echo begun; sleep 0.5; echo c >/proc/sysrq-trigger; sleep 100'
check "a crash of the kernel fails the run" is "$status" 125
check "a crash is shown" says err 'sysrq triggered crash\|Kernel panic'
check "a crash keeps the output" says out '^begun$'

# The faults, each followed by what passes the wire.  The machine has no wire at
# first, and its devices answer themselves.  On a lossy wire the check has two
# attempts: a lost message of the connection manager is sent again after 4 s, and
# an attempt ends after 15 s, so a few losses in a row fail it by chance.
lab -- bash -c '
    rdma-lab net loss 5% || echo "without a wire: $?"
    rdma-lab net wire || echo "no wire: $?"
    rdma-lab net loss 5% delay 1ms &&
        { rdma-lab net check || rdma-lab net check; } && echo "lossy"
    rdma-lab net show | grep ^fault
    tc qdisc show dev near0 | grep -o "delay 1ms.*loss 5%"
    rdma-lab net restore && tc qdisc show dev near0 | grep -c netem
    rdma-lab net flap 0.5s && rdma-lab net check && echo "after a flap"
    rdma-lab net --end 2 down
    cat /sys/class/net/near0/carrier
    rdma-lab net restore
    rdma-lab net --end 1 drop cm && ! timeout 4 rdma-lab net check &&
        echo "nobody connects"
    rdma-lab net restore
    rdma-lab net unplug && rdma link | grep -c "rxnear\|rxfar"
    rdma-lab net restore && rdma-lab net check && echo "plugged again"
    rdma-lab net show | grep -c ^fault
    rdma-lab net loss much || echo "a wrong word: $?"'
if grep -q '^no wire: 77' "$work/out"; then
    echo "skip - faults: $(tail -n 1 "$work/err")"
else
    check "a fault without a wire is refused" says out '^without a wire: 1'
    check "RDMA passes a lossy wire" says out '^lossy'
    check "the faults in effect are shown" \
        says out '^fault: netem-2 loss 5% delay 1ms'
    check "netem acts at an end" says out '^delay 1ms *loss 5%'
    check "a link flaps" says out '^after a flap'
    check "a link that is down at one end has no carrier at the other" \
        is "$(sed -n '/^after a flap/{n;p}' "$work/out")" 0
    check "packets of an opcode are dropped" says out '^nobody connects'
    check "an unplugged device is gone" \
        is "$(sed -n '/^nobody connects/{n;p}' "$work/out")" 0
    check "restore undoes all of it" \
        is "$(sed -n '/^plugged again/{n;p}' "$work/out")" 0
    check "a wrong word of netem is refused" says out '^a wrong word: 2'
fi

# Two machines.
lab --nodes 2 -- bash -c '
    rdma-lab net check && echo "they reach each other"
    before=$(cat /sys/class/net/lab0/statistics/tx_packets)
    rdma-lab net check
    [ $(($(cat /sys/class/net/lab0/statistics/tx_packets) - before)) -ge 6 ] &&
        echo "past a network interface"
    rdma-lab net --end 1 loss 100% && ! rdma-lab net check &&
        echo "nothing passes"
    rdma-lab net restore && rdma-lab net check && echo "restored"
    rdma-lab on 2 bash -c "exit 5" || echo "status of the other: $?"'
check "two machines reach each other" says out '^they reach each other'
check "packets between them pass a network interface" \
    says out '^past a network interface'
check "netem acts on what is between them" says out '^nothing passes'
check "and no longer when it is restored" says out '^restored'
check "the status of a command on the other machine comes back" \
    says out '^status of the other: 5'

# As on a fresh runner whose cache has the kernel, and nothing else.
mkdir "$work/cache"
for entry in "${RDISK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rdisk}"/{uml,kernel}-*; do
    [ ! -d "$entry" ] || ln -s "$entry" "$work/cache/"
done
limit=15
[ "$engine" != tcg ] || limit=60
began=${EPOCHREALTIME/./}
RDISK_CACHE=$work/cache lab -- ibv_devinfo -d rxe0
took=$(((${EPOCHREALTIME/./} - began) / 1000))
check "the first verb works" says out 'PORT_ACTIVE'
check "it is there within $limit s: after $took ms" [ $took -lt $((limit * 1000)) ]

# Ctrl-C, as the terminal sends it: to the whole process group.  A shell
# starts background processes with SIGINT ignored, hence env.  The file still has
# what the last run said, until that process empties it.
: >"$work/out"
env --default-signal=INT setsid "$here/lab" --engine "$engine" \
    --time-limit 180 -- bash -c 'echo begun; sleep 1000' \
    >"$work/out" 2>"$work/err" &
group=$!
for ((tries = 600; tries > 0; tries--)); do
    ! says out begun || break
    sleep 0.1
done
kill -INT -- "-$group"
status=0
wait "$group" || status=$?
check "an interrupt ends the run" is "$status" 130
check "an interrupt leaves no process behind" \
    is "$(pgrep -g "$group" | wc -l)" 0

# Tests that share boots: one file breaks what the others need.
mkdir "$work/tests"
cat >"$work/tests/test-1-breaks.sh" <<'END'
check_one()
{
    rping -s -a "$RDISK_LAB_ADDR" >/dev/null 2>&1 &
    sleep 2
    rping -c -C 1000000 -a "$RDISK_LAB_ADDR" >/dev/null 2>&1 &
    sleep 2
    # The kernel says goodbye for it, while the interface is down.
    ip link set lab0 down
    kill -KILL $!
    sleep 1
    ip link set lab0 up
}
check_one
echo "ok - one"
sleep 1000 &
END
cat >"$work/tests/test-2-dies.sh" <<'END'
check_two()
{
    echo c >/proc/sysrq-trigger
}
check_two
END
cat >"$work/tests/test-3-passes.sh" <<'END'
check_three()
{
    grep -q ' sq-psn 0 ' <(rdma resource show qp link rxe0/1) &&
        echo "ok - three, in a fresh boot"
}
check_three
END
status=0
[ "$engine" = native ] ||
    "$here/../e2e/run" --engine "$engine" --labs 1 --tests "$work/tests" \
        --log "$work/out" >/dev/null 2>"$work/err" || status=$?
breaks='leaves a machine on which others can go on: .* is broken:'
check "a file that breaks RDMA has failed" \
    says out "^not ok - test-1-breaks $breaks"
check "a file that leaves processes has failed" \
    says out '^not ok - test-1-breaks leaves no process behind: .*rping'
check "the state of the devices is kept" \
    grep -q 'lqpn 1 .*state ERR' "$here"/../../build/logs/tests/state/*/rdma
check "a file whose machine dies has failed" \
    says out '^not ok - test-2-dies ends: its machine ended before'
check "the files after them pass" says out '^ok - three, in a fresh boot'

lab --engine nonsense -- true
check "an unknown engine is refused" is "$status" 2
lab --cpus many -- true
check "a bad number is refused" is "$status" 2
lab --kernel 9.99 -- true
if [ "$engine" != uml ]; then
    check "an unknown kernel is refused" says err "kernel '9.99'"
else
    check "a kernel that this engine cannot boot is refused" is "$status" 2
fi
lab --engine auto --kernel 6.12 --print-engine
check "a kernel that was asked for is not replaced by the user-mode one" \
    grep -qv uml "$work/out"
lab -- /no/such/program
check "a missing program is status 127" is "$status" 127

exit $failed
