#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A server restarted cleanly, many times, under a writer that must not
# notice more than a pause.
# quick-lab: seconds are counted
# shellcheck source=tests/faults/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

restart()
{
    within 30 rdisk drain --control "$control"
    stop_server
    start_server
}

rest()
{
    within 30 rdisk drain v --control "$control"
    within 20 rdisk resume v --control "$control"
}

check_a_server_drained_and_restarted_again_and_again()
{
    again "$(often 2 10)" restart
}

check_a_volume_drained_and_resumed_again_and_again()
{
    again "$(often 2 10)" rest
}

run_checks
