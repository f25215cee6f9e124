#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# One of two servers hangs, and the heartbeat has not noticed yet: what QMP does
# with its disk does not stop the guest, whose disk is on the other one.
# quick-lab: guests boot
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=tests/e2e/qemu.sh
. "$here/qemu.sh"

# guest [MEMBER…]: machine g boots from the first server; $other are the
# options of a node on the second
guest()
{
    local good
    start_server
    boot_volume good
    good=$(node disk good)
    start_server
    volume idle 4M
    other=$(node other idle '"reconnect-delay": 60' "$@")
    machine g -blockdev "$good" -device virtio-blk-pci,drive=disk,bootindex=0
    goes_on g 3
}

# quickly LIMIT-IN-MS COMMAND [ARGUMENTS]: once in three times, as a machine that
# does other things may stop everything for a while
quickly()
{
    local limit=$(($1 * slow)) tries
    for tries in 1 2 3; do
        asked "${@:2}"
        [ "$ms" -gt "$limit" ] || return 0
    done
    fail "$2 took $ms ms, and more than $limit ms each time"
}

# asked COMMAND [ARGUMENTS]: the time that it takes, in $ms
asked()
{
    local began
    began=$(date +%s%N)
    timeout 100 "$here/qmp" "$work/g.qmp" "$@" >"$work/returned" ||
        fail "$1: $(cat "$work/returned")"
    ms=$((($(date +%s%N) - began) / 1000000))
    report "$1: $ms ms"
}

check_a_query_while_a_server_hangs_is_answered_at_once()
{
    guest
    qmp g blockdev-add "$other" >/dev/null
    asked query-block
    freeze "$server"
    # The first one asks the server, and gives up after a second.
    asked query-named-block-nodes '{"flat": true}'
    at_most ms "$ms" $((6000 * slow))
    quickly 1000 query-named-block-nodes '{"flat": true}'
    goes_on g 3
}

check_a_query_is_answered_at_once_without_heartbeat_too()
{
    guest '"heartbeat": 0'
    qmp g blockdev-add "$other" >/dev/null
    freeze "$server"
    asked query-named-block-nodes '{"flat": true}'
    at_most ms "$ms" $((6000 * slow))
}

check_a_query_tells_what_was_known_of_a_server_that_hangs()
{
    guest
    io idle 'write -q 0 1M'
    qmp g blockdev-add "$other" >/dev/null
    equal "allocated size" "$(allocated)" 1048576
    freeze "$server"
    equal "allocated size" "$(allocated)" 1048576
}

allocated()
{
    from g query-named-block-nodes '{"flat": true}' "[n['image']['actual-size']
        for n in r if n['node-name'] == 'other'][0]"
}

check_a_query_tells_what_the_volume_takes_up_now()
{
    guest
    qmp g blockdev-add "$other" >/dev/null
    equal "allocated size" "$(allocated)" 0
    vm_io g other 'write -q 0 1M'
    equal "allocated size" "$(allocated)" 1048576
    quit g
}

check_an_idle_disk_of_a_server_that_hangs_is_removed_soon()
{
    guest
    qmp g blockdev-add "$other" >/dev/null
    freeze "$server"
    asked blockdev-del '{"node-name": "other"}'
    # It does not wait for open-timeout, 10 s.
    at_most ms "$ms" $((8000 * slow))
    goes_on g 3
    quit g
}

# Its session is closed when the server goes on.
check_the_session_of_a_removed_disk_closes_in_the_background()
{
    guest '"open-timeout": 30'
    qmp g blockdev-add "$other" >/dev/null
    freeze "$server"
    asked blockdev-del '{"node-name": "other"}'
    kill -CONT "$server"
    wait_until 20 no_sessions || fail "the session is still there"
    ! grep 'not closed' "$work/g.log" || fail "it was not closed cleanly"
    goes_on g 3
    quit g
}

check_a_guest_goes_on_while_a_disk_of_a_server_that_hangs_is_added()
{
    local before
    guest '"open-timeout": 5'
    freeze "$server"
    before=$(rounds g)
    ! qmp_may_fail=1 qmp g blockdev-add "$other" || fail "it was added"
    report "$(($(rounds g) - before)) rounds of the guest meanwhile"
    goes_on g 3
    quit g
}

run_checks
