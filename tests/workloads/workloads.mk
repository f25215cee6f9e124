# SPDX-License-Identifier: BSD-3-Clause
#
# Real work in a guest whose disks are rdma:// volumes.
.PHONY: workloads
workloads: ours qemu
	@packaging/setup lab workloads
	@tests/workloads/run
