# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# The life of a guest whose root disk is an rdma:// volume, and what its disk
# cost; shared by the test and the demonstration.
#
# guest_start makes QEMU with the disk, still without a running guest, and
# takes the driver's counters: what QEMU itself has read until then is not the
# guest's.  guest_wait lets it run to its end and takes them again.  Both are
# in files of lines "NAME VALUE": DIR/before and DIR/after.

guest_here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
guest_pid=''

# guest_start DIR URI [BOOT-OPTION…]; the guest's console goes to DIR/console.
# Returns 1 when QEMU does not start; DIR/boot tells why.  With
# guest_iothread=PROPERTY=VALUE the disk is served by such an IOThread.
guest_start()
{
    local dir=$1 uri=$2 tries=300
    local disk=(-drive "file=$uri,format=raw,if=virtio")
    shift 2
    # shellcheck disable=SC2054 # commas are QEMU's
    [ -z "${guest_iothread:-}" ] ||
        disk=(-object "iothread,id=io,$guest_iothread"
            -drive "file=$uri,format=raw,if=none,id=disk"
            -device virtio-blk-pci,drive=disk,iothread=io)
    : >"$dir/console"
    "$guest_here/../lab/guest/boot" --task auto --log "$dir/console" "$@" -- \
        "${disk[@]}" \
        -qmp "unix:$dir/qmp,server=on,wait=off" -S -action shutdown=pause \
        >/dev/null 2>"$dir/boot" &
    guest_pid=$!
    until [ -S "$dir/qmp" ] &&
            "$guest_here/qmp" "$dir/qmp" rdma >"$dir/before" 2>/dev/null; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] && kill -0 "$guest_pid" 2>/dev/null || return 1
        sleep 0.2
    done
    "$guest_here/qmp" "$dir/qmp" cont >/dev/null
}

# guest_wait DIR SECONDS [PROGRESS-FUNCTION]: until the guest has powered off.
# Calls the function every half a second or so.
guest_wait()
{
    local dir=$1 end=$((SECONDS + $2)) progress=${3:-true}
    until grep -aq 'RDISK-GUEST: poweroff' "$dir/console" &&
            "$guest_here/qmp" "$dir/qmp" query-status | grep -q '"shutdown"'; do
        kill -0 "$guest_pid" 2>/dev/null || return 1
        if [ $SECONDS -gt $end ]; then
            echo "the guest is not done after $2 s" >>"$dir/boot"
            kill "$guest_pid"
            return 1
        fi
        "$progress"
        sleep 0.5
    done
    "$guest_here/qmp" "$dir/qmp" rdma >"$dir/after" || return 1
}

# End the QEMU of a guest that is done; returns boot's verdict.
guest_end()
{
    "$guest_here/qmp" "$1/qmp" quit >/dev/null
    wait "$guest_pid"
}

# guest_counter DIR NAME: what the guest added to a counter
guest_counter()
{
    awk -v name="$2" 'FNR == NR { before[$1] = $2; next }
        $1 == name { print $2 - before[$1] }' "$1/before" "$1/after"
}
