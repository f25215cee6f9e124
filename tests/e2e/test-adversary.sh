#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A client by bare verbs attacks a live server and the session of another
# client: tests/adversary/client.c has each attack. The device refuses what the
# protection domains keep apart, the server what breaks the protocol; after each
# attack the victim's data and session are as they were.
# An end that vanishes leaves the server a message that is not acknowledged; where
# the server notices that the connection has gone more than four seconds later,
# its device gives the message up.
# lab: --allow non-flush.error.status.=.10|non-flush.error.status.=.12
# time-limit: 300
. "$(dirname "$0")/lib.sh"

# warded_off NAME: what the program said of this attack
warded_off()
{
    grep -qxF "ok - $1" "$work/attacks" || {
        cat "$work/attacks"
        fail "$(grep -F -- "- $1" "$work/attacks" || tail -n 1 "$work/attacks")"
    }
}

check_a_key_of_another_clients_slots_opens_nothing()
{
    warded_off "a key of another client's slots opens nothing"
}

check_an_own_key_opens_nothing_at_another_clients_slots()
{
    warded_off "an own key opens nothing at another client's slots"
}

check_guessed_keys_open_nothing()
{
    warded_off "keys guessed from another client's open nothing"
}

check_a_stale_key_opens_nothing()
{
    warded_off "a key of a session that has ended opens nothing"
}

check_an_address_outside_of_the_slots_is_refused()
{
    warded_off "an address outside of the slots is refused"
}

check_nothing_but_its_volume_is_read()
{
    warded_off "nothing but its volume is read from the server"
}

check_a_resident_volume_is_not_written_to()
{
    warded_off "a resident volume is not written to"
}

check_a_wrong_token_does_not_let_a_queue_join()
{
    warded_off "a wrong token does not let a queue join"
}

check_a_queue_joins_once()
{
    warded_off "a queue that has joined cannot join again"
}

check_garbage_headers_end_their_session_only()
{
    warded_off "a header of garbage ends its session only"
}

check_bad_writes_without_a_header_end_their_session_or_are_answered()
{
    warded_off "a bad write without a header ends its session, or is answered"
}

check_bad_messages_of_several_requests_end_their_session_or_are_answered()
{
    warded_off "a bad message of several requests ends its session, or is answered"
}

check_bad_lengths_end_their_session_or_are_answered()
{
    warded_off "a bad length ends its session, or is answered"
}

check_replays_end_their_session_only()
{
    warded_off "a request that is replayed ends its session only"
}

check_garbage_messages_end_their_session_only()
{
    warded_off "a message of garbage ends its session only"
}

check_a_flood_of_requests_ends_its_session_only()
{
    warded_off "a flood of requests ends its session only"
}

check_a_flood_of_messages_ends_its_session_only()
{
    warded_off "a flood of messages ends its session only"
}

check_silent_connections_are_dropped()
{
    warded_off "connections that say nothing are dropped"
}

check_handshakes_that_stop_half_way_are_dropped()
{
    warded_off "handshakes that stop half-way are dropped"
}

check_a_session_without_a_queue_is_dropped()
{
    warded_off "a session without a queue is dropped"
}

check_volumes_of_others_are_not_deleted()
{
    warded_off "volumes of others are not deleted"
}

check_bad_lists_end_their_session_only()
{
    warded_off "bad lists end their session only"
}

check_many_lists_at_a_time_delay_nobody()
{
    warded_off "many lists at a time delay no other client"
}

check_connection_requests_of_garbage_are_refused()
{
    warded_off "connection requests of garbage are refused"
}

check_a_crowd_of_connections_is_refused_until_some_end()
{
    warded_off "connections beyond max-sessions are refused, until some end"
}

check_the_server_keeps_nothing_of_all_that()
{
    wait_until 20 no_sessions || fail "sessions are left"
    volume after 1M
    io after 'write -q -P 9 0 64k' 'read -q -P 9 0 64k'
}

head -c 65536 /dev/zero | tr '\0' i >"$work/image"
start_server --max-sessions 40 --volume "image=resident:$work/image,read-only"
volume own 1M
volume victim 1M
within 200 adversary-client "$addr" "$port" own victim >"$work/attacks" 2>&1 ||
    true
run_checks
