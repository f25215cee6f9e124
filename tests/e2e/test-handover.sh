#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The right to write goes from one QEMU to another, as in a migration but without
# a guest: nodes that are told to become inactive, and active.
# quick-lab: many QEMUs start
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=tests/e2e/qemu.sh
. "$here/qemu.sh"

nobody_else_may_write()
{
    refused "is being written by" 20 \
        qemu-io -f raw -c 'write 3M 4k' "$(uri "$1")"
}

# set_active NAME BOOLEAN: arguments of blockdev-set-active
set_active()
{
    echo "{\"node-name\": \"$1\", \"active\": $2}"
}

sleeper()
{
    daemon "$1" --blockdev "$(node disk "$2" '"active": false' \
        '"open-timeout": '"${3:-3}")"
}

check_an_inactive_node_lets_another_client_write()
{
    volume asleep 4M
    sleeper left asleep
    io asleep 'write -q -P 1 0 64k'
    qmp left blockdev-set-active "$(set_active disk true)" >/dev/null
    nobody_else_may_write asleep
    qmp left blockdev-set-active "$(set_active disk false)" >/dev/null
    io asleep 'read -q -P 1 0 64k' 'write -q -P 2 0 64k'
    quit left
}

check_activation_waits_for_the_old_owner_to_go()
{
    volume soon 4M
    client owner "$(uri soon)"
    sleeper left soon 20
    { sleep 2; say owner quit; } &
    qmp left blockdev-set-active "$(set_active disk true)" >/dev/null
    nobody_else_may_write soon
    quit left
}

check_activation_is_refused_when_the_old_owner_stays()
{
    volume never 4M
    client owner "$(uri never)"
    sleeper left never 2
    soon 8 qmp_refused "'never' is being written by $addr" left \
        blockdev-set-active "$(set_active disk true)"
    say owner 'write -P 3 0 64k'
    answers owner '^wrote 65536/65536' 20
    # It still reads, and becomes active when it can.
    say owner quit
    wait_until 10 gone "${client[owner]}"
    qmp left blockdev-set-active "$(set_active disk true)" >/dev/null
    quit left
}

# An export that writes objects after the driver was asked.
check_a_refused_inactivation_leaves_the_writer_writing()
{
    volume busy 4M
    daemon left --blockdev "$(node disk busy)" \
        --nbd-server "addr.type=unix,addr.path=$work/nbd" \
        --export nbd,id=e,node-name=disk,name=x,writable=on
    qmp_refused 'Failed to inactivate' left \
        blockdev-set-active "$(set_active disk false)"
    within 20 qemu-io -f raw -c 'write -q -P 5 0 64k' -c flush \
        "nbd+unix:///x?socket=$work/nbd"
    nobody_else_may_write busy
    quit left
    io busy 'read -q -P 5 0 64k'
}

check_a_node_without_its_server_does_not_become_inactive()
{
    start_server
    volume alone 4M
    daemon left --blockdev "$(node disk alone '"open-timeout": 2' \
        '"reconnect-delay": 30' '"heartbeat": 30')"
    kill -STOP "$server"
    qmp_refused 'Failed to inactivate' left \
        blockdev-set-active "$(set_active disk false)"
    says "$work/left.log" "(cannot release the write lease of|cannot flush) volume 'alone'"
    kill -CONT "$server"
    nobody_else_may_write alone
    quit left
}

# on_leased NAME: a server that keeps a volume for a writer that is away, and a
# node that writes, left
on_leased()
{
    start_server --lease-time 40
    volume "$1" 4M
    daemon left --blockdev "$(node disk "$1" '"open-timeout": 5' \
        '"reconnect-delay": 60')" \
        --nbd-server "addr.type=unix,addr.path=$work/nbd"
}

# By the time that the server is back, the next attempt to connect is seconds
# away.
restarted_server()
{
    kill_server
    sleep 4
    start_server --lease-time 40
}

check_a_node_whose_server_was_restarted_gives_up_writing_to_the_next()
{
    local began
    on_leased handed
    restarted_server
    qmp left blockdev-set-active "$(set_active disk false)" >/dev/null
    ! grep 'not closed' "$work/left.log" || fail "it was not closed cleanly"
    sleeper right handed 5
    began=$SECONDS
    qmp right blockdev-set-active "$(set_active disk true)" >/dev/null
    at_most seconds $((SECONDS - began)) $((5 * slow))
    quit left
    quit right
}

check_a_node_whose_server_is_away_does_not_become_inactive()
{
    on_leased absent
    kill_server
    qmp_refused 'Failed to inactivate' left \
        blockdev-set-active "$(set_active disk false)"
    says "$work/left.log" "cannot release the write lease of volume 'absent'"
    start_server --lease-time 40
    wait_until 30 writes absent || fail "left does not come back"
    quit left
}

writes()
{
    [ "$(stat_server "sum(1 for s in s['sessions']
        if s['volume'] == '$1' and not s['read_only'])")" = 1 ]
}

start_server
run_checks
