#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What a guest may see of a volume: each of QEMU's disk controllers boots from
# it, writes it and verifies it; formats on top of it do; and the node moves
# between IOThreads meanwhile.
# time-limit: 1200
# quick-lab: firmware and guests boot on each
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=tests/e2e/qemu.sh
. "$here/qemu.sh"

# boots NAME DEVICE-OPTION…: a machine on a volume, through these devices
boots()
{
    local name=$1
    shift
    boot_volume "$name"
    machine "$name" -blockdev "$(node disk "$name" "${members[@]}")" "$@"
    goes_on "$name" 70
}

# The guest's memory is read and written in place; QEMU itself looks at a sector.
moves_without_a_copy()
{
    at_most "copied bytes" "$(copied "$1" disk)" 512
}

# ends NAME [UNIT]: and what it wrote is there
ends()
{
    quit "$1"
    whole "$@"
}

members=()

check_virtio_blk()
{
    boots blk -device virtio-blk-pci,drive=disk
    moves_without_a_copy blk
    ends blk
}

check_virtio_scsi()
{
    boots scsi -device virtio-scsi-pci -device scsi-hd,drive=disk
    moves_without_a_copy scsi
    ends scsi
}

check_nvme()
{
    boots nvme -device nvme,serial=1,drive=disk
    moves_without_a_copy nvme
    ends nvme
}

# The firmware writes it sector by sector.
check_ide()
{
    boots ide -device ide-hd,drive=disk
    ends ide 512
}

check_ahci()
{
    boots ahci -M q35 -device ide-hd,drive=disk
    moves_without_a_copy ahci
    ends ahci
}

check_virtio_blk_in_an_iothread()
{
    boots thread -object iothread,id=t0 \
        -device virtio-blk-pci,drive=disk,iothread=t0
    moves_without_a_copy thread
    ends thread
}

check_virtio_blk_over_two_iothreads()
{
    members=('"queues": 2')
    boots mapped -object iothread,id=t0 -object iothread,id=t1 -device \
        '{"driver": "virtio-blk-pci", "drive": "disk", "num-queues": 4,
          "iothread-vq-mapping": [{"iothread": "t0"}, {"iothread": "t1"}]}'
    moves_without_a_copy mapped
    ends mapped
}

# The machine's stop takes the node out of the IOThread, cont puts it back.
check_the_node_moves_between_threads_under_io()
{
    local i
    boots moved -object iothread,id=t0 \
        -device virtio-blk-pci,drive=disk,iothread=t0
    for ((i = 0; i < 10; i++)); do
        qmp moved stop >/dev/null
        qmp moved cont >/dev/null
        goes_on moved 1
    done
    ends moved
}

# A reset ends the device in the middle of a request.
check_a_guest_that_is_reset_under_io_starts_again()
{
    local i
    boots reset -object iothread,id=t0 \
        -device virtio-blk-pci,drive=disk,iothread=t0
    for ((i = 0; i < 5; i++)); do
        qmp reset system_reset >/dev/null
        goes_on reset 2
    done
    [ "$(tr -cd B <"$work/reset.serial" | wc -c)" -gt 1 ] ||
        fail "the guest was not reset"
    quit reset
}

check_a_node_without_a_device_moves_between_threads()
{
    local i thread
    volume free 4M
    launched free qemu-system-x86_64 -M none -nodefaults -display none \
        -qmp "unix:$work/free.qmp,server=on,wait=off" \
        -object iothread,id=t0 -object iothread,id=t1 \
        -blockdev "$(node disk free '"queues": 2')"
    for ((i = 1; i < 10; i++)); do
        for thread in '"t0"' '"t1"' null; do
            qmp free x-blockdev-set-iothread \
                "{\"node-name\": \"disk\", \"iothread\": $thread}" >/dev/null
            vm_io free disk "write -P $i ${i}k 1k" "read -P $i ${i}k 1k"
        done
    done
    quit free
}

check_a_guest_on_qcow2()
{
    boot_volume inner
    volume cow 16M
    within 30 qemu-img create -q -f qcow2 "$(uri cow)" 4M
    within 60 qemu-img convert -n -f raw -O qcow2 "$(uri inner)" "$(uri cow)"
    machine cow -blockdev "$(node file cow)" \
        -blockdev driver=qcow2,node-name=disk,file=file \
        -device virtio-blk-pci,drive=disk
    goes_on cow 70
    quit cow
    within 30 qemu-img check -q -f qcow2 "$(uri cow)"
    within 60 qemu-img convert -f qcow2 -O raw "$(uri cow)" "$pool/out"
    whole out
}

# LUKS chooses its iterations by the time that a thread has run in user mode.
user_time_counts()
{
    python3 -Sc 'import resource, time
began = time.monotonic()
while time.monotonic() - began < 0.5:
    pass
raise SystemExit(resource.getrusage(resource.RUSAGE_THREAD).ru_utime < 0.1)'
}

check_a_guest_on_luks()
{
    local secret=secret,id=s0,data=swordfish
    user_time_counts || skip "this kernel counts no user time, LUKS needs it"
    boot_volume plain
    volume luks 16M
    within 60 qemu-img create -q -f luks --object $secret \
        -o key-secret=s0,iter-time=10 "$(uri luks)" 4M
    within 60 qemu-img convert -n --object $secret --image-opts \
        --target-image-opts "driver=raw,$(image plain file.)" \
        "driver=luks,key-secret=s0,$(image luks file.)"
    machine luks -object $secret -blockdev "$(node file luks)" \
        -blockdev driver=luks,node-name=disk,file=file,key-secret=s0 \
        -device virtio-blk-pci,drive=disk
    goes_on luks 70
    quit luks
    within 60 qemu-img convert --object $secret --image-opts -O raw \
        "driver=luks,key-secret=s0,$(image luks file.)" "$pool/out"
    whole out
    # And nothing of it can be read in the volume itself.
    ! grep -qaF "$(head -c 16 "$work/bootdisk.bin" | tr -d '\0')" "$pool/luks" ||
        fail "the guest is not encrypted"
}

check_a_part_of_a_volume_as_a_raw_disk()
{
    boot_volume part
    volume whole 16M
    dd if="$pool/part" of="$pool/whole" bs=1M seek=8 conv=notrunc status=none
    machine whole -blockdev "$(node file whole)" -blockdev \
        driver=raw,node-name=disk,file=file,offset=8388608,size=4194304 \
        -device virtio-blk-pci,drive=disk
    goes_on whole 70
    quit whole
    dd if="$pool/whole" of="$pool/out" bs=1M skip=8 count=4 status=none
    whole out
    cmp -n 8388608 "$pool/whole" /dev/zero
}

start_server
run_checks
