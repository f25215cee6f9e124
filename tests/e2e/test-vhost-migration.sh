#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What a guest that migrates needs of rdisk-vhost, without a VMM: pages that RDMA
# has written are in the log of dirty pages, and a guest that has just come
# outlasts a kill of the daemon.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
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

start_server
run_checks
