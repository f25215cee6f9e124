#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A guest whose disk is served by an IOThread that polls: its requests arrive,
# and for most of them no completion event was asked for.  (Were every one
# told by an event, there would be as many wake-ups as requests.)
# time-limit: 900
# quick-lab: a guest boots
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=tests/e2e/guest.sh
. "$here/guest.sh"

check_an_IOThread_that_polls_is_not_woken_for_each_request()
{
    local image requests
    start_server
    image=$("$top/tests/lab/guest/build")/root.ext4
    volume root "$(stat -c %s "$image")"
    within 120 qemu-img convert -n -f raw -O raw "$image" "$(uri root)"
    guest_iothread=poll-max-ns=100000000 guest_start "$work" \
        "$(uri 'root?open-timeout=60&heartbeat=60')" --task auto --files 2 ||
        fail "$(tail -n 1 "$work/boot")"
    end_later "$guest_pid"
    guest_wait "$work" 800 || {
        tail -n 20 "$work/console"
        fail "$(tail -n 1 "$work/boot")"
    }
    guest_end "$work" || fail "$(tail -n 1 "$work/boot")"
    says "$work/console" 'RDISK-GUEST: VERIFIED 2 files'
    requests=$(($(guest_counter "$work" reads) +
        $(guest_counter "$work" writes)))
    [ "$requests" -gt 300 ] || fail "only $requests requests"
    report "$requests requests, $(guest_counter "$work" wakeups) wake-ups"
    at_most "wake-ups for $requests requests" \
        "$(guest_counter "$work" wakeups)" $((requests * 3 / 4))
}

run_checks
