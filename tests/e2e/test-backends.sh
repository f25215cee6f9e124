#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What lies behind a volume: memory, nothing, read-only files, disks with
# blocks of 4 KiB, file systems without O_DIRECT.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

check_a_memory_volume_keeps_what_is_written()
{
    local i
    for ((i = 1; i <= 50; i++)); do
        echo "aio_write -q -P $i $((i * 70001)) 70001"
    done >"$work/script"
    echo aio_flush >>"$work/script"
    for ((i = 1; i <= 50; i++)); do
        echo "read -q -P $i $((i * 70001)) 70001"
    done >>"$work/script"
    io_script memory <"$work/script"
    io memory 'read -q -P 7 490007 70001'
}

check_a_null_volume_takes_everything_and_returns_zeroes()
{
    io null 'write -q -P 255 5G 4M' 'read -q -P 0 5G 4M' flush
}

check_a_read_only_volume_can_be_read_only()
{
    io_options=-r io fixed 'read -q -P 9 0 1M'
    refused 'read-only' 20 qemu-io -f raw -c 'write 0 4k' "$(uri fixed)"
    head -c 1048576 "$work/fixed" | tr -d '\011' | wc -c | grep -qx 0
}

check_a_read_only_volume_opens_read_only_where_that_is_allowed()
{
    local node="driver=rdma,node-name=n,volume=fixed,server.host=$addr"
    node+=",server.port=$port,read-only=off"
    refused 'read-only on the server' 20 qemu-storage-daemon \
        --blockdev "$node" --daemonize --pidfile "$work/pid"
    within 20 qemu-storage-daemon --blockdev "$node,auto-read-only=on" \
        --daemonize --pidfile "$work/pid"
    end_later "$(cat "$work/pid")"
}

# A file system on a disk with blocks of 4 KiB.
mount_4k()
{
    modprobe loop 2>/dev/null || true
    truncate -s 96M "$work/disk"
    loop=$(losetup --find --show -b 4096 "$work/disk") ||
        skip "no loop device with 4 KiB blocks"
    mke2fs -q -F -t ext4 "$loop"
    mkdir -p "$work/pool.7472"
    mount "$loop" "$work/pool.7472" || {
        losetup -d "$loop"
        skip "no ext4 in this kernel"
    }
    trap 'umount -l "$work/pool.7472"; losetup -d "$loop"' EXIT
}

check_a_disk_of_4_KiB_blocks_is_used_directly_with_its_block_size()
{
    mount_4k
    start_server
    volume direct 16M
    client holder "$(uri direct)"
    equal "block size" "$(stat_server 's["volumes"][0]["block_size"]')" 4096
    say holder quit
    wait_until 10 gone "${client[holder]}"
    io direct 'write -q -P 1 0 4k' 'write -q -P 2 512 512' \
        'read -q -P 2 512 512' 'read -q -P 1 1024 3072'
    ! grep -q 'page cache' "$server_log" || fail "it is buffered"
    cmp -n 512 <(head -c 512 /dev/zero | tr '\0' '\001') \
        <(dd if="$pool/direct" bs=512 count=1 status=none)
    stop_server
}

# The disk's blocks are larger than what they write, so that either a client or
# the server has to read, change and write a block: the server does, one after the
# other.
check_two_hosts_that_write_sectors_of_one_block_lose_nothing()
{
    local i one=() other=()
    mount_4k
    start_server
    volume both 16M
    for ((i = 0; i < 150; i++)); do
        one+=("write -q -P $((i % 250 + 1)) 0 512"
            "read -q -P $((i % 250 + 1)) 0 512")
        other+=("write -q -P $((i % 250 + 1)) 512 512"
            "read -q -P $((i % 250 + 1)) 512 512")
    done
    printf '%s\n' "${other[@]}" >"$work/other"
    within 60 qemu-io -f raw -t none "$(uri 'both?shared=on')" \
        <"$work/other" >"$work/other.out" 2>&1 &
    printf '%s\n' "${one[@]}" >"$work/one"
    within 60 qemu-io -f raw -t none "$(uri 'both?shared=on')" \
        <"$work/one" >"$work/one.out" 2>&1 || fail "$(tail -n 1 "$work/one.out")"
    wait $! || fail "$(tail -n 1 "$work/other.out")"
    ! cat "$work/one.out" "$work/other.out" |
        grep -E 'verification failed|error|failed' ||
        fail "a sector is not what its host had written"
    io both 'read -q -P 150 0 1k'
    stop_server
}

# submission VOLUME: as reported while it is open
submission()
{
    client holder "$(uri "$1")"
    stat_server "[v['submission'] for v in s['volumes'] if v['name'] == '$1'][0]"
    say holder quit
    wait_until 10 gone "${client[holder]}"
}

check_a_file_in_memory_is_read_and_written_by_the_reactor_itself()
{
    volume tmpfs 16M
    equal "submission" "$(submission tmpfs)" inline
    io tmpfs 'write -q -P 1 0 1M' 'write -q -P 2 512 512' flush \
        'read -q -P 2 512 512' 'read -q -P 1 1024 1047552' \
        'write -q -z -u 4k 8k' 'read -q -P 0 4k 8k' 'read -q -P 1 12k 4k'
}

check_a_file_on_a_disk_is_not()
{
    mount_4k
    start_server
    volume disk 16M
    equal "submission" "$(submission disk)" io_uring
    stop_server
}

check_a_volume_without_o_direct_is_served_and_said_so_once()
{
    mount_4k
    start_server
    # No multiple of the disk's block size.
    volume buffered 1049088
    volume also $((2097152 + 512))
    io buffered 'write -q -P 3 1048576 512' flush 'read -q -P 3 1048576 512'
    io also 'write -q -P 4 2097152 512' 'read -q -P 4 2097152 512'
    equal "messages about the page cache" \
        "$(grep -c 'page cache' "$server_log")" 1
    says "$server_log" "volume 'buffered' is served through the page cache, b"
    stop_server
}

check_a_mounted_device_is_served_read_only_at_most()
{
    mount_4k
    refused 'is in use on this machine' 30 rdiskd --config '' --pool '' \
        --listen "$addr" --port 7600 --control "$work/second" \
        --state "$work/state" --volume "disk=file:$loop" --authentication none
    start_server --volume "disk=file:$loop,read-only"
    io_options=-r io disk 'read -q 0 4k'
    stop_server
}

check_a_full_disk_is_an_error_to_the_client_only()
{
    mount_4k
    start_server
    volume large 512M
    refused 'No space|Input/output' 60 \
        qemu-io -f raw -c 'write -P 1 0 128M' "$(uri large)"
    # The server and what was there before are well.
    rm "$pool/large"
    volume after 4M
    io after 'write -q -P 1 0 4M' 'read -q -P 1 0 4M'
    stop_server
}

check_a_truncated_file_is_an_error_to_the_client_only()
{
    volume cut 8M
    client c "$(uri cut)"
    truncate -s 1M "$pool/cut"
    say c 'read 4M 4k'
    answers c 'read failed' 20
    say c 'read -P 0 0 4k'
    answers c '^read 4096/4096' 20
    says "$server_log" "volume 'cut': read of 4096 bytes at 4194304 failed"
}

head -c 1048576 /dev/zero | tr '\0' '\011' >"$work/fixed"
start_server --volume memory=memory:8M --volume null=null:16G \
    --volume "fixed=file:$work/fixed,read-only"
run_checks
