# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# A fault as a writer sees it, for the pictures of docs/performance.md, on top of
# lib.sh: each completion is recorded, and when the fault began and ended. The
# records are added to failover.csv, failover-events.csv and latency.csv.

around=4                        # seconds of load before and after a fault

# mark WORDS…: now this happens
mark()
{
    echo "$EPOCHREALTIME $*" >>"$work/events"
}

# recorded COMMAND…: around a fault, which ends with the command, a writer on the
# volume v; then end that
recorded()
{
    : >"$work/events"
    writer_start v --record "$work/record"
    sleep $((around * slow))
    "$@"
    healed
    sleep $((around * slow))
}

# summary NAME LIMIT: of that fault; from its end on it took at most so many seconds
# until the next completion
summary()
{
    "$faults/timeline" "$1" "$work/record" "$work/events" \
        --limit $(($2 * slow)) --add "${RDISK_LAB_OUTPUT:-$work}" \
        >"$work/summary" 2>&1 || fail "$(tail -n 1 "$work/summary")"
}
