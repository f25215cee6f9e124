# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# The Debian packages that the lab needs, and the sentence for a machine that
# lacks one.  packaging/setup reads these lists as well.

# Building a kernel: the test guest's, and the lab's user-mode kernel.
needs_kernel="gcc binutils libc6-dev make flex bison bc libelf-dev libssl-dev
    xz-utils cpio perl python3 debian-archive-keyring ca-certificates"

# Running things where there is an RDMA device, be it in a virtual machine.
needs_lab="qemu-system-x86 qemu-utils seabios ipxe-qemu busybox-static cpio kmod
    binutils ibverbs-providers ibverbs-utils rdmacm-utils iproute2 iputils-ping
    ethtool e2fsprogs coreutils util-linux procps xz-utils zstd numactl python3
    debian-archive-keyring ca-certificates"

# Building the lab's user-mode kernel.
needs_uml="$needs_kernel patch"

# What the programs of those packages are called.
needs_uml_programs="gcc ld make flex bison bc xz cpio perl python3 patch"

# needs_missing PACKAGE…: those that are not installed, on one line; all of them
# where there is no dpkg.  Virtual packages (libfoo-dev provided by libfoo2-dev)
# count as installed.
needs_missing()
{
    local have
    have=$(dpkg-query -W -f='${db:Status-Status} ${Package} ${Provides}\n' \
        2>/dev/null |
        sed -n 's/^installed //p' | tr ',' ' ' | tr ' ' '\n' | sort -u)
    printf '%s\n' "$@" | grep -vxF -- "$have" | paste -sd' '
}

# needs_say WHAT PACKAGE…: WHAT is missing, and the command that installs it
needs_say()
{
    local missing
    missing=$(needs_missing "${@:2}")
    if command -v apt-get >/dev/null; then
        echo "lab: no $1 here; run: sudo apt-get install" \
            "--no-install-recommends ${missing:-${*:2}}" >&2
    else
        echo "lab: no $1 here; install the counterparts of these Debian" \
            "packages: ${*:2}" >&2
    fi
}

# needs_programs "PROGRAM…" PACKAGE…: all of them are on the PATH
needs_programs()
{
    local program
    for program in $1; do
        PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null || {
            needs_say "$program" "${@:2}"
            return 1
        }
    done
}
