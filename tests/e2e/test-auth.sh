#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Who may come in, and to which volumes: rdisk ping and QEMU against a server
# with two clients.  alice may write hers and read what is shared, bob may
# write what is shared.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

# secret NAME: a fresh one, in $work/NAME.secret
secret()
{
    rm -f "$work/$1.secret"
    (umask 077 && rdisk secret >"$work/$1.secret")
}

# ping_as USER VOLUME
ping_as()
{
    within 20 rdisk ping --count 1 --interval 0 --user "$1" \
        --secret-file "$work/$1.secret" "$(uri "$2")"
}

# ping_fails REGEX USER VOLUME [SECRET]: with the secret of another one
ping_fails()
{
    refused "$1" 20 rdisk ping --count 1 --user "$2" \
        --secret-file "$work/${4:-$2}.secret" "$(uri "$3")"
}

# qemu_as USER [OPTION…]: leaves qemu-io with that user's secret object in $qemu
qemu_as()
{
    qemu=(qemu-io --object "secret,id=s0,file=$work/$1.secret" -f raw "${@:2}")
}

# The volume of qemu_as, for USER
uri_as()
{
    uri "$2?user=$1&key-secret=s0"
}

# What of its quota a client has: use NAME
use()
{
    stat_server "[[c['sessions'], c['max_sessions'], c['memory'] > 0,
        c['max_memory']] for c in s['clients'] if c['name'] == '$1'][0]"
}

check_a_client_over_its_quota_is_refused_and_others_are_not()
{
    begin 'max-sessions = 1
max-memory = 64M'
    qemu_as alice
    client first "$(uri_as alice alice-1)" \
        --object "secret,id=s0,file=$work/alice.secret"
    equal use "$(use alice)" '[1, 1, True, 67108864]'
    ping_fails "client 'alice' has 1 sessions.*max-sessions = 1" alice shared
    says "$server_log" "client 'alice' at .* cannot open volume 'shared'"
    ping_as bob shared
    say first 'write -P 3 0 64k'
    answers first 'wrote 65536/65536' 20
    within 20 rdisk stat --control "$control" >"$work/stat"
    says "$work/stat" 'client alice: 1 of 1 sessions'
    says "$work/stat" 'client bob: [0-9]+ sessions'
}

# begin [OPTIONS]: more options of alice
begin()
{
    local more=${1:+$'\n'$1}
    secret alice
    secret bob
    secret carol
    truncate -s 4M "$pool/alice-1" "$pool/shared" "$pool/hidden"
    cat >"$work/conf" <<END
[client alice]
secret-file = $work/alice.secret
read-write = alice-*
read-only = shared$more
[client bob]
secret-file = $work/bob.secret
read-write = shared
END
    start_server --config "$work/conf" --authentication hmac
}

check_a_server_without_clients_does_not_start()
{
    refused 'no client is allowed to connect' 10 rdiskd --config '' --control '' \
        --volume m=memory:1M
}

check_a_secret_that_others_may_read_is_refused()
{
    begin
    stop_server
    chmod 644 "$work/bob.secret"
    refused 'conf:6: client .bob.: secret file .*has mode 0644' 10 rdiskd \
        --config "$work/conf" --control '' --pool "$pool"
}

check_the_right_secret_opens_the_door()
{
    begin
    ping_as alice alice-1 | tee "$work/ping"
    says "$work/ping" 'auth .*both sides have proved'
    ping_as bob shared
}

check_a_wrong_secret_and_an_unknown_client_are_denied_alike()
{
    local began=$SECONDS
    begin
    ping_fails 'knows no client with that name and that secret' alice \
        alice-1 bob
    ping_fails 'knows no client with that name and that secret' carol alice-1
    [ $((SECONDS - began)) -ge 2 ] || fail "wrong secrets are refused without a delay"
    says "$server_log" "no client 'carol' with that secret"
}

check_a_client_without_a_secret_is_told_what_to_do()
{
    begin
    refused 'requires authentication: .*--secret-file' 20 rdisk ping \
        --count 1 "$(uri alice-1)"
    refused 'requires authentication: .*key-secret=ID' 20 qemu-io -f raw \
        -c 'read 0 4k' "$(uri alice-1)"
}

