# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# Stock Debian kernels, fetched and unpacked but never installed.

# The releases that carry a series, best first.
kernel_suites()
{
    case $1 in
    6.1) echo bookworm ;;
    6.12) echo bookworm-backports trixie ;;
    backports) echo trixie-backports ;;
    *) return 1 ;;
    esac
}

# What matches the names of a series' packages: kernel_packages SERIES FLAVOUR
kernel_packages()
{
    local version=${1//./\\.}\\.
    # The newest of all.
    [ "$1" != backports ] || version='[0-9]+\.'
    echo "linux-image-${version}[0-9a-z.+-]*[0-9]-$2"
}

# Unpack DIR/root from DIR/apt.  Newer kernels are parts, of which the image's package
# is only the list: kernel_unpack DIR SERIES FLAVOUR
kernel_unpack()
{
    local tree=$1/root release part
    apt_unpack "$1/apt" "$(kernel_packages "$2" "$3")" "$tree" || return 1
    [ ! -d "$tree/boot" ] || return 0
    release=$(basename "$tree"/usr/share/doc/linux-image-*)
    release=${release#linux-image-}
    for part in base binary modules; do
        apt_unpack "$1/apt" "linux-$part-${release//[.+]/.}" "$tree" || return 1
    done
    mkdir "$tree/boot"
    mv "$tree/usr/lib/modules/$release/vmlinuz" "$tree/boot/vmlinuz-$release"
}

# Fill DIR with vmlinuz, release and lib/modules: kernel_fetch DIR SERIES FLAVOUR
kernel_fetch()
{
    local dir=$1 series=$2 flavour=$3 suite release
    for suite in $(kernel_suites "$series"); do
        rm -rf "$dir/apt" "$dir/root"
        if apt_open "$dir/apt" "$suite" &&
            kernel_unpack "$dir" "$series" "$flavour"; then
            break
        fi
    done
    if ! [ -d "$dir/root/boot" ]; then
        echo "lab: could not get a Linux $series ($flavour) from Debian" >&2
        return 1
    fi
    release=$(basename "$dir"/root/boot/vmlinuz-*)
    release=${release#vmlinuz-}
    mkdir -p "$dir/lib"
    mv "$dir"/root/boot/vmlinuz-* "$dir/vmlinuz"
    for modules in "$dir/root/lib/modules" "$dir/root/usr/lib/modules"; do
        [ ! -d "$modules" ] || mv "$modules" "$dir/lib/modules"
    done
    rm -rf "$dir/apt" "$dir/root"
    echo "$release" >"$dir/release"
    kernel_extract "$dir/vmlinuz" "$dir/vmlinux"
    "$(kernel_tool depmod)" -b "$dir" "$release"
}

# The kernel proper out of a bzImage, so that booting it under TCG need not
# decompress it: kernel_extract VMLINUZ VMLINUX
kernel_extract()
{
    local magic program offset
    for magic in '\x28\xb5\x2f\xfd zstd' '\xfd7zXZ\x00 xz' '\x1f\x8b\x08 gzip'; do
        program=${magic#* }
        for offset in $(LC_ALL=C grep -abPo -- "${magic% *}" "$1" |
                        cut -d: -f1 | head -n 3); do
            # Trailing bytes, which are not compressed data, are an "error".
            tail -c +$((offset + 1)) "$1" | "$program" -qdc >"$2" 2>/dev/null
            [ "$(head -c 4 "$2" | tail -c 3)" != ELF ] || return 0
        done
    done
    rm -f "$2"
}

# Programs in sbin, which is not in everyone's PATH.
kernel_tool()
{
    # shellcheck disable=SC2086 # words
    needs_programs "$1" $needs_lab && PATH=$PATH:/usr/sbin:/sbin command -v "$1"
}

# Print the folder of a kernel: kernel_dir SERIES|FOLDER [amd64|cloud-amd64]
kernel_dir()
{
    if [ -d "$1" ] && [ -e "$1/vmlinuz" ]; then
        [ -e "$1/release" ] || {
            echo "lab: $1 has vmlinuz but no file 'release' with its" \
                "version (uname -r)" >&2
            return 1
        }
        realpath "$1"
        return
    fi
    kernel_suites "$1" >/dev/null || {
        echo "lab: kernel '$1' is not 6.1, 6.12, backports or a folder with" \
            "vmlinuz, release and lib/modules" >&2
        return 1
    }
    cache_entry "kernel-$1-${2:-amd64}" \
        "$(cache_key "$(declare -f kernel_fetch kernel_suites \
            kernel_packages kernel_unpack kernel_extract)")" \
        kernel_fetch "$1" "${2:-amd64}"
}

# Fill DIR with initramfs.gz: busybox, the init, and modules in load order.
#   initramfs_build DIR KERNEL INIT MODULE…
initramfs_build()
{
    local dir=$1 kernel=$2 init=$3 tree=$1/tree release file word busybox
    shift 3
    busybox=$(kernel_tool busybox) || return 1
    mkdir -p "$tree/bin" "$tree/dev" "$tree/proc" "$tree/sys" "$tree/modules"
    cp "$busybox" "$tree/bin/busybox"
    cp "$init" "$tree/init"
    chmod 755 "$tree/init"
    : >"$tree/modules/order"
    if [ $# -gt 0 ]; then
        release=$(cat "$kernel/release")
        "$(kernel_tool modprobe)" -d "$kernel" -S "$release" -a \
            --show-depends "$@" >"$dir/depends" || return 1
        while read -r word file _; do
            [ "$word" = insmod ] || continue
            word=$(basename "$file" | sed 's/\.[xgz][zs]t*d*$//')
            ! grep -qxF "$word" "$tree/modules/order" || continue
            case $file in
            *.xz) xz -dc "$file" ;;
            *.zst) zstd -qdc "$file" ;;
            *.gz) gzip -dc "$file" ;;
            *) cat "$file" ;;
            esac >"$tree/modules/$word"
            # Without signature, which is slow to check under TCG.
            strip --strip-debug "$tree/modules/$word"
            echo "$word" >>"$tree/modules/order"
        done <"$dir/depends"
    fi
    (cd "$tree" && find . | cpio -o -H newc -R 0:0 --quiet) |
        gzip -1 >"$dir/initramfs.gz"
    rm -rf "$tree" "$dir/depends"
}

# Print the path of an initramfs: initramfs_path NAME KERNEL INIT MODULE…
initramfs_path()
{
    local entry
    entry=$(cache_entry "initramfs-$1" \
        "$(cache_key "$2" "${@:4}" "$(declare -f initramfs_build)" -- "$3")" \
        initramfs_build "${@:2}") || return 1
    echo "$entry/initramfs.gz"
}
