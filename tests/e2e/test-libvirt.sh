#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The examples of docs/libvirt.md: libvirt accepts them, and its guests boot
# from a volume, by either way.
# time-limit: 1600
# quick-lab: guests boot
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

root=$work/libvirt              # all that libvirt keeps

# A libvirt of this test alone, without a daemon.
libvirt()
{
    command -v virt-qemu-run virt-xml-validate >/dev/null &&
        id -u libvirt-qemu >/dev/null 2>&1 ||
        skip "there is no libvirt here; run: packaging/setup libvirt"
    mkdir -p "$root/etc"
    cat >"$root/etc/qemu.conf" <<EOF
user = "root"
group = "root"
security_driver = "none"
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
EOF
}

# example NAME: for this lab
example()
{
    sed -e "s#type='kvm'#type='qemu'#" \
        -e "s#/usr/local/bin/qemu#$top/build/bin/qemu#" \
        -e "s#/run/rdisk/guest.sock#$work/vhost#" \
        -e "s#server.host=[^,]*,server.port=[^,]*#server.host=$addr,server.port=$port#" \
        "$top/docs/libvirt/$1.xml" >"$work/$1.xml"
}

check_libvirt_accepts_the_examples()
{
    libvirt
    example vhost-user
    example commandline
    within 30 virt-xml-validate "$work/vhost-user.xml"
    within 30 virt-xml-validate "$work/commandline.xml"
    native vhost-user 'share.*true.*vhost-user-blk-pci'
    native commandline 'mem-lock=on.*driver=rdma'
}

# native NAME REGEX: QEMU's command line has it
native()
{
    within 60 virsh -q -c "qemu:///embed?root=$root" domxml-to-native \
        qemu-argv "$work/$1.xml" >"$work/argv"
    says "$work/argv" "$2"
}

# run_guest NAME: until it has done its task
run_guest()
{
    local image
    image=$("$top/tests/lab/guest/build")
    sed -i -e "s#</type>#&<kernel>$image/vmlinux</kernel><cmdline>$(
        cat "$image/cmdline") rdisk.task=auto</cmdline>#" \
        -e "s#<devices>#<cpu mode='custom'><model>qemu64</model>\
<feature policy='disable' name='cx16'/></cpu>&<serial type='file'>\
<source path='$work/$1.console'/></serial>#" "$work/$1.xml"
    virt-qemu-run -r "$root" "$work/$1.xml" &
    runner=$!
    end_later $runner
    wait_until 600 powered_off "$1" || {
        tail -n 20 "$work/$1.console"
        fail "the guest did not power off"
    }
    kill -TERM $runner
    grep -a RDISK-GUEST "$work/$1.console"
    says "$work/$1.console" 'RDISK-GUEST: VERIFIED 12 files'
}

# The guest has said so, and libvirt that its QEMU has ended.
powered_off()
{
    gone "$runner" || {
        grep -aq 'RDISK-GUEST: poweroff' "$work/$1.console" &&
            grep -q 'shutting down, reason=' "$root/log/qemu/guest.log"
    }
}

# A volume with the test guest's root
root_volume()
{
    local image
    image=$("$top/tests/lab/guest/build")/root.ext4
    start_server
    volume root "$(stat -c %s "$image")"
    within 120 qemu-img convert -n -f raw -O raw "$image" "$(uri root)"
}

check_a_guest_of_libvirt_boots_from_a_vhost_user_export()
{
    libvirt
    [ -x /usr/bin/qemu-system-x86_64 ] || skip "there is no QEMU of Debian"
    root_volume
    qemu-storage-daemon --pidfile "$work/daemon.pid" --blockdev \
        "driver=rdma,node-name=disk,server.host=$addr,server.port=$port,\
volume=root" --export "type=vhost-user-blk,id=vhost,node-name=disk,\
addr.type=unix,addr.path=$work/vhost,writable=on" &
    end_later $!
    wait_until 30 test -s "$work/daemon.pid"
    example vhost-user
    run_guest vhost-user
}

check_a_guest_of_libvirt_boots_from_an_rdma_disk()
{
    libvirt
    root_volume
    example commandline
    run_guest commandline
    "$top/tests/lab/guest/check-image" "$pool/root"
}

run_checks
