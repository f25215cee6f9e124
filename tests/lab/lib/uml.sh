# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# The user-mode kernel: a Linux that is a process of this machine.  It is
# built once from Debian's kernel source, see `make lab-uml`.

# Linux before 6.16 has no fast system calls and no SMP in user mode, and
# dies at start on CPUs with AMX.  7.2 is the one measured.
uml_sources='linux-source-7\.2 linux-source-[7-9]\.[0-9]+'

# Raise this when a change of uml_build makes another kernel.
uml_recipe=1

# What this kernel does that released ones do not; see the files.
uml_patches=("$here"/patches/*.patch)

# Which one: "" or kasan, which finds uses of memory that is not there.
uml_variant=''

# What its configuration is made of.
uml_set_configs()
{
    uml_configs=("$here/uml.config")
    [ -z "$uml_variant" ] || uml_configs+=("$here/uml-$uml_variant.config")
}

# Fill DIR with the program `linux`: uml_build DIR CONFIG…
uml_build()
{
    # shellcheck disable=SC2086 # words
    needs_programs "$needs_uml_programs" $needs_uml &&
        source_unpack "$1" trixie-backports "$uml_sources" &&
        source_patch "$1" "${uml_patches[@]}" &&
        cat "${@:2}" >"$1/wanted" &&
        source_build "$1" um defconfig "$1/wanted" "$1/linux"
}

uml_key()
{
    uml_set_configs
    cache_key "$uml_sources" "$uml_recipe" -- "${uml_configs[@]}" \
        "${uml_patches[@]}"
}

# Print the folder of the user-mode kernel, building it when it is missing.
uml_dir()
{
    uml_set_configs
    cache_entry "uml${uml_variant:+-$uml_variant}" "$(uml_key)" uml_build \
        "${uml_configs[@]}"
}

# Whether the kernel is there already.
uml_works()
{
    [ -x "$(cache_root)/uml${uml_variant:+-$uml_variant}-$(uml_key)/linux" ]
}

# Each page of a program in the lab that is not adjacent to the one before is a
# mapping of this machine's, and one with too many of them never gets the next
# page: it loops in its page fault, and its machine's only CPU with it.
uml_mappings=1048576            # 4 GiB of a program
uml_raise_mappings()
{
    local file=/proc/sys/vm/max_map_count now
    now=$(cat $file 2>/dev/null) || return 0
    [ "$now" -lt $uml_mappings ] || return 0
    if echo $uml_mappings 2>/dev/null >$file; then
        echo "lab: vm.max_map_count was $now, too few for large programs;" \
            "it is $uml_mappings until this machine restarts" >&2
    else
        echo "lab: vm.max_map_count is $now, so programs in the lab with more" \
            "than $((now / 256)) MiB may hang; run:" \
            "sudo sysctl -w vm.max_map_count=$uml_mappings" >&2
    fi
}

# Become a user-mode lab: uml_run RUN_DIR NODE WRAPPER…
uml_run()
{
    local run=$1 node=$2 shell=() links=() link
    shift 2
    if [ "$nodes" -gt 1 ]; then
        for link in 0 1; do
            links+=("vec$link:transport=fd,fd=$(node_wire "$node" $link),mac=$(
                node_mac "$node" $link),mtu=9000")
        done
    fi
    # The kernel's console writes to a file; a shell has a serial line.
    # shellcheck disable=SC2054 # the comma is the kernel's
    [ -z "$tty" ] || shell=(ssl0=fd:0,fd:1)
    exec 3</dev/null 4>>"$run/console"
    # shellcheck disable=SC2086 # $append is words
    exec "$@" "$(uml_dir)/linux" "mem=$memory" "ncpus=$cpus" seccomp=on \
        "initrd=$initramfs" con=null con0=fd:3,fd:4 ssl=null "${shell[@]}" "${links[@]}" \
        loglevel=5 panic=-1 oops=panic rdisk.host=hostfs \
        "rdisk.control=$run" "rdisk.rdma=${rdma:-0}" \
        "uml_dir=$run/uml/" $append
}
