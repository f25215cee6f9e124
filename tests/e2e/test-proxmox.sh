#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Proxmox VE's storage plugin, of packaging/proxmox, with a real server.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

check_proxmoxs_plugin_manages_volumes()
{
    perl -MJSON -MTest::More -e 1 2>/dev/null || skip "no Perl with JSON here"
    start_server --create allow
    RDISK_SERVER=$addr:$port within 200 perl "$top/tests/proxmox/plugin.t" \
        >"$work/plugin" 2>&1 || {
        grep -v '^ok' "$work/plugin" >&2
        fail "$(grep -m1 '^not ok' "$work/plugin" || tail -n 1 "$work/plugin")"
    }
    grep -q 'ok .* - what is not there is not freed' "$work/plugin"
}

run_checks
