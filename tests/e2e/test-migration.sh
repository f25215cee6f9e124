#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Live migration between two QEMUs on one server: the guest goes on, with every
# byte it has written; and at each moment one QEMU may write, whatever fails.
# time-limit: 1500
# quick-lab: guests boot and move
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=tests/e2e/qemu.sh
. "$here/qemu.sh"

# guest NAME VOLUME [OPTION…]: a machine that runs the guest on the volume
guest()
{
    local name=$1 volume=$2
    shift 2
    machine "$name" -blockdev "$(node disk "$volume" '"open-timeout": 3')" \
        -device virtio-blk-pci,drive=disk "$@"
}

# twin NAME VOLUME: a machine that waits for the guest
twin()
{
    guest "$1" "$2" -incoming "unix:$work/$1.socket"
}

check_a_guest_goes_on_on_the_other_side_and_comes_back()
{
    boot_volume there
    guest left there
    goes_on left
    twin right there
    migrate left right
    goes_on right 20
    quit left
    twin left there
    migrate right left
    goes_on left 20
    quit right
    quit left
    whole there
}

check_nobody_else_may_write_before_and_after()
{
    boot_volume locked
    guest left locked
    goes_on left
    twin right locked
    nobody_else_may_write locked
    migrate left right
    nobody_else_may_write locked
    goes_on right
    quit left
    nobody_else_may_write locked
    quit right
    whole locked
}

check_the_source_cannot_go_on_while_the_destination_runs()
{
    boot_volume owned
    guest left owned
    goes_on left
    twin right owned
    migrate left right
    qmp_refused "'owned' is being written by" left cont
    goes_on right
    quit left
    quit right
    whole owned
}

# Nobody is there any more when the source has given the volume up.
check_a_destination_killed_before_the_switch_leaves_the_source_writing()
{
    boot_volume early
    guest left early
    goes_on left
    twin right early
    pause_before_switchover left
    start_migration left right
    wait_until 60 migration_is left pre-switchover || fail "no pre-switchover"
    kill -KILL "${vm[right]}"
    qmp left migrate-continue '{"state": "pre-switchover"}' >/dev/null
    migration_ends left failed
    wait_until 20 status_is left running || fail "left does not run"
    goes_on left 20
    nobody_else_may_write early
    quit left
    whole early
}

# The source has given the volume up when the destination does not take it.
check_a_destination_that_dies_at_the_switch_gives_it_back_to_the_source()
{
    boot_volume late
    guest left late
    goes_on left
    twin right late
    pause_before_switchover left
    start_migration left right
    wait_until 60 migration_is left pre-switchover || fail "no pre-switchover"
    kill -STOP "${vm[right]}"
    qmp left migrate-continue '{"state": "pre-switchover"}' >/dev/null
    wait_until 20 gave_it_up late || fail "left still writes"
    kill -KILL "${vm[right]}"
    wait_until 60 migration_is left 'completed|failed' || fail "it did not end"
    # As far as QEMU knows it is done, if all was sent before the other died.
    status_is left running || qmp left cont >/dev/null
    goes_on left 20
    nobody_else_may_write late
    quit left
    whole late
}

check_a_source_killed_after_the_switch_does_not_disturb_the_guest()
{
    boot_volume orphan
    guest left orphan
    goes_on left
    twin right orphan
    migrate left right
    kill -KILL "${vm[left]}"
    goes_on right 20
    quit right
    whole orphan
}

# The memory of the destination is registered with the session that writes.
check_the_destination_copies_nothing()
{
    boot_volume fast
    guest left fast
    goes_on left
    twin right fast
    migrate left right
    copied=$(qmp right rdma | sed -n 's/^copied-bytes //p')
    goes_on right 20
    equal "copied bytes" "$(qmp right rdma | sed -n 's/^copied-bytes //p')" \
        "$copied"
    quit left
    quit right
}

# ---- A server that goes away at the switch ---------------------------

# at_the_switch NAME [OPTION…]: a server that keeps a volume for a writer that is
# away; a guest on left, about to move to right, which has these options
at_the_switch()
{
    local name=$1
    shift
    start_server --lease-time 60
    boot_volume "$name"
    guest_of left "$name"
    goes_on left
    guest_of right "$name" -incoming "unix:$work/right.socket" "$@"
    pause_before_switchover left
    start_migration left right
    wait_until 60 migration_is left pre-switchover || fail "no pre-switchover"
}

guest_of()
{
    local name=$1 volume=$2
    shift 2
    machine "$name" -blockdev "$(node disk "$volume" '"open-timeout": 3' \
        '"reconnect-delay": 60')" -device virtio-blk-pci,drive=disk "$@"
}

switch_over()
{
    qmp left migrate-continue '{"state": "pre-switchover"}' >/dev/null
}

check_a_server_restarted_at_the_switch_does_not_strand_the_guest()
{
    at_the_switch strand
    kill_server
    sleep 4
    start_server --lease-time 60
    switch_over
    migration_ends left completed
    wait_until 20 status_is right running || fail "right does not run"
    goes_on right 20
    quit left
    quit right
    whole strand
}

