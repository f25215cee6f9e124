#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The server and each command of rdisk under valgrind: no use of memory that
# is not there, and nothing left at the end.
# quick-lab: valgrind emulates a third time
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

check_the_server_uses_memory_correctly_and_leaves_none()
{
    command -v valgrind >/dev/null || skip "no valgrind"
    server_under="valgrind --quiet --log-file=$work/valgrind
        --suppressions=$here/valgrind.supp --leak-check=full --show-leak-kinds=definite
        --errors-for-leak-kinds=definite --error-exitcode=9"
    server_start_limit=120 server_stop_limit=60
    start_server --volume m=memory:4M
    volume v 4M
    io_limit=120
    io 'v?open-timeout=60&heartbeat=60' 'write -q -P 1 100 300k' flush \
        'write -q -f -P 2 1M 1M' 'read -q -P 1 100 300k' 'read -q -P 2 1M 1M'
    io 'm?open-timeout=60&heartbeat=60&queues=2' 'write -q -P 3 0 64k' \
        'read -q -P 3 0 64k'
    refused 'nobody' 60 qemu-io -f raw -c 'read 0 512' \
        "$(uri 'nobody?open-timeout=60')"
    client c "$(uri 'v?open-timeout=60&heartbeat=60')"
    kill -KILL "${client[c]}"
    wait_until 30 no_sessions
    stop_server || true
    [ ! -s "$work/valgrind" ] || {
        cat "$work/valgrind"
        fail "valgrind: $(head -n 1 "$work/valgrind")"
    }
}

# watched ARGUMENT…: rdisk under valgrind
watched()
{
    within 120 valgrind --quiet --leak-check=full \
        --show-leak-kinds=definite --errors-for-leak-kinds=definite \
        --error-exitcode=9 rdisk "$@" >"$work/watched" 2>&1 || {
        cat "$work/watched"
        fail "rdisk $1: $(tail -n 1 "$work/watched")"
    }
}

# slow_uri NAME: valgrind takes its time
slow_uri()
{
    uri "$1?open-timeout=60&heartbeat=60"
}

check_rdisk_uses_memory_correctly_at_a_client_and_leaves_none()
{
    command -v valgrind >/dev/null || skip "no valgrind"
    start_server --create allow
    watched create "$(slow_uri c)" 4M
    watched ping --count 2 --interval 0 "$(slow_uri c)"
    watched resize "$(slow_uri c)" 8M
    watched map "$(slow_uri c)"
    watched map --json "$(slow_uri c)"
    stop_server
}

check_rdisk_uses_memory_correctly_at_a_server_and_leaves_none()
{
    local command
    command -v valgrind >/dev/null || skip "no valgrind"
    start_server
    watched create v 4M --control "$control"
    client c "$(uri v)"
    for command in list 'list --json' stat 'stat --json' \
            'top --count 2 --interval 0.2' 'resize v 8M' 'drain v' \
            'resume v' 'fence v'; do
        # shellcheck disable=SC2086 # words
        watched $command --control "$control"
    done
    kill -KILL "${client[c]}"
    wait_until 30 no_sessions
    watched delete v --control "$control"
    watched secret
    stop_server
}

run_checks
