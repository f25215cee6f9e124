# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# Packages of other Debian releases, downloaded without touching the
# machine's own apt sources: everything apt knows and keeps is in a folder.

# The Debian mirror that this machine uses already.
apt_mirror()
{
    local mirror
    # shellcheck disable=SC2016 # apt-get expands these
    mirror=$(apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' \
                 'Created-By: Packages' 2>/dev/null |
             sed -n 's/^Debian //p' | grep -v -- '-security/*$' | head -n 1)
    echo "${RDISK_MIRROR:-${mirror:-http://deb.debian.org/debian}}"
}

# Run an apt program on a private folder: apt_private DIR PROGRAM ARGUMENT…
apt_private()
{
    local dir=$1 program=$2
    shift 2
    "$program" -q -o Dir::State="$dir/state" -o Dir::State::Lists="$dir/lists" \
        -o Dir::State::status="$dir/status" -o Dir::Cache="$dir/cache" \
        -o Dir::Etc::SourceList="$dir/sources.list" -o Dir::Etc::SourceParts=- \
        -o Dir::Etc::Preferences=- -o Dir::Etc::PreferencesParts=- \
        -o APT::Sandbox::User= -o Acquire::Retries=3 \
        -o Acquire::Check-Valid-Until=false "$@"
}

# Make a private folder with the lists of a release: apt_open DIR SUITE
apt_open()
{
    local keyring=/usr/share/keyrings/debian-archive-keyring.gpg log
    if [ ! -e "$keyring" ]; then
        echo "lab: $keyring is missing; install debian-archive-keyring" >&2
        return 1
    fi
    mkdir -p "$1/state" "$1/lists/partial" "$1/cache/archives/partial"
    : >"$1/status"
    printf '%s [signed-by=%s] %s %s main\n' \
        deb "$keyring" "$(apt_mirror)" "$2" \
        deb-src "$keyring" "$(apt_mirror)" "$2" >"$1/sources.list"
    if ! log=$(apt_private "$1" apt-get update 2>&1); then
        echo "$log" | tail -n 5 >&2
        echo "lab: no package lists of Debian $2 from $(apt_mirror); set" \
            "RDISK_MIRROR to a mirror that this machine reaches" >&2
        return 1
    fi
}

# Download the newest package whose name matches an extended regular
# expression, and unpack it: apt_unpack DIR REGEX DESTINATION
apt_unpack()
{
    local package log
    package=$(apt_private "$1" apt-cache pkgnames | grep -Ex -- "$2" |
              sort -V | tail -n 1)
    if [ -z "$package" ]; then
        echo "lab: no package of that release is called $2" >&2
        return 1
    fi
    echo "lab: downloading $package" >&2
    if ! log=$(cd "$1" && apt_private "$1" apt-get download "$package" 2>&1)
    then
        echo "$log" | tail -n 5 >&2
        echo "lab: could not download $package" >&2
        return 1
    fi
    dpkg-deb -x "$1"/*.deb "$3" && rm -f "$1"/*.deb
}