check_nor_does_it_when_the_destination_starts_stopped()
{
    at_the_switch stopped -S
    kill_server
    sleep 4
    start_server --lease-time 60
    switch_over
    migration_ends left completed
    qmp right cont >/dev/null
    goes_on right 20
    quit left
    quit right
    whole stopped
}

# The second disk's server is restarted; the first has been given up before.
check_nor_does_it_with_two_disks_of_two_servers()
{
    local first second home name incoming
    start_server
    boot_volume twice
    first=$(node disk twice '"open-timeout": 3' '"reconnect-delay": 60')
    home=$pool
    start_server --lease-time 60
    volume more 4M
    second=$(node more more '"open-timeout": 3' '"reconnect-delay": 60')
    for name in left right; do
        incoming=()
        [ $name = left ] || incoming=(-incoming "unix:$work/right.socket")
        machine $name -blockdev "$first" -blockdev "$second" \
            -device virtio-blk-pci,drive=disk,bootindex=0 \
            -device virtio-blk-pci,drive=more "${incoming[@]}"
        [ $name = right ] || goes_on left
    done
    pause_before_switchover left
    start_migration left right
    wait_until 60 migration_is left pre-switchover || fail "no pre-switchover"
    kill_server
    sleep 4
    start_server --lease-time 60
    switch_over
    migration_ends left completed
    wait_until 20 status_is right running || fail "right does not run"
    goes_on right 20
    quit left
    quit right
    pool=$home
    whole twice
}

check_a_server_that_stays_away_at_the_switch_leaves_the_guest_on_the_source()
{
    at_the_switch remains
    kill_server
    switch_over
    migration_ends left failed
    start_server --lease-time 60
    wait_until 60 status_is left 'running|paused' || fail "left neither runs nor is paused"
    status_is left running || qmp left cont >/dev/null
    goes_on left 20
    quit left
    whole remains
}

# The server hangs when the source has given the volume up.
check_cont_starts_a_destination_whose_disks_could_not_be_activated()
{
    at_the_switch again
    kill -STOP "${vm[right]}"
    switch_over
    wait_until 20 gave_it_up || fail "left still writes"
    freeze "$server"
    kill -CONT "${vm[right]}"
    wait_until 60 status_is right paused || fail "right is not paused"
    kill -CONT "$server"
    wait_until 60 continues right || fail "$(cat "$work/qmp.err")"
    goes_on right 20
    quit left
    quit right
    whole again
}

continues()
{
    qmp_may_fail=1 qmp "$1" cont >/dev/null
}

# ---- A whole system ----------------------------------------------------

# linux NAME [OPTION…]: the lab's test guest on the volume "root"
linux()
{
    local name=$1
    shift
    : >"$work/$name.console"
    "$top/tests/lab/guest/boot" --task auto --files 24 \
        --log "$work/$name.console" -- \
        -drive "file=$(uri 'root?open-timeout=60&heartbeat=60'),format=raw,if=virtio" \
        -qmp "unix:$work/$name.qmp,server=on,wait=off" \
        -action shutdown=pause "$@" >/dev/null 2>"$work/$name.log" &
    vm[$name]=$!
    end_later $!
    wait_until 60 accepts "$work/$name.qmp" ||
        fail "the guest: $(tail -n 1 "$work/$name.log")"
    # Answered once all is open, the socket for a migration too.
    qmp "$name" query-version >/dev/null
}

# tells CONSOLES REGEX SECONDS: the guest does so, on one of these; it may be
# quicker than its move to the next machine
# shellcheck disable=SC2086
tells()
{
    wait_until "$3" told "RDISK-GUEST: (FAILED|$2)" $1 || {
        tail -n 5 "$work"/*.console
        fail "the guest did not say '$2' in $3 s"
    }
    ! told 'RDISK-GUEST: FAILED|I/O error' $1 || fail "the guest failed"
}

# told REGEX CONSOLE…
told()
{
    local regex=$1
    shift
    cat "${@/#/$work/}" 2>/dev/null | grep -aqE "$regex"
}

check_a_linux_guest_moves_while_it_writes_and_its_files_are_whole()
{
    local image
    image=$("$top/tests/lab/guest/build")/root.ext4
    volume root "$(stat -c %s "$image")"
    within 120 qemu-img convert -n -f raw -O raw "$image" "$(uri root)"
    linux first
    tells first.console 'DIRECT 1M ok' 400
    linux second -incoming "unix:$work/second.socket"
    migrate first second
    qmp first quit >/dev/null
    # It has written, and boots again to verify.
    tells second.console 'BOOTED' 400
    linux third -incoming "unix:$work/third.socket"
    migrate second third
    qmp second quit >/dev/null
    tells 'second.console third.console' 'VERIFIED 24 files' 400
    tells 'second.console third.console' 'poweroff' 100
    wait_until 60 status_is third shutdown || fail "it is not off"
    qmp third quit >/dev/null
    wait_until 20 no_sessions || fail "sessions are left"
    "$top/tests/lab/guest/check-image" "$pool/root"
}

start_server
run_checks
