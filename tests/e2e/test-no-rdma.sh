#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A machine without any RDMA device: every program says so, at once.
# lab: --no-rdma
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

check_a_client_without_rdma_says_so()
{
    soon 10 refused 'no RDMA device|No such device' 30 \
        qemu-io -f raw -c 'read 0 4k' rdma://127.0.0.1/v
}

check_ping_without_rdma_says_so()
{
    soon 10 refused 'no RDMA device' 30 rdisk ping rdma://127.0.0.1/v
}

check_a_server_without_rdma_says_so()
{
    soon 10 refused 'RDMA' 30 rdiskd --config '' --control '' --listen-timeout 0 \
        --volume m=memory:1M --authentication none
}

check_rdma_in_the_kernel_but_no_device_says_so()
{
    [ -e /dev/infiniband/rdma_cm ] || modprobe rdma_ucm ||
        skip "the kernel has no module rdma_ucm"
    soon 15 refused 'RDMA device' 30 \
        qemu-io -f raw -c 'read 0 4k' 'rdma://127.0.0.1/v?open-timeout=3'
    soon 10 refused 'RDMA' 30 rdiskd --config '' --control '' --listen-timeout 0 \
        --volume m=memory:1M --authentication none
}

check_other_drivers_of_qemu_still_work()
{
    truncate -s 1M "$work/file"
    within 20 qemu-io -f raw -c 'write -q -P 1 0 4k' "$work/file"
}

run_checks
