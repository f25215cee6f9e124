#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Two servers of one Ceph pool: the one that serves the writer is drained.
# quick-lab: seconds are counted
# shellcheck source=tests/faults/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=tests/faults/gateways.sh
. "$faults/gateways.sh"

# By hand, for maintenance: what was in flight is answered, and nobody fenced.
hand_over()
{
    local before
    before=$(cat "$work"/server.[12].log | grep -c 'the lock of another server' || true)
    within 30 rdisk drain v --control "$work/control.$serving"
    ask next 60
    returns+=("$answer")
    serves "$other" || fail "the other server does not have the volume"
    within 20 rdisk resume v --control "$work/control.$serving"
    handed=$((handed + 1))
    fenced=$((fenced + $(cat "$work"/server.[12].log |
        grep -c 'the lock of another server' || true) - before))
}

check_a_gateway_drained_hands_its_client_over()
{
    handed=0 fenced=0
    rounds "$(often 4 100)" hand_over
    report "$handed handed over, $fenced of them fenced"
}

run_with_cluster
