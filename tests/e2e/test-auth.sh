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

begin()
{
    secret alice
    secret bob
    secret carol
    truncate -s 4M "$pool/alice-1" "$pool/shared" "$pool/hidden"
    cat >"$work/conf" <<END
[client alice]
secret-file = $work/alice.secret
read-write = alice-*
read-only = shared
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
    [ $((SECONDS - began)) -ge 2 ] || fail "guessing takes no time"
    says "$server_log" "no client 'carol' with that secret"
}

check_a_client_without_a_secret_is_told_what_to_do()
{
    begin
    refused 'demands authentication: .*--secret-file' 20 rdisk ping \
        --count 1 "$(uri alice-1)"
    refused 'demands authentication: .*key-secret=ID' 20 qemu-io -f raw \
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

run_checks