check_a_server_that_proves_nothing_is_refused()
{
    secret alice
    truncate -s 4M "$pool/alice-1"
    start_server
    ping_fails 'does not prove who it is' alice alice-1
}

check_a_hidden_volume_is_as_one_that_does_not_exist()
{
    begin
    ping_fails "there is no volume 'hidden'" alice hidden
    ping_fails "there is no volume 'alice-2'" alice alice-2
    ping_fails "there is no volume 'alice-1'" bob alice-1
}

check_qemu_writes_with_a_secret_object()
{
    begin
    qemu_as alice
    within 20 "${qemu[@]}" -c 'write -P 7 0 1M' -c 'read -P 7 0 1M' \
        "$(uri_as alice alice-1)"
}

check_qemu_with_a_wrong_secret_is_denied()
{
    begin
    qemu_as bob
    refused 'knows no client' 20 "${qemu[@]}" -c 'read 0 4k' \
        "$(uri_as alice alice-1)"
}

check_a_read_only_client_cannot_write()
{
    begin
    qemu_as bob
    within 20 "${qemu[@]}" -c 'write -P 8 0 64k' "$(uri_as bob shared)"
    qemu_as alice -r
    within 20 "${qemu[@]}" -c 'read -P 8 0 64k' "$(uri_as alice shared)"
    qemu_as alice
    refused 'read-only' 20 "${qemu[@]}" -c 'write -P 9 0 4k' \
        "$(uri_as alice shared)"
}

# keep USER VOLUME: holds it open, writing all the time
keep()
{
    qemu_as "$1"
    # Each write fails when the session has ended: so there is an end to them.
    yes 'write -q -P 3 0 4k' | head -n 200000 |
        "${qemu[@]}" "$(uri_as "$1" "$2")" >"$work/$1.kept" 2>&1 &
    end_later $!
    wait_until 20 has_session "$1" || fail "$1 has no session"
}

# has_session USER
has_session()
{
    [ "$(stat_server "sum(x['user'] == '$1' for x in s['sessions'])")" = 1 ]
}

has_no_session()
{
    ! has_session "$1"
}

# alice's connection and the writes that it has carried out
alice()
{
    stat_server "next('%s %d' % (x['peer'], x['counters']['writes'])
        for x in s['sessions'] if x['user'] == 'alice')"
}

check_a_reload_ends_the_sessions_of_a_removed_client_only()
{
    local before after
    begin
    keep alice alice-1
    keep bob shared
    before=$(alice)
    sed -i '/client bob/,$d' "$work/conf"
    within 20 rdisk reload --control "$control" | tee "$work/reload"
    says "$work/reload" 'reloaded: 1 clients, 1 sessions ended'
    wait_until 20 has_no_session bob || fail "bob still has a session"
    wait_until 20 grep -q 'does not allow this client' "$work/bob.kept" || true
    after=$(alice)
    equal "alice's connection" "${after% *}" "${before% *}"
    [ "${after#* }" -gt "${before#* }" ] || fail "alice does not write"
    ping_fails 'knows no client with that name' bob shared
}

check_a_hangup_reloads_clients_and_secrets()
{
    begin
    secret carol
    printf '[client carol]\nsecret-file = %s\nread-write = shared\n' \
        "$work/carol.secret" >>"$work/conf"
    secret bob
    kill -HUP "$server"
    wait_until 20 grep -q 'configuration reloaded: 3 clients' "$server_log" ||
        fail "it is not reloaded"
    ping_as carol shared
    ping_as bob shared
}

check_a_wrong_file_changes_nothing_and_says_why()
{
    begin
    keep bob shared
    sed -i '/client bob/,$d' "$work/conf"
    echo '[server]
max-memory = 3 apples' >>"$work/conf"
    refused 'max-memory = 3 apples is not a size' 20 rdisk reload \
        --control "$control"
    says "$server_log" 'not reloaded, nothing is changed: .*conf:[0-9]+: max-me'
    has_session bob || fail "bob's session is gone"
    refused 'max-memory = 3 apples is not a size' 20 rdiskd --check \
        --config "$work/conf" --pool "$pool"
    sed -i '$d' "$work/conf"
    within 20 rdiskd --check --config "$work/conf" --pool "$pool"
}

run_checks
