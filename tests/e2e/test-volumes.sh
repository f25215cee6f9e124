#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Volumes from far: made, resized and mapped by their URI.
# quick-lab: many programs start
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

# rdisk with a time limit: far COMMAND…
far()
{
    within 30 rdisk "$@"
}

size_on_disk()
{
    stat -c %s "$pool/$1"
}

check_a_volume_is_made_from_far()
{
    start_server --create allow
    far create "$(uri new)" 8M
    equal "its size" "$(size_on_disk new)" 8388608
    io new 'read -q -P 0 0 8M' 'write -q -P 7 0 1M'
    refused "volume 'new' already exists" 30 rdisk create "$(uri new)" 4M
    equal "its size" "$(size_on_disk new)" 8388608
}

check_a_volume_is_replaced_only_when_told_and_idle()
{
    start_server --create allow
    volume old 4M
    io old 'write -q -P 7 0 1M'
    client c "$(uri old)"
    refused 'open at' 30 rdisk create --replace "$(uri old)" 2M
    say c quit
    wait_until 20 no_sessions
    far create --replace "$(uri old)" 2M
    equal "its size" "$(size_on_disk old)" 2097152
    io old 'read -q -P 0 0 2M'
}

check_nobody_makes_volumes_unless_allowed()
{
    start_server
    refused 'may not create a volume' 30 rdisk create "$(uri new)" 8M
    [ ! -e "$pool/new" ]
}

# The lab's file systems share no blocks.
check_a_volume_is_copied_where_it_cannot_be_shared()
{
    local on=(--control "$control")
    start_server
    volume whole 64M
    io whole 'write -q -P 5 1M 300k' 'write -q -P 6 40M 64k'
    refused 'cannot share blocks between files' 30 \
        rdisk snapshot create whole@s "${on[@]}"
    client c "$(uri whole)"
    refused 'while it is written by' 30 \
        rdisk snapshot create whole@s --copy "${on[@]}"
    say c quit
    wait_until 20 no_sessions
    far snapshot create whole@s --copy "${on[@]}"
    far clone whole@s part --copy "${on[@]}"
    equal "its snapshots, from far" "$(far snapshot list "$(uri whole)" |
        tail -n +2 | xargs)" "whole@s 64M"
    equal "those of its clone" "$(far snapshot list "$(uri part)" -o json |
        tr -d ' \n')" '{"snapshots":[]}'
    io whole 'write -q -P 7 1M 300k'
    io_options=-r io whole@s 'read -q -P 5 1M 300k' 'read -q -P 6 40M 64k' \
        'read -q -P 0 41M 8M'
    refused 'the volume is read-only on the server' 30 \
        qemu-io -f raw -c 'write 0 4k' "$(uri whole@s)"
    io part 'read -q -P 5 1M 300k' 'write -q -P 8 1M 300k'
    [ "$(stat -c %b "$pool/whole@s")" -lt 4096 ] || fail "it has no holes"
    far snapshot delete whole@s "${on[@]}"
    far delete whole "${on[@]}"
}

has_a_session()
{
    [ "$(stat_server 'len(s["sessions"])')" = 1 ]
}

check_a_client_makes_the_volumes_of_its_list()
{
    local secret=$work/alice.secret config=$work/rdiskd.conf as
    (umask 077 && rdisk secret >"$secret")
    cat >"$config" <<END
[client alice]
secret-file = $secret
read-write = a*
create = a*
END
    start_server --config "$config" --authentication hmac
    as=(--user alice --secret-file "$secret")
    far create "${as[@]}" "$(uri a1)" 4M
    equal "its size" "$(size_on_disk a1)" 4194304
    far create "${as[@]}" --replace "$(uri a1)" 2M
    # It is listed what it may open, and nothing else.
    volume hidden 1M
    equal "its list" "$(far list "${as[@]}" "rdma://$addr:$port/" |
        tr -s ' ')" $'NAME SIZE ACCESS\na1 2M read-write'
    rdisk delete hidden --control "$control"
    refused 'may not create a volume' 30 rdisk create "${as[@]}" "$(uri b)" 4M
    refused 'requires authentication' 30 rdisk create "$(uri a2)" 4M
    far resize "${as[@]}" "$(uri a1)" 6M
    equal "its size" "$(size_on_disk a1)" 6291456
    # What it may make and write it may delete, unless a client has it.
    volume b 1M
    refused 'may not delete a volume' 30 rdisk delete "${as[@]}" "$(uri b)"
    qemu-io -f raw -c 'sleep 60000' \
        "$(uri a1)?user=alice&key-secret=s" --object "secret,id=s,file=$secret" \
        >"$work/holder" 2>&1 &
    holder=$!
    end_later $holder
    wait_until 10 has_a_session || fail "$(tail -n 1 "$work/holder")"
    refused 'open at' 30 rdisk delete "${as[@]}" "$(uri a1)"
    kill -KILL $holder
    wait_until 20 no_sessions
    far delete "${as[@]}" "$(uri a1)"
    [ ! -e "$pool/a1" ] || fail "it is still there"
    [ -e "$pool/b" ] || fail "another one is gone"
    refused 'no volume' 30 rdisk delete "${as[@]}" "$(uri a1)"
    rm "$secret"
}

