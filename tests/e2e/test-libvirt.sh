#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The examples of docs/libvirt.md: libvirt accepts them, its guests boot from a
# volume by each way, and with rdisk-vhost disks come, grow and go, and the guest
# moves to another host.
# time-limit: 2000
# quick-lab: guests boot
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=tests/e2e/vhost.sh
. "$here/vhost.sh"

root=$work/libvirt              # all that libvirt keeps

# A libvirt of this test alone, without a daemon.
libvirt()
{
    command -v virt-qemu-run virt-xml-validate >/dev/null &&
        id -u libvirt-qemu >/dev/null 2>&1 ||
        skip "there is no libvirt here; run: packaging/setup libvirt"
    mkdir -p "$root/etc"
    qemu_conf >"$root/etc/qemu.conf"
}

qemu_conf()
{
    cat <<EOF
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
    example rdisk-vhost
    within 30 virt-xml-validate "$work/vhost-user.xml"
    within 30 virt-xml-validate "$work/commandline.xml"
    within 30 virt-xml-validate "$work/rdisk-vhost.xml"
    native vhost-user 'share.*true.*vhost-user-blk-pci'
    native rdisk-vhost 'share.*true.*reconnect.*vhost-user-blk-pci.*num-queues'
    native commandline 'mem-lock=on.*driver=rdma'
}

# native NAME REGEX: QEMU's command line has it
native()
{
    within 60 virsh -q -c "qemu:///embed?root=$root" domxml-to-native \
        qemu-argv "$work/$1.xml" >"$work/argv"
    says "$work/argv" "$2"
}

# with_guest NAME TASK CONSOLE: the example's guest is the test guest
with_guest()
{
    local image programs=''
    image=$("$top/tests/lab/guest/build")
    ! grep -q 'vhostuser' "$work/$1.xml" ||
        programs="<initrd>$image/programs.cpio</initrd>"
    sed -i -e "s#</type>#&<kernel>$image/vmlinux</kernel>$programs<cmdline>$(
        cat "$image/cmdline") rdisk.task=$2</cmdline>#" \
        -e "s#<devices>#<cpu mode='custom'><model>qemu64</model>\
<feature policy='disable' name='cx16'/></cpu>&<serial type='file'>\
<source path='$3'/></serial>#" "$work/$1.xml"
}

