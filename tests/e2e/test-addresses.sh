#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Where a server is: names with several addresses, names whose address changes,
# resolvers that do not answer, and IPv6.
# time-limit: 900
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=tests/e2e/qemu.sh
. "$here/qemu.sh"

dead=${addr%.*}.99              # no host has it

# named ADDRESS…: the addresses of the name "server.test".  By itself the resolver
# prefers this machine's own; the dead one is to come first.
named()
{
    local address
    printf 'precedence %s %s\n' "::ffff:$dead/128" 100 ::ffff:0:0/96 10 \
        ::/0 40 >/etc/gai.conf
    {
        echo '127.0.0.1 localhost lab'
        for address in "$@"; do
            echo "$address server.test"
        done
    } >/etc/hosts
    printf 'order hosts\nmulti on\n' >/etc/host.conf
}

# A name server that never answers.
silent_resolver()
{
    python3 -Sc 'import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 53))
open("'"$work/resolver"'", "w")
time.sleep(3600)' &
    end_later $!
    wait_until 10 test -e "$work/resolver" || fail "there is no name server"
    printf 'nameserver 127.0.0.1\noptions timeout:30 attempts:1\n' \
        >/etc/resolv.conf
}

# The link-local address of the interface that has $addr, with its zone.
link_local()
{
    local interface
    interface=$(ip -brief -4 addr | awk -v "a=$addr/" 'index($0, a) { print $1 }')
    interface=${interface%%@*}
    echo "$(ip -6 -o addr show dev "$interface" scope link |
        sed -n 's/.*inet6 \([^/]*\)\/.*/\1/p;T;q')%$interface"
}

by_name()
{
    echo "rdma://server.test:$port/$1"
}

check_a_dead_first_address_costs_its_share_of_the_time()
{
    named "$dead" "$addr"
    start_server
    volume v 8M
    within 60 qemu-io -f raw -T rdma_transition -c 'write -P 1 0 64k' \
        "$(by_name 'v?open-timeout=12')" >"$work/io" 2>&1 ||
        fail "$(tail -n 1 "$work/io")"
    says "$work/io" 'ADDRESS_FAILED.*CONNECTING'
    says "$work/io" 'wrote 65536/65536'
}

check_an_error_names_each_address()
{
    named "$dead" "$addr"
    refused "cannot connect to server.test:9999: .*$dead:9999.*; .*$addr:9999" \
        30 qemu-io -f raw -c 'read 0 512' \
        'rdma://server.test:9999/v?open-timeout=4'
}

check_a_server_that_moves_to_another_address_is_found()
{
    local second=$RDISK_LAB_ADDR2
    named "$addr"
    start_server
    volume v 8M
    client c "$(by_name 'v?reconnect-delay=120')"
    say c 'write -P 1 0 64k'
    answers c 'wrote 65536/65536' 20
    stop_server
    named "$second"
    addr=$second start_server
    say c 'write -P 2 64k 64k'
    answers c 'wrote 65536/65536 bytes at offset 65536' 60
    say c 'read -P 1 0 64k'
    answers c 'read 65536/65536 bytes at offset 0' 20
}

check_a_resolver_that_hangs_is_bounded_by_open_timeout()
{
    silent_resolver
    soon 5 refused "cannot resolve host 'elsewhere.test'" 20 \
        qemu-io -f raw -c 'read 0 512' 'rdma://elsewhere.test/v?open-timeout=1'
}

check_a_resolver_that_hangs_later_does_not_keep_the_disk_away()
{
    silent_resolver
    named "$addr"
    start_server
    volume v 8M
    client c "$(by_name 'v?reconnect-delay=120&open-timeout=4')"
    say c 'write -P 1 0 64k'
    answers c 'wrote 65536/65536' 20
    stop_server
    named
    start_server
    answers c 'trying its last known address' 30
    say c 'read -P 1 0 64k'
    answers c 'read 65536/65536 bytes at offset 0' 40
}

check_without_listen_clients_of_both_families_connect()
{
    local ipv6
    ipv6=$(link_local)
    [ "${ipv6%%%*}" ] || skip "no IPv6"
    addr='' start_server
    volume v 8M
    client four "$(uri 'v?shared=on')"
    client six "rdma://[${ipv6/\%/%25}]:$port/v?shared=on"
    say four 'write -P 7 0 64k'
    answers four 'wrote 65536/65536' 20
    say six 'read -P 7 0 64k'
    answers six 'read 65536/65536 bytes at offset 0' 20
    equal peers "$(stat_server \
        'sorted(s["peer"][0] for s in s["sessions"])[1]')" '['
}

check_an_overlay_over_a_link_local_address_can_be_opened_again()
{
    local ipv6
    ipv6=$(link_local)
    [ "${ipv6%%%*}" ] || skip "no IPv6"
    addr='' start_server
    volume v 8M
    qemu-img create -q -f qcow2 "$work/over.qcow2" 8M
    launched qemu qemu-system-x86_64 -M none -nodefaults -display none \
        -qmp "unix:$work/qemu.qmp,server=on,wait=off" -blockdev \
        "{\"driver\": \"rdma\", \"node-name\": \"disk\", \"volume\": \"v\",
          \"server\": {\"host\": \"$ipv6\", \"port\": \"$port\"}}"
    vm_io qemu disk "write -P 9 0 64k"
    rm "$work/over.qcow2"
    qmp qemu blockdev-snapshot-sync "{\"node-name\": \"disk\",
        \"snapshot-file\": \"$work/over.qcow2\", \"format\": \"qcow2\",
        \"snapshot-node-name\": \"over\"}" >/dev/null
    quit qemu
    qemu-img info -U "$work/over.qcow2" | grep -F '%25' ||
        fail "the backing file's name has no %25"
    within 60 qemu-io -f qcow2 -c 'read -P 9 0 64k' "$work/over.qcow2" \
        >"$work/io" 2>&1 || fail "$(tail -n 1 "$work/io")"
    says "$work/io" 'read 65536/65536'
}

run_checks
