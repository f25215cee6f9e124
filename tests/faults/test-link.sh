#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A link that goes down and up under a writer.  A boot of its own, since some
# kernels' Soft-RoCE is deaf for ever when a message of the connection manager
# met a link that was down.
# lab: --memory 6G
# time-limit: 300
# shellcheck source=tests/faults/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

flap()
{
    ip link set near0 down
    sleep $((5 * slow))
    ip link set near0 up
    # Can anybody connect, if this client cannot?
    wait_until 30 wire_works ||
        skip "this kernel's Soft-RoCE connects nobody any more, rping" \
            "neither, when its link was down under load"
}

check_the_link_goes_down_and_up()
{
    wire
    again "$(often 1 3)" flap
}

run_checks
