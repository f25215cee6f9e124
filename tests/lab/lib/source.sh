# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# Kernels built from Debian's kernel source with a configuration of our own:
# the lab's user-mode kernel and the test guest's.

# Fill DIR/tree with the source of the first package that matches one of the
# extended regular expressions: source_unpack DIR "SUITE…" "REGEX…"
source_unpack()
{
    local dir=$1 suite source
    for suite in $2; do
        rm -rf "$dir/apt"
        apt_open "$dir/apt" "$suite" || continue
        for source in $3; do
            ! apt_unpack "$dir/apt" "$source" "$dir/source" || break 2
        done
    done
    if ! [ -d "$dir/source" ]; then
        echo "lab: could not get a kernel's source from Debian" >&2
        return 1
    fi
    echo "lab: unpacking the kernel's source" >&2
    mkdir "$dir/tree"
    # The largest headers of all, for graphics cards.
    tar -xJf "$dir"/source/usr/src/linux-source-*.tar.xz -C "$dir/tree" \
        --strip-components 1 --exclude='*/drivers/gpu/drm/amd/include/*' ||
        return 1
    rm -rf "$dir/apt" "$dir/source"
}

# Change DIR/tree: source_patch DIR PATCH…
source_patch()
{
    local dir=$1 patch log
    for patch in "${@:2}"; do
        if ! log=$(patch -d "$dir/tree" -p1 --batch -i "$patch" 2>&1); then
            echo "$log" | tail -n 5 >&2
            echo "lab: $patch does not fit this kernel" >&2
            return 1
        fi
    done
}

# Build DIR/tree with the lines of CONFIG on top of the target BASE
# (defconfig, tinyconfig), and leave the kernel as FILE:
#   source_build DIR ARCH BASE CONFIG FILE
source_build()
{
    local dir=$1
    if ! source_compile "$@" 3>&2 >"$dir/build.log" 2>&1; then
        tail -n 20 "$dir/build.log" >&2
        echo "lab: the kernel of $4 does not build" >&2
        return 1
    fi
    rm -rf "$dir/tree"
}

source_compile()
{
    local dir=$1 config=$4 make missing
    # Flags of a make that calls this one are not meant for the kernel.
    make=(env -u MAKEFLAGS -u MAKEOVERRIDES -u MFLAGS make -C "$dir/tree"
        ARCH="$2" KBUILD_BUILD_USER=rdisk KBUILD_BUILD_HOST=lab)
    "${make[@]}" "$3" || return 1
    cat "$config" >>"$dir/tree/.config"
    "${make[@]}" olddefconfig || return 1
    missing=$({
        grep -E '^CONFIG_[A-Z0-9_]+=[^n]' "$config" |
            grep -vxF -f "$dir/tree/.config"
        # What is not set is either said so or not mentioned at all.
        sed -n 's/^# \(CONFIG_[A-Z0-9_]*\) is not set$/^\1=/p' "$config" |
            grep -f - "$dir/tree/.config"
    })
    if [ -n "$missing" ]; then
        echo "this kernel refuses:" "$missing"
        return 1
    fi
    echo "lab: building the kernel, some minutes on 2 cores" >&3
    "${make[@]}" -j"$(nproc)" vmlinux || return 1
    strip -o "$5" "$dir/tree/vmlinux" && cp "$dir/tree/.config" "$dir/config"
}
