#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A network that loses and reorders packets, or drops all of RoCE (UDP 4791),
# under a writer.
# shellcheck source=tests/faults/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

begin()
{
    start_server
    volume v 32M
    writer_start v
    sleep 1
}

lossy()
{
    wire
    begin
    net delay 1ms reorder 25% 50% loss "$1"
    sleep "$(often 4 15)"
    ask pause 60
    pauses+=("$answer")
    net restore
    healed
    writer_ends "$pool/v"
}

check_1_percent_of_the_packets_lost_and_some_reordered()
{
    lossy 1%
}

check_5_percent_of_the_packets_lost_and_some_reordered()
{
    lossy 5%
}

check_20_percent_of_the_packets_lost_and_some_reordered()
{
    lossy 20%
}

check_everything_is_dropped_for_30_seconds()
{
    wire
    begin
    net loss 100%
    sleep "$(often 6 30)"
    net restore
    healed
    says "$work/nbd.log" 'does not answer|no message received within'
    writer_ends "$pool/v"
}

# Seven attempts half a second apart; rxe takes 7 retries for no limit.
check_without_heartbeats_the_device_notices_that_the_peer_is_gone()
{
    local began
    wire
    start_server
    volume v 32M
    writer_uri='reconnect-delay=120&heartbeat=0' writer_start v
    sleep 1
    net loss 100%
    began=$SECONDS
    wait_until 20 grep -q 'does not answer: transport retry' "$work/nbd.log" ||
        fail "the client waits without limit"
    at_most "seconds until it was noticed" $((SECONDS - began)) 10
    net restore
    healed
    writer_ends "$pool/v"
}

run_checks
