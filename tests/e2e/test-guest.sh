#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A Linux guest whose root disk is an rdma:// volume, through virtio-blk-pci:
# it writes and fsyncs files, reboots, verifies them; then the same bytes must
# be in the server's backing file, and none was copied on the way.
# time-limit: 1600
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=tests/e2e/guest.sh
. "$here/guest.sh"

added()
{
    guest_counter "$work" "$1"
}

check_a_guest_boots_writes_reboots_and_verifies()
{
    local image
    image=$("$top/tests/lab/guest/build")/root.ext4
    volume root "$(stat -c %s "$image")"
    within 120 qemu-img convert -n -f raw -O raw "$image" "$(uri root)"
    # A host that is busy with its own guest takes its time.
    guest_start "$work" "$(uri 'root?open-timeout=60&heartbeat=60')" || fail "$(tail -n 1 "$work/boot")"
    end_later "$guest_pid"
    guest_wait "$work" 1500 || {
        tail -n 20 "$work/console"
        fail "$(tail -n 1 "$work/boot")"
    }
    stat_server 's["sessions"][0]["counters"]' >"$work/server-counters"
    guest_end "$work" || fail "$(tail -n 1 "$work/boot")"
    grep -a RDISK-GUEST "$work/console"
    equal "boots" "$(grep -ac 'RDISK-GUEST: BOOTED' "$work/console")" 2
    says "$work/console" 'RDISK-GUEST: WROTE 12 files'
    says "$work/console" 'RDISK-GUEST: VERIFIED 12 files'
}

check_the_guests_bytes_are_in_the_backing_file_and_its_file_system_clean()
{
    "$top/tests/lab/guest/check-image" "$pool/root"
}

# Before the guest runs, QEMU looks for a partition table: one read of its own.
check_qemu_itself_copied_one_block_before_the_guest_ran()
{
    equal "copied bytes" \
        "$(sed -n 's/^copied-bytes //p' "$work/before")" 512
    equal "reads" "$(sed -n 's/^reads //p' "$work/before")" 1
}

check_no_byte_of_the_guests_was_copied()
{
    [ "$(added read-bytes)" -gt 8000000 ] || fail "the guest read too little"
    [ "$(added write-bytes)" -gt 8000000 ] || fail "it wrote too little"
    equal "copied bytes" "$(added copied-bytes)" 0
    equal "bounced requests" "$(added bounced)" 0
}

check_none_of_the_guests_requests_failed()
{
    equal "failed requests" "$(added failed)" 0
}

# Those of one turn of the server share a message.
check_the_guests_requests_had_no_more_than_one_answer_each()
{
    local requests
    requests=$(($(added reads) + $(added writes) + $(added flushes)))
    at_most "receives" "$(added receives)" $requests
    at_least "receives" "$(added receives)" $((requests / 32))
    [ "$(added flushes)" -gt 12 ] || fail "fsync did not reach the server"
    at_most "doorbells" "$(added doorbells)" "$(added work-requests)"
}

# A write of more pieces than the device gathers at once takes more than one.
check_most_requests_took_one_work_request()
{
    local requests
    requests=$(($(added reads) + $(added writes) + $(added flushes)))
    at_most "work requests per 100 requests" \
        $(($(added work-requests) * 100 / requests)) 150
}

check_client_and_server_count_the_same()
{
    local name
    cat "$work/server-counters"
    for name in reads writes flushes read-bytes write-bytes; do
        says "$work/server-counters" \
            "'${name/-/_}': $(sed -n "s/^$name //p" "$work/after")[,}]"
    done
}

start_server
run_checks
