#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The long form of tests/e2e/test-vhost-migration.sh: whatever becomes of a
# migration between two rdisk-vhosts, the guest goes on with one of them.
# time-limit: 1500
# quick-lab: guests boot and move
# shellcheck source=tests/faults/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=tests/e2e/qemu.sh
. "$here/qemu.sh"
# shellcheck source=tests/e2e/vhost.sh
. "$here/vhost.sh"

only_in_the_long_form()
{
    [ -z "$quick" ] || skip "in the long form: make faults FAULTS=vhost-moves"
}

# slowly NAME: its migration goes on until it is cancelled, or may be quick
slowly()
{
    qmp "$1" migrate-set-parameters \
        '{"max-bandwidth": 200000, "downtime-limit": 1}' >/dev/null
}

quickly()
{
    qmp "$1" migrate-set-parameters \
        '{"max-bandwidth": 134217728, "downtime-limit": 300}' >/dev/null
}

check_a_guest_of_our_qemu_moves_to_another_host()
{
    local qemu=qemu-system-x86_64
    only_in_the_long_form
    vhost_moving ours
    migrate left right
    goes_on right 20
    quit left
    quit right
    wait_until 20 no_sessions
    whole ours
}

check_a_move_that_is_cancelled_leaves_the_guest_where_it_was()
{
    only_in_the_long_form
    vhost_moving stays
    slowly left
    start_migration left right
    wait_until 60 migration_is left active
    goes_on left 3
    vhost_on right vhost_is idle || fail "right has the volume open"
    qmp left migrate_cancel >/dev/null
    migration_ends left cancelled
    wait_until 20 gone "${vm[right]}" || qmp right quit >/dev/null
    goes_on left 20
    vhost_on right vhost_is idle || fail "right has the volume open"
    nobody_else_may_write stays
    quit left
    wait_until 20 no_sessions
    whole stays
}

# QEMU lets the source go on, whatever has become of the destination.
check_a_source_that_goes_on_after_the_move_gets_the_volume_never_again()
{
    only_in_the_long_form
    vhost_moving owned
    migrate left right
    goes_on right
    qmp left cont >/dev/null
    # What right has written is not what left's guest knows.
    wait_until 60 vhost_on left vhost_is failed || fail "left is not refused"
    wait_until 60 grep -aq E "$work/left.serial" || fail "left's guest goes on"
    goes_on right 20
    quit right
    quit left
    wait_until 20 no_sessions
    whole owned
}

check_a_guest_moves_though_the_daemon_of_its_source_is_killed_meanwhile()
{
    only_in_the_long_form
    vhost_moving killed
    slowly left
    start_migration left right
    wait_until 60 migration_is left active
    kill -KILL "${vhost_of[left]}"
    wait_until 10 gone "${vhost_of[left]}"
    local vhost_control=$work/left.control vhost_config=$work/left.conf
    vhost_start
    wait_until 60 vhost_is open || fail "left's disk is $(vhost_stat state)"
    goes_on left 10
    quickly left
    migration_ends left completed
    wait_until 20 status_is right running || fail "right does not run"
    goes_on right 20
    quit left
    quit right
    wait_until 20 no_sessions
    whole killed
}

start_server
run_checks
