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

# Fill DIR with the program `linux`: uml_build DIR CONFIG
uml_build()
{
    local dir=$1 source
    apt_open "$dir/apt" trixie-backports || return 1
    for source in $uml_sources; do
        ! apt_unpack "$dir/apt" "$source" "$dir/source" || break
    done
    echo "lab: unpacking the kernel's source" >&2
    mkdir "$dir/tree"
    # The largest headers of all, for graphics cards.
    tar -xJf "$dir"/source/usr/src/linux-source-*.tar.xz -C "$dir/tree" \
        --strip-components 1 --exclude='*/drivers/gpu/drm/amd/include/*' ||
        return 1
    rm -rf "$dir/apt" "$dir/source"
    if ! uml_compile "$dir" "$2" 3>&2 >"$dir/build.log" 2>&1; then
        tail -n 20 "$dir/build.log" >&2
        echo "lab: the user-mode kernel does not build" >&2
        return 1
    fi
    rm -rf "$dir/tree"
}

uml_compile()
{
    local make missing
    # Flags of a make that calls this one are not meant for the kernel.
    make=(env -u MAKEFLAGS -u MAKEOVERRIDES -u MFLAGS make -C "$1/tree" ARCH=um
        KBUILD_BUILD_USER=rdisk KBUILD_BUILD_HOST=lab)
    "${make[@]}" defconfig || return 1
    cat "$2" >>"$1/tree/.config"
    "${make[@]}" olddefconfig || return 1
    missing=$(grep -E '^CONFIG_[A-Z0-9_]+=[^n]' "$2" |
              grep -vxF -f "$1/tree/.config")
    if [ -n "$missing" ]; then
        echo "this kernel refuses:" "$missing"
        return 1
    fi
    echo "lab: building the kernel, about 7 minutes on 2 cores" >&3
    "${make[@]}" -j"$(nproc)" vmlinux || return 1
    strip -o "$1/linux" "$1/tree/vmlinux" &&
        cp "$1/tree/.config" "$1/config"
}

uml_key()
{
    cache_key "$uml_sources" "$uml_recipe" -- "$here/uml.config"
}

# Print the folder of the user-mode kernel, building it when it is missing.
uml_dir()
{
    cache_entry uml "$(uml_key)" uml_build "$here/uml.config"
}

# Whether the kernel is there already.
uml_works()
{
    [ -x "$(cache_root)/uml-$(uml_key)/linux" ]
}

# Become a user-mode lab: uml_run RUN_DIR WRAPPER…
uml_run()
{
    local run=$1 shell=()
    shift
    # The kernel's console writes to a file; a shell has a serial line.
    # shellcheck disable=SC2054 # the comma is the kernel's
    [ -z "$tty" ] || shell=(ssl0=fd:0,fd:1)
    exec 3</dev/null 4>>"$run/console"
    # shellcheck disable=SC2086 # $append is words
    exec "$@" "$(uml_dir)/linux" "mem=$memory" "ncpus=$cpus" seccomp=on \
        "initrd=$initramfs" con=null con0=fd:3,fd:4 ssl=null "${shell[@]}" \
        loglevel=5 panic=-1 oops=panic rdisk.host=hostfs \
        "rdisk.control=$run" "rdisk.rdma=${rdma:-0}" \
        "uml_dir=$run/uml/" $append
}
