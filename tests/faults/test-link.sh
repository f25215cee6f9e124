#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A link that goes down and up under a writer: at the client's end, at the
# server's, and at both.  The other end of a cable loses its carrier then.  On
# Soft-RoCE no program could connect any more through a device whose interface
# passed nothing if rdiskd or its client sent a message of the connection manager
# meanwhile.  Another program's message would do the same, so rping runs when all
# is over.
# lab: --memory 6G
# time-limit: 900
# shellcheck source=tests/faults/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

# flaps [--end END]: for longer than everybody's heartbeat
flaps()
{
    wire
    again "$(often 1 3)" net "$@" flap $((5 * slow))s
    wait_until 10 net_works || fail "nobody can connect any more"
}

net_works()
{
    "$top/tests/lab/net" check
}

check_the_clients_link_goes_down_and_up()
{
    flaps --end 1
}

check_the_servers_link_goes_down_and_up()
{
    flaps --end 2
}

check_both_links_go_down_and_up()
{
    flaps
}

run_checks
