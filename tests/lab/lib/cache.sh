# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# The cache of slow things (kernels, images, QEMU).  An entry is a folder
# NAME-KEY, where KEY is a hash of all that went into it; it is built aside
# and renamed, so one that exists is whole.

cache_root()
{
    echo "${RDISK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rdisk}"
}

# The key of some words and files: cache_key WORD… -- FILE…
cache_key()
{
    {
        while [ $# -gt 0 ] && [ "$1" != -- ]; do
            printf '%s\n' "$1"
            shift
        done
        [ $# -eq 0 ] || shift
        [ $# -eq 0 ] || cat -- "$@"
    } | sha256sum | cut -c1-12
}

# Print the folder of an entry.  When it is missing, FUNCTION is called with
# an empty folder to fill; a concurrent builder is waited for.
#   cache_entry NAME KEY FUNCTION [ARGUMENT…]
cache_entry()
{
    local entry
    entry=$(cache_root)/$1-$2
    if [ ! -d "$entry" ]; then
        mkdir -p "$(cache_root)"
        (
            if ! flock -n 9; then
                echo "lab: waiting for another process that makes $1" >&2
                flock 9
            fi
            if [ ! -d "$entry" ]; then
                aside=$(mktemp -d "$(cache_root)/.$1.XXXXXX")
                trap 'rm -rf "$aside"' EXIT
                "$3" "$aside" "${@:4}" >&2 || exit 1
                chmod 755 "$aside"
                mv -T "$aside" "$entry"
            fi
        ) 9>"$(cache_root)/.$1.lock" || return 1
    fi
    echo "$entry"
}