# run_guest NAME: until it has done its task
run_guest()
{
    with_guest "$1" auto "$work/$1.console"
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

# ---- libvirtd, of two hosts ----------------------------------------------

# in_host HOME COMMAND…: it has that host's files where libvirt and rdisk-vhost look
# for theirs. Becomes the command.
in_host()
{
    mkdir -p /run/libvirt /run/rdisk-vhost /etc/libvirt \
        /var/{lib,cache,log}/libvirt
    # shellcheck disable=SC2016 # the inner shell's
    exec unshare -m --propagation private bash -ec '
        mount --bind "$1/run" /run/libvirt
        mount --bind "$1/etc" /etc/libvirt
        mount --bind "$1/lib" /var/lib/libvirt
        mount --bind "$1/cache" /var/cache/libvirt
        mount --bind "$1/log" /var/log/libvirt
        mount --bind "$1/disks" /run/rdisk-vhost
        shift
        exec "$@"' host "$@"
}

# host NAME NUMBER VOLUME…: a libvirtd with our hook, and an rdisk-vhost with these
# volumes.
host()
{
    local home=$work/$1 vhost_control=$work/$1.control vhost_config=$work/$1.conf
    local vhost_under="in_host $home" volume
    rm -rf "$home"
    mkdir -p "$home"/{run,etc/hooks/qemu.d,lib,cache,log,disks,sockets}
    qemu_conf >"$home/etc/qemu.conf"
    # libvirtd looks for hooks when it starts.
    install -m 755 "$top/packaging/libvirt/rdisk-hook" \
        "$home/etc/hooks/qemu.d/rdisk"
    cat >"$home/etc/libvirtd.conf" <<EOF
unix_sock_dir = "$home/sockets"
auth_unix_rw = "none"
auth_unix_ro = "none"
host_uuid = "11111111-2222-4333-8444-55555555550$2"
log_outputs = "3:file:$home/libvirtd.log"
EOF
    for volume in "${@:3}"; do
        printf '[disk %s]\nuri = %s\nsocket = %s\n\n' "$volume" \
            "$(uri "$volume?reconnect-delay=60&heartbeat=60")" \
            "$home/disks/$volume.sock"
    done >"$vhost_config"
    vhost_start
    for volume in "${@:3}"; do
        wait_until 20 accepts "$home/disks/$volume.sock"
    done
    in_host "$home" libvirtd -f /etc/libvirt/libvirtd.conf -p "$home/pid" \
        >"$home/out" 2>&1 &
    end_later $!
    wait_until 30 accepts "$home/sockets/libvirt-sock" ||
        fail "libvirtd: $(cat "$home/libvirtd.log" "$home/out" | tail -n 1)"
}

connection()
{
    echo "qemu+unix:///system?socket=$work/$1/sockets/libvirt-sock"
}

# on HOST COMMAND…: of virsh
on()
{
    within 120 virsh -q -c "$(connection "$1")" "${@:2}" || {
        tail -n 5 "$work/$1/libvirtd.log" "$work/$1"/log/qemu/*.log
        fail "virsh $2 failed on host $1"
    }
}

# libvirtd leaves its QEMUs running when it ends.
end_guest_later()
{
    end_later "$(cat "$work/$1/run/qemu/guest.pid")"
}

# tells HOST REGEX [N]: the guest, on its console there, so often
tells()
{
    local console=$work/$1/disks/console
    wait_until 120 told "$console" "$2" "${3:-1}" || {
        tail -n 20 "$console" "$work/$1"/log/qemu/*.log
        fail "the guest on $1 does not say '$2'"
    }
    ! grep -aE 'RDISK-GUEST: FAILED|I/O error' "$console" ||
        fail "the guest on $1 failed"
}

told()
{
    [ "$(grep -acE "RDISK-GUEST: $2" "$1")" -ge "$3" ] ||
        grep -aq 'RDISK-GUEST: FAILED' "$1"
}

has_disk()
{
    on "$1" domblklist guest | grep -q 'vdb .*data.sock'
}

has_no_disk()
{
    ! has_disk "$1"
}

# guest_of_a_pool GUEST POOL: what libvirtd gives its hooks of a guest with a disk of
# that pool
guest_of_a_pool()
{
    cat <<END
<domain type='kvm'><name>$1</name><devices>
  <disk type='vhostuser' device='disk'>
    <source type='unix' path='/run/rdisk-vhost/$2/$1.sock'/>
  </disk>
</devices></domain>
END
}

check_the_hook_adds_and_removes_the_disk_of_a_guest()
{
    local hook=$top/packaging/libvirt/rdisk-hook
    start_server
    volume web 8M
    vhost_start
    mkdir -p /etc/rdisk /run/rdisk-vhost/fast
    printf '[fast]\nuri = rdma://%s:%s/\nowner = root\ncontrol = %s\n' \
        "$addr" "$port" "$vhost_control" >/etc/rdisk/libvirt.conf
    guest_of_a_pool web fast >"$work/web.xml"
    within 60 "$hook" web prepare begin - <"$work/web.xml"
    within 20 vhost-client /run/rdisk-vhost/fast/web.sock info
    # It is there already when this host has lost its guest.
    within 60 "$hook" web prepare begin - <"$work/web.xml"
    within 20 vhost-client /run/rdisk-vhost/fast/web.sock info
    within 60 "$hook" web started begin - <"$work/web.xml"
    within 60 "$hook" web release end - <"$work/web.xml"
    ! within 20 rdisk list --control "$vhost_control" | grep -q '^web' ||
        fail "the disk is left"
    # Then the guest must not start, and libvirt prints why.
    guest_of_a_pool web slow >"$work/web.xml"
    refused 'rdisk-hook: .*slow' 60 "$hook" web prepare begin - <"$work/web.xml"
    # Nor where the daemon cannot make the socket: QEMU would wait for it.
    sed 's/^\[fast\]/[lost]/' /etc/rdisk/libvirt.conf >"$work/lost.conf"
    cp "$work/lost.conf" /etc/rdisk/libvirt.conf
    guest_of_a_pool web lost >"$work/web.xml"
    refused 'rdisk-hook: disk web of pool lost: ' 90 "$hook" web prepare begin - \
        <"$work/web.xml"
}

# define_guest POOL: of the example, with a disk of that pool
define_guest()
{
    example rdisk-vhost
    sed -i "s#<memory unit='MiB'>512<#<memory unit='MiB'>256<#
        s#rdisk-vhost/root.sock#rdisk-vhost/$1/root.sock#" "$work/rdisk-vhost.xml"
    with_guest rdisk-vhost watch /run/rdisk-vhost/console
    on left define "$work/rdisk-vhost.xml"
}

left_has_disk()
{
    within 20 rdisk list --control "$work/left.control" | grep -q '^root'
}

left_has_no_disk()
{
    ! left_has_disk
}

check_libvirtd_starts_a_guest_on_the_disk_that_its_hook_adds()
{
    libvirt
    [ -x $stock ] || skip "$stock is not installed"
    root_volume
    mkdir -p /etc/rdisk
    printf '[fast]\nuri = rdma://%s:%s/\nowner = root\ncontrol = %s\n' \
        "$addr" "$port" "$work/left.control" >/etc/rdisk/libvirt.conf
    host left 1
    mkdir "$work/left/disks/fast"
    define_guest fast
    on left start guest
    end_guest_later left
    left_has_disk || fail "the daemon has no such disk"
    tells left BOOTED
    on left destroy guest
    wait_until 20 no_sessions || fail "sessions are left"
    wait_until 20 left_has_no_disk || fail "the disk is left"
    # Of a pool that is not configured: no guest, and why.
    on left undefine guest
    define_guest slow
    refused 'rdisk-hook: .*slow' 60 virsh -q -c "$(connection left)" start guest
}

check_disks_come_grow_and_go_and_the_guest_moves_with_libvirtd()
{
    libvirt
    [ -x $stock ] || skip "$stock is not installed"
    root_volume
    volume data 8M
    host left 1 root data
    host right 2 root data
    example rdisk-vhost
    sed -i "s#<memory unit='MiB'>512<#<memory unit='MiB'>256<#" \
        "$work/rdisk-vhost.xml"
    cp "$top/docs/libvirt/rdisk-vhost-disk.xml" "$work/data.xml"
    with_guest rdisk-vhost watch /run/rdisk-vhost/console
    on left define "$work/rdisk-vhost.xml"
    on left start guest
    end_guest_later left
    tells left BOOTED
    on left attach-device guest "$work/data.xml" --live
    tells left 'DISK vdb ok'
    has_disk left || fail "libvirt does not know the disk"
    within 20 rdisk resize data 12M --control "$control"
    tells left 'DISKS vdb:24576'
    tells left 'DISK vdb ok' 2
    on left detach-device guest "$work/data.xml" --live
    tells left 'DISKS .?$'
    wait_until 20 has_no_disk left || fail "libvirt still knows the disk"
    on left attach-device guest "$work/data.xml" --live
    tells left 'DISK vdb ok' 3
    on left migrate --live guest --desturi "$(connection right)" \
        --migrateuri "unix://$work/moving"
    end_guest_later right
    has_disk right || fail "libvirt of right does not know the disk"
    within 20 rdisk resize data 16M --control "$control"
    tells right 'DISKS vdb:32768'
    tells right 'DISK vdb ok'
    on right detach-device guest "$work/data.xml" --live
    wait_until 20 has_no_disk right || fail "libvirt of right knows the disk"
    on right destroy guest
    wait_until 20 no_sessions || fail "sessions are left"
    head -c 1M "$pool/data" | cmp - <(yes 'rdisk vdb' | head -c 1M)
}

run_checks
