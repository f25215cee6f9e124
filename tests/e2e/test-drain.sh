#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Draining: clients leave cleanly, wait, and come back; new ones are
# refused in clear words.  Each check has a server of its own.
# quick-lab: servers are drained and started again
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

drain()
{
    within 30 rdisk drain --control "$control" "$@" | tee "$work/drain"
}

resume()
{
    within 20 rdisk resume --control "$control" "$@"
}

volume_says()
{
    stat_server "[v['$2'] for v in s['volumes'] if v['name'] == '$1'][0]"
}

check_drained_clients_wait_and_resume_brings_them_back()
{
    start_server
    volume v 8M
    client c "$(uri 'v?reconnect-delay=60')"
    say c 'write -P 1 0 4k'
    answers c 'wrote 4096/4096' 20
    drain
    says "$work/drain" '^drained$'
    no_sessions || fail "a session is left"
    equal "state" "$(stat_server 's["state"]')" drained
    say c 'write -P 2 64k 4k'
    sleep 1
    ! said c '65536|write failed' || fail "the write did not wait"
    resume
    answers c 'wrote 4096/4096 bytes at offset 65536' 20
    says "$work/c.out" 'ended the session: the volume is being drained'
    say c 'read -P 1 0 4k'
    answers c 'read 4096/4096' 20
}

check_a_server_restarted_through_drain_loses_no_write()
{
    local writer rounds=0 status=0
    start_server
    volume v 24M
    head -c 24M /dev/urandom >"$work/image"
    qemu-img convert -n -f raw -O raw -r 6M "$work/image" \
        "$(uri 'v?reconnect-delay=60')" 2>"$work/convert" &
    writer=$!
    end_later $writer
    while ! gone $writer && [ $rounds -lt 4 ]; do
        sleep 0.8
        drain
        stop_server
        start_server
        rounds=$((rounds + 1))
    done
    wait_until 60 gone $writer || fail "the writer hangs"
    wait $writer || status=$?
    equal "status of the writer" $status 0
    at_most "restarts needed" 2 $rounds
    cmp "$work/image" "$pool/v" || fail "the volume is not what was written"
}

check_one_volume_is_drained_and_the_others_go_on()
{
    start_server
    volume v 4M
    volume w 4M
    client c "$(uri 'v?reconnect-delay=60')"
    client d "$(uri w)"
    drain v
    says "$work/drain" '^drained$'
    equal "v drained" "$(volume_says v drained)" True
    equal "w drained" "$(volume_says w drained)" False
    say d 'write -P 3 0 4k'
    answers d 'wrote 4096/4096' 20
    # Nobody has it open: what needs that can be done now.
    within 20 rdisk resize v 8M --control "$control"
    resume v
    say c 'write -P 4 0 4k'
    answers c 'wrote 4096/4096' 20
}

check_a_new_client_is_refused_while_it_is_drained()
{
    start_server
    volume v 4M
    drain v
    refused "refused: volume 'v' is drained and takes no new sessions" 20 \
        qemu-io -f raw -c 'read 0 4k' "$(uri 'v?reconnect-delay=60')"
    resume v
    io v 'read -q 0 4k'
}

check_drain_tells_who_is_left()
{
    start_server
    volume v 4M
    client c "$(uri 'v?reconnect-delay=60')"
    kill -STOP "${client[c]}"
    refused 'sessions? (is|are) left after --timeout' 10 \
        rdisk drain --timeout 0.3 --control "$control"
    says "$work/refused" "^1 session is left: $addr:"
    # It waits for its client.
    says "$work/refused" 'seconds, with 0 requests at the storage'
    # A client that does not answer is disconnected after a while.
    drain
    kill -CONT "${client[c]}"
    resume
    say c 'write -P 4 0 4k'
    answers c 'wrote 4096/4096' 20
}

check_what_cannot_be_drained_is_said()
{
    start_server
    volume v 4M
    refused "there is no volume 'w'" 5 rdisk drain w --control "$control"
    refused "volume 'v' is not drained" 5 rdisk resume v --control "$control"
    drain
    refused 'the whole server is drained' 5 rdisk resume v --control "$control"
    refused 'Usage: rdisk drain' 5 rdisk drain v w
    refused 'only volumes of a Ceph pool can be handed over' 5 \
        rdisk drain --to "$addr:7472" --control "$control"
    refused 'timeout -1 is not' 5 rdisk drain --timeout -1
}

run_checks
