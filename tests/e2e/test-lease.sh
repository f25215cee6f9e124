#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Who may write, and what is left when the server comes back: generations that
# outlive it, lease-time, rdisk fence, a replaced volume, a lost cache.  Each
# check has a server of its own.
# quick-lab: servers start and stop dozens of times
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

kill_server()
{
    kill -KILL "$server"
    wait_until 10 gone "$server" || fail "the server did not exit"
    server=''
}

# writer NAME: a client that has written, and waits if need be
writer()
{
    client "$1" "$(uri 'v?reconnect-delay=60&heartbeat=1')"
    say "$1" 'write -P 1 0 4k'
    answers "$1" 'wrote 4096/4096 bytes at offset 0' 20
}

# Which misses a client after two seconds.
brief_server()
{
    start_server --max-silence 2 "$@"
}

# A client whose program does nothing, so that the server misses it.
away()
{
    kill -STOP "${client[$1]}"
    wait_until 20 no_sessions || fail "the server still has a session of client $1"
}

back()
{
    kill -CONT "${client[$1]}"
}

# of the volume: its lease's member
lease()
{
    stat_server "[v for v in s['volumes'] if v['name'] == 'v'][0]['lease']['$1']"
}

check_a_writer_survives_a_killed_server_with_its_generation()
{
    brief_server
    volume v 8M
    writer a
    equal generation "$(lease generation)" 1
    for round in 1 2 3; do
        kill_server
        say a "write -P $round ${round}M 4k"
        brief_server
        answers a "wrote 4096/4096 bytes at offset $((round << 20))" 40
    done
    equal generation "$(lease generation)" 1
    equal held "$(lease held)" True
    says "$work/a.out" 'reconnected to .*, epoch'
}

check_each_new_writer_has_the_next_generation()
{
    brief_server
    volume v 8M
    for expected in 1 2; do
        io v 'write 0 4k'
        equal generation "$(lease generation)" "$expected"
        equal held "$(lease held)" False
    done
    stop_server
    brief_server
    io v 'write 0 4k'
    equal generation "$(lease generation)" 3
    within 20 rdisk stat --control "$control" |
        grep -q 'generation 3, not written by anybody, last by'
}

# The one that was away comes back with a write: it must not land.
check_who_is_away_while_another_writes_is_stale_for_ever()
{
    brief_server
    volume v 8M
    writer a
    away a
    io v 'write -P 2 0 4k'
    say a 'write -P 3 0 4k'
    back a
    answers a 'given to another client while this one was disconnected' 40
    answers a 'write failed' 20
    kill_server
    brief_server
    io v 'read -P 2 0 4k'
    say a 'write -P 3 0 4k'
    sleep 2
    io v 'read -P 2 0 4k'
    says "$server_log" 'it had generation 1, now it is 2'
}

# No other client had it before the server died: only the record knows.
check_who_was_replaced_is_stale_at_a_restarted_server_too()
{
    brief_server
    volume v 8M
    writer a
    away a
    io v 'write -P 2 0 4k'
    kill_server
    brief_server
    say a 'write -P 3 0 4k'
    back a
    answers a 'given to another client while this one was disconnected' 40
    io v 'read -P 2 0 4k'
}

check_a_volume_is_kept_for_who_lost_its_connection()
{
    brief_server --lease-time 600
    volume v 8M
    writer a
    away a
    refused 'is kept for [0-9]+ more seconds for .*rdisk fence v' 20 \
        qemu-io -f raw -c 'write 0 4k' "$(uri v)"
    io_options=-r io v 'read -P 1 0 4k'
    back a
    say a 'write -P 4 0 4k'
    answers a 'wrote 4096/4096 bytes at offset 0' 40
    kill_server
    kill -STOP "${client[a]}"
    brief_server --lease-time 600
    refused 'is kept for [0-9]+ more seconds' 20 \
        qemu-io -f raw -c 'write 0 4k' "$(uri v)"
    back a
    say a 'write -P 5 1M 4k'
    answers a 'wrote 4096/4096 bytes at offset 1048576' 40
}

