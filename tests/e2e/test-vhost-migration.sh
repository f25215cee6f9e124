#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Live migration between the rdisk-vhosts of two hosts: the guest's memory goes
# along with what RDMA wrote into it, at each moment one daemon may write, and
# a failure leaves the guest with one of them.
# time-limit: 900
# quick-lab: guests boot and move
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=tests/e2e/qemu.sh
. "$here/qemu.sh"
# shellcheck source=tests/e2e/vhost.sh
. "$here/vhost.sh"

check_what_the_device_writes_is_in_the_log_of_dirty_pages()
{
    volume logged 8M
    vhost_start
    vhost_add logged
    within 60 vhost-client "$work/logged.sock" dirty
}

# The table of requests in flight is new then, and the ring is not.
check_a_guest_that_has_just_come_outlasts_a_kill_of_the_daemon()
{
    local client
    volume moved 8M
    vhost_host left moved
    vhost_control=$work/left.control vhost_config=$work/left.conf
    vhost-client "$work/left.vhost" moved "$work/now" >"$work/client" 2>&1 &
    client=$!
    end_later $client
    wait_until 20 vhost_is open || fail "$(tail -n 1 "$work/client")"
    freeze "$server"
    touch "$work/now"
    sleep 0.5
    kill -KILL "${vhost_of[left]}"
    wait_until 10 gone "${vhost_of[left]}"
    kill -CONT "$server"
    vhost_start
    wait_until 60 gone "$client" || fail "its first request does not end"
    wait "$client" || fail "$(tail -n 1 "$work/client")"
    says "$work/client" 'after 1 reconnects'
}

check_a_guest_of_a_stock_qemu_moves_to_another_host_and_back()
{
    vhost_moving there
    vhost_on right vhost_is idle || fail "right has the volume open before the migration"
    nobody_else_may_write there
    migrate left right
    goes_on right 20
    wait_until 20 vhost_on left vhost_is idle || fail "left still has the volume"
    vhost_on right vhost_is open || fail "right does not have the volume open"
    equal "bytes copied by right" "$(vhost_on right vhost_stat copied_bytes)" 0
    nobody_else_may_write there
    quit left
    vhost_twin left
    migrate right left
    goes_on left 20
    quit right
    quit left
    wait_until 20 no_sessions
    whole there
}

# The guest is stopped, and left's daemon has closed the volume.
check_a_destination_killed_at_the_switch_leaves_the_guest_where_it_was()
{
    vhost_moving dies
    pause_before_switchover left
    start_migration left right
    wait_until 60 migration_is left pre-switchover || fail "no pre-switchover"
    wait_until 20 gave_it_up || fail "left still writes"
    kill -KILL "${vm[right]}"
    wait_until 20 gone "${vm[right]}"
    qmp left migrate-continue '{"state": "pre-switchover"}' >/dev/null
    migration_ends left failed
    wait_until 20 status_is left running || fail "left does not run"
    goes_on left 20
    nobody_else_may_write dies
    quit left
    wait_until 20 no_sessions
    whole dies
}

start_server
run_checks
