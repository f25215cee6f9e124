# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# The engines: where a command can find an RDMA device.

# The RDMA devices of this machine that have an address: DEVICE ADDRESS lines.
native_devices()
{
    local device netdev address
    # A table has a thousand entries, most of them empty: one look at all.
    grep -s . /sys/class/infiniband/*/ports/*/gid_attrs/ndevs/* |
        sed 's|/sys/class/infiniband/\([^/]*\)/.*:|\1 |' | sort -u |
        while read -r device netdev; do
            address=$(ip -4 -o addr show dev "$netdev" scope global |
                      sed -n 's/.* inet \([0-9.]*\).*/\1/p' | head -n 1)
            [ -z "$address" ] || echo "$device $address"
        done
}

native_works()
{
    [ -w /dev/infiniband/rdma_cm ] && [ -n "$(native_devices)" ]
}

# Run a command on the machine itself: native_run LIMIT COMMAND…
native_run()
{
    local limit=$1 addresses
    shift
    mapfile -t addresses < <(native_devices | cut -d' ' -f2)
    export RDISK_LAB_ADDR=${addresses[0]}
    export RDISK_LAB_ADDR2=${addresses[1]:-${addresses[0]}}
    ulimit -l unlimited 2>/dev/null || ulimit -l "$(ulimit -H -l)"
    timeout --foreground -k 5 "$limit" "$@"
}

# Whether a boot under KVM really works; asked once per boot of this machine.
kvm_works()
{
    local answer qemu
    [ -w /dev/kvm ] || return 1
    qemu=$(qemu_binary) || return 1
    answer=$(cache_root)/kvm-$(cache_key "$(cat /proc/sys/kernel/random/boot_id)" \
        "$("$qemu" --version)" "$kernel" "$initramfs")
    if [ ! -e "$answer" ]; then
        echo "lab: trying KVM (once per boot of this machine)" >&2
        if kvm_probe "$qemu"; then echo yes; else echo no; fi >"$answer.$$"
        rm -f "$(cache_root)"/kvm-????????????
        mv "$answer.$$" "$answer"
        [ "$(cat "$answer")" = yes ] ||
            echo "lab: KVM does not work here, though /dev/kvm exists" >&2
    fi
    [ "$(cat "$answer")" = yes ]
}

# A short boot, of at most 15 s; it takes about 1 s where KVM works.
kvm_probe()
{
    local log tries=150 pid
    log=$(mktemp)
    # In a subshell, which swallows the shell's word on a process that aborts.
    (setpriv --pdeathsig KILL timeout -k 1 15 \
        setpriv --pdeathsig KILL "$1" -M q35 -accel kvm -cpu host -smp 2 -m 512M -nic none \
        -display none -no-reboot -serial stdio -kernel "$kernel/vmlinuz" \
        -initrd "$initramfs" -append "console=ttyS0 panic=-1 rdisk.probe" \
        </dev/null >"$log" 2>&1; true) 2>/dev/null &
    pid=$!
    while [ $tries -gt 0 ] && kill -0 $pid 2>/dev/null &&
            ! grep -qE 'probe passed|KVM internal error|panic' "$log"; do
        sleep 0.1
        tries=$((tries - 1))
    done
    kill $pid 2>/dev/null || true
    wait $pid 2>/dev/null || true
    tries=$(grep -c 'probe passed' "$log")
    rm -f "$log"
    [ "$tries" -gt 0 ]
}

# A QEMU of the system's, as one built by this project has no 9p.
qemu_binary()
{
    local qemu
    for qemu in ${RDISK_LAB_QEMU:-} /usr/bin/qemu-system-x86_64 \
            "$(command -v qemu-system-x86_64)"; do
        if [ -x "$qemu" ]; then
            echo "$qemu"
            return
        fi
    done
    # shellcheck disable=SC2086 # words
    needs_say qemu-system-x86_64 $needs_lab
    return 1
}

# The socket of a node's wire, and of its link for commands: node_wire NODE 0|1
node_wire()
{
    echo "${wires[2 * $2 + $1 - 1]}"
}

# Their addresses, by which the init knows them: node_mac NODE 0|1
node_mac()
{
    echo "52:54:00:00:0$2:0$1"
}

# Become a QEMU lab: qemu_run RUN_DIR NODE WRAPPER…
# Uses the lab's options (engine, cpus, memory, …), kernel and initramfs.
qemu_run()
{
    local run=$1 node=$2 qemu arguments link image=$kernel/vmlinuz
    shift 2
    [ ! -e "$kernel/vmlinux" ] || image=$kernel/vmlinux
    qemu=$(qemu_binary) || return 1
    arguments=(-M q35 -smp "$cpus,sockets=$numa" -m "$memory" -nic none -display none
        -vga none -no-reboot -nodefaults -no-user-config
        -kernel "$image" -initrd "$initramfs"
        -serial "file:$run/console"
        -virtfs "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"
        -virtfs "local,path=$run,mount_tag=control,security_model=none")
    if [ "$engine" = kvm ]; then
        arguments+=(-accel kvm -cpu host)
    else
        # la57 costs a level of page table walks in software.  QEMU 7.2 gets
        # the flags of cmpxchg16b wrong, which kills a kernel now and then.
        arguments+=(-accel "tcg,thread=multi" -cpu "max,la57=off,cx16=off")
    fi
    if [ -n "$output" ]; then
        arguments+=(-virtfs
            "local,path=$output,mount_tag=output,security_model=none,multidevs=remap")
    fi
    if [ -n "$tty" ]; then
        arguments+=(-chardev "stdio,id=tty,signal=off" -serial chardev:tty)
    fi
    if [ "$nodes" -gt 1 ]; then
        for link in 0 1; do
            arguments+=(-netdev "socket,id=link$link,fd=$(node_wire "$node" $link)"
                -device "virtio-net-pci,netdev=link$link,romfile=,mac=$(node_mac \
                    "$node" $link)")
        done
    fi
    if [ "$numa" -gt 1 ]; then
        mapfile -t -O "${#arguments[@]}" arguments < <(numa_arguments)
    fi
    # Power-off is quicker than a reboot, and a panic ends the run at once.
    arguments+=(-append "console=ttyS0 loglevel=5 panic=-1 oops=panic
        mitigations=off audit=0 apparmor=0 cryptomgr.notests
        watchdog_thresh=20 tsc=reliable no_timer_check rdisk.rdma=${rdma:-0} $append")
    exec "$@" "$qemu" "${arguments[@]}"
}

# Emulated NUMA nodes with equal shares of the memory and the CPUs.
numa_arguments()
{
    local node size
    size=$(($(numfmt --from=iec "$memory") / 1048576 / numa))
    for ((node = 0; node < numa; node++)); do
        printf '%s\n' -object "memory-backend-ram,id=ram$node,size=${size}M" \
            -numa "node,nodeid=$node,memdev=ram$node,cpus=$((node * cpus /
                numa))-$(((node + 1) * cpus / numa - 1))"
    done
}
