#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# An rdma node lets the device pin guest memory.  Two kinds of migration do not
# go with that: postcopy, which throws pages away, and background snapshots,
# which do not see what a device writes.  Whichever comes second is refused.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=tests/e2e/qemu.sh
. "$here/qemu.sh"

capability()
{
    echo "{\"capabilities\": [{\"capability\": \"$1\", \"state\": true}]}"
}

# Skips where the kernel cannot do it.
set_capability()
{
    qmp_may_fail=1 qmp "$1" migrate-set-capabilities "$(capability "$2")" \
        >/dev/null || skip_without_kernel
}

skip_without_kernel()
{
    ! grep -qE 'Userfaultfd|host kernel' "$work/qmp.err" ||
        skip "the lab's kernel has no userfaultfd for it"
    fail "$(tail -n 1 "$work/qmp.err")"
}

# refuses_capability NAME CAPABILITY
refuses_capability()
{
    qmp_refused 'pinned|Userfaultfd|host kernel' "$1" \
        migrate-set-capabilities "$(capability "$2")"
    grep -q pinned "$work/qmp.err" || skip_without_kernel
}

refuses_a_volume()
{
    qmp_refused 'RDMA pins memory' "$1" blockdev-add "$(node disk pinned)"
    no_sessions || fail "a session is left"
}

takes_a_volume()
{
    qmp_may_fail=1 qmp "$1" blockdev-add "$(node disk pinned)" >/dev/null
}

check_postcopy_is_refused_where_a_volume_is_open()
{
    machine right -incoming "unix:$work/right.socket" \
        -blockdev "$(node disk pinned)"
    refuses_capability right postcopy-ram
    quit right
}

check_a_volume_is_refused_until_postcopy_has_ended()
{
    machine left
    machine right -incoming defer
    set_capability right postcopy-ram
    set_capability left postcopy-ram
    set_capability left pause-before-switchover
    qmp right migrate-incoming "{\"uri\": \"unix:$work/right.socket\",
        \"exit-on-error\": false}" >/dev/null
    start_migration left right
    wait_until 20 migration_is left pre-switchover ||
        fail "migration is $(cat "$work/status")"
    refuses_a_volume right
    qmp left migrate_cancel >/dev/null
    wait_until 20 migration_is right failed ||
        fail "migration is $(cat "$work/status")"
    takes_a_volume right
    quit right
    quit left
}

check_a_background_snapshot_is_refused_where_a_volume_is_open()
{
    machine left -blockdev "$(node disk pinned)"
    refuses_capability left background-snapshot
    quit left
}

check_a_background_snapshot_that_was_asked_for_earlier_fails()
{
    machine left
    set_capability left background-snapshot
    takes_a_volume left
    machine right -incoming "unix:$work/right.socket"
    start_migration left right
    wait_until 20 migration_is left failed ||
        fail "migration is $(cat "$work/status")"
    from left query-migrate '{}' 'r["error-desc"]' >"$work/why-not"
    says "$work/why-not" 'Background-snapshot does not see .* pinned'
    quit left
}

# Nobody takes what it saves, so it goes on.
check_a_volume_is_refused_until_a_background_snapshot_has_ended()
{
    machine left
    machine right -incoming "unix:$work/right.socket"
    set_capability left background-snapshot
    kill -STOP "${vm[right]}"
    start_migration left right
    wait_until 20 migration_is left active ||
        fail "migration is $(cat "$work/status")"
    refuses_a_volume left
    qmp left migrate_cancel >/dev/null
    wait_until 20 migration_is left cancelled ||
        fail "migration is $(cat "$work/status")"
    takes_a_volume left
    quit left
}

start_server
volume pinned 4M
run_checks
