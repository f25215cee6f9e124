#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A server that dies and is started again, many times, under a writer.
# quick-lab: seconds are counted
# shellcheck source=tests/faults/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

check_a_server_killed_and_restarted_again_and_again()
{
    again "$(often 6 60)" replace_server
}

run_checks