check_a_list_of_many_volumes_is_whole()
{
    local i
    start_server --volume m=memory:1M
    for ((i = 0; i < 300; i++)); do
        truncate -s 1M "$pool/v$i"
    done
    far list "rdma://$addr:$port" -o json | python3 -Sc 'import json, sys
volumes = json.load(sys.stdin)["volumes"]
assert [v["name"] for v in volumes] == sorted(["m"] + [f"v{i}" for i in range(300)])
assert all(v["size"] == 1 << 20 and not v["read_only"] for v in volumes)'
    refused 'the URI names a volume' 10 rdisk list "rdma://$addr:$port/m"
    refused 'is not the URI of a server' 10 rdisk list m
    refused 'for a URI' 10 rdisk list --user alice
}

check_a_volume_is_resized_from_far()
{
    start_server
    volume v 4M
    far resize "$(uri v)" 8M
    equal "its size" "$(size_on_disk v)" 8388608
    io v 'write -q -P 3 7M 1M' 'read -q -P 0 4M 3M'
    refused 'requires --shrink' 30 rdisk resize "$(uri v)" 4M
    far resize --shrink "$(uri v)" 4M
    equal "its size" "$(size_on_disk v)" 4194304
    # What was truncated does not come back.
    far resize "$(uri v)" 8M
    io v 'read -q -P 0 4M 4M'
}

check_a_volume_in_use_grows_but_does_not_shrink()
{
    start_server
    volume v 4M
    client c "$(uri v)?shared=on"
    far resize "$(uri v)?shared=on" 8M
    equal "its size" "$(size_on_disk v)" 8388608
    refused 'it can only grow' 30 rdisk resize --shrink \
        "$(uri v)?shared=on" 4M
    far resize v 12M --control "$control"
    refused 'open at' 20 rdisk resize v 4M --shrink --control "$control"
    equal "its size" "$(size_on_disk v)" 12582912
    say c 'write -P 5 0 1M'
    answers c 'wrote 1048576/1048576' 20
}

check_a_server_may_keep_its_sizes()
{
    start_server --resize deny --volume m=memory:4M
    volume v 4M
    refused 'may not resize' 30 rdisk resize "$(uri v)" 8M
    refused 'may not resize' 30 rdisk resize "$(uri m)" 8M
    equal "its size" "$(size_on_disk v)" 4194304
}

check_a_map_tells_data_from_holes()
{
    start_server --volume n=null:1G
    volume v 64M
    io v 'write -q -P 1 8M 1M' 'write -q -P 1 32M 64k'
    far map "$(uri v)" >"$work/map"
    says "$work/map" '^67108864 bytes, 1[01][0-9]{5} allocated$'
    says "$work/map" '^ *0 +8388608  hole$'
    says "$work/map" '^ *8388608 +1048576  data$'
    says "$work/map" '^ *33554432 +65536  data$'
    equal "lines" "$(wc -l <"$work/map")" 6
    far map --json "$(uri v)" | python3 -Sc 'import json, sys
m = json.load(sys.stdin)
assert m["size"] == sum(e["length"] for e in m["map"]) == 64 << 20
assert [e["kind"] for e in m["map"]] == ["hole", "data"] * 2 + ["hole"]'
    far map "$(uri n)" >"$work/map"
    says "$work/map" '^1073741824 bytes, 0 allocated$'
    says "$work/map" '^ *0 +1073741824  hole$'
}

check_a_map_of_many_pieces_is_whole()
{
    local i commands=()
    start_server
    volume v 64M
    for ((i = 0; i < 700; i++)); do
        commands+=("write -q -P 1 $((i * 65536)) 4k")
    done
    printf '%s\n' "${commands[@]}" | io_script v
    far map "$(uri v)" >"$work/map"
    equal "pieces of data" "$(grep -c data "$work/map")" 700
}

run_checks
