#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Too little memory may be locked (RLIMIT_MEMLOCK), at the client, then at a
# server that was restarted with the wrong limit.
# shellcheck source=tests/faults/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

# limited BYTES: a prefix for what is not privileged to go beyond
limited()
{
    command -v setpriv prlimit >/dev/null || skip "no setpriv or prlimit"
    echo "setpriv --bounding-set=-ipc_lock,-sys_resource" \
        "prlimit --memlock=$1:$1"
}

check_a_client_that_may_lock_little_goes_on_and_comes_back()
{
    # Enough for the session's own memory, for none of a guest's.
    writer_under=$(limited $((8 << 20)))
    again "$(often 1 3)" replace_server
}

check_a_server_restarted_with_the_wrong_limit_says_so_and_then_right()
{
    start_server
    volume v 32M
    writer_start v
    sleep 1
    kill_server
    server_under=$(limited $((256 << 10))) start_server
    wait_until 20 grep -qE 'refused: .*(cannot register|RLIMIT_MEMLOCK)' \
        "$server_log" || fail "nobody was refused"
    says "$server_log" 'RLIMIT_MEMLOCK'
    kill_server
    start_server
    healed
    writer_ends "$pool/v"
}

run_checks
