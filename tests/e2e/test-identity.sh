#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Which volume it is: what is told apart although it looks alike, and what
# stays itself although it has moved.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

# identity VOLUME: as long as it is open, as reported by the server
identity()
{
    stat_server "[v for v in s['volumes'] if v['name'] == '$1'][0]['identity']"
}

# Two file systems in memory, with a file of the same number in each, and a
# loop device over each: $first and $second.
two_loops()
{
    local file
    modprobe loop 2>/dev/null || true
    for file in a b; do
        mkdir "$work/$file"
        mount -t tmpfs none "$work/$file"
        truncate -s 16M "$work/$file/f"
    done
    trap end_loops EXIT
    equal "the second file's number" "$(stat -c %i "$work/b/f")" \
        "$(stat -c %i "$work/a/f")"
    first=$(losetup --find --show "$work/a/f") || skip "no loop devices"
    second=$(losetup --find --show "$work/b/f")
}

end_loops()
{
    [ -z "${first:-}" ] || losetup -d "$first"
    [ -z "${second:-}" ] || losetup -d "$second"
    umount -l "$work/a" "$work/b"
    rmdir "$work/a" "$work/b"
}

check_loop_devices_over_different_files_are_different_volumes()
{
    local target="file.driver=rdma,file.server.host=$addr"
    two_loops
    yes SOURCE-DATA | head -c 16M >"$work/a/f"
    yes old-target | head -c 16M >"$work/b/f"
    start_server --volume "disk1=file:$first" --volume "disk2=file:$second"
    target+=",file.server.port=$port"
    [ "$(identity disk1)" != "$(identity disk2)" ] ||
        fail "both have one identity"
    # The first half of the one into the second half of the other.
    within 60 qemu-img convert -n -C --image-opts --target-image-opts \
        "driver=raw,size=8388608,$target,file.volume=disk1" \
        "driver=raw,offset=8388608,size=8388608,$target,file.volume=disk2"
    stop_server
    sync
    cmp <(head -c 8M "$first") <(tail -c 8M "$second") ||
        fail "the copy is not the source"
}

check_a_loop_device_is_its_file()
{
    local before
    two_loops
    start_server --volume "disk=file:$first"
    before=$(identity disk)
    stop_server
    losetup -d "$first" && losetup -d "$second"
    second=$(losetup --find --show "$work/b/f")
    first=$(losetup --find --show "$work/a/f")
    start_server --volume "disk=file:$first"
    equal "identity" "$(identity disk)" "$before"
    stop_server
}

check_what_has_one_identity_is_refused()
{
    local config=$work/rdiskd.conf
    truncate -s 1M "$work/one" "$work/two"
    cat >"$config" <<END
[volume one]
backend = file
path = $work/one
identity = disk
[volume two]
backend = file
path = $work/two
identity = disk
END
    refused "volume 'two' has the identity of volume 'one'" 20 rdiskd \
        --config "$config" --listen "$addr" --port 7600 --control '' \
        --state "$work/state" --authentication none
}

check_a_volume_whose_file_moves_during_a_drain_stays_itself()
{
    start_server
    volume v 8M
    client c "$(uri 'v?reconnect-delay=60')"
    say c 'write -P 1 0 4k'
    answers c 'wrote 4096/4096 bytes at offset 0' 20
    within 40 rdisk drain v --control "$control"
    cp -a "$pool/v" "$work/moved"
    rm "$pool/v"
    cp -a "$work/moved" "$pool/v"
    within 20 rdisk resume v --control "$control"
    say c 'write -P 2 1M 4k'
    answers c 'wrote 4096/4096 bytes at offset 1048576' 40
    io_options=-r io v 'read -P 1 0 4k' 'read -P 2 1M 4k'
    stop_server
}

# The client must not write over it what it still has to write.
check_a_backup_that_is_put_back_is_left_alone()
{
    start_server
    volume v 8M
    io v 'write -P 1 0 4k'
    cp -a "$pool/v" "$work/backup"
    client c "$(uri 'v?reconnect-delay=60')"
    say c 'write -P 2 0 4k'
    answers c 'wrote 4096/4096 bytes at offset 0' 20
    within 40 rdisk drain v --control "$control"
    rm "$pool/v"
    cp -a "$work/backup" "$pool/v"
    within 20 rdisk resume v --control "$control"
    say c 'write -P 3 0 4k'
    answers c 'not the one that this client had open' 40
    io_options=-r io v 'read -P 1 0 4k'
    stop_server
}

run_checks