check_a_fenced_writer_never_comes_back()
{
    brief_server --lease-time 600
    volume v 8M
    writer a
    within 20 rdisk fence v --control "$control" |
        grep -qx 'volume v: generation 2, 1 sessions ended'
    answers a 'may no longer write' 20
    io v 'write -P 6 0 4k'
    say a 'write -P 7 0 4k'
    answers a 'write failed' 20
    io v 'read -P 6 0 4k'
}

check_a_writer_that_is_away_can_be_fenced()
{
    brief_server --lease-time 600
    volume v 8M
    writer a
    away a
    within 20 rdisk fence v --control "$control" |
        grep -qx 'volume v: generation 2, 0 sessions ended'
    io v 'write -P 6 0 4k'
    say a 'write -P 7 0 4k'
    back a
    answers a 'may no longer write' 40
    io v 'read -P 6 0 4k'
}

check_a_volume_that_was_replaced_is_left_alone()
{
    brief_server
    volume v 8M
    writer a
    kill_server
    rm "$pool/v"
    truncate -s 8M "$pool/v"
    brief_server
    say a 'write -P 8 0 4k'
    answers a 'not the one that this client had open: it has been replaced' 40
    answers a 'write failed' 20
    cmp -n 8M "$pool/v" /dev/zero || fail "the new volume was written"
}

check_a_volume_in_memory_ends_with_its_server()
{
    start_server --volume v=memory:8M
    writer a
    kill_server
    start_server --volume v=memory:8M
    say a 'write -P 8 0 4k'
    answers a 'not the one that this client had open: it has been replaced' 40
    io v 'read -P 0 0 4k'
}

# The next start is on a machine that has started again, for all rdiskd knows.
another_boot()
{
    cat /proc/sys/kernel/random/uuid >"$work/boot_id"
    mount --bind "$work/boot_id" /proc/sys/kernel/random/boot_id
}

same_boot()
{
    umount /proc/sys/kernel/random/boot_id 2>/dev/null || true
}

# qemu-io does not tell how a flush ended; the driver's trace does.  Without -t
# it would write with FUA.
check_a_lost_cache_makes_the_next_flush_fail()
{
    trap same_boot EXIT
    brief_server
    volume v 8M
    client a "$(uri 'v?reconnect-delay=60')" -t writeback --trace rdma_done
    say a 'write -P 1 0 4k'
    answers a 'wrote 4096/4096' 20
    kill_server
    another_boot
    brief_server
    say a 'read -P 1 0 4k'
    answers a 'read 4096/4096' 40
    says "$work/a.out" 'has lost its volatile cache'
    : >"$work/a.out"
    say a 'flush'
    answers a 'rdma_done .* ret -5' 20
    : >"$work/a.out"
    say a 'flush'
    answers a 'rdma_done .* ret 0' 20
}

check_a_killed_server_loses_nothing()
{
    brief_server
    volume v 8M
    client a "$(uri 'v?reconnect-delay=60')" -t writeback --trace rdma_done
    say a 'write -P 1 0 4k'
    answers a 'wrote 4096/4096' 20
    kill_server
    brief_server
    say a 'read -P 1 0 4k'
    answers a 'read 4096/4096' 40
    : >"$work/a.out"
    say a 'flush'
    answers a 'rdma_done .* ret 0' 20
    ! said a 'lost its volatile cache' ||
        fail "a loss is reported, but there was none"
}

# A second one would give away what the first has given.
check_a_pool_has_one_server()
{
    start_server
    refused "another server uses the pool directory" 30 \
        rdiskd --config '' --pool "$pool" --listen "$addr" --port 7500 \
        --control "$work/second" --state "$work/state" --authentication none
    mkdir "$work/other"
    refused "another server does; name another directory with state=" 30 \
        rdiskd --config '' --pool "$work/other" --listen "$addr" --port 7500 \
        --control "$work/second" --state "$pool/.rdisk" --authentication none
}

# Without a place for records no client may write, and all can read.
check_without_a_record_nobody_writes()
{
    start_server --state /proc/rdisk
    volume v 8M
    says "$server_log" 'volumes that are files or images cannot be written'
    refused "record of who may write in '/proc/rdisk'" 20 \
        qemu-io -f raw -c 'write 0 4k' "$(uri v)"
    io_options=-r io v 'read -P 0 0 4k'
}

run_checks
