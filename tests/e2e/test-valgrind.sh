#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A short run of the server and of rdisk under valgrind: no use of memory that
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

check_ping_uses_memory_correctly_and_leaves_none()
{
    command -v valgrind >/dev/null || skip "no valgrind"
    start_server --volume m=memory:4M
    within 120 valgrind --quiet --leak-check=full \
        --show-leak-kinds=definite --errors-for-leak-kinds=definite \
        --error-exitcode=9 rdisk ping --count 2 --interval 0 \
        "$(uri 'm?open-timeout=60&heartbeat=60')"
    stop_server
}

run_checks
