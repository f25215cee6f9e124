#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Who copies what: registered memory moves without a copy and with one work
# request each way; everything else is copied, and counted as such.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

# The server's counters of the volume `m`, which outlive sessions.
m()
{
    stat_server "[v for v in s['volumes'] if v['name'] == 'm'][0]['counters']['$1']"
}

# counted OPTION…: 1000 requests of 4 KiB; sets what they took
counted()
{
    local receives sends
    receives=$(m receives)
    sends=$(m work_requests)
    bench m -c 1000 -s 4k "$@"
    answers=$(($(m work_requests) - sends))
    received=$(($(m receives) - receives))
    requests=$(($(closed reads) + $(closed writes) + $(closed flushes)))
}

one_of_each()
{
    equal "copied bytes" "$(closed 'copied bytes')" 0
    equal "work requests of the client" "$(closed 'work requests')" $requests
    equal "receives of the server" $received $requests
    equal "work requests of the server" $answers $requests
}

check_a_read_of_4_KiB_takes_one_work_request_each_way_and_no_copy()
{
    counted -d 1
    equal "reads" "$(closed reads)" 1000
    one_of_each
}

check_a_write_of_4_KiB_takes_one_work_request_each_way_and_no_copy()
{
    counted -d 1 -w
    equal "writes" "$(closed writes)" 1000
    one_of_each
}

# Requests of one turn share a message, and so do their answers.
no_more_than_one_of_each()
{
    equal "copied bytes" "$(closed 'copied bytes')" 0
    at_most "work requests of the client" "$(closed 'work requests')" $requests
    at_most "receives of the server" $received $requests
    at_most "work requests of the server" $answers $requests
}

check_at_depth_32_a_request_takes_no_more_and_no_copy()
{
    counted -d 32 -w
    equal "writes" "$(closed writes)" 1000
    no_more_than_one_of_each
    counted -d 32
    equal "reads" "$(closed reads)" 1000
    no_more_than_one_of_each
}

check_large_requests_of_registered_memory_are_not_copied()
{
    bench m -c 50 -d 4 -s 1M -w
    equal "copied bytes" "$(closed 'copied bytes')" 0
    equal "write bytes" "$(closed 'write bytes')" $((50 << 20))
}

check_registered_memory_holds_the_right_bytes()
{
    io m 'write -q -r -P 21 4096 3M' 'read -q -r -P 21 4096 3M'
    equal "copied bytes" "$(closed 'copied bytes')" 0
}

check_unregistered_memory_is_counted_as_copied()
{
    io m 'write -q -P 22 0 1M' 'read -q -P 22 0 512k'
    equal "copied bytes" "$(closed 'copied bytes')" $((1536 << 10))
}

check_a_read_around_an_unaligned_write_is_counted_as_copied()
{
    io m 'write -q -r -P 23 100 200'
    equal "reads" "$(closed reads)" 1
    equal "writes" "$(closed writes)" 1
    equal "copied bytes" "$(closed 'copied bytes')" 1024
}

# as_user KIB COMMAND…: as a user who may lock that much memory
as_user()
{
    local limit=$1
    shift
    # shellcheck disable=SC2016 # that bash expands these
    setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all \
        bash -c 'ulimit -l "$0" && exec "$@"' "$limit" timeout -k 2 $((60 * patience)) "$@"
}

# The user may not look into the folder of this checkout, so a copy it is.
user_tools()
{
    command -v setpriv >/dev/null || skip "no setpriv"
    [ "$(id -u)" = 0 ] || skip "only root can become another user"
    mkdir -p "$work/bin" "$work/lib/qemu"
    cp "$top/build/bin/qemu-io" "$top/build/bin/qemu-img" "$work/bin/"
    cp "$top"/build/lib/qemu/*.so "$work/lib/qemu/"
}

check_little_lockable_memory_is_told_once_and_copied()
{
    user_tools
    # The session's own 4 MiB fit, a buffer of 24 MiB does not.
    as_user 8192 "$work/bin/qemu-io" -f raw --trace rdma_close \
        -c 'write -q -r -P 31 0 24M' -c 'read -q -r -P 31 0 24M' \
        -c 'write -q -r -P 32 4k 20M' -c 'read -q -r -P 32 4k 20M' \
        "$(uri m)" >"$work/io" 2>&1 || fail "$(tail -n 1 "$work/io")"
    cat "$work/io"
    equal "warnings" "$(grep -c warning "$work/io")" 1
    says "$work/io" '(25165824|24 MiB)'
    says "$work/io" 'ulimit -l|RLIMIT_MEMLOCK|memlock'
    equal "copied bytes" "$(closed 'copied bytes')" $((88 << 20))
    io m 'read -q -P 32 4k 20M' 'read -q -P 31 0 4k'
}

# The second gets less memory to copy through.
check_two_disks_fit_into_8_MiB_of_lockable_memory()
{
    user_tools
    io m 'write -q -P 34 0 64M'
    volume second 64M
    as_user 8192 "$work/bin/qemu-img" convert -n -f raw -O raw "$(uri m)" \
        "$(uri second)" >"$work/io" 2>&1 || fail "$(tail -n 1 "$work/io")"
    cat "$work/io"
    says "$work/io" 'bytes of bounce memory instead of bounce-size=4194304'
    io second 'read -q -P 34 0 64M'
}

check_too_little_for_the_session_is_refused_with_bytes_and_remedy()
{
    user_tools
    refused '(ulimit -l|RLIMIT_MEMLOCK|memlock)' 20 \
        setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all \
        bash -c 'ulimit -l 64 && exec "$@"' - "$work/bin/qemu-io" -f raw \
        -c 'read 0 4k' "$(uri m)"
    says "$work/refused" '[0-9]{4,}'
}

check_an_ordinary_user_with_enough_copies_nothing()
{
    user_tools
    as_user 65536 "$work/bin/qemu-io" -f raw --trace rdma_close \
        -c 'write -q -r -P 33 0 24M' -c 'read -q -r -P 33 0 24M' \
        "$(uri m)" >"$work/io" 2>&1 || fail "$(tail -n 1 "$work/io")"
    equal "copied bytes" "$(closed 'copied bytes')" 0
}

start_server --volume m=memory:64M
run_checks
