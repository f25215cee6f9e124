#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A link that goes down and up under a writer: at the client's end, at the
# server's, and at both.  The other end of a cable loses its carrier then.  On
# Soft-RoCE nobody could connect any more, through a device whose interface
# passed nothing, if rdiskd or its client told anybody anything meanwhile.  So
# would any other program's message: rping comes when all is over.
# lab: --memory 6G
# time-limit: 900
# shellcheck source=tests/faults/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

# near_end COMMAND, far_end COMMAND
near_end()
{
    ip link set near0 "$1"
}

far_end()
{
    "${far[@]}" ip link set far0 "$1"
}

both_ends()
{
    near_end "$1"
    far_end "$1"
}

# flap END: for longer than everybody's heartbeat
flap()
{
    "$1" down
    sleep $((5 * slow))
    "$1" up
    wire_leads
}

# flaps END
flaps()
{
    wire
    again "$(often 1 3)" flap "$1"
    wait_until 10 wire_works || fail "nobody can connect any more"
}

check_the_clients_link_goes_down_and_up()
{
    flaps near_end
}

check_the_servers_link_goes_down_and_up()
{
    flaps far_end
}

check_both_links_go_down_and_up()
{
    flaps both_ends
}

run_checks
